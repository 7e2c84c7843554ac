"""Describe the data of a run: contigs, items of each split, lengths, GC content, labels, time.

`describe(data)` returns plain types for programs; `as_text` formats them for people.
"""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import Any

import numpy as np

from seqmodel.dataset.batch.reader import SequenceReader
from seqmodel.dataset.batch.window import letter_props, unknown_props
from seqmodel.dataset.data import Data
from seqmodel.dataset.interval.interval import Intervals

_MOST_LOOKED_AT = 20000
_MOST_SHOWN = 20
_TIMED_BATCHES = 50
_BAR = 40


def describe(data: Data) -> dict[str, Any]:
    """Describe data as plain JSON types.

    GC content and unknown symbols are computed from up to 20,000 evenly spaced items of a split.
    """
    found: dict[str, Any] = {
        "alphabet": data.alphabet.name,
        "targets": data.targets.to_dict(),
        "splits": {split: _split(data, split) for split in data.splits},
        "files": {path: os.path.getsize(path) for path in data.digests()},
    }
    if data.bad_intervals:
        found["bad_intervals"] = dict(data.bad_intervals)
    store = data.store
    if store is not None:
        order = np.argsort(-store.lengths, kind="stable")[:_MOST_SHOWN]
        found["contigs"] = {
            "n": len(store),
            "n_letters": store.n_letters,
            "longest": {store.names[i]: int(store.lengths[i]) for i in order},
            "store": store.path,
            "store_bytes": os.path.getsize(store.path),
        }
    return found


def _split(data: Data, split: str) -> dict[str, Any]:
    reader = data.readers[split]
    loader = data.loader(split)
    begin = time.perf_counter()
    batches = list(islice(iter(loader), _TIMED_BATCHES))
    seconds = (time.perf_counter() - begin) / len(batches)
    found = {
        "n": len(reader),
        "seq_len": reader.length,
        "n_batches": len(loader),
        "epoch_s": round(seconds * len(loader), 3),
        "epoch_bytes": sum(x.nbytes for x in batches[0].values()) * len(loader),
        "left_out": dict(data.left_out.get(split, {})),
        "lengths": _histogram(reader.intervals.length, integers=True),
        "labels": _labels(data, reader),
    }
    return found | _letters(reader)


def _letters(reader: SequenceReader) -> dict[str, Any]:
    """Return the GC content and the proportion of unknown symbols of some items."""
    n = len(reader)
    some = np.unique(np.linspace(0, n - 1, min(n, _MOST_LOOKED_AT)).astype(np.int64))
    x = reader.intervals.select(some)
    if reader.left_aligned:  # whole sequences: longer windows would include neighbors
        x = Intervals(x.contigs, x.contig, x.start, reader.length)
    alphabet = reader.alphabet
    unknown = unknown_props(reader.codes, alphabet, x, reader.length)
    found: dict[str, Any] = {
        "unknown_prop": round(float(unknown.mean()), 6),
        "n_half_unknown": int((unknown > 0.5).sum()),
    }
    gc = [i for i, letter in enumerate(alphabet.letters) if letter in "GC"]
    if alphabet.name in ("dna", "rna"):
        props = letter_props(reader.codes, alphabet, x, reader.length, gc)
        found["gc_mean"] = round(float(props.mean()), 6)
        found["gc"] = _histogram(props, edges=np.linspace(0, 1, 11))
    return found


def _histogram(
    values: np.ndarray, edges: np.ndarray | None = None, *, integers: bool = False
) -> list[dict[str, float]]:
    """Return the histogram between the smallest and largest value: from, to, n of each bin."""
    if edges is None:
        low, high = values.min(), values.max()
        if low == high:
            return [{"from": int(low), "to": int(high), "n": len(values)}]
        edges = np.linspace(low, high, 11)
        edges = np.unique(np.round(edges)) if integers else edges
    counts, edges = np.histogram(values, edges)
    filled = np.flatnonzero(counts)
    return [
        {"from": float(edges[i]), "to": float(edges[i + 1]), "n": int(counts[i])}
        for i in range(filled[0], filled[-1] + 1)
    ]


def _labels(data: Data, reader: SequenceReader) -> dict[str, Any]:
    """Summarize each target by name: items per class, positives of a label, mean of a number."""
    target, targets = reader.target, data.targets
    if target is None or not isinstance(target, np.ndarray):
        return {}
    if targets.kind == "class":
        counts = np.bincount(target, minlength=targets.n)
        return {name: int(n) for name, n in zip(targets.names, counts, strict=True)}
    columns = target.reshape(len(target), -1).astype(np.float32)
    missing = np.isnan(columns).sum(axis=0)
    if targets.kind == "multilabel":
        counts = np.nansum(columns, axis=0)
        return {
            name: {"n_positive": int(n), "n_missing": int(m)}
            for name, n, m in zip(targets.names, counts, missing, strict=True)
        }
    return {
        name: {
            "mean": round(float(np.nanmean(x)), 6),
            "sd": round(float(np.nanstd(x)), 6),
            "n_missing": int(m),
        }
        for name, x, m in zip(targets.names, columns.T, missing, strict=True)
    }


def as_text(found: dict[str, Any]) -> str:
    """Format the description as lines of text with bars."""
    kind = found["targets"]["kind"]
    names = found["targets"]["names"]
    lines = [f"alphabet {found['alphabet']}; " + (f"{len(names)} {kind}" if kind else "no labels")]
    contigs = found.get("contigs")
    if contigs:
        lines.append(
            f"{contigs['n']} contigs, {contigs['n_letters']:,} positions; store {contigs['store']} "
            f"({_bytes(contigs['store_bytes'])})"
        )
        lines += [f"  {name:<24}{n:>14,}" for name, n in contigs["longest"].items()]
        more = contigs["n"] - len(contigs["longest"])
        lines += [f"  and {more} more"] * (more > 0)
    for path, counts in found.get("bad_intervals", {}).items():
        lines += [f"{path}: left out {n:,} intervals {why}" for why, n in counts.items()]
    for split, x in found["splits"].items():
        lines += ["", *_split_lines(split, x)]
    return "\n".join(lines)


def _split_lines(split: str, x: dict[str, Any]) -> list[str]:
    lines = [
        f"{split}: {x['n']:,} items, up to {x['seq_len']:,} positions, {x['n_batches']:,} batches; "
        f"an epoch is {_bytes(x['epoch_bytes'])}, read in {x['epoch_s']:.2f} s",
        f"  unknown symbols {100 * x['unknown_prop']:.2f} %; "
        f"{x['n_half_unknown']:,} items more than half unknown",
    ]
    lines += [f"  left out: {n:,} {why}" for why, n in x["left_out"].items()]
    if len(x["lengths"]) > 1:
        lines += ["  length of the intervals", *_bars(x["lengths"], "{:,.0f}")]
    if "gc" in x:
        lines += [f"  GC content, {100 * x['gc_mean']:.1f} % on average", *_bars(x["gc"], "{:.1f}")]
    labels = list(x["labels"].items())
    if labels:
        lines.append("  labels")
        lines += [f"    {name:<22}{_label(value, x['n'])}" for name, value in labels[:_MOST_SHOWN]]
        lines += [f"    and {len(labels) - _MOST_SHOWN} more"] * (len(labels) > _MOST_SHOWN)
    return lines


def _label(value: int | dict[str, float], n: int) -> str:
    if isinstance(value, int):
        return f"{value:>10,}  {100 * value / n:5.1f} %  {_bar(value, n)}"
    missing = f"  {value['n_missing']:,} missing" if value["n_missing"] else ""
    if "mean" in value:
        return f"mean {value['mean']:.4g}, sd {value['sd']:.4g}{missing}"
    n_positive = int(value["n_positive"])
    return f"{n_positive:>10,}  {100 * n_positive / n:5.1f} %  {_bar(n_positive, n)}{missing}"


def _bars(bins: list[dict[str, float]], form: str) -> list[str]:
    most = max(x["n"] for x in bins)
    spans = [f"{form.format(x['from'])} to {form.format(x['to'])}" for x in bins]
    return [
        f"    {span:<22}{x['n']:>10,}  {_bar(x['n'], most)}"
        for span, x in zip(spans, bins, strict=True)
    ]


def _bar(n: float, most: float) -> str:
    return "#" * round(_BAR * n / max(most, 1))


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"
