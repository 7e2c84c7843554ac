"""Read and write metrics.csv, which has the logged values; each row is written at once.

Lightning's own CSV logger removes the file of the run that it resumes. This one keeps the rows up
to the checkpoint and removes later ones, of the attempt that was killed. See docs/decisions.
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
        path: Path of the file in an existing folder.
        resumed_step: Optimiser steps done at the checkpoint that is resumed; rows of later steps
            are dropped. None for a new run.
        lock: Lock of the run folder; checked before each row.
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
        """Do nothing, because hparams.json has the hyperparameters."""

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
    """Return the rows of the metrics.csv at `path` as text, without an incomplete last line.

    Raises:
        RunError: The file is damaged.
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
