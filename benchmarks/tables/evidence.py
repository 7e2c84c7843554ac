"""The evidence for a score: its interval, its value on rows unlike those of train, baselines.

Scores are means over the seeds; a draw of test rows is the same for all seeds. So an interval is
about the test rows, not about the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodel.dataset.build import build_data
from seqmodel.hparam.resolve import resolve
from seqmodel.trust.audit import components_of
from seqmodel.trust.baselines import baselines
from seqmodel.trust.duplicates import match
from seqmodel.trust.metrics import LOW_IS_GOOD, Evaluate, Metric, prepare
from seqmodel.trust.rows import Rows, rows_of
from seqmodel.trust.similarity import Containment
from seqmodel.trust.uncertainty import SIMILAR, Interval, clean, interval, paired

NEAREST = "nearest row"


class Evidence(NamedTuple):
    """Test rows: what is known of them, and what models and baselines say.

    Attributes:
        truth: classes [N], or numbers [N, T].
        outputs: probabilities or numbers, [N, C, seeds].
        others: the same of each baseline, [N, C, 1].
        similar: whether a row is a row of train, or has a fifth of its k-mers in one; bool [N].
        groups: rows of one number are drawn together, [N]; None: one by one.
    """

    truth: np.ndarray
    outputs: np.ndarray
    others: dict[str, np.ndarray]
    similar: np.ndarray
    groups: np.ndarray | None

    def mean(self, metric: str | Metric) -> Interval:
        """The metric of the models."""
        return interval(over_seeds(metric), self.truth, self.outputs, self.groups)

    def each(self, metric: str | Metric) -> list[float]:
        """The metric of each seed."""
        n = np.arange(len(self.truth))
        one = np.ones((1, len(n)))
        outputs = np.moveaxis(self.outputs, -1, 0)
        return [float(prepare(metric, self.truth, x, n)(one)[0]) for x in outputs]

    def clean(self, metric: str | Metric) -> tuple[int, Interval]:
        """How many rows are not similar to train, and their metric."""
        options = {"groups": self.groups}
        x = clean(over_seeds(metric), self.truth, self.outputs, self.similar, **options)
        ends = (float("nan") if x[k] is None else x[k] for k in ("value", "low", "high"))
        return x["n"], Interval(*ends)

    def baselines(self, metric: str | Metric) -> dict[str, Interval]:
        """The metric of each baseline."""
        kind = over_seeds(metric)
        return {k: interval(kind, self.truth, x, self.groups) for k, x in self.others.items()}

    def over(self, name: str, metric: str | Metric) -> Interval:
        """The metric of the models less that of a baseline."""
        kind = over_seeds(metric)
        return paired(kind, self.truth, self.outputs, self.others[name], self.groups)


def over_seeds(metric: str | Metric) -> Metric:
    """The mean of a metric over the last axis of the outputs."""

    def prepared(truth: np.ndarray, outputs: np.ndarray, group: np.ndarray) -> Evaluate:
        each = [prepare(metric, truth, x, group) for x in np.moveaxis(outputs, -1, 0)]
        return lambda weights: np.mean([x(weights) for x in each], axis=0)

    return prepared


def error_of(label: int | None, n_classes: int) -> Metric:
    """Error % of the rows of a class, or of all, mean over the seeds: `truth // n_classes`."""

    def prepared(truth: np.ndarray, outputs: np.ndarray, group: np.ndarray) -> Evaluate:
        size = int(group.max(initial=0)) + 1
        counts = []
        for seed in np.unique(truth // n_classes):
            at = truth // n_classes == seed
            if label is not None:
                at &= truth % n_classes == label
            wrong = outputs[at].argmax(1) != truth[at] % n_classes
            counts.append([np.bincount(group[at], x, size) for x in (wrong, np.ones(len(wrong)))])

        def evaluate(weights: np.ndarray) -> np.ndarray:
            with np.errstate(invalid="ignore"):
                each = [100 * (weights @ x) / (weights @ n) for x, n in counts]
            return np.mean(each, axis=0)

        return evaluate

    return prepared


def gather(hparams: Mapping[str, Any], outputs: Sequence[Any], truth: Any) -> Evidence:
    """The evidence of a test split and the outputs of each seed for its rows, in their order.

    Raises:
        ValueError: they were for other rows.
    """
    data = build_data(resolve({**hparams, "progress": "none"}))
    train, test = rows_of(data, "train"), rows_of(data, "test")
    if len(test) != len(truth) or not np.allclose(test.truth, truth, atol=1e-6):
        raise ValueError(
            f"the predictions have {len(truth)} rows, whose truth is not that of the {len(test)} "
            "rows of the test split; train again, or give the same --data and --seeds"
        )
    return of_rows(train, test, np.stack(list(outputs), axis=-1), components_of(test))


def of_rows(
    train: Rows, test: Rows, outputs: np.ndarray, groups: np.ndarray | None = None
) -> Evidence:
    """The evidence of rows."""
    share, nearest = Containment(train).of(test)
    found = baselines(train, test, (share, nearest))
    others = {name: x[..., None] for name, x in found.items() if name != "row order"}
    similar = match(train, test).any | (share >= SIMILAR)
    return Evidence(test.truth, outputs, others, similar, groups)


def join(parts: Sequence[Evidence], groups: np.ndarray | None) -> Evidence:
    """The rows of several, each with its own train."""
    names = [x for x in parts[0].others if all(x in p.others for p in parts)]
    return Evidence(
        np.concatenate([x.truth for x in parts]),
        np.concatenate([x.outputs for x in parts]),
        {name: np.concatenate([x.others[name] for x in parts]) for name in names},
        np.concatenate([x.similar for x in parts]),
        groups,
    )


def best(scores: Mapping[str, Interval], *, low_is_good: bool) -> str:
    """The name of the best baseline."""
    known = {name: x.value for name, x in scores.items() if x.value == x.value}
    return (min if low_is_good else max)(known, key=known.__getitem__)


def cells(
    metric: str | Metric, evidence: Evidence, scale: float, digits: int, first: str = ""
) -> list[str]:
    """Interval, clean rows, k-mers, GC, nearest row, and the difference to a baseline.

    It is the best one by this metric, unless `first` is another's name.
    """
    low = callable(metric) or metric in LOW_IS_GOOD

    def text(x: Interval) -> str:
        if x.value != x.value:
            return "-"
        ends = (
            "" if x.low != x.low else f" [{scale * x.low:.{digits}f}, {scale * x.high:.{digits}f}]"
        )
        return f"{scale * x.value:.{digits}f}{ends}"

    n, unlike = evidence.clean(metric)
    scores = evidence.baselines(metric)
    longest = max(x for x in scores if x.endswith("-mers"))
    first = first or best(scores, low_is_good=low)
    ends = evidence.mean(metric)
    return [
        f"[{scale * ends.low:.{digits}f}, {scale * ends.high:.{digits}f}]",
        f"{text(unlike)} ({n} of {len(evidence.truth)})"
        if n
        else f"no row of {len(evidence.truth)}",
        f"{longest} {text(scores[longest])}",
        text(scores["GC"]) if "GC" in scores else "-",
        text(scores[NEAREST]) if NEAREST in scores else "-",
        f"{text(evidence.over(first, metric))} ({first})",
    ]
