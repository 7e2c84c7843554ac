"""Names of runs that are shown together, made of what varies among them. Light.

    names_of([{"lr": 0.1, "dim": 8}, {"lr": 0.2, "dim": 8}], ["out/a/version_0", "out/b/version_0"])
    # ["lr=0.1", "lr=0.2"]

The identity of a run is its folder; these names are only for display.
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
    """Return a short name for each run: `name=value` of the varying hyperparameters, seed last.

    If names are equal, the last part of the folder (`version_1`) is appended. The name of a run
    without a record is the last two parts of its folder. Names are not shortened.

    Args:
        runs: Hyperparameters of each run, without `_run`; empty if the run has no record.
        folders: Folder of each run.
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
    """Return the hyperparameters that name a run and vary among the runs, the seed last.

    Those that differ only because the tasks differ are left out, and so is the monitored value.
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
    """Return the names of `chosen` whose value is not the same in all runs."""
    first: dict[str, Any] = {}
    found: dict[str, bool] = {}  # whether a name varies, in the order of its first occurrence
    counts: Counter[str] = Counter()
    for run in chosen:
        counts.update(run.keys())
        for name, value in run.items():
            if name not in found:
                found[name], first[name] = False, value
            elif not found[name] and not _is_same(value, first[name]):
                found[name] = True
    left_out = untracked() | {"monitor"}
    return [
        name
        for name, varies in found.items()
        if (varies or counts[name] < len(chosen)) and name not in left_out
    ]


def _is_same(a: object, b: object) -> bool:
    """Return whether two values have the same text in JSON: 1 and 1.0 have not, nor True and 1."""
    if type(a) is not type(b) or a != b:
        return False
    if not isinstance(a, (list, dict)) or not a:
        return True
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def text(value: object) -> str:
    """Format a hyperparameter's value for a name: four digits, list items separated by spaces."""
    if isinstance(value, list):
        return " ".join(map(text, value))
    if isinstance(value, float):
        return f"{value:.4g}" if float(f"{value:.4g}") == value else repr(value)
    return "none" if value is None or value == "" else str(value)


@lru_cache(maxsize=1)
def untracked() -> frozenset[str]:
    """Return the hyperparameters of this package that do not name a run."""
    from seqmodel.hparam.registry import known_hparams

    return frozenset(
        name
        for cls in known_hparams()
        for name, hparam in cls.default_hparams().declared.items()
        if not hparam.tracked
    )
