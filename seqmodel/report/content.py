"""What the report says about a folder of runs, as plain values for JSON.

Runs of one task and one monitored value make a family: only within it scores are compared.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

from seqmodel import VERSION
from seqmodel.job.results.result import Result, mode
from seqmodel.job.results.table import Results, group_key, plain
from seqmodel.job.state import STATES, exception_line
from seqmodel.report.importance import importances
from seqmodel.trust.text import as_text

N_BEST = 3  # runs of a family of which the test split is shown
CURVE_POINTS = 40_000  # of one curve over all runs
LOG_BYTES = 4_000_000  # over all runs


def content(results: Results, root: str) -> dict[str, Any]:
    """Everything that the page shows."""
    families = _families(results)
    common = _common(results)
    n_points = max(40, min(300, CURVE_POINTS // max(1, len(results))))
    log_bytes = max(1_000, min(8_000, LOG_BYTES // max(1, len(results))))
    groups = {key: i for i, key in enumerate(dict.fromkeys(map(group_key, results)))}
    rows = results.rows()
    runs = []
    for i, (result, row) in enumerate(zip(results, rows, strict=True)):
        run = _run(result, row, common, n_points, log_bytes)
        run |= {
            "id": i,
            "family": families.index(_family(result)),
            "group": groups[group_key(result)],
        }
        runs.append(run)
    return {
        "root": root,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "seqmodel": VERSION,
        "states": _counts(results),
        "families": [_family_dict(i, name, results, runs) for i, name in enumerate(families)],
        "columns": _columns(results),
        "varying": results.varying,
        "common": common,
        "runs": runs,
        "groups": results.grouped(),
    }


def _counts(results: Results) -> dict[str, int]:
    found = {state: sum(r.status.state == state for r in results) for state in STATES}
    return {state: n for state, n in found.items() if n or state != "damaged"}


def _family(result: Result) -> tuple[str, str]:
    return (str(result.hparams.get("task") or ""), result.monitor)


def _families(results: Results) -> list[tuple[str, str]]:
    """(task, monitored value), those with most runs first, and those without a record last."""
    found = [_family(result) for result in results]
    return sorted(set(found), key=lambda f: (not f[0], -found.count(f), f))


def _family_dict(
    i: int, name: tuple[str, str], results: Results, runs: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    task, monitor = name
    mine = [(result, run) for result, run in zip(results, runs, strict=True) if run["family"] == i]
    chosen = [result for result, _ in mine]
    scored = [(r, run) for r, run in mine if run["best"] is not None]
    scored.sort(key=lambda pair: pair[1]["best"], reverse=mode(monitor) == "max")
    table = Results(chosen)
    points = [(r.hparams, run["best"]) for r, run in scored]
    return {
        "task": task,
        "monitor": monitor,
        "mode": mode(monitor),
        "n": len(chosen),
        "varying": [n for n in table.varying if n != "seed"],
        "importance": importances(points, [n for n in table.varying if n != "seed"]),
        "best": [{"run": run["id"], "curves": r.test_curves} for r, run in scored if r.test_curves][
            :N_BEST
        ],
    }


def _columns(results: Results) -> list[dict[str, str]]:
    """The table's columns, in order: key, what stands above it, what it means."""
    found = [
        ("state", "state", "what the run's own files tell"),
        *((name, name, "hyperparameter") for name in results.varying),
        ("best", "best", "best value of the monitored score"),
        ("last", "last", "its last value"),
        *((name, name, "score on the test split") for name in results.test_columns()),
        ("epochs", "epochs", "epochs of which something was logged"),
        ("elapsed_s", "time", "of all attempts"),
        ("peak_memory_gb", "memory", "main memory at the peak, in GB"),
        ("staging_s", "staging", "seconds that environment, code and data took on the node"),
    ]
    rows = results.rows()
    always = ("state", "best")
    kept = [c for c in found if c[0] in always or any(row.get(c[0]) is not None for row in rows)]
    if len({_family(r) for r in results if r.hparams}) > 1:
        kept.insert(1, ("monitor", "monitor", "the score that tells the best checkpoint"))
    return [{"key": key, "label": label, "tip": tip} for key, label, tip in kept]


def _run(
    result: Result, row: dict[str, Any], common: dict[str, Any], n_points: int, log_bytes: int
) -> dict[str, Any]:
    status = result.status
    return {
        "name": result.canonical,
        "version": result.version,
        "folder": result.folder,
        "state": status.state,
        "reason": status.reason,
        "detail": _offending_line(result),
        "attempts": status.attempts,
        "best": _finite(row["best"]),
        "cells": {name: _short(value) for name, value in row.items() if name not in _NO_CELLS},
        "hparams": {n: v for n, v in result.hparams.items() if n not in common},
        "curves": _curves(result, n_points),
        "log": _log(result, "stderr", log_bytes),
        "out": _log(result, "stdout", log_bytes // 2),
        "audit": as_text(result.audit) if result.audit else "",
        "about": _about(result),
        "asked": _asked(result),
        "used": {
            "time": _short(result.elapsed_s) or None,
            "memory": result.peak_memory,
            "cpu": result.usage.get("cpu_s"),
            "wall": result.usage.get("wall_s"),
        },
    }


_NO_CELLS = ("run", "version", "folder", "reason", "state")


def _common(results: Results) -> dict[str, Any]:
    """The hyperparameters that are the same in all runs: written once."""
    begun = [result.hparams for result in results if result.hparams]
    if not begun:
        return {}
    return {
        name: value
        for name, value in begun[0].items()
        if all(name in hparams and hparams[name] == value for hparams in begun)
    }


def _offending_line(result: Result) -> str:
    """The line that shows what went wrong: whole, if it stands in the log."""
    detail = result.status.detail
    if result.status.state not in ("error", "timeout"):
        return detail
    lines = [line.strip() for line in result.log().splitlines()]
    if not detail:
        return exception_line(result.log())
    return next((line[:500] for line in reversed(lines) if detail in line), detail)


def _curves(result: Result, n_points: int) -> dict[str, list[list[float]]]:
    """{logged value: [steps, values]} for whatever was logged more than once."""
    names = dict.fromkeys(n for row in result.rows for n in row if n not in ("epoch", "step"))
    found = {}
    for name in names:
        curve = [(x, y) for x, y in result.curve(name) if math.isfinite(y)]
        if len(curve) > 1 or (curve and not name.startswith("test_")):
            found[name] = thinned(curve, n_points, mode(name))
    return found


def thinned(curve: Sequence[tuple[float, float]], n: int, kind: str) -> list[list[float]]:
    """At most `n` points, [xs, ys]: the first, the last and the best stay, the others evenly."""
    if len(curve) > n:
        values = [y for _, y in curve]
        best = values.index(min(values) if kind == "min" else max(values))
        picked = {round(i * (len(curve) - 1) / (n - 2)) for i in range(n - 1)} | {best}
        curve = [curve[i] for i in sorted(picked)]
    return [[x for x, _ in curve], [_short(y) for _, y in curve]]


def _log(result: Result, name: str, n_bytes: int) -> str:
    text = result.log(name)
    # what progress bars overwrote is not read
    text = "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))
    return text[-n_bytes:].lstrip("\n").rstrip()


def _about(result: Result) -> dict[str, str]:
    """Where and from what it was run, for reading."""
    code, job = result.run.get("code") or {}, result.job
    if not code.get("commit"):  # of a node, which had an archive of the code
        code = job.get("code") or code
    found = {
        "job": f"{job.get('kind', '')} {result.status.job}".strip(),
        "machine": result.run.get("host") or job.get("interface"),
        "started": result.run.get("started"),
        "seqmodel": result.run.get("seqmodel"),
        "commit": (code.get("commit") or "")[:12] + (" and changes" if code.get("changed") else ""),
        "weights": result.usage.get("n_weights"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _asked(result: Result) -> dict[str, Any]:
    """What the job asked for: seconds, bytes, CPUs."""
    settings = result.job.get("settings") or {}
    minutes = settings.get("slurm_time_min")
    return {
        "time": 60 * minutes if minutes else None,
        "memory": memory_bytes(settings.get("slurm_mem")),
        "cpus": settings.get("slurm_cpus"),
        "gpus": settings.get("slurm_gpus"),
    }


def memory_bytes(text: object) -> float | None:
    """The bytes of `16G`, `4000M` or `4000` (megabytes, as Slurm reads it)."""
    if not isinstance(text, str) or not text:
        return None
    unit = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}.get(text[-1].upper())
    digits = text[:-1] if unit else text
    return float(digits) * (unit or 2**20) if digits.isdecimal() and len(digits) < 20 else None


def _short(value: object) -> Any:
    """Numbers with five digits: what a plot can show."""
    if isinstance(value, float):
        return _finite(float(f"{value:.5g}"))
    return plain(value)


def _finite(value: object) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(value: dict[str, Any]) -> str:
    """JSON that can stand in a script element: no text in it ends one."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
