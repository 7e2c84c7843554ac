import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, HOSTILE, RUN, events, play, wait_final, wait_for

from seqmodel import VERSION
from seqmodel.errors import BusyError, CheckpointError, HparamError, JobError
from seqmodel.job import ShellJob, status
from seqmodel.job.events import Record, parse_events
from seqmodel.job.shell import _Processes
from seqmodel.record.code import PACKAGE

NODE = f"{PACKAGE}/job/script/node.sh"


def test_a_run_is_created_runs_and_is_complete(shell_job):
    replicate = shell_job.submit(**RUN)
    assert shell_job.status([replicate])[0].state in ("created", "running")
    found = wait_final(shell_job, [replicate])[0]
    assert (found.state, found.attempts) == ("complete", 1)
    assert found.metrics == {"epoch": "0", "step": "1", "train_loss": "1.000"}
    assert events(replicate)[-2:] == ["run", "end"]


def test_the_same_run_again_is_the_next_version(shell_job):
    folders = [shell_job.create(**RUN).folder for _ in range(3)]
    assert [f.rsplit("/", 1)[1] for f in folders] == ["version_0", "version_1", "version_2"]
    assert len({f.split("/")[0] for f in folders}) == 1


def test_a_folder_holds_the_script_and_all_hyperparameters(shell_job):
    replicate = shell_job.create(**RUN, lr=1e-3)
    path = Path(replicate.path)
    names = {p.name for p in path.iterdir()}
    script = f"{replicate.canonical}_version_0.sh"
    assert names == {script, "hparams.json", "job.json", "events", "stdout", "stderr"}
    assert json.loads((path / "hparams.json").read_text())["lr"] == 1e-3
    assert json.loads((path / "job.json").read_text())["given"] == {**RUN, "lr": 1e-3}
    found = shell_job.status()[0]
    assert (found.state, found.reason) == ("created", "not submitted")


def test_a_created_replicate_is_submitted_once(shell_job):
    replicate = shell_job.create(**RUN)
    shell_job.submit(replicate)
    wait_final(shell_job, [replicate])
    with pytest.raises(JobError, match=r"complete; submit\(\) makes another replicate"):
        shell_job.resume([replicate])
    assert events(replicate).count("start") == 1


def test_what_is_wrong_makes_no_folder(shell_job, workdir):
    with pytest.raises(HparamError, match="did you mean 'seq_len'"):
        shell_job.submit(**RUN, seq_length=3)
    with pytest.raises(JobError, match=r"--fasta: b.fa: no such file on local \(looked in"):
        shell_job.submit(**{**RUN, "fasta": "b.fa"})
    with pytest.raises(HparamError, match="run 2 of 2: .*--lr"):
        shell_job.submit_all([RUN, {**RUN, "lr": -1}])
    with pytest.raises(HparamError, match="'default_root_dir' is set by the job itself"):
        shell_job.submit(**RUN, default_root_dir="x")
    with pytest.raises(JobError, match="newline"):
        shell_job.submit(**RUN, monitor="a\nb")
    assert not (workdir / "out").exists()


def test_so_many_run_at_once_and_the_rest_wait(workdir):
    job = ShellJob(python=FAKE_PYTHON, n_at_once=2, heartbeat_s=1)
    made = job.submit_all([{**RUN, "monitor": "count_8"}] * 6)
    most = 0

    def done():
        nonlocal most
        found = job.status(made)
        most = max(most, sum(s.state == "running" for s in found))
        return all(s.is_final for s in found)

    wait_for(done)
    assert most == 2
    assert job.status().counts() == {"complete": 6}


def test_jobs_survive_their_submitter(workdir):
    code = (
        "from seqmodel.job import ShellJob\n"
        f"job = ShellJob(python={FAKE_PYTHON!r}, heartbeat_s=1)\n"
        f"job.submit_all([{RUN!r}] * 3)\n"
        "import os, signal; os.killpg(0, signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [os.sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True, check=False,
    )  # fmt: skip
    wait_for(lambda: status("out").counts() == {"complete": 3})


@pytest.mark.parametrize(
    ("behaviour", "state", "reason", "detail"),
    [
        ("raise", "error", "exception", "ValueError: bad value 7 in\ta line"),
        ("mistake", "error", "exception", "HparamError: --lr must be above 0"),
        ("module", "error", "exception", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_how_a_run_failed_is_told_from_a_copy_of_its_folder(
    shell_job, tmp_path, behaviour, state, reason, detail
):
    replicate = shell_job.submit(**RUN, monitor=behaviour)
    found = wait_final(shell_job, [replicate])[0]
    assert (found.state, found.reason, found.detail) == (state, reason, detail)
    subprocess.run(["cp", "-r", replicate.root, str(tmp_path / "copy")], check=True)
    copied = status(str(tmp_path / "copy"))[0]
    assert (copied.state, copied.reason, copied.detail) == (state, reason, detail)
    alone = status(str(tmp_path / "copy" / replicate.folder))[0]
    assert (alone.state, alone.reason) == (state, reason)


def test_a_failing_trial_keeps_the_run_from_starting(shell_job):
    bad = shell_job.submit(**RUN, monitor="preflight", fast_dev_run_first=True)
    good = shell_job.submit(**RUN, fast_dev_run_first=True)
    found = wait_final(shell_job, [bad, good])
    assert (found[0].state, found[0].reason) == ("error", "preflight")
    assert found[0].detail == "RuntimeError: shapes do not fit: 3 and 4"
    assert found[1].state == "complete"
    assert not Path(bad.path, "argv.json").exists()


def test_a_missing_python_or_module_is_told(shell_job):
    no_python = shell_job.submit(**RUN, python="no_such_python")
    no_module = shell_job.submit(**RUN, modules=["cuda/99"])
    found = wait_final(shell_job, [no_python, no_module])
    assert [(s.state, s.reason) for s in found] == [("error", "environment")] * 2
    assert "no_such_python" in found[0].detail


def test_a_killed_job_is_told_and_resumed(shell_job):
    replicate = shell_job.submit(**RUN, monitor="wait")
    running = wait_for(lambda: [s for s in shell_job.status([replicate]) if s.metrics])[0]
    assert running.state == "running"
    os.killpg(int(running.job), signal.SIGKILL)
    found = wait_final(shell_job, [replicate])[0]
    assert (found.state, found.reason) == ("error", "killed by signal 9")
    assert " end code=137 phase=killed submission=0\n" in Path(replicate.path, "events").read_text()
    shell_job.resume([replicate])
    wait_for(lambda: shell_job.status([replicate])[0].attempts == 2)
    shell_job.cancel([replicate])
    found = wait_final(shell_job, [replicate])[0]
    assert (found.state, found.reason) == ("error", "cancelled")


def test_a_stopped_run_goes_on_in_the_same_folder(shell_job):
    replicate = shell_job.submit(**RUN, monitor="count_40")
    running = wait_for(lambda: [s for s in shell_job.status([replicate]) if s.metrics])[0]
    os.kill(int(running.job), signal.SIGUSR1)
    found = wait_final(shell_job, [replicate])[0]
    assert (found.state, found.reason) == ("timeout", "stopped with its state saved")
    shell_job.resume()
    found = wait_final(shell_job, [replicate])[0]
    assert (found.state, found.attempts) == ("complete", 2)
    steps = [line.split(",")[1] for line in Path(replicate.path, "metrics.csv").read_text().split()]
    assert steps[1:] == [str(i) for i in range(1, 41)]


def test_a_waiting_job_is_cancelled_without_having_started(shell_job):
    job = ShellJob(python=FAKE_PYTHON, n_at_once=1, heartbeat_s=1)
    first, second = job.submit_all([{**RUN, "monitor": "wait"}] * 2)
    wait_for(lambda: job.status([first])[0].state == "running")
    waiting = job.status([second])[0]
    assert (waiting.state, waiting.queued, waiting.reason) == (
        "created",
        True,
        "queued waits its turn",
    )
    job.cancel([second])
    job.cancel([first])
    found = wait_final(job, [first, second])
    assert [(s.state, s.reason) for s in found] == [("error", "cancelled")] * 2
    assert found[1].attempts == 0


def seed_of(replicate):
    return json.loads(Path(replicate.path, "hparams.json").read_text())["seed"]


def test_replicates_differ_in_their_seed_and_errors_do_not_count(shell_job):
    made = shell_job.replicates(2, **RUN)
    assert [seed_of(r) for r in made] == [0, 1]
    wait_final(shell_job, made)
    more = shell_job.replicates(3, **RUN)
    assert [(seed_of(r), r.version) for r in more] == [(2, 0)]
    failing = shell_job.replicates(2, **RUN, seed=7, monitor="raise")
    assert [seed_of(r) for r in failing] == [7, 8]
    wait_final(shell_job, failing)
    again = shell_job.replicates(2, **RUN, seed=7, monitor="raise")
    assert [(seed_of(r), r.version) for r in again] == [(7, 1), (8, 1)]


@pytest.mark.slow
def test_repeats_with_one_seed_are_made_if_asked_for(shell_job):
    made = shell_job.replicates(2, same_seed=True, **RUN)
    assert [(seed_of(r), r.version) for r in made] == [(0, 0), (0, 1)]
    wait_final(shell_job, made)
    assert [r.version for r in shell_job.replicates(3, same_seed=True, **RUN)] == [2]
    assert [seed_of(r) for r in shell_job.replicates(2, **RUN)] == [1]  # they count once


def test_a_default_that_moved_is_refused_by_name(shell_job):
    replicate = shell_job.create(**RUN)
    identity = Path(replicate.root, replicate.canonical, "identity")
    identity.write_text(identity.read_text().replace("defaults=", "defaults=0"))
    shell_job.create(**RUN)  # nothing that is known differs
    record = Path(replicate.path, "job.json")
    record.write_text(record.read_text().replace('"max_epochs": 10', '"max_epochs": 7'))
    with pytest.raises(JobError, match=r"defaults have changed since .*: max_epochs \(7, now 10\)"):
        shell_job.create(**RUN)


def test_hostile_values_arrive_as_they_are_and_nothing_is_executed(tmp_path, monkeypatch):
    workdir = tmp_path / HOSTILE
    workdir.mkdir()
    (workdir / f"-{HOSTILE}.fa").write_text(">c1\nACGT\n")
    monkeypatch.chdir(workdir)
    job = ShellJob(python=FAKE_PYTHON, job_out_dir=f"out {HOSTILE}", heartbeat_s=1)
    replicate = job.submit(**{**RUN, "fasta": f"-{HOSTILE}.fa"}, load_checkpoint_path=None)
    found = wait_final(job, [replicate])[0]
    assert found.state == "complete", found.detail
    argv = json.loads(Path(replicate.path, "argv.json").read_text())["argv"]
    assert f"--fasta=-{HOSTILE}.fa" in argv
    assert f"--default_root_dir={replicate.path}" in argv
    assert not list(tmp_path.rglob("canary"))


def test_the_code_and_data_of_the_moment_of_submission_are_used_on_the_node(shell_job, workdir):
    (workdir / "plug_in.py").write_text("import plug_more\nimport plug_pack.inner\n")
    (workdir / "plug_pack/inner").mkdir(parents=True)
    for folder in ("plug_pack", "plug_pack/inner"):
        (workdir / folder / "__init__.py").write_text("")
        (workdir / folder / "a table.txt").write_text("x")
    (workdir / "plug_more.py").write_text("VALUE = 1\n")
    (workdir / "other").mkdir()
    (workdir / "other/more.txt").write_text("x")
    for folder in (".", "plug_pack"):  # a checkout, and a submodule
        (workdir / folder / ".git").mkdir()
    replicate = shell_job.create(**RUN, plugins=["plug_in"], monitor="wait")
    (workdir / "plug_more.py").write_text("VALUE = 2\n")
    shell_job.submit(replicate)
    wait_for(lambda: Path(replicate.path, "argv.json").exists())
    node = Path(json.loads(Path(replicate.path, "argv.json").read_text())["cwd"])
    assert (node / "plug_more.py").read_text() == "VALUE = 1\n"
    assert (node / "seqmodel/run.py").exists()
    for folder in ("plug_pack", "plug_pack/inner"):  # code is copied, the rest is there, in place
        assert not (node / folder / "__init__.py").is_symlink()
        assert (node / folder / "a table.txt").is_symlink()
    assert not (node / "a.fa").is_symlink()
    assert (node / "other").is_symlink()  # the rest is there, in place
    assert not list(node.rglob(".git"))  # git would report the code of the archive as changed
    shell_job.cancel([replicate])
    wait_for(lambda: not node.exists())  # and the node is clean again


def test_archives_are_extracted_and_what_lies_beside_a_copy_is_linked(shell_job, workdir):
    (workdir / "data/sub").mkdir(parents=True)
    (workdir / "data/sub/b.fa").write_text(">c1\nACGT\n")
    (workdir / "data/sub/beside").write_text("x")
    (workdir / "inside").write_text("in the archive")
    subprocess.run(["tar", "-czf", "data/more.tar.gz", "inside"], check=True)
    replicate = shell_job.submit(
        **{**RUN, "fasta": "data/sub/b.fa"}, monitor="wait", stage_paths=["data/more.tar.gz"]
    )
    wait_for(lambda: Path(replicate.path, "argv.json").exists())
    node = Path(json.loads(Path(replicate.path, "argv.json").read_text())["cwd"])
    assert (node / "data/inside").read_text() == "in the archive"
    assert not (node / "data/sub/b.fa").is_symlink()
    assert (node / "data/sub/beside").is_symlink()
    shell_job.cancel([replicate])


def test_what_is_copied_to_the_node_are_the_files_that_the_run_reads(shell_job, workdir):
    for name in ("dna", "uniform", "train"):  # --alphabet=dna and others are no paths
        (workdir / name).write_text("x")
    (workdir / "b.bed").write_text("c1\t0\t8\n")
    run = {**RUN, "blacklist": [Path("b.bed"), workdir / "b.bed"]}
    assert "\ndata_files=(a.fa b.bed)\n" in shell_job.script(**run)
    given = shell_job.create(**run).read_record()["given"]
    assert given["blacklist"] == ["b.bed", str(workdir / "b.bed")]


def test_without_staging_the_run_is_in_the_working_directory(shell_job, workdir):
    replicate = shell_job.submit(**RUN, stage_code=False, stage_data=False)
    wait_final(shell_job, [replicate])
    seen = json.loads(Path(replicate.path, "argv.json").read_text())
    assert seen["cwd"] == str(workdir)
    assert seen["run"].endswith("seqmodel/run.py")


@pytest.mark.slow
def test_resume_with_another_setting_writes_it_into_the_script(shell_job):
    replicate = shell_job.submit(**RUN, monitor="raise")
    wait_final(shell_job, [replicate])
    shell_job.resume([replicate], fast_dev_run_first=True)
    script = Path(replicate.path, replicate.script_name).read_text()
    assert "fast_dev_run_first=1" in script
    wait_final(shell_job, [replicate])


def test_a_dry_run_shows_the_script_and_makes_nothing(shell_job, workdir):
    text = shell_job.script(**RUN)
    assert text.startswith("#!/bin/bash\n")
    assert "--task=masked" in text
    assert not (workdir / "out").exists()


def test_of_two_who_submit_one_replicate_one_gets_it(shell_job):
    replicate = shell_job.create(**RUN)
    Path(replicate.path, "submit.0").touch()  # the other one is about to
    with pytest.raises(BusyError, match="another process is submitting"):
        shell_job.submit(replicate)
    assert events(replicate) == ["created"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "ssh"])
def test_a_claim_of_a_submitter_who_was_killed_is_given_up(where, request, workdir):
    interface = request.getfixturevalue("ssh") if where == "ssh" else None
    job = ShellJob(interface, workdir=str(workdir), python=FAKE_PYTHON, heartbeat_s=1, grace_s=3)
    replicate = job.create(**RUN)
    for name in ("submit.0", "submit.0.1"):  # two of them, one after the other
        Path(replicate.path, name).touch()
    with pytest.raises(BusyError, match="another process is submitting"):
        job.submit(replicate)
    time.sleep(4)
    job.submit(replicate)
    assert Path(replicate.path, "submit.0.2").exists()
    assert wait_final(job, [replicate])[0].state == "complete"


def test_an_entry_of_the_queue_that_was_half_written_is_none(workdir):
    job = ShellJob(python=FAKE_PYTHON, heartbeat_s=1)
    wait_final(job, [job.submit(**RUN)])  # so that there is a queue
    replicate = job.create(**RUN)
    with open(Path(replicate.path, "events"), "a") as file:
        file.write("1 submitting submission=0 token=0123456789ab\n")
    Path(replicate.path, "submit.0").touch()
    queue = next(Path(replicate.root, ".seqmodel/queue").iterdir())
    (queue / "waiting/01-000000-0123456789ab.17.part").write_text("")
    found = job.status([replicate])[0]
    assert (found.state, found.reason, found.queued) == ("created", "not submitted", False)
    job.submit(replicate)
    assert wait_final(job, [replicate])[0].state == "complete"


@pytest.mark.parametrize(
    ("age", "processes", "seen"),
    [
        (1, "bash run 0 abc", "RUNNING"),
        (1, "bash run 0 xyz", None),  # it may have been started after they were listed
        (9, "bash run 0 abc", "RUNNING"),
        (9, "bash run 0 xyz", "GONE"),
    ],
)
def test_a_process_that_is_there_runs_however_silent(shell_job, age, processes, seen):
    scheduler = _Processes(shell_job)
    scheduler.begin({"processes": ["here", processes]})
    begun = int(time.time()) - age
    text = f"1 created\n{begun} submitting submission=0 token=abc\n"
    record = Record(parse_events(f"{text}{begun} start attempt=1 pid=7 node=here\n".encode()))
    told = scheduler.seen(record)
    assert (told and told.state) == seen
    elsewhere = Record(parse_events(f"{text}{begun} start attempt=1 node=there\n".encode()))
    if seen != "RUNNING":
        assert scheduler.seen(elsewhere) is None


def test_a_grace_that_heartbeats_do_not_keep_is_refused():
    with pytest.raises(HparamError, match="grace_s=80 is less than three times --heartbeat_s=30"):
        ShellJob(grace_s=80)
    ShellJob(grace_s=90)


def test_a_job_that_was_cancelled_before_it_began_does_nothing(shell_job):
    replicate = shell_job.create(**RUN)
    with open(Path(replicate.path, "events"), "a") as file:
        file.write("1 submitting submission=0 token=abc\n2 cancel\n")
    script = Path(replicate.path, replicate.script_name)
    assert subprocess.run(["bash", str(script), "0", "abc"], check=False).returncode == 0
    assert events(replicate) == ["created", "submitting", "cancel"]
    assert not Path(replicate.path, "argv.json").exists()
    assert shell_job.status([replicate])[0].reason == "cancelled"


def test_a_job_that_is_cancelled_at_the_moment_it_begins_is_told_as_cancelled(
    shell_job, tmp_path, monkeypatch
):
    replicate = shell_job.create(**RUN, monitor="wait")
    path = Path(replicate.path, "events")
    with open(path, "a") as file:
        file.write("1 submitting submission=0 token=abc\n")
    # the job has looked for a cancel, and waits before it writes its start
    awk = tmp_path / "bin" / "awk"
    play(
        awk,
        f'{shutil.which("awk")} "$@"; code=$?; cd "${{0%/*}}"; : > looked\n'
        "until [ -e go ]; do sleep 0.05; done\nexit $code\n",
    )
    monkeypatch.setenv("PATH", f"{awk.parent}:{os.environ['PATH']}")
    script = Path(replicate.path, replicate.script_name)
    job = subprocess.Popen(["bash", str(script), "0", "abc"], start_new_session=True)
    wait_for((awk.parent / "looked").exists)
    with open(path, "a") as file:
        file.write("2 cancel\n")
    (awk.parent / "go").touch()
    wait_for(lambda: "start" in events(replicate))
    assert shell_job.status([replicate])[0].reason == "cancelled"
    wait_for(lambda: Path(replicate.path, "metrics.csv").exists())
    os.killpg(job.pid, signal.SIGTERM)
    job.wait(30)
    assert events(replicate)[-1] == "end"
    assert shell_job.status([replicate])[0].reason == "cancelled"


@pytest.mark.parametrize(("told", "asked"), [("", True), ("5 cancel\n", False)])
def test_a_cancelled_job_is_not_put_back_into_the_queue(tmp_path, told, asked):
    (tmp_path / "events").write_text("1 submitting submission=0 token=abc\n" + told)
    play(tmp_path / "scontrol", f": > '{tmp_path}/asked'\nexit 1\n")
    program = f"""
. '{NODE}'
folder='{tmp_path}' requeue=1 max_requeues=9 n_nodes=1 node='{tmp_path}/node' beat=''
cd "$folder" && PATH=$folder:$PATH SLURM_JOB_ID=7 && put_back
"""
    subprocess.run(["bash", "-c", program], check=True)
    assert (tmp_path / "asked").exists() == asked


def test_a_run_that_is_cancelled_and_resumed_at_once_waits_for_its_last_attempt(workdir):
    job = ShellJob(python=FAKE_PYTHON, heartbeat_s=1, n_at_once=2)
    replicate = job.submit(**RUN, monitor="slow_end")
    wait_for(lambda: job.status([replicate])[0].metrics)
    job.cancel([replicate])
    job.resume([replicate])
    time.sleep(1)
    assert events(replicate)[-1] == "submitted"
    assert job.status([replicate])[0].state == "created"
    Path(replicate.path, "may_end").touch()
    wait_for(lambda: events(replicate).count("start") == 2)
    found = events(replicate)
    assert found.index("end") < len(found) - 1 - found[::-1].index("start")
    assert found.count("end") == 1
    assert " end code=143 phase=run submission=0 " in Path(replicate.path, "events").read_text()
    job.cancel([replicate])
    wait_for(lambda: events(replicate).count("end") == 2)
    assert job.status([replicate])[0].reason == "cancelled"


@pytest.mark.parametrize(("age", "waits"), [(0, True), (3600, False)])
def test_an_attempt_on_another_machine_lives_as_long_as_its_heart_beats(shell_job, age, waits):
    replicate = shell_job.create(**RUN)
    with open(Path(replicate.path, "events"), "a") as file:
        file.write("1 start attempt=1 submission=0 job=7 pid=1 node=elsewhere\n2 cancel\n")
        file.write("3 submitting submission=1 token=abc\n")
    Path(replicate.path, "heartbeat").write_text(f"{time.time() - age:.0f}\n")
    script = Path(replicate.path, replicate.script_name)
    job = subprocess.Popen(["bash", str(script), "1", "abc"], start_new_session=True)
    if waits:
        time.sleep(2)
        assert events(replicate)[-1] == "submitting"
        Path(replicate.path, "heartbeat").write_text("4\n")
    assert job.wait(30) == 0
    assert events(replicate)[-1] == "end"


def test_hostile_values_arrive_as_they_are_in_a_shell_behind_ssh(ssh, tmp_path):
    workdir = tmp_path / HOSTILE
    workdir.mkdir()
    (workdir / f"-{HOSTILE}.fa").write_text(">c1\nACGT\n")
    job = ShellJob(
        ssh, workdir=str(workdir), job_out_dir=f"out {HOSTILE}", python=FAKE_PYTHON, heartbeat_s=1
    )
    replicate = job.submit(**{**RUN, "fasta": f"-{HOSTILE}.fa"})
    assert ssh.n_connections == 2
    found = wait_final(job, [replicate])[0]
    assert found.state == "complete", found.detail
    argv = json.loads(Path(replicate.path, "argv.json").read_text())["argv"]
    assert f"--fasta=-{HOSTILE}.fa" in argv
    assert not list(tmp_path.rglob("canary"))


def write_header(path, n_dims):
    """A checkpoint as far as submit reads it: its header."""
    header = {"version": VERSION, "schema": 1, "hparams": {"encoder": "cnn", "n_dims": n_dims}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/seqmodel.json", json.dumps(header))


@pytest.fixture
def encoder_there(workdir):
    """A checkpoint in the working directory of the job."""
    (workdir / "kept").mkdir()
    write_header(workdir / "kept/best.ckpt", n_dims=24)
    return "kept/best.ckpt"


@pytest.mark.parametrize("where", ["here", "ssh"])
def test_a_checkpoint_is_looked_for_where_the_job_will_run(
    where, request, workdir, encoder_there, tmp_path, monkeypatch
):
    interface = request.getfixturevalue("ssh") if where == "ssh" else None
    monkeypatch.chdir(tmp_path)
    job = ShellJob(interface, workdir=str(workdir), python=FAKE_PYTHON, heartbeat_s=1)
    run = job.resolve({**RUN, "load_encoder_from_checkpoint": encoder_there})
    assert (run.values.encoder, run.values.n_dims) == ("cnn", 24)
    replicate = job.submit(**RUN, load_encoder_from_checkpoint=encoder_there)
    assert wait_final(job, [replicate])[0].state == "complete"
    argv = json.loads(Path(replicate.path, "argv.json").read_text())["argv"]
    assert f"--load_encoder_from_checkpoint={encoder_there}" in argv
    assert "--encoder=cnn" in argv
    write_header(workdir / encoder_there, n_dims=32)  # trained again since
    assert job.resolve({**RUN, "load_encoder_from_checkpoint": encoder_there}).values.n_dims == 32
    with pytest.raises(CheckpointError, match=r"kept/none\.ckpt.*give the path of a \.ckpt file"):
        job.submit(**RUN, load_encoder_from_checkpoint="kept/none.ckpt")
    (workdir / "kept/bad.ckpt").write_bytes(b"no zip")
    with pytest.raises(CheckpointError, match=r"kept/bad\.ckpt.*cannot read a seqmodel checkpoint"):
        job.submit(**RUN, load_encoder_from_checkpoint="kept/bad.ckpt")
