"""A convolution that detects motifs, then a bidirectional LSTM that models their order.

After DanQ (Quang and Xie 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Integer
from torch import Tensor, nn

from seqmodel.model.cnn import PaddedMaxPool
from seqmodel.model.conv import SameConv
from seqmodel.model.encoder import Encoder, OneHot
from seqmodel.model.recurrent import run_rows

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams


class ConvLstmEncoder(Encoder):
    """Convolution, ReLU, max pooling, `n_layers` bidirectional LSTMs: [N, L] -> [N, L', n_dims]."""

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        n_dims = hparams.n_dims
        self.n_out = n_dims
        self.stride = hparams.pool_size
        self.one_hot = OneHot(alphabet)
        self.embed = SameConv(alphabet.n_letters, n_dims, hparams.first_kernel_size)
        self.activation = nn.ReLU()
        self.pool = PaddedMaxPool(hparams.pool_size)
        self.dropout = nn.Dropout(hparams.dropout)
        self.blocks = nn.ModuleList(
            LstmBlock(n_dims, hparams.dropout) for _ in range(hparams.n_layers)
        )

    def forward(
        self,
        x: Integer[Tensor, "N L"] | Float[Tensor, "N L A"],
        pad: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N M C"]:
        """Return the encoding of each bin of `pool_size` positions."""
        x = self.activation(self.embed(self.one_hot(x), pad))
        return self.run_blocks(self.dropout(self.pool(x, pad)), self.out_pad(pad))


class LstmBlock(nn.Module):
    """A bidirectional LSTM, with half of the channels for each direction, and dropout."""

    def __init__(self, n_dims: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_dims, n_dims // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Return the states of both directions at each position."""
        return self.dropout(run_rows(self.lstm, x, pad))
