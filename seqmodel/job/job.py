"""Job: submit, find, cancel and resume replicates.

    job = ShellJob(n_at_once=2)                     # or SlurmJob(SshInterface("cedar"), ...)
    job.submit(task="masked", fasta="a.fa", seq_len=256)
    job.status()

Maker (making.py) writes the files of a run. ShellJob and SlurmJob define how a script is started,
found and ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from seqmodel.errors import BusyError, JobError, MissingError
from seqmodel.job import agent, launch, seeds
from seqmodel.job.kinds import KINDS, base_class, classes
from seqmodel.job.making import Maker, known_settings
from seqmodel.job.os_interface import Interface
from seqmodel.job.prune import OLDER_THAN_MIN, prune
from seqmodel.job.replicate import Place, Replicate, read_records

if TYPE_CHECKING:
    from seqmodel.job.results.table import Results
    from seqmodel.job.state import Status
    from seqmodel.job.status_table import Scheduler, StatusTable


class Job(Maker):
    """Submits runs to one host and finds them again. Use its subclasses ShellJob and SlurmJob.

    Args:
        interface: Interface of the host. If unset: this host.
        settings: Hyperparameters of the job (JobHparams and those of its kind), used for every
            submission; each call can override them.
    """

    # ---- submitting

    @overload
    def submit(
        self, replicate: None = None, *, verb: str, **hparams: Any
    ) -> list[Replicate]: ...  # a verb that is split into parts

    @overload
    def submit(self, replicate: Replicate | None = None, **hparams: Any) -> Replicate: ...

    def submit(
        self, replicate: Replicate | None = None, **hparams: Any
    ) -> Replicate | list[Replicate]:
        """Submit a run as its next replicate, or submit a replicate that was created earlier.

        With `verb` and `n_parts`, submit the parts of a verb; see job/verb.py.

        A replicate that is queued, running or complete stays unchanged, so a submission can be
        repeated after the connection was lost. If settings of the job are given, they replace
        those of the replicate, and a queued, running or complete replicate is an error.

        Returns:
            The replicate, or a list of them for a verb; `job.status([replicate])` shows its state.

        Raises:
            HparamError: The hyperparameters are invalid. Nothing was created.
            JobError: The submission failed; the message says what was left behind.
        """
        if replicate is not None:
            for name in hparams:
                if name not in self.parser.declared:
                    raise JobError(
                        f"{name} cannot be set: an existing replicate keeps its "
                        "hyperparameters; give only settings of the job, or submit a new run"
                    )
            found = self.status([replicate])[0]
            if hparams:
                return self.resume([replicate], **hparams)[0]
            if found.queued or found.state in ("running", "complete"):
                replicate.job = found.job
                return replicate
            return self.resume([replicate])[0]
        made = self.submit_all([hparams])
        return made if hparams.get("verb") else made[0]

    def submit_all(self, runs: Sequence[Mapping[str, object]]) -> list[Replicate]:
        """Submit a replicate of each run, and of each part of a verb, in one submission.

        Equal runs get different numbers.
        """
        if not runs:
            return []
        made, files, place = self._make(runs)
        try:
            self._launch(made, [0] * len(made), place, files)
        except JobError as e:
            e.replicates = made
            raise
        return made

    def replicates(self, n: int, *, same_seed: bool = False, **hparams: object) -> list[Replicate]:
        """Submit replicates of a run until there are `n`; complete, running and queued ones count.

        They are separate runs with the seeds `seed`, `seed + 1`, ...; `Results.grouped` groups
        them.

        Args:
            n: Number of replicates.
            same_seed: Repeat the run with the same seed instead; the results are equal.
            hparams: Hyperparameters of the run and settings of the job.

        Returns:
            The replicates that this call submitted.
        """
        if hparams.get("verb"):
            raise JobError("a verb has parts instead of replicates; set n_parts in submit()")
        return self.submit_all(seeds.replicates(self, n, hparams, new=False, same_seed=same_seed))

    def _launch(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        place: Place,
        files: Mapping[str, bytes],
    ) -> None:
        """Write `files`, submit the replicates, and set `replicate.job`."""
        raise NotImplementedError

    # ---- reading

    @property
    def n_at_once(self) -> int | None:
        """The maximum number of replicates that run at the same time; None if Slurm decides."""
        n: int | None = self._settings({}).n_at_once
        return n or (1 if self.kind == "shell" else None)

    def find_root(self, *, ask: bool = True) -> str:
        """Return job_out_dir on the host: absolute, or below ~/ if the host must not be asked."""
        if not self.root:
            settings = self._settings({})
            if not ask and not self.interface.is_local:
                return os.path.join(self._workdir(settings), settings.job_out_dir)
            self.root = self.interface.call(
                launch.place, job_out_dir=settings.job_out_dir, workdir=self._workdir(settings)
            )[1]
        return self.root

    def status(self, which: str | Replicate | Iterable[Replicate] | None = None) -> StatusTable:
        """Return the states of given replicates, of a folder, or of this whole job_out_dir.

        Returns:
            A StatusTable: a list of Status that prints as a table, with to_dicts() and to_pandas().
        """
        return self._look(which)[0]

    def _look(
        self, which: str | Replicate | Iterable[Replicate] | None
    ) -> tuple[StatusTable, Scheduler]:
        """Return the states, and the object that asked the schedulers."""
        from seqmodel.job.status_table import StatusTable

        if isinstance(which, Replicate):
            which = [which]
        if which is None or isinstance(which, str):
            try:
                found, scheduler = self._ask(which or self.find_root())
            except MissingError:
                if which is not None:
                    raise
                return StatusTable([]), self.scheduler()  # nothing has been submitted yet
            return StatusTable(found, scheduler.problem), scheduler
        chosen = list(which)
        if not chosen:
            return StatusTable([]), self.scheduler()
        found, scheduler = self._ask(chosen[0].path if len(chosen) == 1 else chosen[0].root)
        if len(chosen) == 1:
            for status in found:
                status.folder = chosen[0].path
            return StatusTable(found, scheduler.problem), scheduler
        wanted = {replicate.path for replicate in chosen}
        chosen_only = [s for s in found if s.folder in wanted]
        return StatusTable(chosen_only, scheduler.problem), scheduler

    def _ask(self, root: str) -> tuple[list[Status], Scheduler]:
        """Read the states below a folder; each kind of job is looked up in its own scheduler."""
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
        """Return a job of another class for the absolute job_out_dir `root`."""
        if cls is type(self):
            return self
        job = cls(self.interface, job_out_dir=root)
        job.root = root
        return job

    def _by_class(self, statuses: Sequence[Status]) -> list[tuple[Job, list[Status]]]:
        """Return jobs of the classes that made these replicates, each with its replicates."""
        found = classes(self.interface, statuses, type(self))
        groups: dict[type[Job], list[Status]] = {}
        for status in statuses:
            groups.setdefault(found[status.folder], []).append(status)
        return [
            (self._sibling(cls, chosen[0].folder.rsplit("/", 2)[0]), chosen)
            for cls, chosen in groups.items()
        ]

    def find(self, folder: str) -> list[Replicate]:
        """Find the replicates of a replicate's folder, a canonical name, or a whole job_out_dir."""
        return [_replicate(self.interface, status) for status in self.status(folder)]

    def scheduler(self) -> Scheduler:
        """Return the object that asks the scheduler; see status_table.Scheduler."""
        raise NotImplementedError

    def logs(self, replicate: Replicate, *, name: str = "stderr", n_lines: int = 40) -> str:
        """Return the last lines of stdout or stderr of a replicate."""
        data = self.interface.call(agent.tail, path=f"{replicate.path}/{name}", n_lines=n_lines)
        return data.decode("utf-8", "replace")

    def results(self, which: str | None = None) -> Results:
        """Return a table of the runs in job_out_dir or a folder of it: scores, time, memory."""
        from seqmodel.job.results.table import results

        interface = None if self.interface.is_local else self.interface
        return results(which or self.find_root(), interface)

    def pull(
        self, which: str | Replicate | None = None, to: str = "pulled", *, checkpoints: bool = True
    ) -> str:
        """Copy results to this host; with rsync, unchanged files are not copied again.

        Returns:
            The local folder: `to`, or the folder of the replicate below it.
        """
        source = which.path if isinstance(which, Replicate) else which or self.find_root()
        root = self.find_root()
        inside = source.startswith(f"{root}/")
        target = agent.absolute(source[len(root) + 1 :] if inside else "", agent.absolute(to))
        exclude = ["*.part", "lock"] + ([] if checkpoints else ["*.ckpt"])
        self.interface.pull(source, target, exclude=exclude)
        return target

    # ---- ending and resuming

    def cancel(self, replicates: Sequence[Replicate], why: str = "") -> None:
        """Cancel queued or running jobs; the files that they saved are kept.

        The class of job that made a replicate also cancels it.

        Args:
            replicates: Replicates to cancel.
            why: Reason that the status shows. If unset: "cancelled".

        Raises:
            JobError: Some jobs could not be cancelled; they are unchanged, and you can try again.
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
            error.replicates = [r for r in replicates if r.path not in failed]
            raise error

    def _cancel(self, chosen: Sequence[Status], scheduler: Scheduler, why: str) -> dict[str, str]:
        """Cancel jobs of this class; return the folders that could not be cancelled, and why."""
        raise NotImplementedError

    def resume(
        self, replicates: Sequence[Replicate] | None = None, **settings: object
    ) -> list[Replicate]:
        """Resubmit replicates that timed out, failed, were refused or only created.

        Each keeps its folder, and a run resumes from its newest checkpoint. Settings given here
        override those of the job.

        Args:
            replicates: Replicates to resume. If unset: all below job_out_dir that timed out, failed
                or were refused by the scheduler.
            settings: Hyperparameters of the job, e.g. slurm_time_min=600.

        Raises:
            JobError: One of the replicates is running, queued or complete.

        Returns:
            The submitted replicates. Among several, those with a damaged job.json are skipped.
        """
        found = [s for s in self.status(replicates) if replicates is not None or s.can_resume]
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
        settings: Mapping[str, object],
    ) -> Sequence[Replicate]:
        records = read_records(self.interface, chosen)
        self.root = self.root or chosen[0].root
        numbers = dict(zip(chosen, submissions, strict=True))
        files = self._again(records, settings)
        place = Place(chosen[0].root, "")
        self._launch(list(records), [numbers[r] for r in records], place, files)
        return list(records)

    def refuse_resume(self, status: Status) -> None:
        """Raise a JobError if a replicate in this state must not be submitted again."""
        if status.state == "running" or (status.state == "created" and status.queued):
            raise BusyError(f"{status.folder}: {status.state} {status.reason}; cancel it first")
        if status.state == "complete":
            raise JobError(f"{status.folder}: complete; submit() makes another replicate")
        if status.reason == "half-made":
            raise JobError(f"{status.folder}: {status.detail}")
        if status.state == "damaged":
            raise JobError(f"{status.folder}: damaged: {status.reason}")
        if status.alive:
            where = f" on {status.record.node}" if status.record.node else ""
            raise JobError(
                f"{status.folder}: {status.state} {status.reason}, but its last attempt still "
                f"shows signs of life{where}; cancel it or wait until it has ended, then resume it"
            )

    def prune(self, older_than_min: int = OLDER_THAN_MIN) -> list[str]:
        """Remove the incomplete folders that interrupted submissions left behind.

        Args:
            older_than_min: Minimum age of the last write in a folder, in minutes.

        Returns:
            The paths of the removed folders.
        """
        try:
            return prune(self.interface, self.find_root(), older_than_min).removed
        except MissingError:
            return []


def _replicate(interface: Interface, status: Status) -> Replicate:
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(interface, root, f"{name}/{version}", status.job)
