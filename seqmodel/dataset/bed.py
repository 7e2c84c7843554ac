"""BED files: text -> Intervals and, where asked for, one more column.

Read in blocks that become columns at once, so that memory stays near that of the result. A block
is first taken as plain tab-separated BED (bed_columns.py); only if it is not are its lines looked
at one by one, and a wrong one is named by its file and number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.bed_columns import Columns, plain_columns
from seqmodel.dataset.interval import STRANDS, Contigs, Intervals, concatenate
from seqmodel.errors import IntervalError
from seqmodel.files import lines, open_unpacked, text_of

BED_NAMES = ("chrom", "start", "end", "name", "score", "strand")
_BLOCK_BYTES = 1 << 23
_NOT_DATA = ("#", "track ", "track\t", "browser ", "browser\t")
_FIRST_NAMES = {"chrom", "chr", "chromosome", "contig", "seqname", "seqnames", "seqid"}


class Rows(NamedTuple):
    """Fields of the data lines of a block of a file, and the line number of each, from 1."""

    path: str
    fields: list[list[str]]
    lines: list[int] | range

    def where(self, i: int) -> str:
        """File and line of row `i`, for a message."""
        return f"{self.path} line {self.lines[i]}"


class Bed(NamedTuple):
    """Intervals of a file, the text that stands in one of its columns, and their line numbers."""

    path: str
    intervals: Intervals
    texts: list[str]
    lines: np.ndarray

    def where(self, i: int) -> str:
        """File and line of interval `i`, for a message."""
        return f"{self.path} line {self.lines[i]}"


def read_bed(path: str | os.PathLike, contigs: Contigs, column: str | int | None = None) -> Bed:
    """Intervals of a BED file of 3 or more columns, in its order, and the texts of one column.

    Args:
        path: plain or gzip; lines with '#', track and browser lines are left out.
        contigs: what the coordinates refer to; they are checked against it.
        column: one more column to return: its number from 1, or its name in the header line.
            Without it the list of texts is empty.

    Raises:
        IntervalError: a line is malformed or outside of its contig; file and line are named.
    """
    path = os.fspath(path)
    parts: list[Intervals] = []
    texts: list[str] = []
    at: list[np.ndarray] = []
    header = _read_header(path)
    number = None if column is None else column_number(path, column, header)
    for block, first in _blocks(path):
        plain = plain_columns(block, contigs)
        rows = None
        if plain is None or number is not None or b"\0" in block:
            rows = _rows(path, block, first)
        if plain is None:
            rows = _clean(rows, contigs)
            plain = _columns(rows, contigs)
        if not len(plain.start):
            continue
        numbers = np.arange(first, first + len(plain.start)) if rows is None else rows.lines
        part = Intervals(contigs, plain.contig, plain.start, plain.end - plain.start, plain.strand)
        at.append(np.asarray(numbers))
        check_rows(lambda i, n=at[-1]: f"{path} line {n[i]}", part)
        parts.append(part)
        texts += [] if number is None else _column(rows, number)
    if not parts:
        raise IntervalError(f"{path}: has no interval; BED lines are: contig, start, end")
    return Bed(path, concatenate(parts), texts, np.concatenate(at))


def _blocks(path: str) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole lines, and the number of the first line of each, from 1."""
    first, rest = 1, b""
    with open_unpacked(path, IntervalError) as f:
        while more := f.read(_BLOCK_BYTES):
            block, newline, rest = (rest + more).rpartition(b"\n")
            if newline:
                yield block + newline, first
                first += block.count(b"\n") + 1
    if rest:
        yield rest, first


def _rows(path: str, block: bytes, first: int) -> Rows:
    text = _text(path, block, first)
    split = [x.split("\t") for x in text.removesuffix("\n").split("\n")]
    return Rows(path, split, range(first, first + len(split)))


def _text(path: str, block: bytes, first: int) -> str:
    if first == 1:
        block = block.removeprefix(b"\xef\xbb\xbf")
    try:
        return text_of(block, lambda: path, IntervalError)
    except IntervalError:  # looked for line by line only where there is something to find
        for number, line in enumerate(block.split(b"\n"), first):
            text_of(line, lambda n=number: f"{path} line {n}", IntervalError)
        raise


def _columns(rows: Rows, contigs: Contigs) -> Columns:
    """Columns of rows that were checked."""
    fields = rows.fields
    return Columns(
        np.array([contigs.numbers[x[0]] for x in fields], dtype=np.int32),
        np.array([int(x[1]) for x in fields], dtype=np.int64),
        np.array([int(x[2]) for x in fields], dtype=np.int64),
        np.array([STRANDS[x[5]] if len(x) > 5 else 0 for x in fields], dtype=np.int8),
    )


def _clean(rows: Rows, contigs: Contigs) -> Rows:
    """The data lines of a block that is not plain; each of them is checked."""
    kept: list[list[str]] = []
    lines: list[int] = []
    for i, raw in enumerate(rows.fields):
        fields = [x.strip() for x in raw] if len(raw) > 1 else raw[0].split()
        if not any(fields) or "\t".join(raw).startswith(_NOT_DATA) or _is_header(fields):
            continue
        _check_fields(rows.where(i), fields, contigs)
        kept.append(fields)
        lines.append(rows.lines[i])
    return Rows(rows.path, kept, lines)


def _check_fields(where: str, fields: list[str], contigs: Contigs) -> None:
    if len(fields) < 3:
        raise IntervalError(
            f"{where}: {len(fields)} columns, BED needs contig, start, end separated by tabs"
        )
    for name, text in zip(("start", "end"), fields[1:3], strict=True):
        try:
            int(text)
        except ValueError:
            raise IntervalError(f"{where}: {name} {text!r} is not a whole number") from None
    if fields[0] not in contigs.numbers:
        raise IntervalError(f"{where}: {contigs.unknown(fields[0])}")
    if len(fields) > 5 and fields[5] not in STRANDS:
        raise IntervalError(f"{where}: strand {fields[5]!r} is none of + - . (column 6)")


def check_rows(where: Callable[[int], str], part: Intervals) -> None:
    """Refuses the first interval that is empty or outside of its contig.

    Raises:
        IntervalError: with `where(i)` of interval i.
    """
    wrong = np.flatnonzero((part.length <= 0) | ~part.is_inside)
    if not len(wrong):
        return
    i = int(wrong[0])
    x, size = part[i], int(part.contigs.lengths[part.contig[i]])
    if x.start < 0:
        what = f"start {x.start} is negative"
    elif x.end <= x.start:
        what = f"end {x.end} is not after start {x.start}"
    else:
        what = f"{x} ends beyond its contig, which has {size} letters"
    raise IntervalError(f"{where(i)}: {what}")


def _is_header(fields: list[str]) -> bool:
    named = len(fields) > 1 and fields[0].lstrip("#").lower() in _FIRST_NAMES
    return named and not fields[1].lstrip("-").isdigit()


def _read_header(path: str) -> list[str]:
    """Names of the columns from the header line, as `#chrom start end label`; else none."""
    for line in lines(path, IntervalError):
        fields = line.strip().lstrip("#").split("\t" if "\t" in line else None)
        if line.strip() and _is_header(fields):
            return [x.strip() for x in fields]
        if line.strip() and not line.startswith(_NOT_DATA):
            break
    return []


def column_number(path: str, column: str | int, header: list[str]) -> int:
    """Number from 0 of a column given by its number from 1 or by its name."""
    text = str(column)
    if text.isdigit() and int(text) > 0:
        return int(text) - 1
    for names in (header, BED_NAMES):
        if text in names:
            return list(names).index(text)
    known = ", ".join(header) or "no header line (begin it with #chrom)"
    raise IntervalError(f"{path}: no column {text!r}; there is {known}; its number will also do")


def _column(rows: Rows, number: int) -> list[str]:
    try:
        return [x[number].strip() for x in rows.fields]
    except IndexError:
        i = next(i for i, x in enumerate(rows.fields) if len(x) <= number)
        raise IntervalError(
            f"{rows.where(i)}: {len(rows.fields[i])} columns, column {number + 1} is wanted"
        ) from None
