"""The decoder `flat`: a weight for each position, for sequences that are aligned. Light.

A plugin of the tables (`--plugins=flat_hparams`, with this folder on PYTHONPATH): pooling forgets
where in the sequence a motif stands, which is what splice sites, core promoters and proteins of one
length differ by.
"""

from __future__ import annotations

from argparse import Namespace

from seqmodel.hparam import integer
from seqmodel.hparam.hparams import HparamParser
from seqmodel.hparam.model import DecoderHparams


class FlatHparams(DecoderHparams):
    """One output a sequence, from all positions at once; all sequences have the same length."""

    name = "flat"
    target = "flat_model:FlatDecoder"

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        """Adds the number of positions, which the weights depend on."""
        parser.add_argument(
            "--n_positions",
            type=integer(1),
            default=1,
            help="positions of the encoder's output: sequence length over the encoder's stride, "
            "rounded up",
        )

    @classmethod
    def check(cls, values: Namespace) -> None:
        """Nothing can be told before the encoder is built."""
