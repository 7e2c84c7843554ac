"""Searches that learn from their runs, by optuna's samplers and pruners (extra `search`).

    from seqmodel.job.search.adaptive import adaptive
    found = adaptive(job, base, {"lr": log_uniform(1e-5, 1e-2)}, n=50, n_at_once=8)
    optuna.visualization.plot_slice(found.study)

The driver asks optuna for points, submits them, reads their metrics and reports the results. The
study is a file beside the search's record on the driver's host; nodes do not use it, and only one
driver at a time writes it. To resume after the driver was killed, make the same call: points that
were asked for but not submitted are submitted, and the others are found by their names.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from seqmodel.errors import JobError
from seqmodel.extras import optional
from seqmodel.files import read_bytes, write_file
from seqmodel.job.agent import CUT
from seqmodel.job.job import Job
from seqmodel.job.results.log import parse_rows
from seqmodel.job.results.result import DEFAULT_MONITOR, mode, read_results
from seqmodel.job.results.table import Results, results
from seqmodel.job.search.fixed import rank, replicate_of, statuses
from seqmodel.job.search.record import SearchRecord
from seqmodel.job.search.sampler import cma_es
from seqmodel.job.search.space import DIGITS, Choice, Integer, Range, Space, Uniform, random_number
from seqmodel.job.state import Status

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

SAMPLERS = ("tpe", "random", "cmaes", "gp", "qmc")
PRUNERS = ("none", "median", "hyperband", "halving")
MAX_ATTEMPTS = 4  # for a run that ends at its time limit


def adaptive(
    job: Job,
    base: Mapping[str, Any],
    space: Mapping[str, Any],
    n: int,
    *,
    n_at_once: int = 4,
    sampler: Any = "tpe",
    pruner: Any = "none",
    metric: str | None = None,
    seed: int = 0,
    name: str = "search",
    folder: str = "searches",
    every_s: float = 5.0,
) -> AdaptiveSearch:
    """Run `n` points in total, at most `n_at_once` at a time, each chosen from earlier results.

    Args:
        job: Job that submits the runs.
        base: Settings that all points share.
        space: Ranges by name; see seqmodel.job.search.space.
        n: Total number of trials, including those of earlier calls.
        n_at_once: Maximum number of trials in progress.
        sampler: `tpe`, `random`, `cmaes`, `gp`, `qmc`, or a sampler of optuna.
        pruner: `none`, `median`, `hyperband`, `halving`, or a pruner of optuna; it ends poor runs
            early.
        metric: Logged value whose best over a run counts. If unset: the run's monitored value.
        seed: Random seed of the sampler.
        name: Name of the search; its record and study are in `<folder>/<name>/`.
        folder: Folder of the records, on this host.
        every_s: Time between two checks of the runs, in seconds.

    Raises:
        JobError: Optuna is not installed, or another driver is running this search.
        HparamError: The space or a point is invalid.
    """
    search = AdaptiveSearch(job, base, space, metric=metric, name=name, folder=folder)
    search.open(sampler, pruner, seed)
    search.run(n, n_at_once, every_s)
    return search


class AdaptiveSearch:
    """A study of optuna over the runs of a job.

    Attributes:
        study: Study of optuna, once it is open; optuna's visualizations accept it.
    """

    def __init__(
        self,
        job: Job,
        base: Mapping[str, Any],
        space: Mapping[str, Any],
        *,
        metric: str | None = None,
        name: str = "search",
        folder: str = "searches",
    ) -> None:
        self.job, self.base, self.space = job, dict(base), Space(space, base)
        self.metric = metric or str(base.get("monitor") or DEFAULT_MONITOR)
        self.record = SearchRecord(os.path.join(folder, name))
        self.study: Any = None

    def open(self, sampler: Any = "tpe", pruner: Any = "none", seed: int = 0) -> Any:
        """Open the study, creating it if it is new, and return it."""
        optuna = _optuna()
        os.makedirs(self.record.path, exist_ok=True)
        path = f"{self.record.path}/study.log"
        with self.record.locked():
            _cut_last_line(path)
        backend = optuna.storages.journal.JournalFileBackend(path, lock_obj=_Alone())
        with _quiet(optuna):
            self.study = optuna.create_study(
                storage=_storage(optuna, backend, path),
                study_name=self.record.name,
                direction={"min": "minimize", "max": "maximize"}[mode(self.metric)],
                load_if_exists=True,
            )
            # a restarted sampler must not draw the same points again
            n_before = len(self.study.get_trials(deepcopy=False))
            own = int(random_number(seed, n_before, "sampler") * 2**31)
            self.study.sampler = _sampler(optuna, sampler, own)
            self.study.pruner = _pruner(optuna, pruner)
        return self.study

    def run(self, n: int, n_at_once: int = 4, every_s: float = 5.0) -> None:
        """Ask, submit, read and report until `n` trials have ended."""
        optuna = _optuna()
        with self.record.locked(), _quiet(optuna):
            self._save()
            self._drop_half_asked(optuna)
            while True:
                flying = self._flying(optuna)
                n_new = min(n - self._n_asked(optuna), n_at_once - len(flying))
                asked = [self._ask() for _ in range(max(0, n_new))]
                self._submit([*flying, *asked])
                if not flying and not asked:
                    return
                if not self._look(optuna):
                    time.sleep(every_s)

    def results(self) -> Results:
        """Return the results of all its runs."""
        trials = self.study.get_trials(deepcopy=False)
        names = {n for t in trials if "canonical" in t.user_attrs for n in self._names(t)}
        interface = None if self.job.interface.is_local else self.job.interface
        found = results(self.job.find_root(ask=False), interface)
        return Results(r for r in found if r.folder.split("/")[-2] in names)

    def _ask(self) -> Any:
        """Return a new trial, with the settings of its run."""
        trial = self.study.ask()
        point: dict[str, Any] = {}
        for name, found in self.space.ranges.items():
            if self.space.is_set(name, point):
                point[name] = suggest(trial, name, found)
        run = self.job.resolve({**self.base, **point})
        trial.set_user_attr("point", point)
        # this completes the trial
        trial.set_user_attr("canonical", run.canonical())
        return self.study.get_trials(deepcopy=False)[trial.number]

    def _drop_half_asked(self, optuna: ModuleType) -> None:
        """End trials whose driver was killed before they were complete; they do not count."""
        for trial in self._flying(optuna, whole=False):
            self._open_trial(optuna, trial).set_user_attr("dropped", True)
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def _open_trial(self, optuna: ModuleType, trial: FrozenTrial) -> Any:
        """Return a trial to write to; optuna gives trials of an earlier driver only by id."""
        return optuna.trial.Trial(self.study, trial._trial_id)

    def _n_asked(self, optuna: ModuleType) -> int:
        """Return the number of trials, without dropped ones and those in optuna's own queue."""
        waits = optuna.trial.TrialState.WAITING
        found = self.study.get_trials(deepcopy=False)
        return sum(t.state != waits and not t.user_attrs.get("dropped") for t in found)

    def _flying(self, optuna: ModuleType, *, whole: bool = True) -> list[FrozenTrial]:
        states = (optuna.trial.TrialState.RUNNING,)
        found = self.study.get_trials(deepcopy=False, states=states)
        return [t for t in found if ("canonical" in t.user_attrs) == whole]

    def _submit(self, trials: list[FrozenTrial]) -> None:
        """Submit trials that have no replicate, and trials that were created but not submitted."""
        found = self._by_name()
        new, again = {}, []
        for trial in trials:
            status = self._status(trial, found)
            if status is None:
                new[trial.user_attrs["canonical"]] = {**self.base, **trial.user_attrs["point"]}
            elif rank(status) == "created" or _goes_on(status):
                again.append(replicate_of(self.job, status))
        if again:
            self.job.resume(again)
        if new:
            self.job.submit_all(list(new.values()))

    def _look(self, optuna: ModuleType) -> bool:
        """Report ended trials and end those that the pruner stops; return whether any ended."""
        found, ended = self._by_name(), False
        both = [(trial, self._status(trial, found)) for trial in self._flying(optuna)]
        begun = [(trial, status) for trial, status in both if status is not None]
        curves = self._curves([status for _, status in begun])
        for trial, status in begun:
            curve = curves.get(status.folder, [])
            if status.is_final and not _goes_on(status):
                self._tell(optuna, trial, status, curve)
                ended = True
            elif self._is_poor(optuna, trial, curve):
                self.job.cancel([replicate_of(self.job, status)], "pruned by the search")
                self.study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)
                ended = True
        return ended

    def _tell(
        self, optuna: ModuleType, trial: FrozenTrial, status: Status, curve: list[float]
    ) -> None:
        if trial.user_attrs.get("pruned"):
            self.study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)
        elif status.state == "complete" and curve:
            best = min(curve) if mode(self.metric) == "min" else max(curve)
            self.study.tell(trial.number, best)
        else:
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def _is_poor(self, optuna: ModuleType, trial: FrozenTrial, curve: list[float]) -> bool:
        """Report new values of a run; return whether the pruner stops it."""
        if isinstance(self.study.pruner, optuna.pruners.NopPruner):
            return False
        own = self._open_trial(optuna, trial)
        for step in range(len(trial.intermediate_values), len(curve)):
            own.report(curve[step], step)
            if own.should_prune():
                own.set_user_attr("pruned", True)
                return True
        return False

    def _curves(self, chosen: list[Status]) -> dict[str, list[float]]:
        """Return the finite values of the metric, by folder, in one connection."""
        paths = {status.folder: f"{status.folder}/metrics.csv" for status in chosen}
        contents = self.job.interface.read(list(paths.values())) if paths else {}
        found = {}
        for folder, path in paths.items():
            data = contents.get(path, b"")
            if CUT in data:  # too long to be read whole
                interface = None if self.job.interface.is_local else self.job.interface
                rows = read_results(folder, interface)[0].rows
            else:
                rows = parse_rows(data)
            values = [row[self.metric] for row in rows if self.metric in row]
            found[folder] = [value for value in values if math.isfinite(value)]
        return found

    def _by_name(self) -> dict[str, Status]:
        """Return the newest replicate by canonical name."""
        found = [s for s in statuses(self.job) if s.reason != "half-made"]
        return {status.folder.rsplit("/", 2)[1]: status for status in found}

    def _names(self, trial: FrozenTrial) -> list[str]:
        """Return the possible names of the folder of a trial, also from earlier versions."""
        run = self.job.resolve({**self.base, **trial.user_attrs["point"]})
        return [trial.user_attrs["canonical"], run.canonical(), *run.old_names()]

    def _status(self, trial: FrozenTrial, found: Mapping[str, Status]) -> Status | None:
        return next((found[name] for name in self._names(trial) if name in found), None)

    def _save(self) -> None:
        self.record.save(
            {
                "kind": "adaptive",
                "job": repr(self.job),
                "base": self.base,
                "space": self.space.to_dict(),
                "metric": self.metric,
                "points": {},
            }
        )

    def __repr__(self) -> str:
        trials = self.study.get_trials(deepcopy=False) if self.study else []
        counts: dict[str, int] = {}
        for trial in trials:
            counts[trial.state.name.lower()] = counts.get(trial.state.name.lower(), 0) + 1
        shown = ", ".join(f"{k} {state}" for state, k in counts.items()) or "no trial"
        text = f"{self.record.name}: {shown}"
        if counts.get("complete"):
            best = self.study.best_trial
            point = ", ".join(f"{k}={v}" for k, v in best.user_attrs["point"].items())
            text += f"; best {self.metric} {best.value:.5g} at {point}"
        return text

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>{self.results()._repr_html_()}"


def _goes_on(status: Status) -> bool:
    """Return whether a run that ended at its time limit is submitted again."""
    return status.state == "timeout" and status.attempts < MAX_ATTEMPTS


def suggest(trial: Trial, name: str, found: Range) -> Any:
    """Return a value of the range, chosen by optuna."""
    if isinstance(found, Uniform):
        value = trial.suggest_float(name, found.lo, found.hi, log=found.log)
        return min(found.hi, max(found.lo, float(f"{value:.{DIGITS}g}")))
    if isinstance(found, Integer):
        return trial.suggest_int(name, found.lo, found.hi, log=found.log)
    assert isinstance(found, Choice)
    # optuna stores only plain values
    return found.values[trial.suggest_categorical(name, list(range(len(found.values))))]


class _Alone:
    """A replacement for optuna's lock file, which a killed driver leaves; the search has a lock."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        """Do nothing."""


def _storage(optuna: ModuleType, backend: Any, path: str) -> Any:
    try:
        return optuna.storages.JournalStorage(backend)
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise JobError(f"{path}: not a study of a search ({e}); move it away") from e


def _cut_last_line(path: str) -> None:
    """Cut off an incomplete last line of the study, left by a killed driver."""
    data = read_bytes(path, JobError) if os.path.exists(path) else b""
    if not data.endswith(b"\n") and data:
        write_file(path, data[: data.rfind(b"\n") + 1], JobError, durable=True)


def _optuna() -> Any:
    return optional("optuna", "an adaptive search", "search", JobError)


@contextmanager
def _quiet(optuna: ModuleType) -> Iterator[None]:
    """Hide optuna's line per trial, and its warnings about experimental features."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _sampler(optuna: ModuleType, given: Any, seed: int) -> Any:
    if not isinstance(given, str):
        return given
    makers = {
        # points in progress count as bad ones, so that a batch spreads out
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "cmaes": lambda: cma_es(optuna, seed),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
        "qmc": lambda: optuna.samplers.QMCSampler(seed=seed),
    }
    if given not in makers:
        raise JobError(f"sampler {given!r}: use one of {', '.join(SAMPLERS)}, or one of optuna")
    return makers[given]()


def _pruner(optuna: ModuleType, given: Any) -> Any:
    if not isinstance(given, str):
        return given
    makers = {
        "none": optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
        "halving": optuna.pruners.SuccessiveHalvingPruner,
    }
    if given not in makers:
        raise JobError(f"pruner {given!r}: use one of {', '.join(PRUNERS)}, or one of optuna")
    return makers[given]()
