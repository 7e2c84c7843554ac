"""Searches with fixed points: a grid, a list or random draws; to resume one, make the same call.

    from seqmodel.job import ShellJob
    from seqmodel.job import search
    from seqmodel.job.search.space import log_uniform
    found = search.grid(ShellJob(n_at_once=2), base, {"lr": [1e-4, 1e-3], "n_layers": [2, 4]})
    found.results().grouped()

The progress is read from the folders below job_out_dir, by the canonical name of each point; the
record of a search only lists its points. After the driver was killed at any moment, the same call
submits the missing points, and none twice.
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

# states of a replicate, the best one first
_RANKS = ("complete", "running", "queued", "created", "timeout", "error", "damaged")
RETRIES = ("all", "timeout", "none")


def grid(job: Job, base: Mapping[str, Any], space: Mapping[str, Any], **options: Any) -> Search:
    """Submit every point of the product of `space`, over `base`.

    Args:
        job: Job that submits the runs.
        base: Settings that all runs share, including settings of the job.
        space: List of values by name; `choice([...]).when(other=value)` sets conditions.
        options: Name, folder, n_replicates, retry, repeat, dry_run; see Search and Search.submit.

    Returns:
        The submitted search.

    Raises:
        HparamError: A point is invalid; nothing was submitted.
    """
    made = Space(space, base)
    return _submitted(job, base, list(made.grid()), "grid", made.to_dict(), options)


def from_list(
    job: Job, base: Mapping[str, Any], points: Sequence[Mapping[str, Any]], **options: Any
) -> Search:
    """Submit `base` with each of `points`; see grid."""
    return _submitted(job, base, [dict(point) for point in points], "list", {}, options)


def random(
    job: Job,
    base: Mapping[str, Any],
    space: Mapping[str, Any],
    n: int,
    seed: int = 0,
    **options: Any,
) -> Search:
    """Submit `n` random points of `space`, over `base`; see grid.

    A point depends only on the seed and its index, so a larger `n` adds points.
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
    """The points of a search, and their runs.

    Args:
        job: Job that submits the runs.
        base: Settings that all runs share.
        points: Settings of each point, in addition to `base`.
        name: Name of the search; its record is in `<folder>/<name>/`.
        folder: Folder of the records, on this host.
        n_replicates: Number of runs of each point, with the seed of `base`, the next one, ...
        kind: `grid`, `list` or `random`.
        space: Searched space, for the record.

    Attributes:
        runs: Hyperparameters of each different run of the search, by canonical name.
        n_duplicates: Number of points that were equal to another point.
        left: Canonical names that an earlier call had and this one does not.
        counts: Number of replicates by state at the start, and of those added or resumed.
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
        """Submit the points that have no replicate, and resume failed ones.

        Args:
            retry: Which ended replicates to resume: "all", "timeout", or "none".
            repeat: Submit a new replicate of every point, even if replicates exist.
            dry_run: Submit nothing, and only set `counts`.

        Raises:
            JobError: A submission failed, or another driver is running this search.
        """
        if retry not in RETRIES:
            raise JobError(f"retry={retry!r}: use one of {', '.join(RETRIES)}")
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
        """Submit replicates again, except those that a killed submitter claimed just now."""
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
        """Return the names to submit as new, and the replicates to submit again."""
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
        """Return the best replicate of each run that has one."""
        found = self._by_name()
        for name, status in found.items():
            status.hparams = self.runs.get(name, {})
        return StatusTable([found[name] for name in self.runs if name in found])

    def results(self) -> Results:
        """Return the results of all replicates of its runs."""
        root = self.job.find_root(ask=False)
        if self.job.interface.is_local and not os.path.isdir(root):
            return Results([])
        interface = None if self.job.interface.is_local else self.job.interface
        found = results(root, interface)
        return Results(r for r in found if self._name(r.folder) in self.runs)

    def wait(self, *, timeout_s: float = 86400.0, every_s: float = 1.0) -> StatusTable:
        """Wait until every run has ended; return their states.

        Replicates that a killed driver created but did not queue are submitted.

        Raises:
            JobError: Some runs have not ended within `timeout_s`.
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
                raise JobError(f"{self.name}: not all ended within {timeout_s:g} s: {counts}")
            time.sleep(every_s)

    def cancel(self) -> int:
        """Cancel its queued and running runs; return how many."""
        return self._cancel(self.runs)

    def cancel_left(self) -> int:
        """Cancel queued and running runs that are no longer in the search; return how many."""
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
        """Return the best replicate of each name in job_out_dir, without half-made ones."""
        best: dict[str, Status] = {}
        for status in statuses(self.job):
            if status.reason == "half-made":
                continue
            name = self._name(status.folder)
            if name not in best or _RANKS.index(rank(status)) <= _RANKS.index(rank(best[name])):
                best[name] = status
        return best

    def _name(self, folder: str) -> str:
        """Return the name of the run of the replicate in `folder`, by the current rules."""
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
        """Return a summary of the search in a few lines."""
        lines = [f"{self.name}: {self.kind} of {self.n_points} points, {len(self.runs)} runs"]
        if self.n_duplicates:
            lines[0] += f" ({self.n_duplicates} duplicates left out)"
        found = [f"{n} {state}" for state, n in self.counts.items() if n]
        if found:
            lines.append(", ".join(found))
        if self.left:
            lines.append(
                f"{len(self.left)} runs are no longer in the search; cancel_left() cancels them"
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
    """Return the hyperparameters of each run by canonical name; canonical names by old names.

    All runs are checked before anything is submitted.
    """
    if n_replicates < 1:
        raise HparamError(f"n_replicates={n_replicates}: must be at least 1")
    found: dict[str, dict[str, Any]] = {}
    renamed: dict[str, str] = {}
    for name in ("job_out_dir", "workdir"):
        if name in base or any(name in point for point in points):
            raise HparamError(f"{name!r} applies to the whole search: set it for the job")
    for i, point in enumerate(points):
        if n_replicates > 1 and "seed" in point:
            raise HparamError("replicates differ in their seed: remove seed from the search")
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
    """Return the state, or "queued" if the replicate was submitted and waits."""
    return "queued" if status.state == "created" and status.queued else status.state


def statuses(job: Job) -> StatusTable:
    """Read all replicates of the job's job_out_dir, in one connection; it may not exist yet."""
    root = job.find_root(ask=False)
    if job.interface.is_local and not os.path.isdir(root):
        return StatusTable([])
    try:
        return job.status(root)
    except MissingError:
        return StatusTable([])


def replicate_of(job: Job, status: Status) -> Replicate:
    """Return the replicate of a status, on the host of `job`."""
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(job.interface, root, f"{name}/{version}", status.job)
