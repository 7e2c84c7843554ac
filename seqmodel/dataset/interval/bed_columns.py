"""Plain BED text as columns, without a Python object per line: the fast path of bed.py.

The result is None for text that is not plain (comments, blanks, other separators, mistakes); bed.py
then parses the lines one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqmodel.dataset.interval.interval import Contigs

MOST_DIGITS = 12
_ROUNDS = 64
_TAB, _NEWLINE, _ZERO = 9, 10, 48
_SIGN_OF = np.full(256, 9, dtype=np.int8)
_SIGN_OF[[ord("+"), ord("-"), ord("."), ord("*")]] = 1, -1, 0, 0


class Columns(NamedTuple):
    """Columns of n lines, and the number of columns per line."""

    contig: np.ndarray
    start: np.ndarray
    end: np.ndarray
    strand: np.ndarray | int
    width: int


def plain_columns(block: bytes, contigs: Contigs, strand_number: int | None) -> Columns | None:
    """Parse a block of whole lines; return None if it is not plain BED with known contigs.

    Args:
        block: Text of the lines.
        contigs: Known contigs.
        strand_number: Strand column, from 0, used if the lines have it; None means no strand.
    """
    text = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    tabs = np.flatnonzero(text == _TAB)
    width, rest = divmod(len(tabs), len(ends))
    if rest or width < 2:
        return None
    begins = np.concatenate(([0], ends[:-1] + 1))
    separators = tabs.reshape(len(ends), width)
    if not ((separators[:, 0] > begins).all() and (separators[:, -1] < ends).all()):
        return None
    # start of field j in each line, and end (one beyond its last character)
    starts = np.column_stack((begins, separators + 1))
    stops = np.column_stack((separators, ends - (text[ends - 1] == ord("\r"))))
    contig = _contigs(text, starts[:, 0], stops[:, 0], contigs)
    start, end = (_integers(text, starts[:, i], stops[:, i]) for i in (1, 2))
    strand: np.ndarray | int | None = 0
    if strand_number is not None and strand_number <= width:
        strand = _strands(text, starts[:, strand_number], stops[:, strand_number])
    if contig is None or start is None or end is None or strand is None:
        return None
    return Columns(contig, start, end, strand, width + 1)


def _integers(text: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray | None:
    size = stop - start
    if size.min() < 1 or size.max() > MOST_DIGITS:
        return None
    value = np.zeros(len(start), dtype=np.int64)
    for i in range(int(size.max())):
        # counted from the right; for a shorter number, its first digit is read again, times 0
        digit = text[np.maximum(stop - 1 - i, start)] - np.uint8(_ZERO)
        if (digit > 9).any():
            return None
        value += np.where(i < size, digit.astype(np.int64), 0) * 10**i
    return value


def _strands(text: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray | None:
    sign = _SIGN_OF[text[start]]
    return sign if (stop - start == 1).all() and (sign != 9).all() else None


def _contigs(
    text: np.ndarray, start: np.ndarray, stop: np.ndarray, contigs: Contigs
) -> np.ndarray | None:
    """Return the contig index of each line; None if any contig is unknown."""
    size = stop - start
    width = int(size.max())
    if width > 64:
        return None
    column = np.arange(width)
    letters = text[np.minimum(start[:, None] + column, len(text) - 1)]
    letters[column >= size[:, None]] = 0
    names = np.ascontiguousarray(letters).view(f"S{width}")[:, 0]
    known = contigs.numbers
    numbers = np.full(len(names), -1, dtype=np.int32)
    left = np.arange(len(names))
    for _ in range(_ROUNDS):  # few contigs: comparing with each is faster than sorting
        if not len(left):
            break
        same = names[left] == names[left[0]]
        numbers[left[same]] = known.get(names[left[0]].decode("utf-8", "replace"), -1)
        left = left[~same]
    if len(left):
        distinct, which = np.unique(names[left], return_inverse=True)
        found = [known.get(x.decode("utf-8", "replace"), -1) for x in distinct]
        numbers[left] = np.array(found, dtype=np.int32)[which]
    return None if (numbers < 0).any() else numbers
