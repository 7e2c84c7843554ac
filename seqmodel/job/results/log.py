"""metrics.csv of a run as columns, and the few values of it that tables show.

A table of many runs keeps a Summary of each and parses the columns again where it needs a curve.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

MAX_EPOCH = 1e9

Columns = dict[str, list["float | None"]]


class Summary(NamedTuple):
    """What the tables show of a log.

    Attributes:
        n_rows: Number of rows.
        last: Last value of each column, in the order in which the columns first have a value.
        low, high: Smallest and largest finite value of each column that has one.
        ending: Names of the values in the last row.
        n_epochs: Number of epochs with logged values; the final test does not count.
    """

    n_rows: int
    last: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    ending: list[str]
    n_epochs: int


@lru_cache(maxsize=8)  # one run is looked at several times in a row
def parse_columns(data: bytes) -> Columns:
    """Return the columns of metrics.csv, all of one length; None is a missing value.

    Damaged lines and an incomplete last line are skipped.
    """
    text = data.decode("utf-8", "replace")
    lines = text[: text.rfind("\n") + 1].splitlines()
    cells = [line.split(",") for line in lines]
    names = cells[0] if cells else []
    is_plain = '"' not in text and all(lines) and len(set(names)) == len(names)
    if is_plain and all(len(row) == len(names) for row in cells):
        with suppress(ValueError):
            columns = [[float(x) if x else None for x in c] for c in zip(*cells[1:], strict=True)]
            return dict(zip(names, columns, strict=bool(columns)))
    rows = list(_rows(lines))
    found = {name for row in rows for name in row}
    return {name: [row.get(name) for row in rows] for name in _names(lines) if name in found}


def parse_rows(data: bytes) -> list[dict[str, float]]:
    """Return the rows of metrics.csv as dicts, without missing values; see `parse_columns`."""
    columns = parse_columns(data)
    return [
        {name: x for name, x in zip(columns, row, strict=True) if x is not None}
        for row in zip(*columns.values(), strict=True)
    ]


def summary_of(data: bytes) -> Summary:
    """Return the summary of metrics.csv."""
    columns = {n: x for n, x in parse_columns(data).items() if any(v is not None for v in x)}
    values = {name: [x for x in column if x is not None] for name, column in columns.items()}
    finite = {name: [x for x in v if math.isfinite(x)] for name, v in values.items()}
    finite = {name: x for name, x in finite.items() if x}
    n_rows = max(map(len, columns.values()), default=0)
    begins = {
        name: next(i for i, x in enumerate(c) if x is not None) for name, c in columns.items()
    }
    tests = [column for name, column in columns.items() if name.startswith("test_")]
    trained = [not any(x is not None for x in row) for row in zip(*tests, strict=True)]
    epochs = [
        x
        for x, is_trained in zip(columns.get("epoch", ()), trained or [True] * n_rows, strict=False)
        if x is not None and is_trained and abs(x) < MAX_EPOCH
    ]
    return Summary(
        n_rows,
        {name: values[name][-1] for name in sorted(columns, key=begins.__getitem__)},
        {name: min(x) for name, x in finite.items()},
        {name: max(x) for name, x in finite.items()},
        [name for name, column in columns.items() if column[-1] is not None],
        int(max(epochs, default=-1)) + 1,
    )


def _names(lines: list[str]) -> list[str]:
    """Return the cells of the first line that csv can read, as `_rows` does."""
    reader = csv.reader(lines)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return []
        except csv.Error:
            continue
        if row:
            return row


def _rows(lines: list[str]) -> Iterator[dict[str, float]]:
    reader = csv.reader(lines)
    columns: list[str] = []
    while True:
        try:
            row = next(reader)
            if not columns:
                columns = row
            elif len(row) == len(columns):
                yield {name: float(text) for name, text in zip(columns, row, strict=True) if text}
        except StopIteration:
            return
        except (ValueError, csv.Error):
            continue
