"""Convolutions with pooling: motifs, then combinations of motifs, at decreasing resolution.

After DeepSEA (Zhou and Troyanskaya 2015), Basset (Kelley et al. 2016) and DeepSTARR (de Almeida et
al. 2022): blocks of convolution, batch norm, ReLU, max pooling. The dense layers on top are in the
decoder (`--n_decoder_dims`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from seqmodel.model.conv import SameConv
from seqmodel.model.encoder import Encoder, OneHot

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class CnnEncoder(Encoder):
    """`n_layers` blocks that each pool `pool_size` positions: [N, L] -> [N, L', n_dims]."""

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        n_dims = hparams.n_dims
        self.n_out = n_dims
        self.stride = hparams.pool_size**hparams.n_layers
        self.one_hot = OneHot(alphabet)
        blocks = [
            PooledConv(
                n_dims if i else alphabet.n_letters,
                n_dims,
                hparams.kernel_size if i else hparams.first_kernel_size,
                pool_size=hparams.pool_size,
                dropout=hparams.dropout,
            )
            for i in range(hparams.n_layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.reach = sum(x.conv.reach * hparams.pool_size**i for i, x in enumerate(blocks))

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N M C"]:
        """Return the encoding of each bin of `stride` positions."""
        return self.run_blocks(self.one_hot(x), pad)


class PooledConv(nn.Module):
    """Convolution, batch norm, ReLU, max pooling, dropout over [N, L, C]."""

    def __init__(
        self, n_in: int, n_out: int, kernel_size: int, *, pool_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.stride = pool_size
        self.conv = SameConv(n_in, n_out, kernel_size, bias=False)
        self.norm = PaddedBatchNorm(n_out)
        self.activation = nn.ReLU()
        self.pool = PaddedMaxPool(pool_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N M D"]:
        """Apply the block to `x`."""
        x = self.activation(self.norm(self.conv(x, pad), pad))
        return self.dropout(self.pool(x, pad))


class PaddedBatchNorm(nn.BatchNorm1d):
    """Batch norm over [N, L, C] whose statistics leave out padding."""

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Return `x`, normalised channel by channel."""
        if pad is None or not self.training:
            return super().forward(x.transpose(1, 2)).transpose(1, 2)
        known = ~pad
        return torch.zeros_like(x).masked_scatter(known[:, :, None], super().forward(x[known]))


class PaddedMaxPool(nn.Module):
    """Maximum over bins of [N, L, C]; padding is ignored, and the last bin may be shorter."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(size, ceil_mode=True)  # a module, for DeepLIFT's rule
        self.size = size

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N M C"]:
        """Return the maximum of each bin; 0 for bins that are all padding."""
        if pad is not None:
            x = x.masked_fill(pad[:, :, None], torch.finfo(x.dtype).min)
        x = self.pool(x.transpose(1, 2)).transpose(1, 2)
        return x if pad is None else x.masked_fill(pad[:, :: self.size, None], 0.0)
