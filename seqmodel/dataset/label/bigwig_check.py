"""Check that the header and the trees of a bigWig file are possible for its size.

The libraries that read bigWig files trust the sizes in them: a flipped bit in a size ends the
process, without an error that can be caught. Values are not checked here.

Format: Kent et al. 2010, doi:10.1093/bioinformatics/btq351, supplementary tables 5 to 16.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

MAGIC = 0x888FFC26
_CHROM_MAGIC, _INDEX_MAGIC = 0x78CA8C91, 0x2468ACE0
_MOST_UNPACKED = 1 << 28
_MOST_KEY = 1 << 16


class _File:
    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        head = self.data[:4].tobytes()
        self.order = "<" if int.from_bytes(head, "little") == MAGIC else ">"
        if self.take("I", 0)[0] != MAGIC:
            raise ValueError("it does not begin like a bigWig file")

    def take(self, form: str, at: int) -> tuple[Any, ...]:
        """Read numbers at an offset."""
        size = struct.calcsize(self.order + form)
        return struct.unpack(self.order + form, self.part(at, size).tobytes())

    def part(self, at: int, size: int) -> np.ndarray:
        """Return bytes of the file after checking that they are in it."""
        if at < 0 or at + size > len(self.data):
            raise ValueError(f"bytes {at} to {at + size} are needed, but it has {len(self.data)}")
        return self.data[at : at + size]


def check_bigwig(data: np.ndarray) -> float | None:
    """Follow all offsets and sizes of a file.

    Args:
        data: Whole mapped file, uint8.

    Returns:
        Minimum of all values; None if the file does not record it.

    Raises:
        ValueError: An offset or size is impossible: the file is damaged, truncated or not bigWig.
    """
    file = _File(data)
    head = file.take("I2H3Q2H2QIQ", 0)
    _, _, n_zooms, chroms, values, index, _, _, _, summary, unpacked, _ = head
    if unpacked > _MOST_UNPACKED:
        raise ValueError(f"a block size of {unpacked} bytes")
    file.part(values, 4)
    _check_chroms(file, chroms)
    _check_index(file, index)
    for i in range(n_zooms):
        _, _, zoom_data, zoom_index = file.take("2I2Q", 64 + 24 * i)
        file.part(zoom_data, 4)
        _check_index(file, zoom_index)
    if not summary:
        return None
    n, least = file.take("Q4d", summary)[:2]
    return float(least) if n else None


def _check_chroms(file: _File, at: int) -> None:
    magic, _, key, value, n_contigs, _ = file.take("4I2Q", at)
    if magic != _CHROM_MAGIC or value != 8 or not 0 < key < _MOST_KEY:
        raise ValueError("the table of its contigs is damaged")
    n_found = 0
    for node, is_leaf, n in _nodes(file, at + 32, key + 8):
        file.part(node, n * (key + 8))
        n_found += n if is_leaf else 0
    if n_found != n_contigs:
        raise ValueError(f"it has {n_found} contigs, but its header says {n_contigs}")


def _check_index(file: _File, at: int) -> None:
    if file.take("I", at)[0] != _INDEX_MAGIC:
        raise ValueError("its index is damaged")
    for node, is_leaf, n in _nodes(file, at + 48, 24):
        if is_leaf and n:
            places = _numbers(file, node, n, 32, 16, 2)
            if int(places.max()) > len(file.data) or (places.sum(axis=1) > len(file.data)).any():
                raise ValueError("its index points beyond the end of the file")


def _nodes(file: _File, root: int, width: int) -> Iterator[tuple[int, bool, int]]:
    """Iterate over the nodes of a tree: start of its items, whether it is a leaf, item count.

    Items of inner nodes have `width` bytes; the last eight are the offset of a child.
    """
    waiting: list[int] = [root]
    seen: set[int] = set()
    while waiting:
        at = waiting.pop()
        if at in seen:
            raise ValueError("a tree in it has a cycle")
        seen.add(at)
        is_leaf, _, n = file.take("2BH", at)
        yield at + 4, bool(is_leaf), n
        if not is_leaf:
            waiting += _numbers(file, at + 4, n, width, width - 8, 1)[:, 0].tolist()


def _numbers(file: _File, at: int, n: int, width: int, skipped: int, n_words: int) -> np.ndarray:
    """Return `n_words` 8-byte words of each of n items, after `skipped` bytes."""
    items = file.part(at, n * width).reshape(n, width)[:, skipped : skipped + 8 * n_words]
    return np.ascontiguousarray(items).view(f"{file.order}u8").astype(np.uint64)
