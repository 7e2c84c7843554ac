"""The HTML page: the content as JSON, plotly, and the scripts and styles of this folder."""

from __future__ import annotations

import os

from seqmodel.errors import JobError
from seqmodel.extras import optional
from seqmodel.files import write_file
from seqmodel.job.results.table import Results, results
from seqmodel.report.content import as_json, content
from seqmodel.webpage import web_page

_BODY = """<noscript>This report needs JavaScript, all of which is in this file.</noscript>
<div id="page"></div>
<script type="application/json" id="content">{content}</script>
<script type="text/plain" id="plotly">{plotly}</script>
<script>
"use strict";
(() => {{
{script}
}})();
</script>"""
SCRIPTS = tuple(
    f"{name}.js"
    for name in ("base", "top", "curves", "table", "settings", "test", "files", "run", "page")
)


def write_report(root: str, path: str = "report.html", found: Results | None = None) -> str:
    """Writes the report of the runs below `root`; returns its absolute path.

    Args:
        root: a folder of runs.
        path: the HTML file; it appears whole.
        found: the runs, if they were read from another host.

    Raises:
        JobError: the folder does not exist, plotly is missing, or the file cannot be written.
    """
    here = found is None
    found = results(root) if found is None else found
    write_file(path, page(found, root, here=here).encode("utf-8", "replace"), JobError)
    return os.path.abspath(path)


def page(found: Results, root: str, *, here: bool) -> str:
    """The page as text; for a folder on this host with predictions, logos and tracks."""
    name = os.path.basename(os.path.abspath(os.path.expanduser(root)))
    fields = {
        "content": as_json(content(found, root, here=here)),
        "plotly": _plotly(),
        "script": "\n".join(map(_asset, SCRIPTS)),
    }
    return web_page(f"seqmodel: {name}", _asset("page.css"), _BODY.format(**fields), scripts=True)


def _plotly() -> str:
    source: str = optional("plotly.offline", "a report", "report", JobError).get_plotlyjs()
    return source


def _asset(name: str) -> str:
    from importlib.resources import files

    return files("seqmodel.report").joinpath(name).read_text(encoding="utf-8")
