"""What is learned: the tasks and their hyperparameters. Light."""

from __future__ import annotations

from seqmodel.hparam.hparams import Hparams


class TaskHparams(Hparams):
    """What is learned, and how it is scored."""
