"""Interval files of all kinds, told by their names: BED, narrowPeak, GFF3, GTF; and aliases."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.bed import Bed, check_rows, column_number, read_bed
from seqmodel.dataset.interval import STRANDS, Contigs, Intervals
from seqmodel.errors import IntervalError
from seqmodel.files import lines

_NAMED = re.compile(r"\.(narrowpeak|gff3?|gtf)(\.b?gz)?$", re.IGNORECASE)
_GFF_NAMES = ("seqid", "source", "type", "start", "end", "score", "strand", "phase", "attributes")
_NARROWPEAK_SUMMIT = 10  # column, from 1


def read_intervals(
    path: str | os.PathLike,
    contigs: Contigs,
    column: str | int | None = None,
    feature: str | None = None,
    *,
    summits: bool = True,
) -> Bed:
    """Intervals of a file and the texts of one of its columns.

    Args:
        path: BED of 3 to 6 columns and more, .narrowPeak, .gff, .gff3 or .gtf; plain or gzip.
        contigs: what the coordinates refer to.
        column: one more column: a number from 1, a name of the header line; for GFF and GTF also
            the name of an attribute.
        feature: type of the GFF or GTF lines that are read, such as gene or CDS.
        summits: of a narrowPeak file give the summits, one letter each, instead of the peaks.

    Raises:
        IntervalError: a line is malformed or outside of its contig; file and line are named.
    """
    path = os.fspath(path)
    kind = _NAMED.search(os.path.basename(path))
    if kind is None:
        return read_bed(path, contigs, column)
    if kind[1].lower() != "narrowpeak":
        return _read_gff(path, contigs, column, feature)
    if not summits:
        return read_bed(path, contigs, column)
    return _at_summits(read_bed(path, contigs, column), read_bed(path, contigs, _NARROWPEAK_SUMMIT))


def has_summits(path: str | os.PathLike) -> bool:
    """Whether a file is of a kind that names the summit of each interval, by its name."""
    kind = _NAMED.search(os.path.basename(os.fspath(path)))
    return kind is not None and kind[1].lower() == "narrowpeak"


def _at_summits(peaks: Bed, columns: Bed) -> Bed:
    x = peaks.intervals
    try:
        summit = np.fromiter(map(int, columns.texts), np.int64, len(x))
    except ValueError:
        i = next(i for i, s in enumerate(columns.texts) if not s.lstrip("-").isdigit())
        raise IntervalError(
            f"{peaks.where(i)}: summit {columns.texts[i]!r} (column 10) is not a whole number"
        ) from None
    wrong = np.flatnonzero(summit >= x.length)
    if len(wrong):
        raise IntervalError(
            f"{peaks.where(int(wrong[0]))}: summit {summit[wrong[0]]} (column 10) is beyond the "
            f"peak, which has {x.length[wrong[0]]} letters"
        )
    position = x.start + np.where(summit < 0, x.length // 2, summit)  # -1: no summit was called
    return peaks._replace(intervals=Intervals(x.contigs, x.contig, position, 1, x.strand))


class _Feature(NamedTuple):
    line: int
    contig: str
    start: int
    end: int
    strand: int
    text: str


def _read_gff(path: str, contigs: Contigs, column: str | int | None, feature: str | None) -> Bed:
    kinds: set[str] = set()
    found = list(_features(path, column, feature, kinds))
    if not found:
        there = f"; it has {', '.join(sorted(kinds)[:12])}" if kinds else ""
        raise IntervalError(f"{path}: no line of feature {feature!r}{there}; see --feature")
    for x in found:
        if x.contig not in contigs.numbers:
            raise IntervalError(f"{path} line {x.line}: {contigs.unknown(x.contig)}")
    start = np.array([x.start for x in found])
    intervals = Intervals(
        contigs,
        np.array([contigs.numbers[x.contig] for x in found]),
        start,
        np.array([x.end for x in found]) - start,
        np.array([x.strand for x in found]),
    )
    texts = [] if column is None else [x.text for x in found]
    bed = Bed(path, intervals, texts, np.array([x.line for x in found]))
    check_rows(bed.where, intervals)
    return bed


def _features(
    path: str, column: str | int | None, feature: str | None, kinds: set[str]
) -> Iterator[_Feature]:
    for number, line in enumerate(lines(path, IntervalError), 1):
        if line.startswith("##FASTA"):
            return
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.rstrip("\r\n").split("\t")
        where = f"{path} line {number}"
        if len(fields) < 9:
            raise IntervalError(f"{where}: {len(fields)} columns, GFF and GTF have 9")
        kinds.add(fields[2])
        if feature is None or fields[2] == feature:
            yield _feature(where, number, fields, column)


def _feature(where: str, line: int, fields: list[str], column: str | int | None) -> _Feature:
    try:
        start, end = int(fields[3]) - 1, int(fields[4])  # from 1-based closed
    except ValueError:
        raise IntervalError(
            f"{where}: start {fields[3]!r}, end {fields[4]!r} are not whole numbers"
        ) from None
    strand = STRANDS.get(fields[6], 0)
    return _Feature(line, fields[0], start, end, strand, _text(where, fields, column))


def _text(where: str, fields: list[str], column: str | int | None) -> str:
    if column is None:
        return ""
    if str(column).isdigit() or column in _GFF_NAMES:
        return fields[column_number(where, column, list(_GFF_NAMES))].strip()
    # GFF3 writes key=value;  GTF writes key "value";
    match = re.search(rf'(?:^|;)\s*{re.escape(str(column))}(?:=|\s+"?)([^;"]*)', fields[8])
    if match is None:
        raise IntervalError(f"{where}: has no attribute {column!r}")
    return match[1].strip()


def read_aliases(path: str | os.PathLike, contigs: Contigs) -> Contigs:
    """The same contigs, known by other names as well.

    Args:
        path: lines of names of one contig, separated by tabs or blanks, in any order and number
            (such as UCSC's chromAlias.txt); '#' begins a comment. One of them must be in `contigs`,
            other lines are left out.
        contigs: the contigs of the sequences.

    Raises:
        IntervalError: a line joins two contigs, or a name is given to two.
    """
    aliases: dict[str, int] = {}
    for number, line in enumerate(lines(path, IntervalError), 1):
        words = [] if line.startswith("#") else line.split()
        own = {contigs.numbers[x] for x in words if x in contigs.numbers}
        if len(own) > 1:
            raise IntervalError(
                f"{path} line {number}: joins {' and '.join(contigs.names[i] for i in own)}, "
                "which are different contigs"
            )
        for word in words if own else ():
            if aliases.setdefault(word, min(own)) != min(own):
                raise IntervalError(f"{path} line {number}: {word!r} is given to two contigs")
    return Contigs(contigs.names, contigs.lengths, aliases)
