"""Metrics over a whole split and all ranks, computed once, at its end.

Each is one torchmetrics.Metric that takes what a task scored (`Scored`) and gives a dict of
numbers. The numbers themselves are in scores.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from seqmodel.task.scores import class_scores


class SplitMetric(Metric):
    """The mean loss over a split; base of the others."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, loss_sum: Tensor, weight: Tensor, outputs: Tensor, target: Tensor) -> None:
        """Adds what was scored of one batch."""
        # float64 where there is one: a split can have 1e9 positions
        exact = torch.float32 if loss_sum.device.type == "mps" else torch.float64
        self.loss_sum = self.loss_sum.to(exact) + loss_sum.detach()
        self.weight = self.weight.to(exact) + weight.detach()
        self.observe(outputs.detach(), target)

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Adds predictions; overridden by metrics of more than the loss."""

    def compute(self) -> dict[str, Tensor]:
        """Name (without the split) to value; NaN where a value is not defined."""
        return {"loss": self.loss_sum / self.weight, **self.scores()}

    def scores(self) -> dict[str, Tensor]:
        """What there is beside the loss."""
        return {}


class LetterMetric(SplitMetric):
    """Loss of predicted letters in nats and bits, perplexity, and how many were right."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("n_right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("n_seen", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Counts the letters that were right."""
        self.n_right += (outputs.argmax(-1) == target).sum()
        self.n_seen += target.numel()

    def scores(self) -> dict[str, Tensor]:
        """Bits a base, perplexity, accuracy."""
        nats = self.loss_sum / self.weight
        return {
            "bits": nats / math.log(2),
            "perplexity": nats.exp(),
            "accuracy": self.n_right / self.n_seen,
        }


class ClassMetric(SplitMetric):
    """Scores of predicted classes: accuracy, F1, MCC, AUROC, AUPRC.

    Args:
        names: of the classes, in the order of the outputs.
        stage: "valid" or "test", for messages.
    """

    def __init__(self, names: list[str], stage: str) -> None:
        super().__init__()
        self.names, self.stage = names, stage
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Keeps the outputs: ranks cannot be computed from batches."""
        self.outputs.append(outputs.float())
        self.target.append(target)

    def scores(self) -> dict[str, Tensor]:
        """The scores of the split; what is undefined is told."""
        outputs, target = dim_zero_cat(self.outputs), dim_zero_cat(self.target)
        return class_scores(outputs.softmax(-1), target, self.names, self.stage)
