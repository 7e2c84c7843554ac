"""The folders of replicates: how a number is taken, and what is written before a job starts.

    <job_out_dir>/<canonical>/identity                what the replicates below share
                              version_<n>/<canonical>_version_<n>.sh     the job
                                          hparams.json    all hyperparameters (a valid --config)
                                          job.json        what was given, settings, code, defaults
                                          events          what happened, a line each
                                          stdout, stderr  of the job
                                          submit.<k>      taken by whoever submitted it, k-th time
    <job_out_dir>/.seqmodel/                          code, functions for nodes, submissions, queues

A number is taken by mkdir, which succeeds once, also on NFS and over SSH. `events` is written
last: a folder without its first line was left by a submitter that was cut off, and holds no job.
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
    """One replicate: a folder on the host of an interface.

    Attributes:
        interface: the host.
        root: job_out_dir there, absolute.
        folder: `<canonical>/version_<n>`, relative to root.
        job: the id that the scheduler gave, once it is known.
        reason: why it was not submitted just now, else empty.
    """

    def __init__(self, interface: Interface, root: str, folder: str, job: str = "") -> None:
        self.interface, self.root, self.folder, self.job = interface, root, folder, job
        self.reason = ""

    @property
    def path(self) -> str:
        """The folder, absolute, there."""
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
        """The file name of its script."""
        return script_name(self.canonical, self.version)

    def read_record(self) -> dict[str, Any]:
        """What job.json holds.

        Raises:
            JobError: it is missing or damaged.
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
    """What the other host said when numbers were taken there.

    Attributes:
        root, workdir: absolute, there.
        taken: (canonical, n) in the order in which they were asked for.
        missing, lacking, moved: files of data that are not there; kind and path of what else is
            not; canonical names whose defaults are others.
        has_code: whether the archive is there already.
        max_array: the scheduler's MaxArraySize, if it was asked.
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
    """The file name of a replicate's script."""
    return f"{canonical}_version_{version}.sh"


def identity(run: Run) -> str:
    """Digests of the defaults and of what was set: what all replicates of a folder share."""
    from hashlib import sha256

    from seqmodel.record.folder import defaults_digest

    values = sha256(json.dumps(run.tracked_values()).encode()).hexdigest()[:16]
    return f"defaults={defaults_digest(run)} values={values}"


def tracked_defaults(run: Run) -> dict[str, Any]:
    """The defaults of all hyperparameters that name a run."""
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
    """Takes a new version_<n> for each run, if all can be had; in one connection.

    Args:
        interface: the host.
        runs: what the replicates are of.
        job_out_dir: folder there, relative to workdir, or absolute, or below ~/.
        workdir: folder there.
        code: digest of the code's archive.
        ask_arrays: ask the scheduler for the largest job array.
        accept: names of folders whose defaults were looked at and are as they were.
        needed: flag, kind and path of what else must be there: `x` a program, `f` a file, `d` a
            folder; `n` an output that is new or was begun; relative to workdir, or below ~/.

    Raises:
        JobError: a folder, a file of data or what is needed is missing there, or a default moved.
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
    """Refuses folders whose first replicate had other values, or other defaults.

    A hyperparameter that is new since then is none: its default is how things were before.
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
            except JobError as e:  # of another replicate the defaults are the same
                wrong = wrong or e
        if before is not None:
            _compare(parent, before, runs[name])
        elif wrong is not None:
            raise wrong


def _compare(parent: str, before: Mapping[str, Any], run: Run) -> None:
    now = json.loads(json.dumps(tracked_defaults(run)))
    old = before.get("defaults", {})
    moved = [
        f"{name} ({old[name]!r}, now {now[name]!r})" if name in now else f"{name} (now gone)"
        for name in old
        if name not in now or old[name] != now[name]
    ]
    if moved:
        raise JobError(
            f"{parent}: defaults moved since its first replicate: {', '.join(moved)}; set them as "
            "they were, or use another job_out_dir. Nothing was submitted"
        )
    changed = json.loads(json.dumps(run.tracked_values()))
    if _spelt_alike(before.get("changed"), run) != changed:
        raise JobError(
            f"{parent}: holds replicates of other hyperparameters ({before['changed']}); use "
            "another job_out_dir. Nothing was submitted"
        )


def _spelt_alike(values: Any, run: Run) -> Any:
    """Recorded values, with the spelling of paths that `run` has."""
    if not isinstance(values, dict) or not set(values) <= set(run.parser.declared):
        return values
    try:
        return json.loads(json.dumps(tracked_values(run.parser, values, run.workdir)))
    except HparamError:  # of another version
        return values


def read_records(
    interface: Interface, replicates: Sequence[Replicate]
) -> dict[Replicate, dict[str, Any]]:
    """The job.json of each; of several replicates, without those whose own is damaged.

    Raises:
        JobError: none can be read.
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
        raise JobError(f"{replicates[0].root}: no replicate has a {RECORD} that can be read")
    return found


def parse_record(data: bytes, path: str) -> dict[str, Any]:
    """The content of a job.json.

    Raises:
        JobError: it is damaged, or of a newer seqmodel.
    """
    try:
        record = parse_object(data, os.path.basename(path))
        check_job(record)
        schema, _ = int(record["schema"]), record["kind"]
    except (Damaged, ValueError, KeyError, TypeError) as e:
        raise JobError(f"{path}: missing or no record of a job ({e})") from e
    if schema > SCHEMA:
        raise JobError(f"{path}: written by a newer seqmodel; update to read it")
    return record
