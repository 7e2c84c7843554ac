"""What happened to a replicate: the lines of `events`, read from the first to the last.

Who submitted it, the job itself and whoever asked a scheduler append lines; nothing is rewritten.
What follows from them, and from the other files, is said by state.py.
"""

from __future__ import annotations

from collections import namedtuple

BEAT_S = 30  # of jobs that did not note theirs

Event = namedtuple("Event", ["time", "what", "fields"])
# the words of `events`; a line with another word is ignored
EVENTS = frozenset(
    {"created", "submitting", "submitted", "refused", "start", "step", "run", "staged", "note",
     "requeue", "end", "cancelling", "cancel", "cancel_failed", "kept_out", "seen", "superseded"}
)  # fmt: skip


class Record:
    """What `events` says, read from the first line to the last."""

    def __init__(self, events: list[Event]) -> None:
        self.whole = bool(events) and events[0].what == "created"
        self.made = events[0].fields if self.whole else {}
        self.submission = -1  # the last one that was begun; -1 for none
        self.token = self.index = self.node = ""
        self.job, self.attempts, self.phase = "", 0, ""
        self.submitted_job = ""
        self.submitted_at = self.started_at = self.cancelled_at = 0.0
        self.claimed = self.waiting = self.requeued = self.running = self.complete = False
        self.open = False  # whether an attempt was started and has no last word
        self.cancelled, self.cancelling, self.why, self.beat_s = False, False, "", BEAT_S
        self.refused_cancel = ""
        self._counts_from = 0  # the submission from which on last words count
        self._started_in, self._started_as = "", ("", "", "", "")
        self.end: dict[str, str] | None = None
        self.seen: dict[str, str] | None = None
        self.elapsed_s, self.refusal = 0.0, ""
        for event in events:
            getattr(self, f"_{event.what}", self._other)(event.time, event.fields)

    def _other(self, time: float, fields: dict[str, str]) -> None:
        """An event that changes no state."""

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
        # 0.1.0, which did not write `beat`, wrote the raw id of an element here: that of one
        # element is the id of its whole array
        if "beat" in fields or "_" not in self.job:
            self.job = fields.get("job", self.job)
        self.open, self.node = True, fields.get("node", "")
        self._started_as = (self.job, self.submitted_job, self.token, self.index)
        self.beat_s = _whole(fields.get("beat", "")) or BEAT_S
        self._started_in = fields.get("submission", "")

    def _kept_out(self, time: float, fields: dict[str, str]) -> None:
        """A job found that the last attempt still ran, and ended: that attempt is what counts."""
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
            return  # the last word of a cancelled attempt, after it was submitted again
        self._stop(time)
        self.end, self.waiting = fields, False

    def _cancel(self, time: float, fields: dict[str, str]) -> None:
        # until it is submitted again: the job may write its start and its end after this line
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
        """The kind of job that it is, `shell` or `slurm`; "" if the events do not say."""
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
    """The events of a file, without a last line that was cut short, and lines that are none."""
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
