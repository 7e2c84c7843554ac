"""The states of replicates: read the files once, and ask the scheduler once.

    from seqmodel.job import status
    status("out")                    # any folder of runs on this host, or a copy; asks no scheduler

A StatusTable is a list of Status that prints as a table in a notebook and on a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from seqmodel.job import agent
from seqmodel.job.events import Record, parse_events
from seqmodel.job.os_interface import Interface, LocalInterface
from seqmodel.job.state import NAMES, STATES, Seen, Status, damaged, status_of
from seqmodel.terminal import html_table, plain_line, text_table


class Scheduler:
    """How a job class asks its scheduler.

    Attributes:
        asked: {name: (operation, arguments)}, called on the host before the files are read.
        kind: Kind of the jobs that the scheduler knows.
        problem: Why the answer is missing, else empty.
    """

    asked: Mapping[str, tuple[Callable[..., object], dict[str, Any]]] = {}
    kind = ""
    problem = ""

    def begin(self, outputs: Mapping[str, object]) -> None:
        """Read the answers."""

    def seen(self, record: Record) -> Seen | None:
        """Return the scheduler's answer about the job of this record; None if it did not answer."""
        return None

    def found(self, record: Record) -> str:
        """Return the id of a queued job that its submitter could not record, or ""."""
        return ""

    def id_of(self, record: Record) -> str:
        """Return the current id of the job of this record in the scheduler, or ""."""
        return record.job


class Schedulers(Scheduler):
    """Schedulers of a folder with several kinds of jobs; each is asked about its own jobs.

    Args:
        schedulers: Schedulers of different kinds; the first is used for jobs of unknown kind.
    """

    def __init__(self, schedulers: Iterable[Scheduler]) -> None:
        self.schedulers = list(schedulers)
        self.asked = {n: call for each in self.schedulers for n, call in each.asked.items()}

    def begin(self, outputs: Mapping[str, object]) -> None:  # noqa: D102
        for scheduler in self.schedulers:
            scheduler.begin(outputs)
        self.problem = "; ".join(s.problem for s in self.schedulers if s.problem)

    def seen(self, record: Record) -> Seen | None:  # noqa: D102
        scheduler = self.of(record)
        return scheduler.seen(record) if scheduler else None

    def found(self, record: Record) -> str:  # noqa: D102
        scheduler = self.of(record)
        return scheduler.found(record) if scheduler else ""

    def id_of(self, record: Record) -> str:  # noqa: D102
        scheduler = self.of(record)
        return scheduler.id_of(record) if scheduler else ""

    def of(self, record: Record) -> Scheduler | None:
        """Return the scheduler of the job of this record."""
        for scheduler in self.schedulers:
            if record.kind in ("", scheduler.kind):
                return scheduler
        return None


def status(which: str = "out") -> StatusTable:
    """Return the states of all replicates in a folder on this host, read from its files."""
    interface = LocalInterface()
    return StatusTable(read_hparams(interface, read_status(interface, which, None)))


def read_hparams(interface: Interface, found: list[Status]) -> list[Status]:
    """Return the statuses with the hyperparameters of their runs, which tables use for names."""
    files = interface.read([f"{s.folder}/hparams.json" for s in found]) if found else {}
    for status in found:
        with suppress(ValueError, RecursionError, AttributeError):
            record = json.loads(files.get(f"{status.folder}/hparams.json", b"{}"))
            status.hparams = {name: value for name, value in record.items() if name != "_run"}
    return found


def read_status(interface: Interface, root: str, scheduler: Scheduler | None) -> list[Status]:
    """Read the states of all replicates below `root`; record what only the scheduler knows."""
    snapshot = interface.snapshot(root, NAMES, scheduler.asked if scheduler else None)
    if scheduler is not None:
        scheduler.begin(snapshot.outputs)
    found: list[Status] = []
    notes: list[tuple[str, str]] = []
    for folder, files in snapshot.files.items():
        path = snapshot.root if folder == "." else f"{snapshot.root}/{folder}"
        if folder in snapshot.damaged:
            found.append(damaged(path, snapshot.damaged[folder]))
            continue
        try:
            status = _one(path, files, snapshot.now, scheduler)
        except Exception as e:  # an error in one run does not hide the others
            status = damaged(path, e)
        notes += [(path, line) for line in status.new]
        found.append(status)
    if notes:
        interface.call(agent.note, lines=notes)
    return found


def _one(path: str, files: Mapping[str, bytes], now: float, scheduler: Scheduler | None) -> Status:
    if scheduler is None:
        return status_of(path, files, now)
    record = Record(parse_events(files.get("events", b"")))
    if record.complete or record.end is not None or record.seen is not None:
        return status_of(path, files, now)
    if not (record.running or record.waiting or record.claimed):
        return status_of(path, files, now)
    if record.kind and scheduler.kind and record.kind != scheduler.kind:
        return status_of(path, files, now)  # it has another scheduler
    is_lost = record.claimed and not record.waiting and not record.running
    job = scheduler.found(record) if is_lost else ""
    if job:
        line = f"submitted submission={record.submission} job={job}"
        files = {**files, "events": files["events"] + f"{int(now)} {line}\n".encode()}
        record = Record(parse_events(files["events"]))
        status = status_of(path, files, now, scheduler.seen(record))
        status.new.insert(0, line)
        return status
    status = status_of(path, files, now, scheduler.seen(record))
    status.job = scheduler.id_of(record) or status.job
    return status


class StatusTable(list[Status]):
    """The states of replicates, in the order of their folders.

    Attributes:
        problem: Why a scheduler did not answer, so that only the files were read; else empty.
    """

    def __init__(self, found: Iterable[Status], problem: str = "") -> None:
        super().__init__(found)
        self.problem = problem

    def counts(self) -> dict[str, int]:
        """Return the number of replicates in each state that occurs."""
        found = {state: sum(s.state == state for s in self) for state in STATES}
        return {state: n for state, n in found.items() if n}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one plain dict per replicate."""
        return [s.to_dict() for s in self]

    def to_pandas(self) -> Any:
        """Return a data frame with one row per replicate and one column per metric.

        Raises:
            JobError: Pandas is not installed.
        """
        from seqmodel.errors import JobError
        from seqmodel.extras import optional

        pd = optional("pandas", "to_pandas", "report", JobError)
        rows = [{**row, **row.pop("metrics")} for row in self.to_dicts()]
        return pd.DataFrame(rows)

    def names(self) -> list[str]:
        """Return a name for each run, made of what varies among them; see results.naming."""
        from seqmodel.job.results.naming import names_of

        is_read = any(s.hparams for s in self)
        hparams = [s.hparams if is_read else _in_name(s.folder) for s in self]
        return names_of(hparams, [s.folder for s in self])

    def rows(self) -> list[tuple[str, ...]]:
        """Return the shown values of each replicate: the columns of COLUMNS."""
        cut = _common([s.folder for s in self])
        return [
            (
                plain_line(name),
                s.state,
                plain_line(s.reason),
                str(s.attempts),
                elapsed_text(s.elapsed_s),
                plain_line(metric_text(s.metrics)),
                plain_line(s.job),
                plain_line(s.folder[cut:]),
            )
            for name, s in zip(self.names(), self, strict=True)
        ]

    def _repr_html_(self) -> str:
        return html_table(COLUMNS, self.rows())

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Return a plain table."""
        if not self:
            return "no replicates"
        states = ", ".join(f"{n} {state}" for state, n in self.counts().items())
        text = f"{text_table([COLUMNS, *self.rows()])}\n{len(self)} replicates: {states}"
        return f"{text}\n{self.problem}" if self.problem else text


COLUMNS = ("run", "state", "reason", "attempts", "elapsed", "last metric", "job", "folder")


def _in_name(folder: str) -> dict[str, str]:
    """Return the hyperparameters in the name of a run, as text."""
    pairs = (part.partition("=") for part in folder.split("/")[-2:][0].split(","))
    return {name: value for name, sign, value in pairs if sign}


def elapsed_text(seconds: float) -> str:
    """Format a time as `1:02:03`; an empty text for None."""
    if seconds <= 0:
        return ""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{s:02}"


def metric_text(metrics: Mapping[str, str]) -> str:
    """Return the most informative of the last metrics: test, else validation, else training."""
    for prefix in ("test_", "valid_", "train_"):
        names = [name for name in metrics if name.startswith(prefix)]
        names.sort(key=lambda name: name.endswith("loss"))
        if names:
            value = metrics[names[0]]
            with suppress(ValueError):
                value = f"{float(value):.4g}"
            return f"{names[0]} {value}"
    return ""


def _common(paths: list[str]) -> int:
    """Return the length of the prefix, up to a `/`, that all paths share; it is not shown."""
    if not paths:
        return 0
    first, last = min(paths), max(paths)
    n = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    if n == 0:  # a single path
        return first.rfind("/", 0, first.rfind("/")) + 1
    # keep the whole canonical name and version
    return min(first.rfind("/", 0, n) + 1, first.rfind("/", 0, first.rfind("/")) + 1)
