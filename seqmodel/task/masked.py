"""Masked prediction: hide, change or keep positions, and predict them from both sides (BERT).

See Devlin et al. 2019. The treatment of a position depends only on the sample's key and on the
position, not on the batch, the rank, torch's random state or a resume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seqmodel.model.strand import reverse_complement, reverse_outputs
from seqmodel.rng import torch_uniform
from seqmodel.task.letter import LetterTask, letter_score
from seqmodel.task.step import Batch, Scored

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams

# streams of the counter-based generator; a change changes every mask
ACTION_STREAM, LETTER_STREAM = 0x6D61736B, 0x6C657474
EVALUATION_STREAM = 0x6576616C


class MaskedTask(LetterTask):
    """Predict the original symbols at the chosen positions."""

    def score(self, batch: Batch) -> Scored:
        """Return the cross-entropy in nats, computed at the chosen positions only.

        Training masks differ between epochs because the keys do. Validation and test masks depend
        only on the index of the sample, so they are the same in all epochs and runs.
        """
        tokens, pad = batch["tokens"], batch.get("pad")
        key = batch["key"] if self.training else batch["index"]
        stream = 0 if self.training else EVALUATION_STREAM
        corrupted, chosen = corrupt(tokens, key, self.alphabet, self.task_hparams, stream)
        at = chosen.flatten().nonzero()[:, 0]
        logits = self._logits(corrupted, pad, at)
        weight = batch["weight"].flatten()[at] if "weight" in batch else None
        return letter_score(logits, tokens.flatten()[at], weight)

    def _logits(self, x: Tensor, pad: Tensor | None, at: Tensor) -> Tensor:
        logits = self.decode(self.encoder(x, pad).flatten(0, 1)[at][None])[0]
        if not self.task_hparams.average_strands or self.training:
            return logits
        encoded = self.encoder(reverse_complement(x, self.alphabet, pad), pad)
        encoded = reverse_outputs(encoded, pad)
        other = self.decode(encoded.flatten(0, 1)[at][None])[0]
        return (logits + self.complement_outputs(other)) / 2


def corrupt(
    tokens: Tensor, key: Tensor, alphabet: Alphabet, hparams: Hparams, stream: int = 0
) -> tuple[Tensor, Tensor]:
    """Return the corrupted tokens, uint8 [N, L], and the mask of positions to predict, bool [N, L].

    Only known positions are chosen: never unknown, padded or already masked ones.

    Args:
        tokens: Token ids, uint8 [N, L].
        key: Key of each sample, int64 [N].
        alphabet: Alphabet of the token ids.
        hparams: Hyperparameters `mask_prop`, `random_prop` and `keep_prop`: proportions of the
            known positions.
        stream: Random stream; different streams give independent choices for the same keys.
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
