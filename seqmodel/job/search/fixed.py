"""Many runs of one job: a grid, a list, or random draws; resumed by calling it again.

    from seqmodel.job import ShellJob
    from seqmodel.job import search
    from seqmodel.job.search.space import log_uniform
    found = search.grid(ShellJob(n_at_once=2), base, {"lr": [1e-4, 1e-3], "n_layers": [2, 4]})
    found.results().grouped()

What was done is read from the folders below job_out_dir, by the canonical name of each point: the
record of a search only says which points it has. So a driver that was killed at any moment is
followed by the same call, which submits what is missing and nothing twice.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from seqmodel.errors import BusyError, HparamError, JobError, MissingError
from seqmodel.job.job import Job
from seqmodel.job.replicate import Replicate
from seqmodel.job.results.table import Results, results
from seqmodel.job.search.record import SearchRecord
from seqmodel.job.search.space import Space, choice, integer, log_uniform, uniform
from seqmodel.job.state import Status
from seqmodel.job.status_table import StatusTable

__all__ = ["Search", "choice", "from_list", "grid", "integer", "log_uniform", "random", "uniform"]

# the best that a replicate of a point can be comes first
_RANKS = ("complete", "running", "queued", "created", "timeout", "error", "damaged")
RETRIES = ("all", "timeout", "none")


def grid(job: Job, base: Mapping[str, Any], space: Mapping[str, Any], **options: Any) -> Search:
    """Submits every point of the product of `space`, over `base`.

    Args:
        job: where it runs.
        base: what all runs have in common, settings of the job among them.
        space: name to list of values; `choice([...]).when(other=value)` for conditions.
        options: see Search.submit and Search: name, folder, n_replicates, retry, repeat, dry_run.

    Returns:
        The search, submitted.

    Raises:
        HparamError: a point is wrong; nothing was submitted.
    """
    made = Space(space, base)
    return _submitted(job, base, list(made.grid()), "grid", made.to_dict(), options)


def from_list(
    job: Job, base: Mapping[str, Any], points: Sequence[Mapping[str, Any]], **options: Any
) -> Search:
    """Submits `base` with each of `points`; see grid."""
    return _submitted(job, base, [dict(point) for point in points], "list", {}, options)


def random(
    job: Job,
    base: Mapping[str, Any],
    space: Mapping[str, Any],
    n: int,
    seed: int = 0,
    **options: Any,
) -> Search:
    """Submits `n` random points of `space`, over `base`; see grid.

    A point is a function of the seed and its index alone: a larger `n` adds points to them.
    """
    made = Space(space, base)
    record = {"space": made.to_dict(), "n": n, "seed": seed}
    return _submitted(job, base, list(made.random(n, seed)), "random", record, options)


def _submitted(
    job: Job,
    base: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    kind: str,
    space: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Search:
    given = dict(options)
    how = {name: given.pop(name) for name in ("retry", "repeat", "dry_run") if name in given}
    search = Search(job, base, points, kind=kind, space=space, **given)
    search.submit(**how)
    return search


class Search:
    """The points of a search, and what became of them.

    Args:
        job: where it runs.
        base: what all runs have in common.
        points: what each sets beside it.
        name: of the search; its record lies in `<folder>/<name>/`.
        folder: of the records, on this host.
        n_replicates: runs of each point, which differ in their seed: base's, the next, ...
        kind: grid, list or random.
        space: what was searched, for the record.

    Attributes:
        runs: canonical name to hyperparameters, for every different run of the search.
        n_duplicates: how many points were the same as another one.
        left: canonical names that an earlier call had and this one has not.
        counts: replicates by state when the search started, and how many it added or ran again.
    """

    def __init__(
        self,
        job: Job,
        base: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]],
        *,
        name: str = "search",
        folder: str = "searches",
        n_replicates: int = 1,
        kind: str = "list",
        space: Mapping[str, Any] | None = None,
    ) -> None:
        self.job, self.base, self.kind = job, dict(base), kind
        self.n_points = len(points)
        self.runs, self._renamed = _checked(job, base, points, n_replicates)
        self.n_duplicates = len(points) * n_replicates - len(self.runs)
        self.record = SearchRecord(os.path.join(folder, name))
        self.space, self.n_replicates = dict(space or {}), n_replicates
        self.left: list[str] = self.record.left([*self.runs, *self._renamed])
        self.counts: dict[str, int] = {}
        self.advice = ""

    @property
    def name(self) -> str:
        """The name of the search."""
        return self.record.name

    def submit(self, *, retry: str = "all", repeat: bool = False, dry_run: bool = False) -> Search:
        """Submits the points that no replicate has or had, and offers failed ones again.

        Args:
            retry: which ended replicates are resumed: "all", "timeout", or "none".
            repeat: submit a new replicate of every point, whatever there is.
            dry_run: only count, in `counts`.

        Raises:
            JobError: something could not be submitted, or another driver is at it.
        """
        if retry not in RETRIES:
            raise JobError(f"retry={retry!r}: one of {', '.join(RETRIES)}")
        with self.record.locked():
            self.record.save(self._to_dict(), self._renamed)
            found = self._by_name()
            new, again = self._missing(found, retry, repeat)
            self._count(found, new, again)
            if not dry_run:
                self._advise(new)
                self._go_on(again)
                if new:
                    self.job.submit_all([self.runs[name] for name in new])
        return self

    def _go_on(self, again: list[Replicate]) -> None:
        """Submits replicates again; those that a dead submitter claimed just now are left."""
        try:
            gone_on = self.job.resume(again) if again else []
            if len(gone_on) < len(again):
                self.counts["damaged"] = self.counts.get("damaged", 0) + len(again) - len(gone_on)
        except BusyError:
            if len(again) == 1:
                self.counts["being submitted"] = self.counts.get("being submitted", 0) + 1
                return
            for replicate in again:
                self._go_on([replicate])

    def _missing(
        self, found: Mapping[str, Status], retry: str, repeat: bool
    ) -> tuple[list[str], list[Replicate]]:
        """Names to submit anew, and replicates to submit again."""
        if repeat:
            return list(self.runs), []
        retried = {"all": ("timeout", "error"), "timeout": ("timeout",), "none": ()}[retry]
        new = [name for name in self.runs if name not in found]
        again = [
            replicate_of(self.job, status)
            for name, status in found.items()
            if name in self.runs and (rank(status) == "created" or status.state in retried)
        ]
        return new, again

    def _count(self, found: Mapping[str, Status], new: list[str], again: list[Replicate]) -> None:
        mine = [rank(found[name]) for name in self.runs if name in found]
        self.counts = {state: mine.count(state) for state in _RANKS if state in mine}
        self.counts |= {"new": len(new), "again": len(again)}

    def _advise(self, new: Sequence[str]) -> None:
        if self.job.interface.is_local and new:
            from seqmodel.job.results.advise import submit_line

            self.advice = submit_line(self.job, [self.runs[name] for name in new])

    def status(self) -> StatusTable:
        """The best replicate of each run that was begun."""
        found = self._by_name()
        for name, status in found.items():
            status.hparams = self.runs.get(name, {})
        return StatusTable([found[name] for name in self.runs if name in found])

    def results(self) -> Results:
        """The results of all replicates of its runs."""
        root = self.job.find_root(ask=False)
        if self.job.interface.is_local and not os.path.isdir(root):
            return Results([])
        interface = None if self.job.interface.is_local else self.job.interface
        found = results(root, interface)
        return Results(r for r in found if self._name(r.folder) in self.runs)

    def wait(self, *, timeout_s: float = 86400.0, every_s: float = 1.0) -> StatusTable:
        """Waits until every run has ended; returns their states.

        What a driver that was killed had begun to submit, and was not queued, is submitted.

        Raises:
            JobError: some have not within `timeout_s`.
        """
        import time

        end = time.monotonic() + timeout_s
        while True:
            found = self.status()
            if len(found) < len(self.runs) or any(rank(s) == "created" for s in found):
                self.submit(retry="none")
            elif all(s.is_final for s in found):
                return found
            if time.monotonic() > end:
                counts = ", ".join(f"{n} {state}" for state, n in found.counts().items())
                raise JobError(f"{self.name}: not all have ended after {timeout_s:g} s: {counts}")
            time.sleep(every_s)

    def cancel(self) -> int:
        """Ends its runs that wait or run; returns how many."""
        return self._cancel(self.runs)

    def cancel_left(self) -> int:
        """Ends runs that wait or run and left the search since its first call; returns how many."""
        return self._cancel(self.left)

    def _cancel(self, names: Any) -> int:
        wanted = set(names)
        found = self._by_name()
        mine = [status for name, status in found.items() if name in wanted]
        active = [status for status in mine if rank(status) in ("running", "queued")]
        if active:
            self.job.cancel([replicate_of(self.job, status) for status in active])
        return len(active)

    def _by_name(self) -> dict[str, Status]:
        """Canonical name to its best replicate, of all in job_out_dir; half-made ones are none."""
        best: dict[str, Status] = {}
        for status in statuses(self.job):
            if status.reason == "half-made":
                continue
            name = self._name(status.folder)
            if name not in best or _RANKS.index(rank(status)) <= _RANKS.index(rank(best[name])):
                best[name] = status
        return best

    def _name(self, folder: str) -> str:
        """The name of the run that the replicate in `folder` is of, by today's rules."""
        name = folder.split("/")[-2]
        return self._renamed.get(name, name)

    def _to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "job": repr(self.job),
            "base": self.base,
            "space": self.space,
            "n_replicates": self.n_replicates,
            "points": self.runs,
        }

    def text(self) -> str:
        """What was found and done, in some lines."""
        lines = [f"{self.name}: {self.kind} of {self.n_points} points, {len(self.runs)} runs"]
        if self.n_duplicates:
            lines[0] += f" ({self.n_duplicates} duplicates left out)"
        found = [f"{n} {state}" for state, n in self.counts.items() if n]
        if found:
            lines.append(", ".join(found))
        if self.left:
            lines.append(
                f"{len(self.left)} runs left the search; cancel_left() ends those that still run"
            )
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Search({self.text()})"

    def _repr_html_(self) -> str:
        from html import escape

        lines = "<br>".join(escape(line) for line in self.text().split("\n"))
        return f"<p>{lines}</p>{self.status()._repr_html_()}"


def _checked(
    job: Job, base: Mapping[str, Any], points: Sequence[Mapping[str, Any]], n_replicates: int
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Canonical name to hyperparameters of each different run; old name to canonical name.

    All runs are checked first.
    """
    if n_replicates < 1:
        raise HparamError(f"n_replicates={n_replicates}: at least one")
    found: dict[str, dict[str, Any]] = {}
    renamed: dict[str, str] = {}
    for name in ("job_out_dir", "workdir"):
        if name in base or any(name in point for point in points):
            raise HparamError(f"{name!r} is where the whole search lies: set it for the job")
    for i, point in enumerate(points):
        if n_replicates > 1 and "seed" in point:
            raise HparamError("replicates differ in their seed: do not search the seed as well")
        for k in range(n_replicates):
            values = {**base, **point}
            if k:
                values["seed"] = int(base.get("seed", 0)) + k
            try:
                run = job.resolve(values)
            except HparamError as e:
                what = ", ".join(f"{n}={v!r}" for n, v in point.items())
                raise HparamError(f"point {i + 1} of {len(points)} ({what}): {e}") from e
            name = run.canonical()
            found.setdefault(name, values)
            renamed |= dict.fromkeys(run.old_names(), name)
    return found, renamed


def rank(status: Status) -> str:
    """The state, with "queued" for what was submitted and waits."""
    return "queued" if status.state == "created" and status.queued else status.state


def statuses(job: Job) -> StatusTable:
    """All replicates of the job's job_out_dir, in one connection; none if it is not there yet."""
    root = job.find_root(ask=False)
    if job.interface.is_local and not os.path.isdir(root):
        return StatusTable([])
    try:
        return job.status(root)
    except MissingError:
        return StatusTable([])


def replicate_of(job: Job, status: Status) -> Replicate:
    """The replicate of a status, on the host of `job`."""
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(job.interface, root, f"{name}/{version}", status.job)
