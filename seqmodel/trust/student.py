"""Student's t distribution, for intervals of few values. Light: the standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence


def t_quantile(p: float, n_free: int) -> float:
    """Return the `p` quantile of the t distribution with `n_free` degrees of freedom.

    Bisection of the finite series of Abramowitz & Stegun, 26.7.3 and 26.7.4.

    Raises:
        ValueError: p is not between 0 and 1, or n_free is less than 1.
    """
    if not 0 < p < 1 or n_free < 1:
        raise ValueError(f"p={p}, n_free={n_free}: p must be in (0, 1) and n_free at least 1")
    if p < 0.5:
        return -t_quantile(1 - p, n_free)
    low, high = 0.0, math.pi / 2  # cosine and sine of the angle whose tangent is t / sqrt(n_free)
    for _ in range(60):
        middle = (low + high) / 2
        if 0.5 + _between(middle, n_free) / 2 < p:
            low = middle
        else:
            high = middle
    return math.tan(low) * math.sqrt(n_free)


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return both ends of the t interval of the mean; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1))
    half = t_quantile((1 + level) / 2, n - 1) * sd / math.sqrt(n)
    return mean - half, mean + half


def _between(angle: float, n_free: int) -> float:
    """Return the probability of a value between -t and t."""
    sine, cosine = math.sin(angle), math.cos(angle)
    if n_free > 400:  # nearly normal; error below 1e-6
        t = math.tan(angle) * math.sqrt(n_free)
        z = t * (1 - 1 / (4 * n_free)) / math.sqrt(1 + t * t / (2 * n_free))
        return math.erf(z / math.sqrt(2))
    odd = n_free % 2
    term = cosine if odd else 1.0
    total = term if n_free > 1 else 0.0
    for k in range(3 if odd else 2, n_free - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
