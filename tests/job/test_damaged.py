"""One damaged run folder among healthy ones: every verb shows the healthy ones as without it."""

import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest
import run_folders
from job_helpers import FAKE_PYTHON, wait_final

from seqmodel.cli.verbs import main
from seqmodel.errors import JobError
from seqmodel.job import ShellJob
from seqmodel.job.events import EVENTS, parse_events
from seqmodel.job.os_interface import LocalInterface
from seqmodel.job.results.result import read_results
from seqmodel.job.status_table import read_status

ROOT = Path(__file__).parents[2]
DEEP = 200_000
CREATED = f"{run_folders.T0} created token={run_folders.TOKEN} grace_s=600\n"
STARTED = CREATED + (
    f"{run_folders.T0} submitting submission=0 token={run_folders.TOKEN}\n"
    f"{run_folders.T0 + 1} submitted submission=0 job=shell\n"
    f"{run_folders.T0 + 5} start attempt=1 submission=0 job=77 pid=1 node=node1\n"
)

RECORDS = ("hparams.json", "job.json", "usage.json", "test_curves.json", "audit.json")
NO_OBJECTS = {
    "empty": b"",
    "cut": b'{"lr": 0.0',
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "binary": bytes(range(256)),
    "nul": bytes(100),
    "deep": b'{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep object": b'{"x":' * DEEP + b"1" + b"}" * DEEP,
    "bad UTF-8": b'{"x": "\xff\xfe"}',
    "half a surrogate pair": b'{"x": "\\ud800"}',
    "many digits": b'{"x": ' + b"9" * 10_000 + b"}",
    "text behind": b"{} {}",
    "UTF-16": "{}".encode("utf-16")[:-1],
}
WRONG = [
    ("usage.json", '{"wall_s": NaN}'),
    ("usage.json", '{"wall_s": "abc"}'),
    ("usage.json", '{"wall_s": [1]}'),
    ("usage.json", '{"wall_s": -1}'),
    ("usage.json", '{"wall_s": 1e300}'),
    ("usage.json", '{"wall_s": 1e999}'),
    ("usage.json", '{"cpu_s": Infinity}'),
    ("usage.json", '{"peak_rss_bytes": %s}' % ("9" * 400)),
    ("usage.json", '{"peak_rss_bytes": {}}'),
    ("usage.json", '{"n_weights": "many"}'),
    ("job.json", '{"schema": 1, "kind": 5}'),
    ("job.json", '{"schema": 1, "kind": "ShellJob", "canonical": ["x"]}'),
    ("job.json", '{"schema": 1, "kind": "ShellJob", "settings": []}'),
    ("job.json", '{"schema": 1, "kind": "ShellJob", "settings": {"slurm_time_min": "1h"}}'),
    ("job.json", '{"schema": 1, "kind": "ShellJob", "code": "x"}'),
    ("hparams.json", '{"monitor": ["valid_loss"], "_run": {}}'),
    ("hparams.json", '{"task": {"a": 1}, "_run": {}}'),
    ("hparams.json", '{"_run": []}'),
    ("hparams.json", '{"_run": {"code": "abc"}}'),
    ("hparams.json", '{"_run": {"name": 5}}'),
    ("hparams.json", '{"lr": 1e999, "_run": {}}'),
    ("hparams.json", '{"seed": %s, "_run": {}}' % ("9" * 400)),
    ("hparams.json", '{"x": [[[[[[[[[[[1]]]]]]]]]]], "_run": {}}'),
    ("test_curves.json", '{"kind": "class", "names": 5}'),
    ("test_curves.json", '{"kind": "class", "names": ["a"], "confusion": [["x"]]}'),
    ("test_curves.json", '{"kind": "class", "names": ["a"], "confusion": [[1, 2]]}'),
    ("test_curves.json", '{"kind": "class", "names": ["a"], "confusion": [[NaN]]}'),
    ("test_curves.json", '{"kind": "class", "names": ["a"], "roc": {"a": 1}}'),
    ("test_curves.json", '{"names": ["a"], "roc": {"a": {"fpr": [0], "tpr": [0, 1]}}}'),
    (
        "test_curves.json",
        '{"names": ["a"], "scatter": {"a": {"target": [1e999], "predicted": [1]}}}',
    ),
    ("test_curves.json", '{"names": ["a"], "pr": []}'),
    ("audit.json", '{"schema": "other"}'),
    ("audit.json", '{"schema": "seqmodel.audit", "version": 2}'),
    ("audit.json", '{"schema": "seqmodel.audit", "version": 1}'),
    ("audit.json", '{"schema": "seqmodel.audit", "version": 1, "splits": []}'),
    ("events", "garbage\nmore of it\n"),
    ("events", "[]\n"),
    ("events", STARTED.replace("submission=0", "submission=" + "9" * 5000)),
    ("events", STARTED + "9" * 300 + " end code=1 phase=run\n"),
    ("heartbeat", "soon\n"),
    ("heartbeat", "9" * 400),
    ("heartbeat", "99999999999999\n"),
    ("metrics.csv", "\0\1\2\xff\n\0\n"),
    ("metrics.csv", "<html>\n<body>\n"),
]
# what a file may hold without its run being told otherwise: words and rows that are none
HARMLESS = [
    ("events", "\0\0\0\0\n" + STARTED),
    ("events", STARTED + f"{run_folders.T0 + 9} _stop code=0\n"),
    ("events", STARTED + f"{run_folders.T0 + 9} clear code=0\n"),
    ("events", STARTED + f"{run_folders.T0 + 9} _init__ code=0\n"),
    ("events", STARTED + f"{run_folders.T0 + 9} other code=0\n"),
    ("events", STARTED + f"{run_folders.T0 + 9} complete code=0\n"),
    ("metrics.csv", "epoch,step,valid_loss\n0,1,0.5\n\0,\0,\0\n1,2,0.4\n"),
    ("metrics.csv", "epoch,step,valid_loss\n0,1,0.5\n0,2," + "7" * 300_000 + "\n1,2,0.4\n"),
    ("metrics.csv", "epoch,step,valid_loss\n0,1,0.5\ninf,2,nan\nnan,inf,inf\n1,2,0.4\n"),
    ("metrics.csv", "epoch,step,valid_loss\n0,1,0.5\nx,y,z\n1,2,0.4,9\n1,2,0.4\n"),
    ("stderr", "\x1b]0;x\7\0\xff\ud800\n"),
]
SPECIAL = ("fifo", "folder", "dangling", "loop", "device", "socket")
FILES = (*RECORDS, "events", "heartbeat", "metrics.csv", "stderr", "stdout")
CASES = [
    *(pytest.param(f, t, id=f"{f} {n}") for n, t in NO_OBJECTS.items() for f in RECORDS),
    *(pytest.param(f, t, id=f"{f} {t[:40]}") for f, t in WRONG),
    *(pytest.param(f, kind, id=f"{f} {kind}") for kind in SPECIAL for f in FILES),
]
READ_BY_STATUS = ("events", "heartbeat", "metrics.csv", "stderr")


def write_healthy(root):
    """A complete run, one that waits in the queue of this machine, and one that failed."""
    run_folders.write_run(root, name="a_complete", lr=1e-3, curves=run_folders.class_curves())
    run_folders.write_run(root, name="m_queued", state="queued", lr=2e-3)
    run_folders.write_run(root, name="z_error", state="error", lr=3e-3)
    for folder in root.glob("*/version_0"):
        of_shell(folder)


def of_shell(folder):
    for name, old, new in (("job.json", "SlurmJob", "ShellJob"), ("events", "job=77", "job=shell")):
        path = folder / name
        path.write_text(path.read_text().replace(old, new))


def write_bad(root, name, content, run="b_0"):
    """A run that goes on, in whose folder one file is `content`."""
    folder = run_folders.write_run(root, name=run, state="running", lr=5e-3)
    # silent for a while, or a cancel is refused: it runs on another machine
    (folder / "heartbeat").write_text(f"{time.time() - 100:.0f}\n")
    of_shell(folder)
    path = folder / name
    path.unlink(missing_ok=True)
    if content == "fifo":
        os.mkfifo(path)
    elif content == "folder":
        path.mkdir()
    elif content == "dangling":
        path.symlink_to("nowhere")
    elif content == "loop":
        path.symlink_to(name)
    elif content == "device":
        path.symlink_to("/dev/zero")
    elif content == "socket":
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket has at most a hundred characters
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(name)
        os.chdir(here)
    else:
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        path.write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def no_hang():
    def stop(*_):
        raise AssertionError("a verb hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def no_plotly(monkeypatch):
    monkeypatch.setattr("seqmodel.report.page._plotly", lambda: "")


def said(capsys, *words):
    """What a verb prints; it ends well."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert "Traceback" not in err
    return out


def without(rows):
    """The rows of the healthy runs, without the folder above them."""
    return {
        "/".join(row["folder"].split("/")[-2:]): {n: v for n, v in row.items() if n != "folder"}
        for row in rows
        if "/b_" not in row["folder"]
    }


def look(capsys, root):
    """What the verbs say of the healthy runs below `root`, and what of the others."""
    healthy, bad = {}, {}
    shown = [json.loads(line) for line in said(capsys, "status", root, "--json").splitlines()]
    healthy["status"] = without(shown)
    bad["status"] = [row for row in shown if "/b_" in row["folder"]]
    shown = json.loads(said(capsys, "results", root, "--format=json"))
    healthy["results"] = without(shown)
    bad["results"] = [row for row in shown if "/b_" in row["folder"]]
    said(capsys, "results", root, "--grouped")
    page = root.parent / "report.html"
    said(capsys, "report", root, "-o", page)
    text = re.search(r'id="content">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    content = json.loads(text)
    healthy["report"] = {
        run["name"]: {key: run[key] for key in ("state", "best", "curves", "used", "asked", "log")}
        for run in content["runs"]
        if not run["name"].startswith("b_") and "/b_" not in run["folder"]
    }
    bad["report"] = [run for run in content["runs"] if "/b_" in run["folder"]]
    shown = said(capsys, "watch", root, "--once").splitlines()
    healthy["watch"] = [line.split()[:2] for line in shown if "complete" in line][1:]
    healthy["advise"] = said(capsys, "advise", root)
    logs = said(capsys, "logs", root).split("==> ")[1:]
    healthy["logs"] = {log.split("/")[-2]: log.partition("\n")[2] for log in logs}
    healthy["logs"] = {n: log for n, log in healthy["logs"].items() if not n.startswith("b_")}
    cancelled = said(capsys, "cancel", root)
    healthy["cancel"] = [
        line.split("/")[-2] for line in cancelled.splitlines() if "/b_" not in line
    ]
    events = Path(root, "m_queued/version_0/events").read_text()
    healthy["cancelled"] = events.split("\n")[-2].split()[1]
    return healthy, bad


@pytest.fixture
def wanted(tmp_path, capsys, no_plotly, monkeypatch):
    """What the verbs say of the healthy runs without a damaged one."""
    monkeypatch.setenv("COLUMNS", "200")
    write_healthy(tmp_path / "alone/out")
    found, _ = look(capsys, tmp_path / "alone/out")
    assert found["cancelled"] == "cancel"
    return found


def check(capsys, root, cases, wanted):
    """Each of `cases` is told as damaged by all verbs, and the others as `wanted`."""
    healthy, bad = look(capsys, root)
    assert healthy == wanted
    assert {verb: len(rows) for verb, rows in bad.items()} == dict.fromkeys(bad, len(cases))
    for i, (name, content) in enumerate(cases):
        told = {v: next(r for r in rows if f"/b_{i}/" in r["folder"]) for v, rows in bad.items()}
        by_status = name in READ_BY_STATUS or name == "job.json"
        states = {"status": "damaged" if by_status else "running", "results": "damaged"}
        assert {verb: row["state"] for verb, row in told.items()} == {**states, "report": "damaged"}
        assert told["results"]["reason"].startswith(name), content
        assert told["results"]["best"] is None
        folder = root / f"b_{i}/version_0"
        assert os.path.lexists(folder / name)
        if by_status:
            assert main(["logs", str(folder)]) == 2
            assert capsys.readouterr().err.count("\n") == 1


def test_damaged_runs_are_told_and_the_others_are_as_without_them(tmp_path, capsys, wanted):
    root, cases = tmp_path / "out", [case.values for case in CASES]
    write_healthy(root)
    for i, case in enumerate(cases):
        write_bad(root, *case, run=f"b_{i}")
    check(capsys, root, cases, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content"), CASES)
def test_each_damaged_run_alone(name, content, tmp_path, capsys, wanted):
    write_healthy(tmp_path / "out")
    write_bad(tmp_path / "out", name, content)
    check(capsys, tmp_path / "out", [(name, content)], wanted)


@pytest.mark.parametrize(("name", "content"), HARMLESS)
def test_lines_that_are_none_tell_nothing(name, content, tmp_path, capsys, no_plotly):
    write_healthy(tmp_path / "out")
    write_bad(tmp_path / "out", name, content)
    _, bad = look(capsys, tmp_path / "out")
    assert [row["state"] for row in bad["status"] + bad["results"]] == ["running", "running"]
    assert bad["results"][0]["epochs"] == (2 if name == "metrics.csv" else 5)


def test_over_ssh_each_damaged_run_is_told_as_here(ssh, tmp_path):
    root = str(tmp_path)
    write_healthy(tmp_path)
    for i, case in enumerate(CASES):
        write_bad(tmp_path, *case.values, run=f"b_{i}")

    def told(interface):
        states = read_status(interface, root, None)
        found = [r.status for r in read_results(root, interface)]
        return [[(s.folder, s.state, s.reason) for s in some] for some in (states, found)]

    here, there = told(LocalInterface()), told(ssh)
    assert there == here
    states = {folder.split("/")[-2]: state for folder, state, _ in there[1]}
    assert [states.pop(n) for n in ("a_complete", "m_queued", "z_error")] == [
        "complete", "created", "error",
    ]  # fmt: skip
    assert states == dict.fromkeys(states, "damaged")
    assert len(states) == len(CASES)


def test_what_is_no_run_hides_none(tmp_path, ssh):
    write_healthy(tmp_path)
    parent = tmp_path / "a_complete"
    (parent / "version_5").symlink_to("version_5")
    (parent / "version_6").symlink_to("nowhere")
    os.mkfifo(parent / "version_7")
    (parent / "version_8").write_text("")
    shutil.copytree(parent / "version_0", parent / "version_0.bak")  # with the id of its job
    (tmp_path / "events").mkdir()
    os.mkfifo(tmp_path / "z_error/hparams.json")
    for interface in (LocalInterface(), ssh):
        names = [s.folder.split("/")[-2] for s in read_status(interface, str(tmp_path), None)]
        assert names == ["a_complete", "m_queued", "z_error"]


def test_a_damaged_run_keeps_no_other_from_being_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.fa").write_text(">c1\nACGT\n")
    job = ShellJob(python=FAKE_PYTHON, heartbeat_s=1)
    run = {"task": "masked", "fasta": "a.fa", "seq_len": 4}
    made = job.create_all([{**run, "seed": s} for s in range(3)])
    Path(made[1].path, "job.json").write_text("{")
    assert set(job.resume(made)) == {made[0], made[2]}
    assert [s.state for s in wait_final(job, [made[0], made[2]], 120)] == ["complete"] * 2
    with pytest.raises(JobError, match="job.json: missing, or not a record of a job"):
        job.resume([made[1]])
    # nor the run from having another replicate
    (tmp_path / made[0].path / "job.json").write_text("[]")
    identity = Path(made[0].path).parent / "identity"
    job.create(**run, seed=0)
    identity.write_text("defaults=other")
    assert job.create(**run, seed=0).version == 2
    identity.unlink()
    identity.mkdir()
    with pytest.raises(JobError, match="identity: a folder is in the place of the file"):
        job.create(**run, seed=0)


def test_special_files_are_not_copied(tmp_path, ssh, monkeypatch):
    source = tmp_path / "source"
    write_bad(source, "usage.json", "fifo")
    (source / "outside").symlink_to("/etc/hostname")
    LocalInterface().pull(str(source), f"{tmp_path}/here")
    monkeypatch.setattr("shutil.which", lambda *a, **k: None)  # no rsync
    ssh.pull(str(source), f"{tmp_path}/there")
    for copy in ("here", "there"):
        folder = tmp_path / copy / "b_0/version_0"
        assert (folder / "events").exists()
        assert not os.path.lexists(folder / "usage.json")


def test_the_words_of_events_are_those_that_are_written():
    written = set()
    for path in (ROOT / "seqmodel/job").rglob("*"):
        if path.suffix in (".py", ".sh"):
            text = path.read_text()
            written |= set(re.findall(r'\bevent "(\w+)', text))
            written |= set(re.findall(r'append\((?:folder|f"[^"]*"), f"(\w+)', text))
            written |= set(re.findall(r'\{int\(time\.time\(\)\)\} (\w+)[ "]', text))
            written |= set(re.findall(r'\.new = \[f?"(\w+)', text))
    assert written >= {"created", "submitting", "submitted", "refused", "start", "end", "seen"}
    assert written <= EVENTS
    lines = "".join(f"5 {word} a=b\n" for word in [*sorted(EVENTS), "clear", "stop", "_init__"])
    assert [event.what for event in parse_events(lines.encode())] == sorted(EVENTS)
