"""Transformer encoder: pre-norm blocks of self-attention and feed-forward layers.

Vaswani et al. 2017, with the norm before each branch (Xiong et al. 2020), rotary positions (Su et
al. 2021), RMSNorm (Zhang and Sennrich 2019) and SwiGLU (Shazeer 2020) as options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from seqmodel.model.attention import SelfAttention
from seqmodel.model.encoder import Encoder, LetterEmbedding

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class TransformerEncoder(Encoder):
    """Embedding, `n_layers` blocks, a final norm: [N, L] -> [N, L, n_dims]."""

    has_causal = True

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        self.n_out = hparams.n_dims
        self.embed = LetterEmbedding(alphabet, hparams.n_dims)
        blocks = [TransformerBlock(hparams) for _ in range(hparams.n_layers)]
        self.blocks = nn.ModuleList(blocks)
        if hparams.attention_window is not None:
            self.reach = hparams.n_layers * hparams.attention_window
        self.norm = make_norm(hparams.norm, hparams.n_dims)
        self._initialise(blocks)

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N L C"]:
        """Return the encoding of each position."""
        return self.norm(self.run_blocks(self.embed(x), pad))

    def _initialise(self, blocks: Sequence[TransformerBlock]) -> None:
        # branches start small so that the sum of two in each block keeps its scale (GPT-2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                nn.init.zeros_(module.bias)
        for block in blocks:
            for last in (block.attention.out, block.feed_forward.out):
                last.weight.data.mul_((2 * len(blocks)) ** -0.5)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, hparams: Hparams) -> None:
        super().__init__()
        n_dims, n_ff = hparams.n_dims, hparams.n_ff or 4 * hparams.n_dims
        self.attention_norm = make_norm(hparams.norm, n_dims)
        self.attention = SelfAttention(
            n_dims,
            hparams.n_heads,
            rotary=hparams.rotary,
            rotary_base=hparams.rotary_base,
            causal=hparams.causal,
            window=hparams.attention_window,
        )
        self.attention_dropout = nn.Dropout(hparams.dropout)
        self.feed_forward_norm = make_norm(hparams.norm, n_dims)
        self.feed_forward = FeedForward(n_dims, n_ff, gated=hparams.feed_forward == "swiglu")
        self.feed_forward_dropout = nn.Dropout(hparams.dropout)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Apply the block to `x`."""
        x = x + self.attention_dropout(self.attention(self.attention_norm(x), pad))
        return x + self.feed_forward_dropout(self.feed_forward(self.feed_forward_norm(x)))


class FeedForward(nn.Module):
    """Linear, GELU, linear; or SwiGLU: a linear layer of SiLU(gate(x)) * value(x)."""

    def __init__(self, n_dims: int, n_hidden: int, *, gated: bool = False) -> None:
        super().__init__()
        self.gated = gated
        self.hidden = nn.Linear(n_dims, n_hidden * (2 if gated else 1))
        self.activation = nn.SiLU() if gated else nn.GELU()
        self.out = nn.Linear(n_hidden, n_dims)

    def forward(self, x: Float[Tensor, "N L C"]) -> Float[Tensor, "N L C"]:
        """Apply the layer to each position."""
        x = self.hidden(x)
        if self.gated:
            gate, value = x.chunk(2, -1)
            return self.out(self.activation(gate) * value)
        return self.out(self.activation(x))


def make_norm(name: str, n_dims: int) -> nn.Module:
    """Build a `layer` or `rms` normalisation over the last axis."""
    return nn.RMSNorm(n_dims, eps=1e-5) if name == "rms" else nn.LayerNorm(n_dims)
