"""Scripts from templates: `{field}` is filled by str.format, every value quoted for the shell.

A template is a bash script; `{{` and `}}` are the braces of the shell. What is wrong with one
is reported with its line before anything is submitted.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from functools import lru_cache

from seqmodel.errors import JobError
from seqmodel.files import problem, read_text

# without these a script would not run what was asked, or not where it is looked for
NEEDED = ("args", "folder", "node_functions", "script", "token")
# text for comments and #SBATCH lines; all other values are quoted
RAW = ("directives", "title")
HERE = os.path.dirname(os.path.abspath(__file__))


def read_template(path: str) -> str:
    """The text of a template: one of ours by its name, or the user's by its path.

    Raises:
        JobError: it cannot be read.
    """
    # one of ours is ours, also where a file of its name lies in the working directory
    where = os.path.join(HERE, path) if path in _ours() else os.path.expanduser(path)
    reason = problem(where)
    if reason:
        raise JobError(f"template {path}: {reason}; give a path, or one of {', '.join(_ours())}")
    return read_text(where, JobError)


def _ours() -> list[str]:
    return sorted(name for name in os.listdir(HERE) if name.startswith("template_"))


def check_template(text: str, fields: Iterable[str], name: str = "template") -> None:
    """Refuses a template with an unknown or a missing field, or a brace that is not doubled.

    Raises:
        JobError: all that is wrong, each with its line.
    """
    known = set(fields)
    used, wrong = _fields(text)
    wrong = list(wrong)
    for line, field in used:
        if field not in known:
            from seqmodel.hparam.value import did_you_mean

            hint = (
                did_you_mean(field, sorted(known)) or f"; write {{{{{field}}}}} for the shell's own"
            )
            wrong.append((line, f"no field {{{field}}}{hint}"))
    missing = [field for field in NEEDED if field not in {f for _, f in used}]
    found = [f"line {line}: {what}" for line, what in sorted(wrong)]
    found += [f"the field {{{field}}} is missing" for field in missing]
    if found:
        raise JobError(f"{name}: {'; '.join(found)}")


def render(text: str, values: Mapping[str, object], name: str = "template") -> str:
    """The script: each value quoted; a list as its quoted items with spaces, a bool as 1 or 0.

    Raises:
        JobError: the template is wrong, or a value has a newline or NUL character.
    """
    check_template(text, values, name)
    return text.format(**{field: _quoted(field, value) for field, value in values.items()})


def _quoted(field: str, value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_quoted(field, item) for item in value)
    if isinstance(value, bool):
        return "1" if value else "0"
    text = "" if value is None else str(value)
    if field == "directives":
        return text
    if any(c in text for c in "\n\r\0"):
        raise JobError(f"{field}: {text!r} has a newline or NUL character; a script cannot hold it")
    return text if field in RAW else shlex.quote(text)


@lru_cache(maxsize=16)  # a search renders one template a thousand times
def _fields(text: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The fields of a template with their lines, and the braces that are wrong."""
    used, wrong = [], []
    at, line = 0, 1
    while at < len(text):
        c = text[at]
        if c == "\n":
            line += 1
        if c in "{}" and text[at : at + 2] == 2 * c:
            at += 2
            continue
        if c == "{":
            end = at + 1
            while end < len(text) and (text[end].isalnum() or text[end] == "_"):
                end += 1
            if end > at + 1 and text[end : end + 1] == "}":
                used.append((line, text[at + 1 : end]))
                at = end
            else:
                wrong.append((line, "'{' that begins no field; write '{{' for the shell's own"))
        elif c == "}":
            wrong.append((line, "'}' that ends no field; write '}}' for the shell's own"))
        at += 1
    return used, wrong
