"""`seqmodel audit` and `seqmodel.audit`: read rows, audit them, keep the report."""

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
    """The report of an audit; `print` formats it as text."""

    def __str__(self) -> str:
        return as_text(self)

    @property
    def findings(self) -> list[str]:
        """Names of the findings."""
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
    """Audit a data set or a run: the evidence beside its test score.

    Args:
        train: Training rows: a DataFrame, a mapping of columns, or the path of a table.
        test: Test rows.
        valid: Validation rows.
        run: Path of a run folder, instead of tables.
        outputs: Predictions of a model for the test rows: probabilities [N, C] or [N, T], or
            numbers [N, T]. For a run, the predictions in its folder are read.
        **options: For tables: alphabet, sequence_column, label_columns, label_kind, class_names,
            name_column. For a run: hyperparameters that differ on this host, such as paths.

    Returns:
        The report, a dict (schema: docs/audit.md); `print(report)` formats it as text.

    Raises:
        HparamError: Both tables and a run are given, or neither.
        LabelError: A table or its labels cannot be read.
    """
    tables = {
        n: x for n, x in (("train", train), ("valid", valid), ("test", test)) if x is not None
    }
    if bool(tables) == (run is not None):
        raise HparamError("audit takes either tables, such as train=df, test=df, or run=folder")
    if run is not None:
        folder = os.fspath(run)
        resolved = resolve_data({"config": os.path.join(folder, "hparams.json"), **options})
        return Audit(command(resolved, AuditHparams(run=folder))[0])
    rows = rows_of_tables(tables, **options)
    found = None
    if outputs is not None:
        values = np.asarray(outputs, dtype=np.float64)
        if "test" not in rows or values.ndim != 2 or len(values) != len(rows["test"]):
            raise LabelError(
                f"outputs have shape {list(values.shape)}; give one row for each test row"
            )
        found = Outputs(np.arange(len(values)), values)
    return Audit(audit_rows(rows, found))


def command(
    run: Run | None, hparams: Any, n_looks: int | None = None
) -> tuple[dict[str, Any], str]:
    """Return the report on the data of `run` and on predictions, and its text.

    Args:
        run: Describes the data. None if only predictions are given.
        hparams: Settings of the audit.
        n_looks: Number of runs that scored the same test items, if known.

    Raises:
        SeqmodelError: The user can correct the input.
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
    """Return the outputs of a file, with targets in the order of the rows.

    Raises:
        LabelError: The outputs belong to other targets or other rows.
    """
    if sorted(found.targets) != sorted(test.targets):
        raise LabelError(
            f"{found.path}: predicts {', '.join(found.targets[:5])}, but the data have "
            f"{', '.join(test.targets[:5]) or 'no labels'}"
        )
    if len(found) and int(found.row.max()) >= test.total:
        raise LabelError(
            f"{found.path}: has row {int(found.row.max())}, but test has {test.total} rows"
        )
    outputs = Outputs(found.row, found.outputs[:, [found.targets.index(x) for x in test.targets]])
    _check_truth(test, found)
    return outputs


def _check_truth(test: Rows, found: Predictions) -> None:
    """Raise LabelError if the truth of the predictions differs from that of the data."""
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
            f"{found.path}: the truth of row {row} differs from the data ({differs.sum():,} rows "
            "differ); these are predictions for another test split"
        )


def scores_alone(found: Predictions) -> dict[str, Any]:
    """Report on predictions without their data: scores with intervals."""
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
