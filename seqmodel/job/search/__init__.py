"""Many runs of one space of hyperparameters: grids, lists, random and adaptive ones. Light."""

_LAZY = {
    "grid": "seqmodel.job.search.fixed",
    "from_list": "seqmodel.job.search.fixed",
    "random": "seqmodel.job.search.fixed",
    "Search": "seqmodel.job.search.fixed",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    """The named object, imported when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
