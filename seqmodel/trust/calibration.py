"""Calibration: predicted probabilities that match observed frequencies.

A calibration is fitted on the validation split alone, by maximum likelihood: one temperature for
`classify` (Guo et al. 2017), a scale and a shift for each label of `multilabel` (Platt 1999, with
his targets slightly inside 0 and 1). The ranking of the outputs of a target does not change, unless
it was worse than chance and Platt's scale is negative.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from seqmodel import VERSION
from seqmodel.errors import HparamError, RunError
from seqmodel.hparam.resolve import resolve
from seqmodel.infer.calibrated import Calibration, write_calibration
from seqmodel.record.folder import CHECKPOINTS
from seqmodel.training.build import build
from seqmodel.trust.uncertainty import as_json, interval

if TYPE_CHECKING:
    from seqmodel.training.build import Parts

METHODS = {"classify": "temperature", "multilabel": "platt"}
SCORES = ("log_loss", "brier", "ece")
FEW = 200  # a calibration on fewer validation rows is rough
_SCALES = (1e-3, 1e3)


class Calibrated(NamedTuple):
    """The result of `calibrate`: the file and its content."""

    path: str
    about: dict[str, Any]

    def __str__(self) -> str:
        x = self.about
        what = f"temperature {1 / x['scale'][0]:.4g}"
        if x["method"] == "platt":
            what = f"scale and shift of {len(x['scale'])} labels"
        scores = ", ".join(
            f"{name} {x['before'][name]['value']:.4f} -> {x['after'][name]['value']:.4f}"
            for name in SCORES
        )
        return f"{self.path}: {what}; on the {x['n']:,} rows of the valid split {scores}"


def calibrate(
    checkpoint: str | os.PathLike[str] | None = None,
    *,
    run: str | os.PathLike[str] | None = None,
    **data: Any,
) -> Calibrated:
    """Calibrate a checkpoint of `classify` or `multilabel` and write calibration.json beside it.

    Args:
        checkpoint: Path of the checkpoint. None means the best checkpoint of `run`.
        run: Path of a run folder.
        **data: Hyperparameters of the data that replace those in the checkpoint.

    Raises:
        HparamError: The task has no probabilities to calibrate, or no checkpoint is given.
        RunError: The data have no valid split.
    """
    path = _checkpoint(checkpoint, run)
    resolved = resolve({**data, "mode": "test", "load_checkpoint_path": path})
    task = resolved.values.task
    if task not in METHODS:
        raise HparamError(
            f"{path}: a model of the task {task} cannot be calibrated; calibrate supports "
            f"{' and '.join(METHODS)}, whose outputs are probabilities of labels"
        )
    parts = build(resolved)
    if "valid" not in parts.data.splits:
        raise RunError(
            f"the data have no valid split, only {', '.join(parts.data.splits)}; a calibration is "
            "fitted on valid only; add --valid_files or another option that splits the data"
        )
    logits, truth = _outputs(parts, gpu=resolved.values.accelerator != "cpu")
    found = temperature(logits, truth) if task == "classify" else platt(logits, truth)
    about = {
        "method": METHODS[task],
        "targets": list(parts.data.targets.names),
        "n": len(truth),
        "files": parts.data.files_of("valid"),
        "seqmodel": VERSION,
        "before": _scores(logits, truth),
        "after": _scores(applied(found, logits), truth),
    }
    if len(truth) < FEW:
        warnings.warn(f"calibrated on only {len(truth)} rows; the result is rough", stacklevel=2)
    if min(found.scale) < 2 * _SCALES[0]:
        warnings.warn(
            "the outputs separate the classes of the valid split no better than chance; the "
            "calibrated probabilities are nearly constant or in reverse order",
            stacklevel=2,
        )
    written = write_calibration(path, found, about)
    return Calibrated(written, {**found._asdict(), **about})


def temperature(logits: np.ndarray, truth: np.ndarray) -> Calibration:
    """Return the scale (1 / temperature) that maximises the likelihood of the true classes.

    The slope of the loss increases with the scale, so bisection finds its zero.

    Args:
        logits: [N, C].
        truth: Numbers of the classes, [N].
    """
    z = logits - logits[np.arange(len(truth)), truth][:, None]
    low, high = np.log(_SCALES)
    for _ in range(60):
        middle = (low + high) / 2
        p = _softmax(np.exp(middle) * z)
        if (p * z).sum() > 0:
            high = middle
        else:
            low = middle
    return Calibration([float(np.exp((low + high) / 2))], [0.0])


def platt(logits: np.ndarray, truth: np.ndarray) -> Calibration:
    """Return scale and shift of each label; 1 and 0 if all values of the label are equal.

    Args:
        logits: [N, T].
        truth: 0 or 1, NaN if unknown, [N, T].
    """
    found = []
    for x, y in zip(logits.T, truth.T, strict=True):
        known = ~np.isnan(y)
        found.append(_platt(x[known], y[known] > 0.5))
    return Calibration([float(a) for a, _ in found], [float(b) for _, b in found])


def _platt(x: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    n_up = int(positive.sum())
    n_down = len(positive) - n_up
    if not n_up or not n_down or (x == x[0]).all():
        return 1.0, 0.0
    y = np.where(positive, (n_up + 1) / (n_up + 2), 1 / (n_down + 2))
    middle, spread = x.mean(), x.std()
    columns = np.stack([(x - middle) / spread, np.ones(len(x))], 1)
    w = np.zeros(2)
    loss = _loss(columns @ w, y)
    for _ in range(100):  # Newton's method; the loss is convex
        p = _sigmoid(columns @ w)
        gradient = columns.T @ (p - y)
        hessian = (columns * (p * (1 - p))[:, None]).T @ columns + 1e-12 * np.eye(2)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-6 and _loss(columns @ (w - size * step), y) > loss:
            size /= 2
        w = w - size * step
        before, loss = loss, _loss(columns @ w, y)
        if abs(before - loss) <= 1e-12 * abs(before):
            break
    return w[0] / spread, w[1] - w[0] * middle / spread


def applied(found: Calibration, logits: np.ndarray) -> np.ndarray:
    """Return the calibrated logits."""
    return logits * np.array(found.scale) + np.array(found.shift)


def _scores(logits: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float | None]]:
    p = _softmax(logits) if truth.ndim == 1 else _sigmoid(logits)
    return as_json({name: interval(name, truth, p) for name in SCORES})


def _outputs(parts: Parts, *, gpu: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits and targets of the valid split."""
    device = torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")
    task = parts.task.to(device).eval()
    found = []
    with torch.no_grad():
        for batch in parts.data.loader("valid", train=False):
            scored = task.score({name: x.to(device) for name, x in batch.items()})
            found.append((scored.outputs.cpu(), scored.target.cpu()))
    outputs, truth = (torch.cat(x).numpy() for x in zip(*found, strict=True))
    return outputs.astype(np.float64), truth


def _checkpoint(
    checkpoint: str | os.PathLike[str] | None, run: str | os.PathLike[str] | None
) -> str:
    if (checkpoint is None) == (run is None):
        raise HparamError(
            "calibrate takes one checkpoint, or --run=FOLDER for the best of that run"
        )
    if checkpoint is not None:
        return os.fspath(checkpoint)
    return os.path.join(os.fspath(str(run)), CHECKPOINTS, "best.ckpt")


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))


def _loss(z: np.ndarray, y: np.ndarray) -> float:
    return float((np.logaddexp(0, z) - y * z).sum())
