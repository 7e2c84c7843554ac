"""Arrays that are slow to compute, memory-mapped beside their source or in a cache folder.

A cached array is a .npy file with a trailer that NumPy does not read: JSON with the
sources (source.py) and the CRC-32 of each MiB of the values, then "SEQARRAY", and the length and
the CRC-32 of the JSON as uint64.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from seqmodel.dataset.seq.checksum import BlockSums, damaged_blocks
from seqmodel.dataset.seq.source import (
    DAMAGED,
    Source,
    Stamp,
    look_same,
    note,
    read_again,
    user_cache,
)
from seqmodel.dataset.seq.store import beside, is_writable, real_paths
from seqmodel.dataset.seq.store_build import lock, writing_cache
from seqmodel.errors import LabelError
from seqmodel.files import open_binary

_MAGIC = b"SEQARRAY"
_PART_BYTES = 1 << 24


def key_of(*words: object) -> str:
    """Return a 16-digit hexadecimal key of plain values and arrays; different values differ."""
    digest = hashlib.sha256()
    for word in words:
        if isinstance(word, np.ndarray):
            digest.update(f"{word.dtype}{word.shape}".encode())
            digest.update(np.ascontiguousarray(word).tobytes())
        else:
            digest.update(json.dumps(word, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def cached_array(
    sources: Sequence[str],
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype | type,
    fill: Callable[[np.ndarray], None],
    cache_dir: str | None = None,
) -> np.ndarray:
    """Return the array `key` of `sources`, mapped and read-only; `fill` computes it if missing.

    The array is computed again if a source has changed (source.py) or its trailer is damaged.

    Args:
        sources: Files that `fill` reads; the array is stored beside the first, if that folder is
            writable.
        key: Key of everything else that determines the content.
        shape: Shape of the array.
        dtype: Type of the values.
        fill: Function that writes all values into an array of zeros.
        cache_dir: Other folder for the array.

    Raises:
        LabelError: No folder is writable, or the disk is full.
    """
    real = real_paths(sources)
    name = f"{os.path.basename(sources[0])}.{key_of(real, key)}.npy"
    own = [os.path.dirname(beside(sources[0])), user_cache()]
    folders = [os.path.abspath(cache_dir)] if cache_dir else own
    targets = [os.path.join(folder, name) for folder in folders]
    # for a link, also the folder of its target, which is read but never written
    linked = [] if cache_dir else [os.path.join(os.path.dirname(real[0]), name)]
    for target in [*targets, *linked]:
        found = _load(target, shape, dtype)
        if found is not None and look_same(target, found[1].sources, sources):
            return found[0]
    writable = next((x for x in targets if is_writable(os.path.dirname(x))), None)
    for target in targets:
        if target != writable and not os.path.exists(target):
            continue
        with lock(target):  # one of several processes checks or computes it
            found = _load(target, shape, dtype)
            if found is None or not _has_content(target, *found, sources):
                if target != writable:
                    continue
                _write(target, shape, np.dtype(dtype), fill, sources)
                found = _load(target, shape, dtype)
                if found is None:
                    raise LabelError(f"{target} was written but cannot be read; try again")
            return found[0]
    raise LabelError(f"{sources[0]}: none of {', '.join(folders)} is writable; set --cache_dir")


class _End(NamedTuple):
    """Trailer after the values of a cached array."""

    sources: list[Source]
    sums: list[int]

    @classmethod
    def read(cls, path: str) -> _End:
        """Read the trailer of a file; without one, this raises an error of `DAMAGED`."""
        with open_binary(path, LabelError) as f:
            size = os.fstat(f.fileno()).st_size
            f.seek(max(0, size - 24))
            tail = f.read()
            n_bytes, crc = np.frombuffer(tail[8:], dtype="<u8").tolist()
            f.seek(max(0, size - 24 - n_bytes))
            raw = f.read(min(n_bytes, size))
        if tail[:8] != _MAGIC or zlib.crc32(raw) != crc:
            raise ValueError("the array has no complete trailer")
        found = json.loads(raw)
        return cls([Source.from_dict(x) for x in found["sources"]], found["block_crc32"])

    def written(self) -> bytes:
        plain = {"sources": [x.to_dict() for x in self.sources], "block_crc32": self.sums}
        raw = json.dumps(plain).encode()
        return raw + _MAGIC + np.array([len(raw), zlib.crc32(raw)], dtype="<u8").tobytes()


def check_array(path: str) -> int:
    """Read a cached array; return the number of compared blocks.

    Raises:
        LabelError: A block is damaged.
    """
    try:
        array, sums = np.load(path, mmap_mode="r", allow_pickle=False), _End.read(path).sums
        damaged = damaged_blocks(_bytes_of(array), sums)
    except (OSError, EOFError, *DAMAGED):
        damaged, sums = [0], [0]
    if damaged:
        raise LabelError(
            f"{path}: {len(damaged)} of {len(sums)} blocks of 1 MiB are damaged; delete the file, "
            "which will be computed again, and do not trust results since the last check"
        )
    return len(sums)


def _load(
    path: str, shape: tuple[int, ...], dtype: np.dtype | type
) -> tuple[np.ndarray, _End] | None:
    header = _header(shape, np.dtype(dtype))
    with contextlib.suppress(OSError, *DAMAGED):
        with open_binary(path, LabelError) as f:
            if f.read(len(header)) != header:
                return None
        return np.load(path, mmap_mode="r", allow_pickle=False), _End.read(path)
    return None


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    out = io.BytesIO()
    words = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, words)
    return out.getvalue()


def _has_content(target: str, array: np.ndarray, end: _End, files: Sequence[str]) -> bool:
    """Return whether `target` is undamaged and was computed from the content of `files`."""
    if look_same(target, end.sources, files):
        return True
    found = read_again(end.sources, files)
    if found is None:
        return False
    damaged = damaged_blocks(_bytes_of(array), end.sums)
    if damaged:
        warnings.warn(
            f"{target}: {len(damaged)} of {len(end.sums)} blocks are damaged; computing it again",
            stacklevel=2,
        )
        return False
    note(target, found)
    return True


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.asarray(array).reshape(-1).view(np.uint8)


def _write(
    target: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    fill: Callable[[np.ndarray], None],
    files: Sequence[str],
) -> None:
    sources = [Source.read(x) for x in files]
    with writing_cache(target, LabelError) as out:
        out.write(_header(shape, dtype))
        at = out.tell()
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        # allocates the disk space now: a full disk would kill the process later, through the map
        os.posix_fallocate(out.fileno(), 0, at + n_bytes)
        out.flush()
        sums = BlockSums()
        if n_bytes:
            array = np.memmap(out, dtype=dtype, mode="r+", offset=at, shape=shape)
            fill(array)
            array.flush()
            for i in range(0, n_bytes, _PART_BYTES):
                sums.update(_bytes_of(array)[i : i + _PART_BYTES])
                release(array)
        for source, path in zip(sources, files, strict=True):
            if not source.stamp.is_file(Stamp.of(path)):
                raise LabelError(f"{path} changed while it was read; try again")
        out.seek(at + n_bytes)
        out.write(_End(sources, sums.sums()).written())


def release(array: np.ndarray) -> None:
    """Free the memory of a mapped array, or of a part of one; its values remain in the file."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


class MappedArray:
    """Mapped array that is sent to workers as its path."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self._sums = _End.read(self.path).sums

    @property
    def path(self) -> str:
        """Path of the mapped file."""
        return str(cast("np.memmap", self.array).filename)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "sums": self._sums}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._sums = state["sums"]
        if _End.read(state["path"]).sums != self._sums:
            raise LabelError(
                f"{state['path']}: has been computed again by another process; start again"
            )
        self.array = np.load(state["path"], mmap_mode="r", allow_pickle=False)
