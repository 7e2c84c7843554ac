"""One run, read from its folder: state, hyperparameters, scores and usage.

Only files are read, so this also works for a pulled folder, or one that run.py wrote without a job:

    hparams.json, metrics.csv      by run.py; hparams.json has `_run` once the run has started
    job.json, events, heartbeat, stdout, stderr     by the job, if there was one
    usage.json, test_curves.json   peak memory and time; test predictions of the best checkpoint
    audit.json                     report of `seqmodel audit` on the data and the test scores
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from seqmodel.errors import MissingError
from seqmodel.job.events import parse_events
from seqmodel.job.os_interface import Interface, LocalInterface
from seqmodel.job.results.log import Summary, parse_columns, parse_rows, summary_of
from seqmodel.job.state import Status, damaged, exception_line, status_of
from seqmodel.record.run_files import (
    Damaged,
    check_hparams,
    check_job,
    check_metrics,
    check_test_curves,
    check_usage,
    parse_object,
    read_regular,
)
from seqmodel.trust.text import check_audit

WHOLE = ("hparams.json", "job.json", "metrics.csv", "usage.json", "test_curves.json", "audit.json")
SMALL = ("events", "heartbeat")
LOGS = ("stderr", "stdout")
LOG_BYTES = 16 * 1024
MAX_DEPTH = 5
SILENT_S = 900  # a run without a job that has written nothing for this long has ended
_SKIPPED = ("checkpoints", "lightning_logs", "mlruns", "wandb", "tensorboard", "__pycache__")
# as in the task: see default_monitor and monitor_mode in seqmodel.task.task
DEFAULT_MONITOR = "valid_loss"
_LOW_IS_GOOD = ("loss", "bits", "perplexity", "mse")


class Result:
    """The results of one run.

    Attributes:
        folder: Folder of the run.
        files: Content of the files by name, as bytes.
        status: State of the run; see seqmodel.job.state.
        modified: Time of the last write to metrics.csv, in seconds since 1970, if known.
        record, job, usage: Content of hparams.json, job.json and usage.json; {} if missing.
        test_curves: Confusion matrix, ROC, precision and recall, or scatter, of the test split.
        audit: Report of `seqmodel audit`.

    A run with a damaged file has only the state "damaged" and its logs, so its scores are not
    compared with those of other runs.
    """

    def __init__(
        self,
        folder: str,
        files: Mapping[str, bytes],
        now: float,
        modified: float = 0.0,
        problem: str = "",
    ) -> None:
        self.folder, self.files, self.modified = folder, files, modified
        try:
            if problem:
                raise Damaged(problem)
            self._read(now)
        except Exception as e:  # an error in one run does not stop the others
            self.status = damaged(folder, e)
            self._forget()

    def _read(self, now: float) -> None:
        half_made = not self.files.get("events") and not self.files.get("hparams.json")
        if "events" in self.files or half_made:
            self.status = status_of(self.folder, self.files, now)
            if self.status.state == "damaged":
                raise Damaged(self.status.reason)
            half_made = self.status.reason == "half-made"
        read = {} if half_made else self.files
        records = [_record(read, name, check) for name, check in _CHECKS.items()]
        self.record, self.job, self.usage, self.test_curves, self.audit = records
        if "events" not in self.files and not half_made:
            self.status = self._without_job(now)
        check_metrics(self.files.get("metrics.csv", b""))

    def _forget(self) -> None:
        self.files = {name: self.files[name] for name in LOGS if name in self.files}
        for name in ("hparams", "run", "summary"):
            self.__dict__.pop(name, None)
        self.record, self.job, self.usage, self.test_curves, self.audit = {}, {}, {}, {}, {}

    def __repr__(self) -> str:
        return f"Result({self.folder!r}: {self.status.state})"

    @cached_property
    def hparams(self) -> dict[str, Any]:
        """All hyperparameters by name."""
        return {name: value for name, value in self.record.items() if name != "_run"}

    @cached_property
    def run(self) -> dict[str, Any]:
        """The record of run.py: version, code, host and start time."""
        return self.record.get("_run") or {}

    @property
    def is_verb(self) -> bool:
        """Whether the job applied a trained model, and so has no scores."""
        given = self.job.get("given")
        return isinstance(given, dict) and bool(given.get("verb"))

    @property
    def canonical(self) -> str:
        """The name of the run: from the record, else from the folder."""
        name = self.job.get("canonical") or self.run.get("name")
        return str(name) if name else os.path.basename(os.path.dirname(self.folder))

    @property
    def version(self) -> int:
        """The number of the replicate; 0 if the folder has none."""
        digits = os.path.basename(self.folder).removeprefix("version_")
        return int(digits) if digits.isdecimal() else 0

    @property
    def rows(self) -> list[dict[str, float]]:
        """The rows of metrics.csv as dicts, without missing values."""
        return parse_rows(self._log)

    @property
    def columns(self) -> dict[str, list[float | None]]:
        """The columns of metrics.csv, which have one length; None is a missing value."""
        return parse_columns(self._log)

    @cached_property
    def summary(self) -> Summary:
        """What the tables show of metrics.csv."""
        return summary_of(self._log)

    @property
    def _log(self) -> bytes:
        return self.files.get("metrics.csv", b"")

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Return (step, value) of a logged value, in the order of logging.

        The training loss comes from rows within epochs if there are at least two, else from epochs.
        """
        columns = self.columns
        if name not in columns or "step" not in columns:
            return []
        rates = columns.get("lr", [])
        in_epochs = name == "train_loss" and _n_pairs(columns["step"], columns[name], rates) > 1
        pairs = zip(
            columns["step"], columns[name], rates if in_epochs else columns[name], strict=True
        )
        return [
            (step, x)
            for step, x, y in pairs
            if step is not None and x is not None and y is not None
        ]

    @property
    def monitor(self) -> str:
        """The logged value that measures the quality of the run."""
        used = self.run.get("used")
        chosen = used.get("monitor") if isinstance(used, dict) else None
        return str(self.hparams.get("monitor") or chosen or DEFAULT_MONITOR)

    def last(self, name: str) -> float | None:
        """Return the last value that was logged under `name`."""
        return self.summary.last.get(name)

    def best(self, name: str) -> float | None:
        """Return the best finite value that was logged under `name`."""
        found = self.summary.low if mode(name) == "min" else self.summary.high
        return found.get(name)

    @property
    def n_epochs(self) -> int:
        """The number of epochs with logged values; the final test does not count."""
        return self.summary.n_epochs

    @property
    def elapsed_s(self) -> float:
        """The time of all attempts in seconds, or of the run itself if there was no job."""
        return self.status.elapsed_s or float(self.usage.get("wall_s") or 0.0)

    @property
    def peak_memory(self) -> float | None:
        """The peak of main memory, in bytes."""
        found = self.usage.get("peak_rss_bytes")
        return float(found) if found else None

    @property
    def staging_s(self) -> float | None:
        """The time to prepare environment, code and data in the last attempt, in seconds."""
        seconds: dict[str, float] = {}
        for event in parse_events(self.files.get("events", b"")):
            if event.what == "start":
                seconds = {}
            elif event.what == "step" and event.fields.get("seconds", "").isdecimal():
                seconds[event.fields.get("phase", "")] = float(event.fields["seconds"])
        found = [seconds[phase] for phase in ("environment", "staging") if phase in seconds]
        return sum(found) if found else None

    def log(self, name: str = "stderr") -> str:
        """Return the end of a log, at most LOG_BYTES."""
        return self.files.get(name, b"")[-LOG_BYTES:].decode("utf-8", "replace")

    def _without_job(self, now: float) -> Status:
        """Return the state of a run without a job, from the files of run.py."""
        status = self._guess(now)
        status.metrics = {name: repr(value) for name, value in self.summary.last.items()}
        status.attempts = 1 if self.run else 0
        return status

    def _guess(self, now: float) -> Status:
        if not self.run:
            return Status(self.folder, "created", "not begun")
        tested = any(name.startswith("test_") for name in self.summary.ending)
        if self.usage.get("ended") or tested:
            return Status(self.folder, "complete")
        planned = self.hparams.get("max_epochs")
        validated = "valid_loss" in self.summary.ending
        if isinstance(planned, int) and self.n_epochs >= planned and validated:
            return Status(self.folder, "complete", "no test split")
        if self.modified and now - self.modified < SILENT_S:
            return Status(self.folder, "running", "no job: derived from the last line")
        detail = exception_line(self.log()) or "metrics.csv has stopped growing"
        return Status(self.folder, "error", "no final event", detail)


def mode(name: str) -> str:
    """Return `min` for losses and errors, `max` for scores."""
    return "min" if name.endswith(_LOW_IS_GOOD) else "max"


def read_results(
    root: str = "out", interface: Interface | None = None, *, newest: int | None = None
) -> list[Result]:
    """Read all runs below `root`, in the order of their folders; jobs of verbs are not runs.

    Args:
        root: A job_out_dir, a run folder, or any folder that has run folders below it.
        interface: Interface of the host that has the folder. If unset: this host.
        newest: On this host, read only this many runs, those that logged a value last.

    Raises:
        MissingError: The folder does not exist.
    """
    if interface is None or isinstance(interface, LocalInterface):
        return [result for result in _read_here(root, newest) if not result.is_verb]
    snapshot = interface.snapshot(root, (*WHOLE, *SMALL, *LOGS), whole=WHOLE)
    found = [
        Result(
            snapshot.root if folder == "." else f"{snapshot.root}/{folder}",
            files,
            snapshot.now,
            problem=snapshot.damaged.get(folder, ""),
        )
        for folder, files in snapshot.files.items()
    ]
    return [result for result in found if not result.is_verb]


def _read_here(root: str, newest: int | None) -> list[Result]:
    import time

    root = os.path.abspath(os.path.expanduser(root))
    if not os.path.isdir(root):
        raise MissingError(f"{root}: no such folder on this host; give a folder of runs")
    real = os.path.realpath(root)
    if os.path.islink(root) and os.path.basename(real).startswith("version_"):
        root = real  # out/latest is a link to another run
    found = []
    there = dict(_folders(root))
    times = {folder: _modified(f"{folder}/metrics.csv") for folder in there}
    chosen = sorted(there, key=times.__getitem__, reverse=True)[:newest]
    for folder in sorted(chosen, key=_in_order):
        files, problem = _files(folder, there[folder])
        found.append(Result(folder, files, time.time(), times[folder], problem))
    return found


def _files(folder: str, there: Collection[str]) -> tuple[dict[str, bytes], str]:
    """Return the files of a run by name, and the error of the first file that cannot be read."""
    files, problem = {}, ""
    for name in (x for x in (*WHOLE, *SMALL, *LOGS) if x in there):
        try:
            data = read_regular(f"{folder}/{name}", _tail if name in LOGS else None)
        except Damaged as e:
            problem = problem or str(e)
            continue
        if data is not None:
            files[name] = data
    return files, problem


def _folders(root: str) -> Iterator[tuple[str, set[str]]]:
    """List the run folders, those of jobs and all others with an hparams.json, with their names."""
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        names = set(_list(folder))
        if names & {"hparams.json", "events"}:
            yield folder, names
            continue
        if os.path.basename(folder).startswith("version_") and not names - {"submit.0"}:
            yield folder, names  # reserved, but nothing is written yet
            continue
        if depth < MAX_DEPTH:
            inner = [n for n in names if not n.startswith(".") and n not in _SKIPPED]
            waiting += [(f"{folder}/{n}", depth + 1) for n in inner if _is_folder(f"{folder}/{n}")]


def _in_order(folder: str) -> tuple[str, int, str]:
    parent, name = os.path.split(folder)
    digits = name.removeprefix("version_")
    return (parent, int(digits) if digits.isdecimal() else -1, name)


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "hparams.json": check_hparams,
    "job.json": check_job,
    "usage.json": check_usage,
    "test_curves.json": check_test_curves,
    "audit.json": check_audit,
}


def _record(
    files: Mapping[str, bytes], name: str, check: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    if name not in files:
        return {}
    found = parse_object(files[name], name)
    check(found)
    return found


def _n_pairs(*columns: Iterable[float | None]) -> int:
    """Return the number of rows in which none of the columns is missing."""
    return sum(None not in row for row in zip(*columns, strict=False))


def _tail(file: Any, size: int) -> bytes:
    file.seek(max(0, size - LOG_BYTES))
    return file.read(LOG_BYTES)


def _list(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
