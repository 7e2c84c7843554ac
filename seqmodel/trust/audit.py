"""Audit a data set and a model's test scores: all checks in one report of plain values.

`audit_rows` builds the report from rows and outputs; `audit` builds it from tables or a run folder.
docs/audit.md describes the schema of the report; text.py formats it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqmodel.dataset.homology import components
from seqmodel.trust.baselines import KMERS, MAX_ROWS, METRIC, baselines, ks_of, varies
from seqmodel.trust.coordinates import overlaps, seen_by
from seqmodel.trust.duplicates import duplicates, match, sequences, within
from seqmodel.trust.markov import chains
from seqmodel.trust.rows import Rows
from seqmodel.trust.similarity import Containment
from seqmodel.trust.text import SCHEMA, VERSION
from seqmodel.trust.uncertainty import (
    MIN_GROUPS,
    SIMILAR,
    as_json,
    by_containment,
    clean,
    groups_of,
    interval,
    intervals,
    paired,
)

PAIRS = (("train", "test"), ("train", "valid"), ("valid", "test"))
UNSEEN = ("row order", "file of origin", "position")
"""Baselines of what a model does not see."""
MANY_SIMILAR, STRONG_ORDER = 0.01, 0.3
_MOST_COMPARED = 50_000_000  # positions of all test rows together
_WORK = 200_000_000  # rows * targets * draws for one interval


class Outputs:
    """What a model predicts for rows of the test split.

    Args:
        row: Number of each item in the split, int64 [M].
        values: Probabilities or numbers, [M, C] or [M, T].
    """

    def __init__(self, row: np.ndarray, values: np.ndarray) -> None:
        order = np.argsort(row, kind="stable")
        self.row, self.values = np.asarray(row)[order], np.asarray(values)[order]


def audit_rows(
    splits: Mapping[str, Rows],
    outputs: Outputs | None = None,
    *,
    kmers: Sequence[int] = KMERS,
    baseline_rows: int = MAX_ROWS,
    draws: int = 1000,
    seed: int = 0,
    causal: bool = False,
    align: bool = False,
    base_checkpoint: str | None = None,
) -> dict[str, Any]:
    """Build the report of the splits and of a model's predictions for the test split.

    Args:
        splits: Rows of each split, by the name of the split.
        outputs: Predictions of the model.
        kmers: Values of k for the k-mer baselines.
        baseline_rows: Maximum number of training rows for fitting the baselines.
        draws: Number of bootstrap samples for each interval.
        seed: Random seed of all draws.
        causal: Rows without truth belong to a causal model, which sees only what precedes.
        align: Align the most similar rows with their training rows.
        base_checkpoint: Checkpoint from which training started.
    """
    began = time.perf_counter()
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "version": VERSION,
        "splits": {name: _split(rows) for name, rows in splits.items()},
        "within": {name: within(rows) for name, rows in splits.items()},
        "duplicates": {},
        "similarity": {},
        "coordinates": {},
    }
    containment = Containment(splits["train"]) if "train" in splits and len(splits) > 1 else None
    near: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for a, b in PAIRS:
        if a not in splits or b not in splits:
            continue
        key, first, second = f"{b} in {a}", splits[a], splits[b]
        report["duplicates"][key] = duplicates(first, second)
        report["duplicates"][key]["same_split"] = _same_split(report, key, a, b)
        if (found := overlaps(first, second)) is not None:
            report["coordinates"][key] = found
        if a == "train" and containment is not None:
            near[b] = containment.of(second)
            report["similarity"][key] = containment.report(second, *near[b], align=align)
    if base_checkpoint is not None and "test" in splits:
        report["base"] = seen_by(base_checkpoint, splits["test"])
    if "train" in splits and "test" in splits:
        _add_scores(report, splits, near["test"], outputs, kmers, baseline_rows, draws, seed)
        if splits["train"].kind is None:
            report["markov"] = chains(splits["train"], splits["test"], causal=causal)
    report["findings"] = findings(report)
    report["seconds"] = round(time.perf_counter() - began, 3)
    return report


def _split(rows: Rows) -> dict[str, Any]:
    lengths = rows.lengths
    found: dict[str, Any] = {
        "rows": rows.total,
        "examined": len(rows),
        "letters": int(lengths.sum()),
        "shortest": int(lengths.min()) if len(rows) else None,
        "longest": int(lengths.max()) if len(rows) else None,
        "alphabet": rows.alphabet.name,
        "kind": rows.kind,
        "targets": len(rows.targets),
    }
    if rows.truth is not None:
        found["varies"] = varies(rows.truth)
        if rows.kind == "class":
            counts = np.bincount(rows.truth, minlength=len(rows.targets))
            found["classes"] = dict(zip(rows.targets, counts.tolist(), strict=True))
        else:
            found["missing"] = int(np.isnan(rows.truth).sum())
    return found


def _same_split(report: Mapping[str, Any], key: str, a: str, b: str) -> bool:
    """Return whether two splits contain the same set of sequences."""
    sizes = [
        report["splits"][x]["examined"] - report["within"][x]["same"] for x in (a, b)
    ]  # distinct sequences
    return sizes[0] == sizes[1] == report["duplicates"][key]["same_distinct"]


def _add_scores(
    report: dict[str, Any],
    splits: Mapping[str, Rows],
    near: tuple[np.ndarray, np.ndarray],
    outputs: Outputs | None,
    kmers: Sequence[int],
    baseline_rows: int,
    draws: int,
    seed: int,
) -> None:
    """Add `baselines` and, if outputs are given, `model`."""
    train, test = splits["train"], splits["test"]
    if test.kind is None or test.truth is None or train.kind != test.kind:
        return
    metric = METRIC[test.kind]
    draws = max(100, min(draws, _WORK // (len(test) * max(1, len(test.targets)) + 1)))
    groups, word = groups_of(test.contigs, test.starts, components_of(test))
    options: dict[str, Any] = {"groups": groups, "draws": draws, "seed": seed}
    found = baselines(train, test, near, kmers=kmers, limit=baseline_rows, seed=seed)
    scores = {name: interval(metric, test.truth, x, **options) for name, x in found.items()}
    seen = {name: x for name, x in scores.items() if name not in UNSEEN and x.value == x.value}
    best = max(seen, key=lambda name: seen[name].value, default=None)
    report["baselines"] = {
        "metric": metric,
        "rows": min(len(train), baseline_rows),
        "kmers": ks_of(train, kmers),
        "groups": word,
        "draws": draws,
        "scores": as_json(scores),
        "unseen": [name for name in scores if name in UNSEEN],
        "best": best,
    }
    if outputs is not None:
        report["model"] = _model(train, test, near[0], outputs, found, best, options)


def components_of(test: Rows) -> np.ndarray | None:
    """Return the component of similar rows to which each row of a table belongs.

    Returns None if the table is too large to compare all rows, or if they form few components,
    such as the variants of one protein. Single rows are then drawn.
    """
    if test.contigs is not None or len(test.codes) > _MOST_COMPARED:
        return None
    found = components(sequences(test), SIMILAR)
    return found if MIN_GROUPS <= len(np.unique(found)) < len(found) else None


def _model(
    train: Rows,
    test: Rows,
    share: np.ndarray,
    outputs: Outputs,
    others: Mapping[str, np.ndarray],
    best: str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Score a model, with intervals, beside the best baseline and without similar rows."""
    assert test.kind is not None  # only rows with truth have scores
    metric, rows = METRIC[test.kind], test.numbers
    # rows that both have: some were not scored, or not drawn
    at = np.flatnonzero(np.isin(rows, outputs.row))
    values = outputs.values[np.searchsorted(outputs.row, rows[at])]
    here = {**options}
    if here["groups"] is not None:
        here["groups"] = here["groups"][at]
    assert test.truth is not None
    truth, share = test.truth[at], share[at]
    same = match(train, test).any[at]
    without = {"duplicates": same, f"similar (>= {SIMILAR:g})": same | (share >= SIMILAR)}
    found: dict[str, Any] = {
        "metric": metric,
        "rows": len(at),
        "metrics": as_json(intervals(test.kind, truth, values, **here)),
        "by_containment": by_containment(metric, truth, values, share, **here),
        "without": {
            name: clean(metric, truth, values, dirty, **here) for name, dirty in without.items()
        },
    }
    if best is not None:
        difference = paired(metric, truth, values, others[best][at], **here)
        found["better_than"] = {"name": best, **as_json({"x": difference})["x"]}
    return found


def findings(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is wrong: a sentence for each finding, by the names in hparam/audit.py."""
    found: list[dict[str, str]] = []

    def add(name: str, text: str) -> None:
        found.append({"name": name, "text": text})

    for key, x in report["duplicates"].items():
        if x["same_split"]:
            add("same_split", f"{key}: both splits have the same sequences")
        n = x["same"] + (x["reverse_complement"] or 0)
        if n:
            add("duplicates", f"{key}: {n:,} of {x['rows']:,} rows are duplicates")
        if x["other_label"]:
            add("conflicts", f"{key}: {x['other_label']:,} duplicates have another label")
    for key, x in report["similarity"].items():
        if key == "test in train" and x["share_at"]["0.5"] > MANY_SIMILAR:
            add("similar", f"{key}: {x['share_at']['0.5']:.1%} of the rows have containment >= 0.5")
    for key, x in report["coordinates"].items():
        if x["overlapping"]:
            add("overlap", f"{key}: {x['overlapping']:,} intervals overlap ({x['bp']:,} bp)")
    base = report.get("base")
    if base is not None and base["in_seen_range"]:
        n, total = base["in_seen_range"], base["rows"]
        add("base", f"{n:,} of {total:,} test intervals lie where {base['checkpoint']} was trained")
    test = report["splits"].get("test", {})
    if test.get("varies") is False:
        add("one_class", "test: all rows have one label")
    scores = report.get("baselines", {"unseen": []})
    for name in scores["unseen"]:
        x = scores["scores"][name]
        threshold = STRONG_ORDER + (0.5 if scores["metric"] == "auroc" else 0)
        if x["value"] is not None and x["value"] >= threshold:
            add("order", f"{name} alone has a test {scores['metric']} of {x['value']:.3f}")
    better = report.get("model", {}).get("better_than")
    if better is not None and better["low"] is not None and better["low"] <= 0:
        add(
            "baseline",
            f"the model is not better than {better['name']}: difference of "
            f"{better['value']:.3f} ({better['low']:.3f} to {better['high']:.3f})",
        )
    return found
