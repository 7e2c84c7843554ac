"""Whole runs through the command line: what they leave on disk, print, refuse and load."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from seqmodel import VERSION
from seqmodel.cli.verbs import main as cli_main
from seqmodel.record import checkpoint
from seqmodel.run import main
from seqmodel.training.metrics_csv import read_rows

ROOT = Path(__file__).resolve().parents[1]
SMALL = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1", "--batch_size=8")
PRETRAIN = ("--task=masked", "--fasta=g.fa", "--seq_len=64", "--valid_contigs=b", "--max_epochs=2")
CLASSIFY = ("--task=classify", "--dataset=bed", "--fasta=g.fa", "--intervals=g.bed")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a genome of three contigs and labelled intervals."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 2048)) for name in "abc"}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    lines = [
        f"{c}\t{s}\t{s + 64}\t{i % 2}\n" for c in "abc" for i, s in enumerate(range(0, 2048, 64))
    ]
    Path("g.bed").write_text("".join(lines))
    return tmp_path


def listing(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


@pytest.mark.filterwarnings("default:--precision=16-mixed is not possible")
def test_the_record_has_what_was_used_beside_what_was_asked(folder, capsys):
    """A CPU has no 16 bit floats of the one kind, and computes in the other."""
    args = [*CLASSIFY, *SMALL, "--valid_contigs=b", "--test_contigs=c", "--max_epochs=1"]
    args += ["--precision=16", "--accelerator=cpu", "--limit_train_batches=0.5", "--audit=none"]
    assert main(args) == 0
    told = "--precision=16-mixed is not possible on this device; the run uses bf16-mixed\n"
    assert capsys.readouterr().err == f"warning: {told}"
    (run,) = folder.glob("out/*/version_0")
    record = json.loads((run / "hparams.json").read_text())
    used = record["_run"]["used"]
    asked = ("precision", "monitor", "seq_len", "limit_train_batches", "limit_val_batches")
    assert [record[x] for x in asked] == ["16-mixed", None, None, 0.5, None]
    assert [used[x] for x in asked] == ["bf16-mixed", "valid_loss", 64, 2, 4]
    assert used["accelerator"] == "cpu"
    assert used["n_threads"] == used["devices"] == 1
    assert "precision=16-mixed" in run.parent.name
    assert record["_run"]["name"] == run.parent.name
    # the run is resumed by what was asked, under its own name; each attempt has its own
    last = f"--resume_from_checkpoint={run}/checkpoints/last.ckpt"
    assert main([last, "--max_epochs=2", "--n_threads=2"]) == 0
    record = json.loads((run / "hparams.json").read_text())["_run"]
    assert record["used"] == used
    assert record["resumed"][0]["used"] == {**used, "n_threads": 2}


def test_a_run_leaves_its_record_metrics_and_checkpoints(folder, capsys):
    assert main([*PRETRAIN, *SMALL, "--test_contigs=c"]) == 0
    (run,) = folder.glob("out/*/version_0")
    assert run.parent.name.startswith(
        "batch_size=8,encoder=dilated_conv,fasta=g.fa-09ee71b8,max_epochs=2"
    )
    names = set(listing(run)) - {"code.diff"}
    assert names == {
        "checkpoints",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "hparams.json",
        "metrics.csv",
        "usage.json",
    }
    usage = json.loads((run / "usage.json").read_text())
    assert usage["ended"] is True
    assert usage["peak_rss_bytes"] > 1e8
    assert usage["cpu_s"] > 0
    record = json.loads((run / "hparams.json").read_text())
    assert (record["lr"], record["n_layers"]) == (1e-3, 1)
    own = record["_run"]
    assert own["seqmodel"] == VERSION
    assert own["packages"]["torch"] == torch.__version__
    assert len(own["code"]["commit"] or "x" * 40) == 40
    (digest,) = own["data"].values()
    assert len(digest["sha256"]) == 64
    rows = read_rows(run / "metrics.csv")
    assert sum(bool(row["valid_loss"]) for row in rows) == 2
    assert float(rows[-1]["test_loss"]) > 0
    printed = capsys.readouterr().out
    assert "\n  2/2" in printed
    assert "test_loss" in printed


def test_a_repeated_run_is_a_new_version_and_the_same_numbers(folder):
    for _ in range(2):
        assert main([*PRETRAIN, *SMALL]) == 0
    first, second = sorted(folder.glob("out/*/version_*"))
    assert (first / "metrics.csv").read_text() == (second / "metrics.csv").read_text()


def test_another_seed_gives_other_weights(folder):
    for seed in "12":
        assert main([*PRETRAIN, *SMALL, f"--seed={seed}", f"--default_root_dir=run{seed}"]) == 0
    assert Path("run1/metrics.csv").read_text() != Path("run2/metrics.csv").read_text()


def test_the_record_of_a_run_gives_the_run_again(folder):
    assert main([*PRETRAIN, *SMALL, "--default_root_dir=one"]) == 0
    assert main(["--config=one/hparams.json", "--default_root_dir=two"]) == 0
    assert Path("one/metrics.csv").read_text() == Path("two/metrics.csv").read_text()


def test_a_pretrained_encoder_starts_another_task(folder):
    assert main([*PRETRAIN, *SMALL, "--n_dims=12", "--default_root_dir=pre"]) == 0
    source = "pre/checkpoints/best.ckpt"
    args = (*CLASSIFY, "--valid_contigs=b", "--test_contigs=c", "--max_epochs=1")
    args += (f"--load_encoder_from_checkpoint={source}", "--lr=0", "--weight_decay=0")
    assert main([*args, "--default_root_dir=fine"]) == 0
    before = checkpoint.load(source)["state_dict"]
    after = checkpoint.load("fine/checkpoints/last.ckpt")["state_dict"]
    names = [name for name in before if name.startswith("encoder.")]
    assert len(names) > 3
    # with a learning rate of 0 the encoder is the one that was loaded, 12 channels wide
    assert all(torch.equal(before[name], after[name]) for name in names)
    curves = json.loads(Path("fine/test_curves.json").read_text())
    assert sum(map(sum, curves["confusion"])) == 32
    row = read_rows(Path("fine/metrics.csv"))[-1]
    assert {"test_auroc", "test_mcc", "test_accuracy"} <= {n for n in row if row[n]}


def test_testing_a_checkpoint_gives_the_score_it_had_after_training(folder):
    split = ("--valid_contigs=b", "--test_contigs=c")
    assert main([*CLASSIFY, *SMALL, *split, "--max_epochs=2", "--default_root_dir=run"]) == 0
    assert (
        main(
            [
                "--mode=test",
                "--load_checkpoint_path=run/checkpoints/best.ckpt",
                "--default_root_dir=again",
            ]
        )
        == 0
    )
    first, again = (read_rows(Path(p, "metrics.csv"))[-1] for p in ("run", "again"))
    names = [n for n in again if n.startswith("test_")]
    assert len(names) > 3
    assert all(first[n] == again[n] for n in names)


def test_a_trial_run_leaves_nothing(folder):
    before = set(listing(folder))
    assert main([*PRETRAIN, *SMALL, "--fast_dev_run", "--default_root_dir=x"]) == 0
    left = set(listing(folder)) - before
    assert not [name for name in left if name.startswith(("x", "out"))]


@pytest.mark.filterwarnings("ignore:--precision=16-mixed is not possible")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_lower_precision_trains(folder, precision):
    args = [*PRETRAIN, *SMALL, f"--precision={precision}", "--default_root_dir=run"]
    assert main(args) == 0
    assert np.isfinite(float(read_rows(Path("run/metrics.csv"))[-1]["valid_loss"]))


def test_accumulated_batches_are_one_large_batch(folder):
    same = [*CLASSIFY, *SMALL, "--train_contigs", "a", "--dropout=0", "--max_steps=1", "--lr=1"]
    same += ["--optimiser=sgd", "--gradient_clip_val=0", "--weight_decay=0"]
    assert main([*same, "--batch_size=16", "--default_root_dir=large"]) == 0
    assert main([*same, "--accumulate_grad_batches=2", "--default_root_dir=small"]) == 0
    large, small = (checkpoint.load(f"{x}/checkpoints/last.ckpt") for x in ("large", "small"))
    assert large["global_step"] == small["global_step"] == 1
    for name, weight in large["state_dict"].items():
        torch.testing.assert_close(small["state_dict"][name], weight, rtol=1e-4, atol=1e-5)


def test_gradients_are_clipped(folder):
    same = [*CLASSIFY, *SMALL, "--max_steps=1", "--lr=1", "--optimiser=sgd", "--weight_decay=0"]
    same += ["--momentum=0"]
    moved = {}
    for clip in ("1e-3", "1e-6"):
        args = [*same, f"--gradient_clip_val={clip}", f"--default_root_dir={clip}"]
        assert main(args) == 0
        assert main([*same, "--lr=0", f"--default_root_dir={clip}0"]) == 0
        after, before = (
            checkpoint.load(f"{x}/checkpoints/last.ckpt")["state_dict"] for x in (clip, f"{clip}0")
        )
        moved[clip] = sum(float(((after[n] - before[n]) ** 2).sum()) for n in after) ** 0.5
    assert moved["1e-3"] == pytest.approx(1e-3, rel=0.05)
    assert moved["1e-6"] < 1e-5


PLUGIN = """
from seqmodel.hparam import Hparams

class X(Hparams):
    "Clashes with another."

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--extra", help="of the plugin")
"""
BED = "--train_files=bad.bed"
BAD = {
    "missing FASTA": (["--fasta=none.fa"], {}, r"HparamError: --fasta: none\.fa: no such file"),
    "BED beyond a contig": (
        [BED],
        {"bad.bed": "a\t0\t64\t1\na\t2000\t2100\t0\n"},
        r"IntervalError: bad\.bed line 2: .*2048",
    ),
    "label not a number": (
        [BED],
        {"bad.bed": "a\t0\t64\t1\na\t64\t128\tyes\n"},
        r"LabelError: bad\.bed line 2: .*'yes'",
    ),
    "unknown hyperparameter": (["--n_layer=2"], {}, r"no hyperparameter 'n_layer'.*'n_layers'"),
    "bad value": (["--n_layers=0"], {}, "must be a whole number in .1, 10000., got '0'"),
    "plugins that clash": (
        ["--plugins", "one", "two"],
        {"one.py": PLUGIN, "two.py": PLUGIN},
        r"HparamError: hyperparameter 'extra' is defined by both one\.X and two\.X",
    ),
    "seq_len longer than every contig": (["--seq_len=4096"], {}, r"Error: .*4096"),
    "a contig that is not there": (["--test_contigs=z"], {}, r"'z'"),
    "no training split": (["--train_contigs=z"], {}, r"'z'"),
    "stray word": (["lr=3"], {}, "stray word 'lr=3'"),
    "missing config": (
        ["--config=none.toml"],
        {},
        r"--config none\.toml: cannot be read \(No such file",
    ),
    "decoder that does not fit": (["--decoder=position"], {}, "cannot use --decoder=position; use"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_exit_2_and_nothing_written(folder, capsys, monkeypatch, case):
    args, files, message = BAD[case]
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for name, text in files.items():
        Path(name).write_text(text)
    wanted = [*CLASSIFY, *SMALL, "--max_epochs=1"]
    if BED in args:
        wanted.remove("--intervals=g.bed")
    before = set(listing(folder))
    assert main([*wanted, *args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert re_search(message, line), line
    # a store beside a FASTA file may be there, whole; of the run there is nothing
    left = {n for n in set(listing(folder)) - before if "__pycache__" not in n}
    assert not [name for name in left if not name.startswith("g.fa")], left
    assert not [name for name in left if "part" in name or "tmp" in name], left
    for name in ("one", "two"):
        sys.modules.pop(name, None)


def re_search(pattern, text):
    import re

    return re.search(pattern, text)


def test_a_folder_with_a_run_is_not_written_to(folder, capsys):
    assert main([*PRETRAIN, *SMALL, "--default_root_dir=run"]) == 0
    before = {p: Path("run", p).stat().st_mtime_ns for p in listing(folder / "run")}
    assert main([*PRETRAIN, *SMALL, "--default_root_dir=run", "--lr=1"]) == 2
    assert "RunError: run already holds a run; choose another" in capsys.readouterr().err
    assert before == {p: Path("run", p).stat().st_mtime_ns for p in listing(folder / "run")}


def test_a_checkpoint_for_another_model_is_told(folder, capsys):
    assert main([*PRETRAIN, *SMALL, "--default_root_dir=run"]) == 0
    path = "run/checkpoints/last.ckpt"
    assert main([*CLASSIFY, f"--load_encoder_from_checkpoint={path}", "--n_dims=16"]) == 2
    assert "does not fit this model" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_hostile_checkpoint_is_one_line_and_runs_nothing(folder, capsys):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, ("canary", "w"))

    Path("evil.ckpt").write_bytes(pickle.dumps(Evil()))
    for option in ("load_checkpoint_path", "load_encoder_from_checkpoint"):
        assert main([*PRETRAIN, *SMALL, f"--{option}=evil.ckpt"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("CheckpointError: evil.ckpt: not a checkpoint that seqmodel wrote")
    assert not Path("canary").exists()


def test_the_script_and_the_command_are_the_same_program():
    help_of = [
        subprocess.run(
            [sys.executable, *start, "--task=masked", "--help"],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
        for start in (["seqmodel/run.py"], ["-m", "seqmodel", "run"])
    ]
    assert help_of[0] == help_of[1]
    assert "* masked" in help_of[0]


def test_the_command_knows_its_verbs(capsys):
    assert cli_main(["--version"]) == 0
    assert VERSION in capsys.readouterr().out
    assert cli_main(["--help"]) == 0
    assert "seqmodel run" in capsys.readouterr().out
    assert cli_main(["rum"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("seqmodel: no verb 'rum'; choose one of run, ")
    assert told.endswith("did you mean 'run'?\n")
    assert cli_main(["run", "--tassk=masked"]) == 2
    assert "did you mean 'task'" in capsys.readouterr().err


def test_what_a_run_would_read_is_described(folder, capsys):
    words = ["data", "describe", "--dataset=bed", "--fasta=g.fa", "--intervals=g.bed"]
    words += ["--valid_contigs=b", "--test_contigs=c"]
    assert cli_main([*words, "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert set(described["splits"]) == {"train", "valid", "test"}
    assert cli_main(words) == 0
    assert "train" in capsys.readouterr().out
    assert cli_main(["data", "describe", "--dataset=bed"]) == 2
    assert "HparamError: --fasta is not set" in capsys.readouterr().err
    assert cli_main(["data", "describe"]) == 2
    assert "--dataset is not set; choose one of " in capsys.readouterr().err
    assert not Path("out").exists()


def test_steps_that_end_within_an_epoch_are_validated(folder):
    args = [*PRETRAIN, *SMALL, "--max_steps=3", "--default_root_dir=run"]
    assert main(args) == 0
    rows = read_rows(Path("run/metrics.csv"))
    assert [row["step"] for row in rows if row["valid_loss"]] == ["2"]
    assert Path("run/checkpoints/best.ckpt").exists()


def test_out_of_memory_is_told_in_one_line(folder, capsys, monkeypatch):
    from seqmodel.task.masked import MaskedTask

    def hungry(self, batch, batch_idx):
        torch.empty(1 << 60)

    monkeypatch.setattr(MaskedTask, "training_step", hungry)
    assert main([*PRETRAIN, *SMALL, "--default_root_dir=run"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("RunError: out of memory")
    assert "--batch_size" in line


def test_early_stopping_ends_a_run(folder):
    args = [*PRETRAIN, *SMALL, "--max_epochs=20", "--patience=2", "--lr=0"]
    assert main([*args, "--default_root_dir=run"]) == 0
    rows = read_rows(Path("run/metrics.csv"))
    assert sum(bool(row["valid_loss"]) for row in rows) == 3


def test_further_loggers_write_into_the_run_folder(folder):
    assert main([*PRETRAIN, *SMALL, "--logger=tensorboard", "--default_root_dir=run"]) == 0
    assert list(Path("run/tensorboard").glob("events.*"))
    assert read_rows(Path("run/metrics.csv"))


def test_a_logger_without_its_package_is_told(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([*PRETRAIN, *SMALL, "--logger=wandb", "--default_root_dir=run"]) == 2
    assert "pip install '.[wandb]' in the checkout" in capsys.readouterr().err
