"""Next-token prediction: predict each position from the positions before it (GPT)."""

from __future__ import annotations

from typing import Any

from seqmodel.errors import HparamError
from seqmodel.task.letter import LetterTask, letter_score
from seqmodel.task.step import Batch, Scored


class CausalTask(LetterTask):
    """Predict position i + 1 from positions 0..i, for all i at once; the first is not predicted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.encoder.causal:
            raise HparamError(
                "--task=causal: the encoder sees the positions that it must predict; set "
                "--causal=True"
            )

    def score(self, batch: Batch) -> Scored:
        """Return the cross-entropy in nats over known positions, without padding."""
        tokens, pad = batch["tokens"], batch.get("pad")
        known = tokens[:, 1:] < self.alphabet.n_letters
        encoded = self.encoder(tokens, pad)[:, :-1]
        at = known.flatten().nonzero()[:, 0]
        logits = self.decode(encoded.flatten(0, 1)[at][None])[0]
        weight = batch["weight"][:, 1:].flatten()[at] if "weight" in batch else None
        return letter_score(logits, tokens[:, 1:].flatten()[at], weight)
