"""What runs found: one run, the table of all, its text forms, advice from earlier runs. Light."""

_LAZY = {
    "results": "seqmodel.job.results.table",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    """The named object, imported when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
