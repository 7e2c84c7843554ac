"""Labelled tables: chosen columns of CSV, TSV and Parquet files; sequences as one array."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqmodel.dataset.alphabet import BAD, Alphabet
from seqmodel.errors import LabelError, SequenceError
from seqmodel.files import lines as lines_of
from seqmodel.files import reading

SLACK = 64


@dataclass(frozen=True)
class Rows:
    """Chosen columns of one or more files.

    Attributes:
        names: names of the columns.
        columns: texts of each column, n each.
        paths: the files.
        ends: number of rows up to the end of each file.
        lines: line of each row in its file, or its number in a Parquet file, from 1.
    """

    names: list[str]
    columns: list[list[str]]
    paths: list[str]
    ends: list[int]
    lines: list[int]

    def where(self, i: int) -> str:
        """File and line of row `i`, for a message."""
        number = next(k for k, end in enumerate(self.ends) if i < end)
        word = "row" if is_parquet(self.paths[number]) else "line"
        return f"{self.paths[number]} {word} {self.lines[i]}"

    def cell(self, i: int, column: int) -> str:
        """File, line and column, for a message."""
        return f"{self.where(i)} column {self.names[column]!r}"


class CodeArray:
    """Sequences in memory, one after the other, with `SLACK` bytes at both ends (see window.py)."""

    def __init__(self, codes: np.ndarray, lengths: np.ndarray) -> None:
        slack = np.zeros(SLACK, dtype=np.uint8)
        self.data = np.concatenate((slack, codes, slack))
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.offsets = SLACK + np.cumsum(self.lengths) - self.lengths

    @staticmethod
    def joined(parts: Sequence[CodeArray]) -> CodeArray:
        """The sequences of all parts, in order."""
        codes = np.concatenate([x.data[SLACK:-SLACK] for x in parts])
        return CodeArray(codes, np.concatenate([x.lengths for x in parts]))


def is_parquet(path: str) -> bool:
    """Whether a path has the name of a Parquet file."""
    return path.lower().endswith((".parquet", ".pq"))


def read_rows(paths: Sequence[str | os.PathLike], columns: Sequence[str], *, named: bool) -> Rows:
    """Chosen columns of tables, one table after the other.

    Args:
        paths: CSV or TSV (tabs if the first line has one), plain or gzip; or Parquet.
        columns: names of the columns, or their numbers from 1.
        named: the first line of a CSV or TSV file has the names of the columns.

    Raises:
        LabelError: a file has no such column, or a row has too few.
    """
    names: list[str] = []
    found: list[list[str]] = [[] for _ in columns]
    ends, lines = [], []
    for path in map(os.fspath, paths):
        read = _read_parquet if is_parquet(path) else _read_text
        names, texts, numbers = read(path, list(columns), named)
        if not numbers:
            raise LabelError(f"{path}: has no row")
        for column, more in zip(found, texts, strict=True):
            column.extend(more)
        lines += numbers
        ends.append(len(lines))
    return Rows(names, found, [os.fspath(x) for x in paths], ends, lines)


def _read_text(
    path: str, columns: list[str], named: bool
) -> tuple[list[str], list[list[str]], list[int]]:
    rows, lines = [], []
    first = next(lines_of(path, LabelError), "")
    reader = csv.reader(lines_of(path, LabelError), delimiter="\t" if "\t" in first else ",")
    try:
        for row in reader:
            if row:
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as e:
        raise LabelError(f"{path} line {reader.line_num + 1}: cannot be read ({e})") from e
    header = [x.strip() for x in rows[0]] if named and rows else []
    if header:
        rows, lines = rows[1:], lines[1:]
    if not rows:
        raise LabelError(f"{path}: has no row")
    wanted = [column_in(path, x, header) for x in columns]
    short = next((i for i, x in enumerate(rows) if len(x) <= max(wanted)), None)
    if short is not None:
        raise LabelError(
            f"{path} line {lines[short]}: {len(rows[short])} columns, {max(wanted) + 1} are wanted"
        )
    names = [header[i] if header else x for i, x in zip(wanted, columns, strict=True)]
    return names, [[x[i].strip() for x in rows] for i in wanted], lines


def _read_parquet(
    path: str, columns: list[str], named: bool
) -> tuple[list[str], list[list[str]], list[int]]:
    try:
        from pyarrow import parquet
    except ImportError as e:
        raise LabelError(f"{path}: Parquet files need pyarrow; pip install pyarrow") from e
    with reading(path, LabelError, "Parquet"):
        header = parquet.read_schema(path).names
    names = [header[column_in(path, x, header)] for x in columns]
    with reading(path, LabelError, "Parquet"):
        table = parquet.read_table(
            path, columns=list(dict.fromkeys(names)), page_checksum_verification=True
        )
        texts = [
            ["" if x is None else str(x) for x in table.column(name).to_pylist()] for name in names
        ]
    return names, texts, list(range(1, table.num_rows + 1))


def column_in(path: str, column: str, header: list[str]) -> int:
    """Number from 0 of a column given by its name or its number from 1.

    Raises:
        LabelError: there is none.
    """
    if column in header:
        return header.index(column)
    if column.isdigit() and 0 < int(column) <= (len(header) or int(column)):
        return int(column) - 1
    there = f"it has {', '.join(header)}" if header else "it has no line of names; give a number"
    raise LabelError(
        f"{path}: no column {column!r}; {there}; see --sequence_column and --label_columns"
    )


def encode_all(texts: list[str], alphabet: Alphabet, where: Callable[[int], str]) -> CodeArray:
    """Codes of all texts.

    Raises:
        SequenceError: a text is empty or not of the alphabet; `where(i)` names it.
    """
    if alphabet.is_single:
        codes = "".join(texts).encode("ascii", "replace").translate(alphabet.encode_table)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        wrong = codes.find(BAD)
        if wrong >= 0:
            i = int(np.searchsorted(np.cumsum(lengths), wrong, side="right"))
            alphabet.encode(texts[i], where(i))
        found = np.frombuffer(codes, dtype=np.uint8)
    else:
        parts = [alphabet.encode(x, where(i)) for i, x in enumerate(texts)]
        found = np.concatenate(parts)
        lengths = np.array([len(x) for x in parts], dtype=np.int64)
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        raise SequenceError(f"{where(int(empty[0]))}: the sequence is empty; leave out the row")
    return CodeArray(found, lengths)
