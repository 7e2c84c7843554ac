"""The space of a search: ranges by type, their product, and random draws.

    space = {"lr": log_uniform(1e-5, 1e-2), "encoder": ["cnn", "transformer"],
             "n_heads": choice([2, 4, 8]).when(encoder="transformer")}

A draw is a pure function of (seed, index, name): it does not depend on the host, on the number of
draws, or on other hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seqmodel.errors import HparamError

Point = dict[str, Any]
DIGITS = 5  # of drawn numbers: names are readable, and the last bit of a logarithm does not matter


class Range:
    """The values that one hyperparameter may take.

    Attributes:
        conditions: Values of other hyperparameters, by name, for which this one is set.
    """

    kind = ""

    def __init__(self) -> None:
        self.conditions: dict[str, list[Any]] = {}

    def when(self, **conditions: object) -> Range:
        """Return this range, used if other hyperparameters have these values (one or a list)."""
        for name, value in conditions.items():
            self.conditions[name] = list(value) if isinstance(value, (list, tuple)) else [value]
        return self

    def draw(self, u: float) -> Any:
        """Return the value for a random number `u` in [0, 1)."""
        raise NotImplementedError

    def to_list(self) -> list[Any]:
        """Return the kind and the bounds, for a record."""
        raise NotImplementedError

    def __repr__(self) -> str:
        kind, *bounds = self.to_list()
        text = f"{kind}({', '.join(map(repr, bounds))})"
        conditions = ", ".join(f"{n}={v!r}" for n, v in self.conditions.items())
        return f"{text}.when({conditions})" if conditions else text


class Uniform(Range):
    """Numbers in [lo, hi]; with `log`, their logarithms are uniform."""

    def __init__(self, lo: float, hi: float, *, log: bool = False) -> None:
        super().__init__()
        _check_bounds(lo, hi, log)
        self.lo, self.hi, self.log = float(lo), float(hi), log

    def draw(self, u: float) -> float:
        """Draw uniformly, or by logarithm; rounded to DIGITS digits."""
        if self.log:
            lo, hi = math.log(self.lo), math.log(self.hi)
            value = math.exp(lo + u * (hi - lo))
        else:
            value = self.lo + u * (self.hi - self.lo)
        return min(self.hi, max(self.lo, float(f"{value:.{DIGITS}g}")))

    def to_list(self) -> list[Any]:
        """Return the kind and the bounds."""
        return ["log_uniform" if self.log else "uniform", self.lo, self.hi]


class Integer(Range):
    """Integers from lo to hi, both included; with `log`, their logarithms are uniform."""

    def __init__(self, lo: int, hi: int, *, log: bool = False) -> None:
        super().__init__()
        _check_bounds(lo, hi, log)
        if int(lo) != lo or int(hi) != hi:
            raise HparamError(f"integer({lo!r}, {hi!r}): both ends must be integers")
        self.lo, self.hi, self.log = int(lo), int(hi), log

    def draw(self, u: float) -> int:
        """Draw each with the same probability, or by logarithm."""
        if not self.log:
            return min(self.hi, self.lo + int(u * (self.hi - self.lo + 1)))
        lo, hi = math.log(self.lo - 0.5), math.log(self.hi + 0.5)
        return min(self.hi, max(self.lo, round(float(f"{math.exp(lo + u * (hi - lo)):.9g}"))))

    def to_list(self) -> list[Any]:
        """Return the kind and the bounds."""
        return ["integer_log" if self.log else "integer", self.lo, self.hi]


class Choice(Range):
    """One of a list of values."""

    def __init__(self, values: Sequence[Any]) -> None:
        super().__init__()
        self.values = list(values)
        if not self.values:
            raise HparamError("a choice has no values: give at least one")

    def draw(self, u: float) -> Any:
        """Draw each with the same probability."""
        return self.values[min(len(self.values) - 1, int(u * len(self.values)))]

    def to_list(self) -> list[Any]:
        """Return the kind and the values."""
        return ["choice", *self.values]


def uniform(lo: float, hi: float) -> Range:
    """Return a range of numbers that are uniform in [lo, hi]."""
    return Uniform(lo, hi)


def log_uniform(lo: float, hi: float) -> Range:
    """Return a range of numbers in [lo, hi] whose logarithms are uniform."""
    return Uniform(lo, hi, log=True)


def integer(lo: int, hi: int, *, log: bool = False) -> Range:
    """Return a range of integers from lo to hi, both included."""
    return Integer(lo, hi, log=log)


def choice(values: Sequence[object]) -> Range:
    """Return a range that is one of `values`."""
    return Choice(values)


class Space:
    """Ranges by name, each after those that it depends on.

    Searched values override the base; the base is used if a condition does not hold.

    Raises:
        HparamError: Conditions form a circle, or name a hyperparameter that is not set.
    """

    def __init__(self, space: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        ranges = {name: _range(name, given) for name, given in space.items()}
        self.base = dict(base)
        self.ranges = {name: ranges[name] for name in _in_order(ranges, base)}

    def is_set(self, name: str, point: Mapping[str, object]) -> bool:
        """Return whether the conditions of `name` hold."""
        values = {**self.base, **point}
        return all(
            other in values and values[other] in wanted
            for other, wanted in self.ranges[name].conditions.items()
        )

    def grid(self) -> Iterator[Point]:
        """Return the product of all values; the last name changes fastest.

        Raises:
            HparamError: A range is not a list of values.
        """
        points: list[Point] = [{}]
        for name, found in self.ranges.items():
            if not isinstance(found, Choice):
                raise HparamError(f"a grid needs a list of values for {name!r}, got {found!r}")
            points = [
                {**point, name: value} if self.is_set(name, point) else point
                for point in points
                for value in (found.values if self.is_set(name, point) else [None])
            ]
        yield from points

    def random(self, n: int, seed: int) -> Iterator[Point]:
        """Return the first `n` points of the sequence of `seed`."""
        for index in range(n):
            point: Point = {}
            for name, found in self.ranges.items():
                if self.is_set(name, point):
                    point[name] = found.draw(random_number(seed, index, name))
            yield point

    def to_dict(self) -> dict[str, Any]:
        """Return [kind, bounds..., conditions] by name, for a record."""
        return {n: {"range": r.to_list(), "when": r.conditions} for n, r in self.ranges.items()}


def random_number(*words: object) -> float:
    """Return a number in [0, 1) from the SHA-256 of the words: 53 bits, the same on any host."""
    from hashlib import sha256

    digest = sha256("\0".join(map(str, words)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _range(name: str, given: Any) -> Range:
    if isinstance(given, Range):
        return given
    if isinstance(given, (list, tuple)):
        return Choice(given)
    if isinstance(given, range):
        return Choice(list(given))
    raise HparamError(
        f"{name!r}: a search needs a list of values or a range (uniform, log_uniform, integer, "
        f"choice), got {given!r}; put fixed values into the base"
    )


def _in_order(ranges: Mapping[str, Range], base: Mapping[str, object]) -> list[str]:
    done: list[str] = []
    waiting = list(ranges)
    while waiting:
        for name in waiting:
            needed = ranges[name].conditions
            unknown = [n for n in needed if n not in ranges and n not in base]
            if unknown:
                raise HparamError(
                    f"{name!r} depends on {unknown[0]!r}, which is neither fixed nor searched"
                )
            if all(n in done or n not in ranges for n in needed):
                break
        else:
            raise HparamError(f"conditions form a circle: {', '.join(waiting)}; remove one of them")
        waiting.remove(name)
        done.append(name)
    return done


def _check_bounds(lo: float, hi: float, log: bool) -> None:
    numbers = all(isinstance(v, (int, float)) and math.isfinite(v) for v in (lo, hi))
    if not numbers or lo > hi:
        raise HparamError(f"a range from {lo!r} to {hi!r}: give two numbers, the lower one first")
    if log and lo <= 0:
        raise HparamError(f"a logarithmic range from {lo!r}: the lower end must be above 0")
