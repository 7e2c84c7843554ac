"""Memory of a training step on the CPU: kept for the next step, not given back to the system.

Each step frees large blocks and asks for the same ones again. glibc maps every block of over 32 MB
anew and returns the top of its heap, so the kernel has to find and clear the same pages again: some
per cent of a step, more in the first ones (docs/speed.md). Other allocators and systems are left as
they are.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# options of mallopt(3), from glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
# what a process comes to by itself that has freed large blocks; once set, glibc moves it no more
_AFTER = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_USERS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Within it what is freed is kept by this process; after it, it is given back.

    Gives whether that could be arranged: not without glibc, nor where the user has set one of its
    own variables (MALLOC_TRIM_THRESHOLD_, GLIBC_TUNABLES, ...), which is kept.
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
