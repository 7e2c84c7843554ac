"""Build the data and the task of a run: new, resumed, or with the weights of a checkpoint."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch

from seqmodel.dataset.build import build_data
from seqmodel.dataset.data import Data, changed_files, files_in
from seqmodel.dataset.label.targets import match
from seqmodel.errors import CheckpointError, HparamError, LabelError, RunError
from seqmodel.hparam.hparams import PLACE
from seqmodel.hparam.resolve import Run
from seqmodel.model.encoder import Encoder
from seqmodel.record.checkpoint import load, put_weights, saved_rows, saved_targets
from seqmodel.task.build import build_task, task_class
from seqmodel.task.task import Task


class Before(NamedTuple):
    """Training data of the weights from which a run starts, if their file records it."""

    contigs: dict[str, list[int]]
    n_contigs: int
    rows: np.ndarray | None


class Parts(NamedTuple):
    """The parts of a run."""

    data: Data
    task: Task
    changed_data: tuple[str, ...] = ()
    """Files that are not what they were when the resumed run began, where that is allowed."""
    before: Before = Before({}, 0, None)


def build(run: Run) -> Parts:
    """Build the parts that `run` names, with weights from its seed or checkpoint.

    Raises:
        SeqmodelError: The data cannot be read, or the parts do not fit each other.
    """
    data = build_data(run)
    alphabet = data.alphabet.to_dict()
    resumed = run.values.resume_from_checkpoint
    loaded = resumed or run.values.load_checkpoint_path
    saved = load(loaded) if loaded else None
    changed = _changed_data(run, data, saved) if saved is not None and resumed else ()
    cls = task_class(run)
    if saved is not None and cls.predicts_targets:
        _match_targets(run, data, saved, loaded)
    if cls.counts:
        data.check_counts()
    source = "" if resumed else run.values.load_encoder_from_checkpoint or ""
    base = load(source) if source else None

    def pretrained(encoder: Encoder) -> None:
        assert base is not None
        put_weights(encoder, base, source, "encoder.", alphabet=alphabet)

    torch.manual_seed(run.values.seed)
    task = build_task(run, data.alphabet, data.targets, prepare=pretrained if source else None)
    if saved is not None:
        put_weights(task, saved, loaded, alphabet=alphabet)
    return Parts(data, task, changed, _before(saved or base, loaded or source))


def _before(saved: dict[str, Any] | None, path: str) -> Before:
    if saved is None:
        return Before({}, 0, None)
    own = saved["seqmodel"]
    return Before(own["contigs"] or {}, own["n_contigs"] or 0, saved_rows(saved, path))


def _changed_data(run: Run, data: Data, saved: dict[str, Any]) -> tuple[str, ...]:
    """Return the allowed changes of the data files of a resumed run, one phrase per file.

    Raises:
        RunError: The changes are not allowed.
    """
    places = [n for n, h in run.parser.declared.items() if h.group == PLACE]
    now = {name: files_in(getattr(run.values, name)) for name in places}
    own = saved["seqmodel"]
    before = {name: files_in(own["hparams"].get(name)) for name in places}
    changed = changed_files(before, own.get("data") or {}, now, data.digests())
    if changed and not run.values.allow_changed_data:
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise RunError(
            f"{changed[0]}{more}: a run is resumed on the same data; restore the file, start a new "
            "run with --load_checkpoint_path, or continue with --allow_changed_data"
        )
    return tuple(changed)


def _match_targets(run: Run, data: Data, saved: dict[str, Any], path: str) -> None:
    """Order the targets of the data as in the model of a checkpoint, and report it.

    Raises:
        CheckpointError: The targets of the data and of the model differ.
    """
    try:
        found = match(saved_targets(saved, path), data.targets)
    except LabelError as e:
        raise CheckpointError(
            f"{path}: {e}; give it its own targets, or start a new model from its encoder with "
            "--load_encoder_from_checkpoint"
        ) from e
    weights = getattr(run.values, "class_weights", [])
    before = saved["seqmodel"]["hparams"].get("class_weights") or []
    if found.order is not None and weights != before:
        raise HparamError(
            f"--class_weights: the targets are given in another order than in {path}; give "
            f"them, and their weights, as {', '.join(found.targets.names[:5])}"
        )
    if found.note:
        warnings.warn(f"{path}: {found.note}", stacklevel=3)
    data.arrange(found)
