"""Learning rate schedules: the proportion of --lr at each optimiser step.

Each schedule is a closed form of the optimiser step, so accumulation, ranks and resuming cannot
change it. The first step is step 0.
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
    """Learning rates from a curve over optimiser steps, times the reduction from plateaus.

    Args:
        optimiser: Optimiser whose learning rates are the peaks of the curve.
        curve: Function from the step to the proportion of the learning rate.
        factor: Factor applied to the learning rate at a plateau. None means no reduction.
        patience: Number of validations without a better loss before a reduction.
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
        """Return the learning rate of each group at the current step."""
        return [lr * self.reduction for lr in super().get_lr()]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the step and the plateaus, and set the learning rates of this schedule.

        The rates in the checkpoint belong to its own schedule, which differs if training is now
        longer.
        """
        super().load_state_dict(state_dict)
        self._set_rates()

    def _set_rates(self) -> None:
        # the same as LambdaLR.get_lr, which warns outside of a step
        curve, step = self.lr_lambdas[0], self.last_epoch
        for group, lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = lr * curve(step) * self.reduction
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def observe(self, loss: float) -> None:
        """Record a validation loss; too many in a row without a better one reduce the rate.

        An undefined loss (NaN, because no label is known) is ignored.
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
    """Build the schedule that `hparams` (a subclass of ScheduleHparams) describes.

    Args:
        optimiser: Optimiser whose learning rates are the peaks of the schedule.
        hparams: Hyperparameters of the schedule.
        n_steps: Number of optimiser steps of the whole training; inf if training has no end.

    Raises:
        HparamError: The warm-up is as long as the training, or the schedule needs an end but
            training has none.
    """
    curve = schedule_curve(hparams, n_steps)
    if hparams.name != "plateau":
        return Schedule(optimiser, curve)
    return Schedule(
        optimiser, curve, factor=hparams.plateau_factor, patience=hparams.plateau_patience
    )


def schedule_curve(hparams: Hparams, n_steps: float) -> Curve:
    """Return a function from the step (the first is 0) to the proportion of --lr."""
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
    """Return a curve that is 1 at each step."""
    return lambda step: 1.0


def linear(hparams: Hparams, n_steps: float) -> Curve:
    """Return a straight line from 1 to `final_lr_prop`."""
    progress = _progress(hparams, n_steps)
    return lambda step: 1.0 + (hparams.final_lr_prop - 1.0) * progress(step)


def cosine(hparams: Hparams, n_steps: float) -> Curve:
    """Return half a cosine from 1 to `final_lr_prop`."""
    progress, final = _progress(hparams, n_steps), hparams.final_lr_prop
    return lambda step: final + (1.0 - final) * (1.0 + math.cos(math.pi * progress(step))) / 2


def inverse_sqrt(hparams: Hparams, n_steps: float) -> Curve:
    """Return 1 / sqrt(1 + step / warmup_steps) as a curve (Vaswani et al. 2017)."""
    timescale = max(hparams.warmup_steps, 1)
    return lambda step: (1.0 + step / timescale) ** -0.5


def one_cycle(hparams: Hparams, n_steps: float) -> Curve:
    """Return half a cosine up to 1 at `peak_prop`, then half a cosine down (Smith, Topin 2019)."""
    progress = _progress(hparams, n_steps)
    peak, start, final = hparams.peak_prop, hparams.start_lr_prop, hparams.final_lr_prop

    def proportion(step: int) -> float:
        done = progress(step)
        if done < peak:
            return 1.0 + (start - 1.0) * (1.0 + math.cos(math.pi * done / peak)) / 2
        return final + (1.0 - final) * (1.0 + math.cos(math.pi * (done - peak) / (1 - peak))) / 2

    return proportion


def _progress(hparams: Hparams, n_steps: float) -> Curve:
    # 0 at the first step, 1 after the last, so no step has a learning rate of 0
    if math.isinf(n_steps):
        raise HparamError(
            f"--schedule={hparams.name} falls until the last step, but this training has no end; "
            "set --max_epochs or --max_steps, or use --schedule=constant"
        )
    return lambda step: min(step / n_steps, 1.0)
