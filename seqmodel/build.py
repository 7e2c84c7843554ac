"""From hyperparameters to objects: the data, the encoder, the decoder and the task of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from seqmodel.checkpoint import load_weights
from seqmodel.hparam.run import Run
from seqmodel.model import adapt_encoder, build_decoder, build_encoder
from seqmodel.model.build import resolve_target


class Parts(NamedTuple):
    """What a run is made of; `task` holds the encoder and the decoder."""

    data: Any
    encoder: Any
    decoder: Any
    task: Any


def build(run: Run) -> Parts:
    """Everything that `run` names, in the order of the flow; weights from its seed or checkpoint.

    Raises:
        SeqmodelError: data that cannot be read, or parts that do not fit each other.
    """
    data = build_data(run)
    torch.manual_seed(run.values.seed)
    encoder = build_encoder(run.hparams("encoder"), data.alphabet)
    source = run.values.load_encoder_from_checkpoint
    if source and not run.values.resume_from_checkpoint:
        load_weights(encoder, source, "encoder.", alphabet=data.alphabet.to_dict())
    # after loading: adapters give weights other names
    encoder = adapt_encoder(encoder, run.hparams("encoder"))
    task_class = resolve_target(run.classes["task"].target)
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
    source = run.values.resume_from_checkpoint or run.values.load_checkpoint_path
    if source:
        load_weights(task, source, alphabet=data.alphabet.to_dict())
    return Parts(data, encoder, decoder, task)


def build_data(run: Run) -> Any:
    """The data of `run` alone."""
    cls = resolve_target(run.classes["dataset"].target)
    return cls(run.hparams("dataset"), cache_dir=run.values.cache_dir)
