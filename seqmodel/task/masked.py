"""Masked letters: positions are hidden, changed or left, and predicted from both sides.

Devlin et al. 2019 (BERT). What happens to a position is a pure function of the sample's key and of
the position: not of the batch, the rank, torch's random state or a resume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from seqmodel.counter import torch_uniform
from seqmodel.model.strand import reverse_complement, reverse_outputs
from seqmodel.task.metric import LetterMetric
from seqmodel.task.task import Batch, Scored, Task

if TYPE_CHECKING:
    from seqmodel.dataset.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams

# streams of the counter-based generator; a change changes every mask
ACTION_STREAM, LETTER_STREAM = 0x6D61736B, 0x6C657474
EVALUATION_STREAM = 0x6576616C


class MaskedTask(Task):
    """Predicts the original letters at the chosen positions."""

    per_position = True

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Any) -> int:
        """One output a letter."""
        return alphabet.n_letters

    def new_metric(self, stage: str) -> LetterMetric:
        """Nats, bits, perplexity, accuracy."""
        return LetterMetric()

    def score(self, batch: Batch) -> Scored:
        """Cross-entropy in nats; decoder and loss are computed at the chosen positions only.

        Training masks differ in each epoch, as the keys do. Validation and test masks depend on the
        index of the sample alone: the same in all epochs and runs.
        """
        tokens, pad = batch["tokens"], batch.get("pad")
        key = batch["key"] if self.training else batch["index"]
        stream = 0 if self.training else EVALUATION_STREAM
        corrupted, chosen = corrupt(tokens, key, self.alphabet, self.task_hparams, stream)
        at = chosen.flatten().nonzero()[:, 0]
        logits = self._logits(corrupted, pad, at).float()
        target = tokens.flatten()[at].long()
        if "weight" not in batch:
            loss_sum = cross_entropy(logits, target, reduction="sum")
            return Scored(loss_sum, loss_sum.new_tensor(at.numel()), logits, target)
        weight = batch["weight"].flatten()[at]
        loss = cross_entropy(logits, target, reduction="none")
        return Scored((loss * weight).sum(), weight.sum(), logits, target)

    def _logits(self, x: Tensor, pad: Tensor | None, at: Tensor) -> Tensor:
        encoded = self.encoder(x, pad)
        logits = self.decoder(encoded.flatten(0, 1)[at][None])[0]
        if not self.task_hparams.average_strands or self.training:
            return logits
        encoded = self.encoder(reverse_complement(x, self.alphabet, pad), pad)
        encoded = reverse_outputs(encoded, pad)
        other = self.decoder(encoded.flatten(0, 1)[at][None])[0]
        return (logits + other[:, self._complement()]) / 2

    def _complement(self) -> Tensor:
        table = self.alphabet.complement_table[: self.alphabet.n_letters]
        return torch.from_numpy(table).long().to(self.device)


def corrupt(
    tokens: Tensor, key: Tensor, alphabet: Alphabet, hparams: Hparams, stream: int = 0
) -> tuple[Tensor, Tensor]:
    """The corrupted tokens, uint8 [N, L], and which positions are to be predicted, bool [N, L].

    Only letters are chosen: never unknown ones, padding or what is masked already.

    Args:
        tokens: ids, uint8 [N, L].
        key: of each sample, int64 [N].
        alphabet: of the ids.
        hparams: `mask_prop`, `random_prop`, `keep_prop`: proportions of the letters.
        stream: another one gives independent choices for the same keys.
    """
    n_positions = tokens.shape[1]
    mask_end = hparams.mask_prop
    random_end = mask_end + hparams.random_prop
    action = torch_uniform(key, n_positions, ACTION_STREAM + stream)
    known = tokens < alphabet.n_letters
    chosen = known & (action < random_end + hparams.keep_prop)
    corrupted = tokens.masked_fill(known & (action < mask_end), alphabet.mask_id)
    if hparams.random_prop:
        letters = torch_uniform(key, n_positions, LETTER_STREAM + stream) * alphabet.n_letters
        replaced = known & (action >= mask_end) & (action < random_end)
        corrupted = torch.where(replaced, letters.to(tokens.dtype), corrupted)
    return corrupted, chosen
