"""What is computed: encoders and decoders and their hyperparameters. Light."""

from __future__ import annotations

from seqmodel.hparam.hparams import Hparams


class EncoderHparams(Hparams):
    """Sequence to vectors."""


class DecoderHparams(Hparams):
    """Vectors to the task's outputs."""
