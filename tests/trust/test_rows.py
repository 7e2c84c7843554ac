"""Rows: what every check reads, against pysam and the tables themselves."""

import numpy as np
import pandas as pd
import pysam
import pytest

from seqmodel.dataset.build import build_data
from seqmodel.errors import LabelError, SequenceError
from seqmodel.hparam.resolve import resolve
from seqmodel.trust.rows import Rows, drawn, rows_of

TEXTS = ["ACGT", "NNac", "GGGGGTTT", "T"]


def data_of(*argv):
    return build_data(resolve([*argv, "--batch_size=2"]))


def decoded(rows):
    parts = np.split(rows.codes, rows.offsets[1:-1])
    return [rows.alphabet.decode(x) for x in parts]


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.fa"
    texts = {
        name: "".join(rng.choice(list("ACGTacgtN"), n)) for name, n in [("one", 500), ("two", 300)]
    }
    path.write_text("".join(f">{name}\n{x}\n" for name, x in texts.items()))
    return path


def test_rows_of_a_table_are_its_rows(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame({"sequence": TEXTS, "label": [0, 1, 2, 0]}).to_csv(path, index=False)
    rows = rows_of(data_of("--task=classify", "--dataset=table", f"--train_files={path}"), "train")
    assert decoded(rows) == [x.upper() for x in TEXTS]
    assert (rows.kind, rows.truth.tolist(), rows.targets) == (
        "class",
        [0, 1, 2, 0],
        ("0", "1", "2"),
    )
    same = Rows.of_table(path)
    assert np.array_equal(same.codes, rows.codes)
    assert np.array_equal(same.truth, rows.truth)
    np.testing.assert_allclose(same.lower, [0, 0.5, 0, 0])


def test_rows_of_intervals_are_what_pysam_reads_on_their_strand(tmp_path, genome):
    bed = tmp_path / "a.bed"
    bed.write_text("one\t10\t40\tx\t0\t+\none\t100\t130\ty\t0\t-\ntwo\t0\t30\tz\t0\t-\n")
    rows = rows_of(
        data_of(
            "--task=masked",
            "--dataset=fasta",
            f"--fasta={genome}",
            f"--train_files={bed}",
            "--seq_len=30",
        ),
        "train",
    )
    fasta = pysam.FastaFile(str(genome))
    expected = [fasta.fetch("one", 10, 40), fasta.fetch("one", 100, 130), fasta.fetch("two", 0, 30)]
    lower = [sum(map(str.islower, x)) / 30 for x in expected]
    pairs = str.maketrans("ACGTN", "TGCAN")
    expected = [x.upper() for x in expected]
    expected[1:] = [x.translate(pairs)[::-1] for x in expected[1:]]
    assert decoded(rows) == expected
    np.testing.assert_allclose(rows.lower, lower)
    assert rows.contigs.tolist() == ["one", "one", "two"]
    assert (rows.starts.tolist(), rows.ends.tolist()) == ([10, 100, 0], [40, 130, 30])


def test_windows_beyond_their_contig_are_cut(tmp_path, genome):
    data = data_of(
        "--task=masked",
        "--dataset=fasta",
        f"--fasta={genome}",
        "--seq_len=400",
        "--incomplete=pad",
        "--stride=400",
    )
    rows = rows_of(data, "train")
    assert rows.lengths.tolist() == [400, 100, 300]


def test_some_rows_are_drawn_and_know_their_numbers(tmp_path):
    path = tmp_path / "a.csv"
    pd.DataFrame({"sequence": TEXTS * 10, "label": [0, 1] * 20}).to_csv(path, index=False)
    data = data_of("--task=classify", "--dataset=table", f"--train_files={path}")
    rows, whole = rows_of(data, "train", limit=7), rows_of(data, "train")
    assert len(rows) == 7
    assert rows.total == 40
    assert decoded(rows) == [decoded(whole)[i] for i in rows.numbers]
    again = whole.draw(7)
    assert np.array_equal(again.codes, rows.codes)
    assert np.array_equal(again.index, rows.index)
    assert np.array_equal(drawn(40, 7), rows.index)


def test_rows_know_the_file_that_they_come_from(tmp_path):
    for name in "ab":
        pd.DataFrame({"sequence": TEXTS, "label": [0, 1, 1, 0]}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    files = [f"--train_files={tmp_path}/{x}.csv" for x in "ab"]
    data = data_of("--task=classify", "--dataset=table", *files)
    assert rows_of(data, "train").source.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("values", "kind", "targets"),
    [
        ([0, 1, 2, 0], "class", ("0", "1", "2")),
        (["cat", "dog", "cat", "ape"], "class", ("ape", "cat", "dog")),
        ([0.5, 1.5, None, 2], "real", ("label",)),
        ([0, 1, None, 1], "multilabel", ("label",)),
    ],
)
def test_the_kind_of_labels_of_a_frame_follows_from_its_values(values, kind, targets):
    rows = Rows.of_table(pd.DataFrame({"seq": TEXTS, "label": values}))
    assert (rows.kind, rows.targets) == (kind, targets)


def test_frames_without_sequences_are_refused():
    with pytest.raises(LabelError, match="no column of sequences, only a, b"):
        Rows.of_table(pd.DataFrame({"a": [1], "b": [2]}))
    with pytest.raises(SequenceError, match="row 2 column 'sequence'"):
        Rows.of_table(pd.DataFrame({"sequence": ["ACG", "AC!"]}))
