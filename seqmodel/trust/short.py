"""The short form of an audit: one line that a run prints after its test scores.

    audit: mcc 0.774 | 5-mers 0.704, nearest row 0.262, GC 0.016 | 0 duplicates of train, 8.9 %
    similar (>= 0.2): mcc 0.75 without them

If it would take more than 5 % of the time of the run, it is left out and the run says so.
"""

from __future__ import annotations

import json
import time

import numpy as np

from seqmodel.dataset.data import Data
from seqmodel.errors import RunError, SeqmodelError
from seqmodel.files import write_file
from seqmodel.training.ending import Beside
from seqmodel.training.execute import Tested
from seqmodel.trust.audit import UNSEEN, Outputs, audit_rows, components_of
from seqmodel.trust.baselines import KMERS, METRIC, baselines, ks_of
from seqmodel.trust.coordinates import overlap_of
from seqmodel.trust.duplicates import match
from seqmodel.trust.markov import chains
from seqmodel.trust.metrics import OF_KIND, prepare
from seqmodel.trust.rows import Rows, most_rows, rows_of
from seqmodel.trust.similarity import Containment
from seqmodel.trust.text import NAME, as_text
from seqmodel.trust.uncertainty import SIMILAR, groups_of, interval

SHARE = 0.05
"""Of the time of the run, which the short form may take."""
LEAST_S = 1.0
"""Seconds that it may take however short the run is."""
# seconds on one thread, a generous estimate: hash and sort a position, fit a feature of a row
_BASE, _PER_LETTER, _PER_FEATURE = 0.1, 1e-6, 2e-7
_PER_DRAW = 1e-7  # for one output in one draw of an interval
_FEWEST_DRAWS, _LEAST_DRAWING_S = 200, 0.5
_N_SHOWN = 3


def after_test(tested: Tested) -> Beside:
    """Return what a run prints beside its test scores: intervals, baselines, and an audit.

    An error here does not fail the run, because its weights and scores are already written.
    """
    wanted = tested.run.values.audit
    if wanted == "none" or not {"train", "test"} <= set(tested.data.splits):
        return Beside()
    try:
        return _full(tested) if wanted == "full" else _short(tested)
    except (SeqmodelError, ValueError, ArithmeticError, MemoryError) as e:
        return Beside([f"audit: left out ({type(e).__name__}: {e})"])


def _full(tested: Tested) -> Beside:
    data = tested.data
    splits = {name: rows_of(data, name, most_rows(data, name)) for name in data.splits}
    causal = tested.run.values.task == "causal"
    report = audit_rows(splits, _outputs(tested), causal=causal)
    report["files"] = {x: data.files_of(x) for x in data.splits}
    write_file(tested.folder / NAME, json.dumps(report) + "\n", RunError)
    model = report.get("model", {"metrics": {}})["metrics"]
    found = report.get("baselines", {"scores": {}})
    best = found.get("best")
    value = best and found["scores"][best]["value"]
    return Beside(
        as_text(report).splitlines(),
        {n: (x["low"], x["high"]) for n, x in model.items() if x["low"] is not None},
        {best: {found["metric"]: value}} if best else {},
    )


def seconds(data: Data) -> float:
    """Estimate the seconds that the short form takes without k-mer counts."""
    parts = (data.readers[x].intervals.length for x in ("train", "test"))
    return _BASE + _PER_LETTER * sum(int(x.sum(dtype=np.int64)) for x in parts)


def _short(tested: Tested) -> Beside:
    budget, cost = max(LEAST_S, SHARE * tested.seconds), seconds(tested.data)
    if cost > budget:
        return Beside(
            [
                f"audit: left out; it would take about {cost:.1f} s of a run of "
                f"{tested.seconds:.0f} s: seqmodel audit --run={tested.folder}"
            ]
        )
    end = time.monotonic() + budget
    train, test = rows_of(tested.data, "train"), rows_of(tested.data, "test")
    share, nearest = Containment(train).of(test)
    same = match(train, test).any
    others, unit = _others(train, test, share, nearest, budget - cost, tested)
    metric = "loss" if unit else METRIC.get(test.kind or "", "")
    words = [f"{int(same.sum()):,} duplicates of train"]
    if train.contigs is not None:
        words.append(f"{int((overlap_of(train, test)[0] > 0).sum()):,} overlap")
    similar = same | (share >= SIMILAR)
    words.append(f"{similar.mean():.1%} similar (>= {SIMILAR:g})")
    last = ", ".join(words) + _without(tested, test, similar)
    sources = ", ".join(f"{name} {x[metric]:.3f}" for name, x in others.items()) + unit
    scores = _model_score(tested, test, np.ones(len(test), dtype=bool))
    line = " | ".join(["audit:" + (f" {scores}" if scores else ""), *filter(None, [sources, last])])
    if tested.data.targets.kind == "track":  # their scores are of bins, those here of sums
        others = {}
    return Beside([line], _intervals(tested, test, end), others)


def _others(
    train: Rows,
    test: Rows,
    share: np.ndarray,
    nearest: np.ndarray,
    budget: float,
    tested: Tested,
) -> tuple[dict[str, dict[str, float]], str]:
    """Return the scores of the best baselines for which there is time, and the unit of a loss."""
    if train.kind is None or test.truth is None:
        if tested.run.values.task not in ("masked", "causal"):
            return {}, ""
        nats = chains(train, test, causal=tested.run.values.task == "causal")
        known = [(name, x) for name, x in nats.items() if x is not None]
        return {name: {"loss": x} for name, x in known[-2:]}, " nats"
    work = _PER_FEATURE * len(train) * max(1, len(train.targets))
    ks = [k for k in ks_of(train, KMERS) if work * train.alphabet.n_letters**k <= budget]
    found = baselines(train, test, (share, nearest), kmers=ks[-1:])
    metric = METRIC[train.kind]
    scores = {name: score(metric, test.truth, x) for name, x in found.items()}
    seen = [(x, name) for name, x in scores.items() if name not in UNSEEN and x == x]
    best = [name for _, name in sorted(seen, reverse=True)[:_N_SHOWN]]
    logged = _logged(tested, train.kind)
    return {
        name: {m: score(m, test.truth, found[name]) for m in logged} | {metric: scores[name]}
        for name in best
    }, ""


def _logged(tested: Tested, kind: str) -> list[str]:
    """Return the metrics of a kind of targets that the run has logged."""
    return [name for name in OF_KIND.get(kind, ()) if f"test_{name}" in tested.metrics]


def _intervals(tested: Tested, test: Rows, end: float) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of the scores, drawn as often as there is time until `end`."""
    outputs = _outputs(tested)
    if outputs is None or test.truth is None or test.kind is None:
        return {}
    names = _logged(tested, test.kind)
    components = None
    if _PER_LETTER * len(test.codes) < end - time.monotonic():
        components = components_of(test)
    groups, _ = groups_of(test.contigs, test.starts, components)
    groups = None if groups is None else groups[outputs.row]
    n = outputs.values.size * max(1, len(names))
    left = max(_LEAST_DRAWING_S, end - time.monotonic())
    draws = min(1000, int(left / (_PER_DRAW * n + 1e-9)))
    if draws < _FEWEST_DRAWS:
        return {}
    truth = test.truth[outputs.row]
    found = {x: interval(x, truth, outputs.values, groups, draws) for x in names}
    # another definition than that of the run, such as of tracks, would be of another number
    same = {n: x for n, x in found.items() if abs(x.value - tested.metrics[f"test_{n}"]) < 1e-3}
    return {name: (x.low, x.high) for name, x in same.items() if x.low == x.low}


def score(metric: str, truth: np.ndarray, outputs: np.ndarray) -> float:
    """Return a test metric of all rows."""
    n = len(truth)
    return float(prepare(metric, truth, outputs, np.zeros(n, dtype=np.int64))(np.ones((1, 1)))[0])


def _outputs(tested: Tested) -> Outputs | None:
    if tested.outputs is None or tested.item is None:
        return None
    return Outputs(tested.item, tested.outputs)


def _model_score(tested: Tested, test: Rows, which: np.ndarray) -> str:
    """Return the score of the model on some rows, by name; empty if it is undefined."""
    outputs = _outputs(tested)
    if outputs is None or test.truth is None or test.kind is None:
        return ""
    kept = which[outputs.row]
    if not kept.any():
        return ""
    metric = METRIC[test.kind]
    value = score(metric, test.truth[outputs.row[kept]], outputs.values[kept])
    return f"{metric} {value:.3f}"


def _without(tested: Tested, test: Rows, similar: np.ndarray) -> str:
    if not similar.any():
        return ""
    text = _model_score(tested, test, ~similar)
    return f": {text} without them" if text else ""
