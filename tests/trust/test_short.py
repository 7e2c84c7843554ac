"""What a run prints beside its test score, and what it keeps for an audit."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.run import main as run_main
from seqmodel.trust import short

TINY = [
    "--task=classify",
    "--dataset=table",
    "--train_files=train.csv",
    "--test_files=test.csv",
    "--encoder=cnn",
    "--n_dims=4",
    "--n_layers=1",
    "--max_epochs=1",
    "--batch_size=16",
    "--accelerator=cpu",
    "--progress=none",
    "--default_root_dir=out",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """GC tells the class; four test rows are training rows."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, n in (("train", 200), ("test", 80)):
        y = rng.integers(0, 2, n)
        p = np.array([[0.3, 0.2, 0.2, 0.3], [0.2, 0.3, 0.3, 0.2]])
        texts = ["".join(rng.choice(list("ACGT"), 60, p=p[i])) for i in y]
        if name == "train":
            copies = texts[:4], y[:4]
        else:
            texts[:4], y[:4] = copies
        pd.DataFrame({"sequence": texts, "label": y}).to_csv(f"{name}.csv", index=False)
    return tmp_path


def audit_lines(text):
    return [x for x in text.splitlines() if x.startswith("audit:")]


def test_a_run_prints_one_line_beside_its_score(folder, capsys, monkeypatch):
    monkeypatch.setattr(short, "SHARE", 1000.0)
    assert run_main(TINY) == 0
    text = capsys.readouterr().out
    (line,) = audit_lines(text)
    mcc = next(x for x in text.splitlines() if "test_mcc" in x).split("test_mcc ")[1].split()[0]
    assert line.startswith(f"audit: mcc {float(mcc):.3f} | ")
    assert "| 4 duplicates of train, 5.0% similar (>= 0.2): mcc " in line
    assert "GC 0." in line
    assert line.endswith("without them")


def test_a_run_of_python_prints_the_line_too(folder, capsys, monkeypatch):
    monkeypatch.setattr(short, "SHARE", 1000.0)
    given = dict(x.removeprefix("--").split("=") for x in TINY)
    run = seqmodel.train(**given)
    (line,) = audit_lines(capsys.readouterr().out)
    assert line.startswith(f"audit: mcc {run.metrics['test_mcc']:.3f} | ")


def test_a_line_that_would_cost_too_much_is_left_out_with_a_word(folder, capsys, monkeypatch):
    monkeypatch.setattr(short, "SHARE", 0.0)
    monkeypatch.setattr(short, "LEAST_S", 0.0)
    assert run_main(TINY) == 0
    (line,) = audit_lines(capsys.readouterr().out)
    assert "left out; it would take about" in line
    assert "seqmodel audit --run=out" in line


def test_the_folder_of_a_run_has_all_that_an_audit_needs(folder, capsys):
    assert run_main(TINY) == 0
    capsys.readouterr()
    assert main(["audit", "--run=out", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"]["rows"] == 80
    last = pd.read_csv("out/metrics.csv").iloc[-1]
    for name in ("mcc", "auroc", "accuracy"):
        assert report["model"]["metrics"][name]["value"] == pytest.approx(
            last[f"test_{name}"], abs=1e-5
        )
    assert json.loads(Path("out/audit.json").read_text()) == report
    assert seqmodel.audit(run="out")["duplicates"] == report["duplicates"]


def test_full_audits_are_kept_and_none_leaves_nothing(folder, capsys):
    assert run_main([*TINY, "--audit=full"]) == 0
    assert "baselines, test mcc" in capsys.readouterr().out
    assert json.loads(Path("out/audit.json").read_text())["model"]["rows"] == 80
    assert run_main([*TINY[:-1], "--audit=none", "--default_root_dir=none"]) == 0
    assert not audit_lines(capsys.readouterr().out)
    assert not Path("none/test_predictions.tsv").exists()


@pytest.mark.parametrize("task", ["masked", "causal"])
def test_runs_of_letters_have_chains(folder, capsys, monkeypatch, task):
    monkeypatch.setattr(short, "SHARE", 1000.0)
    rng = np.random.default_rng(0)
    contigs = {x: "".join(rng.choice(list("ACGT"), 2000)) for x in "ab"}
    Path("g.fa").write_text("".join(f">{n}\n{x}\n" for n, x in contigs.items()))
    data = ["--dataset=fasta", "--fasta=g.fa", "--seq_len=50", "--train_contigs", "a"]
    model = ["--encoder=transformer", "--n_heads=1", f"--causal={task == 'causal'}"]
    argv = [f"--task={task}", *data, "--test_contigs", "b", *model, *TINY[5:]]
    assert run_main(argv) == 0
    (line,) = audit_lines(capsys.readouterr().out)
    assert "0 duplicates of train, 0 overlap, 0.0% similar" in line
    assert ("3 positions on either side" in line) == (task == "masked")
    assert "nats" in line


def test_an_audit_that_fails_does_not_fail_the_run(folder, capsys, monkeypatch):
    def broken(*args):
        raise ValueError("of no use")

    monkeypatch.setattr(short, "_short", broken)
    assert run_main(TINY) == 0
    assert audit_lines(capsys.readouterr().out) == ["audit: left out (ValueError: of no use)"]


def test_runs_that_scored_the_same_test_rows_are_counted(folder, capsys):
    for n in range(2):
        argv = [*TINY[:-1], f"--seed={n}", f"--default_root_dir=out/run{n}/version_0"]
        assert run_main(argv) == 0
    Path("test.csv").write_text(Path("test.csv").read_text() + "ACGT,0\n")
    assert run_main([*TINY[:-1], "--default_root_dir=out/other/version_0"]) == 0
    capsys.readouterr()
    assert main(["audit", "--run=out/other/version_0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["looks"] == 1
    Path("test.csv").write_text("".join(Path("test.csv").read_text().splitlines(True)[:-1]))
    assert main(["audit", "--run=out/run1/version_0"]) == 0
    assert "2 runs have scored these test rows" in capsys.readouterr().out
