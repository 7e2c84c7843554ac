"""K-mers of many sequences at once, and an index of the rows that share them.

A k-mer is a number below 2**32. If the alphabet has a complement, a k-mer and its reverse
complement are the same (canonical). K-mers with unknown symbols are skipped. Users of this module
are trust/similarity.py and dataset/homology.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.dataset.seq.sequences import Sequences
from seqmodel.errors import SequenceError

MAX_ROWS = 2000
"""A k-mer in more rows of an index than this is a repeat, and left out."""
MAX_KMERS = 50_000_000
"""An index of more k-mers than this keeps a fixed part of all k-mers (FracMinHash)."""
_LETTERS = 1 << 22  # positions that are read at once
_HITS = 1 << 23  # hits that are counted at once
_LOW = np.uint64(0xFFFFFFFF)
_ONE, _SHIFT = np.uint64(1), np.uint64(32)


def default_k(alphabet: Alphabet) -> int:
    """Return the default k: 16 for four symbols, 6 for proteins, else the longest for 32 bits."""
    return 6 if alphabet.name == "protein" else longest_k(alphabet)


def longest_k(alphabet: Alphabet) -> int:
    """Return the largest k with `n_letters ** k` of at most 2**32."""
    return int(32 / math.log2(max(2, alphabet.n_letters)) + 1e-9)


class KmerReader:
    """Reader of the distinct k-mers of sequences.

    Args:
        alphabet: Alphabet of the sequences.
        k: Length of the k-mers. The default depends on the alphabet.
        scale: 1 uses all k-mers; s uses about one in s, the same ones everywhere (FracMinHash).

    Raises:
        SequenceError: K-mers of this alphabet do not fit in 32 bits.
    """

    def __init__(self, alphabet: Alphabet, k: int | None = None, scale: int = 1) -> None:
        self.alphabet, self.scale = alphabet, scale
        self.k = default_k(alphabet) if k is None else k
        if not 1 <= self.k <= longest_k(alphabet):
            raise SequenceError(
                f"k={self.k}: k-mers of the alphabet {alphabet.name!r} have length 1 to "
                f"{longest_k(alphabet)}"
            )

    def blocks(self, x: Sequences) -> Iterator[tuple[int, int, np.ndarray]]:
        """Iterate over blocks of rows: first row, last row + 1 and sorted keys.

        A key is `row << 32 | k-mer`, uint64; rows are counted from the start of the block.
        """
        first = 0
        while first < len(x):
            reach = np.searchsorted(x.offsets, x.offsets[first] + _LETTERS, "right") - 1
            last = max(first + 1, int(reach))
            yield first, last, self._keys(x, first, last)
            first = last

    def text(self, kmer: int) -> str:
        """Return the text of a k-mer."""
        n = self.alphabet.n_letters
        digits = [kmer // n**i % n for i in range(self.k - 1, -1, -1)]
        return self.alphabet.decode(np.array(digits))

    def counts(self, x: Sequences) -> np.ndarray:
        """Return the number of distinct k-mers of each row, int64 [N]."""
        parts = [
            np.bincount((keys >> _SHIFT).astype(np.int64), minlength=last - first)
            for first, last, keys in self.blocks(x)
        ]
        return np.concatenate([*parts, np.empty(0, dtype=np.int64)])

    def _keys(self, x: Sequences, first: int, last: int) -> np.ndarray:
        offsets = np.asarray(x.offsets[first : last + 1], dtype=np.int64)
        codes = x.codes[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
        n = len(codes) - self.k + 1
        if n <= 0:
            return np.empty(0, dtype=np.uint64)
        kmers = self._values(codes, n)
        kept = self._complete(codes, offsets, n)
        if self.scale > 1:
            kept &= _mixed(kmers) < np.uint32(2**32 // self.scale)
        row = np.repeat(np.arange(last - first, dtype=np.uint64) << _SHIFT, np.diff(offsets))
        keys = row[:n][kept] | kmers[kept]
        keys.sort()
        return keys[_changes(keys)]

    def _values(self, codes: np.ndarray, n: int) -> np.ndarray:
        """Return the k-mer at each of `n` positions, uint32; incomplete ones have any value."""
        table = self.alphabet.complement_table
        forward = _rolled(codes.astype(np.uint32), self.k, self.alphabet.n_letters)[:n]
        if table is None:
            return forward
        backward = table[codes][::-1].astype(np.uint32)
        backward = _rolled(backward, self.k, self.alphabet.n_letters)[:n][::-1]
        return np.minimum(forward, backward)

    def _complete(self, codes: np.ndarray, offsets: np.ndarray, n: int) -> np.ndarray:
        """Return where a k-mer lies in one row and has no unknown symbol, bool [n]."""
        broken = codes >= self.alphabet.n_letters
        kept = np.ones(n, dtype=bool)
        if broken.any():
            total = np.concatenate(([0], np.cumsum(broken, dtype=np.int32)))
            kept = total[self.k :] == total[: -self.k]
        for i in range(1, self.k):
            ends = offsets[1:] - i
            kept[ends[(ends >= 0) & (ends < n)]] = False
        return kept


def _rolled(digits: np.ndarray, k: int, base: int) -> np.ndarray:
    """Return the number formed by `k` digits at each position, most significant first; uint32."""
    if k == 1:
        return digits
    half = _rolled(digits, k // 2, base)
    even = _appended(half, half, k // 2, k // 2, base)
    return _appended(even, digits, k - 1, 1, base) if k % 2 else even


def _appended(a: np.ndarray, b: np.ndarray, n_a: int, n_b: int, base: int) -> np.ndarray:
    """Return the numbers with the `n_a` digits of `a` followed by the `n_b` digits of `b`."""
    b = b[n_a:]
    return a[: len(b)] * np.uint32(base**n_b) + b


def _mixed(kmers: np.ndarray) -> np.ndarray:
    """Hash each k-mer, uint32, with the finaliser of MurmurHash3, a permutation."""
    x = kmers ^ (kmers >> np.uint32(16))
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x


def _changes(x: np.ndarray) -> np.ndarray:
    """Return where a value of a sorted array differs from the one before, bool [n]."""
    new = np.ones(len(x), dtype=bool)
    np.not_equal(x[1:], x[:-1], out=new[1:])
    return new


class Pairs(NamedTuple):
    """Pairs of a query row and a row of the index that share k-mers."""

    row: np.ndarray
    """The row that was asked for, int64, ascending."""
    other: np.ndarray
    """The row of the index, int64, ascending for one `row`."""
    shared: np.ndarray
    """Number of distinct k-mers that both have, int64."""


class KmerIndex:
    """Index of the rows that have each k-mer.

    Attributes:
        reader: Reader of the same k-mers in other sequences.
        keys: Sorted `k-mer << 32 | row`, uint64.
        repeats: Sorted k-mers that are left out because more than `max_rows` rows have them.
    """

    def __init__(
        self,
        x: Sequences,
        k: int | None = None,
        *,
        max_rows: int = MAX_ROWS,
        max_kmers: int = MAX_KMERS,
    ) -> None:
        k = KmerReader(x.alphabet, k).k
        n = int(np.maximum(np.diff(x.offsets) - k + 1, 0).sum())
        self.reader = KmerReader(x.alphabet, k, scale=max(1, math.ceil(n / max_kmers)))
        self.max_rows = max_rows
        self.keys = self._read(x)
        repeated = self._same_after(max_rows)
        self.repeats = np.unique(self.keys[: len(repeated)][repeated] >> _SHIFT)

    def _read(self, x: Sequences) -> np.ndarray:
        parts = []
        for first, _, keys in self.reader.blocks(x):
            rows = (keys >> _SHIFT) + np.uint64(first)
            parts.append((keys & _LOW) << _SHIFT | rows)
        n = sum(len(part) for part in parts)
        found, at = np.empty(n, dtype=np.uint64), 0
        while parts:
            part = parts.pop()
            found[at : at + len(part)] = part
            at += len(part)
        found.sort()
        return found

    def _same_after(self, distance: int) -> np.ndarray:
        """Return where the key `distance` places later has the same k-mer, bool."""
        n = max(0, len(self.keys) - distance)
        found = np.empty(n, dtype=bool)
        for i in range(0, n, _HITS):
            a, b = self.keys[i : min(n, i + _HITS)], self.keys[i + distance :][:_HITS]
            found[i : i + len(a)] = (a ^ b) <= _LOW
        return found

    def sizes(self, n_rows: int) -> np.ndarray:
        """Number of distinct k-mers of each row of the index, except repeats; int64 [n_rows]."""
        found = np.zeros(n_rows, dtype=np.int64)
        for i in range(0, len(self.keys), _HITS):
            keys = self.keys[i : i + _HITS]
            at = np.searchsorted(self.repeats, keys >> _SHIFT)
            kept = np.append(self.repeats, _LOW + _ONE)[at] != keys >> _SHIFT
            found += np.bincount((keys[kept] & _LOW).astype(np.int64), minlength=n_rows)
        return found

    def pairs(self, x: Sequences) -> Iterator[tuple[int, np.ndarray, Pairs]]:
        """Find rows of the index that share k-mers with rows of `x`, block by block.

        Yields:
            First row of the block; number of distinct k-mers of each of its rows, without
            repeats; and pairs, whose `row` is counted from the first row of `x`.
        """
        for first, last, keys in self.reader.blocks(x):
            row, kmer = (keys >> _SHIFT).astype(np.int64), keys << _SHIFT
            order = np.argsort(kmer)
            begin, end = np.empty((2, len(kmer)), dtype=np.int64)
            begin[order] = np.searchsorted(self.keys, kmer[order])
            end[order] = np.searchsorted(self.keys, kmer[order] | _LOW, "right")
            n_hits = end - begin
            kept = n_hits <= self.max_rows
            row, begin, n_hits = row[kept], begin[kept], n_hits[kept]
            size = np.bincount(row, minlength=last - first)
            for part in _pieces(row, n_hits):
                found = self._counted(row[part], begin[part], n_hits[part])
                yield first, size, found._replace(row=found.row + first)

    def _counted(self, row: np.ndarray, begin: np.ndarray, n_hits: np.ndarray) -> Pairs:
        """Count the k-mers that the rows share with rows of the index."""
        shift = np.repeat(begin - np.cumsum(n_hits) + n_hits, n_hits)
        hits = self.keys[shift + np.arange(len(shift))] & _LOW
        hits |= np.repeat(row.astype(np.uint64) << _SHIFT, n_hits)
        hits.sort()
        starts = np.flatnonzero(_changes(hits))
        found = hits[starts]
        shared = np.diff(np.append(starts, len(hits)))
        return Pairs((found >> _SHIFT).astype(np.int64), (found & _LOW).astype(np.int64), shared)


def _pieces(row: np.ndarray, n_hits: np.ndarray) -> Iterator[slice]:
    """Return slices of whole rows with about `_HITS` hits each; at least one slice."""
    total = np.cumsum(n_hits)
    at = 0
    while at < len(row):
        reach = (total[at - 1] if at else 0) + _HITS
        end = int(np.searchsorted(total, reach, "right"))
        if end < len(row):
            begin = int(np.searchsorted(row, row[end]))
            end = begin if begin > at else int(np.searchsorted(row, row[at], "right"))
        yield slice(at, end)
        at = end
    if not len(row):
        yield slice(0, 0)
