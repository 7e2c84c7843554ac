"""Make text from files safe for a terminal by escaping control characters. Light.

Logs, names of runs, reasons and values come from files that other people may have written. An
escape sequence in them could change the reader's screen, window title or clipboard.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

# C0 and C1 controls except tab and newline, and marks that change the direction of text
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OVERWRITTEN = re.compile(r"^[^\n]*\r(?=[^\n])", re.M)  # ^: one attempt a line


def plain(text: str) -> str:
    r"""Return `text` with each control character escaped, such as `\x1b`; line breaks are kept."""
    return _STEERING.sub(_written, text)


def plain_line(text: str) -> str:
    """Escape text that must stay on one line, such as a name or a message."""
    return plain(text).replace("\n", "\\n")


def plain_log(text: str) -> str:
    """Escape a log; only the last state of each progress bar is kept."""
    return plain(_OVERWRITTEN.sub("", text.replace("\r\n", "\n")))


def text_table(rows: Sequence[Sequence[str]], *, right: bool = False) -> str:
    """Format a table whose columns fit their widest cell; the first row is the header.

    Args:
        rows: Cells of each row.
        right: Align all columns but the first on the right, for numbers.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            c.rjust(w) if right and i else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def html_table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Format an HTML table for a notebook; the cells are escaped."""
    from html import escape

    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(names, 'th')}</thead><tbody>{body}</tbody></table>"


def show_warning(message: object, category: type, *where: object, **more: object) -> None:
    """Print a warning as one line; for `warnings.showwarning`."""
    print(plain(f"warning: {message}"), file=sys.stderr)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
