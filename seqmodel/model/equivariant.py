"""Reverse-complement equivariance of any encoder, by sharing parameters between the strands.

After RCPS (Shrikumar et al. 2017; Zhou et al. 2022) and Caduceus-PS (Schiff et al. 2024): the
channels form two halves, one for each strand; the same network computes both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from seqmodel.model.encoder import Encoder
from seqmodel.model.strand import reverse_complement, reverse_outputs

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet


class BothStrands(Encoder):
    """An encoder on both strands: [N, L] -> [N, L', 2 C], one half per strand.

    The reverse complement of the input gives the same output with positions reversed and halves
    swapped. With pooling this holds only for lengths that are a multiple of the stride.

    Attributes:
        together: Whether both strands pass through the encoder as one batch. DeepLIFT pairs the
            halves of a batch, so it needs one strand after the other.
    """

    symmetric = True
    together = True

    def __init__(self, encoder: Encoder, alphabet: Alphabet) -> None:
        nn.Module.__init__(self)
        self.encoder = encoder
        self.alphabet = alphabet
        self.n_out = 2 * encoder.n_out
        self.stride = encoder.stride
        self.reach = encoder.reach
        # raises for an alphabet without a complement
        reverse_complement(torch.zeros(1, 1, dtype=torch.uint8), alphabet)

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the shared encoder."""
        return self.encoder.n_blocks

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N M C"]:
        """Return the encodings of both strands, position by position."""
        turned = reverse_complement(x, self.alphabet, pad)
        if self.together:
            n = x.shape[0]
            both = torch.cat([x, turned])
            both = self.encoder(both, None if pad is None else torch.cat([pad, pad]))
            this, other = both[:n], both[n:]  # torch.export cannot divide an unknown number by two
        else:
            this, other = self.encoder(x, pad), self.encoder(turned, pad)
        return torch.cat([this, reverse_outputs(other, self.out_pad(pad))], -1)

    def depth(self, name: str) -> int:
        """Return the depth of a parameter of the shared encoder."""
        return self.encoder.depth(name.removeprefix("encoder."))


def swap_strands(encoded: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
    """Return the encoding as seen from the other strand, at the same positions."""
    this, other = encoded.chunk(2, -1)
    return torch.cat([other, this], -1)
