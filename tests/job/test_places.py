"""Paths that a setting names on the machine of a job: `~` is the home folder there, relative ones
start from workdir, and what is not there is refused before a folder is made."""

from pathlib import Path

import pytest
from cluster.sshd import HOST, Sshd
from job_helpers import FAKE_PYTHON, wait_final
from programs import need

from seqmodel.errors import JobError
from seqmodel.job import ShellJob, SlurmJob, SshInterface
from seqmodel.job.os_interface import LocalInterface

RUN = {"task": "masked", "fasta": "a.fa", "seq_len": 8}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with an environment in `env x/`, and with `dna/` as working directory."""
    folder = tmp_path / "ho'me"
    for path in (folder / "env x/bin/python", folder / "dna/tools/python"):
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\necho "$0" > "$HOME/used"\nexec "{FAKE_PYTHON}" "$@"\n')
        path.chmod(0o755)
    (folder / "dna/a.fa").write_text(">c1\n" + "ACGT" * 50 + "\n")
    (folder / "dna/not_executable").write_text("")
    (folder / "dna/wheels").mkdir()
    (folder / "dna/lock.txt").write_text("")
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture(params=["here", "over ssh"])
def interface(request, home):
    if request.param == "here":
        yield LocalInterface()
        return
    need("sshd")
    with Sshd(login=f'export HOME="{home}"; cd') as server:
        server.open_master()
        yield SshInterface(HOST, config=str(server.config), timeout_s=60)
        server.close_master()


@pytest.mark.parametrize(
    ("settings", "used"),
    [
        ({"venv": "~/env x"}, "env x/bin/python"),
        ({"venv": "../env x/"}, "dna/../env x//bin/python"),
        ({"python": "tools/python"}, "dna/tools/python"),
        ({"python": "~/dna/tools/python"}, "dna/tools/python"),
    ],
)
def test_a_python_is_found_from_home_and_from_workdir(interface, home, settings, used):
    job = ShellJob(interface, workdir="~/dna", heartbeat_s=1, **settings)
    made = job.submit(**RUN)
    assert wait_final(job, [made], 120)[0].state == "complete"
    assert (home / "used").read_text() == f"{home}/{used}\n"
    if not interface.is_local:
        n = interface.n_connections
        job.submit(**RUN)
        assert interface.n_connections == n + 2  # nothing is asked by itself


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"venv": "~/env"}, "--venv: ~/env/bin/python: no such program on"),
        ({"venv": "/no/env"}, "--venv: /no/env/bin/python: no such program on"),
        ({"python": "tools/nothing"}, "--python: tools/nothing: no such program on"),
        ({"python": "./tools"}, "--python: ./tools: no such program on"),
        ({"python": "./not_executable"}, "--python: ./not_executable: no such program on"),
        ({"requirements": "none.txt"}, "--requirements: none.txt: no such file on"),
        ({"requirements": "~/dna"}, "--requirements: ~/dna: no such file on"),
        ({"requirements": "lock.txt", "wheels": "~/wheels"}, "--wheels: ~/wheels: no such folder"),
    ],
)
def test_what_is_not_there_is_one_line_and_nothing_is_made(interface, home, settings, told):
    job = ShellJob(interface, workdir="~/dna", **settings)
    with pytest.raises(JobError, match=f"(?s)^{told}.*dna.*nothing was submitted$") as error:
        job.submit_all([RUN, RUN])
    assert len(str(error.value).splitlines()) == 1
    assert not list(home.rglob("version_*"))


@pytest.mark.slow
def test_an_environment_is_made_from_relative_files(interface, home):
    (home / "dna/lock.txt").write_text("no-such-package==1.0\n")
    job = ShellJob(
        interface, workdir="~/dna", heartbeat_s=1, requirements="lock.txt", wheels="~/dna/wheels"
    )
    made = job.submit(**RUN)
    found = wait_final(job, [made], 240)[0]
    assert (found.state, found.reason) == ("error", "environment")
    stderr = Path(made.path, "stderr").read_text()
    assert "no-such-package" in stderr  # the lock file was read, and the folder of wheels searched
    assert "does not exist" not in stderr


def test_slurm_finds_them_too(slurm, home, monkeypatch):
    monkeypatch.chdir(home / "dna")
    job = SlurmJob(venv="~/env x", heartbeat_s=1, slurm_mem="200M", requeue=False)
    assert wait_final(job, [job.submit(**RUN)], 120)[0].state == "complete"
    assert (home / "used").read_text() == f"{home}/env x/bin/python\n"
