"""Intervals: operations on them, and the files that list them."""

_LAZY = {
    "Contigs": "seqmodel.dataset.interval.interval",
    "Intervals": "seqmodel.dataset.interval.interval",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    """Return the named object, which is imported on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
