"""Tables that are damaged, cut or quoted: no row is lost, joined or shifted in silence."""

import csv
import gzip
import io

import hypothesis.strategies as st
import pysam
import pytest
from hypothesis import given

from seqmodel.dataset.label.table import read_rows
from seqmodel.dataset.table_data import TableData
from seqmodel.errors import LabelError
from seqmodel.hparam.dataset import TableHparams

COLUMNS = ["sequence", "label"]


@pytest.fixture
def read(tmp_path):
    def read(text, name="t.csv", columns=COLUMNS, **more):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_rows([path], columns, named=True, **more)

    return read


FIELD = st.text(st.sampled_from('ab,\t\n\r" é'), max_size=5)


@given(rows=st.lists(st.tuples(FIELD, FIELD), min_size=1), tab=st.booleans())
def test_what_csv_writes_is_read_back(tmp_path_factory, rows, tab):
    separator = "\t" if tab else ","
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows([COLUMNS, *rows])
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(text.getvalue(), newline="")
    found = read_rows([path], COLUMNS, named=True, quotes="lines")
    assert list(zip(*found.columns, strict=True)) == [(a.strip(), b.strip()) for a, b in rows]


def test_a_tsv_has_no_quotes_unless_asked_for(read):
    # a quote that is not closed: as quoting it joined rows 2 to 4
    text = 'sequence\tlabel\tnote\nAC\t0\t"x\nGG\t1\ty\nTT\t0\tz"\nCA\t1\t\n'
    found = read(text, "t.tsv")
    assert found.columns == [["AC", "GG", "TT", "CA"], ["0", "1", "0", "1"]]
    assert found.lines == [2, 3, 4, 5]
    quoted = '"sequence"\t"label"\n"AC"\t"0"\n'  # as R writes it
    assert read(quoted, "t.tsv", quotes="fields").columns == [["AC"], ["0"]]
    with pytest.raises(LabelError, match="no column 'sequence'; .* see --quotes=fields"):
        read(quoted, "t.tsv")


def test_a_quote_that_is_not_closed_joins_no_rows(read):
    text = 'sequence,label,note\nAC,0,"x\nGG,1,y\nTT,0,"z"\nCA,1,\n'
    with pytest.raises(LabelError, match="t.csv line 2: a quote is not closed in its line"):
        read(text)
    with pytest.raises(LabelError, match="t.csv line 4: a quote is not closed"):
        read('sequence,label\nAC,0\nGG,1\nTT,"0')
    with pytest.raises(LabelError, match="t.csv line 2: a quote is not closed, or text follows"):
        read('sequence,label\n"AC"G,0\n')
    assert read('sequence,label\nAC,"0"\n5" end,1\n', quotes="none").columns[1] == ['"0"', "1"]


def test_fields_over_lines_are_read_where_they_are_asked_for(read):
    text = 'sequence,label,note\nAC,0,"x\ny"\nGG,1,z\n'
    with pytest.raises(LabelError, match="line 2: .*--quotes=lines if fields contain line breaks"):
        read(text)
    found = read(text, quotes="lines")
    assert found.columns == [["AC", "GG"], ["0", "1"]]
    assert found.lines == [2, 4]
    with pytest.raises(LabelError, match="t.csv line 4: a quote is not closed"):
        read('sequence,label,note\nAC,0,"x\ny"\nAC,0,"z', quotes="lines")


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("quotes", ["auto", "none", "fields", "lines"])
def test_a_row_that_is_cut_or_shifted_is_named(read, separator, quotes):
    start = "label,sequence,note\n0,ACGT,x\n1,GG,y\n"
    for last in ("1,AC", "1,AC,x,y\n", "1"):
        with pytest.raises(LabelError, match="t.csv line 4: . columns?, but the first line has 3"):
            read((start + last).replace(",", separator), quotes=quotes)
    # R leaves out the name of the first column, so that all names are shifted by one
    with pytest.raises(LabelError, match="t.csv line 2: 3 columns, but the first line has 2"):
        read("sequence,label\n1,AC,0\n".replace(",", separator), quotes=quotes)


def test_two_columns_of_one_name_are_refused(read):
    with pytest.raises(LabelError, match="t.csv: several columns are named 'label'"):
        read("sequence,label,label\nAC,0,1\n")


def test_long_sequences_are_read(read):
    long = "ACGT" * 100_000
    before = csv.field_size_limit()
    assert read(f"sequence,label\n{long},0\n").columns[0] == [long]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_bgzip_cut_between_two_blocks_is_refused(read, tmp_path, name):
    text = "sequence,label\n" + "".join(f"{'ACGT'[i % 4]}{i},{i % 2}\n" for i in range(30_000))
    plain, path = tmp_path / "x", tmp_path / name
    plain.write_text(text)
    pysam.tabix_compress(str(plain), str(path))
    whole = path.read_bytes()
    first = int.from_bytes(whole[16:18], "little") + 1
    assert len(read(whole, name).lines) == 30_000
    assert gzip.decompress(whole[:first]).count(b"\n") < 30_000
    with pytest.raises(LabelError, match=f"{name}: truncated bgzip, its end block is missing"):
        read(whole[:first], name)


def test_checksums_of_parquet_pages_are_verified(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    rows = {"sequence": ["ACGT" * 10 + f"A{i}" for i in range(100)], "label": list(range(100))}
    plain = {"compression": "none", "use_dictionary": False, "column_encoding": "PLAIN"}
    parquet.write_table(pyarrow.table(rows), path, write_page_checksum=True, **plain)
    whole = path.read_bytes()
    assert read_rows([path], COLUMNS, named=True).columns[0] == rows["sequence"]
    at = whole.index(b"ACGT" * 10 + b"A57") + 3
    path.write_bytes(whole[:at] + b"C" + whole[at + 1 :])
    assert parquet.read_table(path).column("sequence")[57].as_py() != rows["sequence"][57]
    with pytest.raises(LabelError, match="t.parquet: cannot be read as Parquet .*checksum") as e:
        read_rows([path], COLUMNS, named=True)
    assert "\n" not in str(e.value)


def test_quotes_are_a_hyperparameter(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('"sequence"\t"label"\n"AC"\t"1"\n')
    data = TableData(TableHparams(train_files=[str(path)], quotes="fields"))
    assert len(data.readers["train"]) == 1
