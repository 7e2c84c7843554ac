"""The types of hyperparameter values: text to value, value to text, bounds.

Each type is a callable, as in argparse: it takes the text of a command line or a value of a config
file and returns the value, or raises ArgumentTypeError with what is valid and what it received.
`text` is its inverse: type(type.text(value)) == value.
"""

from __future__ import annotations

import math
import os
from argparse import ArgumentTypeError

MOST_INT = 2**31 - 1
MOST_FLOAT = 3.4028234e38
"""The largest whole number and the largest real number in 32 bits, in which torch counts."""

_TRUE = ("true", "yes", "on", "1", "t", "y")
_FALSE = ("false", "no", "off", "0", "f", "n")

FILE, FOLDER, OUTPUT, ANY = PATH_KINDS = ("file", "folder", "output", "any")
"""Kinds of paths: a file to read, a folder to read, an output of seqmodel, or any of these."""


class ValueType:
    """A type of hyperparameter: a call with raw input returns a value; `text` is the inverse.

    Attributes:
        described: the valid values, in words.
        metavar: the placeholder of a value in the help.
        path_kind: one of PATH_KINDS if the value is a path, otherwise empty.
    """

    described = "a value"
    metavar = "TEXT"
    path_kind = ""

    def __call__(self, raw: object) -> object:
        """Return the value that `raw` (text, or a Python value from a dict or a file) denotes."""
        raise NotImplementedError

    def text(self, value: object) -> str:
        """Return the text from which a call returns `value`."""
        return str(value)

    def refuse(self, raw: object) -> ArgumentTypeError:
        """Return the error for `raw`, with what is valid and what was received."""
        return ArgumentTypeError(f"must be {self.described}, got {raw!r}")


class _Boolean(ValueType):
    described = "True or False"
    metavar = "BOOL"

    def __call__(self, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        word = str(raw).strip().lower() if isinstance(raw, (str, int)) else ""
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
        raise self.refuse(raw)


class _Text(ValueType):
    described = "text without a NUL character"

    def __call__(self, raw: object) -> str:
        if not isinstance(raw, str) or "\0" in raw:
            raise self.refuse(raw)
        return raw


class _Path(ValueType):
    """A path as it was given: `~` and relative paths are interpreted where they are used."""

    def __init__(self, kind: str, one_line: bool) -> None:
        self.path_kind, self._refused = kind, "\0\n\r" if one_line else "\0"
        what = {FILE: " of a file", FOLDER: " of a folder"}.get(kind, "")
        self.described = f"{'the' if what else 'a'} path{what}"
        if one_line:
            self.described += ", without a newline"
        self.metavar = kind.upper() if what else "PATH"

    def __call__(self, raw: object) -> str:
        value = os.fspath(raw) if isinstance(raw, os.PathLike) else raw
        if not isinstance(value, str) or any(c in value for c in self._refused):
            raise self.refuse(raw)
        return value


class _Integer(ValueType):
    metavar = "N"

    def __init__(self, lo: int | None, hi: int | None) -> None:
        self.lo, self.hi = lo, hi
        self.described = "a whole number" + _bounds(lo, hi)
        if lo is not None and hi is None:
            self.hi = MOST_INT

    def __call__(self, raw: object) -> int:
        value = _whole(raw)
        too_low = value is not None and self.lo is not None and value < self.lo
        too_high = value is not None and self.hi is not None and value > self.hi
        if too_high and self.hi == MOST_INT:
            raise ArgumentTypeError(
                f"must be a whole number{_bounds(self.lo, self.hi)}, got {raw!r}"
            )
        if value is None or too_low or too_high:
            raise self.refuse(raw)
        return value


class _Batches(ValueType):
    described = "a number of batches of at least 1, or a proportion in (0, 1] with a decimal point"
    metavar = "N|X"

    def __call__(self, raw: object) -> int | float | None:
        """Return the count, or the proportion; None for 1.0, which is all of them."""
        is_float = isinstance(raw, float) or (isinstance(raw, str) and not _is_integer(raw))
        value = _whole(raw)
        if value == 1 and is_float:
            return None
        if value is not None and 1 <= value <= MOST_INT:
            return value
        try:
            share = math.nan if isinstance(raw, (bool, bytes)) else float(raw)  # type: ignore[arg-type]  # tried
        except (TypeError, ValueError, OverflowError):
            share = math.nan
        if not 0 < share < 1:
            raise self.refuse(raw)
        return share

    def text(self, value: object) -> str:
        return "" if value is None else repr(value)


class _Duration(ValueType):
    described = "a time as DD:HH:MM:SS, such as 00:12:00:00 for 12 hours"
    metavar = "DD:HH:MM:SS"

    def __call__(self, raw: object) -> str:
        parts = raw.strip().split(":") if isinstance(raw, str) else []
        widths = [len(part) for part in parts if part.isascii() and part.isdigit()]
        # Lightning's pattern
        if len(parts) != 4 or widths[1:] != [2, 2, 2] or not 0 < widths[0] <= 4:
            raise self.refuse(raw)
        if not any(map(int, parts)):
            raise self.refuse(raw)
        return ":".join(parts)


class _Spelled(ValueType):
    """Text of which some spellings mean the same."""

    def __init__(self, spellings: dict[str, str]) -> None:
        self.spellings = spellings

    def __call__(self, raw: object) -> object:
        word = str(raw) if isinstance(raw, int) else raw
        return text(self.spellings.get(word, word) if isinstance(word, str) else word)


class _Number(ValueType):
    metavar = "X"

    def __init__(self, lo: float | None, hi: float | None, open_lo: bool, open_hi: bool) -> None:
        self.lo, self.hi, self.open_lo, self.open_hi = lo, hi, open_lo, open_hi
        self.described = "a number" + _bounds(lo, hi, open_lo, open_hi)

    def __call__(self, raw: object) -> float:
        try:
            value = math.nan if isinstance(raw, (bool, bytes)) else float(raw)  # type: ignore[arg-type]  # tried
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if math.isnan(value) or not self._inside(value):
            raise self.refuse(raw)
        if math.isinf(value):
            raise ArgumentTypeError(f"must be {self.described} and finite, got {raw!r}")
        if abs(value) > MOST_FLOAT:
            limit = f"at most {MOST_FLOAT:.2g} in size"
            raise ArgumentTypeError(f"must be {self.described} and {limit}, got {raw!r}")
        return value + 0.0  # -0.0 and 0.0 are one setting

    def text(self, value: object) -> str:
        return repr(float(value))  # type: ignore[arg-type]  # a value of this type

    def _inside(self, value: float) -> bool:
        if self.lo is not None and (value < self.lo or (self.open_lo and value == self.lo)):
            return False
        return self.hi is None or (value < self.hi or (not self.open_hi and value == self.hi))


class _Choice(ValueType):
    metavar = "NAME"

    def __init__(self, inner: ValueType, choices: list[object]) -> None:
        self.inner, self.choices = inner, choices
        self.described = "one of " + ", ".join(inner.text(c) for c in choices)

    def __call__(self, raw: object) -> object:
        try:
            value = self.inner(raw)
        except ArgumentTypeError:
            raise self.refuse(raw) from None
        if value not in self.choices:
            raise ArgumentTypeError(f"{self.refuse(raw)}{did_you_mean(value, self._texts())}")
        return value

    def text(self, value: object) -> str:
        return self.inner.text(value)

    def _texts(self) -> list[str]:
        return [self.inner.text(c) for c in self.choices]


class _Optional(ValueType):
    """An inner type or None, which means "not set" and is written as empty text."""

    def __init__(self, inner: ValueType) -> None:
        self.inner, self.described, self.metavar = inner, inner.described, inner.metavar
        self.path_kind = inner.path_kind

    def __call__(self, raw: object) -> object:
        return None if raw is None or raw == "" else self.inner(raw)

    def text(self, value: object) -> str:
        return "" if value is None else self.inner.text(value)


str2bool = _Boolean()
text = _Text()


def path(kind: str = FILE, *, one_line: bool = False) -> ValueType:
    """Return the type of paths of one of PATH_KINDS; a pathlib.Path becomes text.

    A run checks that a file to read exists before it starts, and a job copies it to its node.
    """
    if kind not in PATH_KINDS:
        raise TypeError(f"path({kind!r}): use one of {', '.join(PATH_KINDS)}")
    return _Path(kind, one_line)


def integer(lo: int | None = None, hi: int | None = None) -> ValueType:
    """Return the type of whole numbers in [lo, hi]; `1e6` and `3.0` are valid, True is not.

    A number with only a lower bound has at most 32 bits.
    """
    return _Integer(lo, hi)


def batches() -> ValueType:
    """Return the type of limits in batches as in Lightning: a count, or a proportion of all."""
    return _Batches()


def duration() -> ValueType:
    """Return the type of times `DD:HH:MM:SS` above 0, kept as text."""
    return _Duration()


def spelled(**spellings: str) -> ValueType:
    """Return the type of texts where each key of `spellings` is another spelling of its value."""
    return _Spelled(spellings)


def number(
    lo: float | None = None,
    hi: float | None = None,
    *,
    open_lo: bool = False,
    open_hi: bool = False,
) -> ValueType:
    """Return the type of finite floating-point numbers in [lo, hi]; the open ends are excluded."""
    return _Number(lo, hi, open_lo, open_hi)


def choice(inner: ValueType, choices: list[object]) -> ValueType:
    """Return the type of `inner` values that are in `choices`."""
    return _Choice(inner, choices)


def optional(inner: ValueType) -> ValueType:
    """Return the type of `inner` values and of None, written as empty text."""
    return _Optional(inner)


def value_type(declared: object) -> ValueType:
    """Return the ValueType for a declared type: a ValueType, or str, int, float or bool."""
    if isinstance(declared, ValueType):
        return declared
    plain = {str: text, None: text, int: integer(), float: number(), bool: str2bool}
    if declared not in plain:
        raise TypeError(f"type {declared!r}: use str, str2bool, path(), integer() or number()")
    return plain[declared]


def did_you_mean(word: object, known: list[str]) -> str:
    """Return `; did you mean 'x'?` with the most similar of `known`, or an empty text."""
    from difflib import get_close_matches

    near = get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _is_integer(raw: str) -> bool:
    try:
        return int(raw) is not None
    except ValueError:
        return False


def _whole(raw: object) -> int | None:
    if isinstance(raw, bool) or not isinstance(raw, (int, float, str)):
        return None
    try:
        return int(raw) if not isinstance(raw, float) else _whole_float(raw)
    except ValueError:
        pass
    try:
        return _whole_float(float(raw))
    except ValueError:
        return None


def _whole_float(value: float) -> int | None:
    # above 2**53 a float no longer names one whole number
    return int(value) if value.is_integer() and abs(value) <= 2**53 else None


def _bounds(
    lo: float | None, hi: float | None, open_lo: bool = False, open_hi: bool = False
) -> str:
    if lo is None and hi is None:
        return ""
    if hi is None:
        return f" {'above' if open_lo else 'of at least'} {lo}"
    if lo is None:
        return f" {'below' if open_hi else 'of at most'} {hi}"
    return f" in {'(' if open_lo else '['}{lo}, {hi}{')' if open_hi else ']'}"
