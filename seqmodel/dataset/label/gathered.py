"""Arrays read block by block: small ones stay in memory, large ones go to a scratch file.

A scratch file has no name, so it disappears when the process ends or is killed.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from seqmodel.dataset.seq.source import user_cache
from seqmodel.dataset.seq.store import beside, is_writable
from seqmodel.errors import LabelError

HELD_BYTES = 1 << 26
"""An array above this is kept on the disk and mapped."""


def scratch_folder(cache_dir: str | None, path: str) -> str:
    """Return the scratch folder for reading `path`: `cache_dir`, its own folder, or the cache."""
    if cache_dir is not None:
        return os.path.abspath(cache_dir)
    own = os.path.dirname(beside(path))
    return own if is_writable(own) else user_cache()


class Gathered:
    """Array that grows along its first axis.

    Args:
        folder: Folder for the scratch file, if one is needed.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._parts: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._n = self._n_held = 0
        self._row: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return self._n

    def add(self, part: np.ndarray) -> None:
        """Append the rows of `part`; all parts are converted to the widest type.

        Raises:
            LabelError: The scratch file cannot be written.
        """
        if not self._n:
            self._dtype, self._row = part.dtype, part.shape[1:]
        dtype = np.result_type(self._dtype, part.dtype)
        if dtype != self._dtype:
            self._convert(dtype)
        self._put(np.ascontiguousarray(part, dtype=dtype))

    def array(self) -> np.ndarray:
        """Return all rows, mapped read-only if they are in a scratch file."""
        if self._file is None:
            if len(self._parts) != 1:
                empty = np.empty((0, *self._row), self._dtype)
                self._parts = [np.concatenate(self._parts) if self._parts else empty]
            return self._parts[0]
        self._spill()
        self._file.flush()
        shape = (self._n, *self._row)
        return np.asarray(np.memmap(self._file, dtype=self._dtype, mode="r", shape=shape))

    def _put(self, part: np.ndarray) -> None:
        self._parts.append(part)
        self._n += len(part)
        self._n_held += part.nbytes
        if self._n_held > HELD_BYTES or (self._file is not None and self._n_held > 1 << 20):
            self._spill()

    def _spill(self) -> None:
        try:
            if self._file is None:
                os.makedirs(self.folder, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 (kept)
                weakref.finalize(self, self._file.close)  # the map remains valid
            for part in self._parts:
                self._file.write(part.data if part.size else b"")
        except OSError as e:
            raise LabelError(
                f"cannot write scratch data to {self.folder}: {e.strerror or e}; free some space "
                "or set --cache_dir"
            ) from e
        self._parts, self._n_held = [], 0

    def _convert(self, dtype: np.dtype) -> None:
        """Convert the rows so far to another type."""
        before, file = self.array(), self._file
        self._parts, self._file, self._n, self._n_held = [], None, 0, 0
        self._dtype = dtype
        for part in pieces(before):
            self._put(part.astype(dtype))
        if file is not None:
            file.close()


def pieces(values: np.ndarray, n_bytes: int = 1 << 22) -> Iterator[np.ndarray]:
    """Iterate over the rows of an array, in pieces of about `n_bytes`."""
    step = max(1, n_bytes // max(1, values[:1].nbytes))
    return (values[i : i + step] for i in range(0, len(values), step))


def taken(values: np.ndarray, which: np.ndarray, folder: str) -> np.ndarray:
    """Return the rows of a mask or of indices; many go to a scratch file in `folder`, if set."""
    if not folder or values.nbytes <= HELD_BYTES:
        return values[which]
    found = Gathered(folder)
    index = np.flatnonzero(which) if which.dtype == bool else which
    found.add(values[:0])
    row_bytes = max(1, values[:1].nbytes)
    for part in pieces(index, max(8, (1 << 22) // row_bytes * index.itemsize)):
        found.add(values[part])
    return found.array()


def joined(parts: Sequence[np.ndarray], folder: str) -> np.ndarray:
    """Concatenate `parts`; many rows go to a scratch file in `folder`, if set."""
    if len(parts) == 1:
        return parts[0]
    if not folder or sum(x.nbytes for x in parts) <= HELD_BYTES:
        return np.concatenate(parts)
    found = Gathered(folder)
    for part in parts:
        for piece in pieces(part):
            found.add(piece)
    return found.array()
