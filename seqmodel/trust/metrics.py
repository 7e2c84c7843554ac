"""The test metrics of all tasks for many weightings of the same rows at once, in plain numpy.

A metric is prepared once (rows are sorted, or summed by group) and then evaluated for weights of
groups, [D, G], for the bootstrap. With all weights 1 the result equals seqmodel/task/scores.py;
undefined values are NaN here.

Shapes of truth and outputs:

    truth [N] of class numbers, outputs [N, C]        classes; outputs are probabilities
    truth [N, T], outputs [N, T]                      labels (0, 1) or numbers; NaN where unknown
    truth [N], outputs [N]                            one label, or one number

With two classes, F1, AUROC and AUPRC are those of the second class; with more, they are means over
the classes. For labels and numbers, each score is the mean over the targets.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np

from seqmodel.training.curves import N_BINS, bin_of

Evaluate = Callable[[np.ndarray], np.ndarray]
"""From the weights of the groups, float [D, G], to D values; NaN where undefined."""
Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], Evaluate]
"""Prepares: truth, outputs, the group of each row, int [N]."""

CLASSES = ("accuracy", "f1", "mcc", "auroc", "auprc", "log_loss", "brier", "ece")
LABELS = ("auroc", "auprc", "log_loss", "brier", "ece")
NUMBERS = ("mse", "pearson", "spearman")
OF_KIND = {"class": CLASSES, "multilabel": LABELS, "real": NUMBERS}
LOW_IS_GOOD = ("log_loss", "brier", "ece", "mse")


def prepare(
    metric: str | Metric, truth: np.ndarray, outputs: np.ndarray, group: np.ndarray
) -> Evaluate:
    """Return the metric of these rows as a function of the weights of the groups.

    Args:
        metric: Name of a metric, or a function that prepares one.
        truth: See the module's docstring.
        outputs: See the module's docstring.
        group: Number of the group of each row, int [N].

    Raises:
        ValueError: The metric is unknown, or truth and outputs do not fit together.
    """
    truth, outputs = np.asarray(truth), np.asarray(outputs, dtype=np.float64)
    if len(truth) != len(outputs) or len(truth) != len(group):
        raise ValueError(f"{len(truth)} truths, {len(outputs)} outputs, {len(group)} groups")
    if callable(metric):
        return metric(truth, outputs, group)
    if metric not in _METRICS:
        raise ValueError(f"no metric {metric!r}; choose one of {', '.join(_METRICS)}")
    return _METRICS[metric](truth, outputs, group)


def _confusion(of_counts: Callable[[np.ndarray], np.ndarray]) -> Metric:
    """Prepare a metric of the confusion matrices, [D, C, C]."""

    def prepared(truth: np.ndarray, outputs: np.ndarray, group: np.ndarray) -> Evaluate:
        if truth.ndim > 1:
            raise ValueError("accuracy, F1 and MCC are scores of classes, not of multiple labels")
        broken = bool(np.isnan(outputs).any())
        predicted = outputs.argmax(1) if outputs.ndim > 1 else (outputs > 0.5).astype(int)
        n = outputs.shape[1] if outputs.ndim > 1 else 2
        sums = _sums(group, truth.astype(int) * n + predicted, n * n)

        def evaluate(weights: np.ndarray) -> np.ndarray:
            if broken:
                return np.full(len(weights), np.nan)
            return of_counts((weights @ sums).reshape(-1, n, n))

        return evaluate

    return prepared


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return _ratio(np.einsum("dcc->d", counts), counts.sum((1, 2)))


def _f1(counts: np.ndarray) -> np.ndarray:
    both = counts.sum(1) + counts.sum(2)
    each = _ratio(2 * np.einsum("dcc->dc", counts), both)
    return each[:, 1] if counts.shape[1] == 2 else _mean(each.T)


def _mcc(counts: np.ndarray) -> np.ndarray:
    n, true, predicted = counts.sum((1, 2)), counts.sum(2), counts.sum(1)
    covariance = n * np.einsum("dcc->d", counts) - (true * predicted).sum(1)
    spread = n * n - (true * true).sum(1), n * n - (predicted * predicted).sum(1)
    value = _ratio(covariance, np.sqrt(spread[0]) * np.sqrt(spread[1]))
    return np.where(spread[0] == 0, np.nan, np.where(spread[1] == 0, 0.0, value))


def _of_columns(prepare_one: Metric) -> Metric:
    """Prepare the mean of a metric over the targets, or over one-against-rest classes."""

    def prepared(truth: np.ndarray, outputs: np.ndarray, group: np.ndarray) -> Evaluate:
        found, broken = [], False
        for y, p in _columns(truth, outputs):
            known = ~np.isnan(y)
            broken |= bool(np.isnan(p[known]).any())
            found.append(prepare_one(y[known], p[known], group[known]))

        def evaluate(weights: np.ndarray) -> np.ndarray:
            if broken:
                return np.full(len(weights), np.nan)
            return _mean(np.stack([one(weights) for one in found]))

        return evaluate

    return prepared


def _columns(truth: np.ndarray, outputs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield truth and output of each target, float [N]."""
    if outputs.ndim == 1:
        yield truth.astype(np.float64), outputs
    elif truth.ndim == 2:
        yield from zip(truth.T.astype(np.float64), outputs.T, strict=True)
    else:
        for c in [1] if outputs.shape[1] == 2 else range(outputs.shape[1]):
            yield (truth == c).astype(np.float64), outputs[:, c]


def _auroc(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> Evaluate:
    order, starts = _sorted(p)
    positive, group = y[order] > 0.5, group[order]

    def evaluate(weights: np.ndarray) -> np.ndarray:
        of_rows = weights[:, group]
        up = _tied(of_rows * positive, starts)
        down = _tied(of_rows * ~positive, starts)
        n_up, n_down = up.sum(1), down.sum(1)
        below = np.cumsum(down, axis=1)
        below -= down / 2
        return _ratio(np.einsum("dn,dn->d", up, below), n_up * n_down)

    return evaluate


def _auprc(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> Evaluate:
    order, starts = _sorted(-p)
    positive, group = y[order] > 0.5, group[order]

    def evaluate(weights: np.ndarray) -> np.ndarray:
        of_rows = weights[:, group]
        up, seen = _tied(of_rows * positive, starts), _tied(of_rows, starts).cumsum(1)
        n_up, n = up.sum(1), of_rows.sum(1)
        found = np.cumsum(up, axis=1)
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        value = _ratio(np.einsum("dn,dn->d", up, precision), n_up)
        return np.where(n_up == n, np.nan, value)

    return evaluate


def _spearman(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> Evaluate:
    sides = [_sorted(x) for x in (y, p)]
    # number of the group of ties of each row, in the order of the rows
    ties = []
    for order, starts in sides:
        tie = np.zeros(len(order), dtype=np.int64)
        tie[order[starts]] = 1
        number = np.cumsum(tie[order]) - 1
        tie[order] = number
        ties.append(tie)

    def evaluate(weights: np.ndarray) -> np.ndarray:
        of_rows = weights[:, group]
        n = of_rows.sum(1, keepdims=True)
        ranks = []
        for (order, starts), tie in zip(sides, ties, strict=True):
            sums = _tied(of_rows[:, order], starts)
            middle = np.cumsum(sums, axis=1) - sums / 2 - n / 2  # centred
            ranks.append(middle[:, tie])
        xx, yy, xy = (
            np.einsum("dn,dn,dn->d", of_rows, a, b)
            for a, b in ((ranks[0],) * 2, (ranks[1],) * 2, ranks)
        )
        return _ratio(xy, np.sqrt(xx) * np.sqrt(yy))

    return evaluate


def _pearson(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> Evaluate:
    x, y = _standard(p), _standard(y)
    sums = np.stack([_total(group, v) for v in (np.ones(len(x)), x, y, x * x, y * y, x * y)], 1)

    def evaluate(weights: np.ndarray) -> np.ndarray:
        n, sx, sy, xx, yy, xy = (_pad(weights, sums) @ sums).T
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = xx / n - (sx / n) ** 2, yy / n - (sy / n) ** 2
            value = (xy / n - sx / n * sy / n) / np.sqrt(spread[0] * spread[1])
        # only rounding, if one side is constant
        return np.where(np.minimum(*spread) > 1e-12, np.clip(value, -1, 1), np.nan)

    return evaluate


def _mean_of(each: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Metric:
    """Prepare a metric that is the mean over rows."""

    def prepared(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> Evaluate:
        sums = np.stack([_total(group, each(y, p)), _total(group, np.ones(len(y)))], axis=1)

        def evaluate(weights: np.ndarray) -> np.ndarray:
            return _ratio(*(_pad(weights, sums) @ sums).T)

        return evaluate

    return prepared


def _of_classes(each: Callable[[np.ndarray, np.ndarray], np.ndarray], labels: Metric) -> Metric:
    """Prepare the mean over rows of `each` for classes, or of `labels` for labels."""

    def prepared(truth: np.ndarray, outputs: np.ndarray, group: np.ndarray) -> Evaluate:
        if truth.ndim > 1 or outputs.ndim == 1:
            return labels(truth, outputs, group)
        return _mean_of(each)(truth.astype(int), outputs, group)

    return prepared


def _class_log_loss(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(outputs[np.arange(len(truth)), truth], 1e-12, None))


def _class_brier(truth: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    # as scikit-learn does: with two classes one is counted, with more all
    n = outputs.shape[1]
    squares = np.square(outputs - np.eye(n)[truth]).sum(1)
    return squares / 2 if n == 2 else squares


def _label_log_loss(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return -(y * np.log(p) + (1 - y) * np.log1p(-p))


def _ece_of_label(y: np.ndarray, p: np.ndarray, group: np.ndarray) -> Evaluate:
    sums = _sums(group, bin_of(p), N_BINS, y - p)
    n = _total(group, np.ones(len(y)))

    def evaluate(weights: np.ndarray) -> np.ndarray:
        return _ratio(np.abs(_pad(weights, sums) @ sums).sum(1), _pad(weights, n) @ n)

    return evaluate


def _ece(truth: np.ndarray, outputs: np.ndarray, group: np.ndarray) -> Evaluate:
    if truth.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 2:
        right, confidence = outputs.argmax(1) == truth, outputs.max(1)
        return _of_columns(_ece_of_label)(right.astype(float), confidence, group)
    return _of_columns(_ece_of_label)(truth, outputs, group)


_METRICS: dict[str, Metric] = {
    "accuracy": _confusion(_accuracy),
    "f1": _confusion(_f1),
    "mcc": _confusion(_mcc),
    "auroc": _of_columns(_auroc),
    "auprc": _of_columns(_auprc),
    "log_loss": _of_classes(_class_log_loss, _of_columns(_mean_of(_label_log_loss))),
    "brier": _of_classes(_class_brier, _of_columns(_mean_of(lambda y, p: np.square(y - p)))),
    "ece": _ece,
    "mse": _of_columns(_mean_of(lambda y, p: np.square(y - p))),
    "pearson": _of_columns(_pearson),
    "spearman": _of_columns(_spearman),
}


def _sorted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorting order of `x` and the starts of equal values in it."""
    order = np.argsort(x, kind="stable")
    x = x[order]
    return order, np.flatnonzero(np.r_[True, x[1:] != x[:-1]][: len(x)])


def _tied(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum over equal values, [D, n] to [D, m]."""
    if len(starts) == values.shape[1]:
        return values.astype(np.float64, copy=False)
    return np.add.reduceat(values, starts, axis=1, dtype=np.float64)


def _sums(
    group: np.ndarray, kind: np.ndarray, n: int, values: np.ndarray | None = None
) -> np.ndarray:
    """Count rows, or sum `values`, by group and kind, [G, n]."""
    n_groups = int(group.max(initial=-1)) + 1
    flat = np.bincount(group * n + kind, values, minlength=n_groups * n)
    return flat.reshape(n_groups, n).astype(np.float64)


def _total(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.bincount(group, values)


def _pad(weights: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Return the weights of the groups that have rows; the last groups may have no known target."""
    return weights[:, : len(sums)]


def _standard(x: np.ndarray) -> np.ndarray:
    if not len(x) or (x == x[0]).all():  # the mean of equal numbers is not always that number
        return np.zeros(len(x))
    return (x - x.mean()) / x.std()


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b; NaN where b is 0."""
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b != 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the defined values over the first axis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=0)
