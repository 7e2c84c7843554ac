"""Metrics over a whole split and all ranks, computed once at the end of the split.

Each is a torchmetrics.Metric that takes the `Scored` batches of a task and returns a dict of
numbers. The numbers themselves are computed in scores.py.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from seqmodel.task.scores import (
    class_scores,
    correlation_scores,
    known,
    ranking_scores,
    tell_undefined,
)


class SplitMetric(Metric):
    """The mean loss over a split; base class of all metrics."""

    full_state_update = False
    loss_sum: Tensor
    weight: Tensor
    value_names: ClassVar[tuple[str, ...] | None] = ("loss",)
    """Names that `compute` returns for the validation split; None if not known in advance."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "value_names" not in vars(cls) and not {"scores", "compute"}.isdisjoint(vars(cls)):
            cls.value_names = None  # a plugin's own values

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("weight", torch.zeros(()), dist_reduce_fx="sum")
        self.total_weight: Tensor | None = None  # over all ranks, once computed

    def update(self, loss_sum: Tensor, weight: Tensor, outputs: Tensor, target: Tensor) -> None:
        """Add the losses and outputs of one batch."""
        # float64 if the device has it: a split can have 1e9 positions
        exact = torch.float32 if loss_sum.device.type == "mps" else torch.float64
        self.loss_sum = self.loss_sum.to(exact) + loss_sum.detach()
        self.weight = self.weight.to(exact) + weight.detach()
        self.observe(outputs.detach(), target)

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Add predictions; metrics that need more than the loss override this."""

    def compute(self) -> dict[str, Tensor]:
        """Return values by name (without the split); NaN if a value is undefined."""
        self.total_weight = self.weight
        return {"loss": self.loss_sum / self.weight, **self.scores()}

    def scores(self) -> dict[str, Tensor]:
        """Return the scores other than the loss."""
        return {}


class LetterMetric(SplitMetric):
    """Loss of predicted positions in nats and bits, perplexity, and accuracy."""

    value_names = ("loss", "bits", "perplexity", "accuracy")
    n_right: Tensor
    n_seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("n_right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("n_seen", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Count the correct predictions."""
        self.n_right += (outputs.argmax(-1) == target).sum()
        self.n_seen += target.numel()

    def scores(self) -> dict[str, Tensor]:
        """Return bits per position, perplexity and accuracy."""
        nats = self.loss_sum / self.weight
        accuracy = self.n_right / self.n_seen
        return {
            "bits": nats / math.log(2),
            "perplexity": nats.exp(),
            # NaN outputs predict nothing: their accuracy is NaN, like the loss
            "accuracy": torch.where(nats.isnan(), nats.float(), accuracy),
        }


class _KeepingMetric(SplitMetric):
    """Keeps all outputs and targets, because ranking scores cannot be computed batch by batch."""

    outputs: list[Tensor]
    target: list[Tensor]

    def __init__(self, names: list[str], stage: str) -> None:
        super().__init__()
        self.names, self.stage = names, stage
        self.last: tuple[Tensor, Tensor] | None = None  # what `kept` returned last
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Keep the outputs and targets of a batch."""
        self.outputs.append(outputs.float())
        self.target.append(target)

    def kept(self) -> tuple[Tensor, Tensor]:
        """Return the outputs and targets of the split, over all ranks."""
        self.last = dim_zero_cat(self.outputs), dim_zero_cat(self.target)
        return self.last

    def with_means(self, values: dict[str, Tensor], broken: Tensor) -> dict[str, Tensor]:
        """Return the mean of each score over its targets; for the test split also each target's.

        Args:
            values: Scores of the targets by name; NaN if undefined.
            broken: Mask of targets with NaN outputs, bool [T]. Their scores are NaN, and so are
                the means over targets.
        """
        nan = float("nan")
        values = {name: value.masked_fill(broken, nan) for name, value in values.items()}
        means = {
            name: value.nanmean().masked_fill(broken.any(), nan) for name, value in values.items()
        }
        if self.stage != "test" or len(self.names) == 1:
            return means
        each = {
            f"{name}/{target}": score
            for name, value in values.items()
            for target, score in zip(self.names, value, strict=True)
        }
        return means | each


class ClassMetric(_KeepingMetric):
    """Scores of predicted classes: accuracy, F1, MCC, AUROC, AUPRC.

    Args:
        names: Names of the classes, in the order of the outputs.
        stage: "valid" or "test"; used in messages.
    """

    value_names = ("loss", "accuracy", "f1", "mcc", "auroc", "auprc")

    def scores(self) -> dict[str, Tensor]:
        """Return the scores of the split; log one line for undefined scores."""
        outputs, target = self.kept()
        return class_scores(outputs.softmax(-1), target, self.names, self.stage)


class MultilabelMetric(_KeepingMetric):
    """AUROC and AUPRC of each label, over the sequences with a known label, and their means.

    Args:
        names: Names of the labels.
        stage: "valid" or "test"; used in messages. Scores of each label are given for "test" only.
    """

    value_names = ("loss", "auroc", "auprc")

    def scores(self) -> dict[str, Tensor]:
        """Return the scores of the split; log one line for undefined scores."""
        outputs, target = self.kept()
        pairs = [ranking_scores(*known(p, y)) for p, y in zip(outputs.T, target.T, strict=True)]
        auroc, auprc = (torch.stack(values) for values in zip(*pairs, strict=True))
        tell_undefined(self.stage, "AUROC and AUPRC", self.names, auroc)
        broken = (outputs.isnan() & ~target.isnan()).any(0)
        return self.with_means({"auroc": auroc, "auprc": auprc}, broken)


class RegressionMetric(_KeepingMetric):
    """Mean squared error, Pearson and Spearman correlation of each number, and their means.

    Args:
        names: Names of the numbers.
        stage: "valid" or "test"; used in messages. Scores of each number are given for "test" only.
    """

    value_names = ("loss", "mse", "pearson", "spearman")

    def scores(self) -> dict[str, Tensor]:
        """Return the scores of the split; log one line for undefined scores."""
        outputs, target = self.kept()
        pairs = [known(p, y) for p, y in zip(outputs.T, target.T, strict=True)]
        correlations = [correlation_scores(p, y) for p, y in pairs]
        pearson, spearman = (torch.stack(values) for values in zip(*correlations, strict=True))
        tell_undefined(self.stage, "Pearson and Spearman", self.names, pearson)
        mse = torch.stack([(p - y).square().mean() for p, y in pairs])
        broken = (~outputs.isfinite() & ~target.isnan()).any(0)
        return self.with_means({"mse": mse, "pearson": pearson, "spearman": spearman}, broken)


class ProfileMetric(_KeepingMetric):
    """Pearson correlation of expected and observed counts: over bins, and of sums over sequences.

    The first is accumulated batch by batch in float64; only the sums are kept.

    Args:
        names: Names of the tracks.
        stage: "valid" or "test"; used in messages. Scores of each track are given for "test" only.
    """

    value_names = ("loss", "pearson", "count_pearson")
    moments: Tensor

    def __init__(self, names: list[str], stage: str) -> None:
        super().__init__(names, stage)
        # n, x, y, xx, yy, xy of each track
        self.add_state("moments", torch.zeros(6, len(names)), dist_reduce_fx="sum")

    def observe(self, outputs: Tensor, target: Tensor) -> None:
        """Add the bins of a batch; outputs are logarithms of expected counts."""
        exact = torch.float32 if outputs.device.type == "mps" else torch.float64
        seen = ~target.isnan()
        x = torch.where(seen, outputs.to(exact).exp(), 0.0)
        y = target.to(exact).nan_to_num()
        moments = torch.stack([seen.to(exact), x, y, x * x, y * y, x * y]).sum((1, 2))
        self.moments = self.moments.to(exact) + moments
        none = ~seen.any(1)
        super().observe(x.sum(1).log1p(), y.sum(1).log1p().masked_fill(none, float("nan")).float())

    def scores(self) -> dict[str, Tensor]:
        """Return the scores of the split; log one line for undefined scores."""
        n, x, y, xx, yy, xy = self.moments
        covariance = xy / n - x / n * y / n
        pearson = covariance / ((xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2)).sqrt()
        pearson = torch.where(pearson.isfinite(), pearson, float("nan")).float()
        tell_undefined(self.stage, "Pearson", self.names, pearson)
        outputs, target = self.kept()
        pairs = [known(p, t) for p, t in zip(outputs.T, target.T, strict=True)]
        counts = torch.stack([correlation_scores(p, t)[0] for p, t in pairs])
        tell_undefined(self.stage, "Pearson of counts", self.names, counts)
        broken = ~self.moments.isfinite().all(0)
        return self.with_means({"pearson": pearson, "count_pearson": counts}, broken)
