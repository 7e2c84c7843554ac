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

from seqmodel.errors import HparamError, ModelError

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class Encoder(nn.Module):
    """Base of the encoders: `forward(x, pad) -> [N, L', C]`, L' = ceil(L / stride).

    `x` is token ids [N, L] or float one-hot [N, L, A]. `pad` is True where a row has ended: padding
    is at the end of a row, and what comes out at the other positions does not depend on it.
    A subclass sets `n_out`, and `stride` unless it is 1. What it holds as `embed` and as `blocks`
    (an nn.ModuleList, applied by `run_blocks`) can be frozen, has learning rates of its own and is
    computed again if `checkpoint_activations`; without `blocks` those options are refused.

    Attributes:
        n_out: channels C of the output.
        stride: positions of the input for one of the output.
        reach: positions of the input on each side of those of an output that can change it, so
            that output j is a function of j * stride - reach to (j + 1) * stride - 1 + reach, the
            same at any place that is not at an end; None if there is no such number.
        causal: whether position i sees positions 0..i only.
        symmetric: whether the encoding of the reverse complement is that of the sequence, with
            its positions and the two halves of its channels swapped.
        has_causal: class attribute; whether `--causal=True` is possible.
    """

    n_out: int
    stride: int = 1
    reach: int | None = None
    causal: bool = False
    symmetric: bool = False
    has_causal: bool = False
    blocks: nn.ModuleList

    def __init__(self, hparams: Hparams) -> None:
        super().__init__()
        self.causal = hparams.causal
        self.checkpointing = hparams.checkpoint_activations
        if self.causal and not self.has_causal:
            raise HparamError(
                f"--causal=True: {type(self).__name__} sees both sides of a position; choose "
                "--encoder=transformer, dilated_conv or hyena"
            )

    @property
    def n_blocks(self) -> int:
        """Depth, in blocks; 0 for an encoder without `blocks`."""
        return len(getattr(self, "blocks", ()))

    def __call__(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """What `forward` gives, if it has the shape that `n_out` and `stride` declare.

        Raises:
            ModelError: it has another one.
        """
        encoded = super().__call__(x, pad)
        declared = (x.shape[0], -(-x.shape[1] // self.stride), self.n_out)
        if encoded.shape != declared:
            raise ModelError(
                f"{type(self).__name__}.forward gives {list(encoded.shape)} for {x.shape[1]} "
                f"positions; n_out={self.n_out} and stride={self.stride} declare {list(declared)}: "
                "correct what is wrong of the three"
            )
        return encoded

    def require_blocks(self, option: str, n: int = 1) -> None:
        """Refuses `option` where there are fewer than `n` blocks.

        Raises:
            HparamError: with what to change.
        """
        if not self.n_blocks and n:
            raise HparamError(
                f"{option}, but the encoder has no blocks; put its layers into self.blocks, an "
                "nn.ModuleList, and apply them by self.run_blocks"
            )
        if self.n_blocks < n:
            raise HparamError(f"{option}, but the encoder has {self.n_blocks} blocks")

    def out_pad(self, pad: Bool[Tensor, "N L"] | None) -> Bool[Tensor, "N M"] | None:
        """Which positions of the output are padding, given those of the input."""
        # padding is at the end, so a bin is padding if its first position is
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


def check_encoder(encoder: object) -> None:
    """Refuses an encoder that does not declare what others rely on.

    Raises:
        ModelError: with what is missing, and in which class.
    """
    name = type(encoder).__name__
    if not isinstance(encoder, Encoder):
        raise ModelError(f"{name} is no encoder: derive it from seqmodel.model.Encoder")
    wanted = {
        "n_out": "the number of channels that forward gives",
        "stride": "the number of positions of the input for one of the output",
    }
    for attribute, meaning in wanted.items():
        value = getattr(encoder, attribute, None)
        if value is None:
            raise ModelError(f"{name} has no {attribute}: set self.{attribute} to {meaning}")
        if type(value) is not int or value < 1:
            raise ModelError(f"{name}.{attribute} is {value!r}: set it to {meaning}, 1 or more")
    if encoder.reach is not None and (type(encoder.reach) is not int or encoder.reach < 0):
        raise ModelError(
            f"{name}.reach is {encoder.reach!r}: set it to the number of positions on each side "
            "that can change an output, or to None"
        )
    blocks = getattr(encoder, "blocks", None)
    if not isinstance(blocks, nn.ModuleList | None):
        raise ModelError(
            f"{name}.blocks is a {type(blocks).__name__}: make it an nn.ModuleList, so that its "
            "parameters are found and run_blocks can apply them"
        )


class OneHot(nn.Module):
    """One-hot [N, L, A], made on the device from token ids; one-hot input passes through."""

    table: Tensor

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

    table: Tensor

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
