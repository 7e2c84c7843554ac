"""One run folder, one writer: with real processes, that start at once, are killed, or lie far."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from seqmodel.errors import RunError
from seqmodel.record import lock as folder_lock
from seqmodel.record.lock import LOCK, FolderLock
from seqmodel.run import main
from seqmodel.training.metrics_csv import MetricsCsv

ROOT = Path(__file__).resolve().parents[2]
# trains until it is ended
ENDLESS = ["--task=masked", "--fasta=g.fa", "--seq_len=64", "--valid_contigs=b", "--n_dims=8"]
ENDLESS += ["--encoder=dilated_conv", "--n_layers=1", "--n_threads=1", "--max_epochs=1000000"]
NOW = "--default_root_dir=r"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a small genome."""
    monkeypatch.chdir(tmp_path)
    for name in ("SEQMODEL_RUN_FOLDER", "SEQMODEL_JOB_PID"):
        monkeypatch.delenv(name, raising=False)
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 640)) for name in "ab"}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    return tmp_path


@pytest.fixture
def start():
    """Starts run.py; what a test leaves running is killed."""
    started = []

    def begin(*args):
        command = [sys.executable, str(ROOT / "seqmodel/run.py"), *ENDLESS, *args]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, text=True, env=env, **pipes))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(condition):
    """Waits until `condition()`; machines under load are slow."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in five minutes")


def trains(process):
    def has_checkpoint():
        assert process.poll() is None, process.stderr.read()
        return Path("r/checkpoints/last.ckpt").exists()

    until(has_checkpoint)


def contents(path, *without):
    return {p.name: p.read_bytes() for p in path.iterdir() if p.is_file() and p.name not in without}


def ends_with_line(process, other):
    """Exit code 2, and one line that names the `other` process."""
    error = process.communicate(timeout=300)[1]
    assert process.returncode == 2, error
    (line,) = [text for text in error.splitlines() if text.startswith("RunError")]
    assert f"r is being written by process {other.pid} on {os.uname().nodename}, since 2" in line
    assert "Traceback" not in error


@pytest.mark.slow
def test_of_two_starts_at_once_one_runs_and_the_other_names_it(folder, start):
    pair = [start(NOW), start(NOW)]
    until(lambda: any(p.poll() is not None for p in pair))
    loser, winner = sorted(pair, key=lambda p: p.poll() is None)
    ends_with_line(loser, winner)
    trains(winner)
    assert json.loads(Path("r/lock").read_text())["pid"] == winner.pid
    assert json.loads(Path("r/hparams.json").read_text())["_run"].get("resumed") is None
    winner.send_signal(signal.SIGTERM)
    winner.communicate(timeout=300)
    assert winner.returncode == 143
    assert not Path("r/lock").exists()  # a run that was signalled gives its folder back


@pytest.mark.slow
def test_a_live_run_is_not_resumed_and_a_killed_one_is_at_once(folder, start):
    first = start(NOW)
    trains(first)
    record = Path("r/hparams.json").read_bytes()
    resumed = "--resume_from_checkpoint=r/checkpoints/last.ckpt"
    ends_with_line(start(resumed), first)
    assert Path("r/hparams.json").read_bytes() == record
    first.kill()
    first.wait()
    assert Path("r/lock").exists()
    again = start(resumed)
    until(lambda: b'"resumed"' in Path("r/hparams.json").read_bytes() or again.poll() is not None)
    assert again.poll() is None, again.stderr.read()
    assert json.loads(Path("r/lock").read_text())["pid"] == again.pid
    # a copy of a folder that is being written is another folder
    shutil.copytree("r", "copy")
    with FolderLock() as lock:
        lock.take(Path("copy"))


def far(path, *, silent_s, **more):
    """A lock of a process on another machine that gave its last sign of life `silent_s` ago."""
    record = {"host": "node7", "machine": "node7 x", "pid": 1, "started": "5", "job": "74_2"}
    record |= {"since": "2026-01-01T00:00:00", "folder": "/elsewhere", "token": "f00"}
    path.mkdir(exist_ok=True)
    (path / LOCK).write_text(json.dumps({**record, **more}))
    then = time.time() - silent_s
    os.utime(path / LOCK, (then, then))


def test_a_dead_node_is_taken_over_and_a_live_one_is_named(folder):
    far(Path("r"), silent_s=folder_lock.DEAD_S - 60)
    before = contents(Path("r"))
    with pytest.raises(RunError, match=r"process 1 on node7 \(job 74_2\), since 2026-01-01T00"):
        FolderLock().take(Path("r"))
    assert contents(Path("r")) == before
    far(Path("r"), silent_s=folder_lock.DEAD_S + 60)
    with FolderLock() as lock:
        lock.take(Path("r"))
        assert json.loads(Path("r/lock").read_text())["token"] == lock.token
        assert set(contents(Path("r"))) == {LOCK}
    assert contents(Path("r")) == {}


def test_the_age_of_a_heartbeat_is_told_by_the_clock_of_the_file_system(folder, monkeypatch):
    far(Path("r"), silent_s=0)
    monkeypatch.setattr(time, "time", lambda: 4e9)  # the clock of this machine is wrong
    with pytest.raises(RunError, match="node7"):
        FolderLock().take(Path("r"))


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(folder):
    with FolderLock() as lock:
        lock.take(Path("r").resolve().parent)
        own = json.loads(Path(LOCK).read_text())
    Path(LOCK).write_text(json.dumps({**own, "started": "12"}))
    with FolderLock() as lock:
        lock.take(folder)


RACE = """
import sys, time
from pathlib import Path
from seqmodel.errors import RunError
from seqmodel.record.lock import FolderLock

for line in sys.stdin:
    folder, at = line.split()
    lock = FolderLock()
    while time.time() < float(at):
        pass
    try:
        lock.take(Path(folder))
        print(lock.token, flush=True)
    except RunError as e:
        print("-", flush=True)
"""


@pytest.mark.parametrize("stale", [True, False])
def test_of_twenty_processes_that_race_for_a_folder_one_wins(folder, stale):
    command = [sys.executable, "-c", RACE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    racers = [subprocess.Popen(command, env=env, **pipes) for _ in range(20)]
    try:
        for n in range(8):
            run = Path(f"r{n}")
            run.mkdir()
            if stale:
                far(run, silent_s=folder_lock.DEAD_S + 60)
            at = time.time() + 0.1
            for racer in racers:
                racer.stdin.write(f"{run} {at}\n")
                racer.stdin.flush()
            answers = [racer.stdout.readline().strip() for racer in racers]
            winners = [answer for answer in answers if answer != "-"]
            assert len(winners) == 1, answers
            assert json.loads((run / LOCK).read_text())["token"] == winners[0]
            assert set(contents(run)) == {LOCK}
    finally:
        for racer in racers:
            racer.communicate(input="", timeout=60)


def test_one_that_is_overtaken_between_looking_and_claiming_does_not_win(folder, monkeypatch):
    far(Path("r"), silent_s=folder_lock.DEAD_S + 60)
    create = folder_lock.create

    def late(path, text):
        if path.name.endswith(".next"):
            monkeypatch.setattr(folder_lock, "create", create)
            faster.take(Path("r"))
        return create(path, text)

    with FolderLock() as faster:
        monkeypatch.setattr(folder_lock, "create", late)
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            FolderLock().take(Path("r"))
        faster.check()
        assert set(contents(Path("r"))) == {LOCK}


def test_between_claiming_and_taking_over_nobody_else_gets_in(folder, monkeypatch):
    far(Path("r"), silent_s=folder_lock.DEAD_S + 60)
    replace = os.replace

    def slow(source, target):
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            FolderLock().take(Path("r"))
        replace(source, target)

    monkeypatch.setattr(os, "replace", slow)
    with FolderLock() as lock:
        lock.take(Path("r"))
        lock.check()


def test_one_that_died_while_it_took_over_is_taken_over(folder):
    far(Path("r"), silent_s=folder_lock.DEAD_S + 60)
    (Path("r") / f"{LOCK}.f00.next").write_bytes(Path("r/lock").read_bytes().replace(b"f00", b"b0"))
    with pytest.raises(RunError, match="node7"):  # its claim is young: it may live
        FolderLock().take(Path("r"))
    then = time.time() - folder_lock.DEAD_S - 60
    os.utime(Path("r") / f"{LOCK}.f00.next", (then, then))
    with FolderLock() as lock:
        lock.take(Path("r"))
        assert set(contents(Path("r"))) == {LOCK}
        lock.check()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"token": "../x"}', '{"token": "a", "pid": "x"}'])
def test_a_damaged_lock_counts_by_its_age(folder, text):
    Path(LOCK).write_text(text)
    with pytest.raises(RunError, match="is being written by another process"):
        FolderLock().take(folder)
    os.utime(LOCK, (0, 0))
    with FolderLock() as lock:
        lock.take(folder)
        lock.check()


def test_a_lock_works_where_there_are_no_hard_links(folder, monkeypatch):
    def refuse(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with FolderLock() as lock:
        lock.take(folder)
        with pytest.raises(RunError, match=f"process {os.getpid()}"):
            FolderLock().take(folder)
    assert set(contents(folder)) == {"g.fa"}


def test_a_holder_whose_lock_was_removed_makes_it_again_if_it_is_the_first(folder):
    with FolderLock() as lock:
        lock.take(folder)
        Path(LOCK).unlink()
        lock.check()
        assert json.loads(Path(LOCK).read_text())["token"] == lock.token


def test_the_heartbeat_is_seen(folder, monkeypatch):
    monkeypatch.setattr(folder_lock, "BEAT_S", 0.01)
    with FolderLock() as lock:
        lock.take(folder)
        os.utime(LOCK, (0, 0))
        until(lambda: Path(LOCK).stat().st_mtime > 0)


def test_a_job_waits_for_the_attempt_before_it(folder, monkeypatch, capsys):
    monkeypatch.setenv("SEQMODEL_JOB_PID", "77")
    far(Path("r"), silent_s=0)
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            os.utime("r/lock", (0, 0))

    monkeypatch.setattr(folder_lock.time, "sleep", sleep)
    with FolderLock() as lock:
        lock.take(Path("r"))
        assert json.loads(Path("r/lock").read_text())["job"] == "77"
    assert len(slept) == 3
    assert "waiting for process 1 on node7 (job 74_2)" in capsys.readouterr().err
    monkeypatch.setattr(folder_lock, "WAIT_S", 0)
    far(Path("r"), silent_s=0)
    with pytest.raises(RunError, match="is being written by process 1 on node7"):
        FolderLock().take(Path("r"))


def test_the_element_of_an_array_is_named_by_its_own_id(folder, monkeypatch):
    for name, value in (("ARRAY_JOB_ID", "74"), ("ARRAY_TASK_ID", "0"), ("JOB_ID", "76")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    with FolderLock() as lock:
        lock.take(folder)
        assert json.loads(Path(LOCK).read_text())["job"] == "74_0"


def test_a_run_that_was_taken_over_ends_and_writes_nothing_more(folder, monkeypatch, capsys):
    """As one does that was suspended: another has the folder when it wakes up."""
    log = MetricsCsv.log_metrics

    def taken_over(self, metrics, step=None):
        if step is not None and step >= 6:
            far(Path("r"), silent_s=0)
            before.setdefault("r", contents(Path("r")))
        log(self, metrics, step)

    before = {}
    monkeypatch.setattr(MetricsCsv, "log_metrics", taken_over)
    assert main([*ENDLESS, NOW, "--log_every_n_steps=1"]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "Error" in text]
    assert line.startswith("RunError: r was taken over by process 1 on node7 (job 74_2)")
    assert contents(Path("r")) == before["r"]


def test_a_checkpoint_is_not_written_into_a_folder_of_another(folder, monkeypatch, capsys):
    monkeypatch.setattr(MetricsCsv, "log_metrics", lambda *_, **__: far(Path("r"), silent_s=0))
    assert main([*ENDLESS, NOW, "--log_every_n_steps=1"]) == 2
    assert "was taken over by process 1 on node7" in capsys.readouterr().err
    assert not Path("r/checkpoints").exists() or not list(Path("r/checkpoints").iterdir())


def test_a_trial_takes_no_lock_and_a_run_gives_it_back(folder):
    far(Path("r"), silent_s=0)
    before = contents(Path("r"))
    assert main([*ENDLESS, NOW, "--fast_dev_run"]) == 0
    assert contents(Path("r")) == before
    assert main([*ENDLESS, "--max_epochs=1"]) == 0
    (run,) = folder.glob("out/*/version_0")
    assert not (run / LOCK).exists()
    assert main([*ENDLESS, "--max_epochs=1", f"--default_root_dir={run}"]) == 2  # refused, not held
    assert not (run / LOCK).exists()


def test_a_link_to_nothing_in_the_place_of_a_lock_is_one_line(tmp_path):
    """No file can be made there, so that waiting for it would not end."""
    (tmp_path / "lock").symlink_to(tmp_path / "gone")
    with pytest.raises(RunError, match=r"lock: cannot be read \(No such file or directory\)"):
        FolderLock().take(tmp_path)
