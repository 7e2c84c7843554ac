"""BED files: text -> Intervals and, on request, more columns.

Files are read in blocks that become columns at once, so memory stays close to the size of the
result. A block is first parsed as plain tab-separated BED (bed_columns.py). If it is not plain, its
lines are parsed one by one; messages name the file and number of a wrong line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.interval.bed_columns import MOST_DIGITS, Columns, plain_columns
from seqmodel.dataset.interval.interval import STRANDS, Contigs, Intervals, concatenate
from seqmodel.errors import IntervalError
from seqmodel.files import lines, open_unpacked, text_of

BED_NAMES = ("chrom", "start", "end", "name", "score", "strand")
_BLOCK_BYTES = 1 << 23
NOT_DATA = ("#", "track ", "track\t", "browser ", "browser\t")
_FIRST_NAMES = {"chrom", "chr", "chromosome", "contig", "seqname", "seqnames", "seqid"}
_SECOND_ENDS = ("start", "begin", "beg", "from", "pos", "position")
_WHOLE = re.compile(r"-?[0-9]+")
_ACCESSION = re.compile(r"E[HM][0-9]{2}[DE][0-9]{7}")
BAD_ADVICE = "--bad_intervals=skip leaves such intervals out"
SIGNS = {**STRANDS, "*": 0}
"""What stands for a strand in BED files; R writes * for none."""


class Rows(NamedTuple):
    """Fields of the data lines of a block, and the line number of each, from 1."""

    path: str
    fields: list[list[str]]
    lines: list[int] | range

    def where(self, i: int) -> str:
        """Return file and line of row `i`, for a message."""
        return f"{self.path} line {self.lines[i]}"


class Bed(NamedTuple):
    """Intervals of a file, the texts of one of its columns, and the line numbers."""

    path: str
    intervals: Intervals
    texts: list[str]
    lines: np.ndarray

    def where(self, i: int) -> str:
        """Return file and line of interval `i`, for a message."""
        return f"{self.path} line {self.lines[i]}"


Each = Callable[[list[list[str]], Callable[[int], str]], None]
"""What is called with each block: the texts of some columns, and file and line of row i."""


class Skipped:
    """Intervals that cannot be read and are left out.

    Attributes:
        counts: Number of intervals, by reason.
        first: What is wrong with the first one.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first = ""

    def add(self, why: str, n: int, message: str) -> None:
        """Count `n` more; `message` says what is wrong with the first of them."""
        self.counts[why] = self.counts.get(why, 0) + n
        self.first = self.first or message


class Layout(NamedTuple):
    """Columns of a file: the strand column, from 0, and whether it is required.

    `strand` is None if the file has no strand column.
    """

    header: list[str]
    strand: int | None
    strand_is_needed: bool = False


def read_bed(
    path: str | os.PathLike,
    contigs: Contigs,
    column: str | int | Sequence[str | int] | None = None,
    strand: str | int | None = None,
    *,
    each: Each | None = None,
    skipped: Skipped | None = None,
) -> Bed:
    """Read the intervals of a BED file with 3 or more columns, and the texts of some columns.

    Every line must have equally many columns, separated by tabs, or by blanks if the line has no
    tab.

    Args:
        path: Path of a plain or gzip file; lines with '#', track and browser lines are skipped.
        contigs: Contigs of the coordinates, which are checked against them.
        column: One more column to return: its number from 1, or its name in the header line.
            If unset, the list of texts is empty. Several columns need `each`.
        strand: Strand column, in the same way, or "none". Default: the column with this name in
            the header line, else column 6 if present.
        each: Function that receives the texts of the columns, block by block, instead.
        skipped: Counter of intervals that are left out: on unknown contigs, empty, or beyond the
            end of their contig. If unset, these are errors.

    Raises:
        IntervalError: A line is malformed or outside its contig; the message names file and line.
    """
    path = os.fspath(path)
    parts: list[Intervals] = []
    texts: list[str] = []
    at: list[np.ndarray] = []
    layout = layout_of(path, strand)
    numbers = [column_number(path, x, layout.header) for x in columns_in(column)]
    width = 0
    for block, first in _blocks(path):
        plain = plain_columns(block, contigs, layout.strand)
        rows = None
        needed = layout.strand if layout.strand_is_needed else None
        if plain is None or numbers or b"\0" in block:
            rows = _rows(path, block, first)
        if plain is None or (needed is not None and plain.width <= needed):
            rows = _clean(rows or _rows(path, block, first), contigs, layout, width, skipped)
            plain = _columns(rows, contigs, layout.strand)
        if not len(plain.start):
            continue
        if width not in (0, plain.width):
            raise _uneven(f"{path} line {first}", plain.width, width)
        width = plain.width
        lines = np.asarray(range(first, first + len(plain.start)) if rows is None else rows.lines)
        part = Intervals(contigs, plain.contig, plain.start, plain.end - plain.start, plain.strand)
        kept = rows_kept(partial(_where, path, lines), part, skipped)
        found = [] if rows is None else [_column(rows, x) for x in numbers]
        if not kept.all():
            part, lines = part.select(kept), lines[kept]
            found = [list(compress(x, kept)) for x in found]
        at.append(lines)
        parts.append(part)
        if each is not None:
            each(found, partial(_where, path, lines))
        else:
            texts += found[0] if found else []
    if not any(map(len, parts)):
        why = f" that can be read; {skipped.first}" if skipped and skipped.first else ""
        raise IntervalError(f"{path} has no interval{why or '; BED lines are: contig, start, end'}")
    return Bed(path, concatenate(parts), texts, np.concatenate(at))


def columns_in(column: str | int | Sequence[str | int] | None) -> list[str | int]:
    """Return the requested columns: one, several or none."""
    if column is None:
        return []
    return [column] if isinstance(column, str | int) else list(column)


def _where(path: str, lines: np.ndarray, i: int) -> str:
    return f"{path} line {lines[i]}"


def layout_of(path: str, strand: str | int | None) -> Layout:
    """Return the columns of a file; for `strand` see `read_bed`."""
    return head_of(path, strand)[0]


def head_of(path: str, strand: str | int | None) -> tuple[Layout, list[str]]:
    """Return the columns of a file and the fields of its first data line."""
    header, first = _read_head(path)
    if strand == "none":
        return Layout(header, None), first
    if strand is not None:
        return Layout(header, column_number(path, strand, header), True), first
    names = [x.lower() for x in header]
    if "strand" in names:
        return Layout(header, names.index("strand"), True), first
    return Layout(header, None if len(names) > 5 or _is_ccre(first) else 5), first


def _is_ccre(fields: list[str]) -> bool:
    """Return whether a line is an ENCODE cCRE, which has its type in column 6."""
    is_kind = len(fields) > 5 and fields[5] not in SIGNS
    return is_kind and all(_ACCESSION.fullmatch(x) for x in fields[3:5])


def _uneven(where: str, n: int, width: int) -> IntervalError:
    return IntervalError(
        f"{where}: {n} columns, the lines before have {width}; every line of a BED file has "
        "equally many (is this one cut short?)"
    )


def _blocks(path: str) -> Iterator[tuple[bytes, int]]:
    """Iterate over blocks of whole lines, with the number of their first line, from 1."""
    first, rest = 1, b""
    with open_unpacked(path, IntervalError) as f:
        is_mac = None
        while more := f.read(_BLOCK_BYTES):
            if is_mac is None:  # lines that end with CR only
                is_mac = b"\r" in more and b"\n" not in more
            if is_mac:
                more = more.replace(b"\r", b"\n")
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
    except IntervalError:  # searched line by line only if the block has a match
        for number, line in enumerate(block.split(b"\n"), first):
            text_of(line, partial("{} line {}".format, path, number), IntervalError)
        raise


def _columns(rows: Rows, contigs: Contigs, strand: int | None) -> Columns:
    """Return the columns of checked rows."""
    fields = rows.fields
    width = len(fields[0]) if fields else 0
    signs = [] if strand is None or strand >= width else [SIGNS[x[strand]] for x in fields]
    return Columns(
        np.array([contigs.numbers[x[0]] for x in fields], dtype=np.int32),
        np.array([int(x[1]) for x in fields], dtype=np.int64),
        np.array([int(x[2]) for x in fields], dtype=np.int64),
        np.array(signs, dtype=np.int8) if signs else 0,
        width,
    )


def _clean(
    rows: Rows, contigs: Contigs, layout: Layout, width: int, skipped: Skipped | None
) -> Rows:
    """Return the data lines of a block that is not plain, after checking each of them."""
    kept: list[list[str]] = []
    lines: list[int] = []
    for i, raw in enumerate(rows.fields):
        fields = [x.strip() for x in raw] if len(raw) > 1 else raw[0].split()
        if not any(fields) or "\t".join(raw).startswith(NOT_DATA) or is_header(raw):
            continue
        _check_fields(rows.where(i), fields, layout)
        width = width or len(fields)
        if len(fields) != width:
            raise _uneven(rows.where(i), len(fields), width)
        if not is_known(rows.where(i), fields[0], contigs, skipped):
            continue
        kept.append(fields)
        lines.append(rows.lines[i])
    return Rows(rows.path, kept, lines)


def _check_fields(where: str, fields: list[str], layout: Layout) -> None:
    if len(fields) < 3:
        raise IntervalError(
            f"{where}: {len(fields)} columns, but BED needs contig, start, end separated by tabs"
        )
    for name, text in zip(("start", "end"), fields[1:3], strict=True):
        whole_number(text, partial("{}: {}".format, where, name))
    at = layout.strand
    if at is None or (len(fields) <= at and not layout.strand_is_needed):
        return
    if len(fields) <= at:
        raise IntervalError(f"{where}: {len(fields)} columns, but the strand is column {at + 1}")
    if fields[at] not in SIGNS:
        raise IntervalError(
            f"{where}: strand {fields[at]!r} is not one of + - . * (column {at + 1}); "
            "set --strand_column to another column or to none"
        )


def whole_number(text: str, what: Callable[[], str]) -> int:
    """Parse a whole number; `what()` names it in the message.

    Raises:
        IntervalError: The text is not a whole number, or is larger than any contig.
    """
    if not _WHOLE.fullmatch(text):
        raise IntervalError(f"{what()} {text!r} is not a whole number")
    if len(text.lstrip("-0")) > MOST_DIGITS:
        raise IntervalError(f"{what()} {text} is larger than any contig")
    return int(text)


def is_known(where: str, name: str, contigs: Contigs, skipped: Skipped | None) -> bool:
    """Return whether a contig is known, and count unknown ones.

    Raises:
        IntervalError: It is unknown, and `skipped` is unset.
    """
    if name in contigs.numbers:
        return True
    message = f"{where}: {contigs.unknown(name)}"
    if skipped is None:
        raise IntervalError(f"{message}; {BAD_ADVICE}")
    skipped.add("on an unknown contig", 1, message)
    return False


def rows_kept(
    where: Callable[[int], str], part: Intervals, skipped: Skipped | None = None
) -> np.ndarray:
    """Return which intervals are on their contig and not empty, bool [n]; count the others.

    Raises:
        IntervalError: An interval is wrong, and `skipped` is unset; `where(i)` names interval i.
    """
    kinds = {
        "of zero length": part.length <= 0,
        "beyond the end of their contig": (part.length > 0) & ~part.is_inside,
    }
    kept = ~np.logical_or(*kinds.values())
    if skipped is None and not kept.all():
        i = int(np.argmin(kept))
        raise IntervalError(f"{where(i)}: {_wrong(part, i)}; {BAD_ADVICE}")
    for why, which in kinds.items():
        n = int(np.count_nonzero(which))
        if n and skipped is not None:
            i = int(np.argmax(which))
            skipped.add(why, n, f"{where(i)}: {_wrong(part, i)}")
    return kept


def _wrong(part: Intervals, i: int) -> str:
    """Return what is wrong with an interval that is empty or outside its contig."""
    x, size = part[i], int(part.contigs.lengths[part.contig[i]])
    if x.start < 0:
        return f"start {x.start} is negative"
    if x.end <= x.start:
        return f"end {x.end} is not after start {x.start}"
    return f"{x} ends beyond its contig, which has {size} letters"


def is_header(raw: list[str]) -> bool:
    """Return whether the fields between tabs are the names of columns.

    Without tabs, a comment in prose may begin with such a word.
    """
    fields = raw if len(raw) > 1 else raw[0].lstrip("#").split()
    if len(fields) < 2 or fields[0].strip().lstrip("#").strip().lower() not in _FIRST_NAMES:
        return False
    second = fields[1].strip().lower()
    if len(raw) == 1 and not second.endswith(_SECOND_ENDS):
        return False
    return not second.lstrip("-").isdigit()


def _read_head(path: str) -> tuple[list[str], list[str]]:
    """Read the column names in the header, such as `#chrom start end label`, and the first line.

    Both are empty if missing.
    """
    header: list[str] = []
    for line in lines(path, IntervalError):
        text = line.strip()
        raw = text.split("\t")
        if text and is_header(raw):
            names = raw if len(raw) > 1 else text.lstrip("#").split()
            header = header or [x.strip().lstrip("#").strip() for x in names]
        elif text and not line.startswith(NOT_DATA):
            return header, raw if len(raw) > 1 else text.split()
    return header, []


def column_number(path: str, column: str | int, header: list[str]) -> int:
    """Return the number from 0 of a column given by its number from 1 or its name."""
    text = str(column)
    if text.isdigit() and int(text) > 0:
        return int(text) - 1
    names = header or list(BED_NAMES)
    if names.count(text) > 1:
        raise IntervalError(f"{path}: several columns are named {text!r}; give its number from 1")
    if text in names:
        return names.index(text)
    known = ", ".join(header) or "no header line (begin it with #chrom)"
    raise IntervalError(
        f"{path}: no column {text!r}; the file has {known}; a number from 1 is also valid"
    )


def _column(rows: Rows, number: int) -> list[str]:
    try:
        return [x[number].strip() for x in rows.fields]
    except IndexError:
        i = next(i for i, x in enumerate(rows.fields) if len(x) <= number)
        raise IntervalError(
            f"{rows.where(i)}: {len(rows.fields[i])} columns, but column {number + 1} is requested"
        ) from None
