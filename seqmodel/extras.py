"""Packages that seqmodel uses only for some features: how to import them and get them. Light.

seqmodel is not on PyPI: an extra is installed from the checkout that seqmodel was installed from.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from seqmodel.errors import SeqmodelError

_DISTRIBUTIONS = {"mlflow": "mlflow-skinny"}
UPDATE = "update seqmodel: git pull in its checkout, then pip install ."


def optional(module: str, what: str, extra: str, error: type[SeqmodelError]) -> Any:
    """The module of an optional package.

    Args:
        module: Name of the module, such as `pyarrow.parquet`.
        what: The feature that needs it, as the start of the message.
        extra: The extra of seqmodel that installs it.
        error: Class of the error.

    Raises:
        SeqmodelError: the package is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as e:
        raise error(missing(what, (e.name or module).partition(".")[0], extra)) from e


def missing(what: str, package: str, extra: str) -> str:
    """The message that `what` needs a package that is not installed, with the command for it."""
    name = _DISTRIBUTIONS.get(package, package)
    return (
        f"{what} needs the package {name}: pip install {name}, or all of the extra '{extra}': "
        f"pip install '.[{extra}]' in the checkout of seqmodel"
    )
