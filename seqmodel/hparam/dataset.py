"""What is read: the kinds of data and their hyperparameters. Light."""

from __future__ import annotations

from seqmodel.hparam.hparams import Hparams


class DatasetHparams(Hparams):
    """What is read, and in which batches."""
