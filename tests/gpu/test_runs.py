"""Whole runs on the device: precisions, --compile, accumulation, resume, memory that runs out."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from step_cases import flat, new_task, trained

from seqmodel.record import checkpoint
from seqmodel.run import main
from seqmodel.training.metrics_csv import read_rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--encoder=transformer", "--n_layers=2", "--n_dims=16", "--n_heads=2", "--dropout=0.2")
DATA = ("--fasta=g.fa", "--seq_len=64", "--valid_contigs=b", "--test_contigs=c", "--batch_size=8")
SIZES = {"a": 4600, "b": 900, "c": 900}
RUN = ("--task=masked", *SMALL, *DATA, "--max_epochs=2", "--log_every_n_steps=2")


@pytest.fixture
def run(tmp_path, monkeypatch, accelerator):
    """Runs a command line on the device, in a folder with a genome."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), n)) for name, n in SIZES.items()}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    return lambda *args: main([*args, f"--accelerator={accelerator}"])


def losses(folder):
    rows = read_rows(Path(folder, "metrics.csv"))
    return [float(row[name]) for row in rows for name in ("train_loss", "valid_loss") if row[name]]


def weights(folder):
    state = checkpoint.load(f"{folder}/checkpoints/last.ckpt")["state_dict"]
    return torch.cat([x.flatten() for x in state.values()])


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_half_precision_learns_as_float32_does(precision, run, record_property):
    args = [*RUN, "--dropout=0"]
    assert run(*args, "--default_root_dir=full") == 0
    assert run(*args, "--default_root_dir=half", f"--precision={precision}") == 0
    full, half = losses("full"), losses("half")
    record_property("largest_difference", round(float(max(abs(np.subtract(full, half)))), 5))
    assert half == pytest.approx(full, rel=0.02)


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_accumulated_batches_are_one_large_batch(precision, accelerator, tmp_path):
    more = {"precision": precision, "accelerator": accelerator}
    whole, loss = trained("classify", tmp_path, 8, **more)
    parts, loss_of_parts = trained("classify", tmp_path, 2, 4, **more)
    moved = (whole - flat(new_task("classify"))).norm()
    assert (parts - whole).norm() < 0.02 * moved
    assert loss_of_parts == pytest.approx(loss, rel=0.02)


def test_a_compiled_run_learns_as_one_that_is_not(run, accelerator):
    args = [*RUN, "--dropout=0"]
    assert run(*args, "--default_root_dir=plain") == 0
    # a process of its own: the checks of shapes in tests cannot be compiled
    args += ["--default_root_dir=compiled", "--compile=True", f"--accelerator={accelerator}"]
    command = [sys.executable, str(ROOT / "seqmodel/run.py"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert losses("compiled") == pytest.approx(losses("plain"), rel=1e-3)


def test_one_rank_of_a_strategy_learns_as_the_device_alone(run, accelerator):
    assert run(*RUN, "--default_root_dir=auto") == 0
    for strategy in ("ddp", "fsdp"):
        # a process of its own, as its process group stays until its end
        args = [*RUN, f"--default_root_dir={strategy}", f"--strategy={strategy}"]
        args.append(f"--accelerator={accelerator}")
        command = [sys.executable, str(ROOT / "seqmodel/run.py"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr
        assert losses(strategy) == pytest.approx(losses("auto"), rel=1e-3)
        assert torch.allclose(weights(strategy), weights("auto"), rtol=1e-3, atol=1e-4)


def test_a_run_resumed_within_an_epoch_is_the_run_that_was_not_broken_off(
    run, monkeypatch, record_property
):
    from seqmodel.training.trainer import LastCheckpoint

    class BrokenOff(Exception):
        pass

    save = LastCheckpoint._save

    def save_and_break_off(self, trainer):
        save(self, trainer)
        if trainer.global_step == 13:  # of 9 an epoch
            raise BrokenOff

    assert run(*RUN, "--max_epochs=3", "--default_root_dir=whole") == 0
    monkeypatch.setattr(LastCheckpoint, "_save", save_and_break_off)
    with pytest.raises(BrokenOff):
        run(*RUN, "--max_epochs=3", "--default_root_dir=cut", "--checkpoint_every_n_steps=1")
    monkeypatch.setattr(LastCheckpoint, "_save", save)
    assert checkpoint.load("cut/checkpoints/last.ckpt")["global_step"] == 13
    assert run("--resume_from_checkpoint=cut/checkpoints/last.ckpt") == 0
    whole, cut = weights("whole"), weights("cut")
    apart = ((whole - cut).norm() / whole.norm()).item()
    record_property("relative_difference", float(f"{apart:.2g}"))
    assert apart < 1e-4
    assert losses("cut") == pytest.approx(losses("whole"), rel=1e-3)


def test_memory_that_runs_out_is_one_line(run, device, monkeypatch, capsys):
    from seqmodel.model.transformer import TransformerEncoder

    def too_much(self, x, pad=None):
        return torch.empty(1 << 50, dtype=torch.uint8, device=x.device)

    monkeypatch.setattr(TransformerEncoder, "forward", too_much)
    assert run(*RUN, "--default_root_dir=out") == 2
    *_, said = [x for x in capsys.readouterr().err.splitlines() if not x.startswith("warning")]
    where = "on the GPU" if device.type == "cuda" else "of this host"
    assert said.startswith(f"RunError: out of memory {where}")
    assert "lower --batch_size" in said


def test_the_run_was_on_the_device(run, device, monkeypatch):
    from seqmodel.task.masked import MaskedTask

    seen = set()
    score = MaskedTask.score

    def watched(self, batch):
        scored = score(self, batch)
        seen.update(x.device.type for x in (batch["tokens"], scored.loss_sum, scored.weight))
        return scored

    monkeypatch.setattr(MaskedTask, "score", watched)
    assert run(*RUN, "--default_root_dir=out") == 0
    assert seen == {device.type}
