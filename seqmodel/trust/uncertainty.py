"""Bootstrap intervals of test metrics and of the difference between two models.

Rows of one contig and similar sequences are not independent, so each draw takes whole groups with
replacement. The ends are percentiles of the draws, slightly wider than 2.5 and 97.5 % for few
groups (the "expanded percentile interval" of Hesterberg, The American Statistician 2015).

An interval does not include the variance between trainings (see `results --grouped`) or the
difference between the test set and later uses of the model. A metric at its limit (all right or all
wrong) has an interval of width 0, because all draws are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from seqmodel.trust.metrics import OF_KIND, Evaluate, Metric, prepare
from seqmodel.trust.student import t_quantile

BANDS = {"none": 0.0, "< 0.2": 0.2, "0.2-0.5": 0.5, "0.5-0.8": 0.8, ">= 0.8": 2.0}
"""Bands of containment, and where each ends; its end belongs to the next."""
SIMILAR = 0.2
MIN_GROUPS = 20
BLOCKS = {"1 Mb": 1_000_000, "100 kb": 100_000, "10 kb": 10_000}
_CHUNK = 1 << 22  # weights of rows in memory at once


class Interval(NamedTuple):
    """A value and its 95 % interval; undefined values are NaN."""

    value: float
    low: float
    high: float


def interval(
    metric: str | Metric,
    truth: np.ndarray,
    outputs: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return a metric of the rows with its 95 % interval.

    Args:
        metric: Name from metrics.OF_KIND, or a function that prepares a metric (see metrics.py).
        truth: Class numbers [N]; or labels or numbers [N, T], NaN if unknown.
        outputs: Probabilities [N, C]; or probabilities or numbers [N, T].
        groups: Group of each row, [N], of any type. Rows of one group are drawn together. None
            means that each row is a group.
        draws: Number of bootstrap samples.
        seed: Random seed of the bootstrap.
    """
    group, n_groups = numbered(groups, len(truth))
    evaluate = prepare(metric, truth, outputs, group)
    values, drawn = _drawn([evaluate], group, n_groups, draws, seed)
    return _ends(values[0], drawn[0], n_groups, reflected=metric == "ece")


def paired(
    metric: str | Metric,
    truth: np.ndarray,
    outputs: np.ndarray,
    others: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the metric of `outputs` minus that of `others`, with its 95 % interval.

    Args:
        metric: See `interval`.
        truth: See `interval`.
        outputs: See `interval`.
        others: Outputs of another model or of a baseline for the same rows.
        groups: See `interval`.
        draws: Number of bootstrap samples.
        seed: Random seed of the bootstrap.
    """
    return compared(metric, truth, outputs, others, groups, draws, seed)[2]


def compared(
    metric: str | Metric,
    truth: np.ndarray,
    outputs: np.ndarray,
    others: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Interval, Interval, Interval]:
    """Return both intervals and the paired difference, all from the same draws."""
    group, n_groups = numbered(groups, len(truth))
    both = [prepare(metric, truth, x, group) for x in (outputs, others)]
    values, drawn = _drawn(both, group, n_groups, draws, seed)
    one, two = (
        _ends(v, d, n_groups, reflected=metric == "ece") for v, d in zip(values, drawn, strict=True)
    )
    return one, two, _ends(values[0] - values[1], drawn[0] - drawn[1], n_groups)


def intervals(
    kind: str,
    truth: np.ndarray,
    outputs: np.ndarray,
    groups: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return each test metric of a kind of targets ("class", "multilabel", "real"), by name."""
    return {
        name: interval(name, truth, outputs, groups, draws, seed) for name in OF_KIND.get(kind, ())
    }


def by_containment(
    metric: str | Metric,
    truth: np.ndarray,
    outputs: np.ndarray,
    containment: np.ndarray,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the metric and its interval for each band of similarity to train.

    Args:
        metric: See `interval`.
        truth: See `interval`.
        outputs: See `interval`.
        containment: Containment of each row in train (see similarity.py); NaN for rows without
            k-mers, which are in no band.
        **options: groups, draws and seed; see `interval`.

    Returns:
        A dict for each band: `band`, `n` (rows), `value`, `low`, `high`; None if undefined.
    """
    # rows without a k-mer in train have their own band
    band = np.where(containment > 0, np.digitize(containment, list(BANDS.values())), 0)
    band[np.isnan(containment)] = -1
    return [
        {"band": name, **clean(metric, truth, outputs, band != i, **options)}
        for i, name in enumerate(BANDS)
    ]


def clean(
    metric: str | Metric,
    truth: np.ndarray,
    outputs: np.ndarray,
    dirty: np.ndarray,
    groups: np.ndarray | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Return the metric and its interval for the rows that are not `dirty`.

    Args:
        metric: See `interval`.
        truth: See `interval`.
        outputs: See `interval`.
        dirty: Rows to leave out, such as duplicates and similar rows, bool [N].
        groups: See `interval`.
        **options: draws and seed; see `interval`.

    Returns:
        `n` (rows), `value`, `low` and `high`; None if undefined.
    """
    kept = ~np.asarray(dirty, dtype=bool)
    if not kept.any():
        return {"n": 0, "value": None, "low": None, "high": None}
    chosen = None if groups is None else np.asarray(groups)[kept]
    found = interval(metric, np.asarray(truth)[kept], np.asarray(outputs)[kept], chosen, **options)
    return {"n": int(kept.sum()), **_plain(found)}


def groups_of(
    contigs: Sequence[Any] | np.ndarray | None,
    starts: np.ndarray | None = None,
    components: np.ndarray | None = None,
) -> tuple[np.ndarray | None, str]:
    """Return the groups to draw and their name: "contigs", "blocks of 1 Mb", "components", "rows".

    Blocks have the largest size of 1 Mb, 100 kb and 10 kb that gives at least 20 blocks.

    Args:
        contigs: Contig of each row, [N]; None for tables.
        starts: Start of each row, [N]; None for tables.
        components: Component of similar rows of each row of a table, [N]; None if unknown.
    """
    if contigs is None or starts is None:
        return (None, "rows") if components is None else (np.asarray(components), "components")
    contig, n = numbered(contigs, len(contigs))
    if n >= MIN_GROUPS:
        return contig, "contigs"
    for name, size in BLOCKS.items():
        block = np.asarray(starts, dtype=np.int64) // size
        groups, n = numbered(contig * (int(block.max(initial=0)) + 1) + block, len(contig))
        what = f"blocks of {name}"
        if n >= MIN_GROUPS:
            break
    return groups, what


def numbered(groups: Any, n_rows: int) -> tuple[np.ndarray, int]:
    """Number the groups from 0, int64 [N], and count them.

    Raises:
        ValueError: The number of groups differs from the number of rows.
    """
    if groups is None:
        return np.arange(n_rows), n_rows
    if len(groups) != n_rows:
        raise ValueError(f"{len(groups)} groups for {n_rows} rows")
    names, number = np.unique(np.asarray(groups), return_inverse=True)
    return number.reshape(-1), len(names)


def as_json(found: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Convert intervals to plain values, with None for NaN."""
    return {name: _plain(x) for name, x in found.items()}


def _plain(x: Interval) -> dict[str, float | None]:
    return {name: None if v != v else v for name, v in x._asdict().items()}


def _drawn(
    evaluates: Sequence[Evaluate], group: np.ndarray, n_groups: int, draws: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluate each function on all rows, [k], and on each draw, [k, draws]."""
    if not n_groups:
        return np.full(len(evaluates), np.nan), np.empty((len(evaluates), 0))
    values = np.array([float(one(np.ones((1, n_groups)))[0]) for one in evaluates])
    if n_groups < 2 or np.isnan(values).all():
        return values, np.empty((len(evaluates), 0))
    rng, at_once = np.random.default_rng(seed), max(1, _CHUNK // max(len(group), n_groups))
    found = []
    for start in range(0, draws, at_once):
        weights = _weights(rng, min(at_once, draws - start), n_groups)
        found.append(np.stack([one(weights) for one in evaluates]))
    return values, np.concatenate(found, axis=1)


def _ends(value: float, drawn: np.ndarray, n_groups: int, *, reflected: bool = False) -> Interval:
    """Return the interval of a value from its values in the draws."""
    known = drawn[~np.isnan(drawn)]
    # most draws have one class only; the ends would come from the others
    if value != value or not len(drawn) or len(known) < len(drawn) / 2:
        return Interval(float(value), float("nan"), float("nan"))
    low, high = (float(x) for x in np.quantile(known, _levels(n_groups)))
    if reflected:  # draws add noise to each bin of ECE, as the test set did; ECE is at least 0
        low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
    return Interval(float(value), low, high)


def _weights(rng: np.random.Generator, n: int, n_groups: int) -> np.ndarray:
    """Draw `n` times; return how often each group is in each draw, [n, G]."""
    chosen = rng.integers(0, n_groups, (n, n_groups)) + n_groups * np.arange(n)[:, None]
    counts = np.bincount(chosen.reshape(-1), minlength=n * n_groups)
    return counts.reshape(n, n_groups).astype(np.float64)


def _levels(n_groups: int) -> tuple[float, float]:
    """Return the quantiles for the ends: the expanded percentiles for this number of groups."""
    t = t_quantile(0.975, n_groups - 1)
    level = NormalDist().cdf(-t * sqrt(n_groups / (n_groups - 1)))
    return level, 1 - level
