"""One optimiser step: how its batches are weighed, and the training loss that is logged.

The gradient of a step is that of (sum of the losses of all that was predicted) / (sum of their
weights), over all batches and ranks of the step. Batches and ranks are never averaged by
themselves: they differ in how many positions, labels and samples they have.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

# a step without anything to predict has loss 0, not NaN
_SMALLEST_WEIGHT = 1e-12

Batch = dict[str, Tensor]


class Scored(NamedTuple):
    """What a task makes of a batch.

    Attributes:
        loss_sum: sum of the losses of all that was predicted, scalar, with gradient.
        weight: sum of their weights, scalar; the loss is loss_sum / weight.
        outputs: what the decoder gave where something was predicted.
        target: what was to be predicted, in the same order.
    """

    loss_sum: Tensor
    weight: Tensor
    outputs: Tensor
    target: Tensor


class Accumulation:
    """The batches whose gradients are summed up for one step.

    The sum of weights is known only at the last batch, after gradients of the others were summed
    up. Each loss is therefore divided by the weight of the first batch, which keeps its scale for
    half precision, and the summed gradients are corrected before the step.

    Args:
        n_batches: by how many Lightning divides each loss, whether or not there are as many.
    """

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches
        self._loss_sum: Tensor | None = None

    def add(self, loss_sum: Tensor, weight: Tensor) -> Tensor:
        """The loss of a batch, whose gradient is to be added to that of the batches before.

        Args:
            loss_sum: over what was predicted of the batch on this rank.
            weight: of the batch, `mean_weight` over ranks.
        """
        if self._loss_sum is None:
            self._loss_sum, self._weight, self._scale = loss_sum.detach(), weight, weight
        else:
            # the first that is not 0; to look at the value would make the host wait for the device
            self._scale = torch.where(self._scale > 0, self._scale, weight)
            self._loss_sum = self._loss_sum + loss_sum.detach()
            self._weight = self._weight + weight
        return weighted_mean(loss_sum, self._scale)

    def mean(self) -> Tensor:
        """The loss of the step on this rank; its mean over ranks is that of all of them."""
        assert self._loss_sum is not None, "mean of no batch"
        return weighted_mean(self._loss_sum, self._weight)

    def correct(self, optimiser: Optimizer) -> None:
        """Makes the gradients those of the mean over the whole step."""
        gradients = [
            parameter.grad
            for group in optimiser.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if gradients:
            factor = self._scale * self.n_batches / self._weight.clamp(min=_SMALLEST_WEIGHT)
            # one kernel for all weights, as torch's optimisers; it has no public name
            torch._foreach_mul_(gradients, factor)


class LossWindow:
    """Sum of the training losses of the steps since the last logged row."""

    def __init__(self, number: int = -1, total: float = 0.0, count: int = 0) -> None:
        self.number, self.count = number, count
        self.total: Tensor | float = total

    def add(self, loss: Tensor, number: int) -> None:
        """Adds the loss of a step to those of the same window; the first of another starts anew."""
        if number != self.number:
            self.number, self.total, self.count = number, loss, 1
        else:
            self.total, self.count = self.total + loss, self.count + 1

    def mean(self) -> Tensor:
        """The mean over steps."""
        return torch.as_tensor(self.total / self.count)

    def state(self) -> tuple[int, float, int]:
        """Its values, for a checkpoint."""
        return self.number, float(self.total), self.count


class EpochLoss(LossWindow):
    """Sum of the training losses of the steps of an epoch, in float64 where there is one."""

    def add(self, loss: Tensor, number: int) -> None:
        """Adds the loss of a step of the epoch of this number."""
        exact = torch.float32 if loss.device.type == "mps" else torch.float64
        self.total = torch.as_tensor(self.total, dtype=exact, device=loss.device)
        super().add(loss.to(exact), number)


def weighted_mean(loss_sum: Tensor, weight: Tensor) -> Tensor:
    """loss_sum / weight; 0 where nothing was predicted."""
    return loss_sum / weight.clamp(min=_SMALLEST_WEIGHT)


def mean_weight(weight: Tensor) -> Tensor:
    """The mean of `weight` over ranks.

    The mean over ranks of what is divided by it is that of one large batch.
    """
    n_ranks = world_size()
    if n_ranks > 1:
        weight = weight.detach().clone()
        torch.distributed.all_reduce(weight)
        weight = weight / n_ranks
    return weight


def world_size() -> int:
    """Number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1
