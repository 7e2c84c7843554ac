"""Read the test predictions of a run: test_predictions.tsv or .npz.

training/predictions.py writes both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from seqmodel.dataset.label.labels import numbers_of
from seqmodel.dataset.label.table import stream
from seqmodel.errors import LabelError
from seqmodel.files import open_binary, reading
from seqmodel.training.predictions import NAME

NAMES = (f"{NAME}.tsv", f"{NAME}.npz")
_WHERE = ("row", "name", "contig", "start", "end", "strand")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Truth and outputs for the items of a test split.

    Attributes:
        path: Path of the file.
        row: Number of each item in its split, int64 [N].
        kind: "class", "multilabel" or "real". The truth decides between labels and numbers.
        targets: Names of the classes, labels or numbers.
        truth: Class number, int64 [N]; or float64 [N, T], NaN if missing.
        outputs: Probabilities or numbers, float64 [N, C] or [N, T].
        contigs: Contig of each item, [N], if items are intervals.
        starts: 0-based start of each item, int64 [N], if items are intervals.
    """

    path: str
    row: np.ndarray
    kind: str
    targets: tuple[str, ...]
    truth: np.ndarray
    outputs: np.ndarray
    contigs: np.ndarray | None = None
    starts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.row)


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read the predictions of a file.

    Raises:
        LabelError: The file does not contain predictions.
    """
    path = os.fspath(path)
    return _of_arrays(path) if path.lower().endswith(".npz") else _of_table(path)


def predictions_in(folder: str | os.PathLike[str]) -> Predictions | None:
    """Read the predictions in a run folder; None if it has none."""
    paths = (os.path.join(folder, name) for name in NAMES)
    found = next((x for x in paths if os.path.isfile(x)), None)
    return None if found is None else read_predictions(found)


def _of_table(path: str) -> Predictions:
    rows = stream(path, "none" if path.lower().endswith((".tsv", ".tsv.gz")) else "auto")
    header = next(rows, (0, []))[1]
    lines, texts = [], []
    for number, fields in rows:
        if len(fields) != len(header):
            raise LabelError(
                f"{path} line {number}: {len(fields)} columns, but {len(header)} names"
            )
        lines.append(number)
        texts.append(fields)
    columns = dict(zip(header, map(list, zip(*texts, strict=True)), strict=True)) if texts else {}
    is_class = "truth" in columns
    rest = [x for x in header if x not in (*_WHERE, "truth")]
    targets = rest if is_class else [x for x in rest if f"{x}_truth" in header]
    if not columns or not targets:
        raise LabelError(
            f"{path}: no predictions; the file needs the columns truth and one for each class, "
            "or NAME_truth and NAME for each target, as in test_predictions.tsv"
        )

    def where(i: int) -> str:
        return f"{path} line {lines[i]}"

    outputs = np.stack([numbers_of(columns[x], where) for x in targets], axis=1)
    if is_class:
        numbers = {name: i for i, name in enumerate(targets)}
        wrong = next((i for i, x in enumerate(columns["truth"]) if x not in numbers), None)
        if wrong is not None:
            text = columns["truth"][wrong]
            raise LabelError(f"{where(wrong)}: truth {text!r} is not one of {', '.join(targets)}")
        truth = np.array([numbers[x] for x in columns["truth"]], dtype=np.int64)
    else:
        truth = np.stack([numbers_of(columns[f"{x}_truth"], where) for x in targets], axis=1)
    row = numbers_of(columns["row"], where) if "row" in columns else np.arange(len(lines))
    return Predictions(
        path,
        row.astype(np.int64),
        _kind(truth),
        tuple(targets),
        truth,
        outputs,
        contigs=np.array(columns["contig"]) if "contig" in columns else None,
        starts=numbers_of(columns["start"], where).astype(np.int64) if "start" in columns else None,
    )


def _of_arrays(path: str) -> Predictions:
    with (
        open_binary(path, LabelError, empty=False) as file,
        reading(path, LabelError, "npz file"),
        np.load(file) as arrays,
    ):
        found = dict(arrays)
    missing = [x for x in ("row", "targets", "truth", "predictions") if x not in found]
    if missing:
        raise LabelError(f"{path}: not a file of predictions; the array {missing[0]!r} is missing")
    truth = found["truth"]
    return Predictions(
        path,
        found["row"],
        _kind(truth),
        tuple(map(str, found["targets"])),
        truth if truth.ndim == 1 else truth.astype(np.float64),
        found["predictions"].astype(np.float64),
        contigs=found.get("contig"),
        starts=found.get("start"),
    )


def _kind(truth: np.ndarray) -> str:
    if truth.ndim == 1:
        return "class"
    known = truth[~np.isnan(truth)]
    return "multilabel" if ((known == 0) | (known == 1)).all() else "real"
