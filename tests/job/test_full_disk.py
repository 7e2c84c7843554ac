"""A submit that cannot write leaves nothing behind, and what killed processes left is removed."""

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, play, wait_final

from seqmodel import files
from seqmodel.errors import JobError
from seqmodel.hparam.resolve import resolve
from seqmodel.job import ShellJob, SlurmJob, agent, launch, worker
from seqmodel.record.folder import write_record

# whole files that other submitters may use already
SHARED = {"limit", "lock", "worker.log"}


class Disk:
    """Takes `n` files and writes, then it is full."""

    def __init__(self, n):
        self.n = n

    def take(self):
        self.n -= 1
        if self.n < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open(self, path, mode="r", *args, **named):
        if mode[0] in "wax":
            self.take()
            return Full(open(path, mode, *args, **named), self)
        return open(path, mode, *args, **named)


class Full:
    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def write(self, data):
        self.disk.take()
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.file.close()


@pytest.fixture
def full_disk(monkeypatch):
    def fill(disk):
        launch._worker(worker.__file__)["open"] = disk.open
        for module in (agent, launch):
            monkeypatch.setattr(module, "open", disk.open, raising=False)

    yield fill
    launch._worker(worker.__file__).pop("open", None)


def left(root):
    """The files that are no whole, shared ones, and folders of runs."""
    found = [p for p in Path(root).rglob("*") if not p.is_dir()]
    code = Path(root, ".seqmodel/code")
    return [p for p in found if p.suffix == ".part" or (p.parent != code and p.name not in SHARED)]


@pytest.mark.parametrize("kind", ["shell", "slurm"])
def test_whichever_write_of_a_submit_fails_nothing_stays_and_the_next_one_works(
    workdir, tmp_path, monkeypatch, full_disk, kind
):
    play(tmp_path / "bin/sbatch", "echo 7\n")
    play(tmp_path / "bin/squeue", "exit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr("seqmodel.record.code.Code.archive", lambda _: b"archive")  # it takes 0.1 s
    for n in range(60):
        out = f"out_{n}"
        job = (ShellJob if kind == "shell" else SlurmJob)(python=FAKE_PYTHON, job_out_dir=out)
        full_disk(Disk(n))
        told = None
        try:
            job.submit_all([RUN, {**RUN, "lr": 0.5}])
            break
        except JobError as e:
            told = str(e)
        assert re.search(
            "cannot (write|make) .*No space left on device.* nothing .*submitted", told
        )
        assert "None" not in told
        assert left(out) == []
        assert os.listdir(out) in ([], [".seqmodel"])
    assert n > 20
    full_disk(Disk(10**6))
    assert [r.version for r in job.submit_all([RUN, {**RUN, "lr": 0.5}])] == [1, 1]


def test_a_resume_that_cannot_write_leaves_the_script_as_it_was(shell_job, full_disk):
    replicate = shell_job.submit(**RUN, monitor="raise")
    wait_final(shell_job, [replicate])
    script = Path(replicate.path, replicate.script_name)
    before = script.read_bytes()
    full_disk(Disk(1))
    with pytest.raises(JobError, match="cannot write .*No space left"):
        shell_job.resume([replicate], stage_data=False)
    assert script.read_bytes() == before
    assert list(Path(replicate.root).rglob("*.part")) == []
    full_disk(Disk(10**6))
    shell_job.resume([replicate], stage_data=False)
    assert b"stage_data=0" in script.read_bytes()


def test_an_event_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    agent.append(str(tmp_path), "created")
    before = (tmp_path / "events").read_bytes()

    class Short(Full):
        def write(self, data):
            return self.file.write(data[:5])

    def open_short(*args):
        return Short(open(*args), None)

    monkeypatch.setattr(agent, "open", open_short, raising=False)
    with pytest.raises(OSError, match="No space left"):
        agent.append(str(tmp_path), "start attempt=1")
    assert (tmp_path / "events").read_bytes() == before


def dead_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def aged(path, seconds):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_the_next_submit_removes_what_killed_submitters_left(shell_job, workdir):
    host, gone = os.uname()[1], dead_process()
    code, queue = workdir / "out/.seqmodel/code", workdir / f"out/.seqmodel/queue/{host}"
    dead = [
        aged(code / f"a.tar.gz.{host}.{gone}.aa11.part", 90),
        aged(code / f"{host}.{gone}.aa11.part", 90),
        aged(code / f"a.tar.gz.{host}.{os.getpid()}.part", 2 * 86400),  # of an earlier version
        aged(queue / f"waiting/1-a.{host}.{gone}.aa11.part", 90),
        aged(queue / f"limit.{host}.{gone}.aa11.part", 90),
    ]
    living = [
        aged(code / f"b.tar.gz.{host}.{os.getpid()}.aa11.part", 90),
        aged(code / f"c.tar.gz.elsewhere.{gone}.aa11.part", 90),
        aged(code / f"d.tar.gz.{host}.{gone}.aa11.part", 0),
    ]
    shell_job.submit(**RUN)
    assert [path for path in dead if path.exists()] == []
    assert all(path.exists() for path in living)


def test_a_run_removes_what_killed_attempts_left_in_its_folder(tmp_path):
    parts = [
        aged(tmp_path / name, 0)
        for name in ("checkpoints/.last.ckpt.n1.7.ab.part", ".hparams.json.n1.7.ab.part")
    ]
    write_record(tmp_path, resolve(RUN, files_here=False), {})
    assert [path for path in parts if path.exists()] == []


def test_a_writer_removes_what_killed_writers_of_its_file_left(tmp_path):
    host = os.uname()[1]
    dead = aged(tmp_path / f".x.{host}.{dead_process()}.ab.part", 90)
    living = aged(tmp_path / f".x.{host}.{os.getpid()}.ab.part", 90)
    files.remove_stale(tmp_path / "x")
    assert (dead.exists(), living.exists()) == (False, True)
