"""Which hyperparameters matter: how much of the variance of a score each explains by itself.

The measure is omega squared of a one-way analysis of variance (Hays 1963): the share of the
variance that lies between the values of a hyperparameter, corrected for chance. It is 0 for a
hyperparameter without an effect and 1 for one that determines the score. Numbers with many values
are first binned into groups of equal size. Interactions of two hyperparameters are not measured.
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
    """`name`, `share` and `n` (number of runs) of each hyperparameter, the largest share first.

    Args:
        points: the hyperparameters and the score of each run.
        names: the hyperparameters to measure.
    """
    found = []
    for name in names:
        pairs = [(h.get(name), y) for h, y in points if name in h and math.isfinite(y)]
        share = omega_squared([x for x, _ in pairs], [y for _, y in pairs])
        if share is not None:
            found.append({"name": name, "share": round(share, 4), "n": len(pairs)})
    return sorted(found, key=lambda item: -item["share"])


def omega_squared(values: Sequence[Any], scores: Sequence[float]) -> float | None:
    """The share of the variance of the scores that the values explain; None if it is undefined.

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


def together(runs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[str]]:
    """Groups of hyperparameters that vary together, so that their effects cannot be separated.

    In such a group each value of one comes with one value of any other. Where no value is used
    twice, which random values give as well, two numbers must also rise or fall together.

    Args:
        runs: the hyperparameters of each run.
        names: the hyperparameters to compare.
    """
    rows = list(
        {json.dumps([run.get(n) for n in names], sort_keys=True): run for run in runs}.values()
    )
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if _linked([run.get(group[0]) for run in rows], [run.get(name) for run in rows]):
                group.append(name)
                break
        else:
            groups.append([name])
    return [group for group in groups if len(group) > 1]


def _linked(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether the values of `a` and those of `b`, in the same runs, determine each other."""
    keys = [[json.dumps(value, sort_keys=True) for value in values] for values in (a, b)]
    n = len(set(zip(*keys, strict=True)))
    if n < 2 or any(len(set(values)) < n for values in keys):
        return False
    if n < len(a) or not all(map(_is_number, (*a, *b))):
        return True
    rising = [y for _, y in sorted(zip(a, b, strict=True))]
    return rising in (sorted(rising), sorted(rising, reverse=True))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _groups(values: Sequence[Any]) -> list[Any]:
    """A key for each value: the value itself, or the number of its bin."""
    numbers = [v for v in values if _is_number(v)]
    different = sorted(set(numbers))
    if len(numbers) < len(values) or len(different) <= N_BINS:
        return [json.dumps(v, sort_keys=True) for v in values]
    ranked = sorted(numbers)
    edges = [ranked[len(ranked) * i // N_BINS] for i in range(1, N_BINS)]
    return [sum(v >= edge for edge in edges) for v in values]
