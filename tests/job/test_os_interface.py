import os
import subprocess
import time
from pathlib import Path

import pytest
from cluster.sshd import HOST
from job_helpers import HOSTILE

from seqmodel.errors import ConnectionLost, JobError
from seqmodel.job import agent, launch
from seqmodel.job.agent import CUT
from seqmodel.job.os_interface import LocalInterface, SshInterface


@pytest.fixture(params=["local", "ssh"])
def interface(request):
    return LocalInterface() if request.param == "local" else request.getfixturevalue("ssh")


def test_arguments_arrive_as_they_are(interface, tmp_path):
    words = [HOSTILE, "-n", "", "a\nb", "*", "~", "$HOME", "\\"]
    done = interface.run(["printf", "%s\\0", *words], cwd=str(tmp_path))
    assert done.out.decode().split("\0")[:-1] == words
    assert not list(tmp_path.iterdir())


def test_exit_code_and_both_outputs_come_back(interface):
    done = interface.run(["sh", "-c", "cat; echo wrong >&2; exit 7"], data=b"\0in\xff")
    assert (done.code, done.out, done.err) == (7, b"\0in\xff", "wrong\n")


def test_data_arrive_whole(interface):
    data = os.urandom(300_000)
    assert interface.run(["cat"], data=data).out == data


def test_a_written_file_is_read_back_whole(interface, tmp_path):
    name = f"{HOSTILE}/-x"
    path = f"{tmp_path}/{name}"
    data = bytes(range(256)) * 100
    interface.call(agent.write_files, root=str(tmp_path), files={name: data})
    interface.call(agent.write_files, root=str(tmp_path), files={name: data[1:]})
    assert interface.read([path, f"{path}.not"]) == {path: data[1:]}
    assert interface.call(agent.list_dir, path=os.path.dirname(path)) == ["-x"]


def test_of_a_large_file_head_and_tail_are_read(interface, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"begin" + bytes(200_000) + b"end")
    data = interface.read([str(path)])[str(path)]
    assert data.startswith(b"begin")
    assert data.endswith(b"end")
    assert CUT in data
    assert len(data) < 30_000


def test_a_tree_comes_from_there(interface, tmp_path):
    source = tmp_path / "source '"
    (source / "sub").mkdir(parents=True)
    (source / "sub/f").write_bytes(b"\0\n")
    (source / "skip.ckpt").write_text("x")
    interface.pull(str(source), f"{tmp_path}/back", exclude=["*.ckpt"])
    assert (tmp_path / "back/sub/f").read_bytes() == b"\0\n"
    assert not (tmp_path / "back/skip.ckpt").exists()


def test_without_rsync_a_tree_comes_by_tar(ssh, tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/f").write_text("x")
    monkeypatch.setattr("shutil.which", lambda *a, **k: None)
    ssh.pull(f"{tmp_path}/source", f"{tmp_path}/back")
    assert (tmp_path / "back/f").read_text() == "x"


def test_a_snapshot_is_the_same_here_and_there(ssh, tmp_path):
    names = ["events", "stderr"]
    for folder in ("a b=c/version_10", "a b=c/version_2", "x/version_0"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "events").write_text(f"1 {folder}\n")
    (tmp_path / "x/version_0/stderr").write_bytes(b"q" * 100_000)
    (tmp_path / "x/version_1").mkdir()  # half-made
    (tmp_path / ".hidden/version_0").mkdir(parents=True)
    for below in ("", "/x", "/x/version_0"):
        asked = {"word": (launch.run, {"args": ["sh", "-c", "echo out; echo err >&2"]})}
        here = LocalInterface().snapshot(str(tmp_path) + below, names, asked)
        there = ssh.snapshot(str(tmp_path) + below, names, asked)
        assert (there.root, there.files, there.outputs) == (here.root, here.files, here.outputs)
        assert list(there.files) == list(here.files)
    assert ssh.n_connections == 3
    assert list(here.files) == ["."]


def test_a_folder_that_is_not_there_is_one_line(interface):
    with pytest.raises(JobError, match="/no/such: no such folder on "):
        interface.snapshot("/no/such", ["events"])


def test_a_program_that_is_not_there_is_one_line(interface):
    with pytest.raises(JobError, match="cannot start 'no_such_program'"):
        interface.run(["no_such_program"])


def test_without_a_master_the_command_to_run_is_told_and_nothing_is_opened(sshd):
    sshd.close_master()
    ssh = SshInterface(HOST, config=str(sshd.config))
    start = time.monotonic()
    with pytest.raises(
        JobError, match=f"no open connection to {HOST}.*; run once: ssh -F"
    ) as error:
        ssh.run(["true"])
    assert time.monotonic() - start < 25  # nothing was waited for
    assert ssh.n_connections == 0
    # the command that is told works
    command = str(error.value).partition("run once: ")[2]
    subprocess.run(command, shell=True, check=True, timeout=20, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    assert ssh.run(["true"]).code == 0


def test_open_master_opens_one_and_uses_it_again(sshd):
    sshd.close_master()
    ssh = SshInterface(HOST, config=str(sshd.config), open_master=True)
    assert ssh.run(["echo", "x"]).out == b"x\n"
    log = Path(sshd.base / "log").read_text().count("Accepted publickey")
    assert ssh.run(["echo", "y"]).out == b"y\n"
    assert Path(sshd.base / "log").read_text().count("Accepted publickey") == log


def test_a_host_that_does_not_answer_is_one_line(sshd):
    sshd.close_master()
    sshd.stop()
    ssh = SshInterface(HOST, config=str(sshd.config), open_master=True)
    with pytest.raises(JobError, match=f"cannot connect to {HOST} .*Connection refused"):
        ssh.run(["true"])


def test_a_connection_that_is_cut_is_told_and_the_next_call_goes_on(sshd, ssh):
    started = time.monotonic()
    killer = subprocess.Popen(["sh", "-c", "sleep 0.7"])
    import threading

    threading.Thread(target=lambda: (killer.wait(), sshd.kill_sessions())).start()
    with pytest.raises(ConnectionLost, match=f"the connection to {HOST} was lost"):
        ssh.run(["sleep", "60"])
    assert time.monotonic() - started < 50
    sshd.open_master()
    assert ssh.run(["echo", "again"]).out == b"again\n"


def test_a_call_ends_at_its_timeout(interface):
    with pytest.raises(JobError, match="within 0.5 s|answer within 0.5 s"):
        interface.run(["sleep", "20"], timeout=0.5)


def test_a_host_that_is_an_option_is_refused():
    with pytest.raises(JobError, match="is not a host name"):
        SshInterface("-oProxyCommand=touch canary")


def test_a_master_that_ends_between_check_and_call_is_not_replaced(sshd, ssh, monkeypatch):
    sshd.close_master()
    monkeypatch.setattr(ssh, "_need_master", lambda: None)
    before = (sshd.base / "log").read_text().count("Accepted publickey")
    with pytest.raises(ConnectionLost, match=f"the connection to {HOST} was lost"):
        ssh.run(["true"])
    assert (sshd.base / "log").read_text().count("Accepted publickey") == before
