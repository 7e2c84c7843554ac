"""Job: from hyperparameters to replicates that run somewhere, and back.

    job = ShellJob(n_at_once=2)                     # or SlurmJob(SshInterface("cedar"), ...)
    job.submit(task="masked", fasta="a.fa", seq_len=256)
    job.status()

Everything that can be refused is refused before a folder is made. ShellJob and SlurmJob add how a
script is started, found and ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.canonical import Workdir
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.job import JobHparams
from seqmodel.hparam.resolve import Run, resolve
from seqmodel.job import agent, launch
from seqmodel.job.agent import KEPT
from seqmodel.job.contents import (
    code_files,
    header_there,
    needs,
    node_functions,
    refuse_foreign,
    replicate_files,
    template_fields,
)
from seqmodel.job.kinds import KINDS, base_class, classes, path_of
from seqmodel.job.os_interface import Interface, LocalInterface, here
from seqmodel.job.prune import OLDER_THAN_MIN, prune
from seqmodel.job.replicate import RECORD, Place, Replicate, parse_record, reserve
from seqmodel.job.script.template import read_template, render

if TYPE_CHECKING:
    from seqmodel.job.results.table import Results
    from seqmodel.record.code import Code

OURS = ("default_root_dir", "resume_from_checkpoint", "fast_dev_run")


class Job:
    """How runs are submitted to one machine and found again; ShellJob and SlurmJob are used.

    Args:
        interface: the machine; this one unless given.
        settings: hyperparameters of the job (JobHparams and what the kind adds), for all that it
            submits; each call may set others.

    Attributes:
        code: the code of the replicates that were made last; None before.
    """

    kind: ClassVar[str] = ""  # shell or slurm
    hparams_class: ClassVar[type[JobHparams]] = JobHparams
    template: ClassVar[str] = ""

    def __init__(self, interface: Interface | None = None, **settings: Any) -> None:
        self.interface = interface or LocalInterface()
        self._parser = self.hparams_class.default_hparams()
        self.settings: dict[str, Any] = settings
        self._settings({})
        self._root = ""
        self.code: Code | None = None
        self._headers: dict[tuple[str, str], dict[str, Any]] = {}

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}({self.interface!r}{given})"

    # ---- making and submitting

    def create(self, **hparams: Any) -> Replicate:
        """Makes the next replicate of a run without submitting it."""
        return self.create_all([hparams])[0]

    def create_all(self, runs: Sequence[Mapping[str, Any]]) -> list[Replicate]:
        """Makes a replicate of each run; none if one of them is wrong."""
        made, files, place = self._make(runs)
        self.interface.call(agent.write_files, timeout=300, root=place.root, files=files)
        return made

    def submit(self, replicate: Replicate | None = None, **hparams: Any) -> Replicate:
        """Submits a run as its next replicate, or a replicate that was created before.

        A replicate that is in the queue already, runs or is complete is left as it is: so a submit
        whose connection was lost can be repeated.

        Returns:
            The replicate; `job.status([replicate])` tells how it is.

        Raises:
            HparamError: the hyperparameters are wrong. Nothing was made.
            JobError: it could not be submitted; the message says what is left.
        """
        if replicate is not None:
            if hparams:
                raise JobError(
                    "submit takes a replicate that was created, or hyperparameters, not both"
                )
            found = self.status([replicate])[0]
            if found.queued or found.state in ("running", "complete"):
                replicate.job = found.job
                return replicate
            return self.resume([replicate])[0]
        return self.submit_all([hparams])[0]

    def submit_all(self, runs: Sequence[Mapping[str, Any]]) -> list[Replicate]:
        """Submits a replicate of each run (equal ones get numbers of their own) at once."""
        if not runs:
            return []
        made, files, place = self._make(runs)
        try:
            self._launch(made, [0] * len(made), place, files)
        except JobError as e:
            e.replicates = made  # type: ignore[attr-defined]
            raise
        return made

    def replicates(self, n: int, **hparams: Any) -> list[Replicate]:
        """Tops up the replicates of a run to `n`: complete, running and queued ones count.

        Returns:
            Those that were submitted now.
        """
        run, root = self.resolve(hparams), self.find_root()
        there, good = self.interface.call(agent.list_dir, path=root), 0
        for name in {run.canonical(), *run.old_names()} & set(there):
            good += sum(
                s.state in ("complete", "running") or (s.state == "created" and s.queued)
                for s in self.status(f"{root}/{name}")
            )
        return self.submit_all([hparams] * max(0, n - good))

    def script(self, **hparams: Any) -> str:
        """The script that submit would write, for version_0; nothing is made.

        `code.listing()` then tells which files would travel.
        """
        given, settings = self._split(hparams)
        run = self._resolve(given, settings)
        workdir = self._workdir(settings)
        place = Place(os.path.join(workdir, settings.job_out_dir), workdir)
        self.code = self._code(run)
        fields = self._fields(run, settings, place, run.canonical(), 0, self.code)
        return self._render(fields)

    def _make(
        self, runs: Sequence[Mapping[str, Any]]
    ) -> tuple[list[Replicate], dict[str, bytes], Place]:
        """Takes the folders, and says what is to be written there."""
        split = [self._split(hparams) for hparams in runs]
        resolved = [self._resolve(*both, i, len(runs)) for i, both in enumerate(split)]
        self._headers.clear()  # until the next submission the checkpoint may be another
        first = split[0][1]
        for name in ("job_out_dir", "workdir"):
            if len({getattr(settings, name) for _, settings in split}) > 1:
                raise JobError(f"{name} differs between runs of one submission; submit them apart")
        by_plugins = {tuple(run.values.plugins): run for run in resolved}
        codes = [self._code(run) for run in by_plugins.values()]
        if any(code.digest != codes[0].digest for code in codes):
            raise JobError("the runs of one submission have different plugins; submit them apart")
        probe = Place("/", "/")
        for run, (_, settings) in zip(resolved, split, strict=True):
            self._render(self._fields(run, settings, probe, run.canonical(), 0, codes[0]))
        place = reserve(
            self.interface,
            resolved,
            job_out_dir=first.job_out_dir,
            workdir=self._workdir(first),
            code=codes[0].digest,
            ask_arrays=self._asks_arrays and len(runs) > 1,
            needed=[need for _, settings in split for need in needs(settings)],
        )
        self._root, self.code = place.root, codes[0]
        files = {} if place.has_code else code_files(codes[0])
        files |= self._node_functions()
        made = []
        for (given, settings), run, (name, n) in zip(split, resolved, place.taken, strict=True):
            made.append(Replicate(self.interface, place.root, f"{name}/version_{n}"))
            fields = self._fields(run, settings, place, name, n, codes[0])
            record = {
                "kind": type(self).__name__, "base": self.kind, "class": path_of(type(self)),
                "given": dict(given), "fields": fields,
            }  # fmt: skip
            script = self._render(fields)
            files |= replicate_files(made[-1], run, settings, codes[0], record, script)
        return made, files, place

    _asks_arrays: ClassVar[bool] = False

    def _split(self, hparams: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        """Hyperparameters of the run, and the job's settings for it."""
        own = {name: value for name, value in hparams.items() if name in self._parser.declared}
        given = {name: value for name, value in hparams.items() if name not in own}
        return given, self._settings(own)

    def _settings(self, own: Mapping[str, Any]) -> Any:
        settings = parse_dict(self._parser, {**self.settings, **own})
        self.hparams_class.checks(settings)
        return settings

    def resolve(self, hparams: Mapping[str, Any]) -> Run:
        """The run that these hyperparameters describe, checked as it is when it is submitted."""
        return self._resolve(*self._split(hparams))

    def _resolve(self, given: Mapping[str, Any], settings: Any, i: int = 0, n: int = 1) -> Run:
        try:
            for name in OURS:
                if given.get(name):
                    raise HparamError(f"{name!r} is set by the job itself; leave it out")
            workdir = self._workdir(settings)
            run = resolve(
                given, files_here=False, header_of=lambda path: self._header(path, workdir)
            )
            run.workdir = Workdir(workdir, self.interface.is_local)
            return run
        except HparamError as e:
            if n == 1:
                raise
            raise HparamError(f"run {i + 1} of {n}: {e}") from e

    def header(self, path: str) -> dict[str, Any]:
        """The header of a checkpoint where the job will find it, by the job's own settings."""
        return self._header(path, self._workdir(self._settings({})))

    def _header(self, path: str, workdir: str) -> dict[str, Any]:
        """The header of a checkpoint where the job will find it; over SSH once a submission."""
        if self.interface.is_local or (path, workdir) not in self._headers:
            self._headers[path, workdir] = header_there(self.interface, path, workdir)
        return self._headers[path, workdir]

    def _workdir(self, settings: Any) -> str:
        if settings.workdir is not None:
            return settings.workdir
        return os.getcwd() if self.interface.is_local else "~"

    def _code(self, run: Run) -> Code:
        from seqmodel.record.code import current_code

        return current_code(run.values.plugins)

    def _node_functions(self) -> dict[str, bytes]:
        name, data = node_functions()
        if self.interface.is_local and os.path.exists(f"{self._root}/{KEPT}/code/{name}"):
            return {}
        return {f"{KEPT}/code/{name}": data}

    def _fields(
        self, run: Run, settings: Any, place: Place, canonical: str, n: int, code: Code
    ) -> dict[str, Any]:
        from seqmodel.record.code import ROOT

        local = self.interface.is_local
        return {
            **template_fields(run, settings, place, canonical, n, code),
            "code_path": ROOT if local else place.workdir,
            "python": settings.python or (sys.executable if local else "python3"),
            "template": settings.template or self.template,
            **self._more_fields(run, settings),
        }

    def _more_fields(self, run: Run, settings: Any) -> dict[str, Any]:
        return {}

    def _render(self, fields: Mapping[str, Any]) -> str:
        name = fields["template"]
        return render(read_template(name), fields, name)

    def _launch(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        place: Place,
        files: Mapping[str, bytes],
    ) -> None:
        """Writes `files`, submits, and sets `replicate.job`."""
        raise NotImplementedError

    # ---- looking

    @property
    def n_at_once(self) -> int | None:
        """Replicates that run at once; None where Slurm decides."""
        return getattr(self._settings({}), "n_at_once", None)

    def find_root(self, *, ask: bool = True) -> str:
        """job_out_dir there: absolute, or perhaps below ~/ if the machine must not be asked."""
        if not self._root:
            settings = self._settings({})
            if not ask and not self.interface.is_local:
                return os.path.join(self._workdir(settings), settings.job_out_dir)
            self._root = self.interface.call(
                launch.place, job_out_dir=settings.job_out_dir, workdir=self._workdir(settings)
            )[1]
        return self._root

    def status(self, which: str | Replicate | Iterable[Replicate] | None = None) -> Any:
        """The states of some replicates, of all below a folder, or of all of this job_out_dir.

        Returns:
            A StatusTable: a list of Status that shows itself, with to_dicts() and to_pandas().
        """
        return self._look(which)[0]

    def _look(self, which: str | Replicate | Iterable[Replicate] | None) -> tuple[Any, Any]:
        """The states, and whoever asked the schedulers."""
        from seqmodel.job.status_table import StatusTable

        if isinstance(which, Replicate):
            which = [which]
        if which is None or isinstance(which, str):
            if which is None:
                which = self.find_root()
                if self.interface.is_local and not os.path.isdir(which):
                    return StatusTable([]), self.scheduler()
            found, scheduler = self._ask(which)
            return StatusTable(found), scheduler
        chosen = list(which)
        if not chosen:
            return StatusTable([]), self.scheduler()
        found, scheduler = self._ask(chosen[0].path if len(chosen) == 1 else chosen[0].root)
        if len(chosen) == 1:
            for status in found:
                status.folder = chosen[0].path
            return StatusTable(found), scheduler
        wanted = {replicate.path for replicate in chosen}
        return StatusTable([s for s in found if s.folder in wanted]), scheduler

    def _ask(self, root: str) -> tuple[list[Any], Any]:
        """The states below a folder; those of other kinds of job are asked of their schedulers."""
        from seqmodel.job.status_table import Schedulers, read_status

        scheduler = self.scheduler()
        found = read_status(self.interface, root, scheduler)
        others = {s.record.kind for s in found if not s.is_final} & set(KINDS) - {self.kind}
        if others:
            out = found[0].folder.rsplit("/", 2)[0]
            siblings = [self._sibling(base_class(kind), out) for kind in sorted(others)]
            scheduler = Schedulers([self.scheduler(), *(job.scheduler() for job in siblings)])
            found = read_status(self.interface, root, scheduler)
        return found, scheduler

    def _sibling(self, cls: type[Job], root: str) -> Job:
        """A job of another class for the job_out_dir `root`, absolute."""
        if cls is type(self):
            return self
        job = cls(self.interface, job_out_dir=root)
        job._root = root
        return job

    def _by_class(self, statuses: Sequence[Any]) -> list[tuple[Job, list[Any]]]:
        """Jobs of the classes that made these replicates, each with its own."""
        found = classes(self.interface, statuses, type(self))
        groups: dict[type[Job], list[Any]] = {}
        for status in statuses:
            groups.setdefault(found[status.folder], []).append(status)
        return [
            (self._sibling(cls, chosen[0].folder.rsplit("/", 2)[0]), chosen)
            for cls, chosen in groups.items()
        ]

    def find(self, folder: str) -> list[Replicate]:
        """The replicates in a folder: itself, of a canonical name, or of a whole job_out_dir."""
        return [_replicate(self.interface, status) for status in self.status(folder)]

    def scheduler(self) -> Any:
        """How the scheduler is asked; see status_table.Scheduler."""
        raise NotImplementedError

    def logs(self, replicate: Replicate, *, name: str = "stderr", n_lines: int = 40) -> str:
        """The last lines of stdout or stderr of a replicate."""
        data = self.interface.call(agent.tail, path=f"{replicate.path}/{name}", n_lines=n_lines)
        return data.decode("utf-8", "replace")

    def results(self, which: str | None = None) -> Results:
        """A table of all runs of this job_out_dir, or of a folder in it: scores, time, memory."""
        from seqmodel.job.results.table import results

        interface = None if self.interface.is_local else self.interface
        return results(which or self.find_root(), interface)

    def pull(
        self, which: str | Replicate | None = None, to: str = "pulled", *, checkpoints: bool = True
    ) -> str:
        """Copies results here; what did not change is not copied again where rsync is.

        Returns:
            The folder here: `to`, or the replicate's below it.
        """
        source = which.path if isinstance(which, Replicate) else which or self.find_root()
        root = self.find_root()
        inside = source.startswith(f"{root}/")
        target = os.path.join(here(to), source[len(root) + 1 :]) if inside else here(to)
        exclude = ["*.part", "lock"] + ([] if checkpoints else ["*.ckpt"])
        self.interface.pull(source, target, exclude=exclude)
        return target

    # ---- ending and going on

    def cancel(self, replicates: Sequence[Replicate], why: str = "") -> None:
        """Ends jobs that wait or run; what they saved stays.

        Each is ended by the class of job that made it.

        Args:
            replicates: which.
            why: the reason that their status tells; "cancelled" unless given.

        Raises:
            JobError: some could not be ended; they are as they were, and can be cancelled again.
        """
        if not replicates:
            return
        statuses, scheduler = self._look(replicates)
        failed: dict[str, str] = {}
        for job, chosen in self._by_class(statuses):
            failed |= job._cancel(chosen, scheduler, why)
        if failed:
            path, reason = next(iter(failed.items()))
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            error = JobError(
                f"not cancelled on {self.interface.name}: {path}{more}: {reason}; cancel it again"
            )
            error.replicates = [r for r in replicates if r.path not in failed]  # type: ignore
            raise error

    def _cancel(self, chosen: Sequence[Any], scheduler: Any, why: str) -> dict[str, str]:
        """Ends what its own class started; the folders that could not be ended, and why."""
        raise NotImplementedError

    def resume(
        self, replicates: Sequence[Replicate] | None = None, **settings: Any
    ) -> list[Replicate]:
        """Submits again what timed out, failed or was created only; each in its own folder.

        A run goes on from its newest checkpoint. Settings given here replace those of the job.

        Args:
            replicates: which; all that timed out or failed below job_out_dir unless given.
            settings: hyperparameters of the job, e.g. slurm_time_min=600.

        Raises:
            JobError: one of them runs, waits or is complete.

        Returns:
            Those that were submitted: of several, without those whose job.json is damaged.
        """
        found = [
            s for s in self.status(replicates)
            if replicates is not None or (s.state in ("timeout", "error") and not s.alive)
        ]  # fmt: skip
        for status in found:
            self.refuse_resume(status)
        groups = self._by_class(found) if found else []
        own = known_settings([job for job, _ in groups], settings)
        by_path = {r.path: r for r in replicates or ()}
        resumed: list[Replicate] = []
        for (job, statuses), known in zip(groups, own, strict=True):
            chosen = [by_path.get(s.folder) or _replicate(self.interface, s) for s in statuses]
            resumed += job._resume(chosen, [s.record.submission + 1 for s in statuses], known)
        return resumed

    def _resume(
        self,
        chosen: Sequence[Replicate],
        submissions: Sequence[int],
        settings: Mapping[str, Any],
    ) -> Sequence[Replicate]:
        place = Place(chosen[0].root, "")
        self._root = self._root or place.root
        paths = {r.path: f"{r.path}/{RECORD}" for r in chosen}
        contents = self.interface.read(list(paths.values()))
        records = {r: contents.get(paths[r.path], b"") for r in chosen}
        if len(chosen) > 1:  # one whose record is damaged does not keep the others
            kept = [i for i, r in enumerate(chosen) if _is_record(records[r])]
            chosen, submissions = [chosen[i] for i in kept], [submissions[i] for i in kept]
            if not chosen:
                raise JobError(f"{place.root}: no replicate has a {RECORD} that can be read")
        files = self._again(chosen, records, settings)
        self._launch(chosen, submissions, place, files)
        return chosen

    def refuse_resume(self, status: Any) -> None:
        """Raises a JobError if a replicate in this state must not be submitted again."""
        if status.state == "running" or (status.state == "created" and status.queued):
            raise JobError(f"{status.folder}: {status.state} {status.reason}; cancel it first")
        if status.state == "complete":
            raise JobError(f"{status.folder}: complete; submit makes another replicate")
        if status.reason == "half-made":
            raise JobError(f"{status.folder}: {status.detail}")
        if status.state == "damaged":
            raise JobError(f"{status.folder}: damaged: {status.reason}")
        if status.alive:
            where = f" on {status.record.node}" if status.record.node else ""
            raise JobError(
                f"{status.folder}: {status.state} {status.reason}, but its last attempt still "
                f"gives signs of life{where}; cancel it, or wait until it has ended, then resume it"
            )

    def _again(
        self,
        chosen: Sequence[Replicate],
        contents: Mapping[Replicate, bytes],
        settings: Mapping[str, Any],
    ) -> dict[str, bytes]:
        """The scripts of replicates that are submitted again, with the settings as they are now."""
        files: dict[str, bytes] = dict(self._node_functions())
        for replicate in chosen:
            record = parse_record(contents[replicate], f"{replicate.path}/{RECORD}")
            if "fields" not in record or "settings" not in record:
                raise JobError(f"{replicate.path}/{RECORD}: no fields of a script; it is damaged")
            refuse_foreign(replicate, record["fields"])
            replicate.fields = {**record["fields"]}  # type: ignore[attr-defined]
            fields = replicate.fields  # type: ignore[attr-defined]
            before = {n: v for n, v in record["settings"].items() if n in self._parser.declared}
            changed = parse_dict(self._parser, {**before, **settings})
            fields |= self._changed_fields(fields, changed, settings)
            fields["node_functions"] = f"{replicate.root}/{KEPT}/code/{node_functions()[0]}"
            files[f"{replicate.folder}/{replicate.script_name}"] = self._render(fields).encode(
                "utf-8", "surrogateescape"
            )
        return files

    def _changed_fields(
        self, fields: Mapping[str, Any], settings: Any, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        names = [name for name in given if name in fields]
        return {name: getattr(settings, name) for name in names}

    def prune(self, older_than_min: int = OLDER_THAN_MIN) -> list[str]:
        """Removes the half-made folders that submitters left when they were cut off.

        Args:
            older_than_min: minutes in which nothing was written there.

        Returns:
            The paths of those that were removed.
        """
        root = self.find_root()
        if self.interface.is_local and not os.path.isdir(root):
            return []
        return prune(self.interface, root, older_than_min).removed


def _is_record(data: bytes) -> bool:
    try:
        return bool(parse_record(data, RECORD))
    except JobError:
        return False


def _replicate(interface: Interface, status: Any) -> Replicate:
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(interface, root, f"{name}/{version}", status.job)


def known_settings(jobs: Sequence[Job], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings that each job has.

    Raises:
        HparamError: one is a setting of none of them.
    """
    for name in settings:
        if jobs and not any(name in job._parser.declared for job in jobs):
            jobs[0]._parser.hparam(name)  # says what it is nearest to
    return [{n: v for n, v in settings.items() if n in job._parser.declared} for job in jobs]
