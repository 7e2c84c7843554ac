"""Learning rate schedules: the proportion of --lr at each optimiser step.

Each is a closed form of the step, so that accumulation, ranks and resuming cannot bend it: a step
is one of the optimiser, and step 0 is the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from seqmodel.errors import HparamError

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams

Curve = Callable[[int], float]


def build_schedule(optimiser: Optimizer, hparams: Hparams, n_steps: float) -> LambdaLR:
    """The schedule that `hparams` (a subclass of ScheduleHparams) describes.

    Args:
        optimiser: its learning rates are the tops of the schedule.
        hparams: of the schedule.
        n_steps: optimiser steps of the whole training; inf if it has no end.

    Raises:
        HparamError: the warm-up is as long as the training, or a schedule that ends has no end.
    """
    return LambdaLR(optimiser, schedule_curve(hparams, n_steps))


def schedule_curve(hparams: Hparams, n_steps: float) -> Curve:
    """Step (0 is the first) -> proportion of --lr, with the warm-up."""
    n_warm = hparams.warmup_steps
    if n_warm and n_warm >= n_steps:
        raise HparamError(
            f"--warmup_steps={n_warm} of only {n_steps} training steps leaves none to train at "
            "--lr; lower it, or train for longer"
        )
    module, _, function = hparams.target.partition(":")
    curve = getattr(import_module(module), function)(hparams, n_steps - n_warm)

    def proportion(step: int) -> float:
        return (step + 1) / (n_warm + 1) if step < n_warm else curve(step - n_warm)

    return proportion


def constant(hparams: Hparams, n_steps: float) -> Curve:
    """1 at each step."""
    return lambda step: 1.0


def linear(hparams: Hparams, n_steps: float) -> Curve:
    """A straight line from 1 to `final_lr_prop`."""
    progress = _progress(hparams, n_steps)
    return lambda step: 1.0 + (hparams.final_lr_prop - 1.0) * progress(step)


def cosine(hparams: Hparams, n_steps: float) -> Curve:
    """Half a cosine from 1 to `final_lr_prop`."""
    progress, final = _progress(hparams, n_steps), hparams.final_lr_prop
    return lambda step: final + (1.0 - final) * (1.0 + math.cos(math.pi * progress(step))) / 2


def _progress(hparams: Hparams, n_steps: float) -> Curve:
    # 0 at the first step, 1 after the last: no step is spent at a learning rate of 0
    if math.isinf(n_steps):
        raise HparamError(
            f"--schedule={hparams.name} falls until the last step, but this training has no end; "
            "set --max_epochs or --max_steps, or use --schedule=constant"
        )
    return lambda step: min(step / n_steps, 1.0)
