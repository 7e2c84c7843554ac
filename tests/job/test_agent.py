"""What is sent to other machines: alone, in old Python, and with the same result there as here."""

import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import vermin
from cluster.sshd import HOST, Sshd
from job_helpers import HOSTILE, wait_for

from seqmodel.errors import BusyError, JobError, MissingError
from seqmodel.job import ShellJob, SshInterface, agent, launch, os_interface, worker
from seqmodel.job.agent import KEPT
from seqmodel.job.os_interface import LocalInterface
from seqmodel.record.run_files import Damaged

SENT = (agent, launch, worker)
NAMES = [HOSTILE, "two\nlines", "-n", "{x}$y", "\udcff\udc80 no UTF-8", "ü", "*", "\\"]


@pytest.fixture(params=["here", "there"])
def interface(request):
    return LocalInterface() if request.param == "here" else request.getfixturevalue("ssh")


def command(*more):
    return [sys.executable, "-I", "-S", *more, "-c", os_interface._START, "mark"]


def request(operation, **arguments):
    program = os_interface._program()
    message = agent.pack([operation.__module__, operation.__name__, arguments])
    return b"%d\n%s%s" % (len(program), program, message)


@pytest.mark.parametrize("module", SENT)
def test_what_is_sent_is_of_python_3_6_and_needs_no_other_file(module):
    tree = ast.parse(Path(module.__file__).read_text(), feature_version=(3, 6))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module != "__future__"  # annotations: 3.7
            found |= {
                node.module if node.module == "seqmodel.job.agent" else node.module.split(".")[0]
            }
    assert found <= set(sys.stdlib_module_names) | {"seqmodel.job.agent"}


@pytest.mark.parametrize("module", SENT)
def test_the_names_that_it_uses_are_those_of_python_3_6(module):
    assert vermin.detect(Path(module.__file__).read_text())[1] <= (3, 6)


def test_messages_come_back_as_they_were():
    message = {
        "b": [b"", b"\n\0", b"x" * 100_000], "text": NAMES, "none": [None, True, 1.5, {}],
        **{name: {name: b"1"} for name in NAMES},
    }  # fmt: skip
    data = agent.pack(message)
    assert agent.unpack(data + b"logout\n") == message
    for end in (0, 1, 3, len(data) // 2, len(data) - 1):
        with pytest.raises(ValueError, match=r"bytes arrived|invalid literal"):
            agent.unpack(data[:end])


def everything(call, root):
    """What each operation returns for the same folder, and what it leaves behind."""
    marks = [f"defaults=1 values={i}" for i in range(len(NAMES))] * 2
    asked = {
        "job_out_dir": "out", "workdir": root, "accept": [], "needed": [("f", "a.fa")],
        "files": ["a.fa"], "code": "none", "ask_arrays": False,
    }  # fmt: skip
    found = [
        call(launch.reserve, names=[[name] for name in NAMES * 2], marks=marks, **asked)
        for _ in range(2)
    ]
    out = found[0]["root"]
    files = {f"{name}/version_{n}/events": b"1 created x=y\n" for name in NAMES for n in range(3)}
    files[f"{NAMES[0]}/version_0/stderr"] = bytes(range(256)) * 1000
    call(agent.write_files, root=out, files=files, links={f"{NAMES[1]}/link": NAMES[2]})
    found.append(call(agent.snapshot, root=out, names=["events", "stderr"], whole=[], asked={}))
    found[-1].pop("now")
    found.append(
        call(agent.prune, folders=[f"{out}/{n}/version_3" for n in NAMES], older_than_min=0)
    )
    found.append(call(agent.prune, folders=[f"{out}/{NAMES[1]}/version_0"], older_than_min=0))
    found.append([call(agent.list_dir, path=f"{out}/{name}") for name in [*NAMES, "none"]])
    found.append(call(agent.tail, path=f"{out}/{NAMES[0]}/version_0/stderr", n_lines=7))
    claims = [(f"{name}/version_0", 0, f"{i:012}", i) for i, name in enumerate(NAMES)]
    call(launch.claim, root=out, claims=claims, claim_s=100)
    call(agent.note, lines=[(f"{out}/{name}/version_1", "seen state=X text=") for name in NAMES])
    found.append(
        call(launch.cancel_batches, chosen=[(f"{out}/{NAMES[4]}/version_1", "", "n7")], why="")
    )
    left = {os.path.relpath(path, root) for path, _, _ in os.walk(root)}
    for folder, _, names in os.walk(root):
        for name in names:
            data = Path(folder, name).read_bytes() if not name.startswith("link") else b""
            words = (
                [line.split(b" ")[1:] for line in data.splitlines()] if name == "events" else data
            )
            left.add((os.path.relpath(f"{folder}/{name}", root), repr(words)))
    return found, left


def test_each_operation_has_the_same_result_here_and_there(ssh, tmp_path):
    root = tmp_path / "work"

    def result(interface):
        root.mkdir()
        (root / "a.fa").write_text(">a\nA\n")
        found = everything(interface.call, str(root))
        shutil.rmtree(root)
        return found

    here, there = result(LocalInterface()), result(ssh)
    assert there == here
    first, second, found, pruned, kept, *_ = here[0]
    assert first["taken"] == [[name, n] for n in (0, 1) for name in NAMES]
    assert second["taken"] == [[name, n] for n in (2, 3) for name in NAMES]
    assert len(found["files"]) == 4 * len(NAMES)
    assert {why for _, why in pruned} == {"removed"}
    assert [why for _, why in kept] == ["it holds a job"]


@pytest.mark.parametrize("option", ["utf8=1", "utf8=0"])
def test_names_are_bytes_whatever_the_encoding_there(tmp_path, option):
    """Python 3.6 takes names for ASCII where no language is set."""
    files = {f"{name}/version_0/x": name.encode("utf-8", "surrogateescape") for name in NAMES}
    for operation, arguments in (
        (agent.write_files, {"root": str(tmp_path), "files": files}),
        (agent.list_dir, {"path": str(tmp_path)}),
    ):
        done = subprocess.run(
            command("-X", option), input=request(operation, **arguments), capture_output=True,
            env={"LC_ALL": "C"}, check=True,
        )  # fmt: skip
        answer = agent.unpack(done.stdout.partition(b"\nmark\n")[2])["answer"]
    assert answer == sorted(NAMES, key=lambda name: name.encode("utf-8", "surrogateescape"))
    names = [name.encode("utf-8", "surrogateescape") for name in NAMES]
    assert sorted(os.listdir(os.fsencode(tmp_path))) == sorted(names)
    for name in names:
        path = os.path.join(os.fsencode(tmp_path), name, b"version_0/x")
        assert Path(os.fsdecode(path)).read_bytes() == name


def test_failures_come_back_by_class(interface, tmp_path):
    where = "this host" if interface.is_local else HOST
    with pytest.raises(
        MissingError, match=f"/none: no such folder on {where}; give a folder of runs"
    ):
        interface.snapshot(f"{tmp_path}/none", ["events"])
    with pytest.raises(MissingError, match=f"/none: no such file on {where}"):
        interface.call(agent.tail, path=f"{tmp_path}/none", n_lines=3)
    with pytest.raises(Damaged, match="a folder is in the place of the file"):
        interface.call(agent.tail, path=str(tmp_path), n_lines=3)
    (tmp_path / "x").mkdir()
    (tmp_path / "x/submit.0").touch()
    (tmp_path / "y").mkdir()
    claims = [("y", 0, "a", 0), ("x", 0, "b", 1)]
    with pytest.raises(BusyError, match="another process is submitting .*/x on"):
        interface.call(launch.claim, root=str(tmp_path), claims=claims, claim_s=100)
    assert not any((tmp_path / "y").iterdir())  # without all, none is kept
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="cannot write .*/file.*Not a directory|File exists"):
        interface.call(agent.write_files, root=f"{tmp_path}/file", files={"a/b": b""})


def test_before_the_first_submission_there_is_nothing(interface, tmp_path):
    job = ShellJob(interface, workdir=str(tmp_path), job_out_dir="none")
    assert (job.status(), job.prune(), job.find_root()) == ([], [], f"{tmp_path}/none")
    assert not any(tmp_path.iterdir())
    with pytest.raises(MissingError, match="/none: no such folder on"):
        job.status(f"{tmp_path}/none")


@pytest.mark.parametrize("n_lines", [0, 1, 3, 5000, 100_000])
@pytest.mark.parametrize("end", ["\n", ""])
def test_tail_is_that_of_the_program_tail(tmp_path, n_lines, end):
    path = tmp_path / "x"
    path.write_text("\n".join(f"{i} {'y' * (i % 50)}" for i in range(9000)) + end)
    shown = subprocess.run(["tail", "-n", str(n_lines), path], capture_output=True, check=True)
    assert agent.tail(str(path), n_lines) == shown.stdout


def test_tail_of_a_line_without_end_is_its_last_megabytes(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"a line\n" + b"x" * 9_000_000)
    shown = agent.tail(str(path), 40)
    assert set(shown) == {ord("x")}
    assert len(shown) == agent.LOG_BYTES


def test_a_thousand_replicates_are_one_connection_each_way(ssh, tmp_path):
    names = [f"run {i % 10}" for i in range(1000)]
    place = ssh.call(
        launch.reserve, job_out_dir=str(tmp_path), workdir="/", names=[[name] for name in names],
        marks=["values=0"] * 1000,
        accept=[], needed=[], files=[], code="", ask_arrays=False,
    )  # fmt: skip
    assert sorted(n for _, n in place["taken"]) == sorted(list(range(100)) * 10)
    files = {f"{name}/version_{n}/events": f"{n} created\n".encode() for name, n in place["taken"]}
    ssh.call(agent.write_files, root=place["root"], files=files)
    there = ssh.snapshot(place["root"], ["events", "stderr"])
    assert ssh.n_connections == 3
    assert {f"{folder}/events": found["events"] for folder, found in there.files.items()} == files
    here = LocalInterface().snapshot(place["root"], ["events", "stderr"])
    assert (list(there.files), there.files) == (list(here.files), here.files)


def test_submitters_at_once_never_share_a_number(sshd, tmp_path):
    """From here and over SSH, in the same folder."""
    taken = []

    def submit(interface):
        for _ in range(5):
            place = interface.call(
                launch.reserve, job_out_dir=str(tmp_path), workdir="/", names=[["x"]] * 7,
                marks=["values=0"] * 7, accept=[], needed=[], files=[], code="", ask_arrays=False,
            )  # fmt: skip
            taken.extend(n for _, n in place["taken"])

    interfaces = [SshInterface(HOST, config=str(sshd.config)), LocalInterface(), LocalInterface()]
    threads = [threading.Thread(target=submit, args=(each,)) for each in interfaces]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 105


@pytest.mark.slow
def test_one_that_is_killed_leaves_nothing_that_looks_whole(tmp_path):
    """`events` is the last file of a replicate, and the code is there whole or not at all."""
    draw = random.Random(5)
    code = f"{KEPT}/code/a.tar.gz"
    n_whole = n_cut = 0
    for i in range(15):
        root = tmp_path / str(i)
        version = f"x/version_{i}"
        files = {
            code: bytes(8_000_000), **{f"{version}/{n}": bytes(5000) for n in range(200)},
            f"{version}/events": b"1 created\n",
        }  # fmt: skip
        sent = request(agent.write_files, root=str(root), files=files)
        child = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdin.write(sent)
        child.stdin.close()
        if i:  # the first is not killed
            wait_for(root.exists, every=0.0005)
            time.sleep(draw.uniform(0, 0.05))
            child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if (root / version / "events").exists() and (root / version / "events").stat().st_size:
            n_whole += 1
            for name, data in files.items():
                assert (root / name).read_bytes() == data
        else:
            n_cut += 1
        assert not (root / code).exists() or (root / code).stat().st_size == 8_000_000
    assert n_whole >= 1
    assert n_cut >= 1


SHELLS = [name for name in ("dash", "zsh", "tcsh", "fish") if shutil.which(name)]


@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell_will_do(shell, tmp_path):
    login = f'echo hello; exec {shutil.which(shell)} -c "$SSH_ORIGINAL_COMMAND"'
    with Sshd(login=login) as server:
        server.open_master()
        ssh = SshInterface(HOST, config=str(server.config), timeout_s=60)
        done = ssh.run(["printf", "%s\\0", *NAMES], cwd=str(tmp_path))
        assert [os.fsdecode(word) for word in done.out.split(b"\0")[:-1]] == NAMES
        server.close_master()


OLD = f"""exec {sys.executable} -c '
import sys
sys.version_info, sys.version = (3, 5, 2), "3.5.2 (default)"
exec(sys.argv[4])' "$@"
"""


@pytest.mark.parametrize(
    ("text", "said"), [("exit 127", "127"), (OLD, r"1: python3 is 3\.5\.2")], ids=["none", "old"]
)
def test_a_machine_without_a_python_that_is_new_enough_is_one_line(tmp_path, text, said):
    (tmp_path / "python3").write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / "python3").chmod(0o755)
    login = f'export PATH={tmp_path}:$PATH; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    with Sshd(login=login) as server:
        server.open_master()
        ssh = SshInterface(HOST, config=str(server.config), timeout_s=60)
        with pytest.raises(JobError, match=rf"on {HOST} \(exit code {said}.*version 3.6") as error:
            ssh.run(["true"])
        assert "\n" not in str(error.value)
        server.close_master()
