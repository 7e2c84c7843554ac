"""2bit files (UCSC) as a stream of events, like fasta.py: two bits per base, with N and mask runs.

Format: https://genome.ucsc.edu/FAQ/FAQformat.html#format7
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from seqmodel.dataset.seq.fasta import BLOCK_BYTES, Header, Residues
from seqmodel.dataset.seq.source import Source, Stamp, sha256_of
from seqmodel.errors import SequenceError
from seqmodel.files import open_binary, reading, text_of

SIGNATURE = 0x1A412743
_LETTERS = np.frombuffer(b"TCAG", dtype=np.uint8)
# the four bases of each byte as one word; the first base is in the highest bits of the byte
_WORDS = np.stack([_LETTERS[(np.arange(256) >> x) & 3] for x in (6, 4, 2, 0)], axis=1).view("u4")


def is_twobit(path: str) -> bool:
    """Return whether a file begins like a 2bit file."""
    with open_binary(path, SequenceError) as f:
        head = f.read(4)
    return SIGNATURE in (int.from_bytes(head, "little"), int.from_bytes(head, "big"))


class TwoBitReader:
    """Events of one 2bit file; line numbers are record numbers from 1.

    Args:
        path: Path of the file.
        progress: Function called with the number of bytes of each record.
    """

    def __init__(self, path: str, progress: Callable[[int], None] | None = None) -> None:
        self.path, self._progress = path, progress
        self.source: Source | None = None

    def __iter__(self) -> Iterator[Header | Residues]:
        """Iterate over headers and residues in the order of the index.

        Raises:
            SequenceError: The file is truncated or not a 2bit file.
        """
        with reading(self.path, SequenceError, "2bit file"):
            before = Stamp.of(self.path)
            self._data = np.memmap(self.path, dtype=np.uint8, mode="r")
        try:
            for number, (name, at) in enumerate(self._records(), 1):
                yield Header(name, number)
                yield from self._residues(at, number)
        except (IndexError, ValueError) as e:
            if isinstance(e, SequenceError):
                raise
            raise SequenceError(
                f"{self.path}: truncated or damaged 2bit file; copy or download it again"
            ) from e
        sha256 = sha256_of(self.path)
        if not before.is_file(Stamp.of(self.path)):
            raise SequenceError(f"{self.path}: changed while it was read; try again")
        self.source = Source(os.path.abspath(self.path), sha256, before)

    def _where(self, number: int) -> str:
        return f"{self.path} record {number}"

    def _words(self, at: int, n: int) -> np.ndarray:
        raw = self._data[at : at + 4 * n]
        if len(raw) < 4 * n:
            raise IndexError
        return np.frombuffer(raw.tobytes(), dtype=f"{self._order}u4").astype(np.int64)

    def _records(self) -> list[tuple[str, int]]:
        little = int.from_bytes(self._data[:4].tobytes(), "little") == SIGNATURE
        self._order = "<" if little else ">"
        _, version, n, _ = self._words(0, 4).tolist()
        if version != 0:
            raise SequenceError(f"{self.path}: 2bit version {version}; only version 0 is read")
        records, at = [], 16
        for number in range(1, n + 1):
            size = int(self._data[at])
            raw = self._data[at + 1 : at + 1 + size].tobytes()
            name = text_of(raw, partial(self._where, number), SequenceError)
            records.append((name, int(self._words(at + 1 + size, 1)[0])))
            at += 5 + size
        return records

    def _residues(self, at: int, number: int) -> Iterator[Residues]:
        size = int(self._words(at, 1)[0])
        unknown, at = self._runs(at + 4)
        lower, at = self._runs(at)
        at += 4
        if at + -(-size // 4) > len(self._data):
            raise IndexError
        for start in range(0, size, BLOCK_BYTES):
            end = min(start + BLOCK_BYTES, size)
            packed = self._data[at + start // 4 : at + -(-end // 4)]
            letters = _WORDS[packed].view(np.uint8).reshape(-1)[: end - start]
            letters[_inside(unknown, start, end)] = ord("N")
            letters |= _inside(lower, start, end).view(np.uint8) << 5
            if self._progress is not None:
                self._progress(len(packed))
            yield Residues(letters.tobytes(), number)

    def _runs(self, at: int) -> tuple[np.ndarray, int]:
        n = int(self._words(at, 1)[0])
        starts, sizes = self._words(at + 4, n), self._words(at + 4 + 4 * n, n)
        return np.stack((starts, starts + sizes)), at + 4 + 8 * n


def _inside(runs: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return which positions from `start` to `end` lie in one of the runs [2, n], bool."""
    first, last = np.clip(runs, start, end) - start
    here = first < last
    depth = np.zeros(end - start + 1, dtype=np.int32)
    np.add.at(depth, first[here], 1)
    np.add.at(depth, last[here], -1)
    return np.cumsum(depth[:-1], dtype=np.int32) > 0
