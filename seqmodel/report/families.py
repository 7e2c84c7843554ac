"""What the report says of runs that can be compared: families, their order, and failures.

Runs of one task and one monitored score make a family; only within a family are scores compared.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seqmodel.job.results.naming import names_of, text, varying
from seqmodel.job.results.result import Result, mode
from seqmodel.job.results.table import group_key
from seqmodel.report.importance import importances, together

N_BEST = 3  # runs of a family whose test split is shown
N_COLOURS = 10  # runs, or groups of replicates, of a family that are drawn in color
FAILED = ("error", "timeout", "damaged", "diverged")

Run = dict[str, Any]
Pair = tuple[Result, Run]
# what differs between two messages of one cause: paths, numbers, quoted texts
_PARTICULAR = re.compile(r"\S*/\S*|0x[0-9a-fA-F]+|[-+]?\d[\d.]*(?:e[-+]?\d+)?|'[^']*'|\"[^\"]*\"")


def family_of(result: Result) -> tuple[str, str]:
    """The task and the monitored score of a run."""
    return (str(result.hparams.get("task") or ""), result.monitor)


def families(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(task, monitored score) of all families: the largest first, those without a record last."""
    counts = Counter(family_of(result) for result in results)
    return sorted(counts, key=lambda f: (not f[0], -counts[f], f))


def labels(results: Sequence[Result], *, seed: bool = True) -> list[str]:
    """The names of runs that are shown together; a run alone has the name of its folder."""
    if len(results) == 1 and results[0].hparams:
        return [results[0].canonical]
    hparams: list[dict[str, Any]] = [
        {n: v for n, v in r.hparams.items() if seed or n != "seed"} for r in results
    ]
    return names_of(hparams, [r.folder for r in results])


def family(name: tuple[str, str], pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the page shows of one family.

    Args:
        name: its task and its monitored score.
        pairs: its runs, each with what the page shows of it.
    """
    task, monitor = name
    names = [n for n in varying([result.hparams for result, _ in pairs]) if n != "seed"]
    ranked = [pair for pair in pairs if pair[1]["best"] is not None]
    ranked.sort(key=lambda pair: pair[1]["best"], reverse=mode(monitor) == "max")
    compared = [pair for pair in ranked if pair[1]["state"] != "diverged"]
    points = [(result.hparams, run["best"]) for result, run in compared]
    linked = together([result.hparams for result, _ in compared], names)
    others = {n for group in linked for n in group[1:]}  # the first of a group speaks for it
    drawn = [pair for pair in compared if pair[0].test_curves][:N_BEST]
    return {
        "task": task,
        "monitor": monitor,
        "mode": mode(monitor),
        "n": len(pairs),
        "varying": names,
        "together": linked,
        "importance": importances(points, [n for n in names if n not in others]),
        "groups": _series(_groups(compared), seed=False),
        "ranked": _series([[pair] for pair in compared]),
        "best": [
            {"run": run["id"], "label": label, "curves": with_areas(result.test_curves)}
            for (result, run), label in zip(drawn, labels([r for r, _ in drawn]), strict=True)
        ],
    }


def _groups(ranked: Sequence[Pair]) -> list[list[Pair]]:
    """Replicates together, in the order of the best of each group."""
    found: dict[str, list[Pair]] = {}
    for pair in ranked:
        found.setdefault(group_key(pair[0]), []).append(pair)
    return list(found.values())


def _series(groups: Sequence[Sequence[Pair]], *, seed: bool = True) -> list[dict[str, Any]]:
    """Runs of each group; the first groups are drawn in color and have a label in the legend."""
    shown = groups[:N_COLOURS]
    named = labels([group[0][0] for group in shown], seed=seed)
    found: list[dict[str, Any]] = [{"runs": [run["id"] for _, run in g]} for g in groups]
    return [{**x, "label": y} for x, y in zip(found, named, strict=False)] + found[len(named) :]


def with_areas(curves: Mapping[str, Any]) -> dict[str, Any]:
    """The curves of a test split, each with the area below it: that of its points if none is kept.

    Runs of earlier versions kept the points only, at most 200 of a curve.
    """
    found = dict(curves)
    for key, area in (("roc", _trapezoids), ("pr", _average_precision)):
        if key in found:
            found[key] = {
                name: {**points, "area": points.get("area", area(points))}
                for name, points in found[key].items()
            }
    return found


def _trapezoids(points: Mapping[str, Sequence[float]]) -> float:
    x, y = points["fpr"], points["tpr"]
    return sum((x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2 for i in range(1, len(x)))


def _average_precision(points: Mapping[str, Sequence[float]]) -> float:
    x, y = [0.0, *points["recall"]], points["precision"]
    return sum((x[i + 1] - x[i]) * y[i] for i in range(len(y)))


def failures(pairs: Sequence[Pair], names: Sequence[str]) -> list[dict[str, Any]]:
    """The runs that failed, those with one cause together; the most frequent cause first.

    Args:
        pairs: all runs of the page, each with what the page shows of it.
        names: the hyperparameters that vary among them.
    """
    found: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        if pair[1]["state"] in FAILED:
            found.setdefault(_cause(pair[1]), []).append(pair)
    groups = [_failure(group, names) for group in found.values()]
    return sorted(groups, key=lambda group: -len(group["runs"]))


def _cause(run: Run) -> tuple[str, ...]:
    return tuple(_PARTICULAR.sub("#", run[key][:500]) for key in ("state", "reason", "detail"))


def _failure(group: Sequence[Pair], names: Sequence[str]) -> dict[str, Any]:
    first = group[0][1]
    named = labels([result for result, _ in group]) if len(group) > 1 else [first["label"]]
    return {
        "state": first["state"],
        "reason": first["reason"],
        "line": first["detail"],
        "shared": list(_shared([result for result, _ in group], names)) if len(group) > 1 else [],
        "runs": [
            {"run": run["id"], "label": label} for (_, run), label in zip(group, named, strict=True)
        ],
    }


def _shared(results: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    """`name=value` for what varies among all runs and is the same in these."""
    for name in names:
        values = {text(r.hparams[name]) if name in r.hparams else None for r in results}
        if len(values) == 1 and None not in values:
            yield f"{name}={values.pop()}"
