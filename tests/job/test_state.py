import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.job import LocalInterface, status
from seqmodel.job.events import parse_events
from seqmodel.job.state import ABSENT, STATES, Seen, last_metrics, status_of

CREATED = "100 created token=a grace_s=600\n"
QUEUED = CREATED + "101 submitting submission=0 token=b index=0\n102 submitted submission=0 job=7\n"
STARTED = QUEUED + "110 start attempt=1 submission=0 job=7 pid=9 node=node1\n120 run\n"
# as Slurm 22.05 and 23.11 write them; the name of the node is not in all builds
LIMIT = (
    "slurmstepd-node1: error: *** JOB 7 ON node1 CANCELLED AT 2026-11-22T07:15:18 DUE TO TIME "
    "LIMIT ***\n"
)
STEP_LIMIT = LIMIT.replace("JOB 7", "STEP 7.0")
SCANCEL = LIMIT.replace(" DUE TO TIME LIMIT", "").replace("slurmstepd-node1", "slurmstepd")
PREEMPTED = LIMIT.replace("TIME LIMIT", "PREEMPTION")
NODE = LIMIT.replace("TIME LIMIT", "NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS")
REQUEUED = LIMIT.replace("TIME LIMIT", "JOB REQUEUE")
STEP_ENDED = SCANCEL.replace("JOB 7", "STEP 7.0")
OOM = (
    "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.batch. Some of your processes may "
    "have been killed by the cgroup out-of-memory handler.\n"
)
OOM_NEW = OOM.replace("1 oom-kill event(s)", "1 oom_kill event")
OOM_ACCOUNTED = (
    "slurmstepd-node1: error: StepId=7.batch exceeded memory limit (335220736 > 209715200), being "
    "killed\n"
)
TRACE = (
    'Traceback (most recent call last):\n  File "x.py", line 1\n'
    "torch.OutOfMemoryError: CUDA out of memory\n"
)


def told(events, stderr="", now=130, seen=None, heartbeat=None):
    files = {"events": events.encode(), "stderr": ("seqmodel: attempt 1\n" + stderr).encode()}
    if heartbeat is not None:
        files["heartbeat"] = f"{heartbeat}\n".encode()
    status = status_of("f", files, now, seen)
    return status.state, status.reason


def end(code, more=""):
    return STARTED + f"200 end code={code} phase=run{more}\n"


def trial(code, more=""):
    return end(code, more).replace("120 run\n", "").replace("phase=run", "phase=preflight")


@pytest.mark.parametrize(
    ("events", "stderr", "wanted"),
    [
        ("", "", ("created", "half-made")),
        ("100 crea", "", ("created", "half-made")),
        (CREATED, "", ("created", "not submitted")),
        (QUEUED, "", ("created", "queued")),
        (STARTED, "", ("running", "")),
        (end(0), "", ("complete", "")),
        (end(0), LIMIT, ("complete", "")),
        (end(75), "", ("timeout", "stopped with its state saved")),
        (STARTED + "150 requeue n=1\n", REQUEUED, ("created", "queued again")),
        (STARTED, LIMIT, ("timeout", "time limit")),
        (STARTED, STEP_LIMIT, ("timeout", "time limit")),
        (end(143, " signal=TERM"), LIMIT, ("timeout", "time limit")),
        (end(143, " signal=TERM"), SCANCEL, ("error", "cancelled")),
        (end(143, " signal=TERM"), "", ("error", "stopped (SIGTERM)")),
        (end(143), PREEMPTED, ("error", "preempted")),
        (STARTED, NODE, ("error", "node failure")),
        (STARTED, OOM, ("error", "out of memory")),
        (end(137), OOM_NEW, ("error", "out of memory")),
        (STARTED, OOM_ACCOUNTED, ("error", "out of memory")),
        (end(137), "", ("error", "killed by signal 9")),
        (end(1), TRACE, ("error", "exception")),
        (end(1), TRACE + STEP_ENDED, ("error", "exception")),
        (end(3), "what\n", ("error", "exit code 3")),
        (end(1, " disk=full"), TRACE, ("error", "disk full")),
        (end(1).replace("phase=run", "phase=preflight"), TRACE, ("error", "preflight")),
        (end(1).replace("phase=run", "phase=staging"), "", ("error", "staging")),
        (QUEUED + "103 cancel\n", "", ("error", "cancelled")),
        # the job had looked for this line just before, and ended after it
        (STARTED.replace("110 start", "109 cancel\n110 start"), "", ("error", "cancelled")),
        (end(75).replace("110 start", "109 cancel\n110 start"), "", ("error", "cancelled")),
        (STARTED + "149 cancel\n150 requeue n=1\n", "", ("error", "cancelled")),
        (
            STARTED + "149 cancel\n300 submitting submission=1 token=b\n",
            "",
            ("created", "being submitted"),
        ),
        (QUEUED, SCANCEL, ("error", "cancelled")),
        # a cancel that was only asked for, one that failed, and one that was obeyed
        (QUEUED + "103 cancelling\n", "", ("created", "queued")),
        (STARTED + "125 cancelling\n", "", ("running", "")),
        (STARTED + "125 cancelling\n126 cancel_failed text=no answer\n", "", ("running", "")),
        (STARTED + "125 cancelling\n126 cancel\n", "", ("error", "cancelled")),
        (STARTED + "125 cancelling text=why\n126 cancel text=why\n", "", ("error", "why")),
        (end(143, " signal=TERM").replace("120 run", "120 cancelling"), "", ("error", "cancelled")),
        (end(0).replace("120 run", "120 cancelling"), "", ("complete", "")),
        # the trials of a run that was stopped have not failed
        (trial(75, " signal=USR1"), "", ("timeout", "stopped before the run started")),
        (trial(75, " signal=TERM"), "", ("error", "stopped (SIGTERM)")),
        (trial(75, " signal=TERM"), SCANCEL, ("error", "cancelled")),
        (trial(75, " signal=TERM"), LIMIT, ("timeout", "time limit")),
        (QUEUED + "103 refused text=no account\n", "", ("created", "refused: no account")),
    ],
)
def test_what_files_tell(events, stderr, wanted):
    assert told(events, stderr) == wanted


def test_only_the_last_attempt_counts():
    again = STARTED + "300 start attempt=2 submission=0 job=7\n"
    assert told(again, LIMIT + "seqmodel: attempt 2\n", now=310) == ("running", "environment")
    assert told(end(1) + "300 start attempt=2 job=7\n400 end code=0 phase=run\n") == (
        "complete",
        "",
    )


def test_the_last_word_of_an_attempt_that_was_submitted_again_is_not_of_the_new_one():
    again = STARTED + "149 cancel\n150 submitting submission=1 token=b\n"
    end = "160 end code=143 phase=run submission=0 signal=TERM\n"
    assert told(again + end, now=161) == ("created", "being submitted")
    assert told(again + end + "170 start attempt=2 submission=1 job=8\n171 run\n", now=172) == (
        "running",
        "",
    )
    assert told(again + "160 end code=0 phase=run submission=0\n") == ("complete", "")


def alive(events, now=130, seen=None, heartbeat=129):
    files = {"events": events.encode(), "heartbeat": f"{heartbeat}\n".encode()}
    return status_of("f", files, now, seen).alive


def test_an_attempt_is_alive_while_its_heart_beats_and_nobody_ended_it():
    assert alive(STARTED)
    assert not alive(STARTED, now=200)  # 30 s between two beats, unless it noted another pace
    assert alive(STARTED.replace("pid=9", "pid=9 beat=100"), now=200)
    for word in ("end code=1 phase=run submission=0", "requeue n=1", "cancel"):
        assert not alive(STARTED + f"125 {word}\n")
    for word in ("cancelling", "cancel_failed text=x", "seen state=NODE_FAIL text=", "note text=x"):
        assert alive(STARTED + f"125 {word}\n")
    assert not alive(STARTED + "125 seen state=TIMEOUT text=\n")
    assert not alive(STARTED, seen=Seen("COMPLETING", ""))
    assert alive(STARTED, seen=Seen("RUNNING", ""))
    assert alive(STARTED + "121 cancel\n", now=250, heartbeat=249)  # it had time to end
    assert told(STARTED + "121 cancel\n", now=250, heartbeat=249)[0] == "running"
    # the last word of an earlier attempt is not that of this one
    again = "125 cancel\n126 submitting submission=1 token=c\n127 start attempt=2 submission=1\n"
    assert alive(STARTED + again + "128 end code=143 phase=run submission=0 signal=TERM\n")


def test_a_job_that_was_kept_out_leaves_the_attempt_before_it_as_it_was():
    again = "200 cancel\n201 submitting submission=1 token=c\n202 submitted submission=1 job=8\n"
    events = STARTED + again + "330 kept_out submission=1 node=node1\n"
    files = {"events": events.encode(), "heartbeat": b"335\n"}
    status = status_of("f", files, 340)
    assert (status.state, status.job, status.record.token) == ("running", "7", "b")
    assert status.record.submission == 1  # the next one is another
    assert status_of("f", files, 2000).reason == "lost"
    assert told(events + "340 end code=1 phase=run submission=0\n") == ("error", "exit code 1")


def test_silence_counts_after_a_grace_only():
    assert told(STARTED, now=700, heartbeat=690)[0] == "running"
    assert told(STARTED, now=1280, heartbeat=690) == ("running", "")
    assert told(STARTED, now=1300, heartbeat=690) == ("error", "lost")
    assert told(STARTED, now=1300, heartbeat=690, seen=Seen("RUNNING", ""))[0] == "running"
    assert told(QUEUED, now=600, seen=ABSENT) == ("created", "queued")
    assert told(QUEUED, now=800, seen=ABSENT) == ("error", "lost")


def test_the_scheduler_tells_what_files_cannot_and_is_not_believed_over_them():
    assert told(STARTED, seen=Seen("NODE_FAIL", "")) == ("error", "node failure")
    assert told(STARTED, seen=Seen("OUT_OF_MEMORY", "")) == ("error", "out of memory")
    assert told(STARTED, seen=Seen("NEW_WORD", ""))[0] == "running"
    assert told(QUEUED, seen=Seen("NEW_WORD", "Why")) == ("created", "queued Why")
    assert told(end(0), seen=Seen("FAILED", "")) == ("complete", "")
    assert told(STARTED, LIMIT, seen=Seen("CANCELLED", "")) == ("timeout", "time limit")


def test_what_the_scheduler_said_is_kept_in_the_files():
    status = status_of("f", {"events": STARTED.encode()}, 130, Seen("NODE_FAIL", "x y"))
    later = STARTED + "".join(f"131 {line}\n" for line in status.new)
    assert told(later) == ("error", "node failure")


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=400))
def test_damaged_files_tell_a_state_too(events, stderr, metrics):
    for head in (b"", STARTED.encode()):
        files = {
            "events": head + events,
            "stderr": stderr,
            "metrics.csv": metrics,
            "heartbeat": stderr,
        }
        status = status_of("f", files, 130)
        assert status.state in STATES
        json.dumps(status.to_dict())


def test_metrics_without_a_line_that_was_cut_short():
    data = b"epoch,step,train_loss,valid_loss\n0,9,0.5,\n0,10,,0.7\n1,1"
    assert last_metrics(data) == {
        "epoch": "0",
        "step": "10",
        "train_loss": "0.5",
        "valid_loss": "0.7",
    }


def test_an_event_that_was_cut_short_is_left_out():
    assert [e.what for e in parse_events(b"1 created a=1\n2 start attempt=1\n3 en")] == [
        "created",
        "start",
    ]
    assert parse_events(b"1 note text=a b=c\n")[0].fields == {"text": "a b=c"}


def test_the_state_table_of_the_documentation_has_all_states_and_reasons():
    text = (Path(__file__).parents[2] / "docs/jobs.md").read_text()
    reasons = (
        "half-made, not submitted, refused, out of memory, node failure, disk full, preempted, "
        "cancelled, lost, preflight, staging, time limit, exception, stopped with its state saved"
    )
    for word in (*STATES, *reasons.split(", ")):
        assert word in text


LONG = """Traceback (most recent call last):
  File "run.py", line 1, in <module>
RuntimeError: Error(s) in loading state_dict for Net:
	size mismatch for a.weight: (3, 4)
	size mismatch for b.weight: (4, 3)
srun: error: node1: task 0: Exited with exit code 1
"""
HANDLED = "ValueError: handled and retried\nepoch 3\n"
FAULT = HANDLED + "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00 (first):\n"


@pytest.mark.parametrize(
    ("code", "stderr", "reason", "detail"),
    [
        (1, LONG, "exception", "RuntimeError: Error(s) in loading state_dict for Net: size "
         "mismatch for a.weight: (3, 4) size mismatch for b.weight: (4, 3)"),
        (139, FAULT, "killed by signal 11", "Fatal Python error: Segmentation fault"),
        (1, FAULT, "exit code 1", "Fatal Python error: Segmentation fault"),
        (139, HANDLED, "killed by signal 11", ""),
        (134, "terminate called after throwing an instance of 'c10::Error'\n", "killed by signal 6",
         "terminate called after throwing an instance of 'c10::Error'"),
    ],
)  # fmt: skip
def test_the_detail_is_what_ended_the_run_with_all_of_its_message(code, stderr, reason, detail):
    status = status_of("f", {"events": end(code).encode(), "stderr": stderr.encode()}, 200)
    assert (status.reason, status.detail) == (reason, detail)


@pytest.mark.parametrize("ahead", [-3 * 86400, -3600, 0, 3600])
def test_a_copy_of_a_run_is_judged_by_the_clock_of_its_source(tmp_path, ahead):
    """The run gave a sign of life 30 s before it was copied, by a clock that differs from ours."""
    there = int(time.time()) + ahead
    text = f"{there - 90} created grace_s=60\n{there - 80} start node=n1 job=1 beat=30\n"
    for name, beat in (("lives", there - 30), ("lost", there - 70)):
        folder = tmp_path / f"there/{name}/version_0"
        folder.mkdir(parents=True)
        (folder / "events").write_text(text)
        (folder / "heartbeat").write_text(f"{beat}\n")
    copy = tmp_path / "here"
    clock = LocalInterface()
    clock.call = lambda *a, **k: there  # the other host
    clock.pull(str(tmp_path / "there"), str(copy))
    for root in (copy, copy / "lives", copy / "lives/version_0"):
        assert status(str(root))[0].state == "running"
    assert status(str(copy / "lost"))[0].reason == "lost"
    # what is written here after the copy is judged by the clock here
    (copy / "lives/version_0/events").write_text(text.replace("node=n1", f"node={os.uname()[1]}"))
    assert (status(str(copy / "lives"))[0].state == "running") is (ahead >= 0)
