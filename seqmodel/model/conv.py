"""Convolutions over [N, L, C] that keep the length and ignore padding."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn


class SameConv(nn.Conv1d):
    """A convolution over [N, L, C] that keeps the length and treats padding as zeros.

    A causal convolution is padded on the left only, so an output sees its own position and earlier
    ones. No output sees more than `reach` positions on a side.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        causal: bool = False,
    ) -> None:
        width = dilation * (kernel_size - 1)
        # a causal convolution is padded on both sides by the whole width; the right end is cut off
        super().__init__(
            n_in,
            n_out,
            kernel_size,
            dilation=dilation,
            groups=groups,
            bias=bias,
            padding=width if causal else width // 2,
        )
        self.reach = width if causal else width // 2

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L D"]:
        """Return the convolution at each position."""
        seq_len = x.shape[1]
        x = zero_padding(x, pad).transpose(1, 2)
        return super().forward(x)[:, :, :seq_len].transpose(1, 2)


def zero_padding(
    x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None
) -> Float[Tensor, "N L C"]:
    """Return `x` with zeros where `pad` is True."""
    return x if pad is None else x.masked_fill(pad[:, :, None], 0.0)
