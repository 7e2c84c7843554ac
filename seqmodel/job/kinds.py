"""Which class of job handles a replicate: its own, whichever class is asked.

A folder may hold runs of ShellJob, of SlurmJob and of subclasses. What a record names is not
imported because it is named there: a subclass is used if the user has imported it, and its nearest
class of this package otherwise.
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

# named, not imported: these classes ask this module which of them a replicate has
KINDS = {"shell": "seqmodel.job.shell:ShellJob", "slurm": "seqmodel.job.slurm:SlurmJob"}
_OLD_NAMES = {"ShellJob": "shell", "SlurmJob": "slurm"}


def base_class(kind: str) -> type[Job]:
    """The class of this package for jobs of a kind."""
    found: type[Job] = resolve_target(KINDS.get(kind, KINDS["shell"]))
    return found


def job_class(kind: str, path: str = "") -> type[Job]:
    """The class `module:Class` if it was imported and is of this kind, else the package's own."""
    base = base_class(kind)
    module, _, name = path.partition(":")
    found = getattr(sys.modules.get(module), name, None) if name else None
    return found if isinstance(found, type) and issubclass(found, base) else base


def kind_of(job_json: Mapping[str, Any]) -> str:
    """The kind of job that a job.json records; before 0.1.1 only the name of its class was kept."""
    kind = job_json.get("base") or _OLD_NAMES.get(job_json.get("kind", ""))
    if kind is None:
        kind = "slurm" if "directives" in job_json.get("fields", {}) else "shell"
    return str(kind)


def refuse_login_node(interface: Interface, choices: str) -> None:
    """Refuses to start processes on a host of a cluster behind SSH when nobody asked for that.

    Args:
        interface: the host.
        choices: how the user says which of the two is meant.

    Raises:
        JobError: it has sbatch.
    """
    if not interface.is_local and interface.call(launch.has_program, name="sbatch"):
        raise JobError(
            f"{interface.name} has Slurm, and clusters do not allow training on their login nodes; "
            f"choose: {choices}"
        )


def classes(
    interface: Interface, statuses: Sequence[Status], default: type[Job] | None = None
) -> dict[str, type[Job]]:
    """The class for each replicate, by folder.

    Args:
        interface: where they lie.
        statuses: of the replicates.
        default: for those about which nothing is known. Without it, each job.json is read, and a
            replicate whose own is missing or damaged becomes damaged.
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
        except Exception as e:  # whatever is wrong with this one, the others are done
            if default is None:
                status.state, status.reason = "damaged", why(e)
                known.pop(status.folder, None)
            else:
                known.setdefault(status.folder, default)
    return known


def _by_events(record: Record) -> type[Job] | None:
    kind, path = record.kind, record.made.get("class", "")
    return job_class(kind, path) if kind in KINDS else None
