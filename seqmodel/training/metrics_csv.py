"""metrics.csv: what a run logged, one row a time, on disk as soon as it is known.

Lightning's own CSV logger removes the file of the run that it resumes, and this one must not: rows
up to the checkpoint stay, later ones (of the attempt that was killed) go. See docs/decisions.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from seqmodel.errors import RunError
from seqmodel.files import append, read_text, write_file
from seqmodel.record.lock import FolderLock

FIRST = ("epoch", "step")


class MetricsCsv(Logger):
    """Append logged values to the CSV file at `path`; a new name adds a column.

    Args:
        path: the file; its folder exists.
        resumed_step: optimiser steps done at the checkpoint that is resumed; rows of later steps
            are dropped. None for a new run.
        lock: of the folder; asked before each row.
    """

    def __init__(
        self, path: Path, resumed_step: int | None = None, lock: FolderLock | None = None
    ) -> None:
        super().__init__()
        self.path, self.lock = path, lock or FolderLock()
        self.columns: list[str] = list(FIRST)
        rank = rank_zero_only.rank  # type: ignore[attr-defined]  # set by Lightning
        if rank == 0 and resumed_step is not None and path.exists():
            rows = [row for row in read_rows(path) if _step(path, row) < resumed_step]
            self.columns = list(rows[0]) if rows else self.columns
            self._rewrite(rows)

    @property
    def name(self) -> str:
        """Lightning asks for it; no folder is named by it."""
        return ""

    @property
    def version(self) -> str:
        """Lightning asks for it; no folder is named by it."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Nothing: hparams.json has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add one row.

        Raises:
            RunError: Another process took over the folder.
        """
        self.lock.check()
        row: dict[str, float | None] = {"step": step, **metrics}
        if "epoch" in metrics:
            row["epoch"] = int(metrics["epoch"])
        new = [name for name in row if name not in self.columns]
        if new or not self.path.exists():
            rows = read_rows(self.path) if self.path.exists() else []
            self.columns += new
            self._rewrite([*rows, row])
            return
        append(self.path, self._lines([row]), RunError)

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        header = dict(zip(self.columns, self.columns, strict=True))
        write_file(self.path, self._lines([header, *rows]), RunError)

    def _lines(self, rows: list[dict[str, Any]]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns, restval="").writerows(rows)
        return text.getvalue()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of the metrics.csv at `path`, as text, without a last line that was cut short.

    Raises:
        RunError: it is damaged.
    """
    text = read_text(path, RunError)
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        rows = list(csv.DictReader(lines))
    except csv.Error as e:
        raise RunError(f"{path}: is damaged ({e}); correct it, or move it away") from e
    wrong = next((i for i, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if wrong is not None:
        raise RunError(
            f"{path} line {wrong}: has a different number of values than columns; correct it, or "
            "move it away"
        )
    return rows


def _step(path: Path, row: dict[str, Any]) -> int:
    text = row.get("step") or ""
    if not text.removeprefix("-").isdecimal():
        raise RunError(
            f"{path}: the step {text!r} is not a whole number; correct it, or move it away"
        )
    return int(text)
