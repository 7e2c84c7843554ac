"""Models that are applied to other data: which items are scored, on labels that are their own."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from seqmodel.metrics import read_rows
from seqmodel.run import main

SMALL = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1", "--batch_size=8")
QUIET = ("--progress=none", "--accelerator=cpu")
FAST = (*SMALL, *QUIET, "--max_epochs=2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a genome of three contigs, labelled intervals, and two tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 2048)) for name in "abc"}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    lines = [
        f"{c}\t{s}\t{s + 64}\t{i % 2}\n" for c in "abc" for i, s in enumerate(range(0, 2048, 64))
    ]
    Path("g.bed").write_text("".join(lines))
    write_table("old.csv", 140, seed=1)
    write_table("new.csv", 50, seed=2)
    return tmp_path


def write_table(path, n, seed):
    """Sequences whose labels can be learned: a and b are rich in A and in C; kind is the richer."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        rich = rng.choice(list("AC"), p=(0.3, 0.7))
        seq = "".join(rng.choice(list("ACGT"), 40, p=[0.7 if x == rich else 0.1 for x in "ACGT"]))
        a, b = int(rich == "A"), int(rich == "C")
        kind, number = ("few", "many")[b], b
        rows.append([seq, a, b, kind, number, round(a + rng.random(), 3)])
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "a", "b", "kind", "number", "value"])
        writer.writerows(rows)


def scores(folder):
    """The last test scores in metrics.csv."""
    row = [r for r in read_rows(Path(folder, "metrics.csv")) if r.get("test_loss")][-1]
    return {name: value for name, value in row.items() if name.startswith("test_")}


def scored(folder):
    return json.loads(Path(folder, "hparams.json").read_text())["_run"]["tested"]


TABLE = ("--dataset=table", "--train_files=old.csv", "--valid_prop=0.1", "--test_prop=0.2")
MULTI = (*TABLE, "--task=multilabel", "--label_kind=multilabel", "--label_columns", "a", "b")
TEST = ("--mode=test", "--load_checkpoint_path=run/checkpoints/last.ckpt", *QUIET)


def test_a_test_scores_the_items_that_were_given_and_says_so(folder, capsys):
    assert main([*MULTI, *FAST, "--default_root_dir=run"]) == 0
    n_old = scored("run")["n"]
    assert 0 < n_old < 140
    assert scored("run")["files"] == ["old.csv"]
    assert f"test: {n_old} items of old.csv\n" in capsys.readouterr().out
    assert main([*TEST, "--test_files=new.csv", "--default_root_dir=new"]) == 0
    assert scored("new") == {"n": 50, "files": ["new.csv"]}
    assert "test: 50 items of new.csv\n" in capsys.readouterr().out
    curves = json.loads(Path("new/test_curves.json").read_text())
    assert curves["n"] == 50
    assert main([*TEST, "--default_root_dir=same"]) == 0
    assert scored("same") == {"n": n_old, "files": ["old.csv"]}


def test_items_of_a_part_of_the_batches_are_counted_as_such(folder):
    limit = "--limit_test_batches=2"
    assert main([*MULTI, *FAST, "--default_root_dir=run", limit]) == 0
    assert scored("run")["n"] == 16


@pytest.mark.parametrize(
    ("given", "n", "files"),
    [
        (["--intervals=g.bed", "--test_contigs=c"], 32, ["g.bed"]),
        (["--train_files=g.bed", "--test_files=c.bed"], 2, ["c.bed"]),
    ],
)
def test_intervals_that_are_scored_are_counted(folder, given, n, files):
    Path("c.bed").write_text("c\t0\t64\t1\nc\t64\t128\t0\n")
    data = ["--dataset=bed", "--task=classify", "--fasta=g.fa", *given]
    assert main([*data, *FAST, "--default_root_dir=run"]) == 0
    assert scored("run") == {"n": n, "files": files}


def test_windows_over_contigs_that_are_scored_are_counted(folder, capsys):
    data = ["--task=masked", "--fasta=g.fa", "--seq_len=64", "--test_contigs=b"]
    assert main([*data, *FAST, "--default_root_dir=run"]) == 0
    assert scored("run") == {"n": 32, "files": ["g.fa"]}
    capsys.readouterr()
    assert main([*TEST, "--fasta=g.fa", "--default_root_dir=again"]) == 2
    line = capsys.readouterr().err
    assert "needs a test split, but the data have: train; say which are for it with --test" in line
    assert not Path("again").exists()
