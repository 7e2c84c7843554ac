"""From hyperparameters to objects: the data, the encoder, the decoder and the task of a run."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch

from seqmodel.dataset.data import changed_files, files_in
from seqmodel.dataset.label.targets import match
from seqmodel.errors import CheckpointError, HparamError, LabelError, RunError
from seqmodel.hparam.hparams import PLACE
from seqmodel.hparam.resolve import Run
from seqmodel.model import adapt_encoder, build_decoder, build_encoder
from seqmodel.model.build import resolve_target
from seqmodel.record.checkpoint import load, load_weights, put_weights, saved_targets


class Parts(NamedTuple):
    """What a run is made of; `task` holds the encoder and the decoder."""

    data: Any
    encoder: Any
    decoder: Any
    task: Any
    changed_data: tuple[str, ...] = ()
    """Files that are not what they were when the resumed run began, where that is allowed."""


def build(run: Run) -> Parts:
    """Everything that `run` names, in the order of the flow; weights from its seed or checkpoint.

    Raises:
        SeqmodelError: data that cannot be read, or parts that do not fit each other.
    """
    data = build_data(run)
    task_class = resolve_target(run.classes["task"].target)
    loaded = run.values.resume_from_checkpoint or run.values.load_checkpoint_path
    saved = load(loaded) if loaded else None
    changed = _changed_data(run, data, saved) if run.values.resume_from_checkpoint else ()
    if saved is not None and getattr(task_class, "predicts_targets", True):
        _match_targets(run, data, saved, loaded)
    torch.manual_seed(run.values.seed)
    encoder = build_encoder(run.hparams("encoder"), data.alphabet)
    source = run.values.load_encoder_from_checkpoint
    if source and not run.values.resume_from_checkpoint:
        load_weights(encoder, source, "encoder.", alphabet=data.alphabet.to_dict())
    # after loading: adapters give weights other names
    encoder = adapt_encoder(encoder, run.hparams("encoder"))
    if getattr(task_class, "counts", False):
        data.check_counts()
    n_out = task_class.n_out(run.hparams("task"), data.alphabet, data.targets)
    decoder = build_decoder(run.hparams("decoder"), encoder, n_out)
    task = task_class(
        run.hparams("task"),
        encoder,
        decoder,
        alphabet=data.alphabet,
        targets=data.targets,
        optimiser=run.hparams("optimiser"),
        schedule=run.hparams("schedule"),
    )
    if saved is not None:
        put_weights(task, saved, loaded, alphabet=data.alphabet.to_dict())
    return Parts(data, encoder, decoder, task, changed)


def _changed_data(run: Run, data: Any, saved: Any) -> tuple[str, ...]:
    """What the data files of a resumed run have become, if they may: a few words a file.

    Raises:
        RunError: they may not.
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


def _match_targets(run: Run, data: Any, saved: dict[str, Any], path: str) -> None:
    """Puts the targets of the data in the order of the model in a checkpoint, and says so.

    Raises:
        CheckpointError: the data have other targets than the model.
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
            f"--class_weights: the targets are given in another order than that of {path}; give "
            f"them, and their weights, as {', '.join(found.targets.names[:5])}"
        )
    if found.note:
        warnings.warn(f"{path}: {found.note}", stacklevel=3)
    data.arrange(found)


def build_data(run: Run) -> Any:
    """The data of `run` alone."""
    cls = resolve_target(run.classes["dataset"].target)
    return cls(run.hparams("dataset"), cache_dir=run.values.cache_dir)
