"""Labelled tables: selected columns of CSV, TSV and Parquet files; sequences as one array."""

from __future__ import annotations

import csv
import itertools
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from seqmodel.dataset.label.fasta_rows import fasta_rows
from seqmodel.dataset.seq.alphabet import BAD, Alphabet
from seqmodel.errors import LabelError, SequenceError
from seqmodel.extras import optional
from seqmodel.files import lines as lines_of
from seqmodel.files import reading

SLACK = 64
SLACK_CODES = np.zeros(SLACK, dtype=np.uint8)
_BLOCK = 1 << 22
"""Cells, and characters of the first column that is wanted, in a block of rows."""
_PARQUET_ROWS = 1024
_PARQUET = re.compile(r"\.(parquet|pq)(\.(gzip|gz|snappy|zstd|brotli|lz4))?$", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


@dataclass(frozen=True)
class Rows:
    """Selected columns of one or more files.

    Attributes:
        names: Names of the columns.
        columns: Texts of each column, n each.
        paths: Paths of the files.
        ends: Cumulative number of rows at the end of each file.
        lines: Line number of each row in its file, or row number in a Parquet file, from 1.
    """

    names: list[str]
    columns: list[list[str]]
    paths: list[str]
    ends: list[int]
    lines: list[int]

    def where(self, i: int) -> str:
        """Return file and line of row `i`, for a message."""
        number = next(k for k, end in enumerate(self.ends) if i < end)
        word = "row" if is_parquet(self.paths[number]) else "line"
        return f"{self.paths[number]} {word} {self.lines[i]}"

    def select(self, which: np.ndarray) -> Rows:
        """Return the rows of a mask; all rows are from one file."""
        chosen = np.flatnonzero(which).tolist()
        columns = [[x[i] for i in chosen] for x in self.columns]
        lines = [self.lines[i] for i in chosen]
        return Rows(self.names, columns, self.paths, [len(lines)], lines)

    def cell(self, i: int, column: int) -> str:
        """Return file, line and column, for a message."""
        return f"{self.where(i)} column {self.names[column]!r}"


class CodeArray:
    """Concatenated sequences in memory with `SLACK` bytes at both ends (see window.py)."""

    def __init__(self, codes: np.ndarray, lengths: np.ndarray) -> None:
        self.data = np.concatenate((SLACK_CODES, codes, SLACK_CODES))
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.offsets = SLACK + np.cumsum(self.lengths) - self.lengths

    @classmethod
    def padded(cls, data: np.ndarray, lengths: np.ndarray) -> CodeArray:
        """Return sequences whose codes already have `SLACK` bytes at both ends."""
        found = cls.__new__(cls)
        found.data, found.lengths = data, np.asarray(lengths, dtype=np.int64)
        found.offsets = SLACK + np.cumsum(found.lengths) - found.lengths
        return found


def is_parquet(path: str) -> bool:
    """Return whether a path has the extension of a Parquet file."""
    return _PARQUET.search(path) is not None


def read_rows(
    paths: Sequence[str | os.PathLike], columns: Sequence[str], *, named: bool, quotes: str = "auto"
) -> Rows:
    """Read selected columns of tables and concatenate them; arguments and errors: see `blocks`."""
    names: list[str] = []
    found: list[list[str]] = [[] for _ in columns]
    ends, lines = [], []
    for path in paths:
        for part in blocks([path], columns, named=named, quotes=quotes):
            names = part.names
            for column, more in zip(found, part.columns, strict=True):
                column.extend(more)
            lines += part.lines
        ends.append(len(lines))
    return Rows(names, found, [os.fspath(x) for x in paths], ends, lines)


def blocks(
    paths: Sequence[str | os.PathLike], columns: Sequence[str], *, named: bool, quotes: str = "auto"
) -> Iterator[Rows]:
    """Read selected columns of tables in blocks of rows of one file; memory is for one block.

    Args:
        paths: CSV or TSV files (tabs if the first line has one), plain or gzip; or Parquet files.
        columns: Names of the columns, or their numbers from 1.
        named: True if the first line of a CSV or TSV file has the names of the columns.
        quotes: Meaning of double quotes in CSV and TSV files; see `--quotes`.

    Raises:
        LabelError: A file has no such column, no rows, or rows of different length.
    """
    for path in (os.fspath(x) for x in paths):
        parts = (
            _parquet_blocks(path, list(columns))
            if is_parquet(path)
            else _text_blocks(path, list(columns), named, quotes)
        )
        n = 0
        for part in parts:
            n += len(part.lines)
            yield part
        if not n:
            raise LabelError(f"{path} has no rows")


def _text_blocks(path: str, columns: list[str], named: bool, quotes: str) -> Iterator[Rows]:
    rows = stream(path, quotes)
    first = next(rows, None)
    if first is None:
        return
    width = len(first[1])
    header = [x.strip() for x in first[1]] if named else []
    wanted = [column_in(path, x, header) for x in columns]
    names = [header[i] if header else x for i, x in zip(wanted, columns, strict=True)]
    if max(wanted) >= width:
        raise LabelError(f"{path} has {width} columns, but column {max(wanted) + 1} is requested")
    pick = itemgetter(*wanted) if len(wanted) > 1 else lambda fields: (fields[wanted[0]],)
    held: list[tuple[str, ...]] = []
    lines: list[int] = []
    size = 0
    for line, fields in rows if named else itertools.chain([first], rows):
        if len(fields) != width:
            raise LabelError(
                f"{path} line {line}: {len(fields)} columns, but the first line has {width} "
                "(is the line truncated, or is a separator in a field?)"
            )
        held.append(pick(fields))
        lines.append(line)
        size += len(wanted) + len(held[-1][0])
        if size > _BLOCK:
            yield _block(path, names, held, lines)
            held, lines, size = [], [], 0
    if held:
        yield _block(path, names, held, lines)


def _block(path: str, names: list[str], held: list[tuple[str, ...]], lines: list[int]) -> Rows:
    columns = [list(map(str.strip, x)) for x in zip(*held, strict=True)]
    return Rows(names, columns, [path], [len(lines)], lines)


def stream(path: str, quotes: str = "auto") -> Iterator[tuple[int, list[str]]]:
    """Iterate over the rows that are not blank: number of their first line, and fields.

    Args:
        path: CSV or TSV file (tabs if the first line has one, else commas or semicolons), or FASTA
            (see fasta_rows.py); plain or gzip.
        quotes: Meaning of double quotes; see `--quotes`.

    Raises:
        LabelError: The file cannot be read, or a quote is not closed.
    """
    lines = enumerate(lines_of(path, LabelError), 1)
    separator = ""
    for number, line in lines:
        text = line.rstrip("\r\n")
        if not text:
            continue
        if not separator:
            if text.startswith(">"):
                yield from fasta_rows(path)
                return
            separator = next((x for x in "\t,;" if x in text), ",")
            if quotes == "auto":
                quotes = "none" if separator == "\t" else "fields"
        if quotes == "none" or '"' not in text:
            yield number, text.split(separator)
        else:
            more = itertools.chain([line], (x for _, x in lines))
            own = more if quotes == "lines" else _one_line(path, number, line)
            yield number, _quoted(f"{path} line {number}", own, separator)


def _quoted(where: str, lines: Iterator[str], separator: str) -> list[str]:
    """Return the fields of one row with quotes; the row takes as many lines as it needs."""
    before = csv.field_size_limit(sys.maxsize)  # the default, 131072, applies to the whole process
    try:
        return next(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as e:
        raise LabelError(
            f"{where}: a quote is not closed, or text follows it ({e}); see --quotes"
        ) from e
    finally:
        csv.field_size_limit(before)


def _one_line(path: str, number: int, line: str) -> Iterator[str]:
    """Yield the line and refuse to read another: an unclosed quote would join rows."""
    yield line
    raise LabelError(
        f"{path} line {number}: a quote is not closed in its line; set --quotes=none if quotes "
        "mean nothing, or --quotes=lines if fields contain line breaks"
    )


def _parquet(path: str) -> Any:
    parquet = optional("pyarrow.parquet", f"{path}: Parquet", "parquet", LabelError)
    with reading(path, LabelError, "Parquet"):
        return parquet.ParquetFile(path, page_checksum_verification=True)


def _parquet_blocks(path: str, columns: list[str]) -> Iterator[Rows]:
    file = _parquet(path)
    header = list(file.schema_arrow.names)
    names = [header[column_in(path, x, header)] for x in columns]
    batches = file.iter_batches(_PARQUET_ROWS, columns=list(dict.fromkeys(names)))
    n = 0
    while True:
        with reading(path, LabelError, "Parquet"):
            batch = next(batches, None)
            texts = [] if batch is None else [_texts(batch.column(x)) for x in names]
        if batch is None:
            return
        yield Rows(names, texts, [path], [len(batch)], list(range(n + 1, n + len(batch) + 1)))
        n += len(batch)


def _texts(column: Any) -> list[str]:
    """Return the values of an Arrow array as texts; empty for null."""
    import pyarrow

    kind = column.type
    plain = pyarrow.types.is_integer(kind) or pyarrow.types.is_boolean(kind)
    if plain and not column.null_count:  # much faster than converting single values
        return list(map(str, column.to_numpy(zero_copy_only=False).tolist()))
    values = column.to_pylist()
    return [x.decode() if isinstance(x, bytes) else "" if x is None else str(x) for x in values]


def header_of(path: str, quotes: str = "auto") -> list[str]:
    """Return the column names of a table.

    Raises:
        LabelError: The file cannot be read.
    """
    if not is_parquet(path):
        return [x.strip() for x in next(stream(path, quotes), (0, []))[1]]
    return list(_parquet(path).schema_arrow.names)


def expanded(
    path: str, columns: Sequence[str], header: Sequence[str], n: int, used: Collection[int] = ()
) -> list[str]:
    """Expand `2-920` (columns 2 to 920) and `rest` (all others) to columns.

    A word that equals the name of a column means that column.

    Args:
        path: Path of the file, for messages.
        columns: Names, numbers from 1, ranges and `rest`.
        header: Names of the columns; empty if the file has none.
        n: Number of columns.
        used: Numbers from 0 of columns with another use; `rest` excludes them.

    Returns:
        Names of the columns, or numbers from 1 if the file has no names.

    Raises:
        LabelError: A range ends beyond the last column, or `rest` is empty.
    """
    names = list(header) or [str(i + 1) for i in range(n)]
    found: list[str] = []
    for word in columns:
        match = _RANGE.fullmatch(word)
        if match is None or word in header:
            found.append(word)
            continue
        first, last = int(match[1]), int(match[2])
        if not 1 <= first <= last <= n:
            raise LabelError(f"{path}: --label_columns {word}: the file has columns 1-{n}")
        found += names[first - 1 : last]
    if "rest" in found and "rest" not in header:
        at = found.index("rest")
        known = {*found, *(names[i] for i in used)}
        rest = [x for x in names if x not in known]
        if not rest:
            raise LabelError(f"{path}: --label_columns rest: no other column is left")
        found[at : at + 1] = rest
    return found


def column_in(path: str, column: str, header: list[str]) -> int:
    """Return the number from 0 of a column given by its name or its number from 1.

    Raises:
        LabelError: The column does not exist.
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
    """Encode all texts.

    Raises:
        SequenceError: A text is empty or not in the alphabet; `where(i)` names it.
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
        raise SequenceError(f"{where(int(empty[0]))}: the sequence is empty; remove the row")
    return CodeArray(found, lengths)
