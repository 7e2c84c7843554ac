import os
import sys
import time
from pathlib import Path

import pytest
from cluster.slurm import Slurm
from cluster.sshd import HOST, Sshd
from programs import need

from seqmodel.job import ShellJob, SlurmJob, SshInterface

FAKE_PYTHON = str(Path(__file__).parent / "fake_python")
# a run of nothing: the data are there, and nobody reads them
RUN = {"task": "masked", "fasta": "a.fa", "seq_len": 8}
HOSTILE = 'it\'s a "place" $(touch canary) `touch canary`; touch canary %j {x} ü'


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A working directory with a bad name, with data in it."""
    folder = tmp_path / "a b'c"
    folder.mkdir()
    (folder / "a.fa").write_text(">c1\n" + "ACGT" * 50 + "\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def slurm():
    for program in ("slurmctld", "slurmd", "munged", "sbatch", "faketime"):
        need(program)
    with Slurm() as cluster:
        old = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(cluster.conf)
        yield cluster
        if old is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = old


@pytest.fixture(scope="session")
def sshd_server():
    need("sshd")
    need("ssh")
    with Sshd() as server:
        yield server


@pytest.fixture
def sshd(sshd_server):
    """An sshd to which a master connection is open."""
    if not sshd_server.pid_file.exists():
        sshd_server.start()
    sshd_server.close_master()
    sshd_server.open_master()
    yield sshd_server
    if not sshd_server.pid_file.exists():
        sshd_server.start()


@pytest.fixture
def ssh(sshd):
    return SshInterface(HOST, config=str(sshd.config), timeout_s=30)


@pytest.fixture
def slurm_ssh(slurm, sshd_server, request):
    """The interface to the login node of the cluster: its sessions find slurm.conf."""
    if "SLURM_CONF" not in sshd_server.env:
        sshd_server.env["SLURM_CONF"] = str(slurm.conf)
        sshd_server.stop()
        config = sshd_server.base / "sshd_config"
        config.write_text(f'{config.read_text()}SetEnv SLURM_CONF="{slurm.conf}"\n')
        sshd_server.start()
    return request.getfixturevalue("ssh")


@pytest.fixture
def shell_job(workdir):
    return ShellJob(python=FAKE_PYTHON, n_at_once=2, heartbeat_s=1)


@pytest.fixture
def slurm_job(slurm, workdir):
    return SlurmJob(
        python=FAKE_PYTHON, heartbeat_s=1, slurm_mem="200M", slurm_time_min=10, requeue=False
    )


def wait_for(question, seconds=60, every=0.1):
    """The first true answer to `question()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"no answer within {seconds} s")


def wait_final(job, replicates, seconds=60):
    """The statuses once all are final, in the order of `replicates`."""

    def final():
        by_path = {s.folder: s for s in job.status(replicates)}
        found = [by_path[r.path] for r in replicates]
        return found if all(s.is_final for s in found) else None

    return wait_for(final, seconds, every=0.3)


def play(path, text):
    """A program in the place of a real one, in sh; to be found first on PATH."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def events(replicate):
    """The words of all its events."""
    text = Path(replicate.path, "events").read_text()
    return [line.split(" ")[1] for line in text.splitlines()]


sys.modules.setdefault("job_helpers", sys.modules[__name__])
