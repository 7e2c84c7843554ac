"""Remove the incomplete folders that interrupted submissions left behind.

A folder is removed only if it holds nothing but what a submitter writes before `events` is
complete: no run has started in it, no job has written to it, and no process is writing now.
"""

from __future__ import annotations

from typing import NamedTuple

from seqmodel.job import agent
from seqmodel.job.os_interface import Interface
from seqmodel.job.status_table import read_status

OLDER_THAN_MIN = 5  # maximum time for a connection that writes folders


class Pruned(NamedTuple):
    """Paths of the removed folders, and {path: reason} of incomplete folders that were kept."""

    removed: list[str]
    kept: dict[str, str]


def prune(interface: Interface, root: str, older_than_min: int = OLDER_THAN_MIN) -> Pruned:
    """Remove incomplete folders below `root`.

    Args:
        interface: Interface of the host that has the folders.
        root: Path of a job_out_dir, or of a folder in it.
        older_than_min: Minimum age of the last write in minutes; a submitter may be active.

    Raises:
        JobError: The folder does not exist, or the host did not answer.
    """
    half = [s.folder for s in read_status(interface, root, None) if s.reason == "half-made"]
    found = interface.call(agent.prune, folders=half, older_than_min=older_than_min) if half else []
    return Pruned(
        [folder for folder, why in found if why == "removed"],
        {folder: why for folder, why in found if why != "removed"},
    )
