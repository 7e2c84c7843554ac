"""A cancel counts once it has succeeded, and nothing starts beside a run that is alive."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, events, play, wait_final, wait_for
from programs import need

from seqmodel.cli.verbs import main
from seqmodel.errors import BusyError, JobError
from seqmodel.job import ShellJob, SlurmJob, launch

TIMED_OUT = "scancel: error: Kill job error on job id 1: Socket timed out on send/recv operation"


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Plays a program in the place of a real one; without a text the real one is back."""

    def change(name, text=None):
        path = tmp_path / "bin" / name
        if text is None:
            path.unlink()
        else:
            play(path, text)

    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return change


def running(job, **hparams):
    replicate = job.submit(**RUN, monitor="wait", **hparams)
    wait_for(lambda: job.status([replicate])[0].metrics)
    return replicate


def add(replicate, *lines):
    with open(Path(replicate.path, "events"), "a") as file:
        file.write("".join(f"{line}\n" for line in lines))


@pytest.mark.slow
def test_a_cancel_that_failed_is_none(slurm_job, slurm, played, capsys):
    replicate = running(slurm_job)
    played("scancel", f"echo '{TIMED_OUT}' >&2; exit 1\n")
    with pytest.raises(JobError, match=r"not cancelled on local: .*Socket timed out.*again") as e:
        slurm_job.cancel([replicate])
    assert "\n" not in str(e.value)
    assert main(["cancel", replicate.path]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.detail.split(":")[0]) == ("running", "the cancel failed")
    with pytest.raises(BusyError, match="running .*cancel it first"):
        slurm_job.resume([replicate])
    assert slurm.states()[replicate.job][0] == "RUNNING"
    played("scancel")
    assert main(["cancel", replicate.path]) == 0
    assert capsys.readouterr().out.startswith("cancelled")
    wait_for(lambda: slurm.states()[replicate.job][0] == "CANCELLED")
    assert slurm_job.status([replicate])[0].reason == "cancelled"


@pytest.mark.slow
def test_a_cancel_that_failed_for_a_waiting_job_leaves_it_in_the_queue(slurm_job, slurm, played):
    replicate = slurm_job.submit(**RUN, slurm_options=["--begin=now+10hours"])
    played("scancel", "exit 1\n")
    with pytest.raises(JobError, match="not cancelled"):
        slurm_job.cancel([replicate])
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.queued) == ("created", True)
    played("scancel")
    slurm_job.cancel([replicate])
    assert slurm_job.status([replicate])[0].reason == "cancelled"


@pytest.mark.slow
def test_only_those_that_still_run_count_as_not_cancelled(slurm_job, slurm, played):
    """scancel fails for one of two."""
    first, second = running(slurm_job), running(slurm_job, seed=1)
    played("scancel", f"{need('scancel')} {first.job}; echo 'error: x' >&2; exit 1\n")
    with pytest.raises(JobError, match="seed=1.*scancel: error: x") as error:
        slurm_job.cancel([first, second])
    assert error.value.replicates == [first]
    states = [s.state for s in slurm_job.status([first, second])]
    assert sorted(states) == ["error", "running"]
    played("scancel")
    slurm_job.cancel([second])


def test_a_process_that_cannot_be_ended_is_not_cancelled(shell_job, played):
    replicate = running(shell_job)
    token = shell_job.status([replicate])[0].record.token
    played("ps", f"case \"$*\" in *args=*) echo '999999 bash x {token}';; *) echo 999999;; esac\n")
    with pytest.raises(JobError, match="process 999999: No such process"):
        shell_job.cancel([replicate])
    played("ps")
    assert shell_job.status([replicate])[0].state == "running"
    shell_job.cancel([replicate])
    assert wait_final(shell_job, [replicate])[0].reason == "cancelled"


def test_a_process_of_another_machine_is_not_cancelled_from_here(shell_job):
    replicate = shell_job.create(**RUN)
    now = int(time.time())
    add(
        replicate,
        f"{now} submitting submission=0 token=0123456789ab",
        f"{now} submitted submission=0 job=shell",
        f"{now} start attempt=1 submission=0 job=7 pid=1 beat=1 node=elsewhere",
    )
    with pytest.raises(JobError, match="runs on elsewhere: cancel it there"):
        shell_job.cancel([replicate])
    assert shell_job.status([replicate])[0].state == "running"


@pytest.mark.parametrize("why", ["", " text=pruned by the search"])
def test_a_job_that_starts_while_it_is_being_cancelled_ends(shell_job, why):
    replicate = shell_job.create(**RUN)
    add(replicate, "1 submitting submission=0 token=abc", f"2 cancelling{why}")
    script = Path(replicate.path, replicate.script_name)
    subprocess.run(["bash", str(script), "0", "abc"], check=True)
    assert events(replicate)[-2:] == ["cancelling", "cancel"]
    found = shell_job.status([replicate])[0]
    assert (found.state, found.attempts) == ("error", 0)
    assert found.reason == (why.partition("=")[2] or "cancelled")


def test_a_job_whose_cancel_failed_runs(shell_job):
    replicate = shell_job.create(**RUN)
    add(replicate, "1 submitting submission=0 token=abc", "2 cancelling", "3 cancel_failed text=x")
    script = Path(replicate.path, replicate.script_name)
    subprocess.run(["bash", str(script), "0", "abc"], check=True)
    assert shell_job.status([replicate])[0].state == "complete"


@pytest.mark.slow
def test_what_is_alive_is_not_resumed(shell_job, capsys):
    """The scheduler lost the node, but what ran there still writes."""
    replicate = shell_job.create(**RUN)
    now = int(time.time())
    add(
        replicate,
        f"{now} submitting submission=0 token=0123456789ab",
        f"{now} submitted submission=0 job=shell",
        f"{now} start attempt=1 submission=0 job=7 pid=1 beat=1 node=elsewhere",
        f"{now} seen state=NODE_FAIL text=",
    )
    assert shell_job.status([replicate])[0].state == "error"
    with pytest.raises(JobError, match="still shows signs of life on elsewhere; cancel it or"):
        shell_job.resume([replicate])
    assert main(["resume", replicate.path]) == 2
    assert "signs of life" in capsys.readouterr().err
    assert "submitting" not in events(replicate)[2:]
    wait_for(lambda: not shell_job.status([replicate])[0].alive, 30)
    shell_job.resume([replicate])
    assert wait_final(shell_job, [replicate])[0].state == "complete"


@pytest.mark.parametrize("last", ["cancel", "seen state=NODE_FAIL text="])
def test_a_job_waits_for_the_attempt_before_it_and_never_starts_beside_it(shell_job, last):
    replicate = shell_job.create(**RUN)
    now = int(time.time())
    add(
        replicate,
        f"{now} submitting submission=0 token=0123456789ab",
        f"{now} start attempt=1 submission=0 job=7 pid=1 beat=1 node=elsewhere",
        f"{now} {last}",
        f"{now} submitting submission=1 token=abc",
    )
    beat = Path(replicate.path, "heartbeat")
    beat.write_text(f"{now + 100}\n")
    script = Path(replicate.path, replicate.script_name)
    done = subprocess.run(
        ["bash", str(script), "1", "abc"],
        env={**os.environ, "await_s": "2"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith("the last attempt still runs on elsewhere: nothing was started\n")
    assert events(replicate)[-1] == "kept_out"
    assert events(replicate).count("start") == 1
    found = shell_job.status([replicate])[0]
    assert (found.state, found.job) == ("running", "7")
    beat.write_text("4\n")


def trial_job(cls, **settings):
    more = {"slurm_mem": "200M", "slurm_time_min": 1, "slurm_signal_s": 10} if settings else {}
    return cls(python=FAKE_PYTHON, heartbeat_s=1, fast_dev_run_first=True, **more, **settings)


def in_trial(job, **settings):
    replicate = job.submit(**RUN, monitor="trial_wait", **settings)
    wait_for(lambda: job.status([replicate])[0].reason == "after staging")
    return replicate


@pytest.mark.slow
@pytest.mark.parametrize("trial", ["fast_dev_run_first", "checkpoint_check"])
def test_a_trial_that_met_the_time_limit_is_repeated_after_a_requeue(slurm, workdir, trial):
    job = trial_job(SlurmJob, requeue=True)
    replicate = in_trial(job, **{"fast_dev_run_first": False, trial: True})
    found = wait_final(job, [replicate], 120)[0]
    assert (found.state, found.attempts) == ("complete", 2), (found.reason, found.detail)
    words = events(replicate)
    assert (words.count("requeue"), words.count("run"), words.count("end")) == (1, 1, 1)
    text = Path(replicate.path, "events").read_text()
    name = "preflight" if trial == "fast_dev_run_first" else "checkpoint_check"
    assert text.count(f"step phase={name}") == (1 if name == "preflight" else 2)
    assert text.index("requeue n=1") < text.index(f"step phase={name}") < text.index(" run\n")


@pytest.mark.slow
def test_a_trial_that_met_the_time_limit_has_not_failed(slurm, workdir):
    job = trial_job(SlurmJob, requeue=False)
    replicate = in_trial(job)
    found = wait_final(job, [replicate])[0]
    assert (found.state, found.reason) == ("timeout", "stopped before the run started")


@pytest.mark.slow
@pytest.mark.parametrize("by", ["scancel", "seqmodel"])
def test_a_trial_that_is_cancelled_is_cancelled_and_not_put_back(slurm, workdir, by):
    job = trial_job(SlurmJob, requeue=True)
    replicate = in_trial(job, slurm_time_min=10)
    if by == "scancel":
        slurm.call("scancel", replicate.job)
    else:
        job.cancel([replicate])
    found = wait_final(job, [replicate])[0]
    assert (found.state, found.reason) == ("error", "cancelled"), found.detail
    wait_for(lambda: slurm.states()[replicate.job][0] == "CANCELLED")
    assert "requeue" not in events(replicate)


def test_a_trial_of_a_process_that_is_ended_is_stopped_or_cancelled(workdir):
    job = trial_job(ShellJob)
    replicate = in_trial(job)
    job.cancel([replicate])
    found = wait_final(job, [replicate])[0]
    assert (found.state, found.reason) == ("error", "cancelled")
    replicate = in_trial(job, seed=1)
    os.killpg(int(job.status([replicate])[0].job), 15)
    found = wait_final(job, [replicate])[0]
    assert (found.state, found.reason) == ("error", "stopped (SIGTERM)")


@pytest.mark.parametrize(
    ("after", "failed"), [("6 end code=0", False), ("", False), ("alive", True)]
)
def test_a_job_that_ended_before_it_could_be_cancelled_is_no_failed_cancel(
    shell_job, after, failed
):
    """Its state was read while it ran, and when it is to be ended its process is gone."""
    replicate = shell_job.create(**RUN)
    child = subprocess.Popen(["sleep", "60"])
    if after != "alive":
        child.kill()
        child.wait()
    node = os.uname().nodename
    add(replicate, f"5 start attempt=1 submission=0 job=shell pid={child.pid} node={node}", after)
    found = launch.cancel_processes([(replicate.path, "none", node)], "")
    child.kill()
    child.wait()
    assert (list(found) == [replicate.path]) is failed
    assert all("outside of the queue" in why for why in found.values())
