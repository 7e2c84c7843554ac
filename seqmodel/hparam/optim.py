"""How weights change: optimisers, schedules and their hyperparameters. Light."""

from __future__ import annotations

from seqmodel.hparam.hparams import Hparams


class OptimiserHparams(Hparams):
    """How gradients change the weights."""


class ScheduleHparams(Hparams):
    """The learning rate over the steps."""
