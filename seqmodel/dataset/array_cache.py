"""Arrays that take long to make, kept memory-mapped beside their source or in a cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence

import numpy as np

from seqmodel.dataset.store import is_writable, user_cache
from seqmodel.dataset.store_build import lock, remove_stale, write_aside
from seqmodel.errors import LabelError


def key_of(*words: object) -> str:
    """Sixteen hex digits that stand for plain values and arrays; two that differ differ here."""
    digest = hashlib.sha256()
    for word in words:
        if isinstance(word, np.ndarray):
            digest.update(f"{word.dtype}{word.shape}".encode())
            digest.update(np.ascontiguousarray(word).tobytes())
        else:
            digest.update(json.dumps(word, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def file_words(paths: Sequence[str]) -> list[list]:
    """What stands for the content of files in a key: real path, size and time."""
    found = []
    for path in map(os.path.realpath, paths):
        stat = os.stat(path)
        found.append([path, stat.st_size, stat.st_mtime_ns])
    return found


def cached_array(
    source: str,
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype | type,
    fill: Callable[[np.ndarray], None],
    cache_dir: str | None = None,
) -> np.ndarray:
    """The array `key` of `source`, mapped and read-only; made by `fill` if it is not there.

    Args:
        source: file beside which it is kept if that folder can be written.
        key: stands for all that the content depends on.
        shape: shape of the array.
        dtype: type of its values.
        fill: writes all of the values into an array of zeros.
        cache_dir: folder to keep it in instead.

    Raises:
        LabelError: no folder can be written, or the disk is full.
    """
    name = f"{os.path.basename(source)}.{key}.npy"
    beside = [os.path.dirname(os.path.realpath(source)), user_cache()]
    folders = [os.path.abspath(cache_dir)] if cache_dir else beside
    for folder in folders:
        found = _load(os.path.join(folder, name), shape, dtype)
        if found is not None:
            return found
    folder = next((x for x in folders if is_writable(x)), None)
    if folder is None:
        raise LabelError(f"{source}: none of {', '.join(folders)} can be written; set --cache_dir")
    target = os.path.join(folder, name)
    with lock(target):
        if _load(target, shape, dtype) is None:
            remove_stale(target)
            _write(target, shape, np.dtype(dtype), fill)
    return _load(target, shape, dtype)


def _load(path: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray | None:
    with contextlib.suppress(OSError, ValueError, EOFError):
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.shape == shape and found.dtype == dtype:
            return found
    return None


def _write(
    target: str, shape: tuple[int, ...], dtype: np.dtype, fill: Callable[[np.ndarray], None]
) -> None:
    with write_aside(target) as out:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        at = out.tell()
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        # taken from the disk now: a full one would kill the process later, through the map
        os.posix_fallocate(out.fileno(), 0, at + n_bytes)
        out.flush()
        if n_bytes:
            array = np.memmap(out, dtype=dtype, mode="r+", offset=at, shape=shape)
            fill(array)
            array.flush()


class MappedArray:
    """A mapped array that travels to workers as its path."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.array.filename}

    def __setstate__(self, state: dict) -> None:
        self.array = np.load(state["path"], mmap_mode="r", allow_pickle=False)
