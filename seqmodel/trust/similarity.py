"""Near duplicates: rows that share many k-mers.

The containment of a test row is the largest proportion of its distinct k-mers that one training row
contains. duplicates.py finds duplicates of whole rows.
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
    """The containment of test rows in single training rows.

    A k-mer in more than `max_rows` training rows is a repeat and is left out on both sides. If
    there are more than `max_kmers` k-mers, a fixed fraction is kept (FracMinHash). A row shorter
    than k is compared as a whole.

    Args:
        train: Rows to compare with.
        k: Length of the k-mers. Default: 16, or 6 for proteins.
        max_rows: Maximum number of training rows that contain one k-mer.
        max_kmers: Number of training k-mers up to which all are kept.
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
        """Length of the k-mers."""
        return self.index.reader.k

    def of(self, test: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return the containment of each row of `test` and its nearest training row.

        Returns:
            Containments, float64 [N]; training rows, int64 [N], -1 if no k-mer is shared. The first
            training row wins a tie.
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
        """Compare rows of `test` shorter than k: 1 if the whole row is a training row."""
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
        """Describe the k-mers: k, canonical or not, number, kept fraction, number left out."""
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
        """Summarise the result of `of(test)` as numbers and names.

        Args:
            test: Test rows.
            share: Containment of each test row.
            nearest: Nearest training row of each test row.
            align: Add strand, offset, overlap and identity to the worst rows (needs edlib).

        Returns:
            The result of `describe()`; `rows`: their number; `without_kmers`: rows without k-mers,
            because they are short or have unknown symbols; `share_at`: proportion of rows with a
            containment of at least 0.2, 0.5 and 0.8; `worst`: the ten rows with the highest.
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
