"""An encoder from outside of the package: `--plugins=examples.gru_hparams --encoder=gru`."""

from torch import Tensor, nn

from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.hparam import Hparams
from seqmodel.model import Encoder
from seqmodel.model.encoder import LetterEmbedding
from seqmodel.model.recurrent import run_rows


class GruEncoder(Encoder):
    """Embedding, `n_layers` blocks of a GRU (Cho et al. 2014): [N, L] -> [N, L, n_dims]."""

    has_causal = True

    def __init__(self, hparams: Hparams, alphabet: Alphabet) -> None:
        super().__init__(hparams)
        self.n_out = hparams.n_dims
        self.embed = LetterEmbedding(alphabet, hparams.n_dims)
        self.blocks = nn.ModuleList(GruBlock(hparams) for _ in range(hparams.n_layers))

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """The encoding of each position."""
        return self.run_blocks(self.embed(x), pad)


class GruBlock(nn.Module):
    """x + out(gru(x)); in both directions unless it is causal."""

    def __init__(self, hparams: Hparams) -> None:
        super().__init__()
        n_directions = 1 if hparams.causal else 2
        self.gru = nn.GRU(
            hparams.n_dims, hparams.n_gru_dims, batch_first=True, bidirectional=n_directions == 2
        )
        self.out = nn.Linear(n_directions * hparams.n_gru_dims, hparams.n_dims)
        self.dropout = nn.Dropout(hparams.dropout)

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Apply the block to `x`; values under the padding have no effect."""
        return x + self.dropout(self.out(run_rows(self.gru, x, pad)))
