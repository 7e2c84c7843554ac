"""Rows of results as text and files: CSV, TSV and JSON here; Markdown, LaTeX, Parquet by pandas.

Spreadsheets open CSV and TSV, and run a text that starts with = + - or @ as a formula. Such a text
is written after an apostrophe, unless it is a number (OWASP, CSV injection).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from seqmodel.errors import JobError
from seqmodel.extras import missing
from seqmodel.files import write_file
from seqmodel.terminal import plain_line, text_table

Row = dict[str, Any]
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
KINDS = ("csv", "tsv", "md", "tex", "json")


def write(rows: Sequence[Row], path: str) -> None:
    """Write the rows in the format of the suffix of `path`. The file appears as a whole.

    Raises:
        JobError: The suffix is unknown, a package is missing, or the file cannot be written.
    """
    kind = os.path.splitext(path)[1][1:].lower()
    write_file(path, _parquet(rows) if kind == "parquet" else as_text(rows, kind), JobError)


def as_text(rows: Sequence[Row], kind: str) -> str:
    """Return the rows as csv, tsv, md, tex or json.

    Raises:
        JobError: The format is unknown, or a package is missing.
    """
    makers = {"csv": _csv, "tsv": _tsv, "md": _markdown, "tex": _latex, "json": _json}
    if kind not in makers:
        raise JobError(f"unknown table format {kind!r}: use one of {', '.join(KINDS)}, parquet")
    return makers[kind](rows)


def frame(rows: Sequence[Row]) -> Any:
    """Return a data frame of the rows; each column has one type, and None is missing.

    Raises:
        JobError: Pandas is not installed.
    """
    with _packages("a data frame", "report"):
        import pandas as pd
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
    return pd.DataFrame({n: pd.array(*_typed(values)) for n, values in columns.items()})


def shown(rows: Sequence[Row]) -> list[Row]:
    """Return the rows for a terminal: varying columns first, without empty columns.

    Folders are left out, and also versions and run names if other columns identify the runs. Names
    are last, and long names are shortened.
    """
    names = [n for n in (rows[0] if rows else {}) if n != "folder"]
    names = [n for n in names if any(row[n] not in (None, "") for row in rows)]
    of_run = ("run", "version", "state", "reason")
    before = list(rows[0])[: list(rows[0]).index("monitor")] if rows else []
    varying = [n for n in before if n in names and n not in of_run]
    if not varying:
        return [{n: row[n] for n in names} for row in rows]
    if len({row.get("version") for row in rows}) == 1:
        names = [n for n in names if n != "version"]
    order = [*varying, *(n for n in names if n not in (*varying, "run")), "run"]
    return [{n: _short(n, row[n]) for n in order} for row in rows]


def _short(name: str, value: object) -> Any:
    if name == "run" and isinstance(value, str) and len(value) > 40:
        return f"{value[:28]}...{value[-9:]}"
    return value


def cell(value: object) -> str:
    """Format a value for display: four digits, an empty text for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def table(rows: Sequence[Row]) -> str:
    """Return a plain table for a terminal."""
    if not rows:
        return "no runs"
    cells = [list(rows[0]), *([cell(v) for v in row.values()] for row in rows)]
    return text_table([[plain_line(_one_line(text)) for text in line] for line in cells])


def _csv(rows: Sequence[Row], dialect: str = "excel") -> str:
    lines = [rows[0], *(row.values() for row in rows)] if rows else []
    return "".join(_line(map(inert, cells), dialect) for cells in lines)


def _line(cells: Iterable[object], dialect: str) -> str:
    out = io.StringIO()
    # with "\n" as the terminator, a text with "\r" would not be quoted
    csv.writer(out, dialect, lineterminator="\r\n").writerow(cells)
    return out.getvalue().removesuffix("\r\n") + "\n"


def inert(value: object) -> object:
    """Return a cell of CSV or TSV that no spreadsheet runs as a formula."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _tsv(rows: Sequence[Row]) -> str:
    return _csv(rows, "excel-tab")


def _json(rows: Sequence[Row]) -> str:
    # without pandas, which keeps only 15 digits of a number
    return json.dumps([{n: _finite(v) for n, v in row.items()} for row in rows], indent=1) + "\n"


def _finite(value: object) -> Any:
    # JSON has no NaN and infinity
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(rows: Sequence[Row]) -> str:
    if not rows:
        return "no runs\n"
    sides = ["right" if _is_number(rows, name) else "left" for name in rows[0]]
    with _packages("Markdown", "report"):
        text = _texts(rows, _markdown_text).to_markdown(
            index=False, disable_numparse=True, colalign=sides
        )
    return f"{text}\n"


def _markdown_text(text: str) -> str:
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    # an underscore within a word needs no escape
    return re.sub(r"[\\|*`~\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _latex(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    sides = "".join("r" if _is_number(rows, name) else "l" for name in rows[0])
    with _packages("LaTeX", "report"):
        return _texts(rows, _one_line).to_latex(index=False, escape=True, column_format=sides)


def _texts(rows: Sequence[Row], text: Callable[[str], str]) -> Any:
    return frame([{text(n): text(cell(v)) for n, v in row.items()} for row in rows])


def _is_number(rows: Sequence[Row], name: str) -> bool:
    return all(row[name] is None or isinstance(row[name], int | float) for row in rows)


def _one_line(text: str) -> str:
    # control characters of a run must not reach the terminal
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _parquet(rows: Sequence[Row]) -> bytes:
    with _packages("Parquet", "report,parquet"):
        return frame(rows).to_parquet(engine="pyarrow", index=False)


def _typed(values: list[Any]) -> tuple[list[Any], str]:
    """Return the values of a column, and the pandas type that keeps them."""
    there = {type(v) for v in values if v is not None}
    if there == {bool}:
        return values, "boolean"
    if there == {int} and all(abs(v) < 2**63 for v in values if v is not None):
        return values, "Int64"
    if float in there and there <= {int, float}:
        return values, "float64"
    return [None if v is None else str(v) for v in values], "string"


@contextmanager
def _packages(what: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as e:
        name = e.name or getattr(e.__cause__, "name", None) or "pandas"  # pandas hides the cause
        raise JobError(missing(what, name, extra)) from e
