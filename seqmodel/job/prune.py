"""Removes the half-made folders that submitters left when they were cut off; nothing else.

A folder goes only if all that it holds is what a submitter writes before `events` is whole: no
run began in it, nothing was written by a job, and nobody is writing there now.
"""

from __future__ import annotations

from typing import NamedTuple

from seqmodel.job import agent
from seqmodel.job.os_interface import Interface
from seqmodel.job.status_table import read_status

OLDER_THAN_MIN = 5  # a submitter gives a connection that writes folders no longer than this


class Pruned(NamedTuple):
    """Paths of folders that are gone, and {path: why} of half-made folders that were left."""

    removed: list[str]
    kept: dict[str, str]


def prune(interface: Interface, root: str, older_than_min: int = OLDER_THAN_MIN) -> Pruned:
    """Removes half-made folders below `root`.

    Args:
        interface: the host where they lie.
        root: a job_out_dir, or a folder in it.
        older_than_min: minutes in which nothing was written there: a submitter may be at work.

    Raises:
        JobError: there is no such folder, or the host did not answer.
    """
    half = [s.folder for s in read_status(interface, root, None) if s.reason == "half-made"]
    found = interface.call(agent.prune, folders=half, older_than_min=older_than_min) if half else []
    return Pruned(
        [folder for folder, why in found if why == "removed"],
        {folder: why for folder, why in found if why != "removed"},
    )
