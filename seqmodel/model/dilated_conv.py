"""Dilated residual convolutions: a receptive field that doubles with each block.

After ByteNet (Kalchbrenner et al. 2016; norm, GELU, dilated convolution, residual) and BPNet (Avsec
et al. 2021; a wide first convolution over one-hot input that detects motifs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from seqmodel.model.conv import SameConv
from seqmodel.model.encoder import Encoder, OneHot

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class DilatedConvEncoder(Encoder):
    """A wide convolution, `n_layers` dilated blocks, a final norm: [N, L] -> [N, L, n_dims]."""

    has_causal = True

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        n_dims = hparams.n_dims
        self.n_out = n_dims
        self.one_hot = OneHot(alphabet)
        self.embed = SameConv(
            alphabet.n_letters, n_dims, hparams.first_kernel_size, causal=self.causal
        )
        blocks = [
            DilatedBlock(
                n_dims,
                hparams.kernel_size,
                dilation=2 ** (i % hparams.dilation_cycle),
                dropout=hparams.dropout,
                causal=self.causal,
            )
            for i in range(hparams.n_layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.reach = self.embed.reach + sum(block.conv.reach for block in blocks)
        self.norm = nn.LayerNorm(n_dims)
        for block in blocks:
            # branches start small so that their sum keeps its scale, as in the transformer
            block.out.weight.data.mul_(hparams.n_layers**-0.5)

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N L C"]:
        """Return the encoding of each position."""
        x = self.embed(self.one_hot(x), pad)
        return self.norm(self.run_blocks(x, pad))


class DilatedBlock(nn.Module):
    """x + out(gelu(conv(gelu(norm(x))))), with `conv` dilated and `out` over channels."""

    def __init__(
        self, n_dims: int, kernel_size: int, *, dilation: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_dims)
        self.activation = nn.GELU()
        self.conv = SameConv(n_dims, n_dims, kernel_size, dilation=dilation, causal=causal)
        self.conv_activation = nn.GELU()
        self.out = nn.Linear(n_dims, n_dims)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Apply the block to `x`."""
        branch = self.conv(self.activation(self.norm(x)), pad)
        return x + self.dropout(self.out(self.conv_activation(branch)))
