"""Hparams classes for tests, of every type that a hyperparameter can have."""

from seqmodel.hparam import Hparams, integer, number, str2bool
from seqmodel.hparam.value import path


class BaseHparams(Hparams):
    """What all have."""

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--depth", type=integer(1), default=4, help="blocks")
        parser.add_argument("--lr", type=number(0), default=1e-3, help="learning rate, in % too")
        parser.add_argument("--shift", type=float, default=0.0, help="any number")


class FullHparams(BaseHparams):
    """All types."""

    name = "full"

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--label", default="x", help="free text")
        parser.add_argument("--path", help="free text or not set")
        parser.add_argument("--flag", type=str2bool, default=False, help="yes or no")
        parser.add_argument("--norm", choices=["layer", "rms"], default="layer", help="choice")
        parser.add_argument("--files", nargs="*", help="list of text")
        parser.add_argument("--sizes", type=integer(), nargs="*", default=[1, 2], help="numbers")
        parser.add_argument("--genome", type=path(), help="file")
        parser.add_argument("--tables", type=path(), nargs="*", help="files")
        parser.add_argument("--limit", type=integer(0, 10), help="whole number or not set")


class WhereHparams(Hparams):
    """Untracked."""

    tracked = False

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--n_threads", type=integer(1), default=1, help="threads")
