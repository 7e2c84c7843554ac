import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster.sshd import HOST
from job_helpers import FAKE_PYTHON, HOSTILE, RUN, events, play, wait_final, wait_for
from programs import need

from seqmodel.cli.verbs import main as seqmodel
from seqmodel.errors import HparamError, JobError
from seqmodel.job import SlurmJob, os_interface, status

pytestmark = pytest.mark.slow

NO_CLUSTER = {"PATH": "/usr/bin:/bin"}


def status_elsewhere(folder, tmp_path):
    """The status that a machine without Slurm tells of a copy of the folder."""
    copy = tmp_path / "a copy"
    subprocess.run(["cp", "-r", str(folder), str(copy)], check=True)
    found = status(str(copy))
    return [(s.state, s.reason) for s in found]


def test_a_run_goes_through_the_queue(slurm_job):
    replicate = slurm_job.submit(**RUN)
    assert replicate.job.isdecimal()
    assert replicate.reason.split(" ")[0] in ("PENDING", "RUNNING", "COMPLETED")
    assert "None" not in replicate.reason
    found = wait_final(slurm_job, [replicate])[0]
    assert (found.state, found.job) == ("complete", replicate.job)
    node = json.loads(Path(replicate.path, "argv.json").read_text())["cwd"]
    assert "/scratch/node" in node


def test_each_rank_has_the_cpus_that_the_job_asks_for_it(slurm_job, tmp_path):
    python = tmp_path / "python"  # each rank writes what Slurm shows of its step
    show = f"""#!/bin/sh
if [ "$1" = -c ]; then exit; fi
exec > "{tmp_path}/$SLURM_PROCID"
echo "$SRUN_CPUS_PER_TASK"
scontrol show step "$SLURM_JOB_ID.$SLURM_STEP_ID"
"""
    python.write_text(show)
    python.chmod(0o755)
    job = SlurmJob(python=str(python), heartbeat_s=1, slurm_mem="200M", slurm_cpus=3)
    ranks = {"devices": 2, "strategy": "ddp", "accelerator": "cpu", "fast_dev_run_first": False}
    wait_final(job, [job.submit(**RUN, **ranks)])
    for rank in "01":
        assert {"3", "CPUs=6", "Tasks=2"} <= set((tmp_path / rank).read_text().split())


def test_many_runs_are_one_array(slurm_job, slurm):
    made = slurm_job.submit_all([{**RUN, "seed": i} for i in range(30)])
    assert slurm_job.n_calls["sbatch"] == 1
    array = made[0].job.split("_")[0]
    assert [r.job for r in made] == [f"{array}_{i}" for i in range(30)]
    found = wait_final(slurm_job, made, 90)
    assert {s.state for s in found} == {"complete"}
    for i, replicate in enumerate(made):
        argv = json.loads(Path(replicate.path, "argv.json").read_text())["argv"]
        assert (f"--seed={i}" in argv) == (i > 0)
        assert Path(replicate.path, "stderr").read_text() == "seqmodel: attempt 1\n"


def test_runs_that_ask_for_other_resources_go_in_other_arrays_and_chunks(slurm_job, monkeypatch):
    monkeypatch.setattr("seqmodel.job.slurm.MAX_ARRAY", 2)
    monkeypatch.setattr("seqmodel.job.launch.array_size", lambda: 2)
    runs = [{**RUN, "slurm_mem": "100M"}] * 3 + [{**RUN, "slurm_mem": "150M"}]
    made = slurm_job.submit_all(runs)
    assert slurm_job.n_calls["sbatch"] == 3
    assert len({r.job.split("_")[0] for r in made}) == 3
    assert {s.state for s in wait_final(slurm_job, made)} == {"complete"}


def test_a_waiting_job_says_why_it_waits(slurm_job):
    replicate = slurm_job.submit(**RUN, slurm_options=["--begin=now+10hours"])
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.queued, found.reason) == ("created", True, "queued BeginTime")
    slurm_job.cancel([replicate])
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.reason) == ("error", "cancelled")


@pytest.mark.parametrize("repair", ["Job.resume", "Job.submit", "resume", "submit"])
def test_what_sbatch_refuses_is_reported_and_can_be_corrected(slurm_job, capsys, repair):
    with pytest.raises(JobError, match="sbatch refused the job on local: .*partition") as error:
        slurm_job.submit(**RUN, slurm_partition="nowhere")
    assert "\n" not in str(error.value)
    found = slurm_job.status()[0]
    assert found.state == "created"
    assert found.reason.startswith("refused: ")
    assert "partition" in found.reason
    assert "refused: " in slurm_job.status().text()  # the table shows it
    [replicate] = slurm_job.find(found.folder)
    if repair == "Job.resume":
        slurm_job.resume(slurm_partition="main")
    elif repair == "Job.submit":
        slurm_job.submit(replicate, slurm_partition="main")
    else:
        assert seqmodel([repair, replicate.path, "--slurm_partition=main"]) == 0
        assert replicate.path in capsys.readouterr().out
    assert "#SBATCH --partition=main" in Path(replicate.path, replicate.script_name).read_text()
    assert slurm_job.status()[0].reason != found.reason
    assert wait_final(slurm_job, [replicate])[0].state == "complete"


def test_values_that_a_directive_cannot_hold_are_refused(slurm_job, workdir):
    for bad in ("a b", "a\nb", "a'b", "$x"):
        with pytest.raises(HparamError, match="slurm_account"):
            slurm_job.submit(**RUN, slurm_account=bad)
    with pytest.raises(HparamError, match="slurm_mem .*must be a number"):
        slurm_job.submit(**RUN, slurm_mem="much")
    with pytest.raises(HparamError, match="slurm_signal_s is 120 s"):
        slurm_job.submit(**RUN, slurm_time_min=2)
    with pytest.raises(HparamError, match="--array"):
        slurm_job.submit(**RUN, slurm_options=["--array=1-5"])
    with pytest.raises(HparamError, match="backslash"):
        slurm_job.submit(**RUN, job_out_dir="a\\b")
    assert not (workdir / "out").exists()


def test_hostile_values_arrive_as_they_are_through_ssh_and_slurm(slurm_ssh, tmp_path):
    workdir = tmp_path / HOSTILE
    workdir.mkdir()
    (workdir / f"-{HOSTILE}.fa").write_text(">c1\nACGT\n")
    job = SlurmJob(
        slurm_ssh, python=FAKE_PYTHON, workdir=str(workdir), job_out_dir=f"out {HOSTILE}",
        slurm_mem="100M", slurm_time_min=10,
    )  # fmt: skip
    replicate = job.submit(**{**RUN, "fasta": f"-{HOSTILE}.fa"})
    found = wait_final(job, [replicate])[0]
    assert found.state == "complete", found.detail
    argv = json.loads(Path(replicate.path, "argv.json").read_text())["argv"]
    assert f"--fasta=-{HOSTILE}.fa" in argv
    assert f"--default_root_dir={replicate.path}" in argv
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [("raise", "exception"), ("memory", "out of memory"), ("preflight", "preflight")],
)
def test_how_a_job_failed_is_told_by_its_files_alone(slurm_job, tmp_path, behaviour, reason):
    replicate = slurm_job.submit(**RUN, monitor=behaviour, fast_dev_run_first=True)
    found = wait_final(slurm_job, [replicate])[0]
    assert (found.state, found.reason) == ("error", reason)
    assert status_elsewhere(replicate.root, tmp_path) == [("error", reason)]


def test_a_cancelled_job_is_told_by_its_files_alone(slurm_job, slurm, tmp_path):
    replicate = slurm_job.submit(**RUN, monitor="wait")
    wait_for(lambda: slurm_job.status([replicate])[0].metrics)
    slurm.call("scancel", replicate.job)
    found = wait_final(slurm_job, [replicate])[0]
    assert (found.state, found.reason) == ("error", "cancelled")
    assert status_elsewhere(replicate.root, tmp_path) == [("error", "cancelled")]


def test_the_time_limit_is_told_by_the_files_alone(slurm_job, tmp_path):
    replicate = slurm_job.submit(**RUN, monitor="wait", slurm_time_min=1, slurm_signal_s=0)
    found = wait_final(slurm_job, [replicate])[0]
    assert (found.state, found.reason) == ("timeout", "time limit")
    assert status_elsewhere(replicate.root, tmp_path) == [("timeout", "time limit")]
    slurm_job.resume([replicate])
    wait_for(lambda: "from=last.ckpt" in Path(replicate.path, "events").read_text())
    assert slurm_job.status([replicate])[0].attempts == 2
    slurm_job.cancel([replicate])


def test_with_requeue_a_job_goes_on_over_several_attempts(slurm_job):
    replicate = slurm_job.submit(
        **RUN, monitor="count_110", slurm_time_min=1, slurm_signal_s=10, requeue=True
    )
    found = wait_final(slurm_job, [replicate], 120)[0]
    assert found.state == "complete", (found.reason, found.detail)
    assert found.attempts >= 2
    assert events(replicate).count("requeue") == found.attempts - 1
    steps = [line.split(",")[1] for line in Path(replicate.path, "metrics.csv").read_text().split()]
    assert steps[1:] == [str(i) for i in range(1, 111)]


def test_the_number_of_requeues_has_an_end(slurm_job):
    replicate = slurm_job.submit(
        **RUN, monitor="wait", slurm_time_min=1, slurm_signal_s=10, requeue=True, max_requeues=1
    )
    found = wait_final(slurm_job, [replicate], 90)[0]
    assert (found.state, found.attempts) == ("timeout", 2)
    assert "requeued 1 times" in found.detail


@pytest.mark.parametrize("phase", ["run", "trial"])
def test_two_attempts_that_end_at_the_same_step_are_the_last(slurm_job, slurm, phase):
    trial = {"fast_dev_run_first": True} if phase == "trial" else {}
    behaviour = "stuck_trial" if phase == "trial" else "stuck"
    replicate = slurm_job.submit(**RUN, monitor=behaviour, requeue=True, **trial)
    for attempt in (1, 2):
        begun = "step phase=staging" if phase == "trial" else " run"
        path = Path(replicate.path, "events")
        wait_for(lambda: path.read_text().count(begun) == attempt)  # noqa: B023
        wait_for(lambda: phase == "trial" or Path(replicate.path, "argv.json").exists())
        # what --signal=B:USR1@... does before the time limit
        slurm.call("scancel", "--batch", "--signal=USR1", replicate.job)
        if attempt == 1:
            wait_for(lambda: events(replicate).count("start") == 2)
    found = wait_final(slurm_job, [replicate])[0]
    assert (found.state, found.reason, found.attempts) == ("timeout", "no progress", 2)
    assert found.detail.startswith("two attempts ended at step 0; raise the time limit")
    assert events(replicate).count("requeue") == 1


def test_a_full_disk_is_told(slurm_job, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system needs root")
    try:
        replicate = slurm_job.submit(**RUN, monitor="fill", job_out_dir=str(small / "out"))
        found = wait_final(slurm_job, [replicate])[0]
        assert (found.state, found.reason) == ("error", "disk full")
        Path(replicate.path, "checkpoints/big").unlink()
        assert status_elsewhere(replicate.root, tmp_path) == [("error", "disk full")]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_job_that_is_queued_although_nobody_noted_it_is_found_by_its_token(slurm_job):
    replicate = slurm_job.submit(**RUN, slurm_options=["--begin=now+10hours"])
    path = Path(replicate.path, "events")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if " submitted " not in line))
    again = slurm_job.find(replicate.path)[0]
    assert again.job == replicate.job
    assert slurm_job.submit(again).job == replicate.job  # nothing is submitted twice
    assert slurm_job.n_calls["sbatch"] == 1
    assert " submitted " in path.read_text()
    slurm_job.cancel([again])


def test_the_scheduler_is_not_needed_for_what_is_final(slurm_job, slurm):
    replicate = slurm_job.submit(**RUN)
    wait_final(slurm_job, [replicate])
    running = slurm_job.submit(**RUN, monitor="wait")
    wait_for(lambda: slurm_job.status([running])[0].metrics)
    slurm.stop_controller()
    try:
        found = slurm_job.status()
        assert {s.state for s in found} == {"complete", "running"}
    finally:
        slurm.start_controller()
    wait_for(lambda: running.job in slurm.states())
    slurm_job.cancel([running])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("998|998|COMPLETED\n999|999|CANCELLED by 1000\n", ("error", "cancelled")),
        ("999|999|OUT_OF_MEMORY\n", ("error", "out of memory")),
        ("999|999|TIMEOUT\n", ("timeout", "time limit")),
        ("998|998|COMPLETED\n", ("running", "")),  # sacct trails: no row is no word
        ("", ("running", "")),
    ],
)
def test_what_squeue_has_forgotten_is_asked_of_sacct(
    slurm_job, tmp_path, monkeypatch, answer, expected
):
    """An accounting database is played: what it prints is as a real one printed it."""
    replicate = slurm_job.create(**RUN)
    now = int(time.time())
    with open(Path(replicate.path, "events"), "a") as file:
        file.write(f"{now} submitting submission=0 token=abc\n{now} submitted job=999\n")
        file.write(f"{now} start attempt=1 submission=0 job=999 node=node1\n{now} run\n")
    Path(replicate.path, "heartbeat").write_text(str(now))
    bin_dir = tmp_path / "bin"
    play(bin_dir / "sacct", f"printf '{answer}'\n")
    monkeypatch.setenv("PATH", f"{bin_dir}:{os.environ['PATH']}")
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.reason) == expected
    assert slurm_job.n_calls["sacct"] == 1


def test_words_of_the_scheduler_that_nobody_knows_count_as_active(slurm_job, monkeypatch):
    replicate = slurm_job.submit(**RUN, slurm_options=["--begin=now+10hours"])
    line = f"{replicate.job}|{replicate.job}|N/A|UNHEARD_OF|Why|x"
    monkeypatch.setattr("seqmodel.job.launch.squeue", lambda *args: [line])
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.queued) == ("created", True)
    monkeypatch.setattr("seqmodel.job.launch.squeue", lambda *args: [])
    assert slurm_job.status([replicate])[0].state == "created"  # not at once
    slurm_job.cancel([replicate])


def test_a_node_that_goes_down_is_told_by_the_files_alone(slurm_job, slurm, tmp_path):
    replicate = slurm_job.submit(**RUN, monitor="wait", slurm_options=["--nodelist=node2"])
    wait_for(lambda: slurm_job.status([replicate])[0].metrics)
    slurm.kill_node(2)
    try:
        found = wait_final(slurm_job, [replicate])[0]
        assert (found.state, found.reason) == ("error", "node failure")
        assert status_elsewhere(replicate.root, tmp_path) == [("error", "node failure")]
    finally:
        slurm.start_node(2)
        slurm.call("scontrol", "update", "nodename=node2", "state=resume", check=False)


def ssh_job(ssh, workdir, **settings):
    return SlurmJob(
        ssh, python=settings.pop("python", FAKE_PYTHON), workdir=str(workdir),
        slurm_mem=settings.pop("slurm_mem", "200M"), slurm_time_min=10, heartbeat_s=1, **settings,
    )  # fmt: skip


def test_a_hundred_runs_over_ssh_take_two_connections_and_one_sbatch(slurm_ssh, workdir, slurm):
    job = ssh_job(slurm_ssh, workdir, slurm_options=["--begin=now+10hours"])
    made = job.submit_all([{**RUN, "seed": i} for i in range(100)])
    assert (slurm_ssh.n_connections, job.n_calls["sbatch"]) == (2, 1)
    before = slurm_ssh.n_connections
    found = job.status(made)
    assert len(found) == 100
    assert all(s.queued and s.reason == "queued BeginTime" for s in found)
    assert (slurm_ssh.n_connections - before, job.n_calls["squeue"]) == (1, 2)
    slurm.call("scancel", made[0].job.split("_")[0])
    assert {s.reason for s in job.status(made)} == {"cancelled"}


def test_a_pulled_folder_tells_its_status_without_a_cluster(slurm_ssh, workdir, tmp_path):
    job = ssh_job(slurm_ssh, workdir)
    made = job.submit_all([RUN, {**RUN, "monitor": "raise"}])
    wait_final(job, made)
    target = job.pull(to=str(tmp_path / "here"))
    code = "import sys; from seqmodel.job import status; print(status(sys.argv[1]).counts())"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, target], env={**NO_CLUSTER, "PYTHONPATH": root},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "{'error': 1, 'complete': 1}\n"


def cut_soon(sshd, seconds=0.7):
    import threading

    thread = threading.Timer(seconds, sshd.kill_sessions)
    thread.start()
    return thread


def test_a_lost_connection_in_a_status_is_told_and_the_next_call_goes_on(
    slurm_ssh, sshd, workdir, monkeypatch
):
    job = ssh_job(slurm_ssh, workdir)
    replicate = job.submit(**RUN)
    wait_final(job, [replicate])
    with monkeypatch.context() as patch:
        slow = os_interface._START.replace("import sys;", "import sys, time; time.sleep(20);")
        patch.setattr(os_interface, "_START", slow)
        thread = cut_soon(sshd)
        with pytest.raises(JobError, match=f"the connection to {HOST} was lost"):
            job.status()
        thread.join()
    sshd.open_master()
    assert [s.state for s in job.status()] == ["complete"]


def test_a_lost_connection_in_a_pull_leaves_nothing_half_copied(slurm_ssh, sshd, workdir, tmp_path):
    job = ssh_job(slurm_ssh, workdir)
    replicate = job.submit(**RUN)
    wait_final(job, [replicate])
    large = Path(replicate.path, "checkpoints/large.ckpt")
    with open(large, "wb") as file:
        os.truncate(file.fileno(), 3_000_000_000)  # takes no room here, and seconds to copy
    thread = cut_soon(sshd)
    with pytest.raises(JobError, match=f"the connection to {HOST} was lost|rsync"):
        job.pull(replicate, to=str(tmp_path / "here"))
    thread.join()
    assert not list(tmp_path.glob("here/**/checkpoints/large.ckpt"))
    os.truncate(large, 1000)
    sshd.open_master()
    target = Path(job.pull(replicate, to=str(tmp_path / "here")))
    assert (target / "checkpoints/large.ckpt").read_bytes() == bytes(1000)
    assert (target / "metrics.csv").read_text() == Path(replicate.path, "metrics.csv").read_text()
    assert not list(target.rglob("*part*"))


def test_a_missing_file_there_is_told_before_anything_is_made(slurm_ssh, workdir):
    job = ssh_job(slurm_ssh, workdir)
    with pytest.raises(JobError, match=f"--fasta: b.fa: no such file on {HOST}"):
        job.submit(**{**RUN, "fasta": "b.fa"})
    assert not list((workdir / "out").rglob("version_*"))


def test_a_lost_connection_in_a_submit_queues_nothing_twice(
    slurm_ssh, sshd, workdir, slurm, monkeypatch
):
    """The connection is cut while sbatch runs: a slow one stands in its place."""
    bin_dir = workdir / "bin"
    play(
        bin_dir / "sbatch",
        f'touch "{workdir}/called"\nsleep 1\nexec {need("sbatch")} --begin=now+10hours "$@"\n',
    )
    job = ssh_job(slurm_ssh, workdir)
    path = f"{bin_dir}:{os.environ['PATH']}".encode().hex()
    begin = f'import os; os.environ["PATH"] = bytes.fromhex("{path}").decode(); '
    import threading

    def cut():
        wait_for((workdir / "called").exists)
        sshd.kill_sessions()

    with monkeypatch.context() as patch:
        patch.setattr(os_interface, "_START", begin + os_interface._START)
        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(JobError, match=f"the connection to {HOST} was lost") as error:
            job.submit(**RUN)
        thread.join()
    replicate = error.value.replicates[0]
    sshd.open_master()
    name = Path(replicate.path, "events").read_text().partition("token=")[2]
    assert name
    wait_for(lambda: job.status([replicate])[0].job, 20)
    assert job.submit(replicate).job == job.status([replicate])[0].job
    queued = [job for job, (state, _) in slurm.states().items() if state == "PENDING"]
    assert len(queued) == 1
    job.cancel([replicate])
