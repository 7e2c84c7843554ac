"""The folders of replicates: how a number is reserved, and what is written before a job starts.

    <job_out_dir>/<canonical>/identity                identity of the replicates below
                              version_<n>/<canonical>_version_<n>.sh     the job
                                          hparams.json    all hyperparameters (a valid --config)
                                          job.json        what was given, settings, code, defaults
                                          events          history, one event per line
                                          stdout, stderr  output of the job
                                          submit.<k>      claim of the k-th submission
    <job_out_dir>/.seqmodel/                          code, functions for nodes, submissions, queues

mkdir reserves a number, because it succeeds only once, also on NFS and over SSH. `events` is
written last: a folder without its first line is left from an interrupted submission, without a job.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.canonical import tracked_values
from seqmodel.hparam.resolve import Run
from seqmodel.job import agent, launch
from seqmodel.job.os_interface import Interface
from seqmodel.record.run_files import Damaged, check_job, parse_object

KINDS = {"x": "no such program", "f": "no such file", "d": "no such folder"}
KINDS["n"] = "exists already; choose another, or set --overwrite:"
RECORD = "job.json"
SCHEMA = 1


class Replicate:
    """A replicate: a folder on the host of an interface.

    Attributes:
        interface: Interface of the host.
        root: Absolute path of job_out_dir on the host.
        folder: `<canonical>/version_<n>`, relative to root.
        job: Id from the scheduler, once it is known.
        reason: Why the last submission failed, else empty.
    """

    def __init__(self, interface: Interface, root: str, folder: str, job: str = "") -> None:
        self.interface, self.root, self.folder, self.job = interface, root, folder, job
        self.reason = ""

    @property
    def path(self) -> str:
        """The absolute path of the folder on the host."""
        return f"{self.root}/{self.folder}"

    @property
    def canonical(self) -> str:
        """The name of the run."""
        return self.folder.split("/")[0]

    @property
    def version(self) -> int:
        """The number of the replicate."""
        return int(self.folder.rsplit("_", 1)[1])

    @property
    def script_name(self) -> str:
        """The file name of the script."""
        return script_name(self.canonical, self.version)

    def read_record(self) -> dict[str, Any]:
        """Return the content of job.json.

        Raises:
            JobError: The file is missing or damaged.
        """
        return read_records(self.interface, [self])[self]

    def __repr__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"Replicate({self.path!r}{job})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replicate) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)


class Place(NamedTuple):
    """The answer of the host to a reservation of numbers.

    Attributes:
        root, workdir: Absolute paths on the host.
        taken: (canonical, n) in the order of the request.
        missing, lacking, moved: Missing data files; kind and path of other missing items;
            canonical names whose defaults have changed.
        has_code: Whether the host already has the archive of the code.
        max_array: MaxArraySize of the scheduler, if requested.
    """

    root: str
    workdir: str
    taken: Sequence[tuple[str, int]] = ()
    missing: Sequence[str] = ()
    lacking: Sequence[str] = ()
    moved: Sequence[str] = ()
    has_code: bool = False
    max_array: int = 0


def script_name(canonical: str, version: int) -> str:
    """Return the file name of a replicate's script."""
    return f"{canonical}_version_{version}.sh"


def identity(run: Run) -> str:
    """Return digests of the defaults and the set values, which all replicates of a folder share."""
    from hashlib import sha256

    from seqmodel.record.folder import defaults_digest

    values = sha256(json.dumps(run.tracked_values()).encode()).hexdigest()[:16]
    return f"defaults={defaults_digest(run)} values={values}"


def tracked_defaults(run: Run) -> dict[str, Any]:
    """Return the defaults of all hyperparameters that name a run."""
    return {n: h.default for n, h in sorted(run.parser.declared.items()) if h.tracked}


def reserve(
    interface: Interface,
    runs: Sequence[Run],
    *,
    job_out_dir: str,
    workdir: str,
    code: str,
    ask_arrays: bool = False,
    accept: Iterable[str] = (),
    needed: Sequence[tuple[str, str, str]] = (),
) -> Place:
    """Reserve a new version_<n> for each run, for all or none, in one connection.

    Args:
        interface: Interface of the host.
        runs: Run of each replicate.
        job_out_dir: Path on the host: relative to workdir, absolute, or below ~/.
        workdir: Path of the working directory on the host.
        code: Digest of the archive of the code.
        ask_arrays: Ask the scheduler for the maximum size of a job array.
        accept: Names of folders whose defaults were checked and are unchanged.
        needed: Flag, kind and path of other items that must exist: `x` a program, `f` a file, `d`
            a folder, `n` an output that is new or incomplete; relative to workdir, or below ~/.

    Raises:
        JobError: A folder, data file or needed item is missing there, or a default has changed.
    """
    names = [[run.canonical(), *run.old_names()] for run in runs]
    files = {path: flag for run in runs for flag, path in run.files}
    place = Place(
        **interface.call(
            launch.reserve,
            job_out_dir=job_out_dir,
            workdir=workdir,
            names=names,
            marks=[identity(run) for run in runs],
            accept=list(accept),
            needed=[need[1:] for need in needed],
            files=list(files),
            code=code,
            ask_arrays=ask_arrays,
        )
    )
    if place.lacking:
        flag, kind, path = next(need for need in needed if list(need[1:]) == list(place.lacking))
        raise JobError(
            f"{flag}: {path}: {KINDS[kind]} on {interface.name} (relative paths start from "
            f"workdir, {place.workdir}); nothing was submitted"
        )
    if place.missing:
        path = place.missing[0]
        raise JobError(
            f"{files[path]}: {path}: no such file on {interface.name} (looked in {place.workdir}); "
            "nothing was submitted"
        )
    if place.moved:
        named = {n: run for each, run in zip(names, runs, strict=True) for n in each}
        _compare_defaults(interface, place, named)
        return reserve(
            interface, runs, job_out_dir=job_out_dir, workdir=workdir, code=code,
            ask_arrays=ask_arrays, accept={*accept, *place.moved}, needed=needed,
        )  # fmt: skip
    return place


def _compare_defaults(interface: Interface, place: Place, runs: Mapping[str, Run]) -> None:
    """Refuse folders whose first replicate had other values or other defaults.

    New hyperparameters are accepted, because their defaults keep the earlier behaviour.
    """
    for name in place.moved:
        parent = f"{place.root}/{name}"
        versions = interface.call(agent.versions, folder=parent)
        records = interface.read([f"{parent}/{version}/{RECORD}" for version in versions])
        before, wrong = None, None
        for path, data in records.items():
            try:
                before = parse_record(data, path)
                break
            except JobError as e:  # the other replicates have the same defaults
                wrong = wrong or e
        if before is not None:
            _compare(parent, before, runs[name])
        elif wrong is not None:
            raise wrong


def _compare(parent: str, before: Mapping[str, Any], run: Run) -> None:
    now = json.loads(json.dumps(tracked_defaults(run)))
    old = before.get("defaults", {})
    moved = [
        f"{name} ({old[name]!r}, now {now[name]!r})" if name in now else f"{name} (now removed)"
        for name in old
        if name not in now or old[name] != now[name]
    ]
    if moved:
        raise JobError(
            f"{parent}: defaults have changed since its first replicate: {', '.join(moved)}; set "
            "the earlier values, or use another job_out_dir. Nothing was submitted"
        )
    changed = json.loads(json.dumps(run.tracked_values()))
    if _spelt_alike(before.get("changed"), run) != changed:
        raise JobError(
            f"{parent}: has replicates with other hyperparameters ({before['changed']}); use "
            "another job_out_dir. Nothing was submitted"
        )


def _spelt_alike(values: Any, run: Run) -> Any:
    """Return recorded values, with paths spelt as in `run`."""
    if not isinstance(values, dict) or not set(values) <= set(run.parser.declared):
        return values
    try:
        return json.loads(json.dumps(tracked_values(run.parser, values, run.workdir)))
    except HparamError:  # from another version
        return values


def read_records(
    interface: Interface, replicates: Sequence[Replicate]
) -> dict[Replicate, dict[str, Any]]:
    """Read the job.json of each replicate; if several are given, damaged files are skipped.

    Raises:
        JobError: No job.json can be read.
    """
    paths = {replicate: f"{replicate.path}/{RECORD}" for replicate in replicates}
    contents, found = interface.read(list(paths.values())), {}
    for replicate, path in paths.items():
        try:
            found[replicate] = parse_record(contents.get(path, b""), path)
        except JobError:
            if len(paths) == 1:
                raise
    if not found:
        raise JobError(f"{replicates[0].root}: no replicate has a readable {RECORD}")
    return found


def parse_record(data: bytes, path: str) -> dict[str, Any]:
    """Parse the content of a job.json.

    Raises:
        JobError: The file is damaged, or from a newer version of seqmodel.
    """
    try:
        record = parse_object(data, os.path.basename(path))
        check_job(record)
        schema, _ = int(record["schema"]), record["kind"]
    except (Damaged, ValueError, KeyError, TypeError) as e:
        raise JobError(f"{path}: missing, or not a record of a job ({e})") from e
    if schema > SCHEMA:
        raise JobError(f"{path}: written by a newer seqmodel; update to read it")
    return record
