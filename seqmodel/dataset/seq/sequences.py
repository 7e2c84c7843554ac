"""Many sequences in memory, one after the other, and a digest of each."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.seq.alphabet import Alphabet


class Sequences(NamedTuple):
    """Rows of ids: row i is `codes[offsets[i]:offsets[i + 1]]`.

    Attributes:
        codes: ids of the letters, uint8.
        offsets: where each row begins, and the end of the last, int64 [N + 1].
        alphabet: what the ids mean.
    """

    codes: np.ndarray
    offsets: np.ndarray
    alphabet: Alphabet

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def gathered(
        cls, data: np.ndarray, at: np.ndarray, lengths: np.ndarray, alphabet: Alphabet
    ) -> Sequences:
        """Pieces of `data` of `lengths` that begin at `at`; a view if they follow each other."""
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        if len(at) and np.array_equal(at - at[0], offsets[:-1]):
            return cls(data[at[0] : at[0] + offsets[-1]], offsets, alphabet)
        whole = np.ascontiguousarray(data).data
        ends = (at + lengths).tolist()
        codes = b"".join(whole[a:b] for a, b in zip(at.tolist(), ends, strict=True))
        return cls(np.frombuffer(codes, dtype=np.uint8), offsets, alphabet)

    def select(self, rows: np.ndarray) -> Sequences:
        """The rows of an array of numbers."""
        begin, lengths = self.offsets[:-1][rows], np.diff(self.offsets)[rows]
        return Sequences.gathered(self.codes, begin, lengths, self.alphabet)

    def row(self, row: int) -> np.ndarray:
        """The ids of a row, uint8."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]]

    def text(self, row: int) -> str:
        """The letters of a row."""
        return self.alphabet.decode(self.row(row))


def digests(x: Sequences, *, reverse: bool = False) -> np.ndarray:
    """128 bits of each row, or of its reverse complement; S16 [N]."""
    offsets = np.asarray(x.offsets, dtype=np.int64)
    codes = np.ascontiguousarray(x.codes[offsets[0] : offsets[-1]])
    begin, end = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    if reverse:
        codes = x.alphabet.reverse_complement(codes)
        begin, end = len(codes) - end, len(codes) - begin
    data = codes.data
    found = b"".join(
        blake2b(data[a:b], digest_size=16).digest()
        for a, b in zip(begin.tolist(), end.tolist(), strict=True)
    )
    return np.frombuffer(found, dtype="S16")
