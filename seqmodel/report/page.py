"""The HTML page: the content as JSON, plotly and our own script and style, in one file."""

from __future__ import annotations

import os
from html import escape
from importlib import import_module

from seqmodel.errors import JobError
from seqmodel.files import write_file
from seqmodel.job.results.table import Results, results
from seqmodel.report.content import as_json, content

# whatever stood in a run's files: the page can neither fetch nor send anything
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<noscript>This report needs JavaScript; it is all in this file.</noscript>
<div id="page"></div>
<script type="application/json" id="content">{content}</script>
<script type="text/plain" id="plotly">{plotly}</script>
<script>
{script}
</script>
</body>
</html>
"""


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
        "policy": escape(_POLICY),
        "title": escape(f"seqmodel: {name}"),
        "style": _asset("page.css"),
        "content": as_json(content(found, root)),
        "plotly": _plotly(),
        "script": _asset("page.js"),
    }
    return _PAGE.format(**fields)


def _plotly() -> str:
    try:
        offline = import_module("plotly.offline")
    except ImportError as e:
        raise JobError("a report needs plotly: pip install 'seqmodel[report]'") from e
    return offline.get_plotlyjs()


def _asset(name: str) -> str:
    from importlib.resources import files

    return files("seqmodel.report").joinpath(name).read_text(encoding="utf-8")
