"""CRC-32 of each MiB of a cached file: written on creation and compared after a copy."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

BLOCK_BYTES = 1 << 20


class BlockSums:
    """Checksums of the bytes passed to `update`, one for each complete or partial block."""

    def __init__(self) -> None:
        self._whole: list[int] = []
        self._sum, self._n = 0, 0

    def update(self, raw: bytes | bytearray | memoryview | np.ndarray) -> None:
        """Add the next bytes."""
        view = memoryview(raw.data if isinstance(raw, np.ndarray) else raw).cast("B")
        at = 0
        while at < len(view):
            part = view[at : at + BLOCK_BYTES - self._n]
            self._sum = zlib.crc32(part, self._sum)
            self._n += len(part)
            at += len(part)
            if self._n == BLOCK_BYTES:
                self._whole.append(self._sum)
                self._sum, self._n = 0, 0

    def sums(self) -> list[int]:
        """Return the checksums so far; the last block may be shorter."""
        return [*self._whole, *([self._sum] if self._n else [])]


def damaged_blocks(raw: np.ndarray, sums: Sequence[int]) -> list[int]:
    """Return indices of blocks of `raw`, uint8, that differ from `sums`; all if counts differ."""
    n_blocks = -(-len(raw) // BLOCK_BYTES)
    if n_blocks != len(sums):
        return list(range(max(n_blocks, 1)))
    view = raw.data
    return [
        i
        for i, wanted in enumerate(sums)
        if zlib.crc32(view[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]) != wanted
    ]
