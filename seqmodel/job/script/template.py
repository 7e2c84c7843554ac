"""Scripts from templates: str.format fills each `{field}` with a value quoted for the shell.

A template is a bash script; `{{` and `}}` are the braces of the shell. Errors in a template are
reported with their lines before anything is submitted.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from functools import lru_cache

from seqmodel.errors import JobError
from seqmodel.files import problem, read_text

# without these, a script would not run the requested run, or not in its folder
NEEDED = ("args", "folder", "node_functions", "script", "token")
# text for comments and #SBATCH lines; all other values are quoted
RAW = ("directives", "title")
HERE = os.path.dirname(os.path.abspath(__file__))


def read_template(path: str) -> str:
    """Read a template: one of seqmodel by its name, or one of the user by its path.

    Raises:
        JobError: The file cannot be read.
    """
    # our names take precedence over files in the working directory
    where = os.path.join(HERE, path) if path in _ours() else os.path.expanduser(path)
    reason = problem(where)
    if reason:
        raise JobError(f"template {path}: {reason}; give a path, or one of {', '.join(_ours())}")
    return read_text(where, JobError)


def _ours() -> list[str]:
    return sorted(name for name in os.listdir(HERE) if name.startswith("template_"))


def check_template(text: str, fields: Iterable[str], name: str = "template") -> None:
    """Refuse a template with an unknown or missing field, or a brace that is not doubled.

    Raises:
        JobError: The message lists all errors with their lines.
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
    """Return the script: values are quoted, list items separated by spaces, a bool is 1 or 0.

    Raises:
        JobError: The template is invalid, or a value has a newline or NUL character.
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
        raise JobError(f"{field}: {text!r} has a newline or NUL character; remove it")
    return text if field in RAW else shlex.quote(text)


@lru_cache(maxsize=16)  # a search renders the same template many times
def _fields(text: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Return the fields of a template with their lines, and the invalid braces."""
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
                wrong.append((line, "'{' does not start a field; write '{{' for the shell's"))
        elif c == "}":
            wrong.append((line, "'}' does not end a field; write '}}' for the shell's"))
        at += 1
    return used, wrong
