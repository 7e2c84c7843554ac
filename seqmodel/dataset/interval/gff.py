"""GFF3, GTF and GFF2 files: lines -> Intervals and the texts of one column or attribute.

Attributes are read by the rules of each format (docs/decisions/gff.md):

    GFF3        key=value;key=value,value    with percent-encoding; quotes are characters
    GTF, GFF2   key "value"; key 3;          with semicolons in quotes; '#' outside quotes begins a
                                             comment; a key may occur several times

Several values are joined by commas.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from seqmodel.dataset.interval.bed import (
    SIGNS,
    Bed,
    Each,
    Skipped,
    column_number,
    columns_in,
    is_known,
    rows_kept,
    whole_number,
)
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.errors import IntervalError
from seqmodel.files import lines

NAMES = ["seqid", "source", "type", "start", "end", "score", "strand", "phase", "attributes"]

_VERSION = re.compile(r"##\s*gff-version\s+(\d+)", re.IGNORECASE)
_NOT_DATA = ("#", "track ", "browser ")
SIGNS_OF_GFF = {**SIGNS, "?": 0}
# one attribute of GTF: key, then a quoted or a plain value; \" is a quote inside quotes
_GTF_ATTRIBUTE = re.compile(r'\s*([^\s;"#]+)\s+(?:"((?:\\"|[^"])*)"|([^\s;"#]+))\s*(?:;|$|(?=#))')
_GFF3_KEY = re.compile(r"\s*[^\s;=]+=")


class Line(NamedTuple):
    """Feature line with its nine fields."""

    number: int
    where: str
    fields: list[str]
    is_gff3: bool


class _Feature(NamedTuple):
    line: int
    contig: str
    start: int
    end: int
    strand: int
    texts: list[str]


def read_gff(
    path: str | os.PathLike,
    contigs: Contigs,
    column: str | int | Sequence[str | int] | None = None,
    feature: str | None = None,
    strand: str | int | None = None,
    *,
    each: Each | None = None,
    skipped: Skipped | None = None,
) -> Bed:
    """Read the intervals of a GFF3, GTF or GFF2 file, and the texts of a column or attribute.

    Args:
        path: .gff3, .gtf, or .gff file, plain or gzip; the `##gff-version` line or else the first
            attributes determine the version of .gff.
        contigs: Contigs of the coordinates.
        column: Number from 1, or name of a column in `NAMES` or of an attribute.
        feature: Type of the lines to read, such as gene or CDS; None reads all. Each line is a
            separate interval, including the segments of one CDS.
        strand: Column or attribute with the strand, or "none". Default: column 7.
        each: See `read_bed`.
        skipped: See `read_bed`.

    Raises:
        IntervalError: A line is malformed or outside its contig; the message names file and line.
    """
    path = os.fspath(path)
    kinds: set[str] = set()
    found: list[_Feature] = []
    for line in features_of(path):
        kinds.add(line.fields[2])
        is_wanted = feature is None or line.fields[2] == feature
        if is_wanted and is_known(line.where, line.fields[0], contigs, skipped):
            found.append(_feature(line, columns_in(column), strand))
    if not found and skipped and skipped.first:
        raise IntervalError(f"{path}: has no interval that can be read; {skipped.first}")
    if not found:
        there = f"; it has {', '.join(sorted(kinds)[:12])}" if kinds else ""
        raise IntervalError(
            f"{path}: no line has feature {feature!r}{there}; set --feature to another type"
        )
    start = np.array([x.start for x in found])
    intervals = Intervals(
        contigs,
        np.array([contigs.numbers[x.contig] for x in found]),
        start,
        np.array([x.end for x in found]) - start,
        np.array([x.strand for x in found]),
    )
    lines = np.array([x.line for x in found])
    kept = rows_kept(Bed(path, intervals, [], lines).where, intervals, skipped)
    columns = [list(compress(x, kept)) for x in zip(*(x.texts for x in found), strict=True)]
    bed = Bed(path, intervals.select(kept), columns[0] if columns else [], lines[kept])
    if not len(bed.intervals) and skipped:
        raise IntervalError(f"{path}: has no interval that can be read; {skipped.first}")
    if each is not None:
        each(columns, bed.where)
    return bed


def features_of(path: str) -> Iterator[Line]:
    """Iterate over the feature lines, with nine fields each."""
    is_gff3 = _is_gff3_by_name(path)
    for number, text in enumerate(lines(path, IntervalError), 1):
        if text.startswith(("##FASTA", ">")):
            return
        version = _VERSION.match(text)
        if version is not None:
            is_gff3 = int(version[1]) >= 3
        if not text.strip() or text.startswith(_NOT_DATA):
            continue
        where = f"{path} line {number}"
        fields = _fields(where, text)
        if is_gff3 is None and fields[8].strip("."):
            is_gff3 = _GFF3_KEY.match(fields[8]) is not None
        if is_gff3:
            fields[:8] = [_decoded(x) for x in fields[:8]]
        yield Line(number, where, fields, bool(is_gff3))


def _is_gff3_by_name(path: str) -> bool | None:
    name = re.sub(r"\.b?gz$", "", path.lower())
    return True if name.endswith(".gff3") else False if name.endswith(".gtf") else None


def _fields(where: str, text: str) -> list[str]:
    fields = [x.strip() for x in text.rstrip("\r\n").split("\t")]
    if len(fields) < 9:
        raise IntervalError(f"{where}: {len(fields)} columns, but GFF and GTF have 9 between tabs")
    if any(x and not x.startswith("#") for x in fields[9:]):
        raise IntervalError(
            f"{where}: {len(fields)} columns, but GFF and GTF have 9 (a tab in an attribute is "
            "written %09 in GFF3)"
        )
    return fields[:9]


def _feature(line: Line, columns: list[str | int], strand: str | int | None) -> _Feature:
    where, fields = line.where, line.fields
    start, end = (
        whole_number(text, partial("{}: {}".format, where, name))
        for name, text in zip(("start", "end"), fields[3:5], strict=True)
    )
    if fields[7] not in ("0", "1", "2", "."):
        raise IntervalError(f"{where}: phase {fields[7]!r} is not one of 0 1 2 . (column 8)")
    sign = "." if strand == "none" else fields[6] if strand is None else _text(line, strand)
    if sign not in SIGNS_OF_GFF:
        raise IntervalError(
            f"{where}: strand {sign!r} is not one of + - . ? (column {strand or 7}); "
            "set --strand_column to another column or to none"
        )
    texts = [_text(line, x) for x in columns]
    # from 1-based closed
    return _Feature(line.number, fields[0], start - 1, end, SIGNS_OF_GFF[sign], texts)


def _text(line: Line, column: str | int) -> str:
    if str(column).isdigit() or column in NAMES:
        number = column_number(line.where, column, NAMES)
        if number >= len(NAMES):
            raise IntervalError(f"{line.where}: 9 columns, but column {number + 1} is requested")
        return line.fields[number]
    parse = gff3_attributes if line.is_gff3 else gtf_attributes
    values = parse(line.fields[8], lambda: line.where).get(str(column))
    if values is None:
        raise IntervalError(f"{line.where}: no attribute {column!r}")
    return ",".join(values)


def gff3_attributes(text: str, where: Callable[[], str]) -> dict[str, list[str]]:
    """Return the values of each attribute of a line of GFF3 (Sequence Ontology, version 1.26).

    Raises:
        IntervalError: One has no '=', or occurs twice; `where()` names the line.
    """
    found: dict[str, list[str]] = {}
    for part in text.split(";") if text != "." else ():
        key, equals, value = part.strip().partition("=")
        if not key and not equals:
            continue
        key = _decoded(key)
        if not equals or not key:
            raise IntervalError(
                f"{where()}: attribute {part.strip()!r} is not key=value, the form in GFF3; a "
                "semicolon in a value is written %3B"
            )
        if key in found:
            raise IntervalError(
                f"{where()}: attribute {key!r} occurs twice; GFF3 separates values by commas"
            )
        found[key] = [_decoded(x) for x in value.split(",")]
    return found


def gtf_attributes(text: str, where: Callable[[], str]) -> dict[str, list[str]]:
    """Return the values of each attribute of a line of GTF (GTF 2.2) or GFF2.

    Raises:
        IntervalError: The rest is not `key "value";`, or a quote is not closed; `where()` names the
            line.
    """
    found: dict[str, list[str]] = {}
    at, end = 0, len(text.rstrip())
    while at < end and not text[at:end].lstrip(" ;").startswith("#") and text[at:end].strip(" ;."):
        match = _GTF_ATTRIBUTE.match(text, at, end)
        if match is None:
            raise IntervalError(
                f'{where()}: attribute {text[at:end].strip()[:60]!r} is not key "value"; the form '
                "in GTF (is a quote not closed?)"
            )
        key, quoted, plain = match.groups()
        found.setdefault(key, []).append(plain if quoted is None else quoted.replace('\\"', '"'))
        at = match.end()
    return found


def _decoded(text: str) -> str:
    """Decode percent-encoding, which is UTF-8 or else Latin-1."""
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return unquote(text, encoding="latin-1")
