"""The history of a replicate: the lines of `events`, read from the first to the last.

The submitter, the job itself and any process that asks a scheduler append lines; no line is
rewritten. state.py derives the state from these lines and the other files.
"""

from __future__ import annotations

from collections import namedtuple

BEAT_S = 30  # for jobs that did not record theirs

Event = namedtuple("Event", ["time", "what", "fields"])
# the words of `events`; lines with other words are ignored
EVENTS = frozenset(
    {"created", "submitting", "submitted", "refused", "start", "step", "run", "staged", "note",
     "requeue", "end", "cancelling", "cancel", "cancel_failed", "kept_out", "seen", "superseded"}
)  # fmt: skip


class Record:
    """The content of `events`, read from the first line to the last."""

    def __init__(self, events: list[Event]) -> None:
        self.whole = bool(events) and events[0].what == "created"
        self.made = events[0].fields if self.whole else {}
        self.submission = -1  # the last attempt that started; -1 for none
        self.token = self.index = self.node = ""
        self.job, self.attempts, self.phase = "", 0, ""
        self.submitted_job = ""
        self.submitted_at = self.started_at = self.cancelled_at = 0.0
        self.claimed = self.waiting = self.requeued = self.running = self.complete = False
        self.open = False  # whether an attempt has started and has no final event
        self.cancelled, self.cancelling, self.why, self.beat_s = False, False, "", BEAT_S
        self.refused_cancel = ""
        self._counts_from = 0  # final events count from this submission on
        self._started_in, self._started_as = "", ("", "", "", "")
        self.end: dict[str, str] | None = None
        self.seen: dict[str, str] | None = None
        self.elapsed_s, self.refusal = 0.0, ""
        for event in events:
            getattr(self, f"_{event.what}", self._other)(event.time, event.fields)

    def _other(self, time: float, fields: dict[str, str]) -> None:
        """Ignore an event that changes no state."""

    def _submitting(self, time: float, fields: dict[str, str]) -> None:
        self._clear()
        self.claimed, self.cancelled, self.cancelling, self.submitted_at = True, False, False, time
        self.refused_cancel = self.submitted_job = self.refusal = ""
        self.submission, self.token = _whole(fields.get("submission", "")), fields.get("token", "")
        self._counts_from = self.submission
        self.index = fields.get("index", "")

    def _submitted(self, time: float, fields: dict[str, str]) -> None:
        if _whole(fields.get("submission", "")) >= self.submission and not self.running:
            self.waiting = self.end is None
        self.job = self.submitted_job = fields.get("job", "")

    def _refused(self, time: float, fields: dict[str, str]) -> None:
        self._clear()
        self.submission -= 1
        self.refusal = fields.get("text", "")

    def _start(self, time: float, fields: dict[str, str]) -> None:
        self._stop(time)
        self._clear()
        self.running, self.started_at, self.phase = True, time, "environment"
        self.attempts += 1
        # version 0.1.0, which did not write `beat`, wrote the raw id of an array element; for one
        # element is the id of its whole array
        if "beat" in fields or "_" not in self.job:
            self.job = fields.get("job", self.job)
        self.open, self.node = True, fields.get("node", "")
        self._started_as = (self.job, self.submitted_job, self.token, self.index)
        self.beat_s = _whole(fields.get("beat", "")) or BEAT_S
        self._started_in = fields.get("submission", "")

    def _kept_out(self, time: float, fields: dict[str, str]) -> None:
        """Record that a job ended because the last attempt still ran; that attempt counts."""
        self._clear()
        self.running, self._counts_from = self.open, 0
        self.job, self.submitted_job, self.token, self.index = self._started_as

    def _step(self, time: float, fields: dict[str, str]) -> None:
        self.phase = f"after {fields.get('phase', '')}"

    def _run(self, time: float, fields: dict[str, str]) -> None:
        self.phase = "run"

    def _requeue(self, time: float, fields: dict[str, str]) -> None:
        self._stop(time)
        self._clear()
        self.open = False
        self.waiting = self.requeued = True
        self.submitted_at = time

    def _end(self, time: float, fields: dict[str, str]) -> None:
        self.complete = self.complete or fields.get("code") == "0"
        if fields.get("submission", self._started_in) == self._started_in:
            self.open = False
        if "submission" in fields and _whole(fields["submission"]) < self._counts_from:
            return  # the final event of a cancelled attempt, written after the next submission
        self._stop(time)
        self.end, self.waiting = fields, False

    def _cancel(self, time: float, fields: dict[str, str]) -> None:
        # holds until the next submission: the job may still write its start and end below
        self.cancelled, self.cancelled_at, self.why = True, time, fields.get("text", "")

    def _cancelling(self, time: float, fields: dict[str, str]) -> None:
        self.cancelling, self.refused_cancel, self.why = True, "", fields.get("text", "")

    def _cancel_failed(self, time: float, fields: dict[str, str]) -> None:
        self.cancelling, self.refused_cancel = False, fields.get("text", "")

    def _seen(self, time: float, fields: dict[str, str]) -> None:
        self._stop(time)
        self.seen = fields

    @property
    def kind(self) -> str:
        """The kind of the job, `shell` or `slurm`; "" if the events do not contain it."""
        if "kind" in self.made:
            return self.made["kind"]
        if not self.submitted_job:
            return ""
        return "shell" if self.submitted_job == "shell" else "slurm"

    def _stop(self, time: float) -> None:
        if self.running:
            self.elapsed_s += time - self.started_at
        self.running = False

    def _clear(self) -> None:
        self.claimed = self.waiting = self.requeued = self.running = False
        self.end = self.seen = None


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def parse_events(data: bytes) -> list[Event]:
    """Parse the events of a file; an incomplete last line and invalid lines are skipped."""
    events = []
    for line in data.decode("utf-8", "replace").split("\n")[:-1]:
        time, _, rest = line.partition(" ")
        what, _, rest = rest.partition(" ")
        if not time.isdecimal() or what not in EVENTS:
            continue
        rest, mark, text = rest.partition("text=")
        fields = dict(word.partition("=")[::2] for word in rest.split())
        if mark:
            fields["text"] = text
        events.append(Event(float(time), what, fields))
    return events
