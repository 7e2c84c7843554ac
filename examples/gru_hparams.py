"""What can be set about the encoder in gru_model.py: a plugin. Light: no torch here."""

from seqmodel.hparam import HparamParser, integer
from seqmodel.hparam.model import EncoderHparams


class GruHparams(EncoderHparams):
    """Gated recurrent units (Cho et al. 2014), one output a position."""

    name = "gru"
    target = "examples.gru_model:GruEncoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        """Adds what is not in EncoderHparams."""
        parser.add_argument(
            "--n_gru_dims", type=integer(1), default=64, help="channels of each direction"
        )
