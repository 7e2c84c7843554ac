"""Interval files of all kinds, told by their names: BED, narrowPeak, GFF3, GTF; and aliases."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from seqmodel.dataset.interval.bed import Bed, Each, Skipped, columns_in, read_bed, whole_number
from seqmodel.dataset.interval.gff import read_gff
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.errors import IntervalError
from seqmodel.files import lines

_NAMED = re.compile(r"\.(narrowpeak|gff3?|gtf)(\.b?gz)?$", re.IGNORECASE)
_NARROWPEAK_SUMMIT = 10  # column, from 1


def read_intervals(
    path: str | os.PathLike,
    contigs: Contigs,
    column: str | int | Sequence[str | int] | None = None,
    feature: str | None = None,
    *,
    summits: bool = True,
    strand: str | int | None = None,
    each: Each | None = None,
    skipped: Skipped | None = None,
) -> Bed:
    """Intervals of a file and the texts of one or more of its columns.

    Args:
        path: BED of 3 to 6 columns and more, .narrowPeak, .gff, .gff3 or .gtf; plain or gzip.
        contigs: what the coordinates refer to.
        column: one more column: a number from 1, a name of the header line; for GFF and GTF also
            the name of an attribute.
        feature: type of the GFF or GTF lines that are read, such as gene or CDS.
        summits: of a narrowPeak file give the summits, one letter each, instead of the peaks.
        strand: the column with the strand, in the way of `column`, or "none"; by default what the
            header line or the kind of the file says.
        each: gets the texts of the columns, block by block, as for read_bed.
        skipped: counts the intervals that cannot be read, as for read_bed.

    Raises:
        IntervalError: a line is malformed or outside of its contig; file and line are named.
    """
    path = os.fspath(path)
    kind = _NAMED.search(os.path.basename(path))
    more: dict[str, Any] = {"each": each, "skipped": skipped}
    if kind is None:
        return read_bed(path, contigs, column, strand, **more)
    if kind[1].lower() != "narrowpeak":
        return read_gff(path, contigs, column, feature, strand, **more)
    if not summits:
        return read_bed(path, contigs, column, strand, **more)
    columns = columns_in(column)
    texts: list[str] = []
    positions: list[str] = []

    def both(found: list[list[str]], where: Callable[[int], str]) -> None:
        positions.extend(found[-1])
        if each is not None:
            each(found[:-1], where)
        elif columns:
            texts.extend(found[0])

    asked = [*columns, _NARROWPEAK_SUMMIT]
    peaks = read_bed(path, contigs, asked, strand, each=both, skipped=skipped)
    return _at_summits(peaks._replace(texts=texts), positions)


def has_summits(path: str | os.PathLike) -> bool:
    """Whether a file is of a kind that names the summit of each interval, by its name."""
    kind = _NAMED.search(os.path.basename(os.fspath(path)))
    return kind is not None and kind[1].lower() == "narrowpeak"


def kind_of(path: str) -> str:
    """What the name of a file says of its kind: narrowpeak, gff, gff3, gtf, or else bed."""
    kind = _NAMED.search(os.path.basename(path))
    return "bed" if kind is None else kind[1].lower()


def _at_summits(peaks: Bed, texts: list[str]) -> Bed:
    x = peaks.intervals
    found = [
        whole_number(text, partial("{}: summit (column 10)".format, peaks.where(i)))
        for i, text in enumerate(texts)
    ]
    summit = np.array(found, dtype=np.int64)
    wrong = np.flatnonzero((summit >= x.length) | (summit < -1))
    if len(wrong):
        raise IntervalError(
            f"{peaks.where(int(wrong[0]))}: summit {summit[wrong[0]]} (column 10) is beyond the "
            f"peak, which has {x.length[wrong[0]]} letters (-1 for none)"
        )
    position = x.start + np.where(summit < 0, x.length // 2, summit)  # -1: no summit was called
    return peaks._replace(intervals=Intervals(x.contigs, x.contig, position, 1, x.strand))


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
