"""Text from files, made safe for a terminal: control characters are escaped. Light.

Logs, names of runs, reasons and values come from files that other people may have written. An
escape sequence in them could change the reader's screen, window title or clipboard.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

# C0 and C1 controls except tab and newline, and marks that change the direction of text
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")


def plain(text: str) -> str:
    r"""`text` with each terminal control character written as `\x1b`; line breaks are kept."""
    return _STEERING.sub(_written, text)


def plain_line(text: str) -> str:
    """The same for text that must stay on one line, such as a name or a message."""
    return plain(text).replace("\n", "\\n")


def plain_log(text: str) -> str:
    """The same for a log; only the last state of a progress bar is kept."""
    return plain(_OVERWRITTEN.sub("", text.replace("\r\n", "\n")))


def text_table(rows: Sequence[Sequence[str]], *, right: bool = False) -> str:
    """A table whose columns are as wide as their widest cell; the first row is the header.

    Args:
        rows: the cells.
        right: all columns but the first are numbers, aligned at the right.
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
    """A table for a notebook; the content of cells is escaped."""
    from html import escape

    def line(cells: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(names, 'th')}</thead><tbody>{body}</tbody></table>"


def show_warning(message: object, category: type, *where: object, **more: object) -> None:
    """Prints a warning as one line; for `warnings.showwarning`."""
    print(plain(f"warning: {message}"), file=sys.stderr)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
