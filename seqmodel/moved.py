"""Import paths of 0.1 that have moved; they are kept for one version. Light."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module


def moved(old: str, new: str) -> None:
    """Makes the module `old`, which calls this while it is imported, an alias of `new`; warns."""
    warnings.warn(
        f"{old} has moved to {new}; the old path goes away in the next version",
        FutureWarning,
        stacklevel=3,
    )
    sys.modules[old] = import_module(new)
