"""Which Hparams classes there are: the package's own, and those of the user's plugins. Light.

The modules stand in a list: what is not named is not found, and nothing scans a folder.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterable
from importlib import import_module
from types import ModuleType

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.plugin_files import plugin_file
from seqmodel.hparam.value import did_you_mean

MODULES = (
    "seqmodel.hparam.trainer",
    "seqmodel.hparam.task",
    "seqmodel.hparam.dataset",
    "seqmodel.hparam.model",
    "seqmodel.hparam.optim",
    "seqmodel.hparam.job",
)


_added: list[str] = []  # the folder that was put on sys.path for plugins


def known_hparams(
    plugins: Iterable[str] = (), *, before: Collection[str] = ()
) -> list[type[Hparams]]:
    """Every Hparams class at the top level of the package's modules and of `plugins`.

    Args:
        plugins: modules of the user's.
        before: those that a checkpoint was made with: a class of theirs yields to one of the
            package that has the same name by now.

    Raises:
        HparamError: a plugin cannot be imported, or two classes define one name.
    """
    classes = [cls for name in MODULES for cls in _own_classes(import_module(name))]
    if not plugins:
        return classes
    ours = tuple(classes)
    for plugin in plugins:
        found = _own_classes(_plugin(plugin))
        classes += _without_moved(found, ours, plugin) if plugin in before else found
    try:
        check_namespace(classes)
    except HparamError:
        raise
    except (Exception, SystemExit) as e:
        raise HparamError(f"--plugins={' '.join(plugins)}: {type(e).__name__}: {e}") from e
    return classes


def _own_classes(module: ModuleType) -> list[type[Hparams]]:
    """The Hparams classes that `module` defines itself."""
    found = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Hparams)]
    return list(dict.fromkeys(c for c in found if c.__module__ == module.__name__))


def _without_moved(
    found: list[type[Hparams]], ours: Iterable[type[Hparams]], plugin: str
) -> list[type[Hparams]]:
    """`found` without the classes that the package has by now, and the bases of these alone."""
    taken = {(kind_of(cls), cls.name) for cls in ours if cls.name is not None}
    moved = [cls for cls in found if (kind_of(cls), cls.name) in taken]
    if not moved:
        return found
    for cls in moved:
        warnings.warn(
            f"seqmodel has the choice {cls.name!r} of the plugin {plugin!r} itself by now: its own "
            "is used",
            stacklevel=2,
        )
    chosen = [cls for cls in found if cls.name is not None and cls not in moved]
    return [cls for cls in found if any(issubclass(c, cls) for c in chosen)]


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
    # a script in seqmodel/ does not have the user's working directory on its path; last, so that
    # no file there can pass for an installed package
    here = os.getcwd()
    if _added and _added[0] != here and _added[0] in sys.path:
        sys.path.remove(_added.pop())  # the working directory was another one
    if here not in sys.path:
        sys.path.append(here)
        _added[:] = [here]
    _refuse_hidden(name, here)
    try:
        return import_module(name)
    except HparamError:
        raise
    except (Exception, SystemExit) as e:
        near = [f[:-3] for f in os.listdir(here) if f.endswith(".py")]
        hint = did_you_mean(name, near) if isinstance(e, ModuleNotFoundError) else ""
        raise HparamError(
            f"--plugins: cannot import {name!r} from {here}: {type(e).__name__}: {e}{hint}"
        ) from e


def _refuse_hidden(name: str, here: str) -> None:
    """Refuses a file of the working directory that an installed module of its name hides."""
    top = name.split(".")[0]
    mine = [p for p in (f"{here}/{top}.py", f"{here}/{top}/__init__.py") if os.path.isfile(p)]
    found = plugin_file(top, *sys.path) if mine else None
    if found is not None and not any(os.path.samefile(found, path) for path in mine):
        raise HparamError(
            f"--plugins: {mine[0]} has the name of the installed module {found}; rename it"
        )
