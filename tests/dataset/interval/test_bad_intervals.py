"""Intervals that cannot be read are an error, or left out and counted; columns in one pass."""

import warnings

import numpy as np
import pytest

from seqmodel.dataset import store_data
from seqmodel.dataset.describe import as_text, describe
from seqmodel.dataset.interval import bed
from seqmodel.dataset.label import gathered
from seqmodel.dataset.peak_data import PeakData
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.errors import HparamError, IntervalError
from seqmodel.hparam.genome import BedHparams, FastaHparams, PeaksHparams

RNG = np.random.default_rng(0)
SIZES = {"chr1": 400, "chr2": 300, "chrM": 60}
GOOD = [("chr1", 0, 50), ("chr1", 350, 400), ("chr2", 10, 60), ("chrM", 10, 60)]
BAD = {
    "on an unknown contig": ("chrUn_1", 0, 50),
    "of zero length": ("chr1", 20, 20),
    "beyond the end of their contig": ("chrM", 40, 90),  # across the origin of a circular contig
}
ROWS = [*GOOD[:2], *BAD.values(), *GOOD[2:]]
LABELS = list(range(len(ROWS)))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    letters = {name: "".join(RNG.choice(list("ACGT"), n)) for name, n in SIZES.items()}
    (tmp_path / "g.fa").write_text("".join(f">{n}\n{x}\n" for n, x in letters.items()))
    return tmp_path


def written(folder, kind, rows=ROWS, labels=LABELS):
    """The intervals with a label, a weight and a split, in a file of that kind."""
    path = folder / f"x.{kind}"
    words = ["train", "test"] * len(rows)
    lines = []
    for (contig, start, end), label, word in zip(rows, labels, words, strict=False):
        if kind == "gff3":
            more = f"label={label};w={label}.5;s={word}"
            place = f"{start + 1}\t{end}"
            lines.append(f"{contig}\t.\tgene\t{place}\t.\t+\t.\t{more}")
        else:
            peak = "." if kind == "bed" else "0\t.\t1\t5"
            lines.append(f"{contig}\t{start}\t{end}\t{label}\t{label}.5\t{word}\t{peak}")
    path.write_text("\n".join([*lines, ""]))
    return str(path)


def data_of(path, **given):
    columns = {"label_columns": ["label"], "weight_column": "w", "split_column": "s"}
    if not path.endswith("gff3"):
        columns = {"label_columns": ["4"], "weight_column": "5", "split_column": "6"}
    given = {"label_kind": "real", "strand_column": "none", "seq_len": 50, **columns, **given}
    return BedData(BedHparams(fasta=["g.fa"], train_files=[path], **given))


def content(data):
    """(contig, start, label, weight) of all items by split."""
    found = {}
    for split, reader in data.readers.items():
        weights = data.weights.get(split, [None] * len(reader))
        rows = zip(reader.intervals, reader.target[:, 0].tolist(), weights, strict=True)
        found[split] = [(x.contig, x.start, label, weight) for x, label, weight in rows]
    return found


@pytest.mark.parametrize("why", BAD)
@pytest.mark.parametrize("kind", ["bed", "gff3", "narrowPeak"])
def test_one_that_cannot_be_read_is_an_error_that_names_the_option(folder, kind, why):
    path = written(folder, kind, [*GOOD, BAD[why]], [1] * 5)
    with pytest.raises(IntervalError, match=rf"x.{kind} line 5: .*; --bad_intervals=skip"):
        data_of(path)


@pytest.mark.parametrize("kind", ["bed", "gff3"])
def test_those_that_cannot_be_read_are_left_out_and_counted(folder, kind):
    kept = [i for i, x in enumerate(ROWS) if x in GOOD]
    with pytest.warns(UserWarning, match=r"3 of 7 intervals are left out: .*; the first: x|/x"):
        data = data_of(written(folder, kind), bad_intervals="skip")
    train = [(*ROWS[i][:2], float(i), i + 0.5) for i in kept if i % 2 == 0]
    test = [(*ROWS[i][:2], float(i)) for i in kept if i % 2]
    found = content(data)
    assert (found["train"], [x[:3] for x in found["test"]]) == (train, test)
    ((path, counts),) = data.bad_intervals.items()
    assert counts == dict.fromkeys(BAD, 1)
    assert f"{path}: left out 1 intervals of zero length" in as_text(describe(data))


def test_nothing_is_said_where_all_can_be_read(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = data_of(written(folder, "bed", GOOD, LABELS[:4]), bad_intervals="skip")
    assert not data.bad_intervals


def test_a_file_without_any_that_can_be_read_is_refused(folder):
    path = written(folder, "bed", list(BAD.values()), [1, 2, 3])
    with pytest.raises(IntervalError, match="no interval that can be read; .*line 1: contig 'chrU"):
        data_of(path, bad_intervals="skip")


def test_summits_peaks_and_blacklists_leave_them_out_too(folder):
    path = written(folder, "narrowPeak")
    given = {"fasta": ["g.fa"], "bad_intervals": "skip", "seq_len": 10, "strand_column": "none"}
    with pytest.warns(UserWarning, match="3 of 7 intervals are left out"):
        data = FastaData(FastaHparams(intervals=[path], **given))
    assert [x.start for x in data.readers["train"].intervals] == [start for _, start, _ in GOOD]
    with pytest.warns(UserWarning, match="3 of 7 intervals are left out"):
        peaks = PeakData(PeaksHparams(peaks=[path], bin_len=50, **given))
    assert peaks.targets.names == ("x",)
    with pytest.warns(UserWarning, match="3 of 7 intervals are left out"):
        tiles = FastaData(FastaHparams(blacklist=[path], **given))
    assert tiles.left_out["train"]["blacklisted"] == 20


# -- columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [["5-923"], ["rest"], ["y0", "6-923"]])
def test_919_columns_are_read_in_one_pass(folder, columns, monkeypatch):
    labels = (RNG.random((40, 919)) < 0.2).astype(int)
    names = "\t".join(["#chrom", "start", "end", "strand", *(f"y{i}" for i in range(919))])
    rows = ["\t".join(["chr1", str(i), str(i + 50), "+", *map(str, labels[i])]) for i in range(40)]
    (folder / "w.bed").write_text("\n".join([names, *rows, ""]))
    n_blocks = 0
    plain = bed._blocks

    def counted(path):
        nonlocal n_blocks
        for block in plain(path):
            n_blocks += 1
            yield block

    monkeypatch.setattr(bed, "_blocks", counted)
    monkeypatch.setattr(bed, "_BLOCK_BYTES", 10_000)
    monkeypatch.setattr(gathered, "HELD_BYTES", 1000)
    given = {"label_columns": columns, "label_kind": "multilabel", "weight_column": None}
    data = data_of("w.bed", strand_column=None, split_column=None, **given)
    assert n_blocks == -(-(folder / "w.bed").stat().st_size // 10_000)
    assert data.targets.names == tuple(f"y{i}" for i in range(919))
    np.testing.assert_array_equal(data.readers["train"].target, labels)
    assert isinstance(data.readers["train"].target.base, np.memmap)


def test_a_flag_and_a_proportion_divide_the_train_rows_of_a_column(folder):
    # as in FLIP: the column of splits has train and test alone, another says what is for valid
    flags = ["True", "", "", "", "False", "False"]
    words = ["train", "train", "test", "train", "train", "train"]
    names = ["chr1", "chr1", "chr1", "chr1", "chr2", "chr2"]
    head = "#chrom\tstart\tend\ty\tset\tvalidation\n"
    rows = zip(names, range(6), flags, words, strict=True)
    text = "".join(f"{c}\t{i}\t{i + 50}\t{i}.5\t{w}\t{f}\n" for c, i, f, w in rows)
    (folder / "f.bed").write_text(head + text)
    given = {"label_columns": ["y"], "weight_column": None, "split_column": "set"}
    data = data_of("f.bed", valid_column="validation", **given)
    found = {split: [x[1] for x in rows] for split, rows in content(data).items()}
    assert found == {"train": [1, 3, 4, 5], "valid": [0], "test": [2]}
    with pytest.raises(HparamError, match="--valid_prop: .* already has rows of the valid split"):
        data_of("f.bed", valid_column="validation", valid_prop=0.5, **given)
    (folder / "g.bed").write_text(head + text.replace("True", "perhaps"))
    with pytest.raises(IntervalError, match="g.bed line 2: 'perhaps' is not true or false"):
        data_of("g.bed", valid_column="validation", **given)


def test_a_proportion_that_leaves_no_contig_is_refused(folder):
    path = written(folder, "bed", GOOD, LABELS[:4])
    given = {"weight_column": None, "split_column": None}
    with pytest.raises(IntervalError, match=r"--valid_prop=1e-06 leaves no contig for the valid"):
        data_of(path, valid_prop=1e-6, **given)
    with pytest.raises(IntervalError, match="leave no contig for the train split, of 3"):
        data_of(path, valid_prop=0.999999, **given)
    assert store_data.split_by_digest(["chr1"], 0.999999, 0).tolist() == [1]
