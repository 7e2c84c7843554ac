"""Rows that are nearly one sequence, by the k-mers that they share.

The containment of a test row is the largest share of its distinct k-mers that one training row
has. Duplicates of whole rows are in duplicates.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seqmodel.dataset.seq.kmers import MAX_KMERS, MAX_ROWS, KmerIndex
from seqmodel.dataset.seq.sequences import digests
from seqmodel.trust.align import alignment
from seqmodel.trust.duplicates import name_of, sequences
from seqmodel.trust.rows import Rows

SHARES = (0.2, 0.5, 0.8)
N_WORST = 10


class Containment:
    """How much of a row is in one training row.

    k-mers that more than `max_rows` training rows have are repeats and left out on both sides. Of
    more than `max_kmers` k-mers in all, a fixed part is kept (FracMinHash). A row that is shorter
    than k is compared as a whole.

    Args:
        train: rows to compare with.
        k: letters of a k-mer; default: 16, or 6 of a protein.
        max_rows: training rows that may have a k-mer.
        max_kmers: k-mers of training rows that are all kept.
    """

    def __init__(
        self,
        train: Rows,
        k: int | None = None,
        *,
        max_rows: int = MAX_ROWS,
        max_kmers: int = MAX_KMERS,
    ) -> None:
        self.train = train
        self.index = KmerIndex(sequences(train), k, max_rows=max_rows, max_kmers=max_kmers)

    @property
    def k(self) -> int:
        """Letters of a k-mer."""
        return self.index.reader.k

    def of(self, test: Rows) -> tuple[np.ndarray, np.ndarray]:
        """The containment of each row of `test`, and the training row that it is of.

        Returns:
            Shares, float64 [N]; training rows, int64 [N], -1 where no k-mer is shared. Of equal
            shares, the first training row counts.
        """
        x = sequences(test)
        share, nearest = np.zeros(len(x)), np.full(len(x), -1, dtype=np.int64)
        for first, size, pairs in self.index.pairs(x):
            if not len(pairs.row):
                continue
            order = np.lexsort((-pairs.other, pairs.shared, pairs.row))
            row = pairs.row[order]
            last = order[np.append(row[1:] != row[:-1], True)]
            best = pairs.row[last]
            share[best] = pairs.shared[last] / size[best - first]
            nearest[best] = pairs.other[last]
        self._compare_short(test, share, nearest)
        return share, nearest

    def _compare_short(self, test: Rows, share: np.ndarray, nearest: np.ndarray) -> None:
        """Rows of `test` shorter than k: 1 where the whole row is a training row."""
        x, train = sequences(test), sequences(self.train)
        short = np.flatnonzero(np.diff(x.offsets) < self.k)
        others = np.flatnonzero(np.diff(train.offsets) < self.k)
        if not len(short) or not len(others):
            return
        known: dict[bytes, int] = {}
        for reverse in (False, True) if x.alphabet.complement else (False,):
            found = digests(train.select(others), reverse=reverse)
            for i, digest in zip(others.tolist(), found, strict=True):
                known.setdefault(digest, i)
        for i, digest in zip(short.tolist(), digests(x.select(short)), strict=True):
            if digest in known:
                share[i], nearest[i] = 1.0, known[digest]

    def describe(self) -> dict[str, Any]:
        """What the k-mers are: k, canonical, how many, which part is kept, how many left out."""
        reader = self.index.reader
        return {
            "k": reader.k,
            "canonical": reader.alphabet.complement is not None,
            "kept_one_in": reader.scale,
            "kmers": len(self.index.keys),
            "max_rows": self.index.max_rows,
            "repeats_left_out": len(self.index.repeats),
        }

    def report(
        self, test: Rows, share: np.ndarray, nearest: np.ndarray, *, align: bool = False
    ) -> dict[str, Any]:
        """What `of(test)` returned, as numbers and names.

        Args:
            test: the rows.
            share: their containments.
            nearest: the training row of each.
            align: the worst rows get strand, offset, overlap and identity too (needs edlib).

        Returns:
            What `describe()` says; `rows`; `without_kmers`: rows that have no k-mer, because they
            are short or have unknown letters; `share_at`: share of the rows with a containment of
            at least 0.2, 0.5 and 0.8; `worst`: the ten rows with the highest.
        """
        return {
            **self.describe(),
            "rows": len(share),
            "without_kmers": int((self.index.reader.counts(sequences(test)) == 0).sum()),
            "share_at": {f"{x:g}": float((share >= x).mean()) if len(share) else 0 for x in SHARES},
            "worst": self._worst(test, share, nearest, align),
        }

    def _worst(
        self, test: Rows, share: np.ndarray, nearest: np.ndarray, align: bool
    ) -> list[dict[str, Any]]:
        x, train = sequences(test), sequences(self.train)

        def aligned(row: int) -> dict[str, Any]:
            other = train.row(int(nearest[row]))
            return alignment(x.row(row), other, x.alphabet, min(self.k, len(other)))

        order = np.argsort(-share, kind="stable")[:N_WORST]
        return [
            {
                "row": int(test.numbers[row]),
                "name": name_of(test, row),
                "containment": round(float(share[row]), 4),
                "train_row": int(self.train.numbers[nearest[row]]),
                "train_name": name_of(self.train, int(nearest[row])),
                **(aligned(row) if align else {}),
            }
            for row in order.tolist()
            if share[row] > 0
        ]
