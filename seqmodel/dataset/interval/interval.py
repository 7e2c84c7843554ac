"""Intervals on contigs as columns: 16 bytes each, without a Python object per item.

Second stage of the flow: BED files and tiles become `Intervals`, which the reader (window.py)
turns into windows of a store. Coordinates are 0-based half-open. Files are read in bed.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seqmodel.errors import IntervalError

STRANDS = {"+": 1, "-": -1, ".": 0}
STRAND_SIGNS = {1: "+", -1: "-", 0: "."}


class Contigs:
    """Names and lengths of contigs, which define coordinates.

    Args:
        names: Names of the contigs.
        lengths: Lengths of the contigs.
        aliases: Numbers of contigs by their other accepted names.
    """

    def __init__(
        self,
        names: Sequence[str],
        lengths: Sequence[int] | np.ndarray,
        aliases: dict[str, int] | None = None,
    ) -> None:
        self.names = list(names)
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.aliases = aliases or {}

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each contig, by name and by alias."""
        return self.aliases | {name: i for i, name in enumerate(self.names)}

    def number(self, name: str, where: str = "contigs") -> int:
        """Return the number of the contig `name`.

        Raises:
            IntervalError: No contig has this name.
        """
        number = self.numbers.get(name)
        if number is None:
            raise IntervalError(f"{where}: {self.unknown(name)}")
        return number

    def unknown(self, name: str) -> str:
        """Return the message for an unknown contig."""
        shown = ", ".join(self.names[:5]) + (", ..." if len(self) > 5 else "")
        hint = "" if self.aliases else "; --contig_aliases can tell which names are the same"
        return f"contig {name!r} is not in the sequences, which have {shown}{hint}"


@dataclass(frozen=True)
class Interval:
    """One interval, for people; the code works with `Intervals`."""

    contig: str
    start: int
    end: int
    strand: str

    def __str__(self) -> str:
        sign = "" if self.strand == "." else f"({self.strand})"
        return f"{self.contig}:{self.start}-{self.end}{sign}"


class Intervals:
    """Intervals as columns. A window may reach beyond its contig: `start` may be negative.

    Args:
        contigs: Contigs of the coordinates.
        contig: Number of the contig of each interval, integer [n].
        start: 0-based start, integer [n].
        length: Length of each interval, integer [n], or one number for all, without memory.
        strand: 1, -1, or 0 without strand; integer [n], or one number for all.
    """

    def __init__(
        self,
        contigs: Contigs,
        contig: np.ndarray,
        start: np.ndarray,
        length: np.ndarray | int,
        strand: np.ndarray | int = 0,
    ) -> None:
        self.contigs = contigs
        self.start = np.asarray(start, dtype=np.int64)
        # Contig and strand share a column, so that an interval takes 16 bytes.
        packed = (np.asarray(contig, dtype=np.int32) << 2) | (np.asarray(strand, np.int32) + 1)
        self._where = np.broadcast_to(packed, self.start.shape)
        self.length = np.broadcast_to(np.asarray(length, dtype=np.int32), self.start.shape)

    @property
    def contig(self) -> np.ndarray:
        """Contig number of each interval, int32 [n]."""
        return self._where >> 2

    @property
    def strand(self) -> np.ndarray:
        """Strand of each interval, int8 [n]: 1, -1, or 0 without strand."""
        return ((self._where & 3) - 1).astype(np.int8)

    @property
    def end(self) -> np.ndarray:
        """End of each interval, int64 [n]."""
        return self.start + self.length

    @property
    def nbytes(self) -> int:
        """Memory of the columns in bytes; a column with one value for all takes none."""
        return sum(x.nbytes for x in (self._where, self.start, self.length) if any(x.strides))

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, i: int) -> Interval:
        contig, strand = divmod(int(self._where[i]), 4)
        start = int(self.start[i])
        return Interval(
            self.contigs.names[contig], start, start + int(self.length[i]), STRAND_SIGNS[strand - 1]
        )

    def __iter__(self) -> Iterator[Interval]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Intervals(n={len(self)}, first={self[0] if len(self) else None})"

    def select(self, which: np.ndarray) -> Intervals:
        """Return the intervals of a bool mask or an array of indices."""
        chosen = object.__new__(Intervals)  # __init__ would unpack and pack the columns again
        chosen.contigs, chosen._where = self.contigs, self._where[which]
        chosen.start = self.start[which]
        if self.length.strides[0]:
            chosen.length = self.length[which]
        else:
            chosen.length = np.broadcast_to(self.length[:1].sum(dtype=np.int32), chosen.start.shape)
        return chosen

    @cached_property
    def is_inside(self) -> np.ndarray:
        """Return which intervals lie wholly on their contig, bool [n]."""
        return (self.start >= 0) & (self.end <= self.contigs.lengths[self.contig])

    def anchored(self, length: int, anchor: str = "middle") -> Intervals:
        """Return windows of `length` with one base of each interval at the same index.

        That base is at index `length // 2` of the window in reading direction; on `-`, this is an
        index in the reverse complement.

        Args:
            length: Length of the windows.
            anchor: "middle" is the base `start + length // 2` of the interval (an interval that
                already has the length of the window is unchanged); "five_prime" is the first base
                in reading direction, which on `-` is the last one before `end`.
        """
        strand = self.strand
        if anchor == "five_prime":
            base = np.where(strand < 0, self.end - 1, self.start)
        else:
            base = self.start + self.length // 2
        before = np.where(strand < 0, length - 1 - length // 2, length // 2)
        start = base - before
        if anchor == "middle":
            start = np.where(self.length == length, self.start, start)
        return Intervals(self.contigs, self.contig, start, length, strand)

    def widened(self, by: int) -> Intervals:
        """Extend the intervals by `by` positions at both ends; a negative `by` shortens them."""
        is_constant = not self.length.strides[0]
        length = int(self.length[:1].sum()) if is_constant else self.length
        return Intervals(self.contigs, self.contig, self.start - by, length + 2 * by, self.strand)

    def on(self, names: Sequence[str], where: str = "contigs") -> np.ndarray:
        """Return which intervals lie on the named contigs, bool [n].

        Raises:
            IntervalError: A name is not a contig.
        """
        numbers = [self.contigs.number(name, where) for name in names]
        return np.isin(self.contig, numbers)


def concatenate(parts: Sequence[Intervals]) -> Intervals:
    """Concatenate the intervals of `parts`, which share their contigs."""
    lengths = {
        int(x.length[0]) if len(x) else 0 for x in parts if not len(x) or not x.length.strides[0]
    }
    constant = len(lengths) == 1 and all(not x.length.strides[0] for x in parts if len(x))
    return Intervals(
        parts[0].contigs,
        np.concatenate([x.contig for x in parts]),
        np.concatenate([x.start for x in parts]),
        lengths.pop() if constant else np.concatenate([x.length for x in parts]),
        np.concatenate([x.strand for x in parts]),
    )


def tiles(
    contigs: Contigs,
    length: int,
    stride: int | None = None,
    *,
    names: Sequence[str] | None = None,
    incomplete: str = "drop",
) -> Intervals:
    """Return windows of `length` every `stride` positions over whole contigs.

    Args:
        contigs: Contigs to cover.
        length: Length of a tile.
        stride: Distance between starts. Default: `length`, so that tiles do not overlap.
        names: Names of the contigs to cover. Default: all.
        incomplete: Treatment of a tile that reaches beyond its contig: "drop" or "pad".

    Raises:
        IntervalError: No contig is long enough for a tile.
    """
    stride = stride or length
    numbers = (
        np.arange(len(contigs))
        if names is None
        else np.array([contigs.number(x) for x in names], dtype=np.int64)
    )
    sizes = contigs.lengths[numbers]
    room = sizes - length if incomplete == "drop" else sizes - 1
    counts = np.where(room >= 0, room // stride + 1, 0)
    if incomplete == "pad":  # no tile without new positions
        counts = np.minimum(counts, np.maximum(-(-(sizes - length) // stride), 0) + 1)
        counts[sizes == 0] = 0
    if not counts.sum():
        longest = int(sizes.max()) if len(sizes) else 0
        raise IntervalError(
            f"seq_len={length} is longer than every contig (the longest has {longest}); "
            "lower seq_len"
        )
    contig = np.repeat(numbers, counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    return Intervals(contigs, contig, (np.arange(counts.sum()) - first) * stride, length)
