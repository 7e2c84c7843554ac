"""Classification of whole sequences: one of two or more classes per sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seqmodel.errors import HparamError, LabelError
from seqmodel.task.loss import class_loss, full
from seqmodel.task.metric import ClassMetric
from seqmodel.task.step import Batch, Scored
from seqmodel.task.task import Task

if TYPE_CHECKING:
    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class ClassifyTask(Task):
    """Predict the class of a sequence with a softmax over all classes."""

    per_position = False
    class_weights: Tensor | None

    def __init__(self, hparams: Hparams, *args: Any, **kwargs: Any) -> None:
        super().__init__(hparams, *args, **kwargs)
        weights = hparams.class_weights
        if weights and len(weights) != self.targets.n:
            raise HparamError(
                f"--class_weights has {len(weights)} weights but the data have {self.targets.n} "
                f"classes: {', '.join(self.targets.names)}"
            )
        self.register_buffer(
            "class_weights", torch.tensor(weights) if weights else None, persistent=False
        )

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """Return the number of classes: the decoder gives one output per class."""
        if targets.kind != "class" or targets.n < 2:
            raise LabelError(
                f"--task=classify needs two or more classes as labels; the data have {targets.n} "
                f"targets of kind {targets.kind!r}"
            )
        return targets.n

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each class."""
        return outputs.softmax(-1)

    def new_metric(self, stage: str) -> ClassMetric:
        """Return a metric of accuracy, F1, MCC, AUROC and AUPRC."""
        return ClassMetric(list(self.targets.names), stage)

    def score(self, batch: Batch) -> Scored:
        """Return the cross-entropy; the hyperparameters set weights, smoothing and focal loss."""
        logits = full(self(batch["tokens"], batch.get("pad")))
        target = batch["target"]
        loss_sum, weight = class_loss(
            logits,
            target,
            weights=self.class_weights,
            smoothing=self.task_hparams.label_smoothing,
            gamma=self.task_hparams.focal_gamma,
        )
        return Scored(loss_sum, weight, logits, target)
