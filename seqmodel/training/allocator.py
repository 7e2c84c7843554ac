"""Keep the memory of a training step on the CPU for the next step instead of releasing it.

Each step frees large blocks and asks for the same ones again. glibc maps every block of over 32 MB
anew and returns the top of its heap, so the kernel has to find and clear the same pages again. This
takes a few per cent of a step, and more of the first steps (docs/speed.md). Other allocators and
systems are left unchanged.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# options of mallopt(3), from glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
# the value that glibc reaches by itself after large frees; once set, glibc keeps it
_AFTER = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_USERS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Keep freed memory in this process inside the block; release it afterwards.

    Yields whether this works: it needs glibc, and if you set any glibc malloc variable yourself
    (MALLOC_TRIM_THRESHOLD_, GLIBC_TUNABLES, ...), seqmodel leaves it unchanged.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version") or any(x in os.environ for x in _USERS):
        yield False
        return
    _set(libc, _KEEP)
    try:
        yield True
    finally:
        _set(libc, _AFTER)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, options: dict[int, int]) -> None:
    for option, value in options.items():
        libc.mallopt(option, value)
