"""Labelled tables: chosen columns of CSV, TSV and Parquet files; sequences as one array."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from seqmodel.dataset.label.fasta_rows import fasta_rows
from seqmodel.dataset.seq.alphabet import BAD, Alphabet
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

    def places(self) -> list[str]:
        """File and line of each row, with a tab between."""
        begin = [0, *self.ends]
        return [
            f"{path}\t{line}"
            for path, a, b in zip(self.paths, begin, self.ends, strict=False)
            for line in self.lines[a:b]
        ]

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


def read_rows(
    paths: Sequence[str | os.PathLike], columns: Sequence[str], *, named: bool, quotes: str = "auto"
) -> Rows:
    """Chosen columns of tables, one table after the other.

    Args:
        paths: CSV or TSV (tabs if the first line has one), plain or gzip; or Parquet.
        columns: names of the columns, or their numbers from 1.
        named: the first line of a CSV or TSV file has the names of the columns.
        quotes: what double quotes mean in CSV and TSV files, as `--quotes`.

    Raises:
        LabelError: a file has no such column, or rows of different length.
    """
    names: list[str] = []
    found: list[list[str]] = [[] for _ in columns]
    ends, lines = [], []
    for path in (os.fspath(x) for x in paths):
        if is_parquet(path):
            names, texts, numbers = _read_parquet(path, list(columns))
        else:
            names, texts, numbers = _read_text(path, list(columns), named, quotes)
        if not numbers:
            raise LabelError(f"{path}: has no row")
        for column, more in zip(found, texts, strict=True):
            column.extend(more)
        lines += numbers
        ends.append(len(lines))
    return Rows(names, found, [os.fspath(x) for x in paths], ends, lines)


def _read_text(
    path: str, columns: list[str], named: bool, quotes: str
) -> tuple[list[str], list[list[str]], list[int]]:
    rows, lines = _split(path, quotes)
    header = [x.strip() for x in rows[0]] if named and rows else []
    if header:
        rows, lines = rows[1:], lines[1:]
    if not rows:
        raise LabelError(f"{path}: has no row")
    wanted = [column_in(path, x, header) for x in columns]
    width = len(header or rows[0])
    uneven = next((i for i, x in enumerate(rows) if len(x) != width), None)
    if uneven is not None:
        raise LabelError(
            f"{path} line {lines[uneven]}: {len(rows[uneven])} columns, the first line has {width} "
            "(is it cut short, or is there a separator in a field?)"
        )
    if max(wanted) >= width:
        raise LabelError(f"{path}: {width} columns, column {max(wanted) + 1} is wanted")
    names = [header[i] if header else x for i, x in zip(wanted, columns, strict=True)]
    return names, [[x[i].strip() for x in rows] for i in wanted], lines


def _split(path: str, quotes: str) -> tuple[list[list[str]], list[int]]:
    """Fields of all rows that are not blank, and the line on which each begins."""
    found = list(stream(path, quotes))
    return [x for _, x in found], [i for i, _ in found]


def stream(path: str, quotes: str = "auto") -> Iterator[tuple[int, list[str]]]:
    """The line on which each row begins that is not blank, and its fields; one at a time.

    Args:
        path: CSV or TSV (tabs if the first line has one, else commas, else semicolons), or FASTA
            (see fasta_rows.py); plain or gzip.
        quotes: what double quotes mean, as `--quotes`.

    Raises:
        LabelError: the file cannot be read, or a quote is not closed.
    """
    first = next(lines_of(path, LabelError), "")
    if first.startswith(">"):
        yield from fasta_rows(path)
        return
    separator = next((x for x in "\t,;" if x in first), ",")
    if quotes == "none" or (quotes == "auto" and separator == "\t"):
        for number, line in enumerate(lines_of(path, LabelError), 1):
            if text := line.rstrip("\r\n"):
                yield number, text.split(separator)
    else:
        with _long_fields():
            yield from _quoted(path, separator, quotes == "lines")


def _quoted(path: str, separator: str, many_lines: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows with quotes, and the line on which each begins.

    A quote that is not closed would join rows in silence, so a row ends with its line unless
    `many_lines`.
    """
    n_done = 0

    def one_by_one() -> Iterator[str]:
        for number, line in enumerate(lines_of(path, LabelError), 1):
            if number > n_done + 1 and not many_lines:
                raise LabelError(
                    f"{path} line {n_done + 1}: a quote is not closed in its line; --quotes=none "
                    "if quotes mean nothing, --quotes=lines if fields contain line breaks"
                )
            yield line

    reader = csv.reader(one_by_one(), delimiter=separator, strict=True)
    try:
        for row in reader:
            if row:
                yield n_done + 1, row
            n_done = reader.line_num
    except csv.Error as e:
        raise LabelError(
            f"{path} line {n_done + 1}: a quote is not closed, or text follows it ({e}); see "
            "--quotes"
        ) from e


@contextmanager
def _long_fields() -> Iterator[None]:
    """While it lasts, csv reads fields of any length: its limit is 131072 characters."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_parquet(path: str, columns: list[str]) -> tuple[list[str], list[list[str]], list[int]]:
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


def header_of(path: str, quotes: str = "auto") -> list[str]:
    """Names of the columns of a table.

    Raises:
        LabelError: it cannot be read.
    """
    if not is_parquet(path):
        return [x.strip() for x in next(stream(path, quotes), (0, []))[1]]
    try:
        from pyarrow import parquet
    except ImportError as e:
        raise LabelError(f"{path}: Parquet files need pyarrow; pip install pyarrow") from e
    with reading(path, LabelError, "Parquet"):
        return list(parquet.read_schema(path).names)


def column_in(path: str, column: str, header: list[str]) -> int:
    """Number from 0 of a column given by its name or its number from 1.

    Raises:
        LabelError: there is none.
    """
    if header.count(column) > 1:
        raise LabelError(f"{path}: several columns are named {column!r}; rename one")
    if column in header:
        return header.index(column)
    if column.isdigit() and 0 < int(column) <= (len(header) or int(column)):
        return int(column) - 1
    there = f"it has {', '.join(header)}" if header else "it has no line of names; give a number"
    is_quoted = any(x.startswith('"') for x in header)
    advice = "--quotes=fields" if is_quoted else "--sequence_column and --label_columns"
    raise LabelError(f"{path}: no column {column!r}; {there}; see {advice}")


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
