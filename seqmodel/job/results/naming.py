"""Names of the runs that are shown together: what varies among them. Light.

    names_of([{"lr": 0.1, "dim": 8}, {"lr": 0.2, "dim": 8}], ["out/a/version_0", "out/b/version_0"])
    # ["lr=0.1", "lr=0.2"]

The identity of a run remains its folder; these names are for reading only.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

Hparams = Mapping[str, Any]


def names_of(runs: Sequence[Hparams], folders: Sequence[str]) -> list[str]:
    """A short name for each run: `name=value` of the hyperparameters that vary, the seed last.

    Runs that would share a name get the last part of their folder (`version_1`) behind it. A run
    without a record is named by the last two parts of its folder. Nothing is cut.

    Args:
        runs: hyperparameters of each run, without `_run`; empty where there is no record.
        folders: of each run.
    """
    names = varying(runs)
    found = [
        ", ".join(f"{name}={text(run[name])}" for name in names if name in run) for run in runs
    ]
    counts = Counter(found)

    def one(name: str, run: Hparams, folder: str) -> str:
        above, version = os.path.split(folder.rstrip("/"))
        if not run:
            return os.path.join(os.path.basename(above), version)
        return ", ".join(filter(None, [name, version])) if counts[name] > 1 or not name else name

    return [one(*run) for run in zip(found, runs, folders, strict=True)]


def varying(runs: Sequence[Hparams]) -> list[str]:
    """The hyperparameters that name a run and are not the same in all of them, the seed last.

    Those that differ only because tasks differ are left out, and so is the monitored value.
    """
    tasks: dict[str, list[Hparams]] = {}
    for run in runs:
        if run:
            tasks.setdefault(str(run.get("task")), []).append(run)
    names = dict.fromkeys(["task"] if len(tasks) > 1 else [])
    for chosen in tasks.values():
        names |= dict.fromkeys(_varying(chosen))
    return sorted(names, key=lambda name: name == "seed")


def _varying(chosen: Sequence[Hparams]) -> list[str]:
    """The names of `chosen` that not all have with one value."""
    values: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for run in chosen:
        for name, value in run.items():
            values.setdefault(name, set()).add(json.dumps(value, sort_keys=True))
            counts[name] += 1
    left_out = untracked() | {"monitor"}
    return [
        name
        for name in values
        if (len(values[name]) > 1 or counts[name] < len(chosen)) and name not in left_out
    ]


def text(value: object) -> str:
    """A hyperparameter's value in a name: four digits, the items of a list with spaces between."""
    if isinstance(value, list):
        return " ".join(map(text, value))
    if isinstance(value, float):
        return f"{value:.4g}" if float(f"{value:.4g}") == value else repr(value)
    return "none" if value is None or value == "" else str(value)


@lru_cache(maxsize=1)
def untracked() -> frozenset[str]:
    """The hyperparameters of this package that do not name a run."""
    from seqmodel.hparam.registry import known_hparams

    return frozenset(
        name
        for cls in known_hparams()
        for name, hparam in cls.default_hparams().declared.items()
        if not hparam.tracked
    )
