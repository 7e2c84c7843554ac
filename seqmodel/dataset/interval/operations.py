"""Arithmetic of intervals: merged regions, how much of an interval they cover, what is left.

All contigs lie on one line, one after the other, so that each operation is a sort and a search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqmodel.dataset.interval.interval import Contigs, Intervals


class Regions(NamedTuple):
    """Disjoint regions on the line of all contigs, sorted; they do not touch."""

    contigs: Contigs
    start: np.ndarray
    end: np.ndarray


def line_offsets(contigs: Contigs) -> np.ndarray:
    """Where each contig begins on the line, int64; a gap keeps neighbours from touching."""
    return np.cumsum(contigs.lengths + 1) - contigs.lengths - 1


def regions(x: Intervals) -> Regions:
    """The union of intervals, clipped to their contigs; neighbours that touch are one."""
    sizes = x.contigs.lengths[x.contig]
    offset = line_offsets(x.contigs)[x.contig]
    start = offset + np.clip(x.start, 0, sizes)
    end = offset + np.clip(x.end, 0, sizes)
    kept = start < end
    start, end = start[kept], end[kept]
    order = np.argsort(start, kind="stable")
    start, end = start[order], np.maximum.accumulate(end[order])
    first = np.ones(len(start), dtype=bool)
    first[1:] = start[1:] > end[:-1]
    last = np.append(first[1:], True) if len(start) else first
    return Regions(x.contigs, start[first], end[last])


def covered(x: Intervals, by: Regions) -> np.ndarray:
    """Number of letters of each interval that lie in `by`, int64 [n]."""
    sizes = x.contigs.lengths[x.contig]
    offset = line_offsets(x.contigs)[x.contig]
    total = np.concatenate(([0], np.cumsum(by.end - by.start)))

    def before(position: np.ndarray) -> np.ndarray:
        """Letters of `by` that lie before each position."""
        i = np.searchsorted(by.start, position, side="right")
        inside = np.append(by.end, 0)[i - 1] - position
        return total[i] - np.where(i > 0, np.maximum(inside, 0), 0)

    start = offset + np.clip(x.start, 0, sizes)
    end = offset + np.clip(x.end, 0, sizes)
    return before(np.maximum(start, end)) - before(start)


def gaps(x: Regions) -> Regions:
    """All that is on no region."""
    offset = line_offsets(x.contigs)
    start = np.concatenate((offset, x.end))
    contig_end = offset + x.contigs.lengths
    end = np.concatenate((x.start, contig_end))
    start.sort()
    end.sort()
    kept = start < end
    return Regions(x.contigs, start[kept], end[kept])


def intersect(a: Regions, b: Regions) -> Regions:
    """All that is on a region of both."""
    edges = np.concatenate((a.start, b.start, a.end, b.end))
    step = np.repeat([1, -1], [len(a.start) + len(b.start), len(a.end) + len(b.end)])
    order = np.lexsort((step, edges))  # ends before starts, so that touching is not overlapping
    depth = np.cumsum(step[order])
    begins = np.flatnonzero(depth == 2)
    return Regions(a.contigs, edges[order][begins], edges[order][begins + 1])


def subtract(a: Regions, b: Regions) -> Regions:
    """What of `a` is not on `b`."""
    return intersect(a, gaps(b))


def to_intervals(x: Regions) -> Intervals:
    """Regions as intervals without strand."""
    offset = line_offsets(x.contigs)
    contig = np.searchsorted(offset, x.start, side="right") - 1
    return Intervals(x.contigs, contig, x.start - offset[contig], x.end - x.start)
