"""Importing a plugin: a module of the user with Hparams classes. Light.

Hyperparameters must be readable in milliseconds and on hosts without torch. A plugin that imports
torch at its top is therefore refused, unless the process has imported torch already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import get_ident
from types import ModuleType

from seqmodel.errors import HparamError
from seqmodel.hparam.plugin_files import plugin_file
from seqmodel.hparam.value import did_you_mean

HEAVY = "torch"
_added: list[str] = []  # the folder that was added to sys.path for plugins


def import_plugin(name: str) -> ModuleType:
    """Return the module of that name, found in the working directory or installed.

    Raises:
        HparamError: the import fails, or it imports torch, or an installed module hides it.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise HparamError(f"--plugins: {name!r} is not a module name (write my_module, no .py)")
    # a script in seqmodel/ does not have the user's working directory on its path; it comes last,
    # so that no file in it can replace an installed package
    here = os.getcwd()
    if _added and _added[0] != here and _added[0] in sys.path:
        sys.path.remove(_added.pop())  # the working directory has changed
    if here not in sys.path:
        sys.path.append(here)
        _added[:] = [here]
    _refuse_hidden(name, here)
    try:
        with _without_torch(name):
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
    """Refuse a file of the working directory that an installed module of the same name hides."""
    top = name.split(".")[0]
    mine = [p for p in (f"{here}/{top}.py", f"{here}/{top}/__init__.py") if os.path.isfile(p)]
    found = plugin_file(top, *sys.path) if mine else None
    if found is not None and not any(os.path.samefile(found, path) for path in mine):
        raise HparamError(
            f"--plugins: {mine[0]} has the name of the installed module {found}; rename it"
        )


class _NoTorch:
    """A finder that refuses torch to the thread that imports a plugin."""

    def __init__(self, plugin: str) -> None:
        self.plugin, self.thread = plugin, get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Find nothing; refuse torch with an error that is not an ImportError."""
        if name.split(".")[0] == HEAVY and get_ident() == self.thread:
            raise HparamError(
                f"--plugins: {self.plugin!r} imports {HEAVY}, but its hyperparameters must be "
                f"readable on hosts without {HEAVY}; move the code that needs it to another module "
                'and name that module in the target: `target = "my_module:MyEncoder"`'
            )


@contextmanager
def _without_torch(plugin: str) -> Iterator[None]:
    """Refuse torch while a plugin is imported, unless the process has imported it already."""
    if HEAVY in sys.modules:
        yield
        return
    finder = _NoTorch(plugin)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
