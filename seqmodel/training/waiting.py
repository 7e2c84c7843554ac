"""Let OpenMP's threads wait asleep while other processes need the CPUs, and spin while none does.

The threads of an operation wait for each other at its end. By default, a thread of libgomp spins
for some milliseconds before it sleeps. Spinning is the fastest if each thread has a CPU of its
own. If there are more processes than CPUs, a thread spins while the one that it waits for has no
CPU (docs/speed.md). libgomp reads the number of spins once, when torch is imported; but it spins
only 100 times while the process has more OpenMP threads than CPUs ("GOMP_SPINCOUNT" in its manual).
So this module starts idle threads while the CPUs are contended. Results do not depend on it. Other
OpenMP libraries and systems are left unchanged.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_USERS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_EVERY_S = 0.5
_CONTENDED, _FREE = 0.2, 0.1
"""Proportion of its time that a thread is ready to run, but has no CPU: above, below."""
_MOST_IDLE = 16
_TASKS = Path("/proc/self/task")


@contextmanager
def considerate_waits() -> Iterator[bool]:
    """Inside the block, OpenMP's threads do not spin while the CPUs are contended.

    Yields whether this works: it needs Linux and a torch that uses libgomp. If you set
    OMP_WAIT_POLICY or GOMP_SPINCOUNT yourself, seqmodel leaves the waiting unchanged.
    """
    gomp = _libgomp()
    n_threads = torch.get_num_threads()
    if gomp is None or n_threads == 1 or any(x in os.environ for x in _USERS):
        yield False
        return
    # one more than CPUs, with those that exist; the thread that starts them counts as one of them
    n_idle = gomp.omp_get_num_procs() - n_threads + 2
    if not 2 <= n_idle <= _MOST_IDLE:
        yield False
        return
    end = threading.Event()
    watch = threading.Thread(target=_watch, args=(gomp, n_idle, end), daemon=True)
    watch.start()
    try:
        yield True
    finally:
        end.set()
        watch.join()


def _libgomp() -> ctypes.CDLL | None:
    """Return the OpenMP library that torch uses if it is libgomp."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not path.exists() or not _delays():
        return None
    library = ctypes.CDLL(str(path))  # finds the functions of the libraries that it is linked to
    others = hasattr(library, "kmp_set_blocktime")  # of Intel and LLVM, which have GOMP_* as well
    return library if hasattr(library, "GOMP_parallel") and not others else None


def _delays() -> dict[str, int]:
    """Return {thread: nanoseconds that it was ready to run, but had no CPU}."""
    found = {}
    for task in os.listdir(_TASKS) if _TASKS.exists() else ():
        try:
            found[task] = int((_TASKS / task / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):  # the thread has ended, or Linux counts nothing
            continue
    return found


def _watch(gomp: ctypes.CDLL, n_idle: int, end: threading.Event) -> None:
    """Start idle threads when the CPUs become contended, and end them when they are free."""
    release: threading.Event | None = None
    before = _delays()
    while not end.wait(_EVERY_S):
        now = _delays()
        waited = max((t - before[x] for x, t in now.items() if x in before), default=0)
        before = now
        contended = waited > _CONTENDED * _EVERY_S * 1e9
        free = waited < _FREE * _EVERY_S * 1e9
        if contended and release is None:
            release = threading.Event()
            threading.Thread(target=_crowd, args=(gomp, n_idle, release), daemon=True).start()
        elif free and release is not None:
            release.set()
            release = None
    if release is not None:
        release.set()


def _crowd(gomp: ctypes.CDLL, n_idle: int, release: threading.Event) -> None:
    """Keep `n_idle` OpenMP threads asleep, this one included; libgomp ends them with this one."""
    nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)  # free(NULL) does nothing
    gomp.GOMP_parallel(nothing, None, ctypes.c_uint(n_idle), ctypes.c_uint(0))
    release.wait()
