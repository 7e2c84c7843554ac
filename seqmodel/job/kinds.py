"""Choose the class of job that handles a replicate: the one that made it.

A folder may hold runs of ShellJob, SlurmJob and subclasses. A class is never imported only because
a record names it: a subclass is used if the user has imported it, and otherwise its nearest class
in this package.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from seqmodel.errors import JobError
from seqmodel.hparam.target import resolve_target
from seqmodel.job import launch
from seqmodel.job.events import Record
from seqmodel.job.os_interface import Interface
from seqmodel.job.replicate import RECORD, parse_record
from seqmodel.job.state import Status
from seqmodel.record.run_files import Damaged, why

if TYPE_CHECKING:
    from seqmodel.job.job import Job

# named instead of imported: these classes use this module
KINDS = {"shell": "seqmodel.job.shell:ShellJob", "slurm": "seqmodel.job.slurm:SlurmJob"}
_OLD_NAMES = {"ShellJob": "shell", "SlurmJob": "slurm"}


def base_class(kind: str) -> type[Job]:
    """Return the class of this package for a kind of job."""
    found: type[Job] = resolve_target(KINDS.get(kind, KINDS["shell"]))
    return found


def job_class(kind: str, path: str = "") -> type[Job]:
    """Return the class `module:Class` if it is imported and of this kind, else ours."""
    base = base_class(kind)
    module, _, name = path.partition(":")
    found = getattr(sys.modules.get(module), name, None) if name else None
    return found if isinstance(found, type) and issubclass(found, base) else base


def kind_of(job_json: Mapping[str, Any]) -> str:
    """Return the kind of job in a job.json; before 0.1.1 it had only the name of the class."""
    kind = job_json.get("base") or _OLD_NAMES.get(job_json.get("kind", ""))
    if kind is None:
        kind = "slurm" if "directives" in job_json.get("fields", {}) else "shell"
    return str(kind)


def refuse_login_node(interface: Interface, choices: str) -> None:
    """Refuse to start processes on a cluster host behind SSH unless the user asks for that.

    Args:
        interface: Interface of the host.
        choices: Text that shows how the user chooses between the two.

    Raises:
        JobError: The host has sbatch.
    """
    if not interface.is_local and interface.call(launch.has_program, name="sbatch"):
        raise JobError(
            f"{interface.name} has Slurm, and clusters do not allow training on their login nodes; "
            f"choose: {choices}"
        )


def classes(
    interface: Interface, statuses: Sequence[Status], default: type[Job] | None = None
) -> dict[str, type[Job]]:
    """Return the class of job for each replicate, by folder.

    Args:
        interface: Interface of the host that has the replicates.
        statuses: States of the replicates.
        default: Class for replicates of unknown kind. If None: read each job.json, and mark a
            replicate whose job.json is missing or damaged as damaged.
    """
    known = {}
    for status in statuses:
        cls = _by_events(status.record)
        if cls is not None:
            known[status.folder] = cls
    wanted = [s for s in statuses if default is None or "kind" not in s.record.made]
    contents = interface.read([f"{s.folder}/{RECORD}" for s in wanted]) if wanted else {}
    for status in wanted:
        path = f"{status.folder}/{RECORD}"
        try:
            if path not in contents:
                raise Damaged(f"{RECORD}: missing, or not a regular file")
            record = parse_record(contents[path], path)
            known[status.folder] = job_class(kind_of(record), str(record.get("class", "")))
        except Exception as e:  # an error in one replicate does not stop the others
            if default is None:
                status.state, status.reason = "damaged", why(e)
                known.pop(status.folder, None)
            else:
                known.setdefault(status.folder, default)
    return known


def _by_events(record: Record) -> type[Job] | None:
    kind, path = record.kind, record.made.get("class", "")
    return job_class(kind, path) if kind in KINDS else None
