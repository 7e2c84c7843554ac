"""How many CPU threads a process takes: never more than the CPUs that it may use.

torch takes one thread for each core of its affinity. It does not see a limit without binding: the
quota of a container, or Slurm's CPUs per task where Slurm does not bind tasks to CPUs. What you set
wins: --n_threads, then OMP_NUM_THREADS or MKL_NUM_THREADS, which torch reads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch

VARIABLE = "OMP_NUM_THREADS"
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def set_threads(n_threads: int | None, n_ranks: int = 1, *, bound: bool = False) -> None:
    """Set the number of CPU threads of this process.

    Args:
        n_threads: The number; None: the choice of torch, at most this process' share of the CPUs.
        n_ranks: Ranks on this host.
        bound: A launcher such as srun started the ranks and may have given each CPUs of its own.
    """
    if n_threads:
        torch.set_num_threads(n_threads)
    elif VARIABLE not in os.environ and "MKL_NUM_THREADS" not in os.environ:
        n = n_cpus()
        if not (bound and n < _on_node()):
            n = max(1, n // n_ranks)
        if n < torch.get_num_threads():
            torch.set_num_threads(n)
    if n_ranks > 1:  # if it is unset, Lightning sets another number when it starts the ranks
        os.environ.setdefault(VARIABLE, str(torch.get_num_threads()))


def n_cpus() -> int:
    """Return how many CPUs this process may use: affinity, quota, and Slurm's CPUs per task."""
    found = [n_bound(), *(max(1, math.ceil(quota)) for quota in _quotas())]
    per_task = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if per_task.isdecimal() and int(per_task):
        found.append(int(per_task))
    return min(found)


def n_bound() -> int:
    """Return to how many CPUs this process is bound; all of the host if the system binds none."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _on_node() -> int:
    """Return how many CPUs all ranks of this host have together."""
    text = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return int(text) if text.isdecimal() else os.cpu_count() or 1


def _quotas() -> Iterator[float]:
    """Yield the CPU quotas of the cgroups of this process, in CPUs; none outside of Linux."""
    try:
        lines = _OWN_CGROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root = _CGROUPS
        elif "cpu" in controllers.split(","):
            root = _CGROUPS / controllers
        else:
            continue
        # a container may see the path of the host, but only its own cgroup, as the root
        folder = root / path.strip("/")
        for each in (folder, *folder.parents):
            yield from _quota(each)
            if each == root:
                break


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota of one cgroup, of version 2 (`cpu.max`) or 1."""
    names = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    for files in names:
        try:
            words = " ".join((folder / x).read_text() for x in files).split()
            quota, period = float(words[0]), float(words[1])  # "max" is no number
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 < period:
            yield quota / period
