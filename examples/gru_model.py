"""An encoder from outside of the package: `--plugins=examples.gru_hparams --encoder=gru`."""

import torch
from torch import Tensor, nn

from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.hparam import Hparams
from seqmodel.model.encoder import Encoder, OneHot


class GruEncoder(Encoder):
    """Bidirectional GRU layers over one-hot letters: [N, L] -> [N, L, n_dims]."""

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        self.n_out = hparams.n_dims
        self.one_hot = OneHot(alphabet)
        self.gru = nn.GRU(
            alphabet.n_letters,
            hparams.n_gru_dims,
            num_layers=hparams.n_layers,
            dropout=hparams.dropout if hparams.n_layers > 1 else 0,
            bidirectional=True,
            batch_first=True,
        )
        self.out = nn.Linear(2 * hparams.n_gru_dims, hparams.n_dims)

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """The encoding of each position; rows are packed, so that padding changes nothing."""
        x = self.one_hot(x)
        if pad is None:
            return self.out(self.gru(x)[0])
        lengths = (~pad).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        hidden, _ = nn.utils.rnn.pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=x.shape[1]
        )
        return self.out(torch.where(pad[..., None], 0.0, hidden))
