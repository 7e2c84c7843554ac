"""From a folder of runs to one HTML page. Light; plotly is imported when a page is written.

    from seqmodel.report import write_report
    write_report("out", "report.html")

content collects what the page shows as plain values: families ranks and names the runs, importance
measures hyperparameters, outputs reads predictions, logos and tracks. page makes HTML of it, with
page.css and the scripts. A Content Security Policy in the page forbids it to load anything.
"""

_LAZY = {"write_report": "seqmodel.report.page", "content": "seqmodel.report.content"}

__all__ = ["write_report"]


def __getattr__(name: str) -> object:
    """The object of this name, which is imported on first use."""
    if name != "write_report":
        raise AttributeError(f"module 'seqmodel.report' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
