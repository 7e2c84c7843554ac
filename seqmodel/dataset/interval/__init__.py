"""Where to read: intervals, their operations, and the files that list them."""

_LAZY = {
    "Contigs": "seqmodel.dataset.interval.interval",
    "Intervals": "seqmodel.dataset.interval.interval",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    """The named object, imported when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
