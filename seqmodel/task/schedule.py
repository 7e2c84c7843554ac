"""Learning rate schedules: the proportion of --lr at each optimiser step.

Each is a closed form of the step, so that accumulation, ranks and resuming cannot bend it: a step
is one of the optimiser, and step 0 is the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from seqmodel.errors import HparamError
from seqmodel.hparam.target import resolve_target

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams

Curve = Callable[[int], float]


class Schedule(LambdaLR):
    """Learning rates by a curve of the optimiser step, times what plateaus took off.

    Args:
        optimiser: its learning rates are the tops of the curve.
        curve: step to proportion.
        factor: what a plateau multiplies the learning rate by; None: plateaus change nothing.
        patience: validations without a better loss that are waited for.
    """

    def __init__(
        self,
        optimiser: Optimizer,
        curve: Curve,
        *,
        factor: float | None = None,
        patience: int = 0,
    ) -> None:
        self.factor, self.patience = factor, patience
        self.reduction, self.best, self.n_bad = 1.0, math.inf, 0
        super().__init__(optimiser, curve)

    def get_lr(self) -> list[float | Tensor]:
        """The learning rate of each group at this step."""
        return [lr * self.reduction for lr in super().get_lr()]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the step and the plateaus; the rate is that of this schedule, from now on.

        The checkpoint has the rate of its own schedule: another one, if training is now longer.
        """
        super().load_state_dict(state_dict)
        self._set_rates()

    def _set_rates(self) -> None:
        # what LambdaLR.get_lr computes, which warns outside of a step
        curve, step = self.lr_lambdas[0], self.last_epoch
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * curve(step) * self.reduction
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def observe(self, loss: float) -> None:
        """Takes in a validation loss; too many in a row without a better one cut the rate.

        A loss that is undefined (NaN: no label was known) says neither.
        """
        if self.factor is None or math.isnan(loss):
            return
        better = loss < self.best
        self.best = min(self.best, loss) if better else self.best
        self.n_bad = 0 if better else self.n_bad + 1
        if self.n_bad > self.patience:
            self.n_bad = 0
            self.reduction *= self.factor
            self._set_rates()


def build_schedule(optimiser: Optimizer, hparams: Hparams, n_steps: float) -> Schedule:
    """The schedule that `hparams` (a subclass of ScheduleHparams) describes.

    Args:
        optimiser: its learning rates are the tops of the schedule.
        hparams: of the schedule.
        n_steps: optimiser steps of the whole training; inf if it has no end.

    Raises:
        HparamError: the warm-up is as long as the training, or a schedule that ends has no end.
    """
    curve = schedule_curve(hparams, n_steps)
    if hparams.name != "plateau":
        return Schedule(optimiser, curve)
    return Schedule(
        optimiser, curve, factor=hparams.plateau_factor, patience=hparams.plateau_patience
    )


def schedule_curve(hparams: Hparams, n_steps: float) -> Curve:
    """Step (0 is the first) -> proportion of --lr, with the warm-up."""
    n_warm = hparams.warmup_steps
    if n_warm and n_warm >= n_steps:
        raise HparamError(
            f"--warmup_steps={n_warm} of only {n_steps} training steps leaves none to train at "
            "--lr; lower it, or train for longer"
        )
    curve = resolve_target(hparams.target)(hparams, n_steps - n_warm)

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


def inverse_sqrt(hparams: Hparams, n_steps: float) -> Curve:
    """1 / sqrt(1 + step / timescale), the timescale being the warm-up (Vaswani et al. 2017)."""
    timescale = max(hparams.warmup_steps, 1)
    return lambda step: (1.0 + step / timescale) ** -0.5


def one_cycle(hparams: Hparams, n_steps: float) -> Curve:
    """Half a cosine up to 1 at `peak_prop` of the steps, another down (Smith and Topin 2019)."""
    progress = _progress(hparams, n_steps)
    peak, start, final = hparams.peak_prop, hparams.start_lr_prop, hparams.final_lr_prop

    def proportion(step: int) -> float:
        done = progress(step)
        if done < peak:
            return 1.0 + (start - 1.0) * (1.0 + math.cos(math.pi * done / peak)) / 2
        return final + (1.0 - final) * (1.0 + math.cos(math.pi * (done - peak) / (1 - peak))) / 2

    return proportion


def _progress(hparams: Hparams, n_steps: float) -> Curve:
    # 0 at the first step, 1 after the last: no step is spent at a learning rate of 0
    if math.isinf(n_steps):
        raise HparamError(
            f"--schedule={hparams.name} falls until the last step, but this training has no end; "
            "set --max_epochs or --max_steps, or use --schedule=constant"
        )
    return lambda step: min(step / n_steps, 1.0)
