"""Many binary labels per sequence (DeepSEA); missing labels (NaN) are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqmodel.errors import HparamError, LabelError
from seqmodel.task.loss import binary_loss, full
from seqmodel.task.metric import MultilabelMetric
from seqmodel.task.step import Batch, Scored
from seqmodel.task.task import Task

if TYPE_CHECKING:
    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class MultilabelTask(Task):
    """Predict each label with its own sigmoid."""

    per_position = False
    class_weights: Tensor | None

    def __init__(self, hparams: Hparams, *args: Any, **kwargs: Any) -> None:
        super().__init__(hparams, *args, **kwargs)
        weights = hparams.class_weights
        if weights and len(weights) not in (1, self.targets.n):
            raise HparamError(
                f"--class_weights has {len(weights)} weights but the data have {self.targets.n} "
                "targets; give one weight per target, or one for all"
            )
        self.register_buffer(
            "class_weights", torch.tensor(weights) if weights else None, persistent=False
        )

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """Return the number of labels: the decoder gives one output per label."""
        if targets.kind != "multilabel":
            raise LabelError(
                f"--task=multilabel needs labels of 0 and 1; the data have {targets.n} targets of "
                f"kind {targets.kind!r}"
            )
        return targets.n

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each label."""
        return outputs.sigmoid()

    def new_metric(self, stage: str) -> MultilabelMetric:
        """Return a metric of AUROC and AUPRC of each target, and their means."""
        return MultilabelMetric(list(self.targets.names), stage)

    def score(self, batch: Batch) -> Scored:
        """Return the binary cross-entropy of the known labels."""
        logits = full(self(batch["tokens"], batch.get("pad")))
        loss_sum, weight = binary_loss(
            logits,
            batch["target"],
            positive_weights=self.class_weights,
            smoothing=self.task_hparams.label_smoothing,
            gamma=self.task_hparams.focal_gamma,
        )
        return Scored(loss_sum, weight, logits, batch["target"])
