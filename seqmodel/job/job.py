"""Job: replicates are submitted, found, ended and submitted again.

    job = ShellJob(n_at_once=2)                     # or SlurmJob(SshInterface("cedar"), ...)
    job.submit(task="masked", fasta="a.fa", seq_len=256)
    job.status()

What is written for a run comes from Maker (making.py). ShellJob and SlurmJob add how a script is
started, found and ended.
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
    """How runs are submitted to one host and found again; ShellJob and SlurmJob are used.

    Args:
        interface: the host; this one unless given.
        settings: hyperparameters of the job (JobHparams and what the kind adds), for all that it
            submits; each call may set others.
    """

    # ---- submitting

    @overload
    def submit(
        self, replicate: None = None, *, verb: str, **hparams: Any
    ) -> list[Replicate]: ...  # a verb in parts

    @overload
    def submit(self, replicate: Replicate | None = None, **hparams: Any) -> Replicate: ...

    def submit(
        self, replicate: Replicate | None = None, **hparams: Any
    ) -> Replicate | list[Replicate]:
        """Submits a run as its next replicate, or a replicate that was created before.

        With `verb` and `n_parts` it submits the parts of a verb; see job/verb.py.

        A replicate that is in the queue already, runs or is complete is left as it is: so a submit
        whose connection was lost can be repeated. With settings of the job, which replace those
        that the replicate has, such a replicate is refused.

        Returns:
            The replicate; `job.status([replicate])` shows its state. Of a verb, a list of them.

        Raises:
            HparamError: the hyperparameters are wrong. Nothing was made.
            JobError: it could not be submitted; the message says what is left.
        """
        if replicate is not None:
            for name in hparams:
                if name not in self.parser.declared:
                    raise JobError(
                        f"{name} cannot be set: a replicate that was created has its "
                        "hyperparameters; give settings of the job alone, or submit a new run"
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
        """Submits a replicate of each run, and of each part of a verb, at once.

        Equal runs get numbers of their own.
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
        """Tops up the replicates of a run to `n`: complete, running and queued ones count.

        They are runs of their own, with the seeds `seed`, `seed + 1`, ...; `Results.grouped` counts
        them together.

        Args:
            n: number of replicates.
            same_seed: repeat the run with one seed instead; the results are equal.
            hparams: hyperparameters of the run, and settings of the job.

        Returns:
            Those that were submitted now.
        """
        if hparams.get("verb"):
            raise JobError("a verb has parts, not replicates; give n_parts to submit")
        return self.submit_all(seeds.replicates(self, n, hparams, new=False, same_seed=same_seed))

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
        """Replicates that run at the same time; None where Slurm decides."""
        n: int | None = self._settings({}).n_at_once
        return n or (1 if self.kind == "shell" else None)

    def find_root(self, *, ask: bool = True) -> str:
        """job_out_dir there: absolute, or perhaps below ~/ if the host must not be asked."""
        if not self.root:
            settings = self._settings({})
            if not ask and not self.interface.is_local:
                return os.path.join(self._workdir(settings), settings.job_out_dir)
            self.root = self.interface.call(
                launch.place, job_out_dir=settings.job_out_dir, workdir=self._workdir(settings)
            )[1]
        return self.root

    def status(self, which: str | Replicate | Iterable[Replicate] | None = None) -> StatusTable:
        """The states of some replicates, of all below a folder, or of all of this job_out_dir.

        Returns:
            A StatusTable: a list of Status that shows itself, with to_dicts() and to_pandas().
        """
        return self._look(which)[0]

    def _look(
        self, which: str | Replicate | Iterable[Replicate] | None
    ) -> tuple[StatusTable, Scheduler]:
        """The states, and whoever asked the schedulers."""
        from seqmodel.job.status_table import StatusTable

        if isinstance(which, Replicate):
            which = [which]
        if which is None or isinstance(which, str):
            try:
                found, scheduler = self._ask(which or self.find_root())
            except MissingError:
                if which is not None:
                    raise
                return StatusTable([]), self.scheduler()  # nothing was submitted yet
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
        job.root = root
        return job

    def _by_class(self, statuses: Sequence[Status]) -> list[tuple[Job, list[Status]]]:
        """Jobs of the classes that made these replicates, each with its own."""
        found = classes(self.interface, statuses, type(self))
        groups: dict[type[Job], list[Status]] = {}
        for status in statuses:
            groups.setdefault(found[status.folder], []).append(status)
        return [
            (self._sibling(cls, chosen[0].folder.rsplit("/", 2)[0]), chosen)
            for cls, chosen in groups.items()
        ]

    def find(self, folder: str) -> list[Replicate]:
        """The replicates in a folder: itself, of a canonical name, or of a whole job_out_dir."""
        return [_replicate(self.interface, status) for status in self.status(folder)]

    def scheduler(self) -> Scheduler:
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
        target = agent.absolute(source[len(root) + 1 :] if inside else "", agent.absolute(to))
        exclude = ["*.part", "lock"] + ([] if checkpoints else ["*.ckpt"])
        self.interface.pull(source, target, exclude=exclude)
        return target

    # ---- ending and resuming

    def cancel(self, replicates: Sequence[Replicate], why: str = "") -> None:
        """Ends jobs that wait or run; what they saved stays.

        Each is ended by the class of job that made it.

        Args:
            replicates: which.
            why: the reason that their status shows; "cancelled" unless given.

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
            error.replicates = [r for r in replicates if r.path not in failed]
            raise error

    def _cancel(self, chosen: Sequence[Status], scheduler: Scheduler, why: str) -> dict[str, str]:
        """Ends what its own class started; the folders that could not be ended, and why."""
        raise NotImplementedError

    def resume(
        self, replicates: Sequence[Replicate] | None = None, **settings: object
    ) -> list[Replicate]:
        """Submits again what timed out, failed, was refused or created only; each in its folder.

        A run resumes from its newest checkpoint. Settings given here replace those of the job.

        Args:
            replicates: which; unless given, all below job_out_dir that timed out, failed or were
                refused by the scheduler.
            settings: hyperparameters of the job, e.g. slurm_time_min=600.

        Raises:
            JobError: one of them runs, waits or is complete.

        Returns:
            Those that were submitted: of several, without those whose job.json is damaged.
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
        """Raises a JobError if a replicate in this state must not be submitted again."""
        if status.state == "running" or (status.state == "created" and status.queued):
            raise BusyError(f"{status.folder}: {status.state} {status.reason}; cancel it first")
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

    def prune(self, older_than_min: int = OLDER_THAN_MIN) -> list[str]:
        """Removes the half-made folders that submitters left when they were cut off.

        Args:
            older_than_min: minutes in which nothing was written there.

        Returns:
            The paths of those that were removed.
        """
        try:
            return prune(self.interface, self.find_root(), older_than_min).removed
        except MissingError:
            return []


def _replicate(interface: Interface, status: Status) -> Replicate:
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(interface, root, f"{name}/{version}", status.job)
