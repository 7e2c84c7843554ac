"""Interval files of all formats, by extension: BED, narrowPeak, GFF3, GTF; and aliases."""

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
    """Read the intervals of a file and the texts of one or more of its columns.

    Args:
        path: BED file with 3 or more columns, .narrowPeak, .gff, .gff3 or .gtf; plain or gzip.
        contigs: Contigs of the coordinates.
        column: One more column: a number from 1 or a name in the header line; for GFF and GTF also
            the name of an attribute.
        feature: Type of the GFF or GTF lines to read, such as gene or CDS.
        summits: Return the summits of a narrowPeak file, 1 bp each, instead of the peaks.
        strand: Strand column, in the format of `column`, or "none". Default: according to the
            header line or the file format.
        each: Function that receives the texts of the columns, block by block; see `read_bed`.
        skipped: Counter of the intervals that cannot be read; see `read_bed`.

    Raises:
        IntervalError: A line is malformed or outside its contig; the message names file and line.
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
    """Return whether the extension of a file means that its intervals have summits."""
    kind = _NAMED.search(os.path.basename(os.fspath(path)))
    return kind is not None and kind[1].lower() == "narrowpeak"


def kind_of(path: str) -> str:
    """Return the format by the extension of a file: narrowpeak, gff, gff3, gtf, or else bed."""
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
            f"peak, which has {x.length[wrong[0]]} bp (-1 for no summit)"
        )
    position = x.start + np.where(summit < 0, x.length // 2, summit)  # -1: no summit was called
    return peaks._replace(intervals=Intervals(x.contigs, x.contig, position, 1, x.strand))


def read_aliases(path: str | os.PathLike, contigs: Contigs) -> Contigs:
    """Return the contigs with additional names.

    Args:
        path: File with the names of one contig per line, separated by tabs or blanks, in any
            order and number (such as UCSC's chromAlias.txt); '#' begins a comment. Lines without a
            name in `contigs` are skipped.
        contigs: Contigs of the sequences.

    Raises:
        IntervalError: A line joins two contigs, or two contigs get the same name.
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
                raise IntervalError(f"{path} line {number}: {word!r} is an alias of two contigs")
    return Contigs(contigs.names, contigs.lengths, aliases)
