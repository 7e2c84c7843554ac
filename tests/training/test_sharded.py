"""--strategy=fsdp on two CPU ranks: the run of ddp, with weights that no rank holds whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import seqmodel
from seqmodel.record import checkpoint

ROOT = Path(__file__).resolve().parents[2]
# dropout, batch norm (a buffer), frozen weights and accumulated gradients
RUN = ("--task=classify", "--encoder=cnn", "--n_layers=2", "--n_dims=16", "--dropout=0.2")
RUN += ("--freeze_layers=1", "--accumulate_grad_batches=2", "--dataset=table", "--batch_size=8")
RUN += ("--train_files=t.csv", "--valid_prop=0.2", "--test_prop=0.1", "--max_epochs=2")
RUN += ("--accelerator=cpu", "--devices=2", "--progress=none", "--n_threads=1", "--audit=none")
# runs seqmodel, writes what a rank holds, and dies after the checkpoint of a step if one is named
PROGRAM = """
import json, os, signal, sys
from seqmodel.record.checkpoint import SafeCheckpointIO
from seqmodel.run import main
from seqmodel.task.task import Task

stop = int(os.environ.get("STOP_STEP", 0))
save, step = SafeCheckpointIO.save_checkpoint, Task.on_train_epoch_end

def save_and_stop(self, saved, path, **more):
    save(self, saved, path, **more)
    if saved["global_step"] == stop:
        os.killpg(0, signal.SIGKILL)

def note(self):
    local = [getattr(p, "to_local", lambda p=p: p)().numel() for p in self.parameters()]
    whole = [p.numel() for p in self.parameters()]
    path = f"held.{os.environ['NAME']}.{self.trainer.global_rank}"
    open(path, "w").write(json.dumps([sum(local), sum(whole)]))
    step(self)

SafeCheckpointIO.save_checkpoint, Task.on_train_epoch_end = save_and_stop, note
sys.exit(main(sys.argv[1:]))
"""


def trained(name, *args, stop=0):
    Path("program.py").write_text(PROGRAM)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NAME": name, "STOP_STEP": str(stop)}
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "program.py", *RUN, f"--default_root_dir={name}", *args],
        env=env, capture_output=True, text=True, timeout=300, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == (-9 if stop else 0), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A whole run with ddp and one with fsdp."""
    folder = tmp_path_factory.mktemp("ranks")
    before = os.getcwd()
    os.chdir(folder)
    rng = np.random.default_rng(0)
    rows = ["".join(x) for x in rng.choice(list("ACGT"), (160, 40))]
    Path("t.csv").write_text(
        "sequence,label\n" + "".join(f"{x},{int(x.count('G') > 9)}\n" for x in rows)
    )
    for name in ("ddp", "fsdp"):
        trained(name, f"--strategy={name}", "--checkpoint_every_n_steps=3")
    yield folder
    os.chdir(before)


def values_of(name):
    lines = Path(name, "metrics.csv").read_text().splitlines()
    return [float(x or 0) for line in lines[1:] for x in line.split(",")]


@pytest.mark.slow
def test_sharded_ranks_give_the_losses_and_checkpoints_of_ddp(folder):
    for rank in (0, 1):
        local, whole = json.loads(Path(f"held.fsdp.{rank}").read_text())
        assert 0.4 * whole < local < 0.6 * whole
        local, whole = json.loads(Path(f"held.ddp.{rank}").read_text())
        assert local == whole
    assert values_of("fsdp") == pytest.approx(values_of("ddp"), rel=1e-4)
    for name in ("best.ckpt", "last.ckpt"):
        one, other = (checkpoint.load(f"{x}/checkpoints/{name}") for x in ("ddp", "fsdp"))
        assert one.keys() == other.keys()
        for kind in ("state_dict", "optimizer_states"):
            torch.testing.assert_close(other[kind], one[kind], rtol=1e-3, atol=1e-5)
        weights = [*other["state_dict"].values()]
        assert {type(x) for x in weights} == {torch.Tensor}
    sequences = ["ACGT" * 10, "GGGGCCCC" * 5]
    found = [
        seqmodel.load(f"{x}/checkpoints/best.ckpt").predict(sequences) for x in ("ddp", "fsdp")
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.slow
def test_a_sharded_run_that_is_killed_goes_on_exactly(folder):
    trained("cut", "--strategy=fsdp", "--checkpoint_every_n_steps=3", stop=3)
    last = "cut/checkpoints/last.ckpt"
    assert checkpoint.load(last)["global_step"] == 3
    trained("cut", f"--resume_from_checkpoint={last}")
    one, other = (checkpoint.load(f"{x}/checkpoints/last.ckpt") for x in ("fsdp", "cut"))
    for kind in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(other[kind], one[kind], rtol=0, atol=0)
    assert values_of("cut") == values_of("fsdp")
