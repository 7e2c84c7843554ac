"""Which Hparams classes there are: the package's own, and those of the user's plugins. Light.

The modules stand in a list: what is not named is not found, and nothing scans a folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.value import did_you_mean

MODULES = (
    "seqmodel.hparam.trainer",
    "seqmodel.hparam.task",
    "seqmodel.hparam.dataset",
    "seqmodel.hparam.model",
    "seqmodel.hparam.optim",
    "seqmodel.hparam.job",
)


def known_hparams(plugins: Iterable[str] = ()) -> list[type[Hparams]]:
    """Every Hparams class at the top level of the package's modules and of `plugins`.

    Raises:
        HparamError: a plugin cannot be imported, or two classes define one name.
    """
    classes: dict[type[Hparams], None] = {}
    for module in [import_module(name) for name in MODULES] + [_plugin(p) for p in plugins]:
        found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Hparams)]
        classes |= dict.fromkeys(c for c in found if c.__module__ == module.__name__)
    if plugins:
        check_namespace(classes)
    return list(classes)


def check_namespace(classes: Iterable[type[Hparams]]) -> HparamParser:
    """One parser with everything that `classes` define.

    Raises:
        HparamError: a hyperparameter is defined twice, or two classes have one choice name.
    """
    parser = HparamParser()
    chosen: dict[tuple[type, str], type] = {}
    for cls in classes:
        parser.add_class(cls)
        if cls.name is not None and "name" in cls.__dict__:
            first = chosen.setdefault((kind_of(cls), cls.name), cls)
            if first is not cls:
                raise HparamError(
                    f"the choice {cls.name!r} is taken by both {first.__module__}."
                    f"{first.__name__} and {cls.__module__}.{cls.__name__}; rename one"
                )
    return parser


def kind_of(cls: type[Hparams]) -> type[Hparams]:
    """The class just below Hparams that `cls` descends from: EncoderHparams, TaskHparams, ..."""
    kinds = [base for base in cls.__mro__ if Hparams in base.__bases__]
    return kinds[-1] if kinds else cls


def choices(kind: type[Hparams], classes: Iterable[type[Hparams]]) -> dict[str, type[Hparams]]:
    """The classes that can be chosen where `kind` is wanted, by what is typed."""
    return {c.name: c for c in classes if issubclass(c, kind) and c.name is not None}


def _plugin(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise HparamError(f"--plugins: {name!r} is not a module name (write my_module, no .py)")
    # a script in seqmodel/ does not have the user's working directory on its path
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except HparamError:
        raise
    except Exception as e:
        near = [f[:-3] for f in os.listdir(here) if f.endswith(".py")]
        hint = did_you_mean(name, near) if isinstance(e, ModuleNotFoundError) else ""
        raise HparamError(
            f"--plugins: cannot import {name!r} from {here}: {type(e).__name__}: {e}{hint}"
        ) from e
