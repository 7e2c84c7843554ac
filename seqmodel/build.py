"""From hyperparameters to objects: the data, the encoder, the decoder and the task of a run."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import torch

from seqmodel.errors import HparamError
from seqmodel.hparam import Hparams
from seqmodel.hparam.run import Run


class Parts(NamedTuple):
    """What a run is made of; `task` holds the encoder and the decoder."""

    data: Any
    encoder: Any
    decoder: Any
    task: Any


def build(run: Run) -> Parts:
    """Everything that `run` names, built in the order of the flow; weights drawn from its seed.

    Raises:
        SeqmodelError: data that cannot be read, or parts that do not fit each other.
    """
    data = build_data(run)
    torch.manual_seed(run.values.seed)
    encoder = target_of(run.classes["encoder"])(run.hparams("encoder"), data.alphabet)
    task_class = target_of(run.classes["task"])
    n_out = task_class.n_out(run.hparams("task"), data.alphabet, data.targets)
    decoder = target_of(run.classes["decoder"])(run.hparams("decoder"), encoder.n_out, n_out)
    task = task_class(
        run.hparams("task"),
        encoder,
        decoder,
        alphabet=data.alphabet,
        targets=data.targets,
        optimiser=run.hparams("optimiser"),
        schedule=run.hparams("schedule"),
    )
    return Parts(data, encoder, decoder, task)


def build_data(run: Run) -> Any:
    """The data of `run` alone."""
    cls = target_of(run.classes["dataset"])
    return cls(run.hparams("dataset"), cache_dir=run.values.cache_dir)


def target_of(cls: type[Hparams]) -> Any:
    """The object that an Hparams class names as `module:object`, imported now.

    Raises:
        HparamError: there is no such module or object.
    """
    module, _, name = (cls.target or "").partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as e:
        raise HparamError(
            f"{cls.__name__}.target = {cls.target!r} cannot be imported: {type(e).__name__}: {e}"
        ) from e
