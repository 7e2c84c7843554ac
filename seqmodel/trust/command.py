"""What `seqmodel audit` and `seqmodel.audit` do: rows are read, audited, and the report is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqmodel.dataset.build import build_data
from seqmodel.errors import HparamError, LabelError, RunError
from seqmodel.files import write_file
from seqmodel.hparam.audit import AuditHparams
from seqmodel.hparam.resolve import Run, resolve_data
from seqmodel.trust.audit import Outputs, audit_rows
from seqmodel.trust.baselines import METRIC
from seqmodel.trust.predictions import Predictions, predictions_in, read_predictions
from seqmodel.trust.rows import Rows, most_rows, rows_of, rows_of_tables
from seqmodel.trust.text import NAME, SCHEMA, VERSION, as_text
from seqmodel.trust.uncertainty import as_json, groups_of, intervals


class Audit(dict[str, Any]):
    """The report of an audit; `print` shows it as text."""

    def __str__(self) -> str:
        return as_text(self)

    @property
    def findings(self) -> list[str]:
        """Names of what was found wrong."""
        return [x["name"] for x in self["findings"]]


def audit(
    train: Any = None,
    test: Any = None,
    valid: Any = None,
    *,
    run: str | os.PathLike[str] | None = None,
    outputs: Any = None,
    **options: Any,
) -> Audit:
    """What stands beside the test score of a data set, or of a run.

    Args:
        train: DataFrame, mapping of columns, or table file with the training rows.
        test: the test rows.
        valid: the validation rows.
        run: run folder, instead of tables.
        outputs: what a model predicts for the test rows: probabilities [N, C] or [N, T], or
            numbers [N, T]; of a run, what it left is read.
        **options: of tables: alphabet, sequence_column, label_columns, label_kind, class_names,
            name_column; of a run: its hyperparameters that differ here, such as paths.

    Returns:
        The report (docs/audit.md), a dict; `print(report)` shows it as text.

    Raises:
        HparamError: neither tables nor a run are given, or both.
        LabelError: a table or its labels cannot be read.
    """
    tables = {
        n: x for n, x in (("train", train), ("valid", valid), ("test", test)) if x is not None
    }
    if bool(tables) == (run is not None):
        raise HparamError("audit: give tables, such as train=df, test=df, or run=folder")
    if run is not None:
        folder = os.fspath(run)
        resolved = resolve_data({"config": os.path.join(folder, "hparams.json"), **options})
        return Audit(command(resolved, AuditHparams(run=folder))[0])
    rows = rows_of_tables(tables, **options)
    found = None
    if outputs is not None:
        values = np.asarray(outputs, dtype=np.float64)
        if "test" not in rows or values.ndim != 2 or len(values) != len(rows["test"]):
            raise LabelError(f"outputs of shape {list(values.shape)}; wanted is one row a test row")
        found = Outputs(np.arange(len(values)), values)
    return Audit(audit_rows(rows, found))


def command(
    run: Run | None, hparams: Any, n_looks: int | None = None
) -> tuple[dict[str, Any], str]:
    """The report of the data of `run` and of predictions, and its text.

    Args:
        run: says what the data are; None where predictions alone are given.
        hparams: AuditHparams.
        n_looks: runs that have scored the same test items, where that is known.

    Raises:
        SeqmodelError: something that the user can correct.
    """
    predictions = read_predictions(hparams.predictions) if hparams.predictions else None
    if predictions is None and hparams.run:
        predictions = predictions_in(hparams.run)
    if run is None:
        assert predictions is not None, "cli/audit.py refuses a command without both"
        report = scores_alone(predictions)
    else:
        report = _of_data(run, hparams, predictions)
    if n_looks is not None:
        report["looks"] = n_looks
    path = hparams.out or (os.path.join(hparams.run, NAME) if hparams.run else None)
    if path:
        write_file(path, json.dumps(report) + "\n", RunError)
    return report, as_text(report)


def _of_data(run: Run, hparams: Any, predictions: Predictions | None) -> dict[str, Any]:
    data = build_data(run)
    splits = {
        name: rows_of(data, name, most_rows(data, name, hparams.max_letters))
        for name in data.splits
    }
    outputs = None
    if predictions is not None and "test" in splits:
        outputs = outputs_for(splits["test"], predictions)
    causal = getattr(run.values, "task", None) == "causal"
    report = audit_rows(
        splits,
        outputs,
        baseline_rows=hparams.baseline_rows,
        causal=causal,
        align=hparams.align,
        base_checkpoint=hparams.base_checkpoint,
    )
    report["files"] = {x: data.files_of(x) for x in data.splits}
    return report


def outputs_for(test: Rows, found: Predictions) -> Outputs:
    """The outputs of a file, in the order of the targets of the rows.

    Raises:
        LabelError: they are of other targets, or of other rows.
    """
    if sorted(found.targets) != sorted(test.targets):
        raise LabelError(
            f"{found.path}: predicts {', '.join(found.targets[:5])}, the data have "
            f"{', '.join(test.targets[:5]) or 'no labels'}"
        )
    if len(found) and int(found.row.max()) >= test.total:
        raise LabelError(
            f"{found.path}: has row {int(found.row.max())}, the test split {test.total} rows"
        )
    outputs = Outputs(found.row, found.outputs[:, [found.targets.index(x) for x in test.targets]])
    _check_truth(test, found)
    return outputs


def _check_truth(test: Rows, found: Predictions) -> None:
    """Refuses predictions whose truth is not that of the data: they are of other rows."""
    assert test.truth is not None
    at = np.searchsorted(test.numbers, found.row)
    at[at == len(test)] = 0
    here = test.numbers[at] == found.row
    order = [found.targets.index(x) for x in test.targets]
    if found.truth.ndim == 1:
        differs = np.argsort(order)[found.truth[here]] != test.truth[at[here]]
    else:
        pairs = found.truth[here][:, order], test.truth[at[here]]
        differs = ~np.isclose(*pairs, rtol=1e-5, atol=1e-6, equal_nan=True).all(axis=1)
    if differs.any():
        row = int(found.row[here][differs][0])
        raise LabelError(
            f"{found.path}: the truth of row {row} is not that of the data ({differs.sum():,} rows "
            "differ); are they predictions of another test split?"
        )


def scores_alone(found: Predictions) -> dict[str, Any]:
    """The report of predictions without their data: scores with intervals."""
    groups, word = groups_of(found.contigs, found.starts)
    scores = intervals(found.kind, found.truth, found.outputs, groups)
    model: Mapping[str, Any] = {
        "metric": METRIC[found.kind],
        "rows": len(found),
        "groups": word,
        "metrics": as_json(scores),
        "by_containment": [],
        "without": {},
    }
    empty: dict[str, Any] = {
        x: {} for x in ("splits", "within", "duplicates", "similarity", "coordinates")
    }
    return {"schema": SCHEMA, "version": VERSION, **empty, "model": dict(model), "findings": []}
