"""Tables with many columns of labels or very long fields: one pass, blocks, scratch files."""

import csv
import io

import numpy as np
import pandas
import pytest
from pandas._libs.parsers import STR_NA_VALUES

from seqmodel.dataset.label import gathered, table
from seqmodel.dataset.label.gathered import Gathered, joined, taken
from seqmodel.dataset.label.labels import labels_of, numbers_of
from seqmodel.dataset.label.table import header_of, read_rows, stream
from seqmodel.dataset.table_data import TableData
from seqmodel.errors import LabelError
from seqmodel.hparam.dataset import TableHparams

N, T = 60, 919
RNG = np.random.default_rng(0)
SEQUENCES = ["".join(x) for x in RNG.choice(list("ACGT"), (N, 12))]
LABELS = (RNG.random((N, T)) < 0.1).astype(int)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    path = tmp_path_factory.mktemp("wide") / "t.tsv"
    frame = pandas.DataFrame({"sequence": SEQUENCES} | {f"y{i}": LABELS[:, i] for i in range(T)})
    frame.to_csv(path, sep="\t", index=False)
    return path


def data_of(path, columns, kind="multilabel", **more):
    given = {"train_files": [str(path)], "label_columns": columns, "label_kind": kind}
    return TableData(TableHparams(**given, **more))


def targets(data, split="train"):
    batches = list(data.loader(split, train=False))
    index = np.concatenate([x["index"].numpy() for x in batches])
    return np.concatenate([x["target"].numpy() for x in batches])[np.argsort(index)]


@pytest.mark.parametrize("columns", [["2-920"], ["rest"], ["y0", "3-919", "y918"]])
def test_919_columns_are_named_by_a_range_and_read_in_one_pass(wide, columns, monkeypatch):
    n_lines = 0
    plain = table.lines_of

    def counted(*given):
        nonlocal n_lines
        for line in plain(*given):
            n_lines += 1
            yield line

    monkeypatch.setattr(table, "lines_of", counted)
    data = data_of(wide, columns)
    assert n_lines <= N + 2  # and the line with the names once more
    assert data.targets.names == tuple(f"y{i}" for i in range(T))
    np.testing.assert_array_equal(targets(data), LABELS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["2-921"], "--label_columns 2-921: the file has columns 1-920"),
        (["0-3"], "--label_columns 0-3: the file has columns 1-920"),
        (["2-920", "rest"], "--label_columns rest: no other column is left"),
    ],
)
def test_a_range_beyond_the_columns_is_refused(wide, columns, message):
    with pytest.raises(LabelError, match=message):
        data_of(wide, columns)


def test_a_class_is_in_one_column(wide):
    with pytest.raises(LabelError, match="classes need one label column, but got 919"):
        data_of(wide, ["rest"], "class")


def test_a_column_with_the_name_of_a_range_is_that_column(tmp_path):
    (tmp_path / "t.csv").write_text("sequence,1-2,rest\nAC,0,1\n")
    data = data_of(tmp_path / "t.csv", ["1-2", "rest"])
    assert data.targets.names == ("1-2", "rest")


def test_rest_leaves_out_what_has_another_use(tmp_path):
    (tmp_path / "t.csv").write_text("a,sequence,set,w,b\n1,AC,train,2,0\n0,GG,test,1,1\n")
    data = data_of(tmp_path / "t.csv", ["rest"], split_column="set", weight_column="w")
    assert data.targets.names == ("a", "b")
    (tmp_path / "n.tsv").write_text("AC\t1\t0\nGG\t0\t1\n")
    data = data_of(tmp_path / "n.tsv", ["rest"], sequence_column="1")
    assert data.targets.names == ("2", "3")


@pytest.mark.parametrize(
    "more", [{}, {"valid_prop": 0.4}, {"valid_prop": 0.4, "split_by": "homology"}]
)
@pytest.mark.parametrize("kind", ["multilabel", "real"])
def test_scratch_files_hold_what_memory_does(wide, monkeypatch, tmp_path, more, kind):
    plain = data_of(wide, ["rest"], kind, **more)
    monkeypatch.setattr(gathered, "HELD_BYTES", 100)
    monkeypatch.setattr(table, "_BLOCK", 5000)
    data = TableData(plain.hparams, str(tmp_path / "scratch"))
    assert list((tmp_path / "scratch").iterdir()) == []  # a scratch file has no name
    assert isinstance(data.codes.data.base, np.memmap)
    assert data.splits == plain.splits
    for split in data.splits:
        np.testing.assert_array_equal(targets(data, split), targets(plain, split))
        for ours, theirs in zip(data.loader(split), plain.loader(split), strict=True):
            np.testing.assert_array_equal(ours["tokens"], theirs["tokens"])


def test_arrays_grow_take_and_join_on_the_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(gathered, "HELD_BYTES", 1000)
    grown = Gathered(str(tmp_path))
    parts = [RNG.integers(0, 2, (n, 7)).astype(np.uint8) for n in (3, 0, 900)]
    late = np.where(RNG.random((5, 7)) < 0.5, np.nan, 1).astype(np.float32)
    for part in [*parts, late]:
        grown.add(part)
    whole = np.concatenate([*parts, late])
    found = grown.array()
    assert (found.dtype, len(grown)) == (np.float32, 908)
    np.testing.assert_array_equal(found, whole)
    for which in (RNG.random(908) < 0.5, RNG.permutation(908), np.zeros(908, dtype=bool)):
        np.testing.assert_array_equal(taken(found, which, str(tmp_path)), whole[which])
    np.testing.assert_array_equal(joined([found, found], str(tmp_path)), np.tile(whole, (2, 1)))


def test_a_scratch_file_that_cannot_be_written_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(gathered, "HELD_BYTES", 10)
    (tmp_path / "file").write_text("")
    with pytest.raises(LabelError, match=r"cannot write scratch data to .*file/x: .*--cache_dir"):
        Gathered(str(tmp_path / "file/x")).add(np.zeros(100))


# -- long fields -----------------------------------------------------------------------------------

LONG = "ACGT" * 50_000


@pytest.mark.parametrize("quotes", ["auto", "fields", "lines", "none"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_fields_over_131072_characters_are_read_as_pandas_reads_them(tmp_path, separator, quotes):
    path = tmp_path / "t.csv"
    is_quoted = quotes in ("fields", "lines")
    rows = {"sequence": ["AC", LONG], "note": ["x", '"' if is_quoted else "y"], "label": [0, 1]}
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL
    pandas.DataFrame(rows).to_csv(text, sep=separator, index=False, quoting=quoting)
    path.write_text(text.getvalue())
    header = header_of(str(path), quotes)
    assert header == list(rows)
    # readers that are open at once, and one that is never read to its end
    one, other, left = (stream(str(path), quotes) for _ in range(3))
    next(left)
    pairs = list(zip(one, other, strict=True))
    assert [x for (_, x), _ in pairs] == [y for _, (_, y) in pairs]
    expected = pandas.read_csv(path, sep=separator, dtype=str)
    found = read_rows([path], header, named=True, quotes=quotes)
    assert found.columns == [expected[x].tolist() for x in header]
    assert csv.field_size_limit() == 131072


def test_a_mistake_behind_a_long_field_is_named_by_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f'sequence,label\n"{LONG}",0\nAC,1\n"A"C,1\n')
    with pytest.raises(LabelError, match="t.csv line 4: a quote is not closed, or text follows"):
        read_rows([path], ["sequence"], named=True)


# -- what a label may be ---------------------------------------------------------------------------


def test_what_pandas_takes_for_missing_is_missing(tmp_path):
    words = sorted(STR_NA_VALUES)
    text = "y\n" + "".join(f'"{x}"\n' for x in words)
    assert pandas.read_csv(io.StringIO(text), skip_blank_lines=False)["y"].isna().all()
    assert np.isnan(numbers_of(words, str)).all()
    path = tmp_path / "t.csv"
    path.write_text("sequence,y,z\n" + "".join(f"AC,{x},1\n" for x in words))
    assert np.isnan(targets(data_of(path, ["y", "z"]))[:, 0]).all()
    for word in words:
        with pytest.raises(LabelError, match="t.csv line 2: label .* is missing; remove the row"):
            labels_of([[word]], "class", (), lambda i: f"t.csv line {i + 2}")


@pytest.mark.parametrize(
    "values",
    [[0, 1, 2], [0.0, 1.0, 2.0], [True, False, True], ["0", "1", "1"]],
)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.parquet.gzip"])
def test_classes_are_those_of_pandas(tmp_path, values, name):
    path = tmp_path / name
    frame = pandas.DataFrame({"sequence": ["AC", "GG", "TT"], "label": values})
    if name == "t.csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, compression="gzip")
    data = TableData(TableHparams(train_files=[str(path)]))
    assert targets(data).tolist() == frame["label"].astype(int).tolist()


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_booleans_are_labels_and_numbers_too(tmp_path, name):
    path = tmp_path / name
    frame = pandas.DataFrame({"sequence": ["AC", "GG"], "a": [True, False], "b": [1.0, None]})
    getattr(frame, "to_csv" if name == "t.csv" else "to_parquet")(path, index=False)
    for kind in ("multilabel", "real"):
        expected = frame[["a", "b"]].to_numpy(dtype=np.float32)
        np.testing.assert_array_equal(targets(data_of(path, ["a", "b"], kind)), expected)


def test_digits_of_two_rows_are_not_joined():
    with pytest.raises(LabelError, match="t line 1: label '10' is not 0, 1 or missing"):
        labels_of([["", "10"]], "multilabel", (), lambda i: f"t line {i}")


def test_parquet_columns_of_bytes_and_categories_are_texts(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.pq"
    rows = {"sequence": [b"ACGT", b"GG"], "label": pyarrow.array(["a", "b"]).dictionary_encode()}
    parquet.write_table(pyarrow.table(rows), path)
    found = read_rows([path], ["sequence", "label"], named=True)
    assert found.columns == [["ACGT", "GG"], ["a", "b"]]


@pytest.mark.parametrize("text", ["1.5", "1_0", "1e400", "inf", "x", "9" * 30])
def test_what_is_no_class_is_refused(text):
    with pytest.raises(LabelError, match="t line 1: label .* is not a whole number from 0 on"):
        labels_of([["0", text]], "class", (), lambda i: f"t line {i}")
