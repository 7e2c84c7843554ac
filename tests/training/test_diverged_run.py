"""Runs whose loss or monitor is no number, and trials: what ends them, and what they leave."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from seqmodel.hparam.registry import known_hparams
from seqmodel.hparam.resolve import resolve
from seqmodel.job.state import status_of
from seqmodel.record import checkpoint
from seqmodel.run import main
from seqmodel.task.masked import MaskedTask
from seqmodel.training.checks import whole_run_steps
from seqmodel.training.metrics_csv import read_rows

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1", "--batch_size=8")
MASKED = ("--task=masked", "--fasta=g.fa", "--seq_len=64", "--valid_contigs=b", "--max_epochs=4")
REGRESS = (
    "--task=regress",
    "--dataset=table",
    "--label_columns",
    "y",
    "--label_kind=real",
    "--seq_len=32",
)
STEPS = 10  # of an epoch of MASKED


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("SEQMODEL_RUN_FOLDER", "SEQMODEL_JOB_PID"):
        monkeypatch.delenv(name, raising=False)
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 80 * 64)) for name in "ab"}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    return tmp_path


def table(name, labels, header="y"):
    """A table of 32 sequences of 32 letters with these labels in turn."""
    rng = np.random.default_rng(1)
    rows = [
        "".join(rng.choice(list("ACGT"), 32)) + f"\t{labels[i % len(labels)]}\n" for i in range(32)
    ]
    Path(name).write_text(f"sequence\t{header}\n" + "".join(rows))


def last_line(capsys):
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


def breaks_at(monkeypatch, step):
    """From this optimiser step on a weight of the first block is NaN."""
    score = MaskedTask.score

    def broken(self, batch):
        if self.training and self.trainer.global_step == step:
            next(p for n, p in self.named_parameters() if "blocks.0" in n).data.fill_(math.nan)
        return score(self, batch)

    monkeypatch.setattr(MaskedTask, "score", broken)


def finite_weights(path):
    saved = checkpoint.load(path)["state_dict"].values()
    return all(bool(x.isfinite().all()) for x in saved if x.is_floating_point())


@pytest.mark.parametrize(
    ("more", "name", "step"),
    [
        (["--log_every_n_steps=5"], "train_loss", 2 * STEPS + 4),
        ([], "valid_loss", 3 * STEPS),
        (["--checkpoint_every_n_steps=3"], "train_loss", 2 * STEPS + 4),
        (["--accumulate_grad_batches=2", "--log_every_n_steps=1"], "train_loss", 2 * STEPS + 2),
        (["--precision=bf16-mixed"], "valid_loss", 3 * STEPS),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_run_with_one_line(
    folder, capsys, monkeypatch, more, name, step
):
    breaks_at(monkeypatch, 2 * STEPS + 2)
    if more and "accumulate" in more[0]:
        more = [*more, "--max_epochs=8"]
    assert main([*MASKED, *SMALL, *more, "--default_root_dir=r"]) == 3
    line = last_line(capsys)
    assert line.startswith(f"DivergedError: {name} is nan at step {step}, learning rate 0.001; ")
    assert "first value that is not finite: weights encoder." in line
    for kept in ("best", "last"):
        assert finite_weights(f"r/checkpoints/{kept}.ckpt")
    rows = [row for row in read_rows(Path("r/metrics.csv")) if row["valid_loss"]]
    scores = [float(row["valid_loss"]) for row in rows if math.isfinite(float(row["valid_loss"]))]
    best = checkpoint.load("r/checkpoints/best.ckpt")["callbacks"]
    score = next(x["best_model_score"] for x in best.values() if "best_model_score" in x)
    assert float(score) == min(scores)
    events = "1 created\n2 start attempt=1 job=7\n3 run\n9 end code=3 phase=run submission=0\n"
    status = status_of("r", {"events": events.encode(), "stderr": f"{line}\n".encode()}, now=10)
    assert (status.state, status.reason, status.detail) == ("error", "diverged", line[:500])


def test_the_layer_of_a_bad_validation_batch_is_found_in_the_batches_again(
    folder, capsys, monkeypatch
):
    forward = torch.nn.Conv1d.forward

    def overflow(self, x):
        y = forward(self, x)
        return y if self.training else y * math.inf

    monkeypatch.setattr(torch.nn.Conv1d, "forward", overflow)
    assert main([*MASKED, *SMALL, "--n_workers=1", "--default_root_dir=r"]) == 3
    line = last_line(capsys)
    assert "DivergedError: valid_loss is nan at step 10" in line
    assert "first value that is not finite: output of encoder.embed;" in line
    assert not list(Path("r").glob("checkpoints/*"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_of_several_ranks_one_says_the_line(folder, strategy):
    wild = ["--optimiser=sgd", "--lr=1e30", "--gradient_clip_val=0", "--log_every_n_steps=1"]
    ranks = ["--devices=2", "--accelerator=cpu", f"--strategy={strategy}", "--default_root_dir=r"]
    command = [sys.executable, str(ROOT / "seqmodel/run.py"), *MASKED, *SMALL, *wild, *ranks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("DivergedError: train_loss is ") == 1
    assert "Traceback" not in done.stderr
    assert not Path("r/lock").exists()


def test_a_run_without_validation_and_logged_steps_ends_too(folder, capsys, monkeypatch):
    breaks_at(monkeypatch, STEPS + 2)
    args = [a for a in MASKED if "valid" not in a]
    assert main([*args, *SMALL, "--train_contigs", "a", "--default_root_dir=r"]) == 3
    assert "DivergedError: train_loss is nan at step 20" in last_line(capsys)
    assert checkpoint.load("r/checkpoints/last.ckpt")["global_step"] == STEPS


@pytest.mark.filterwarnings("ignore:--precision=16-mixed is not possible")
def test_gradients_that_overflow_in_half_precision_are_no_divergence(folder, monkeypatch):
    """The loss scaling of 16-mixed skips such steps."""
    step = MaskedTask.training_step
    skipped = []

    def overflow(self, batch, batch_idx):
        loss = step(self, batch, batch_idx)
        if batch_idx == 1:
            skipped.append(batch_idx)
            return loss + (loss - loss.detach()) * 1e38  # the same loss, and inf in the gradient
        return loss

    monkeypatch.setattr(MaskedTask, "training_step", overflow)
    args = ["--precision=16-mixed", "--log_every_n_steps=1", "--max_epochs=2"]
    assert main([*MASKED, *SMALL, *args, "--gradient_clip_val=0", "--default_root_dir=r"]) == 0
    assert len(skipped) == 2
    assert finite_weights("r/checkpoints/last.ckpt")


def test_a_monitor_that_is_undefined_is_no_reason_to_stop_or_to_choose(folder, capsys, caplog):
    """AUROC of a validation split with one class."""
    for i, c in enumerate("ab"):
        lines = [
            f"{c}\t{s}\t{s + 64}\t{1 if i else j % 2}\n" for j, s in enumerate(range(0, 5120, 64))
        ]
        Path(f"{c}.bed").write_text("".join(lines))
    args = ["--task=classify", "--dataset=bed", "--fasta=g.fa", "--train_files=a.bed"]
    args += ["--valid_files=b.bed", "--class_names", "0", "1", "--max_epochs=4", *SMALL]
    more = ["--monitor=valid_auroc", "--patience=1", "--default_root_dir=r"]
    assert main([*args, *more]) == 0
    rows = [row for row in read_rows(Path("r/metrics.csv")) if row["valid_loss"]]
    assert len(rows) == 4
    assert not Path("r/checkpoints/best.ckpt").exists()
    assert "valid_auroc is nan after step 10: it chooses no best checkpoint" in caplog.text


def test_labels_that_no_batch_of_a_validation_has_are_no_divergence(folder, caplog):
    table("t.tsv", [1, 2, 3])
    table("v.tsv", ["", *range(31)])
    args = [*REGRESS, *SMALL, "--train_files=t.tsv", "--valid_files=v.tsv", "--max_epochs=3"]
    args += ["--batch_size=1", "--limit_val_batches=1", "--default_root_dir=r"]
    assert main([*args, "--schedule=plateau", "--patience=1"]) == 0
    rows = [row for row in read_rows(Path("r/metrics.csv")) if row["valid_loss"]]
    assert [row["valid_loss"] for row in rows] == ["nan"] * 3
    assert "valid_loss is nan" in caplog.text


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_split_without_any_label_is_refused_before_training(folder, capsys, split):
    for name in ("train", "valid", "test"):
        table(f"{name}.tsv", [""] if name == split else ["", 1, 2])
    files = [f"--{name}_files={name}.tsv" for name in ("train", "valid", "test")]
    for trial in ([], ["--fast_dev_run"]):
        assert main([*REGRESS, *SMALL, *files, "--default_root_dir=r", *trial]) == 2
        line = last_line(capsys)
        assert line.startswith(
            f"LabelError: the {split} split ({split}.tsv) has nothing to predict"
        )
        assert "every label is missing in all 32 items" in line
    assert not Path("r").exists()


@pytest.mark.parametrize("letters", ["N", "acgt"])
def test_sequences_without_a_base_to_predict_are_refused(folder, capsys, letters):
    Path("n.fa").write_text(f">a\n{(letters * 4096)[:4096]}\n>b\n{'ACGT' * 256}\n")
    args = [a.replace("g.fa", "n.fa") for a in MASKED]
    args += ["--soft_mask_weight=0"] if letters != "N" else []
    assert main([*args, *SMALL, "--default_root_dir=r"]) == 2
    line = last_line(capsys)
    assert line.startswith(
        "LabelError: the train split (n.fa) has nothing to predict: every position"
    )
    assert not Path("r").exists()


def test_class_weights_that_are_all_0_are_refused(folder, capsys):
    Path("g.bed").write_text("a\t0\t64\t0\na\t64\t128\t1\n")
    args = ["--task=classify", "--dataset=bed", "--fasta=g.fa", "--train_files=g.bed"]
    assert main([*args, *SMALL, "--class_weights", "0", "0"]) == 2
    assert "HparamError: --class_weights: all 2 are 0" in last_line(capsys)


NUMBERS = sorted(
    {
        (name, cls.__name__)
        for cls in known_hparams()
        for name, hparam in cls.default_hparams().declared.items()
        if hparam.owner is cls and "a number" in getattr(hparam.type, "described", "")
    }
)


def test_no_number_of_any_class_may_be_infinite():
    owners = {cls.__name__: cls for cls in known_hparams()}
    assert ("lr", "OptimiserHparams") in NUMBERS
    assert len(NUMBERS) > 20
    for name, owner in NUMBERS:
        hparam = owners[owner].default_hparams().declared[name]
        for raw in ("inf", "-inf", "1e999", "nan", float("inf")):
            with pytest.raises(ValueError, match=f"--{name} "):
                hparam.value([raw] if hparam.is_list else raw)


@pytest.mark.parametrize("trial", [[], ["--fast_dev_run"]])
def test_a_monitor_that_is_never_logged_is_refused_before_the_run_folder(folder, capsys, trial):
    assert main([*MASKED, *SMALL, "--monitor=valid_acc", "--default_root_dir=r", *trial]) == 2
    line = last_line(capsys)
    assert line.startswith("HparamError: --monitor=valid_acc: the task masked logs no such value")
    assert "valid_loss, valid_bits, valid_perplexity, valid_accuracy" in line
    assert line.endswith("did you mean 'valid_accuracy'?")
    assert not Path("r").exists()


def test_a_training_loss_may_be_the_monitor(folder, caplog):
    """It is known after the first logged step, or epoch; before that it chooses nothing."""
    args = ["--monitor=train_loss", "--patience=2", "--val_check_interval=5", "--max_epochs=2"]
    assert main([*MASKED, *SMALL, *args, "--default_root_dir=r"]) == 0
    assert "train_loss is not logged yet after step 5" in caplog.text
    assert checkpoint.load("r/checkpoints/best.ckpt")["global_step"] == STEPS


@pytest.mark.parametrize("valid", [[], ["--valid_contigs=b"]])
@pytest.mark.parametrize(
    "schedule",
    [
        "cosine",
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in ("constant", "linear", "one_cycle", "inverse_sqrt")
        ),
    ],
)
def test_a_trial_has_the_schedule_of_the_run_that_it_tries(folder, monkeypatch, schedule, valid):
    from seqmodel.task import task

    seen = []
    build = task.build_schedule
    monkeypatch.setattr(task, "build_schedule", lambda o, h, n: seen.append(n) or build(o, h, n))
    args = [a for a in MASKED if "valid" not in a] + valid + [f"--schedule={schedule}"]
    args += ["--train_contigs", "a", "--warmup_steps=7", "--accumulate_grad_batches=3"]
    for more in (["--max_epochs=3"], ["--limit_train_batches=5", "--max_steps=9"]):
        assert main([*args, *SMALL, *more, "--fast_dev_run"]) == 0
        assert main([*args, *SMALL, *more]) == 0
    assert seen[0] == seen[1] == 12
    assert seen[2] == seen[3] == 8


def test_a_trial_finds_a_warm_up_that_is_too_long_for_the_run(folder, capsys):
    args = [*MASKED, *SMALL, "--fast_dev_run"]
    assert main([*args, f"--warmup_steps={4 * STEPS - 1}"]) == 0
    assert main([*args, f"--warmup_steps={4 * STEPS}"]) == 2
    assert "--warmup_steps=40 of only 40 training steps" in last_line(capsys)


def test_the_steps_of_a_run_are_counted_as_lightning_does(folder):
    run = resolve([*MASKED, *SMALL, "--accumulate_grad_batches=3", "--max_epochs=2"])
    assert whole_run_steps(run, 10) == 2 * 4
    run = resolve([*MASKED, *SMALL, "--max_steps=5", "--limit_train_batches=4"])
    assert whole_run_steps(run, 10) == 5
    assert torch.inf > whole_run_steps(resolve([*MASKED, *SMALL]), 1) == 4
