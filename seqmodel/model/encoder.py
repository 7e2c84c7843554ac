"""The base class of all encoders: from tokens or one-hot to one vector per position (or bin).

Second in the flow, after the dataset; decoders read the output of encoders. This class holds what
all encoders share: the declared output width, the stride, and the handling of padding.
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
    """Base class of all encoders: `forward(x, pad) -> [N, L', C]`, L' = ceil(L / stride).

    `x` is token ids [N, L] or float one-hot [N, L, A]. `pad` is True after the end of a row:
    padding is at the end, and the output at the other positions must not depend on it.
    A subclass sets `n_out`, and `stride` unless it is 1. The modules `embed` and `blocks` (an
    nn.ModuleList, applied by `run_blocks`) can be frozen, can have their own learning rates, and
    are recomputed with `checkpoint_activations`; without `blocks` these options raise an error.

    Attributes:
        n_out: Number of channels C of the output.
        stride: Number of input positions for each output position.
        reach: Number of input positions on each side of an output bin that can change the output:
            output j is a function of j * stride - reach to (j + 1) * stride - 1 + reach, the same
            function everywhere except at the ends. None if there is no such number.
        causal: Whether position i sees only positions 0..i.
        symmetric: Whether the encoding of the reverse complement equals that of the sequence
            with reversed positions and swapped halves of the channels.
        has_causal: Class attribute: whether the encoder supports `--causal=True`.
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
        """Number of blocks; 0 for an encoder without `blocks`."""
        return len(getattr(self, "blocks", ()))

    def __call__(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return the result of `forward` after a check of its shape against `n_out` and `stride`.

        Raises:
            ModelError: The shape differs.
        """
        encoded = super().__call__(x, pad)
        declared = (x.shape[0], -(-x.shape[1] // self.stride), self.n_out)
        if encoded.shape != declared:
            raise ModelError(
                f"{type(self).__name__}.forward returns {list(encoded.shape)} for {x.shape[1]} "
                f"positions; n_out={self.n_out} and stride={self.stride} declare {list(declared)}: "
                "correct whichever of the three is wrong"
            )
        return encoded

    def require_blocks(self, option: str, n: int = 1) -> None:
        """Check that the encoder has the `n` blocks that `option` needs.

        Raises:
            HparamError: It has fewer blocks; the message says what to change.
        """
        if not self.n_blocks and n:
            raise HparamError(
                f"{option}, but the encoder has no blocks; put its layers into self.blocks, an "
                "nn.ModuleList, and apply them with self.run_blocks"
            )
        if self.n_blocks < n:
            raise HparamError(f"{option}, but the encoder has {self.n_blocks} blocks")

    def out_pad(self, pad: Bool[Tensor, "N L"] | None) -> Bool[Tensor, "N M"] | None:
        """Return the padding mask of the output for the padding mask of the input."""
        # padding is at the end, so a bin is padding if its first position is
        return pad if pad is None or self.stride == 1 else pad[:, :: self.stride]

    def run_blocks(self, x: Tensor, pad: Tensor | None) -> Tensor:
        """Apply `self.blocks` to `x`; `checkpointing` recomputes activations for the gradient."""
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, pad, use_reentrant=False)
            else:
                x = block(x, pad)
            stride = getattr(block, "stride", 1)
            pad = pad if pad is None or stride == 1 else pad[:, ::stride]
        return x

    def depth(self, name: str) -> int:
        """Return the depth of a parameter: 0 for `embed`, 1..n_blocks, n_blocks + 1 for others."""
        head, _, rest = name.partition(".")
        if head == "blocks":
            return int(rest.partition(".")[0]) + 1
        return 0 if head == "embed" else self.n_blocks + 1


def check_encoder(encoder: object) -> None:
    """Check that an encoder declares the required attributes.

    Raises:
        ModelError: An attribute is missing or invalid; the message names it and the class.
    """
    name = type(encoder).__name__
    if not isinstance(encoder, Encoder):
        raise ModelError(f"{name} is not an encoder: derive it from seqmodel.model.Encoder")
    wanted = {
        "n_out": "the number of channels that forward returns",
        "stride": "the number of input positions for each output position",
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
            f"{name}.blocks is a {type(blocks).__name__}: make it an nn.ModuleList so that its "
            "parameters are found and run_blocks can apply them"
        )


class OneHot(nn.Module):
    """One-hot [N, L, A], computed on the device from token ids; one-hot input passes unchanged."""

    table: Tensor

    def __init__(self, alphabet: Alphabet) -> None:
        super().__init__()
        table = torch.from_numpy(alphabet.one_hot_table())
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"]) -> Float[Tensor, "N L A"]:
        """Return the one-hot rows of `x`."""
        if x.is_floating_point():
            return x
        return nn.functional.embedding(x.int(), self.table)


class LetterEmbedding(nn.Module):
    """A vector for each symbol and one for "unknown": affine in the one-hot input.

    `embed(x) = x @ letters + (1 - sum(x)) * unknown`, so ids and one-hot agree and a mask is the
    all-zeros row. The alphabet decides whether an unknown symbol is the mean of the symbols or the
    same as a mask. Attribution methods need the map to be affine.
    """

    table: Tensor

    def __init__(self, alphabet: Alphabet, n_dims: int) -> None:
        super().__init__()
        table = torch.from_numpy(alphabet.one_hot_table())
        missing = 1.0 - table.sum(1, keepdim=True)
        self.register_buffer("table", torch.cat([table, missing], 1), persistent=False)
        self.weight = nn.Parameter(torch.randn(alphabet.n_letters + 1, n_dims))

    def forward(self, x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"]) -> Float[Tensor, "N L C"]:
        """Return the embedding of ids or one-hot rows."""
        if x.is_floating_point():
            missing = 1.0 - x.sum(-1, keepdim=True)
            return torch.cat([x, missing], -1) @ self.weight
        return nn.functional.embedding(x.int(), self.table @ self.weight)
