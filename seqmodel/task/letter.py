"""Outputs, loss and metrics shared by the tasks that predict the symbol at each position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from seqmodel.errors import HparamError
from seqmodel.task.loss import full
from seqmodel.task.metric import LetterMetric
from seqmodel.task.step import Batch, Scored
from seqmodel.task.task import Task

if TYPE_CHECKING:
    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class LetterTask(Task):
    """Base class of tasks with one output per symbol of the alphabet at each position."""

    per_position = True
    predicts_targets = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.encoder.stride > 1:
            raise HparamError(
                f"{type(self).__name__} predicts each position, but {type(self.encoder).__name__} "
                f"gives one vector for {self.encoder.stride} positions; use --encoder=transformer, "
                "dilated_conv or hyena, or --pool_size=1"
            )

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """Return the number of symbols: the decoder gives one output per symbol of the alphabet."""
        return alphabet.n_letters

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each symbol of the alphabet at each position."""
        return outputs.softmax(-1)

    def new_metric(self, stage: str) -> LetterMetric:
        """Return a metric of loss in nats and bits, perplexity and accuracy."""
        return LetterMetric()

    def has_something_to_predict(self, batch: Batch) -> bool:
        """Return whether any known position has a positive weight."""
        known = batch["tokens"] < self.alphabet.n_letters
        if "weight" in batch:
            known &= batch["weight"] > 0
        return bool(known.any())

    def complement_outputs(self, outputs: Tensor) -> Tensor:
        """Return the output of each symbol's complement."""
        table = self.alphabet.complement_table
        assert table is not None, "the alphabet has no complement"
        order = torch.from_numpy(table[: self.alphabet.n_letters]).long()
        return outputs[..., order.to(outputs.device)]


def letter_score(logits: Tensor, letters: Tensor, weight: Tensor | None = None) -> Scored:
    """Return the cross-entropy in nats of the ids `letters` [n] under `logits` [n, A]."""
    logits, letters = full(logits), letters.long()
    if weight is None:
        loss_sum = cross_entropy(logits, letters, reduction="sum")
        return Scored(loss_sum, loss_sum.new_tensor(letters.numel()), logits, letters)
    loss = cross_entropy(logits, letters, reduction="none")
    return Scored((loss * weight).sum(), weight.sum(), logits, letters)
