"""Replicates of a run: the same hyperparameters with different seeds. Light.

Two runs with the same seed are equal bit for bit, so they do not show how much a score varies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqmodel.job.job import Job


def replicates(
    job: Job, n: int, hparams: Mapping[str, object], *, new: bool, same_seed: bool
) -> list[dict[str, object]]:
    """Return the hyperparameters of the runs that must be submitted to have `n` replicates.

    Complete, running and queued runs count; failed runs do not.

    Args:
        job: Job that submits the runs.
        n: Number of replicates.
        hparams: Hyperparameters of the run; its seed is the first, then follow the next integers.
        new: Add `n` replicates, instead of having `n` in total.
        same_seed: Use the seed of the run for all; the results are equal.
    """
    run = job.resolve(hparams)
    there: Counter[str] = Counter()
    if not (new and same_seed):
        there.update(
            status.folder.rsplit("/", 2)[1]
            for status in job.status()
            if status.state in ("complete", "running") or status.queued
        )
    if same_seed:
        n_there = 0 if new else sum(there[name] for name in {run.canonical(), *run.old_names()})
        return [dict(hparams)] * max(0, n - n_there)
    found: list[dict[str, object]] = []
    seed, n_there = int(run.values.seed), 0
    while len(found) + n_there < n:
        run = job.resolve({**hparams, "seed": seed})
        if not any(there[name] for name in (run.canonical(), *run.old_names())):
            found.append({**hparams, "seed": seed})
        elif not new:
            n_there += 1
        seed += 1
    return found
