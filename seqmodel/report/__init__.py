"""From a folder of runs to one HTML page. Light; plotly is read when a page is written.

    from seqmodel.report import write_report
    write_report("out", "report.html")

content is what the page says, as plain values; importance which hyperparameters matter; page puts
it into HTML with page.css and page.js. Nothing is fetched when the page is opened: a Content
Security Policy in it forbids that.
"""

_LAZY = {"write_report": "seqmodel.report.page", "content": "seqmodel.report.content"}

__all__ = ["write_report"]


def __getattr__(name: str) -> object:
    """The named object, imported when it is first asked for."""
    if name != "write_report":
        raise AttributeError(f"module 'seqmodel.report' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
