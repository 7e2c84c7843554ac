"""Compute the curves of the test predictions that a run keeps for the report.

The run writes them as test_curves.json: ROC, precision and recall, reliability, a confusion matrix,
or a scatter plot. Curves are thinned to a few hundred points, scatter plots to a few thousand; the
scores themselves are computed from all values elsewhere (task/scores.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

SCHEMA = 1
MAX_POINTS = 200  # most points of a curve
MAX_SCATTER = 2000
MAX_TARGETS = 12  # most targets whose curves are kept
N_BINS = 10  # bins of probability in a reliability diagram


def curves(
    kind: str | None, names: Sequence[str], outputs: np.ndarray, target: np.ndarray
) -> dict[str, Any]:
    """Return the curves as plain values for JSON; empty if nothing can be drawn.

    Args:
        kind: Kind of the targets: "class", "multilabel" or "real".
        names: Names of the classes, labels or numbers.
        outputs: Probabilities of classes or labels, or predicted numbers, float [N, T].
        target: Classes, int [N], or labels or numbers, float [N, T]; NaN means unknown.
    """
    if kind not in ("class", "multilabel", "real") or not len(target):
        return {}
    found: dict[str, Any] = {"schema": SCHEMA, "kind": kind, "names": list(names), "n": len(target)}
    if kind == "class":
        found["confusion"] = _confusion(outputs, target, len(names))
        target = np.eye(len(names))[target]
    if kind == "real":
        columns = list(zip(names, outputs.T, target.T, strict=True))[:MAX_TARGETS]
        return found | {"scatter": {name: _scatter(p, y) for name, p, y in columns}}
    chosen = range(len(names))[:MAX_TARGETS]
    if kind == "class" and len(names) == 2:
        chosen = range(1, 2)  # the other class has the same curve
    found |= {"roc": {}, "pr": {}, "reliability": {}}
    for i in chosen:
        known = ~np.isnan(target[:, i])
        y, p = target[known, i] > 0.5, outputs[known, i]
        if len(y):
            table = reliability(y, p)
            found["reliability"][names[i]] = {n: _short(values) for n, values in table.items()}
        if 0 < y.sum() < len(y):  # otherwise neither curve is defined
            found["roc"][names[i]], found["pr"][names[i]] = _ranking(p, y)
    return found


def reliability(y: np.ndarray, p: np.ndarray, n_bins: int = N_BINS) -> dict[str, np.ndarray]:
    """Return mean probability, proportion of positives and n of each nonempty probability bin.

    Args:
        y: Labels, bool or 0 and 1, [N].
        p: Probability of 1, [N].
        n_bins: Number of bins of equal width.
    """
    which = bin_of(p, n_bins)
    n = np.bincount(which, minlength=n_bins)
    sums = [np.bincount(which, values, n_bins)[n > 0] for values in (p, y)]
    n = n[n > 0]
    return {"predicted": sums[0] / n, "observed": sums[1] / n, "n": n}


def bin_of(p: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Return the number of the bin of each probability: [0, 0.1], (0.1, 0.2], ..."""
    return np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], p)


def _confusion(outputs: np.ndarray, target: np.ndarray, n: int) -> list[list[int]]:
    """Return the confusion matrix; rows are true classes, columns are predicted classes."""
    flat = np.bincount(target * n + outputs.argmax(1), minlength=n * n)
    return flat.reshape(n, n).tolist()


def _ranking(p: np.ndarray, y: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the ROC and precision-recall curves, from the highest threshold, with their areas.

    The trapezoidal rule gives the area of the ROC curve. The area of precision and recall is the
    average precision: the sum of each rise in recall times its precision. Both use all points.
    """
    order = np.argsort(-p, kind="stable")
    p, y = p[order], y[order]
    last = np.r_[p[1:] != p[:-1], True]  # equal outputs are one threshold
    true, all_ = np.cumsum(y)[last], (np.arange(len(y)) + 1)[last]
    recall, fpr = true / true[-1], (all_ - true) / (len(y) - true[-1])
    precision = true / all_
    roc = {"fpr": np.r_[0.0, fpr], "tpr": np.r_[0.0, recall]}
    pr = {"recall": recall, "precision": precision}
    auroc = np.trapezoid(roc["tpr"], roc["fpr"])
    average_precision = np.diff(recall, prepend=0.0) @ precision
    return (
        {**_thinned(roc), "area": float(auroc)},
        {**_thinned(pr), "area": float(average_precision)},
    )


def _thinned(columns: dict[str, np.ndarray]) -> dict[str, list[float]]:
    n = len(next(iter(columns.values())))
    kept = np.unique(np.linspace(0, n - 1, min(n, MAX_POINTS)).round().astype(int))
    return {name: _short(values[kept]) for name, values in columns.items()}


def _scatter(p: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    known = np.flatnonzero(np.isfinite(y) & np.isfinite(p))
    kept = known[np.unique(np.linspace(0, len(known) - 1, MAX_SCATTER).round().astype(int))]
    if len(known) <= MAX_SCATTER:
        kept = known
    return {"target": _short(y[kept]), "predicted": _short(p[kept])}


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
