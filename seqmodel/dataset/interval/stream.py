"""Interval files line by line, in constant memory, with all columns of each line.

Used to apply a model: every line is a row of the output, so nothing is left out and an unknown
contig is not an error. Training reads whole files as columns (file.py).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from seqmodel.dataset.interval.bed import (
    BED_NAMES,
    NOT_DATA,
    SIGNS,
    column_number,
    is_header,
    layout_of,
    whole_number,
)
from seqmodel.dataset.interval.bed_columns import MOST_DIGITS
from seqmodel.dataset.interval.file import kind_of
from seqmodel.dataset.interval.gff import (
    NAMES,
    SIGNS_OF_GFF,
    features_of,
    gff3_attributes,
    gtf_attributes,
)
from seqmodel.errors import IntervalError
from seqmodel.files import lines

_SUMMIT = 9
_GFF_IDS = ("ID", "Name", "transcript_id", "gene_id")


class Line(NamedTuple):
    """One interval, 0-based half-open; `summit` is a position for narrowPeak, else None."""

    number: int
    contig: str
    start: int
    end: int
    name: str
    strand: int
    summit: int | None
    kept: list[str]


class IntervalLines:
    """Iterator over the intervals of a file, in its order.

    Args:
        path: BED file with 3 or more columns, .narrowPeak, .gff, .gff3 or .gtf; plain or gzip.
        feature: Type of the GFF or GTF lines to read; None reads all.
        strand: Strand column; see `read_intervals`.
        keep: More columns, by name or number from 1 (in GFF and GTF also attributes); "all" means
            all except contig, start, end, name and strand.

    Attributes:
        kept: Names of the kept columns.
        has_name: Whether the file has a column with names.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        feature: str | None = None,
        strand: str | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        self.path, self.feature, self.strand = os.fspath(path), feature, strand
        self.kind = kind_of(self.path)
        self._is_gff = self.kind in ("gff", "gff3", "gtf")
        if self._is_gff:
            self._header = list(NAMES)
            self._used = {0, 3, 4, 6}
            self._width = len(NAMES)
        else:
            self._layout = layout_of(self.path, strand)
            self._header = self._layout.header
            first = next((fields for _, fields in self._bed_fields()), [])
            self._width = len(first)
            at = self._layout.strand
            if at is not None and self._layout.strand_is_needed and first and at >= len(first):
                raise IntervalError(
                    f"{self.path}: {len(first)} columns, but the strand is column {at + 1}"
                )
            self._used = {0, 1, 2, *([] if at is None else [at])}
        self._name_at = None if self._is_gff or self._width < 4 else self._name_column()
        self._used |= set() if self._name_at is None else {self._name_at}
        self.has_name = self._is_gff or self._name_at is not None
        self._keep = self._kept_numbers(list(keep))
        self.kept = list(self._keep)

    def __iter__(self) -> Iterator[Line]:
        """Iterate over the intervals.

        Raises:
            IntervalError: A line is malformed; the message names file and line.
        """
        return self._gff() if self._is_gff else self._bed()

    def where(self, number: int) -> str:
        """Return file and line, for a message."""
        return f"{self.path} line {number}"

    def _name_column(self) -> int | None:
        lower = [x.lower() for x in self._header]
        at = lower.index("name") if "name" in lower else None if self._header else 3
        return None if at in self._used else at

    def _kept_numbers(self, keep: list[str]) -> dict[str, int | str]:
        names = self._header or [*BED_NAMES, *map(str, range(7, self._width + 1))]
        if keep == ["all"]:
            rest = (i for i in range(self._width) if i not in self._used)
            return {names[i]: i for i in rest}
        if self._is_gff:
            return {x: NAMES.index(x) if x in NAMES else x for x in keep}
        found = {x: column_number(self.path, x, self._header) for x in keep}
        beyond = next((x for x, i in found.items() if self._width and i >= self._width), None)
        if beyond is not None:
            raise IntervalError(
                f"{self.path}: {self._width} columns, but column {beyond} is requested"
            )
        return dict(found)

    def _bed_fields(self) -> Iterator[tuple[int, list[str]]]:
        contig = None  # belongs to the line before, which was not a header
        for number, text in enumerate(lines(self.path, IntervalError), 1):
            raw = text.rstrip("\r\n").split("\t")
            if raw[0] != contig:
                if text.startswith(NOT_DATA) or is_header(raw):
                    continue
                contig = raw[0] if len(raw) > 1 else None
            fields = raw if len(raw) > 1 else raw[0].split()
            if fields and any(fields):
                yield number, fields

    def _bed(self) -> Iterator[Line]:
        width, strand, name_at = self._width, self._layout.strand, self._name_at
        keep = [x for x in self._keep.values() if isinstance(x, int)]
        summits = self.kind == "narrowpeak"
        sign_at = width if strand is None else strand
        for number, fields in self._bed_fields():
            if len(fields) != width:
                raise IntervalError(
                    f"{self.where(number)}: {len(fields)} columns, but the lines before have "
                    f"{width}; all lines of a BED file need equally many (is this one truncated?)"
                )
            if width < 3:
                raise IntervalError(
                    f"{self.where(number)}: {width} columns, but BED needs contig, start, end "
                    "separated by tabs"
                )
            start, end = self._bounds(number, fields[1], fields[2])
            sign = fields[sign_at].strip() if sign_at < width else "."
            if sign not in SIGNS:
                raise self._no_strand(number, sign)
            name = "" if name_at is None else fields[name_at]
            summit = self._summit(number, fields) if summits else None
            kept = [fields[i] for i in keep]
            yield Line(number, fields[0], start, end, name, SIGNS[sign], summit, kept)

    def _summit(self, number: int, fields: list[str]) -> int | None:
        if len(fields) <= _SUMMIT:
            raise IntervalError(
                f"{self.where(number)}: {len(fields)} columns, but narrowPeak has 10"
            )
        summit = whole_number(fields[_SUMMIT], lambda: f"{self.where(number)}: summit (column 10)")
        return None if summit < 0 else int(fields[1]) + summit

    def _gff(self) -> Iterator[Line]:
        for line in features_of(self.path):
            fields = line.fields
            if self.feature is not None and fields[2] != self.feature:
                continue
            start, end = self._bounds(line.number, fields[3], fields[4])
            sign = "." if self.strand == "none" else fields[6]
            if sign not in SIGNS_OF_GFF:
                raise self._no_strand(line.number, sign)
            parse = gff3_attributes if line.is_gff3 else gtf_attributes
            found = parse(fields[8], partial(self.where, line.number))
            name = next((",".join(found[x]) for x in _GFF_IDS if x in found), "")
            kept = [
                fields[x] if isinstance(x, int) else ",".join(found.get(x, []))
                for x in self._keep.values()
            ]
            sign_number = SIGNS_OF_GFF[sign]
            yield Line(line.number, fields[0], start - 1, end, name, sign_number, None, kept)

    def _bounds(self, number: int, start: str, end: str) -> tuple[int, int]:
        short = len(start) <= MOST_DIGITS and len(end) <= MOST_DIGITS
        if short and start.isdecimal() and end.isdecimal():  # fast path for most lines
            first, last = int(start), int(end)
        else:
            first = self._position(number, "start", start)
            last = self._position(number, "end", end)
        if last < first:
            raise IntervalError(f"{self.where(number)}: end {last} is before start {first}")
        return first, last

    def _position(self, number: int, what: str, text: str) -> int:
        return whole_number(text.strip(), partial("{}: {}".format, self.where(number), what))

    def _no_strand(self, number: int, sign: str) -> IntervalError:
        return IntervalError(
            f"{self.where(number)}: strand {sign!r} is none of + - . *; see --strand_column, which "
            "may be none"
        )
