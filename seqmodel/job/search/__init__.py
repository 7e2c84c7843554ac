"""Searches over a space of hyperparameters: grid, list, random and adaptive. Light."""

_LAZY = {
    "grid": "seqmodel.job.search.fixed",
    "from_list": "seqmodel.job.search.fixed",
    "random": "seqmodel.job.search.fixed",
    "Search": "seqmodel.job.search.fixed",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    """Return the named object, which is imported on first use."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
