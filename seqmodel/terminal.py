"""Text of files for a terminal: what could steer it is shown, not sent. Light.

Logs, names of runs, reasons and values come from files that others may have written; an escape
sequence in them could rewrite the screen, the title or the clipboard of whoever looks.
"""

from __future__ import annotations

import re
import sys

# C0 and C1 controls but tab and newline, and the marks that turn the direction of text
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")


def plain(text: str) -> str:
    r"""`text` with each character that steers a terminal written as `\x1b`; lines stay lines."""
    return _STEERING.sub(_written, text)


def plain_line(text: str) -> str:
    """The same for a text that must stay on one line, such as a name or a message."""
    return plain(text).replace("\n", "\\n")


def plain_log(text: str) -> str:
    """The same for a log: of what a progress bar wrote over itself the last is shown."""
    return plain(_OVERWRITTEN.sub("", text.replace("\r\n", "\n")))


def show_warning(message: object, category: type, *where: object, **more: object) -> None:
    """Prints a warning as one line; for `warnings.showwarning`."""
    print(plain(f"warning: {message}"), file=sys.stderr)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
