"""Import heavy packages, such as torch, with the garbage collector paused. Light."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_imports(*, freeze: bool = False) -> Iterator[None]:
    """Pause the garbage collector while torch is imported for the first time in this process.

    An import makes half a million objects that stay, and almost no garbage, so the collections
    find nothing and take a quarter of the time.

    Args:
        freeze: Never examine the objects that exist after the import. For a process of ours; in
            that of a user, garbage among the existing objects would stay too.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        if freeze:
            gc.freeze()
    finally:
        gc.enable()
