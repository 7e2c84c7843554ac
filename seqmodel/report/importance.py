"""Which hyperparameters matter: how much of a score's variance each explains by itself.

Omega squared of a one-way analysis of variance (Hays 1963): the share of the variance between the
values of a hyperparameter, less what chance would give; 0 where it tells nothing, 1 where it
decides. Numbers with many values are cut into groups of equal size first. Effects that need two
hyperparameters at once do not show here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

N_BINS = 5
MIN_RUNS = 4


def importances(
    points: Sequence[tuple[Mapping[str, Any], float]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """`name`, `share` and `n` of runs for each hyperparameter, the most telling first.

    Args:
        points: hyperparameters and score of each run.
        names: the hyperparameters to look at.
    """
    found = []
    for name in names:
        pairs = [(h.get(name), y) for h, y in points if name in h and math.isfinite(y)]
        share = omega_squared([x for x, _ in pairs], [y for _, y in pairs])
        if share is not None:
            found.append({"name": name, "share": round(share, 4), "n": len(pairs)})
    return sorted(found, key=lambda item: -item["share"])


def omega_squared(values: Sequence[Any], scores: Sequence[float]) -> float | None:
    """The share of the scores' variance that the values explain; None if it cannot be told.

    It needs four runs, two different values, and one of these in more than one run.
    """
    groups: dict[Any, list[float]] = {}
    for key, score in zip(_groups(values), scores, strict=True):
        groups.setdefault(key, []).append(score)
    n, k = len(scores), len(groups)
    if n < MIN_RUNS or k < 2 or n == k:
        return None
    mean = math.fsum(scores) / n
    total = math.fsum((y - mean) ** 2 for y in scores)
    if total <= 1e-12 * max(1.0, mean * mean) * n:
        return 0.0
    means = {key: math.fsum(ys) / len(ys) for key, ys in groups.items()}
    between = math.fsum(len(ys) * (means[key] - mean) ** 2 for key, ys in groups.items())
    within = (total - between) / (n - k)
    share = (between - (k - 1) * within) / (total + within)
    return min(1.0, max(0.0, share))


def _groups(values: Sequence[Any]) -> list[Any]:
    """A key for each value: itself, or the fifth of the runs to which a number belongs."""
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    different = sorted(set(numbers))
    if len(numbers) < len(values) or len(different) <= N_BINS:
        return [json.dumps(v, sort_keys=True) for v in values]
    ranked = sorted(numbers)
    edges = [ranked[len(ranked) * i // N_BINS] for i in range(1, N_BINS)]
    return [sum(v >= edge for edge in edges) for v in values]
