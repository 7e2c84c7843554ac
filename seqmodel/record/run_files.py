"""Read the files of run folders; one damaged run never prevents reading the others.

A run folder may hold anything: a FIFO in place of a file, a truncated record, numbers out of range.
Only regular files are opened. A record has the types that its readers expect, or `Damaged` reports
which file is wrong and why. Standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from sys import intern
from typing import Any

from seqmodel.errors import JobError
from seqmodel.job import agent

MAX_DEPTH = 8  # nested lists in hparams.json
MAX_SECONDS = 1e10  # 300 years
MAX_COUNT = 2.0**62  # bytes, weights
SHARED = 200  # characters of a text that records of many runs may have in common


class Damaged(JobError):
    """A file of a run that cannot be used, with its name and the reason."""


def read_regular(path: str, pick: Callable[[Any, int], bytes] | None = None) -> bytes | None:
    """Return the content of a regular file; None if it does not exist.

    Args:
        path: Path of the file, or of a link to a regular file.
        pick: Function of the open file and its size that reads a part. Default: read all.

    Raises:
        Damaged: It is not a regular file, too large or unreadable.
    """
    try:
        return agent.read_regular(path, pick)
    except agent.Failure as e:
        raise Damaged(e.text) from e


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse the JSON object of a file; NaN and infinity become text.

    Raises:
        Damaged: The content is empty, truncated, not JSON, or not an object.
    """
    if not data:
        raise Damaged(f"{name}: the file is empty")
    try:
        found = json.loads(data, parse_constant=str, object_pairs_hook=_shared)
        if b"\\ud" in data or b"\\uD" in data:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as e:
        why = "nested too deeply" if isinstance(e, RecursionError) else _one_line(e)
        raise Damaged(f"{name}: not JSON ({why})") from e
    if not isinstance(found, dict):
        raise Damaged(f"{name}: holds {_kind(found)}, not an object")
    return found


def check_hparams(record: Mapping[str, Any]) -> None:
    """Check that the tables can show a record of hyperparameters.

    Raises:
        Damaged: A field is invalid; the message names it.
    """
    for field, value in record.items():
        if field != "_run" and not isinstance(value, (str, bool, type(None))):
            _check_plain(value, f"hparams.json: {field}", 0)
    _check(record, "hparams.json", {"monitor": _text, "task": _text, "encoder": _text})
    run = record.get("_run")
    if run is not None:
        _check({"_run": run}, "hparams.json", {"_run": _object})
        fields = {"name": _text, "host": _text, "seqmodel": _text, "started": _text}
        _check(run, "hparams.json: _run", {**fields, "code": _object})


def check_usage(record: Mapping[str, Any]) -> None:
    """Check that times and sizes are numbers in a plausible range.

    Raises:
        Damaged: A field is invalid; the message names it.
    """
    counts = ("peak_rss_bytes", "peak_gpu_bytes", "n_weights", "step")
    fields = {**dict.fromkeys(("wall_s", "cpu_s"), _seconds), **dict.fromkeys(counts, _count)}
    _check(record, "usage.json", fields)


def check_job(record: Mapping[str, Any]) -> None:
    """Check that the fields of a job's record have the expected types.

    Raises:
        Damaged: A field is invalid; the message names it.
    """
    texts = dict.fromkeys(("kind", "canonical", "interface"), _text)
    _check(record, "job.json", {**texts, "settings": _object, "code": _object, "fields": _object})
    settings = record.get("settings") or {}
    fields = {"slurm_time_min": _count, "slurm_cpus": _count, "slurm_mem": _text}
    _check(settings, "job.json: settings", {**fields, "slurm_gpus": _text})


def check_test_curves(record: Mapping[str, Any]) -> None:
    """Check that the report can draw the curves.

    Raises:
        Damaged: A field is invalid; the message names it.
    """
    if not record:
        return
    name = "test_curves.json"
    try:
        if not all(isinstance(text, str) for text in record.get("names", [])):
            raise Damaged(f"{name}: names: not a list of strings")
        for row in record.get("confusion", []):
            _check_numbers(row)
        for key, axes in _AXES.items():
            for points in record.get(key, {}).values():
                lengths = {_check_numbers(points[axis]) for axis in axes}
                if len(lengths) != 1:
                    raise Damaged(f"{name}: {key}: {' and '.join(axes)} have different lengths")
                _check_numbers([points.get("area", 0)])
        if "confusion" in record and {len(record["names"])} != {
            len(record["confusion"]), *map(len, record["confusion"])
        }:  # fmt: skip
            raise Damaged(f"{name}: confusion: not one row and one column for each name")
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as e:
        if isinstance(e, Damaged):
            raise
        raise Damaged(f"{name}: not the curves that a run writes ({_one_line(e)})") from e


_AXES = {
    "roc": ("fpr", "tpr"),
    "pr": ("recall", "precision"),
    "scatter": ("target", "predicted"),
    "reliability": ("predicted", "observed", "n"),
}


def check_metrics(data: bytes) -> None:
    """Check that the first line of metrics.csv has a column `step`.

    Raises:
        Damaged: The column is missing.
    """
    head, end, _ = data.partition(b"\n")
    if end and b"step" not in head.strip().split(b","):
        raise Damaged("metrics.csv: the first line has no column `step`")


def why(error: BaseException) -> str:
    """Return one line that describes the fault of a run."""
    if isinstance(error, JobError):
        return _one_line(error)
    return f"{type(error).__name__}: {_one_line(error)}"


def _shared(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose names and short texts are those of all other records in memory."""
    return {
        intern(name): intern(x) if type(x) is str and len(x) <= SHARED else x for name, x in pairs
    }


def _check(record: Mapping[str, Any], name: str, fields: Mapping[str, _Field]) -> None:
    for field, (fits, wanted) in fields.items():
        value = record.get(field)
        if value is not None and not fits(value):
            raise Damaged(f"{name}: {field} is {_shown(value)}, not {wanted}")


def _check_plain(value: Any, name: str, depth: int) -> None:
    """Check a value of a cell: text, a finite number, or lists and objects of these."""
    if isinstance(value, (list, dict)):
        if depth == MAX_DEPTH:
            raise Damaged(f"{name}: nested too deeply")
        for item in value if isinstance(value, list) else value.values():
            _check_plain(item, name, depth + 1)
    elif isinstance(value, (int, float)) and not _is_number(value):
        raise Damaged(f"{name}: {_shown(value)} is out of range")


def _check_numbers(values: Any) -> int:
    """Check that `values` is a list of finite numbers, and return its length."""
    if not isinstance(values, list) or not math.isfinite(math.fsum(values)):
        raise Damaged("test_curves.json: not a list of finite numbers")
    return len(values)


def _is_number(value: Any, most: float = 1e300) -> bool:
    # a comparison, because the conversion of a large int to float would fail
    return isinstance(value, (int, float)) and -most <= value <= most


_Field = tuple[Callable[[Any], bool], str]
_text: _Field = (lambda v: isinstance(v, str), "text")
_object: _Field = (lambda v: isinstance(v, dict), "an object")
_seconds: _Field = (lambda v: _is_number(v, MAX_SECONDS) and v >= 0, "a number of seconds")
_count: _Field = (lambda v: _is_number(v, MAX_COUNT) and v >= 0, "a count")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}..."


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
