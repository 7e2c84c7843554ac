"""The state of a replicate, from its files and from the answer of a scheduler.

These are pure functions of bytes, so they also work on a folder that was copied to another host.
`events` has the history. If a job was killed before it could record why, the reason comes from
Slurm's text on stderr, then from the state seen in the queue, then from a missing heartbeat.
Only the last attempt counts. The files take precedence over the scheduler.
"""

from __future__ import annotations

import os
import re
from collections import namedtuple
from collections.abc import Mapping
from typing import Any

from seqmodel.job.agent import PULLED
from seqmodel.job.events import Record, parse_events
from seqmodel.record.run_files import MAX_SECONDS, Damaged, check_metrics, why

STATES = ("created", "running", "error", "timeout", "complete", "damaged")
NAMES = ("events", "heartbeat", "metrics.csv", "stderr")  # the files to read
GRACE_S = 600
CLAIM_S = 150
ENDING_S = 120  # time that a cancelled job may take to end
CLOCK_S = 86_400  # the clock of a cluster is at most a day ahead

# The answer of a scheduler about a job: its name of the state, and why the job waits or ended.
Seen = namedtuple("Seen", ["state", "reason"])
ABSENT = Seen("ABSENT", "")  # the scheduler answered but does not know the job

FINAL = {
    "BOOT_FAIL": ("error", "node failure"),
    "CANCELLED": ("error", "cancelled"),
    "COMPLETED": ("error", "ended without a word"),
    "DEADLINE": ("timeout", "deadline"),
    "FAILED": ("error", "failed"),
    "GONE": ("error", "killed"),  # from us: the process does not exist on its host
    "NODE_FAIL": ("error", "node failure"),
    "OUT_OF_MEMORY": ("error", "out of memory"),
    "PREEMPTED": ("error", "preempted"),
    "REVOKED": ("error", "cancelled"),
    "TIMEOUT": ("timeout", "time limit"),
}
_DUE_TO = (
    ("TIME LIMIT", "timeout", "time limit"),
    ("PREEMPTION", "error", "preempted"),
    ("NODE FAILURE", "error", "node failure"),
)
_CANCELLED = re.compile(
    r"^\S+: error: \*\*\* (JOB|STEP) \S+ ON \S+ CANCELLED AT \S+(?: DUE TO (.+?))? \*\*\*", re.M
)
_OUT_OF_MEMORY = re.compile(
    r"Detected \d+ oom[-_]kill event|StepId=\S+ exceeded memory limit \(\d+ > \d+\), being killed"
)
_EXCEPTION = re.compile(
    r"^(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Lost)(?::.*)?$", re.M
)
# printed by a process that a signal ends, or by bash about it
_FATAL = re.compile(
    r"^(?:Fatal Python error: .*|terminate called .*"
    r"|.*\b(?:Segmentation fault|Bus error|Illegal instruction|Aborted)\b.*)$",
    re.M,
)
# after an exception: output of srun, Slurm and jobs, and other tracebacks and warnings
_NOT_OF_MESSAGE = re.compile(
    r"(?:srun|slurmstepd|seqmodel|warning): |Traceback |\[rank\d+\]|During handling|The above exc"
)
_TRIALS = ("environment", "staging", "preflight", "checkpoint_check")


class Status:
    """The state of a replicate, with the evidence for it.

    Attributes:
        folder: Folder of the replicate, as requested.
        state: `created`, `running`, `error`, `timeout`, `complete` or `damaged`.
        reason: Reason in a few words; `detail` is the line that shows it, if present.
        queued: Whether a created replicate is in a queue.
        alive: Whether the last attempt may still write: it has no final event, its heartbeat is
            recent, and nothing shows that it was ended.
        job: Id from the scheduler, or the process id; "" before it is known.
        attempts: Number of starts.
        elapsed_s: Total time of all attempts, in seconds.
        metrics: Last value of each column of metrics.csv.
        hparams: Hyperparameters, if they were read; see status_table.read_hparams.
        new: Events to add to the files, which only the scheduler knows.
    """

    __slots__ = (
        "alive", "attempts", "detail", "elapsed_s", "folder", "hparams", "job", "metrics", "new",
        "queued", "reason", "record", "state",
    )  # fmt: skip

    def __init__(self, folder: str, state: str, reason: str = "", detail: str = "") -> None:
        self.folder, self.state, self.reason, self.detail = folder, state, reason, detail
        self.queued, self.job, self.attempts, self.elapsed_s = False, "", 0, 0.0
        self.alive = False
        self.metrics: dict[str, str] = {}
        self.hparams: dict[str, Any] = {}
        self.new: list[str] = []
        self.record = Record([])

    def __repr__(self) -> str:
        return f"Status({self.folder!r}: {self.state}, {self.reason!r})"

    @property
    def is_final(self) -> bool:
        """Whether the state stays the same unless someone resumes the replicate."""
        return self.state in ("error", "timeout", "complete", "damaged")

    @property
    def can_resume(self) -> bool:
        """Whether its submission failed, or its job ended without success."""
        if self.state == "created":
            return not self.queued and bool(self.record.refusal or self.record.claimed)
        return self.state in ("timeout", "error") and not self.alive

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON and tables."""
        return {
            "folder": self.folder,
            "state": self.state,
            "reason": self.reason,
            "detail": self.detail,
            "queued": self.queued,
            "job": self.job,
            "attempts": self.attempts,
            "elapsed_s": round(self.elapsed_s, 1),
            "metrics": self.metrics,
        }


def damaged(folder: str, error: BaseException | str) -> Status:
    """Return the status of a replicate whose files cannot be read, with the reason."""
    reason = error if isinstance(error, str) else why(error)
    return Status(folder, "damaged", reason, "the other runs are not affected; look at the file")


def status_of(
    folder: str, files: Mapping[str, bytes], now: float, seen: Seen | None = None
) -> Status:
    """Return the status of a replicate, from its files.

    Args:
        folder: Name of the folder, for the result.
        files: Content of the existing files of NAMES.
        now: Seconds since 1970.
        seen: Answer of the scheduler; None if it was not asked.
    """
    try:
        return _tell(folder, files, now, seen)
    except Exception as e:  # an error in one replicate does not hide the others
        return damaged(folder, e)


def _tell(folder: str, files: Mapping[str, bytes], now: float, seen: Seen | None) -> Status:
    try:
        record = Record(parse_events(files.get("events", b"")))
    except ValueError as e:
        raise Damaged(f"events: {e}") from e
    if seen is None:
        now = _time_of_copy(record, files) or now
    status = _state(folder, record, files, now, seen)
    status.record, status.job, status.attempts = record, record.job, record.attempts
    status.elapsed_s = record.elapsed_s + _open_elapsed(record, files, now, status)
    if not -MAX_SECONDS < status.elapsed_s < MAX_SECONDS:
        raise Damaged("events: the times are out of range")
    status.alive = _is_alive(record, files, now, seen)
    if record.attempts:
        check_metrics(files.get("metrics.csv", b""))
        status.metrics = last_metrics(files.get("metrics.csv", b""))
    return status


def _state(
    folder: str, record: Record, files: Mapping[str, bytes], now: float, seen: Seen | None
) -> Status:
    if not record.whole:
        if b"\n" in files.get("events", b""):
            raise Damaged("events: the first line is not `created`")
        detail = "a submitter was cut off before its files were whole; nothing was submitted: prune"
        if "metrics.csv" in files:
            detail = "a run without a job; see `seqmodel results`"
        return Status(folder, "created", "half-made", detail)
    if record.complete:
        return Status(folder, "complete")
    stderr = _attempt_text(files.get("stderr", b""))
    if _is_cancelled(record) and not _outlived(record, files):
        return Status(folder, "error", record.why or "cancelled")
    if record.end is not None:
        return _ended(folder, record, stderr, seen)
    if record.running:
        return _running(folder, record, files, stderr, now, seen)
    if record.seen is not None:
        return _by_scheduler(
            folder, Seen(record.seen.get("state", ""), record.seen.get("text", "")), stderr
        )
    if record.waiting or record.claimed:
        return _waiting(folder, record, stderr, now, seen)
    if record.refusal:
        return Status(folder, "created", f"refused: {record.refusal[:120]}", record.refusal)
    return Status(folder, "created", "not submitted")


def _ended(folder: str, record: Record, stderr: str, seen: Seen | None) -> Status:
    end = record.end or {}
    code, phase = end.get("code", ""), end.get("phase", "")
    by_text = _by_text(folder, stderr)
    if by_text is not None:
        return by_text
    detail = exception_line(stderr)
    if end.get("disk") == "full":
        return Status(folder, "error", "disk full", detail)
    if phase in _TRIALS and "signal" not in end:
        return Status(folder, "error", phase, detail or f"exit code {code}")
    if code == "3" and detail.startswith("DivergedError"):
        return Status(folder, "error", "diverged", detail)
    if code == "75" and end.get("signal") != "TERM":
        if phase in _TRIALS and "left" not in end:
            detail = f"in {phase}; resume starts it again"
            return Status(folder, "timeout", "stopped before the run started", detail)
        return _not_put_back(folder, end)
    last = seen or Seen((record.seen or {}).get("state", ""), "")
    if last.state in FINAL and last.state not in ("COMPLETED", "FAILED"):
        return Status(folder, *FINAL[last.state], last.reason)
    if code == "143" or end.get("signal") == "TERM":
        return Status(folder, "error", "stopped (SIGTERM)", detail)
    if code.isdecimal() and int(code) > 128:
        if not _FATAL.search(stderr):
            detail = ""  # an exception that occurred before the final event
        return Status(folder, "error", f"killed by signal {int(code) - 128}", detail)
    found = _last_exception(stderr)
    return Status(folder, "error", "exception" if found else f"exit code {code}", detail)


def _not_put_back(folder: str, end: Mapping[str, str]) -> Status:
    """Return the status of a job that stopped before its time limit and was not requeued."""
    why_left = end.get("left")
    if why_left == "no_progress":
        detail = f"two attempts ended at step {end.get('at')}; raise the time limit, then resume"
        return Status(folder, "timeout", "no progress", detail)
    detail = "resume continues from there"
    if why_left == "max_requeues":
        detail = f"it was requeued {end.get('n')} times (max_requeues); {detail}"
    if why_left == "refused":
        detail = f"the scheduler refused to requeue it; {detail}"
    return Status(folder, "timeout", "stopped with its state saved", detail)


def _running(
    folder: str,
    record: Record,
    files: Mapping[str, bytes],
    stderr: str,
    now: float,
    seen: Seen | None,
) -> Status:
    by_text = _by_text(folder, stderr)
    if by_text is not None:
        return by_text
    silent = now - max(_heartbeat(files), record.started_at)
    if silent < -CLOCK_S:
        raise Damaged("heartbeat: more than a day in the future")
    if seen is not None and seen.state in FINAL:
        status = _by_scheduler(folder, seen, stderr)
        status.new = [f"seen state={seen.state} text={seen.reason}"]
        return status
    grace = _grace(record)
    if silent > grace and (seen is None or seen == ABSENT):
        detail = f"no heartbeat for {silent:.0f} s, and no final event; resume continues it"
        status = Status(folder, "error", "lost", detail)
        status.new = [f"seen state=ABSENT text={detail}"] if seen else []
        return status
    reason = record.phase if record.phase != "run" else ""
    detail = f"silent for {silent:.0f} s" if silent > grace else ""
    return Status(folder, "running", reason, _cancel_text(record) or detail)


def _cancel_text(record: Record) -> str:
    """Return the result of a cancellation that did not end the job."""
    if record.cancelled:
        return "it was cancelled but is still running: cancel it again"
    if record.refused_cancel:
        return f"the cancel failed: {record.refused_cancel}"
    return "a cancellation was requested but is not confirmed" if record.cancelling else ""


def _is_cancelled(record: Record) -> bool:
    """Return whether the job was cancelled: this was confirmed, or the job obeyed."""
    if record.cancelled:
        return True
    end = record.end or {}
    # a worker writes `killed` if a job was ended from outside
    stopped = end.get("signal") == "TERM" or end.get("phase") == "killed"
    return record.cancelling and stopped


def _outlived(record: Record, files: Mapping[str, bytes]) -> bool:
    """Return whether a cancelled job is still alive although it had time to end."""
    since = max(record.cancelled_at, record.started_at)
    return record.running and _heartbeat(files) > since + ENDING_S


def _is_alive(record: Record, files: Mapping[str, bytes], now: float, seen: Seen | None) -> bool:
    if not record.open or (record.cancelled and not _outlived(record, files)):
        return False
    last = seen.state if seen is not None else (record.seen or {}).get("state", "")
    # a node that the scheduler has lost may still run
    if last == "COMPLETING" or (last in FINAL and last not in ("NODE_FAIL", "BOOT_FAIL")):
        return False
    return now - max(_heartbeat(files), record.started_at) <= record.beat_s + 10


def _waiting(folder: str, record: Record, stderr: str, now: float, seen: Seen | None) -> Status:
    by_text = _by_text(folder, stderr) if not record.requeued else None
    if by_text is not None and record.attempts == 0:
        return by_text
    if seen is not None and seen.state in FINAL:
        status = _by_scheduler(folder, seen, stderr)
        status.new = [f"seen state={seen.state} text={seen.reason}"]
        return status
    if seen == ABSENT or (seen is None and not record.waiting):
        return _not_in_queue(folder, record, now, asked=seen is not None)
    again = "again, " if record.requeued else ""
    status = Status(folder, "created", f"queued {again}{seen.reason if seen else ''}".strip(" ,"))
    status.queued, status.detail = True, _cancel_text(record)
    if seen is not None and seen.state in ("RUNNING", "COMPLETING", "CONFIGURING"):
        status.reason = "starting"
    return status


def _not_in_queue(folder: str, record: Record, now: float, *, asked: bool) -> Status:
    waited = now - record.submitted_at
    # the submitter waits less than this for the scheduler
    grace = _grace(record) if record.waiting else min(_grace(record), CLAIM_S)
    if waited <= grace:
        status = Status(folder, "created", "being submitted" if not record.waiting else "queued")
        status.queued = True
        return status
    if record.waiting:
        status = Status(folder, "error", "lost", "left the queue without having started; resume it")
        status.new = ["seen state=ABSENT text=left the queue without having started"]
        return status
    detail = "the submission was interrupted, and no scheduler knows the job; submit it again"
    return Status(folder, "created", "not submitted", detail if asked else "")


def _by_scheduler(folder: str, seen: Seen, stderr: str) -> Status:
    by_text = _by_text(folder, stderr)
    if by_text is not None:
        return by_text
    state, reason = FINAL.get(seen.state, ("error", "lost"))
    return Status(folder, state, reason, seen.reason or exception_line(stderr))


def _by_text(folder: str, stderr: str) -> Status | None:
    """Return the reason that Slurm wrote to the job's stderr when it ended the job."""
    found = list(_CANCELLED.finditer(stderr))
    for words, state, reason in _DUE_TO:
        for match in found:
            if (match[2] or "").startswith(words):
                return Status(folder, state, reason, match[0])
    memory = _OUT_OF_MEMORY.search(stderr)
    if memory is not None:
        return Status(folder, "error", "out of memory", memory[0])
    # without a cause, our own srun ended the step because one rank failed
    for match in found:
        if match[1] == "JOB" and match[2] is None:
            return Status(folder, "error", "cancelled", match[0])
    return None


def exception_line(text: str) -> str:
    """Return the last exception with its message, a later cause of the end, or the last line."""
    found = _last_exception(text)
    if found is not None:
        message = [found[0].strip()]
        for line in text[found.end() :].splitlines()[1:]:
            if not line.strip() or _NOT_OF_MESSAGE.match(line):
                break
            message.append(line.strip())
        return " ".join(message)[:500]
    fatal = list(_FATAL.finditer(text))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (fatal[-1][0] if fatal else lines[-1] if lines else "").strip()[:500]


def _last_exception(text: str) -> re.Match[str] | None:
    """Return the last exception; None if something else ended the process afterwards."""
    found = list(_EXCEPTION.finditer(text))
    return found[-1] if found and not _FATAL.search(text, found[-1].end()) else None


def last_metrics(data: bytes) -> dict[str, str]:
    """Return the last value of each column of metrics.csv, without an incomplete last line."""
    text = data.decode("utf-8", "replace")
    lines = text[: text.rfind("\n") + 1].splitlines()
    if len(lines) < 2:
        return {}
    columns = lines[0].split(",")
    values: dict[str, str] = {}
    for line in reversed(lines[1:]):
        row = line.split(",")
        if len(row) == len(columns):
            for name, value in zip(columns, row, strict=True):
                if value and name not in values:
                    values[name] = value
            if len(values) == len(columns):
                break
    return {name: values[name] for name in columns if name in values}


def _attempt_text(stderr: bytes) -> str:
    """Return the text that the last attempt wrote to stderr."""
    text = stderr.decode("utf-8", "replace")
    return re.split(r"^seqmodel: attempt \d+$", text, flags=re.M)[-1]


def _heartbeat(files: Mapping[str, bytes]) -> float:
    text = files.get("heartbeat", b"").strip()
    if text and not (text.isdigit() and len(text) < 20):
        raise Damaged("heartbeat: not a number of seconds")
    return float(text or 0)


def _time_of_copy(record: Record, files: Mapping[str, bytes]) -> float:
    """Return when a copy was made, by the clock of its source; 0 for files written since then."""
    pulled = float(files.get(PULLED, b"0"))
    since = max(_heartbeat(files), record.started_at, record.submitted_at)
    is_ours = record.node == os.uname().nodename
    return pulled if since <= pulled + _grace(record) and not is_ours else 0.0


def _grace(record: Record) -> float:
    text = record.made.get("grace_s", "")
    return float(text) if text.isdecimal() else GRACE_S


def _open_elapsed(record: Record, files: Mapping[str, bytes], now: float, status: Status) -> float:
    """Return the time of an attempt that has no final event, in seconds."""
    if not record.running:
        return 0.0
    last = now if status.state == "running" else _heartbeat(files)
    return max(0.0, last - record.started_at)
