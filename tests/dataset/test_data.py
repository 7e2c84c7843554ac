"""Data objects: from hyperparameters to batches, and what is refused before anything is read."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import need

from seqmodel.dataset.label.targets import Targets
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.dataset.table_data import TableData
from seqmodel.errors import HparamError, IntervalError, LabelError, SequenceError
from seqmodel.hparam.dataset import TableHparams
from seqmodel.hparam.genome import BedHparams, FastaHparams


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a genome of three contigs, labelled intervals, and tables."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTacgtN", np.uint8)
    with open("g.fa", "w") as f:
        for name, n in (("a", 500), ("b", 300), ("c", 200)):
            f.write(f">{name}\n{letters[rng.integers(0, 9, n)].tobytes().decode()}\n")
    with open("x.bed", "w") as f:
        for i in range(60):
            start = int(rng.integers(0, 150))
            contig, strand = "abc"[i % 3], "+-"[i % 2]
            f.write(f"{contig}\t{start}\t{start + 40}\t{i % 2}\t0\t{strand}\n")
    (tmp_path / "train.csv").write_text('sequence,label\nACGT,0\n"ACGTA",1\n\nacn,1\n')
    (tmp_path / "test.tsv").write_text("label\tsequence\n1\tGGGG\n")
    return tmp_path


def rows_of(loader, alphabet):
    return [alphabet.decode(x) for batch in loader for x in batch["tokens"].numpy()]


def test_fasta_splits_tiles_by_contig(folder):
    data = FastaData(FastaHparams(fasta=["g.fa"], seq_len=100, valid_contigs=["b"]))
    assert data.splits == ("train", "valid")
    assert data.targets == Targets()
    valid = rows_of(data.loader("valid"), data.alphabet)
    assert valid == [data.store.text("b", i, i + 100) for i in (0, 100, 200)]
    assert sorted(rows_of(data.loader("train"), data.alphabet)) == sorted(
        data.store.text(c, i, i + 100)
        for c, n in (("a", 5), ("c", 2))
        for i in range(0, 100 * n, 100)
    )


def test_bed_gives_windows_on_their_strand_with_their_class(folder):
    hparams = BedHparams(fasta=["g.fa"], intervals=["x.bed"], test_contigs=["c"], batch_size=7)
    data = BedData(hparams)
    assert data.targets == Targets("class", ("0", "1"))
    expected = [x.split("\t") for x in (folder / "x.bed").read_text().splitlines()]
    batches = list(data.loader("test"))
    targets = [x for batch in batches for x in batch["target"].tolist()]
    assert targets == [int(x[3]) for x in expected if x[0] == "c"]
    assert str(batches[0]["target"].dtype) == "torch.int64"
    assert list(data.digests()) == [str(folder / "g.fa"), "x.bed"]


def test_stranded_intervals_are_what_bedtools_gets(folder):
    bedtools = need("bedtools")
    rng = np.random.default_rng(1)
    start = rng.integers(0, 140, 10000)
    rows = [
        f"{'abc'[i % 3]}\t{s}\t{s + 57}\t.\t0\t{'+-'[i % 2]}" for i, s in enumerate(start.tolist())
    ]
    (folder / "many.bed").write_text("\n".join(rows) + "\n")
    command = [bedtools, "getfasta", "-s", "-tab", "-fi", "g.fa", "-bed", "many.bed"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = [x.split("\t")[1].upper() for x in done.stdout.splitlines()]
    data = FastaData(FastaHparams(fasta=["g.fa"], intervals=["many.bed"], batch_size=64))
    assert rows_of(data.loader("train", train=False), data.alphabet) == expected


def test_splits_by_file_and_windows_wider_than_the_intervals(folder):
    hparams = FastaHparams(fasta=["g.fa"], train_files=["x.bed"], test_files=["y.bed"], seq_len=60)
    (folder / "y.bed").write_text("a\t100\t140\n")
    with pytest.warns(UserWarning, match=r"train split: \d+ of 60 windows of 60 reach beyond"):
        data = FastaData(hparams)
    assert rows_of(data.loader("test"), data.alphabet) == [data.store.text("a", 90, 150)]
    rows = [x.split("\t") for x in (folder / "x.bed").read_text().splitlines()]
    n_dropped = sum(int(x[1]) < 10 or (x[0] == "c" and int(x[2]) > 190) for x in rows)
    assert len(data.readers["train"]) == 60 - n_dropped


def test_table_pads_on_the_right_on_either_strand(folder):
    hparams = TableHparams(train_files=["train.csv"], test_files=["test.tsv"], rc_prob=1.0)
    data = TableData(hparams)
    plain = next(iter(data.loader("train", train=False)))
    assert [data.alphabet.decode(x) for x in plain["tokens"].numpy()] == ["ACGT-", "ACGTA", "ACN--"]
    assert plain["target"].tolist() == [0, 1, 1]
    assert plain["pad"].sum(1).tolist() == [1, 0, 2]
    flipped = next(iter(data.loader("train")))
    found = {data.alphabet.decode(x) for x in flipped["tokens"].numpy()}
    assert found == {"ACGT-", "TACGT", "NGT--"}
    assert (flipped["pad"] == (flipped["tokens"] == data.alphabet.pad_id)).all()
    assert rows_of(data.loader("test"), data.alphabet) == ["GGGG-"]


def test_columns_may_be_numbers_and_classes_have_names(folder):
    (folder / "plain.csv").write_bytes(gzip.compress(b"EI, ACGT\r\nN,ACGN\r\n"))
    data = TableData(
        TableHparams(
            train_files=["plain.csv"],
            sequence_column="2",
            label_columns=["1"],
            class_names=["N", "EI"],
        )
    )
    batch = next(iter(data.loader("train", train=False)))
    assert batch["target"].tolist() == [1, 0]
    assert data.targets.names == ("N", "EI")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("sequence,label\nACGT,x\n", LabelError, r"t.csv line 2: label 'x' is not a whole number"),
        ("sequence,label\nACGT,-1\n", LabelError, r"t.csv line 2: label -1 is negative"),
        (
            "sequence,label\nACGT,0\nAC\n",
            LabelError,
            r"t.csv line 3: 1 columns, but the first line has 2",
        ),
        (
            "sequence,label\nACGT,0\nACZT,0\n",
            SequenceError,
            r"t.csv line 3 column 'sequence', character 3: 'Z' is not of",
        ),
        ("sequence,label\n,0\n", SequenceError, r"t.csv line 2 .*: the sequence is empty"),
        ("seq,label\nACGT,0\n", LabelError, r"t.csv: no column 'sequence'; it has seq, label"),
        ("sequence,label\n", LabelError, "t.csv has no rows"),
        ("", LabelError, "t.csv has no rows"),
    ],
)
def test_a_wrong_table_is_one_line_that_names_the_place(folder, text, error, message):
    (folder / "t.csv").write_text(text)
    with pytest.raises(error, match=message) as e:
        TableData(TableHparams(train_files=["t.csv"]))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("kind", "values", "error", "message"),
    [
        (FastaHparams, {}, HparamError, "--fasta is not set"),
        (
            FastaHparams,
            {"fasta": ["no.fa"]},
            HparamError,
            r"--fasta: no.fa: no such file \(looked in",
        ),
        (FastaHparams, {"fasta": ["."]}, HparamError, r"--fasta: .: is a folder"),
        (FastaHparams, {"fasta": ["g.fa"]}, HparamError, "--seq_len is not set"),
        (
            FastaHparams,
            {"fasta": ["g.fa"], "seq_len": 501},
            IntervalError,
            "train split: seq_len=501 is longer than every contig .the longest has 500",
        ),
        (
            FastaHparams,
            {"fasta": ["g.fa"], "seq_len": 9, "valid_contigs": ["chr1"]},
            IntervalError,
            "--valid_contigs: contig 'chr1' is not in the sequences, which have a, b, c",
        ),
        (
            FastaHparams,
            {"fasta": ["g.fa"], "seq_len": 9, "valid_contigs": ["a"], "test_contigs": ["a"]},
            HparamError,
            "contig 'a' is in two splits",
        ),
        (
            FastaHparams,
            {"fasta": ["g.fa"], "train_files": ["x.bed"], "test_contigs": ["a"]},
            HparamError,
            "--train_files and --test_contigs are both set",
        ),
        (
            FastaHparams,
            {"fasta": ["g.fa"], "train_files": ["x.bed"], "test_files": ["./x.bed"]},
            HparamError,
            "x.bed is given twice",
        ),
        (BedHparams, {"fasta": ["g.fa"]}, HparamError, "--intervals or --train_files is not set"),
        (
            BedHparams,
            {"fasta": ["g.fa"], "intervals": ["x.bed"], "seq_len": 501},
            IntervalError,
            "every window of seq_len=501 reaches beyond its contig",
        ),
        (TableHparams, {}, HparamError, "--train_files is not set"),
        (
            TableHparams,
            {"train_files": ["train.csv"], "seq_len": 4},
            SequenceError,
            "a sequence has length 5, more than --seq_len=4",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, kind, values, error, message):
    made = {FastaHparams: FastaData, BedHparams: BedData, TableHparams: TableData}[kind]
    with pytest.raises(error, match=message) as e:
        made(kind(**values))
    assert "\n" not in str(e.value)


def test_missing_files_are_refused_without_numpy_or_torch(folder):
    program = """
import sys
from seqmodel.hparam.resolve import resolve_data
try:
    resolve_data(["--dataset=fasta", "--fasta=no.fa", "--seq_len=5"])
except ValueError as e:
    print(e, {"numpy", "torch"} & set(sys.modules))
"""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert "--fasta: no.fa: no such file" in done.stdout
    assert done.stdout.rstrip().endswith("set()")


def test_a_split_that_is_not_there_is_named(folder):
    data = FastaData(FastaHparams(fasta=["g.fa"], seq_len=100))
    with pytest.raises(HparamError, match="there is no test split, only train"):
        data.loader("test")
