"""Runs of several classes of job in one folder: each is handled by its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, events, play, wait_final, wait_for
from programs import need

from seqmodel.cli.verbs import main
from seqmodel.errors import HparamError, JobError
from seqmodel.job import ShellJob, SlurmJob

pytestmark = pytest.mark.slow


class MySlurm(SlurmJob):
    """A user's own class."""


@pytest.fixture
def jobs(slurm, workdir):
    """Three classes of job, whose `out` is the same folder."""
    slurm_settings = {"slurm_mem": "200M", "slurm_time_min": 10, "requeue": False}
    shared = {"python": FAKE_PYTHON, "heartbeat_s": 1}
    return [
        ShellJob(**shared, n_at_once=4),
        SlurmJob(**shared, **slurm_settings),
        MySlurm(**shared, **slurm_settings),
    ]


@pytest.fixture
def called(tmp_path, monkeypatch):
    """What scancel was called with, a list a call."""
    log = tmp_path / "scancel.log"
    play(tmp_path / "bin/scancel", f'echo "$*" >> "{log}"\nexec {need("scancel")} "$@"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return lambda: [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def running(jobs, behaviour="wait"):
    made = [job.submit(**RUN, monitor=behaviour, seed=i) for i, job in enumerate(jobs)]
    wait_for(lambda: all(s.metrics for s in jobs[0].status(made)))
    return made


def as_by_0_1_0(replicate):
    """The records of a replicate as version 0.1.0 wrote them."""
    path = Path(replicate.path, "job.json")
    record = json.loads(path.read_text())
    del record["base"], record["class"]
    path.write_text(json.dumps(record))
    path = Path(replicate.path, "events")
    first, _, rest = path.read_text().partition("\n")
    path.write_text(first.split(" kind=")[0] + "\n" + rest)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("caller", [0, 1, 2, "command line"])
def test_each_is_cancelled_by_its_own_class(jobs, slurm, called, caller, old):
    made = running(jobs)
    if old:
        for replicate in made:
            as_by_0_1_0(replicate)
    pid = int(jobs[0].status([made[0]])[0].job)
    if caller == "command line":
        assert main(["cancel", "out"]) == 0
    else:
        jobs[caller].cancel(made)
    found = wait_final(jobs[0], made)
    assert [(s.state, s.reason) for s in found] == [("error", "cancelled")] * 3
    assert sorted(word for words in called() for word in words) == sorted(r.job for r in made[1:])
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    for replicate in made[1:]:
        wait_for(lambda r=replicate: slurm.states()[r.job][0] == "CANCELLED")


def test_a_process_is_never_a_job_of_slurm(jobs, slurm, called):
    """A job of the user has the number that the process has."""
    slurm_job = jobs[1]
    replicate = slurm_job.create(**RUN)
    other = slurm.call("sbatch", "--parsable", "-o/dev/null", "--wrap", "sleep 300").strip()
    # as a script that was started by hand, outside of the queue
    with open(Path(replicate.path, "events"), "a") as file:
        file.write(
            f"1 start attempt=1 submission=0 job={other} pid={other} node=elsewhere\n2 run\n"
        )
    Path(replicate.path, "heartbeat").write_text(f"{time.time():.0f}\n")
    with pytest.raises(JobError, match="runs on elsewhere outside of the queue"):
        slurm_job.cancel([replicate])
    assert slurm.states()[other][0] in ("PENDING", "RUNNING")
    assert called() == []
    slurm.call("scancel", other)


@pytest.mark.parametrize("caller", [0, 1, "command line"])
def test_each_is_resumed_by_its_own_class(jobs, slurm, caller, capsys):
    made = running(jobs)
    jobs[0].cancel(made)
    wait_final(jobs[0], made)
    if caller == "command line":
        assert main(["resume", "out", "--slurm_time_min=20"]) == 0
        assert capsys.readouterr().out.count("  resumed  ") == 3
    else:
        jobs[caller].resume(made, slurm_time_min=20)
    wait_for(lambda: [s.attempts for s in jobs[1].status(made)] == [2, 2, 2])
    assert [s.state for s in jobs[0].status(made)] == ["running"] * 3
    limits = slurm.call("squeue", "-h", "-t", "RUNNING", "-o", "%l").split()
    assert limits.count("20:00") == 2
    assert [json.loads(Path(r.path, "job.json").read_text())["base"] for r in made] == [
        "shell", "slurm", "slurm",
    ]  # fmt: skip
    jobs[2].cancel(made)
    wait_final(jobs[0], made)
    with pytest.raises(HparamError, match="no_such"):
        jobs[0].resume(no_such=1)


def test_the_states_are_those_of_each_scheduler(jobs, slurm):
    made = running(jobs)
    for job in jobs:
        assert [s.state for s in job.status(made)] == ["running"] * 3
    slurm.call("scancel", "--signal=KILL", "--full", made[1].job)
    slurm.call("scancel", made[2].job)
    found = wait_final(jobs[0], made[1:])  # asked by ShellJob
    assert {s.state for s in found} == {"error"}
    found = jobs[1].status([made[0]])[0]
    assert found.state == "running", (found.reason, found.detail)
    jobs[1].cancel([made[0]])
    wait_final(jobs[1], [made[0]])


def test_a_class_that_is_not_known_here_is_handled_by_its_nearest(jobs, slurm, workdir):
    """The command line, in a process that has never heard of the class, from anywhere."""
    made = running(jobs)
    root = str(Path(__file__).parents[2])
    # a module of the name of the record, which must not be imported
    (workdir / "test_kinds.py").write_text("open('canary', 'w')\n")
    for verb, words in (
        ("status", ["--json"]), ("logs", ["--n_lines=1"]), ("cancel", []), ("status", ["--json"]),
    ):  # fmt: skip
        code = f"import sys; sys.path.insert(0, {root!r}); from seqmodel.cli.verbs import main; "
        code += "sys.exit(main(sys.argv[1:]))"
        done = subprocess.run(
            [sys.executable, "-c", code, verb, "out", *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("version_0") >= 3
    assert not (workdir / "canary").exists()
    assert {s.reason for s in wait_final(jobs[0], made)} == {"cancelled"}
    assert events(made[2]).count("cancel") == 1


def test_a_submit_to_a_cluster_says_which_scheduler(slurm_ssh, sshd, workdir, capsys):
    where = [f"--host={slurm_ssh.host}", f"--ssh_config={sshd.config}", f"--workdir={workdir}"]
    run = [f"--python={FAKE_PYTHON}", "--heartbeat_s=1", *(f"--{n}={v}" for n, v in RUN.items())]
    assert main(["submit", *where, *run]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--scheduler=slurm" in said
    assert "--scheduler=shell" in said
    assert not (workdir / "out").exists()
    for words in (["--slurm_mem=200M"], ["--scheduler=slurm", "--slurm_mem=200M"]):
        assert main(["submit", *where, *run, *words]) == 0
        assert capsys.readouterr().out.split()[0].isdecimal()
    assert main(["submit", *where, *run, "--scheduler=shell"]) == 0
    assert capsys.readouterr().out.startswith("shell")
    made = ShellJob(workdir=str(workdir)).find("out")
    assert {s.state for s in wait_final(ShellJob(), made)} == {"complete"}


def test_a_search_on_a_cluster_says_which_scheduler(slurm_ssh, sshd):
    from seqmodel.job.search.file import make_job

    where = {"host": slurm_ssh.host, "ssh_config": str(sshd.config)}
    with pytest.raises(JobError, match='kind = "slurm" .* or kind = "shell"'):
        make_job(where)
    assert isinstance(make_job({**where, "kind": "shell"}), ShellJob)
    assert isinstance(make_job({"n_at_once": 2}), ShellJob)
