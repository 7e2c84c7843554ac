"""The frame of a self-contained HTML page, which loads nothing. Light."""

from __future__ import annotations

from html import escape

# The page can neither fetch nor send data, whatever the files that it shows contain.
_POLICY = (
    "default-src 'none'; {script}style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
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
{body}
</body>
</html>
"""


def web_page(title: str, style: str, body: str, *, scripts: bool = False) -> str:
    """Return an HTML page.

    Args:
        title: Title as plain text.
        style: CSS of the page.
        body: HTML of the body.
        scripts: Whether scripts in the body may run.
    """
    policy = _POLICY.format(script="script-src 'unsafe-inline'; " if scripts else "")
    return _PAGE.format(policy=escape(policy), title=escape(title), style=style, body=body)
