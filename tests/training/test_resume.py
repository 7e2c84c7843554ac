"""A run that is killed and resumed is, bit for bit, the run that never was."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from seqmodel.record import checkpoint
from seqmodel.run import main
from seqmodel.training.metrics_csv import read_rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--encoder=dilated_conv", "--n_layers=2", "--n_dims=16", "--n_threads=1", "--dropout=0.2")
DATA = ("--fasta=g.fa", "--seq_len=64", "--valid_contigs=b", "--rc_prob=0.5", "--batch_size=8")
RUN = ("--task=masked", *SMALL, *DATA, "--max_epochs=3", "--log_every_n_steps=3")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    rng = np.random.default_rng(0)
    contigs = {
        name: "".join(rng.choice(list("ACGT"), size)) for name, size in (("a", 9000), ("b", 900))
    }
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    return tmp_path


def assert_same_run(one, other):
    """Weights, optimiser, schedule, scores: all of both runs' last and best checkpoints."""
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (checkpoint.load(f"{x}/checkpoints/{name}") for x in (one, other))
        assert first["global_step"] == second["global_step"]
        assert_same(first["state_dict"], second["state_dict"])
        assert_same(first["optimizer_states"], second["optimizer_states"])
        assert_same(first["lr_schedulers"], second["lr_schedulers"])
    assert Path(one, "metrics.csv").read_text() == Path(other, "metrics.csv").read_text()


def assert_same(one, other):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


STEPS = 18  # batches of an epoch: 140 windows of 64, by 8


@pytest.mark.parametrize("stop", [1, 5, STEPS - 1, STEPS, STEPS + 1, 2 * STEPS, 3 * STEPS - 1])
def test_a_run_that_stops_anywhere_goes_on_as_if_it_had_not(folder, stop):
    args = [*RUN, "--schedule=cosine"]
    if not Path("whole").exists():
        assert main([*args, "--default_root_dir=whole", "--max_epochs=3"]) == 0
    # the schedule must not see the earlier end: the run is cut by its callback, not by max_steps
    assert cut([*args, "--default_root_dir=cut"], stop) == stop
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt"]) == 0
    assert_same_run("whole", "cut")


def cut(args, stop):
    """Trains until last.ckpt of step `stop` was written, then breaks off; returns that step."""
    from seqmodel.training import trainer

    class Cut(Exception):
        pass

    save = trainer.LastCheckpoint._save

    def save_and_break(self, t):
        save(self, t)
        if t.global_step >= stop:
            raise Cut

    patch = pytest.MonkeyPatch()
    patch.setattr(trainer.LastCheckpoint, "_save", save_and_break)
    with patch.context(), pytest.raises(Cut):
        main([*args, "--checkpoint_every_n_steps=1"])
    patch.undo()
    return checkpoint.load("cut/checkpoints/last.ckpt")["global_step"]


VARIANTS = {
    "steps": ["--max_steps=47"],
    "part of the data": ["--limit_train_batches=7", "--max_steps=24"],
    "accumulated": ["--accumulate_grad_batches=4"],
    "accumulated steps": ["--accumulate_grad_batches=4", "--max_steps=12"],
    "workers": ["--n_workers=2"],
    "validated within epochs": ["--val_check_interval=5"],
    "validated within epochs, steps": ["--val_check_interval=5", "--max_steps=47"],
    "validated by proportion": ["--val_check_interval=0.3"],
    "validated by proportion, part of the data": [
        "--val_check_interval=0.5",
        "--limit_train_batches=0.7",
        "--limit_val_batches=0.5",
        "--check_val_every_n_epoch=2",
        "--max_epochs=4",
    ],
    "validated every other epoch": ["--check_val_every_n_epoch=2"],
    "validated every other epoch, steps": ["--check_val_every_n_epoch=2", "--max_steps=47"],
    "warm-up": ["--schedule=linear", "--warmup_steps=5"],
    "averaged": ["--ema_decay=0.9", "--max_steps=47"],
    "transformer": ["--encoder=transformer", "--n_dims=16", "--n_heads=2"],
}


LENGTHS = {
    "accumulated": 5, "accumulated steps": 5, "part of the data": 7,
    "validated by proportion, part of the data": 12,  # 0.7 of 18
}  # fmt: skip


@pytest.mark.parametrize("where", ["within an epoch", "at the end of an epoch"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_run_goes_on_exactly(folder, variant, where):
    args = [*RUN, *VARIANTS[variant]]
    epoch = LENGTHS.get(variant, STEPS)
    stop = epoch if where == "at the end of an epoch" else 3
    assert main([*args, "--default_root_dir=whole"]) == 0
    assert cut([*args, "--default_root_dir=cut"], stop) == stop
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt"]) == 0
    assert_same_run("whole", "cut")


@pytest.mark.parametrize("step", [5, 6, 23])
def test_a_signal_where_a_proportion_of_an_epoch_is_validated_changes_no_bit(folder, step):
    """0.3 of 18 batches are 5: steps 5 and 23 are validated, and step 6 is the one after."""
    args = [*RUN, "--val_check_interval=0.3"]
    assert main([*args, "--default_root_dir=whole"]) == 0
    rows = [r for r in read_rows(Path("whole/metrics.csv")) if r["valid_loss"]]
    assert [int(r["step"]) + 1 for r in rows] == [5, 10, 15, 23, 28, 33, 41, 46, 51]
    break_off([*args, "--default_root_dir=cut"], "train_batch_start", "signal", step - 1)
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt"]) == 0
    assert_same_run("whole", "cut")


MOMENTS = ("train_batch_start", "validation_start", "validation_batch_start", "validation_end")


@pytest.mark.parametrize("validation", ["--val_check_interval=1", "--val_check_interval=5"])
@pytest.mark.parametrize("how", ["signal", "kill"])
@pytest.mark.parametrize("moment", [*MOMENTS, "train_epoch_end"])
def test_a_run_whose_end_is_broken_off_goes_on_exactly(folder, moment, how, validation):
    """The last step is within an epoch, and validated although no validation is due; or it is."""
    args = [*RUN, validation, "--max_steps=20", "--checkpoint_every_n_steps=3"]
    assert main([*args, "--default_root_dir=whole"]) == 0
    assert checkpoint.load("whole/checkpoints/last.ckpt")["global_step"] == 20
    step = 19 if moment == "train_batch_start" else 20
    break_off([*args, "--default_root_dir=cut"], moment, how, step)
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt"]) == 0
    assert_same_run("whole", "cut")


@pytest.mark.parametrize("within", [[], ["--val_check_interval=7"]], ids=len)
@pytest.mark.parametrize("moment", ["validation_end", "train_epoch_end", "train_end"])
def test_a_run_that_stopped_early_stays_so(folder, moment, within):
    args = [*RUN, "--max_epochs=8", "--patience=1", "--monitor=valid_accuracy", *within]
    assert main([*args, "--default_root_dir=whole"]) == 0
    stop = checkpoint.load("whole/checkpoints/last.ckpt")["global_step"]
    assert 7 < stop < 8 * STEPS
    more = ["--checkpoint_every_n_steps=1"] if within and moment != "train_end" else []
    break_off([*args, "--default_root_dir=cut", *more], moment, "kill", stop)
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt"]) == 0
    assert_same_run("whole", "cut")


def test_a_run_that_stopped_early_between_two_steps_has_its_last_weights(folder):
    args = ["--patience=1", "--monitor=valid_accuracy", "--val_check_interval=7"]
    args += ["--accumulate_grad_batches=4", "--default_root_dir=whole"]
    assert main([*RUN, *args]) == 0
    last = checkpoint.load("whole/checkpoints/last.ckpt")
    assert 3 <= last["global_step"] < 3 * 5  # after 14 batches at the earliest


def break_off(args, moment, how, step):
    """Trains, and is signalled or killed in a hook of Lightning at or after a step."""
    from seqmodel.training.stopping import StopOnSignal

    class Killed(BaseException):
        pass

    def hook(self, trainer, *rest):
        if trainer.global_step >= step:
            if how == "kill":
                raise Killed
            self._received = 75

    patch = pytest.MonkeyPatch()
    patch.setattr(StopOnSignal, f"on_{moment}", hook)
    with patch.context(), pytest.raises(Killed if how == "kill" else SystemExit):
        main(args)
    patch.undo()


def test_a_run_that_ended_within_an_epoch_goes_on_for_longer(folder):
    assert main([*RUN, "--default_root_dir=whole", "--max_steps=47"]) == 0
    assert main([*RUN, "--default_root_dir=cut", "--max_steps=20"]) == 0
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt", "--max_steps=47"]) == 0
    first, second = (checkpoint.load(f"{x}/checkpoints/last.ckpt") for x in ("whole", "cut"))
    assert_same(first["state_dict"], second["state_dict"])
    assert_same(first["optimizer_states"], second["optimizer_states"])


@pytest.mark.parametrize("how", ["moved", "another folder"])
def test_a_run_goes_on_wherever_its_folder_lies(folder, how):
    assert main([*RUN, "--default_root_dir=whole"]) == 0
    cut([*RUN, "--default_root_dir=cut"], STEPS + 3)
    if how == "moved":
        Path("cut").rename("else")
        assert main(["--resume_from_checkpoint=else/checkpoints/last.ckpt"]) == 0
    else:
        args = ["--resume_from_checkpoint=cut/checkpoints/last.ckpt", "--default_root_dir=else"]
        assert main(args) == 0
    assert_same_run("whole", "else")


def test_more_epochs_after_the_end_are_those_of_a_longer_run(folder):
    assert main([*RUN, "--default_root_dir=whole", "--max_epochs=4"]) == 0
    assert main([*RUN, "--default_root_dir=cut", "--max_epochs=2"]) == 0
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt", "--max_epochs=4"]) == 0
    assert_same_run("whole", "cut")


def test_more_epochs_have_the_learning_rates_of_the_longer_schedule(folder):
    args = [*RUN, "--schedule=cosine", "--log_every_n_steps=1", "--default_root_dir=cut"]
    assert main([*args, "--max_epochs=1"]) == 0
    assert main(["--resume_from_checkpoint=cut/checkpoints/last.ckpt", "--max_epochs=3"]) == 0
    rows = [row for row in read_rows(Path("cut/metrics.csv")) if row["lr"]]
    rates = {int(row["step"]): float(row["lr"]) for row in rows}
    ends = {step: STEPS if step < STEPS else 3 * STEPS for step in range(3 * STEPS)}
    expected = {s: 1e-3 * 0.5 * (1 + np.cos(np.pi * s / end)) for s, end in ends.items()}
    assert rates == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_another_seed_is_another_run(folder):
    """The comparison above can fail."""
    assert main([*RUN, "--default_root_dir=whole", "--max_epochs=1"]) == 0
    assert main([*RUN, "--default_root_dir=cut", "--max_epochs=1", "--seed=1"]) == 0
    with pytest.raises(AssertionError):
        assert_same_run("whole", "cut")


@pytest.mark.parametrize("n_ranks", [1, 2])
def test_five_kills_at_random_moments_change_no_bit(folder, n_ranks):
    many = ["--max_epochs=40", "--checkpoint_every_n_steps=2", "--progress=none"]
    args = [*RUN, *many, f"--devices={n_ranks}", "--accelerator=cpu"]
    args += ["--strategy=ddp"] if n_ranks > 1 else []
    finish(start([*args, "--default_root_dir=whole"]))
    rng = random.Random(n_ranks)
    last = Path("cut/checkpoints/last.ckpt")
    steps = []
    for attempt in range(6):
        resume = [f"--resume_from_checkpoint={last}"] if attempt else []
        process = start([*args, "--default_root_dir=cut", *resume])
        if attempt < 5:
            kill_after_a_save(process, last, rng.uniform(0, 0.15))
            steps.append(checkpoint.load(last)["global_step"])
        else:
            finish(process)
    assert steps == sorted(set(steps)), "every attempt got further"
    assert steps[-1] < checkpoint.load(last)["global_step"]
    assert_same_run("whole", "cut")


def start(args):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "seqmodel/run.py"), *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )


def finish(process):
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def kill_after_a_save(process, path, delay):
    before = path.stat().st_mtime_ns if path.exists() else 0
    deadline = time.monotonic() + 120
    while not path.exists() or path.stat().st_mtime_ns == before:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay)
    # a session of its own: the other ranks die with the first
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("name", "code"), [("SIGUSR1", 75), ("SIGTERM", 143)])
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_a_signal_saves_and_stops_and_the_run_goes_on_exactly(folder, name, code, n_ranks):
    args = [*RUN, "--max_epochs=8", "--progress=none", "--accelerator=cpu", f"--devices={n_ranks}"]
    args += ["--strategy=ddp"] if n_ranks > 1 else []
    args += [f"--max_steps={130 // n_ranks}"]  # within an epoch
    finish(start([*args, "--default_root_dir=whole"]))
    process = start([*args, "--default_root_dir=cut"])
    last = Path("cut/checkpoints/last.ckpt")
    while not last.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    # to one process alone, as a batch script does
    os.kill(process.pid, getattr(signal, name))
    process.communicate(timeout=300)
    assert process.returncode == code
    stopped = checkpoint.load(last)["global_step"]
    finish(start([*args, "--default_root_dir=cut", f"--resume_from_checkpoint={last}"]))
    assert stopped < checkpoint.load(last)["global_step"]
    assert_same_run("whole", "cut")


def test_with_other_ranks_the_same_samples_come_in_the_same_order(folder):
    """Two ranks stop, one goes on: it begins where the two of them together had come to."""
    from types import SimpleNamespace

    from seqmodel.errors import RunError
    from seqmodel.training.trainer import _share_out_anew

    done = SimpleNamespace(ready=6, started=6, processed=6, completed=5)
    _share_out_anew(done, 2, 1)
    assert (done.ready, done.completed) == (12, 11)
    _share_out_anew(done, 1, 3)
    assert (done.ready, done.completed) == (4, 3)
    with pytest.raises(RunError, match="4 batches of 3 ranks into its epoch, which 5 ranks cannot"):
        _share_out_anew(done, 3, 5)


def test_one_rank_goes_on_where_two_had_come_to(folder, monkeypatch):
    from seqmodel.training import trainer

    args = [*RUN, "--max_epochs=40", "--progress=none", "--accelerator=cpu"]
    process = start([*args, "--devices=2", "--strategy=ddp", "--default_root_dir=cut"])
    last = Path("cut/checkpoints/last.ckpt")
    while not last.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGUSR1)
    process.communicate(timeout=300)
    assert process.returncode == 75
    stopped = checkpoint.load(last)
    # 140 windows: 70 for each of two ranks, in 9 batches of 8
    epoch, batches = divmod(stopped["global_step"], 9)
    seen = []
    seed = trainer.ExactSteps.on_train_batch_start

    def record(self, t, module, batch, batch_idx):
        if t.current_epoch == epoch:
            seen.extend(batch["index"].tolist())
        seed(self, t, module, batch, batch_idx)

    monkeypatch.setattr(trainer.ExactSteps, "on_train_batch_start", record)
    more = [f"--max_epochs={epoch + 2}", "--devices=1", "--strategy=auto"]
    assert main([f"--resume_from_checkpoint={last}", *more]) == 0
    assert seen == list(range(batches * 8 * 2, 140))
