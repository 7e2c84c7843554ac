"""Old import paths of 0.1, which work for one more version. Light."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module


def moved(old: str, new: str) -> None:
    """Make the module `old`, which calls this during its import, an alias of `new`, and warn."""
    warnings.warn(
        f"{old} has moved to {new}; the next version removes the old path",
        FutureWarning,
        stacklevel=3,
    )
    sys.modules[old] = import_module(new)
