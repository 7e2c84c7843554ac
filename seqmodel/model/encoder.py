"""The base class of all encoders: tokens or one-hot in, one vector a position (or a bin) out.

Second in the flow, after the dataset: decoders read what encoders write. Holds what every encoder
shares: its declared output width, its stride, and how padding follows the sequence through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqmodel.errors import HparamError

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class Encoder(nn.Module):
    """Base of the encoders: `forward(x, pad) -> [N, L', C]`, L' = ceil(L / stride).

    `x` is token ids [N, L] or float one-hot [N, L, A]. `pad` is True where a row has ended: padding
    stands at the end of a row, and what comes out at the other positions does not depend on it.

    Attributes:
        n_out: channels C of the output.
        stride: positions of the input for one of the output.
        causal: whether position i sees positions 0..i only.
        symmetric: whether the encoding of the reverse complement is that of the sequence, with
            its positions and the two halves of its channels swapped.
        n_blocks: depth, in blocks that can be frozen and given their own learning rate.
        has_causal: class attribute; whether `--causal=True` is possible.
    """

    n_out: int
    stride: int = 1
    causal: bool = False
    symmetric: bool = False
    n_blocks: int = 0
    has_causal: bool = False

    def __init__(self, hparams: Hparams) -> None:
        super().__init__()
        self.causal = hparams.causal
        self.checkpointing = hparams.checkpoint_activations
        if self.causal and not self.has_causal:
            raise HparamError(
                f"--causal=True: {type(self).__name__} sees both sides of a position; choose "
                "--encoder=transformer, dilated_conv or hyena"
            )

    def out_pad(self, pad: Bool[Tensor, "N L"] | None) -> Bool[Tensor, "N M"] | None:
        """Which positions of the output are padding, given those of the input."""
        # padding stands at the end, so a bin is padding if its first position is
        return pad if pad is None or self.stride == 1 else pad[:, :: self.stride]

    def run_blocks(self, x: Tensor, pad: Tensor | None) -> Tensor:
        """`x` through `self.blocks`; with `checkpointing`, activations are computed again later."""
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, pad, use_reentrant=False)
            else:
                x = block(x, pad)
            stride = getattr(block, "stride", 1)
            pad = pad if pad is None or stride == 1 else pad[:, ::stride]
        return x

    def depth(self, name: str) -> int:
        """Depth of a parameter: 0 the embedding, 1..n_blocks the blocks, n_blocks + 1 the rest."""
        head, _, rest = name.partition(".")
        if head == "blocks":
            return int(rest.partition(".")[0]) + 1
        return 0 if head == "embed" else self.n_blocks + 1


class OneHot(nn.Module):
    """One-hot [N, L, A], made on the device from token ids; one-hot input passes through."""

    def __init__(self, alphabet: Alphabet) -> None:
        super().__init__()
        table = torch.from_numpy(alphabet.one_hot_table())
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"]) -> Float[Tensor, "N L A"]:
        """The one-hot rows of `x`."""
        if x.is_floating_point():
            return x
        return nn.functional.embedding(x.int(), self.table)


class LetterEmbedding(nn.Module):
    """A vector a letter, and one for "no letter known": affine in the one-hot input.

    embed(x) = x @ letters + (1 - sum(x)) * unknown, so that ids and one-hot agree, a mask is the
    all-zeros row, and an unknown letter is the mean of the letters or the same as a mask,
    as the alphabet says. Being affine it can be attributed to.
    """

    def __init__(self, alphabet: Alphabet, n_dims: int) -> None:
        super().__init__()
        table = torch.from_numpy(alphabet.one_hot_table())
        missing = 1.0 - table.sum(1, keepdim=True)
        self.register_buffer("table", torch.cat([table, missing], 1), persistent=False)
        self.weight = nn.Parameter(torch.randn(alphabet.n_letters + 1, n_dims))

    def forward(self, x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"]) -> Float[Tensor, "N L C"]:
        """The embedding of ids or one-hot rows."""
        if x.is_floating_point():
            missing = 1.0 - x.sum(-1, keepdim=True)
            return torch.cat([x, missing], -1) @ self.weight
        return nn.functional.embedding(x.int(), self.table @ self.weight)
