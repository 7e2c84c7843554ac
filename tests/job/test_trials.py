"""The trials of a job are forks of the process that then is the run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, events, play, wait_final, wait_for

from seqmodel.job import ShellJob

ROOT = Path(__file__).parents[2]
# each phase writes a line, does what its word says, and leaves a mark on its process
PROGRAM = r"""
import os, signal, sys, time
from seqmodel.trials import after_trials

marks = []

def main(words):
    kind = signal.getsignal(signal.SIGUSR1).name
    here = [str(x) for x in (os.getpid(), len(marks), kind, sys.argv[1:] == words, *words)]
    with open("seen", "a") as file:
        file.write(" ".join(here) + "\n")
    marks.append(words)
    if "wait" in words:
        time.sleep(60)
    if "kill" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    return 3 if "fail" in words else 0

sys.exit(after_trials(sys.argv[1:], main, lambda: marks.append("prepared")))
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process with trials in tmp_path, and ends it with the test."""
    started = []

    def start(*trials):
        phases = [word for name, *words in trials for word in (name, str(len(words)), *words)]
        words = ["events", ".", "run from=x", *phases, "run", "1", "--last", "--", "--a=b"]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )
        return started[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


def seen(tmp_path):
    path = tmp_path / "seen"
    return [x.split() for x in path.read_text().splitlines()] if path.exists() else []


def lines(tmp_path):
    path = tmp_path / "events"
    return [x.split(" ", 1)[1] for x in path.read_text().splitlines()] if path.exists() else []


def test_the_run_is_the_process_that_has_only_imported(start, tmp_path):
    (tmp_path / "check").mkdir()
    process = start(("preflight", "--x", "--"), ("checkpoint_check", "--y"))
    assert process.wait(60) == 0
    first, second, run = seen(tmp_path)
    assert [x[4:] for x in (first, second, run)] == [
        ["--a=b", "--x", "--"],
        ["--a=b", "--y"],
        ["--a=b", "--last"],
    ]
    assert len({x[0] for x in (first, second, run)}) == 3
    assert run[0] == str(process.pid)
    # prepared before each trial; no trial leaves a mark on another phase
    assert [x[1] for x in (first, second, run)] == ["1", "2", "2"]
    assert {x[2] for x in (first, second, run)} == {"SIG_DFL"}
    assert {x[3] for x in (first, second, run)} == {"True"}
    steps = [f"step phase={x} seconds=0" for x in ("preflight", "checkpoint_check")]
    assert lines(tmp_path) == [*steps, "run from=x"]
    assert (tmp_path / "phase").read_text() == "run"
    assert not (tmp_path / "check").exists()


@pytest.mark.parametrize(("word", "code"), [("fail", 3), ("kill", 137)])
def test_a_trial_that_fails_is_the_last_phase(start, tmp_path, word, code):
    assert start(("preflight",), ("checkpoint_check", word), ("more",)).wait(60) == code
    assert len(seen(tmp_path)) == 2
    assert lines(tmp_path) == ["step phase=preflight seconds=0"]
    assert (tmp_path / "phase").read_text() == "checkpoint_check"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_reaches_the_trial(start, tmp_path, number):
    process = start(("preflight", "wait"))
    wait_for(lambda: seen(tmp_path))
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert lines(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux to kill the trial")
def test_a_trial_dies_with_its_job(start, tmp_path):
    process = start(("preflight", "wait"))
    trial = int(wait_for(lambda: seen(tmp_path))[0][0])
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{trial}").exists())


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", ["ok", "preflight", "raise"])
def test_fresh_processes_leave_the_same_events(workdir, tmp_path, monkeypatch, behaviour):
    """As on macOS, where a process that has imported torch may not be forked."""
    job = ShellJob(python=FAKE_PYTHON, heartbeat_s=1, fast_dev_run_first=True)
    settings = {**RUN, "monitor": behaviour, "checkpoint_check": True}
    forked = job.submit(**settings)
    wait_final(job, [forked])
    play(tmp_path / "bin/uname", '[ $# = 0 ] && echo Darwin || exec /usr/bin/uname "$@"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    fresh = job.submit(**settings)
    wait_final(job, [fresh])
    found = []
    for replicate in (forked, fresh):
        text = Path(replicate.path, "events").read_text()
        words = [[w for w in x.split()[1:] if "seconds=" not in w] for x in text.splitlines()]
        found.append([w for w in words if w[0] in ("step", "run", "end")])
        end = " ".join(words[-1])
    assert found[0] == found[1]
    phase = {"ok": "run", "preflight": "preflight", "raise": "checkpoint_check"}[behaviour]
    assert end == f"end code={int(behaviour != 'ok')} phase={phase} submission=0"
    assert len(found[0]) == {"ok": 7, "preflight": 3, "raise": 4}[behaviour]


@pytest.mark.slow
def test_a_job_with_older_code_starts_fresh_processes(workdir, tmp_path):
    """As one that was made before an update, and is resumed after it."""
    job = ShellJob(python=FAKE_PYTHON, heartbeat_s=1, fast_dev_run_first=True, stage_code=False)
    replicate = job.create(**RUN)
    path = Path(replicate.path, "job.json")
    record = json.loads(path.read_text())
    record["fields"]["code_path"] = str(tmp_path / "old")
    path.write_text(json.dumps(record))
    job.submit(replicate)
    assert wait_final(job, [replicate])[0].state == "complete"
    assert events(replicate)[-3:] == ["step", "run", "end"]


@pytest.mark.slow
def test_importing_starts_no_thread_and_computes_nothing():
    code = (
        "import os, seqmodel.run\nseqmodel.run._heavy()\nimport torch\n"
        "print(len(os.listdir('/proc/self/task')), torch.cuda.is_initialized(), "
        "torch.get_rng_state().equal(torch.Generator().manual_seed(torch.initial_seed()).get_state()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "False", "True"]


@pytest.mark.slow
def test_the_benchmark_sees_the_first_step(tmp_path):
    words = [sys.executable, str(ROOT / "benchmarks/start.py"), "first_step", "--runs=1"]
    done = subprocess.run(
        [*words, "--steps=1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lightning"] + found["above"] == pytest.approx(found["ours"], abs=0.02)
    assert not list(tmp_path.iterdir())
