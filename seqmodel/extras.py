"""Optional packages: how to import and install them. Light.

seqmodel is not on PyPI: install an extra from the checkout from which seqmodel was installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from seqmodel.errors import SeqmodelError

_DISTRIBUTIONS = {"mlflow": "mlflow-skinny"}
UPDATE = "update seqmodel: git pull in its checkout, then pip install ."


def optional(module: str, what: str, extra: str, error: type[SeqmodelError]) -> Any:
    """Import and return the module of an optional package.

    Args:
        module: Name of the module, such as `pyarrow.parquet`.
        what: The feature that needs it; the message starts with it.
        extra: The extra of seqmodel that installs it.
        error: Class of the error.

    Raises:
        SeqmodelError: The package is not installed. The message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as e:
        raise error(missing(what, (e.name or module).partition(".")[0], extra)) from e


def missing(what: str, package: str, extra: str) -> str:
    """Return the message that `what` needs a missing package, with the command that installs it."""
    name = _DISTRIBUTIONS.get(package, package)
    return (
        f"{what} needs the package {name}: pip install {name}, or the whole extra '{extra}': "
        f"pip install '.[{extra}]' in the checkout of seqmodel"
    )
