"""What can be set: hyperparameters, their definitions, and how values are read and named.

First in the flow: everything that is built takes an Hparams object. Light: nothing here imports
more than the standard library. seqmodel.hparam.resolve selects the classes that a run needs.
"""

from seqmodel.errors import HparamError
from seqmodel.hparam.canonical import canonical_str
from seqmodel.hparam.convert import changed_hparams, parse_args, parse_dict, to_args, to_dict
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import integer, number, path, str2bool

__all__ = [
    "HparamError",
    "HparamParser",
    "Hparams",
    "canonical_str",
    "changed_hparams",
    "integer",
    "number",
    "parse_args",
    "parse_dict",
    "path",
    "str2bool",
    "to_args",
    "to_dict",
]
