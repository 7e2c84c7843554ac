"""Replicates of a run: the same hyperparameters with seeds of their own. Light.

Two runs with one seed are equal bit for bit, so they say nothing about how much a score varies.
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
    """The hyperparameters of the runs to submit, so that there are `n` replicates.

    A run that is complete, runs or waits counts; one that failed does not.

    Args:
        job: where.
        n: number of replicates.
        hparams: of the run; its seed is the first one, then follow the next numbers.
        new: `n` more replicates, instead of `n` in all.
        same_seed: all with the seed of the run: repeats, which are equal.
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
