"""Regression: numbers per sequence (expression, fitness, affinity); NaN targets are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqmodel.errors import LabelError
from seqmodel.task.loss import full, regression_loss
from seqmodel.task.metric import RegressionMetric
from seqmodel.task.step import Batch, Scored
from seqmodel.task.task import Task

if TYPE_CHECKING:
    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class RegressTask(Task):
    """Predict each number directly, without a link function."""

    per_position = False

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """Return the number of targets: the decoder gives one output per target."""
        if targets.kind != "real":
            raise LabelError(
                f"--task=regress needs numbers as labels; the data have {targets.n} targets of "
                f"kind {targets.kind!r}"
            )
        return targets.n

    def new_metric(self, stage: str) -> RegressionMetric:
        """Return a metric of squared error, Pearson and Spearman correlation of each target."""
        return RegressionMetric(list(self.targets.names), stage)

    def score(self, batch: Batch) -> Scored:
        """Return the squared error or Huber loss of the known numbers."""
        outputs = full(self(batch["tokens"], batch.get("pad")))
        delta = self.task_hparams.huber_delta
        loss_sum, weight = regression_loss(outputs, batch["target"], delta)
        return Scored(loss_sum, weight, outputs, batch["target"])
