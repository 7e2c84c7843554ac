"""Hyena: long convolutions with implicit filters, in O(L log L) time and O(L) memory.

Poli et al. 2023 (order 2) and HyenaDNA (Nguyen et al. 2023). A filter is a small network of the
distance, times a decay with its own length for each channel. It does not depend on the length of
the input, so padding or another length changes nothing. Non-causal layers have two filters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from seqmodel.model.conv import SameConv, zero_padding
from seqmodel.model.encoder import Encoder, LetterEmbedding
from seqmodel.model.transformer import FeedForward

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams

N_WAVES = 8
N_FILTER_DIMS = 32
SHORT_KERNEL_SIZE = 3


class HyenaEncoder(Encoder):
    """Embedding, `n_layers` blocks, a final norm: [N, L] -> [N, L, n_dims]."""

    has_causal = True

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        self.n_out = hparams.n_dims
        self.embed = LetterEmbedding(alphabet, hparams.n_dims)
        blocks = [HyenaBlock(hparams) for _ in range(hparams.n_layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(hparams.n_dims)
        for block in blocks:
            # branches start small so that their sum keeps its scale, as in the transformer
            for last in (block.hyena.out, block.feed_forward.out):
                last.weight.data.mul_((2 * hparams.n_layers) ** -0.5)

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N L C"]:
        """Return the encoding of each position."""
        return self.norm(self.run_blocks(self.embed(x), pad))


class HyenaBlock(nn.Module):
    """x + hyena(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, hparams: Hparams) -> None:
        super().__init__()
        n_dims = hparams.n_dims
        self.hyena_norm = nn.LayerNorm(n_dims)
        self.hyena = HyenaOperator(n_dims, hparams.filter_length, causal=hparams.causal)
        self.hyena_dropout = nn.Dropout(hparams.dropout)
        self.feed_forward_norm = nn.LayerNorm(n_dims)
        self.feed_forward = FeedForward(n_dims, hparams.n_ff or 4 * n_dims)
        self.feed_forward_dropout = nn.Dropout(hparams.dropout)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Apply the block to `x`."""
        x = x + self.hyena_dropout(self.hyena(self.hyena_norm(x), pad))
        return x + self.feed_forward_dropout(self.feed_forward(self.feed_forward_norm(x)))


class HyenaOperator(nn.Module):
    """out(x2 * long(x1 * v)), with x1, x2 and v short convolutions of projections of the input."""

    def __init__(self, n_dims: int, filter_length: int, *, causal: bool) -> None:
        super().__init__()
        self.projection = nn.Linear(n_dims, 3 * n_dims)
        self.short = SameConv(
            3 * n_dims, 3 * n_dims, SHORT_KERNEL_SIZE, groups=3 * n_dims, causal=causal
        )
        self.forward_filter = HyenaFilter(n_dims, filter_length)
        self.backward_filter = None if causal else HyenaFilter(n_dims, filter_length)
        self.skip = nn.Parameter(torch.randn(n_dims))
        self.out = nn.Linear(n_dims, n_dims)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Return the mixture that each position receives from all (or all earlier) positions."""
        x1, x2, v = self.short(self.projection(x), pad).chunk(3, -1)
        v = zero_padding(v * x1, pad)
        after = self.forward_filter(x.shape[1])
        before = None if self.backward_filter is None else self.backward_filter(x.shape[1])
        return self.out(x2 * (long_conv(v, after, before) + v * self.skip))


class HyenaFilter(nn.Module):
    """A filter for each channel, [L, C]: a sine network of the distance, times a decay.

    Decay lengths (to 1/100) range from 4 positions to `filter_length` across the channels.
    """

    rate: Tensor
    waves: Tensor
    no_decay = True  # weight decay would pull the frequencies of the network to 0

    def __init__(self, n_dims: int, filter_length: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * N_WAVES + 1, N_FILTER_DIMS)
        self.second = nn.Linear(N_FILTER_DIMS, N_FILTER_DIMS)
        self.last = nn.Linear(N_FILTER_DIMS, n_dims, bias=False)
        self.frequency = nn.Parameter(torch.full((N_FILTER_DIMS,), 5.0))
        longest = max(filter_length, 5)
        rate = math.log(100) / torch.logspace(math.log10(4), math.log10(longest), n_dims)
        self.register_buffer("rate", rate, persistent=False)
        waves = 2 * math.pi / torch.logspace(math.log10(4), math.log10(4 * longest), N_WAVES)
        self.register_buffer("waves", waves, persistent=False)
        self.log_longest = math.log1p(longest)

    def forward(self, seq_len: int) -> Float[Tensor, "L C"]:
        """Return the filter at distances 0 .. seq_len - 1; its squares sum to about 1."""
        at = torch.arange(seq_len, device=self.rate.device, dtype=torch.float32)[:, None]
        angle = at * self.waves
        features = torch.cat([angle.sin(), angle.cos(), at.log1p() / self.log_longest], 1)
        hidden = torch.sin(self.frequency * self.first(features))
        hidden = torch.sin(self.frequency * self.second(hidden))
        # sum of exp(-2 * rate * distance) over all distances, independent of L
        scale = (1 - torch.exp(-2 * self.rate)).sqrt()
        return self.last(hidden) * torch.exp(-at * self.rate) * scale


def long_conv(
    x: Float[Tensor, "N L C"],
    after: Float[Tensor, "L C"],
    before: Float[Tensor, "L C"] | None = None,
) -> Float[Tensor, "N L C"]:
    """Compute y[i] = sum over j <= i of after[i - j] x[j] + sum over j > i of before[j - i] x[j].

    It uses FFTs that are long enough to avoid wrap-around, always in float32.
    """
    seq_len, dtype = x.shape[1], x.dtype
    n = fast_length(2 * seq_len)
    with torch.autocast(x.device.type, enabled=False):
        kernel = nn.functional.pad(after.float(), (0, 0, 0, n - seq_len))
        if before is not None:
            kernel = kernel + nn.functional.pad(
                before.float()[1:].flip(0), (0, 0, n - seq_len + 1, 0)
            )
        # channels before positions: the transform runs over contiguous memory
        spectrum = torch.fft.rfft(x.float().transpose(1, 2), n) * torch.fft.rfft(kernel.T, n)
        y = torch.fft.irfft(spectrum, n)[:, :, :seq_len]
    return y.transpose(1, 2).to(dtype)


def fast_length(n: int) -> int:
    """Return the smallest length >= `n` without a prime factor above 5, for which FFTs are fast."""
    return min(m << max(0, math.ceil(math.log2(n / m))) for m in (1, 3, 5, 9, 15))
