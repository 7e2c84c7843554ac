"""What to ask for, from what finished runs took: time, memory, CPUs, and the cost of a search.

The longest and the largest of the runs count, with a margin: a job that ends at its limit costs
more than one that asked for a little too much.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqmodel.job.results.result import Result

if TYPE_CHECKING:
    from seqmodel.job.job import Job

TIME_MARGIN = 1.5
MEMORY_MARGIN = 1.25
MAX_READ = 2000  # of a larger history the newest are enough


class Advice:
    """What finished runs took, and what follows.

    Attributes:
        n: number of runs that it follows from.
        longest_s, mean_s: seconds of the whole job.
        staging_s: of these, mean seconds of staging; None if unknown.
        peak_memory: bytes; None if unknown.
        cpus: CPUs that were busy on average, of the busiest run; None if unknown.
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
        """Minutes to ask for: the longest run and half as much again, in steps of five."""
        return max(5, 5 * math.ceil(TIME_MARGIN * self.longest_s / 300))

    @property
    def memory(self) -> str | None:
        """Memory to ask for: the largest peak and a quarter, in whole GB."""
        if self.peak_memory is None:
            return None
        return f"{max(1, math.ceil(MEMORY_MARGIN * self.peak_memory / 2**30))}G"

    @property
    def n_cpus(self) -> int | None:
        """CPUs to ask for."""
        return None if self.cpus is None else max(1, round(self.cpus))

    def settings(self) -> dict[str, Any]:
        """The same as settings of a SlurmJob."""
        if not self.n:
            return {}
        found = {"slurm_time_min": self.time_min, "slurm_mem": self.memory}
        found["slurm_cpus"] = self.n_cpus
        return {name: value for name, value in found.items() if value is not None}

    def cost_text(self, n_runs: int, n_at_once: int | None = None) -> str:
        """What `n_runs` like these would take."""
        hours = n_runs * self.mean_s / 3600
        cores = f" ({hours * self.cpus:.3g} CPU hours)" if self.cpus else ""
        text = f"{n_runs} runs like them: {hours:.3g} hours{cores}"
        if n_at_once:
            rounds = math.ceil(n_runs / n_at_once)
            text += f", {rounds * self.mean_s / 3600:.3g} with {n_at_once} at once"
        return text

    def text(self, n_runs: int = 0, n_at_once: int | None = None) -> str:
        """The advice in lines."""
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
    """Advice from those of the runs that are complete."""
    done = [r for r in found if r.status.state == "complete" and r.elapsed_s > 0]
    return Advice(done[-MAX_READ:])


def submit_line(job: Job, runs: Sequence[Mapping[str, object]]) -> str:
    """One line of advice for runs about to be submitted from this host; "" without a history.

    Runs of the same task and encoder are compared, if there are any.
    """
    from seqmodel.job.results.table import results

    root = job.find_root()
    if not runs or not os.path.isdir(root):
        return ""
    found = [r for r in results(root) if r.status.state == "complete"]
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
