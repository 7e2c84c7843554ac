"""One optimiser step: the weights of its batches, and the logged training loss.

The gradient of a step is the gradient of (sum of losses) / (sum of weights), summed over all
predictions in all batches and ranks of the step. Means of batches or ranks are never averaged,
because batches and ranks differ in their numbers of positions, labels and samples.
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
    """The loss of a batch, with its outputs and targets.

    Attributes:
        loss_sum: Sum of the losses of all predictions, scalar, with gradient.
        weight: Sum of their weights, scalar; the loss is loss_sum / weight.
        outputs: Outputs of the decoder for the predictions.
        target: Targets of the predictions, in the same order.
    """

    loss_sum: Tensor
    weight: Tensor
    outputs: Tensor
    target: Tensor


class Accumulation:
    """The batches whose gradients are summed for one step.

    The sum of weights is known only at the last batch, when the gradients of the others are already
    summed. Each loss is therefore divided by the weight of the first batch, which preserves the
    scale for half precision, and the summed gradients are corrected before the step.

    Args:
        n_batches: Number by which Lightning divides each loss, even if the step has fewer batches.
    """

    def __init__(self, n_batches: int) -> None:
        self.n_batches = n_batches
        self._loss_sum: Tensor | None = None

    def add(self, loss_sum: Tensor, weight: Tensor) -> Tensor:
        """Return the loss of a batch; its gradient is added to those of the batches before.

        Args:
            loss_sum: Sum of the losses of the batch on this rank.
            weight: Weight of the batch: its `mean_weight` over ranks.
        """
        if self._loss_sum is None:
            self._loss_sum, self._weight, self._scale = loss_sum.detach(), weight, weight
        else:
            # the first weight above 0; reading the value would make the host wait for the device
            self._scale = torch.where(self._scale > 0, self._scale, weight)
            self._loss_sum = self._loss_sum + loss_sum.detach()
            self._weight = self._weight + weight
        return weighted_mean(loss_sum, self._scale)

    def mean(self) -> Tensor:
        """Return the loss of the step on this rank; the mean over ranks is the loss of the step."""
        assert self._loss_sum is not None, "mean of no batch"
        return weighted_mean(self._loss_sum, self._weight)

    def correct(self, optimiser: Optimizer) -> None:
        """Scale the gradients to those of the mean over the whole step."""
        gradients = [
            parameter.grad
            for group in optimiser.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if gradients:
            factor = self._scale * self.n_batches / self._weight.clamp(min=_SMALLEST_WEIGHT)
            # one kernel for all weights, as in torch's optimisers; it has no public name
            torch._foreach_mul_(gradients, factor)


class LossWindow:
    """Sum of the training losses of the steps since the last logged row."""

    def __init__(self, number: int = -1, total: float = 0.0, count: int = 0) -> None:
        self.number, self.count = number, count
        self.total: Tensor | float = total

    def add(self, loss: Tensor, number: int) -> None:
        """Add the loss of a step to its window; a new window number resets the sum."""
        if number != self.number:
            self.number, self.total, self.count = number, loss, 1
        else:
            self.total, self.count = self.total + loss, self.count + 1

    def mean(self) -> Tensor:
        """Return the mean over steps."""
        return torch.as_tensor(self.total / self.count)

    def state(self) -> tuple[int, float, int]:
        """Return the values to store in a checkpoint."""
        return self.number, float(self.total), self.count


class EpochLoss(LossWindow):
    """Sum of the training losses over the steps of an epoch, in float64 if the device has it."""

    def add(self, loss: Tensor, number: int) -> None:
        """Add the loss of a step in epoch `number`."""
        exact = torch.float32 if loss.device.type == "mps" else torch.float64
        self.total = torch.as_tensor(self.total, dtype=exact, device=loss.device)
        super().add(loss.to(exact), number)


def weighted_mean(loss_sum: Tensor, weight: Tensor) -> Tensor:
    """Return loss_sum / weight; 0 if nothing was predicted."""
    return loss_sum / weight.clamp(min=_SMALLEST_WEIGHT)


def mean_weight(weight: Tensor) -> Tensor:
    """Return the mean of `weight` over ranks.

    Losses divided by it, averaged over ranks, give the loss of one large batch.
    """
    n_ranks = world_size()
    if n_ranks > 1:
        weight = weight.detach().clone()
        torch.distributed.all_reduce(weight)
        weight = weight / n_ranks
    return weight


def world_size() -> int:
    """Return the number of ranks."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return 1
