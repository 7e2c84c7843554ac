"""Recurrent layers over [N, L, C] whose backward direction starts at the end of each row."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def run_rows(
    layer: nn.RNNBase, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
) -> Float[Tensor, "N L D"]:
    """Return the states of `layer` (batch_first) at each position; 0 at padding."""
    if pad is None:
        return layer(x)[0]
    length = (~pad).sum(1).clamp(min=1).cpu()
    packed = pack_padded_sequence(x, length, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])[0]
