"""Compare two runs, or two files of predictions, on the same test rows.

    seqmodel results --compare out/a/version_0 out/b/version_0

The difference of each metric has its own interval: both models are scored on the same draws of the
rows, so rows that are hard for both cancel. The interval does not cover the variance between seeds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqmodel.errors import RunError
from seqmodel.record.folder import CHECKPOINTS, RECORD, read_record
from seqmodel.terminal import text_table
from seqmodel.trust.metrics import LOW_IS_GOOD, OF_KIND
from seqmodel.trust.predictions import Predictions, predictions_in, read_predictions
from seqmodel.trust.uncertainty import MIN_GROUPS, Interval, compared, groups_of, numbered

MOST = 2e9
"""Rows times targets times draws; with more of them fewer samples are drawn."""


class Scored(NamedTuple):
    """A metric of both runs and the difference A - B."""

    metric: str
    a: Interval
    b: Interval
    difference: Interval

    @property
    def better(self) -> str | None:
        """The better run, "A" or "B"; None if the interval of the difference contains 0."""
        low, high = self.difference[1:]
        if not (low > 0 or high < 0):
            return None
        return "A" if (low > 0) != (self.metric in LOW_IS_GOOD) else "B"

    def sentence(self) -> str:
        """A sentence that says which run is better, if any."""
        if self.better:
            return f"{self.better} is better"
        defined = self.difference.low == self.difference.low
        return "neither is shown to be better" if defined else "not defined"


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes:
        a: First run or file, as given.
        b: Second run or file.
        n: Number of test rows.
        groups: Units of the bootstrap, such as "12 contigs".
        draws: Number of bootstrap samples.
        scores: Metrics of both and their differences.
    """

    a: str
    b: str
    n: int
    groups: str
    draws: int
    scores: tuple[Scored, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a plain dict for each metric; undefined values are None."""
        found = []
        for x in self.scores:
            row: dict[str, Any] = {"metric": x.metric}
            for name, (value, low, high) in zip(("a", "b", "difference"), x[1:], strict=True):
                row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            row = {n: None if v != v else v for n, v in row.items()}
            found.append({**row, "better": x.better, "says": x.sentence()})
        return found

    def __str__(self) -> str:
        lines = [[x.metric, *map(_text, x[1:]), x.sentence()] for x in self.scores]
        about = f"{self.n:,} test rows; 95 % intervals from {self.draws:,} draws of {self.groups}"
        table = text_table([["metric", "A", "B", "A - B", ""], *lines])
        return f"A: {self.a}\nB: {self.b}\n{about}\n{table.rstrip()}"


def compare(
    a: str | os.PathLike[str], b: str | os.PathLike[str], *, draws: int = 1000, seed: int = 0
) -> Comparison:
    """Compare the test metrics of two runs on the same test set.

    Args:
        a: Path of a run folder or of a file of test predictions.
        b: Path of the other.
        draws: Number of bootstrap samples. Very large test sets use fewer.
        seed: Random seed of the bootstrap.

    Raises:
        RunError: A run has no test predictions, or the test sets differ.
    """
    first, second = _predictions(a), _predictions(b)
    _refuse_other_data(os.fspath(a), os.fspath(b))
    second = _as_in(first, second)
    if first.contigs is None or first.starts is None:
        groups, what = groups_of(None)
    else:
        groups, what = groups_of(first.contigs, first.starts)
    n_groups = numbered(groups, len(first))[1]
    draws = max(100, min(draws, int(MOST / max(1, first.outputs.size))))
    options: dict[str, Any] = {"groups": groups, "draws": draws, "seed": seed}
    scores = tuple(
        Scored(metric, *compared(metric, first.truth, first.outputs, second.outputs, **options))
        for metric in OF_KIND[first.kind]
    )
    said = f"{n_groups:,} {what}"
    if n_groups < MIN_GROUPS:
        said += " (few: the intervals are rough)" if n_groups > 1 else " (no interval from one)"
    return Comparison(os.fspath(a), os.fspath(b), len(first), said, draws, scores)


def _predictions(path: str | os.PathLike[str]) -> Predictions:
    if os.path.isfile(path):
        return read_predictions(path)
    found = predictions_in(path) if os.path.isdir(path) else None
    if found is None:
        best = os.path.join(path, CHECKPOINTS, "best.ckpt")
        where = os.path.join(path, "test")
        raise RunError(
            f"{os.fspath(path)}: has no test predictions; to make them, run: seqmodel run "
            f"--mode=test --load_checkpoint_path={best} --default_root_dir={where}"
        )
    return found


def _refuse_other_data(a: str, b: str) -> None:
    """Raise RunError if the records show that the runs were tested on different files."""
    both = [_test_files(x) for x in (a, b)]
    if all(both) and set(both[0].values()) != set(both[1].values()):
        names = [", ".join(f"{p} (SHA-256 {x[:12]})" for p, x in found.items()) for found in both]
        raise RunError(
            f"{a} and {b} were tested on different data: {names[0]}; {names[1]}; compare runs "
            "that share one test set"
        )


def _test_files(path: str) -> dict[str, str]:
    """Return the SHA-256 of each file with test items of a run; empty if unknown."""
    record = Path(path, RECORD)
    if not record.is_file():
        return {}
    run = read_record(record)["_run"]
    files, digests = (run.get("tested") or {}).get("files") or [], run.get("data") or {}
    found = {p: (digests.get(p) or {}).get("sha256") for p in files}
    return {p: x for p, x in found.items() if x} if all(found.values()) else {}


def _as_in(a: Predictions, b: Predictions) -> Predictions:
    """Return the predictions `b` with the targets in the order of `a`.

    Raises:
        RunError: They belong to other rows or targets.
    """

    def refuse(what: str) -> RunError:
        return RunError(f"{a.path} and {b.path} {what}; compare predictions for the same test rows")

    if sorted(a.targets) != sorted(b.targets) or a.kind != b.kind:
        raise refuse(f"have other targets ({', '.join(a.targets[:5])}; {', '.join(b.targets[:5])})")
    if len(a) != len(b):
        raise refuse(f"have {len(a):,} and {len(b):,} rows")
    order = np.array([b.targets.index(x) for x in a.targets])
    truth = np.argsort(order)[b.truth] if b.truth.ndim == 1 else b.truth[:, order]
    pairs = [(a.row, b.row), (a.truth, truth), (a.contigs, b.contigs), (a.starts, b.starts)]
    if not all(_equal(x, y) for x, y in pairs):
        raise refuse("belong to different rows, or their truth differs")
    return Predictions(
        b.path, a.row, a.kind, a.targets, truth, b.outputs[:, order], a.contigs, a.starts
    )


def _equal(x: np.ndarray | None, y: np.ndarray | None) -> bool:
    if x is None or y is None:
        return x is y
    return np.array_equal(x, y, equal_nan=x.dtype.kind == "f")


def _text(x: Interval) -> str:
    value, low, high = (f"{v:.3f}" if v == v else "-" for v in x)
    return value if low == "-" else f"{value} [{low}, {high}]"
