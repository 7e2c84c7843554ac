"""Advice on time, memory, CPUs and the cost of a search, from the usage of finished runs.

The advice is the maximum over the runs plus a margin, because a job that reaches its limit costs
more than a job that requests a little too much.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqmodel.job.results.result import Result, read_results

if TYPE_CHECKING:
    from seqmodel.job.job import Job

TIME_MARGIN = 1.5
MEMORY_MARGIN = 1.25
MAX_READ = 2000  # only the newest runs of a longer history are used


class Advice:
    """The usage of finished runs, and the settings that follow from it.

    Attributes:
        n: Number of runs.
        longest_s, mean_s: Longest and mean time of the whole job, in seconds.
        staging_s: Mean time of staging, in seconds; None if unknown.
        peak_memory: Largest peak memory, in bytes; None if unknown.
        cpus: Mean number of busy CPUs in the busiest run; None if unknown.
    """

    def __init__(self, found: Sequence[Result]) -> None:
        self.n = len(found)
        elapsed = [r.elapsed_s for r in found]
        self.longest_s = max(elapsed, default=0.0)
        self.mean_s = math.fsum(elapsed) / len(elapsed) if elapsed else 0.0
        staging = [r.staging_s for r in found if r.staging_s is not None]
        self.staging_s = math.fsum(staging) / len(staging) if staging else None
        self.peak_memory = max((r.peak_memory for r in found if r.peak_memory), default=None)
        self.cpus = max(filter(None, map(_busy, found)), default=None)

    @property
    def time_min(self) -> int:
        """The minutes to request: 1.5 times the longest run, in steps of five."""
        return max(5, 5 * math.ceil(TIME_MARGIN * self.longest_s / 300))

    @property
    def memory(self) -> str | None:
        """The memory to request: 1.25 times the largest peak, in whole GB."""
        if self.peak_memory is None:
            return None
        return f"{max(1, math.ceil(MEMORY_MARGIN * self.peak_memory / 2**30))}G"

    @property
    def n_cpus(self) -> int | None:
        """The number of CPUs to request."""
        return None if self.cpus is None else max(1, round(self.cpus))

    def settings(self) -> dict[str, Any]:
        """Return the advice as settings of a SlurmJob."""
        if not self.n:
            return {}
        found = {"slurm_time_min": self.time_min, "slurm_mem": self.memory}
        found["slurm_cpus"] = self.n_cpus
        return {name: value for name, value in found.items() if value is not None}

    def cost_text(self, n_runs: int, n_at_once: int | None = None) -> str:
        """Return the cost of `n_runs` runs like these."""
        hours = n_runs * self.mean_s / 3600
        cores = f" ({hours * self.cpus:.3g} CPU hours)" if self.cpus else ""
        text = f"{n_runs} runs like them: {hours:.3g} hours{cores}"
        if n_at_once:
            rounds = math.ceil(n_runs / n_at_once)
            text += f", {rounds * self.mean_s / 3600:.3g} with {n_at_once} at once"
        return text

    def text(self, n_runs: int = 0, n_at_once: int | None = None) -> str:
        """Return the advice as lines of text."""
        if not self.n:
            return "no finished run to learn from"
        settings = " ".join(f"--{name}={value}" for name, value in self.settings().items())
        took = f"{self.n} finished runs took {_minutes(self.mean_s)} on average, "
        took += f"{_minutes(self.longest_s)} at most"
        if self.staging_s is not None:
            took += f", {self.staging_s:.0f} s of it staging"
        if self.peak_memory is not None:
            took += f"; {self.peak_memory / 2**30:.2f} GB at the peak"
        if self.cpus is not None:
            took += f"; up to {self.cpus:.1f} CPUs busy"
        lines = [took, f"ask for: {settings}"]
        if n_runs:
            lines.append(self.cost_text(n_runs, n_at_once))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()


def advise(found: Sequence[Result]) -> Advice:
    """Return advice from the complete runs."""
    done = [r for r in found if r.status.state == "complete" and r.elapsed_s > 0]
    return Advice(sorted(done, key=lambda r: r.modified)[-MAX_READ:])


def submit_line(job: Job, runs: Sequence[Mapping[str, object]]) -> str:
    """Return a line of advice for runs to submit from this host; "" without earlier runs.

    Runs of the same task and encoder are compared, if present.
    """
    root = job.find_root()
    if not runs or not os.path.isdir(root):
        return ""
    found = [r for r in read_results(root, newest=MAX_READ) if r.status.state == "complete"]
    alike = [r for r in found if _alike(r, runs[0])]
    advice = advise(alike or found)
    if not advice.n:
        return ""
    settings = ", ".join(f"{name}={value!r}" for name, value in advice.settings().items())
    return (
        f"{advice.cost_text(len(runs), job.n_at_once)}; from {advice.n} finished ones: {settings}"
    )


def _alike(result: Result, given: Mapping[str, object]) -> bool:
    names = [name for name in ("task", "encoder") if name in given]
    return all(result.hparams.get(name) == given[name] for name in names)


def _busy(result: Result) -> float | None:
    cpu, wall = result.usage.get("cpu_s"), result.usage.get("wall_s")
    return cpu / wall if cpu and wall and wall > 1e-3 else None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
