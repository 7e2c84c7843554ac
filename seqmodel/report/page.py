"""The HTML page: the content as JSON, plotly and our own script and style, in one file."""

from __future__ import annotations

import os
from importlib import import_module

from seqmodel.errors import JobError
from seqmodel.files import write_file
from seqmodel.job.results.table import Results, results
from seqmodel.report.content import as_json, content
from seqmodel.webpage import web_page

_BODY = """<noscript>This report needs JavaScript, all of which is in this file.</noscript>
<div id="page"></div>
<script type="application/json" id="content">{content}</script>
<script type="text/plain" id="plotly">{plotly}</script>
<script>
{script}
</script>"""


def write_report(root: str, path: str = "report.html", found: Results | None = None) -> str:
    """Writes the report of the runs below `root`; returns its absolute path.

    Args:
        root: a folder of runs on this machine.
        path: the HTML file; it appears whole.
        found: the runs, if they were read already (from another machine).

    Raises:
        JobError: there is no such folder, plotly is missing, or the file cannot be written.
    """
    found = results(root) if found is None else found
    write_file(path, page(found, root).encode("utf-8", "replace"), JobError)
    return os.path.abspath(path)


def page(found: Results, root: str) -> str:
    """The page as text."""
    name = os.path.basename(os.path.abspath(os.path.expanduser(root)))
    fields = {
        "content": as_json(content(found, root)),
        "plotly": _plotly(),
        "script": _asset("page.js"),
    }
    return web_page(f"seqmodel: {name}", _asset("page.css"), _BODY.format(**fields), scripts=True)


def _plotly() -> str:
    try:
        offline = import_module("plotly.offline")
    except ImportError as e:
        raise JobError("a report needs plotly: pip install 'seqmodel[report]'") from e
    return offline.get_plotlyjs()


def _asset(name: str) -> str:
    from importlib.resources import files

    return files("seqmodel.report").joinpath(name).read_text(encoding="utf-8")
