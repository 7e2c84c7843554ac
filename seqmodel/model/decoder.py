"""Decoders: from the encoder's vectors to the outputs of a task, per position or per sequence.

Third in the flow. Decoders are linear unless `n_decoder_dims` adds a hidden layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_max_pool1d

from seqmodel.errors import HparamError

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams


class PositionDecoder(nn.Module):
    """One output per position: [N, L, C] -> [N, L, T]."""

    per_position = True

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.head = make_head(hparams, n_in, n_out)

    def forward(
        self, encoded: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L T"]:
        """Return the outputs at each position."""
        return self.head(encoded)


class PooledDecoder(nn.Module):
    """One output per sequence: [N, L, C] -> [N, T], from positions that are not padding."""

    per_position = False

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.pool = hparams.pool
        self.score = nn.Linear(n_in, 1) if self.pool == "attention" else None
        self.head = make_head(hparams, n_in, n_out)

    def forward(
        self, encoded: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N T"]:
        """Return the outputs for each sequence."""
        return self.head(self.pooled(encoded, pad))

    def pooled(
        self, encoded: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N C"]:
        """Pool the positions of each sequence into one vector."""
        if self.pool == "first":
            return encoded[:, 0]
        if self.pool == "max":
            return _fill(encoded, pad, -torch.inf).amax(1)
        if self.score is not None:
            weight = _fill(self.score(encoded), pad, -torch.inf).softmax(1)
            return (weight * encoded).sum(1)
        n_known = encoded.shape[1] if pad is None else (~pad).sum(1, keepdim=True).clamp(min=1)
        return _fill(encoded, pad, 0.0).sum(1) / n_known


class BinnedDecoder(nn.Module):
    """One output per sequence that depends on positions: [N, L, C] -> [N, T].

    The positions are pooled into `n_bins` bins of equal width (as in torch's adaptive pooling), and
    each bin has its own weights. If `n_bins` equals the number of positions, nothing is pooled.
    """

    per_position = False

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.n_bins, self.pool = hparams.n_bins, hparams.bin_pool
        self.head = make_head(hparams, self.n_bins * n_in, n_out)

    def forward(
        self, encoded: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N T"]:
        """Return the outputs for each sequence; a bin that is all padding is zeros.

        Raises:
            HparamError: The encoder returns fewer positions than bins.
        """
        if encoded.shape[1] < self.n_bins:
            raise HparamError(
                f"--n_bins={self.n_bins}, but the encoder returns {encoded.shape[1]} positions; "
                f"set --n_bins={encoded.shape[1]} or less"
            )
        return self.head(self.binned(encoded, pad).flatten(1))

    def binned(
        self, encoded: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N C B"]:
        """Return the bins, channels first."""
        if self.pool == "max":
            bins = adaptive_max_pool1d(_fill(encoded, pad, -torch.inf).mT, self.n_bins)
            return bins if pad is None else bins.masked_fill(bins.isneginf(), 0.0)
        bins = adaptive_avg_pool1d(_fill(encoded, pad, 0.0).mT, self.n_bins)
        if pad is None:
            return bins
        known = adaptive_avg_pool1d((~pad).to(bins.dtype)[:, None], self.n_bins)
        return bins / known.clamp(min=torch.finfo(bins.dtype).tiny)


class ProfileDecoder(nn.Module):
    """One output per bin: [N, L, C] -> [N, L / bin_positions - 2 crop_bins, T]."""

    per_position = True

    def __init__(self, hparams: Hparams, n_in: int, n_out: int) -> None:
        super().__init__()
        self.size, self.n_cropped = hparams.bin_positions or 1, hparams.crop_bins
        self.head = make_head(hparams, n_in, n_out)

    def forward(
        self, encoded: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N B T"]:
        """Return the outputs of each bin that is not cropped.

        Raises:
            HparamError: The positions do not divide into whole bins, or no bin is left.
        """
        self.n_bins(encoded.shape[1])
        bins = encoded.unflatten(1, (-1, self.size)).mean(2)
        return self.head(self._crop(bins))

    def n_bins(self, n_positions: int) -> int:
        """Return the number of bins for a number of encoder positions.

        Raises:
            HparamError: The positions do not divide into whole bins, or no bin is left.
        """
        n_bins, rest = divmod(n_positions, self.size)
        if rest or n_bins <= 2 * self.n_cropped:
            raise HparamError(
                f"--decoder=profile: the {n_positions} positions of the encoder give {n_bins} bins "
                f"of --bin_positions={self.size} and {rest} left over; set them so that bins "
                f"remain after cropping --crop_bins={self.n_cropped} at each end, no rest"
            )
        return n_bins - 2 * self.n_cropped

    def out_pad(self, pad: Bool[Tensor, "N L"] | None) -> Bool[Tensor, "N B"] | None:
        """Return the mask of bins that contain padding."""
        return None if pad is None else self._crop(pad.unflatten(1, (-1, self.size)).any(2))

    def _crop(self, bins: Tensor) -> Tensor:
        return bins[:, self.n_cropped : bins.shape[1] - self.n_cropped]


def make_head(hparams: Hparams, n_in: int, n_out: int) -> nn.Module:
    """Build dropout and a linear layer, or dropout and two linear layers with a GELU between.

    The last layer starts small, so the initial outputs are near 0 and all classes nearly equal.
    """
    last = nn.Linear(hparams.n_decoder_dims or n_in, n_out)
    nn.init.normal_(last.weight, std=0.1 * last.in_features**-0.5)
    nn.init.zeros_(last.bias)
    layers: list[nn.Module] = []
    if hparams.decoder_dropout:
        layers.append(nn.Dropout(hparams.decoder_dropout))
    if hparams.n_decoder_dims:
        layers += [nn.Linear(n_in, hparams.n_decoder_dims), nn.GELU()]
    return nn.Sequential(*layers, last) if layers else last


def _fill(x: Tensor, pad: Tensor | None, value: float) -> Tensor:
    return x if pad is None else x.masked_fill(pad[:, :, None], value)
