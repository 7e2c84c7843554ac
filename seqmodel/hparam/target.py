"""The object that the `target` of an Hparams class names, imported when it is built. Light."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from seqmodel.errors import HparamError


def resolve_target(target: str | None) -> Any:
    """Return the object that a `module:object` text names.

    Raises:
        HparamError: there is no such module or object, or the module calls sys.exit.
    """
    module, _, name = (target or "").partition(":")
    try:
        found = getattr(import_module(module), name, None) if module and name else None
    except ModuleNotFoundError as e:
        # a package that the module itself lacks is reported by its own traceback
        if e.name is None or not f"{module}.".startswith(f"{e.name}."):
            raise
        found = None
    except SystemExit as e:
        raise HparamError(
            f"target {target!r} of an Hparams class: its module calls sys.exit; remove that call"
        ) from e
    if found is None:
        raise HparamError(
            f"target {target!r} of an Hparams class: there is no such module or object; "
            "write module:object, importable from here"
        )
    return found
