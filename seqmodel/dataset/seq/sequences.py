"""Many concatenated sequences in memory, and a digest of each."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.seq.alphabet import Alphabet


class Sequences(NamedTuple):
    """Rows of ids: row i is `codes[offsets[i]:offsets[i + 1]]`.

    Attributes:
        codes: Ids of the symbols, uint8.
        offsets: Start of each row, and end of the last row, int64 [N + 1].
        alphabet: Alphabet of the ids.
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
        """Concatenate pieces of `data` at `at` with `lengths`; a view if they are contiguous."""
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        if len(at) and np.array_equal(at - at[0], offsets[:-1]):
            return cls(data[at[0] : at[0] + offsets[-1]], offsets, alphabet)
        whole = np.ascontiguousarray(data).data
        ends = (at + lengths).tolist()
        codes = b"".join(whole[a:b] for a, b in zip(at.tolist(), ends, strict=True))
        return cls(np.frombuffer(codes, dtype=np.uint8), offsets, alphabet)

    def select(self, rows: np.ndarray) -> Sequences:
        """Return the rows with these indices."""
        begin, lengths = self.offsets[:-1][rows], np.diff(self.offsets)[rows]
        return Sequences.gathered(self.codes, begin, lengths, self.alphabet)

    def row(self, row: int) -> np.ndarray:
        """Return the ids of a row, uint8."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]]

    def text(self, row: int) -> str:
        """Return the text of a row."""
        return self.alphabet.decode(self.row(row))


def digests(x: Sequences, *, reverse: bool = False) -> np.ndarray:
    """Return a 128-bit digest of each row, equal for its reverse complement; S16 [N]."""
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
