"""What the report says about a folder of runs, as plain values for JSON."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from seqmodel import VERSION
from seqmodel.job.results.result import Result, mode
from seqmodel.job.results.table import Results, plain
from seqmodel.job.state import STATES, exception_line
from seqmodel.report.families import failures, families, family, family_of, labels
from seqmodel.report.outputs import logos, predictions, tracks
from seqmodel.trust.text import as_text

CURVE_POINTS = 40_000  # of one curve over all runs
LOG_BYTES = 4_000_000  # over all runs
ROSE = 2.0  # a validation loss that ends this many times above its first value has diverged
_DIVERGED = re.compile(r"\bDivergedError\b")


def content(results: Results, root: str, *, here: bool = False) -> dict[str, Any]:
    """Everything that the page shows.

    Args:
        results: the runs.
        root: the folder in which they are.
        here: whether the folder is on this host, so that its predictions, logos and tracks can be
            read.
    """
    found = families(results)
    common = _common(results)
    runs = _runs(results, found, common)
    pairs = list(zip(results, runs, strict=True))
    members: list[list[tuple[Result, dict[str, Any]]]] = [[] for _ in found]
    for pair in pairs:
        members[pair[1]["family"]].append(pair)
    described = [family(name, own) for name, own in zip(found, members, strict=True)]
    for item in described if here else []:
        item["predictions"] = _predictions(item, results)
    return {
        "root": root,
        "name": os.path.basename(os.path.abspath(os.path.expanduser(root))) or root,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "seqmodel": VERSION,
        "states": _counts(runs),
        "families": described,
        "failures": failures(pairs, [n for n in results.varying if n != "seed"]),
        "columns": _columns(results),
        "varying": results.varying,
        "common": common,
        "runs": runs,
        "groups": results.grouped(),
        "logos": logos(root) if here else [],
        "tracks": tracks(root) if here else [],
    }


def _predictions(described: dict[str, Any], results: Results) -> dict[str, Any] | None:
    """Those of the best run of a family that left some."""
    for group in described["ranked"]:
        [number] = group["runs"]
        found = predictions(results[number])
        if found is not None:
            curves = results[number].test_curves
            return {**found, "run": number} | ({"scatter": {}} if "scatter" in curves else {})
    return None


def _runs(
    results: Results, found: Sequence[tuple[str, str]], common: dict[str, Any]
) -> list[dict[str, Any]]:
    """What the page shows of each run."""
    n_points = max(40, min(300, CURVE_POINTS // max(1, len(results))))
    log_bytes = max(1_000, min(8_000, LOG_BYTES // max(1, len(results))))
    runs = [
        _run(result, row, common, n_points, log_bytes)
        for result, row in zip(results, results.rows(), strict=True)
    ]
    numbers = {name: i for i, name in enumerate(found)}
    groups: list[list[int]] = [[] for _ in found]
    for i, run in enumerate(runs):
        run |= {"id": i, "family": numbers[family_of(results[i])]}
        groups[run["family"]].append(i)
    for members in groups:
        for i, label in zip(members, labels([results[i] for i in members]), strict=True):
            runs[i]["label"] = label
    return runs


def _counts(runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    found = {state: sum(r["state"] == state for r in runs) for state in (*STATES, "diverged")}
    return {state: n for state, n in found.items() if n or state not in ("damaged", "diverged")}


def shown_state(result: Result) -> tuple[str, str]:
    """The state of a run and the reason for it; a run that diverged is not complete."""
    status = result.status
    diverged = divergence(result) if status.state in ("error", "complete") else ""
    return ("diverged", diverged) if diverged else (status.state, status.reason)


def divergence(result: Result) -> str:
    """How a run diverged, in a few words; "" if it did not.

    Its loss became NaN or infinite, which stops a run; or it ended with a training loss above the
    first one and a validation loss more than twice the first one.
    """
    if _DIVERGED.search(result.status.detail) or (
        result.status.state == "error" and _DIVERGED.search(result.log())
    ):
        return "the loss is not finite"
    losses = {name: [y for _, y in result.curve(name)] for name in ("train_loss", "valid_loss")}
    for name in {*losses, result.monitor}:
        last = result.last(name)
        if last is not None and not math.isfinite(last):
            return f"{name} is {last}"
    train, valid = losses["train_loss"], losses["valid_loss"]
    if (
        len(train) > 1
        and len(valid) > 1
        and train[-1] > train[0]
        and 0 < valid[0] < valid[-1] / ROSE
    ):
        return f"valid_loss rose from {valid[0]:.3g} to {valid[-1]:.3g}"
    return ""


def _columns(results: Results) -> list[dict[str, str]]:
    """The columns of the table, in order: key, heading, and what it means."""
    found = [
        ("state", "state", "state of the run, read from its own files"),
        *((name, name, "hyperparameter") for name in results.varying),
        ("best", "best", "best value of the monitored score"),
        ("last", "last", "last value of the monitored score"),
        *((name, name, "score on the test split") for name in results.test_columns()),
        ("epochs", "epochs", "number of epochs with a logged value"),
        ("elapsed_s", "time", "time of all attempts"),
        ("peak_memory_gb", "memory", "peak of main memory, in GB"),
        ("staging_s", "staging", "seconds to prepare environment, code and data on the node"),
    ]
    rows = results.rows()
    always = ("state", "best")
    kept = [c for c in found if c[0] in always or any(row.get(c[0]) is not None for row in rows)]
    if len({family_of(r) for r in results if r.hparams}) > 1:
        kept.insert(1, ("monitor", "monitor", "the score by which the best checkpoint is chosen"))
    return [{"key": key, "label": label, "tip": tip} for key, label, tip in kept]


def _run(
    result: Result, row: dict[str, Any], common: dict[str, Any], n_points: int, log_bytes: int
) -> dict[str, Any]:
    status = result.status
    state, reason = shown_state(result)
    return {
        "name": result.canonical,
        "version": result.version,
        "folder": result.folder,
        "state": state,
        "reason": reason,
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
    """The hyperparameters that are the same in all runs."""
    begun = [result.hparams for result in results if result.hparams]
    if not begun:
        return {}
    return {
        name: value
        for name, value in begun[0].items()
        if all(name in hparams and hparams[name] == value for hparams in begun)
    }


def _offending_line(result: Result) -> str:
    """The line that shows what went wrong, as it is in the log if it is there."""
    detail = result.status.detail
    if result.status.state not in ("error", "timeout"):
        return detail
    lines = [line.strip() for line in result.log().splitlines()]
    if not detail:
        return exception_line(result.log())
    return next((line[:500] for line in reversed(lines) if detail in line), detail)


def _curves(result: Result, n_points: int) -> dict[str, list[list[float]]]:
    """{name: [steps, values]} of everything that was logged more than once."""
    names = [n for n in result.summary.last if n not in ("epoch", "step")]
    found = {}
    for name in names:
        curve = [(x, y) for x, y in result.curve(name) if math.isfinite(y)]
        if len(curve) > 1 or (curve and not name.startswith("test_")):
            found[name] = thinned(curve, n_points, mode(name))
    return found


def thinned(curve: Sequence[tuple[float, float]], n: int, kind: str) -> list[list[float]]:
    """At most `n` points, [xs, ys]: first, last and best, and others at equal distances."""
    if len(curve) > n:
        values = [y for _, y in curve]
        best = values.index(min(values) if kind == "min" else max(values))
        picked = {round(i * (len(curve) - 1) / (n - 2)) for i in range(n - 1)} | {best}
        curve = [curve[i] for i in sorted(picked)]
    return [[x for x, _ in curve], [_short(y) for _, y in curve]]


def _log(result: Result, name: str, n_bytes: int) -> str:
    text = result.log(name)
    # a progress bar overwrites its line: only the last state of it is kept
    text = "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))
    return text[-n_bytes:].lstrip("\n").rstrip()


def _about(result: Result) -> dict[str, str]:
    """Where the run ran, and with which code."""
    code, job = result.run.get("code") or {}, result.job
    if not code.get("commit"):  # a node has an archive of the code, without git
        code = job.get("code") or code
    found = {
        "job": f"{job.get('kind', '')} {result.status.job}".strip(),
        "host": result.run.get("host") or job.get("interface"),
        "started": result.run.get("started"),
        "seqmodel": result.run.get("seqmodel"),
        "commit": (code.get("commit") or "")[:12]
        + (" with changes" if code.get("changed") else ""),
        "weights": result.usage.get("n_weights"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _asked(result: Result) -> dict[str, Any]:
    """What the job requested: seconds, bytes, CPUs and GPUs."""
    settings = result.job.get("settings") or {}
    minutes = settings.get("slurm_time_min")
    return {
        "time": 60 * minutes if minutes else None,
        "memory": memory_bytes(settings.get("slurm_mem")),
        "cpus": settings.get("slurm_cpus"),
        "gpus": settings.get("slurm_gpus"),
    }


def memory_bytes(text: object) -> float | None:
    """The bytes of `16G`, `4000M` or `4000` (megabytes, as in Slurm); None for other texts."""
    if not isinstance(text, str) or not text:
        return None
    unit = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}.get(text[-1].upper())
    digits = text[:-1] if unit else text
    return float(digits) * (unit or 2**20) if digits.isdecimal() and len(digits) < 20 else None


def _short(value: object) -> Any:
    """A value with five digits at most, which is what a plot can show."""
    if isinstance(value, float):
        return _finite(float(f"{value:.5g}"))
    return plain(value)


def _finite(value: object) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(value: dict[str, Any]) -> str:
    """JSON for a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
