"""Rows of results as text: CSV, Markdown, LaTeX, JSON, HTML, and Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from seqmodel.errors import JobError
from seqmodel.terminal import plain_line

Row = dict[str, Any]
KINDS = ("csv", "md", "tex", "json")
# in LaTeX these are no characters of a text
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def write(rows: Sequence[Row], path: str) -> None:
    """Writes the rows; the ending of `path` says how. The file appears whole.

    Raises:
        JobError: an unknown ending, or it cannot be written.
    """
    kind = os.path.splitext(path)[1][1:].lower()
    aside = f"{path}.{os.getpid()}.part"
    try:
        if kind == "parquet":
            _write_parquet(rows, aside)
        else:
            text = as_text(rows, kind)
            with open(aside, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
        os.replace(aside, path)
    except OSError as e:
        with suppress(OSError):
            os.unlink(aside)
        raise JobError(f"cannot write {path!r}: {e.strerror}") from e


def as_text(rows: Sequence[Row], kind: str) -> str:
    """The rows as csv, md, tex or json.

    Raises:
        JobError: it is none of these.
    """
    makers = {"csv": _csv, "md": _markdown, "tex": _latex, "json": _json}
    if kind not in makers:
        raise JobError(f"a table as {kind!r}: write one of {', '.join(KINDS)}, parquet")
    return makers[kind](rows)


def shown(rows: Sequence[Row]) -> list[Row]:
    """The rows without what no one has, without folder, and with the run's name kept short."""
    names = [n for n in (rows[0] if rows else {}) if n != "folder"]
    names = [n for n in names if any(row[n] not in (None, "") for row in rows)]
    varying = any(n not in ("run", "version", "state", "reason") for n in names)
    return [{n: _short(n, row[n], varying) for n in names} for row in rows]


def _short(name: str, value: Any, varying: bool) -> Any:
    if name == "run" and varying and isinstance(value, str) and len(value) > 40:
        return f"{value[:28]}...{value[-9:]}"
    return value


def cell(value: Any) -> str:
    """A value as it is shown: four digits, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def table(rows: Sequence[Row]) -> str:
    """A plain table for a terminal."""
    if not rows:
        return "no runs"
    cells = [list(rows[0]), *([cell(v) for v in row.values()] for row in rows)]
    cells = [[plain_line(_one_line(text)) for text in line] for line in cells]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def html_table(rows: Sequence[Row]) -> str:
    """A table for a notebook; whatever a run holds is text in it."""
    from html import escape

    if not rows:
        return "<p>no runs</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell(v))}</td>" for v in row.values()) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _csv(rows: Sequence[Row]) -> str:
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue() if rows else ""


def _markdown(rows: Sequence[Row]) -> str:
    if not rows:
        return "no runs\n"
    lines = [_line(rows[0]), _line(["---"] * len(rows[0]))]
    lines += [_line(_markdown_text(cell(v)) for v in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_text(text: str) -> str:
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\|*_`[]" else c for c in text)


def _latex(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    lines = [" & ".join(_latex_text(name) for name in rows[0])]
    lines += [" & ".join(_latex_text(cell(v)) for v in row.values()) for row in rows]
    columns = "".join(_align([row[name] for row in rows]) for name in rows[0])
    head, *body = [f"{line} \\\\" for line in lines]
    inner = "\n".join([r"\hline", head, r"\hline", *body, r"\hline"])
    return f"\\begin{{tabular}}{{{columns}}}\n{inner}\n\\end{{tabular}}\n"


def _align(values: Sequence[Any]) -> str:
    return "r" if all(v is None or isinstance(v, (int, float)) for v in values) else "l"


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in _one_line(text))


def _json(rows: Sequence[Row]) -> str:
    return json.dumps([{n: _finite(v) for n, v in row.items()} for row in rows], indent=1) + "\n"


def _finite(value: Any) -> Any:
    # NaN and infinity are no JSON
    bad = isinstance(value, float) and value - value != 0
    return None if bad else value


def _one_line(text: str) -> str:
    # no control character of a run reaches the terminal
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _write_parquet(rows: Sequence[Row], path: str) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as e:
        raise JobError("Parquet needs pyarrow: pip install 'seqmodel[parquet]'") from e
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
    arrays = {name: pa.array(_one_type(values)) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path)


def _one_type(values: list[Any]) -> list[Any]:
    there = {type(v) for v in values if v is not None}
    if int in there and any(isinstance(v, int) and abs(v) >= 2**63 for v in values):
        return [None if v is None else str(v) for v in values]  # no integer of a Parquet file
    if len(there) <= 1 or there <= {int, float}:
        return [float(v) if v is not None and there == {int, float} else v for v in values]
    return [None if v is None else str(v) for v in values]
