"""A host whose start files print text at login: nothing of it is taken for an answer."""

import json

import pytest
from cluster.sshd import HOST, Sshd
from job_helpers import FAKE_PYTHON, wait_final
from programs import need

from seqmodel.cli.verbs import main
from seqmodel.errors import JobError
from seqmodel.job import ShellJob, SlurmJob, SshInterface, agent
from seqmodel.job.os_interface import LocalInterface

# without a newline at its end, with zero bytes, and words that answers have
BANNER = (
    "echo 'Welcome to cedar! added 7; job 123'; printf 'took 7 x\\0root /wrong\\0answered\\n'; "
    "echo 'sbatch: error: quota' >&2; printf 'no newline'; "
)
RUN = {"task": "masked", "fasta": "a.fa", "seq_len": 8}


@pytest.fixture(scope="module")
def talkative(slurm):
    need("sshd")
    with Sshd(env={"SLURM_CONF": str(slurm.conf)}, login=BANNER) as server:
        server.open_master()
        yield server
        server.close_master()


@pytest.fixture
def ssh(talkative):
    return SshInterface(HOST, config=str(talkative.config), timeout_s=60)


def test_it_prints_at_login(ssh):
    done = ssh.run(["true"])
    assert (done.out, done.err) == (b"", "")
    import subprocess

    command = ["ssh", "-F", ssh.config, HOST, "true"]
    shown = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert b"Welcome" in shown.stdout
    assert b"quota" in shown.stderr


def test_operations_answer_as_without_it(ssh, tmp_path):
    here = LocalInterface()
    path = f"{tmp_path}/it's/a file"
    ssh.call(agent.write_files, root=str(tmp_path), files={"it's/a file": b"\0text"})
    assert ssh.read([path]) == {path: b"\0text"}
    assert ssh.call(agent.list_dir, path=f"{tmp_path}/it's") == ["a file"]
    (tmp_path / "x/version_0").mkdir(parents=True)
    (tmp_path / "x/version_0/events").write_text("1 created\n")
    asked = {"word": (agent.list_dir, {"path": f"{tmp_path}/x"})}
    there = ssh.snapshot(str(tmp_path), ["events"], asked)
    assert there.files == here.snapshot(str(tmp_path), ["events"]).files
    assert there.outputs == {"word": ["version_0"]}
    done = ssh.run(["sh", "-c", "echo wrong >&2; exit 7"])
    assert (done.code, done.err) == (7, "wrong\n")


@pytest.mark.parametrize("kind", [ShellJob, SlurmJob])
def test_a_job_is_queued_and_told(kind, ssh, workdir):
    more = {"slurm_mem": "200M"} if kind is SlurmJob else {}
    job = kind(ssh, workdir=str(workdir), python=FAKE_PYTHON, heartbeat_s=1, **more)
    made = job.submit_all([RUN, RUN])
    assert all(r.path.startswith(f"{workdir}/out/") for r in made)
    assert all(status.queued or status.attempts for status in job.status(made))
    assert [s.state for s in wait_final(job, made, 120)] == ["complete"] * 2
    shown = job.logs(made[0], n_lines=3)
    assert shown.startswith("seqmodel: attempt 1\n")
    assert "quota" not in shown


def test_the_verbs_answer_as_without_it(ssh, workdir, capsys):
    job = ShellJob(ssh, workdir=str(workdir), python=FAKE_PYTHON, heartbeat_s=1)
    made = job.submit(**RUN, monitor="raise")
    wait_final(job, [made], 120)
    there = [f"--host={HOST}", f"--ssh_config={ssh.config}"]
    assert main(["status", f"{workdir}/out", "--json", *there]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["state"] for row in shown] == ["error"]
    assert main(["logs", made.path, *there]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "ValueError: bad value 7 in\ta line"


def test_copying_by_tar_works_and_rsync_says_what_is_wrong(ssh, tmp_path, monkeypatch):
    need("rsync")
    (tmp_path / "source").mkdir()
    (tmp_path / "source/f").write_text("x")
    with pytest.raises(
        JobError, match=f"{HOST} prints text at login, which rsync .*bashrc"
    ) as error:
        ssh.pull(f"{tmp_path}/source", f"{tmp_path}/back")
    assert len(str(error.value).splitlines()) == 1
    monkeypatch.setattr("shutil.which", lambda *a, **k: None)
    ssh.pull(f"{tmp_path}/source", f"{tmp_path}/back")
    assert (tmp_path / "back/f").read_text() == "x"


def test_a_shell_that_runs_nothing_is_one_line(slurm):
    with Sshd(login="echo 'This account is not available'; exit 0") as server:
        server.open_master()
        ssh = SshInterface(HOST, config=str(server.config), timeout_s=60)
        with pytest.raises(JobError, match=f"commands fail on {HOST} .*account is not available"):
            ssh.run(["true"])
        server.close_master()
