"""Interval arithmetic: union, coverage, gaps, intersection and difference of regions.

All contigs are concatenated on one line, so that each operation is a sort and a search.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqmodel.dataset.interval.interval import Contigs, Intervals


class Regions(NamedTuple):
    """Sorted, disjoint regions on the line of all contigs, which do not touch."""

    contigs: Contigs
    start: np.ndarray
    end: np.ndarray


def line_offsets(contigs: Contigs) -> np.ndarray:
    """Return the start of each contig on the line, int64; a gap separates neighbours."""
    return np.cumsum(contigs.lengths + 1) - contigs.lengths - 1


def regions(x: Intervals) -> Regions:
    """Return the union of intervals, clipped to their contigs; touching neighbours are merged."""
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
    """Return the number of positions of each interval that lie in `by`, int64 [n]."""
    sizes = x.contigs.lengths[x.contig]
    offset = line_offsets(x.contigs)[x.contig]
    total = np.concatenate(([0], np.cumsum(by.end - by.start)))

    def before(position: np.ndarray) -> np.ndarray:
        """Count the positions of `by` before each position."""
        i = np.searchsorted(by.start, position, side="right")
        inside = np.append(by.end, 0)[i - 1] - position
        return total[i] - np.where(i > 0, np.maximum(inside, 0), 0)

    start = offset + np.clip(x.start, 0, sizes)
    end = offset + np.clip(x.end, 0, sizes)
    return before(np.maximum(start, end)) - before(start)


def gaps(x: Regions) -> Regions:
    """Return the complement of the regions."""
    offset = line_offsets(x.contigs)
    start = np.concatenate((offset, x.end))
    contig_end = offset + x.contigs.lengths
    end = np.concatenate((x.start, contig_end))
    start.sort()
    end.sort()
    kept = start < end
    return Regions(x.contigs, start[kept], end[kept])


def intersect(a: Regions, b: Regions) -> Regions:
    """Return the intersection of two sets of regions."""
    edges = np.concatenate((a.start, b.start, a.end, b.end))
    step = np.repeat([1, -1], [len(a.start) + len(b.start), len(a.end) + len(b.end)])
    order = np.lexsort((step, edges))  # ends before starts, so that touching regions do not overlap
    depth = np.cumsum(step[order])
    begins = np.flatnonzero(depth == 2)
    return Regions(a.contigs, edges[order][begins], edges[order][begins + 1])


def subtract(a: Regions, b: Regions) -> Regions:
    """Return the parts of `a` that are not in `b`."""
    return intersect(a, gaps(b))


def to_intervals(x: Regions) -> Intervals:
    """Convert regions to intervals without strand."""
    offset = line_offsets(x.contigs)
    contig = np.searchsorted(offset, x.start, side="right") - 1
    return Intervals(x.contigs, contig, x.start - offset[contig], x.end - x.start)
