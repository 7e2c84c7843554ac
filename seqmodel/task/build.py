"""Build a task with its encoder and decoder from hyperparameters, without data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from seqmodel.errors import HparamError
from seqmodel.hparam.resolve import Run
from seqmodel.hparam.target import resolve_target
from seqmodel.model import adapt_encoder, build_decoder, build_encoder
from seqmodel.task.task import Task, check_task

if TYPE_CHECKING:
    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams
    from seqmodel.model.encoder import Encoder


def task_class(run: Run) -> type[Task]:
    """Return the class of the task of `run`.

    Raises:
        ModelError: The class lacks a method that every task must define.
    """
    return check_task(resolve_target(run.classes["task"].target))


def build_task(
    run: Run,
    alphabet: Alphabet,
    targets: Targets,
    *,
    prepare: Callable[[Encoder], None] | None = None,
) -> Task:
    """Build the task of `run`, with weights initialised from torch's random state.

    Args:
        run: Hyperparameters of the run.
        alphabet: Alphabet of the sequences.
        targets: Targets that the task predicts.
        prepare: Function called with the encoder before adapters rename its weights.

    Raises:
        HparamError: The encoder, the decoder and the task do not fit together.
        LabelError: The task cannot predict targets of this kind.
    """
    encoder = build_encoder(run.hparams("encoder"), alphabet)
    if prepare is not None:
        prepare(encoder)
    encoder = adapt_encoder(encoder, run.hparams("encoder"))
    cls, hparams = task_class(run), run.hparams("task")
    n_out = cls.n_out(hparams, alphabet, targets)
    decoder = build_decoder(_decoder_hparams(run, encoder), encoder, n_out)
    return cls(
        hparams,
        encoder,
        decoder,
        alphabet=alphabet,
        targets=targets,
        optimiser=run.hparams("optimiser"),
        schedule=run.hparams("schedule"),
    )


def _decoder_hparams(run: Run, encoder: Encoder) -> Hparams:
    """Return the decoder's hyperparameters; `bin_positions` is derived from the bin length.

    Raises:
        HparamError: A bin does not hold a whole number of encoder outputs.
    """
    found = run.hparams("decoder")
    if getattr(found.hparams, "bin_positions", 1) is None:
        bin_len = getattr(run.values, "bin_len", encoder.stride)
        found.hparams.bin_positions, rest = divmod(bin_len, encoder.stride)
        if rest:
            raise HparamError(
                f"--bin_len={bin_len}: the encoder gives one output per {encoder.stride} bp, which "
                f"does not divide a bin; set --bin_len to a multiple of {encoder.stride}"
            )
    return found
