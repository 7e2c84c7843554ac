"""The decoder that flat_hparams.py describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from seqmodel.errors import HparamError
from seqmodel.model.decoder import make_head

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams


class FlatDecoder(nn.Module):
    """The positions side by side, then a linear layer or two: [N, L, C] -> [N, T]."""

    per_position = False

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.n_positions = hparams.n_positions
        self.head = make_head(hparams, self.n_positions * n_in, n_out)

    def forward(self, encoded: Tensor, pad: Tensor | None = None) -> Tensor:
        """The outputs for each sequence; positions of padding are zeros.

        Raises:
            HparamError: the encoder gives another number of positions.
        """
        if encoded.shape[1] != self.n_positions:
            raise HparamError(
                f"--n_positions={self.n_positions}, but the encoder gives {encoded.shape[1]} "
                f"positions; set --n_positions={encoded.shape[1]}"
            )
        if pad is not None:
            encoded = encoded.masked_fill(pad[:, :, None], 0.0)
        return self.head(encoded.flatten(1))
