"""All options of the command line, from the classes that declare them."""

import importlib
import pkgutil
from functools import cache

import seqmodel.cli
import seqmodel.hparam
from seqmodel.cli import calibrate, data
from seqmodel.hparam.hparams import Hparams


@cache
def options():
    """Every option of a run, a job and a verb, as Hparam objects."""
    found = {}
    for package in (seqmodel.hparam, seqmodel.cli):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            if module.name != "seqmodel.hparam.run":  # it has moved
                for cls in vars(importlib.import_module(module.name)).values():
                    if isinstance(cls, type) and issubclass(cls, Hparams) and cls is not Hparams:
                        for hparam in cls.default_hparams().declared.values():
                            found[hparam.owner, hparam.name] = hparam
    own = [*data.OWN.values(), *calibrate.OWN.values()]
    return [*found.values(), *own]
