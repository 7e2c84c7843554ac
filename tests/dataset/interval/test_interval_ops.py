"""Interval arithmetic against masks with one bool a letter."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.dataset.interval import operations as ops
from seqmodel.dataset.interval.interval import Contigs, Intervals

CONTIGS = Contigs(["a", "b", "c", "d"], [30, 0, 17, 25])

_piece = st.tuples(st.integers(0, 3), st.integers(-5, 32), st.integers(1, 20))
pieces = st.lists(_piece, max_size=12)


def intervals(rows):
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return Intervals(CONTIGS, columns[:, 0], columns[:, 1], columns[:, 2])


def mask(x):
    """A bool for each letter of each contig."""
    found = [np.zeros(n, dtype=bool) for n in CONTIGS.lengths.tolist()]
    for contig, start, end in zip(x.contig.tolist(), x.start.tolist(), x.end.tolist(), strict=True):
        found[contig][max(start, 0) : max(end, 0)] = True
    return found


def agree(regions, masks):
    found = mask(ops.to_intervals(regions))
    return all(np.array_equal(a, b) for a, b in zip(found, masks, strict=True))


@given(pieces)
def test_regions_are_the_union_disjoint_and_apart(rows):
    x = intervals(rows)
    found = ops.regions(x)
    assert agree(found, mask(x))
    assert (found.start < found.end).all()
    assert (found.start[1:] > found.end[:-1]).all()
    assert ops.to_intervals(found).is_inside.all()


@given(pieces, pieces)
def test_covered_counts_the_letters(rows, by):
    x, masks = intervals(rows), mask(intervals(by))
    found = ops.covered(x, ops.regions(intervals(by)))
    brute = [
        masks[c][max(s, 0) : max(e, 0)].sum()
        for c, s, e in zip(x.contig.tolist(), x.start.tolist(), x.end.tolist(), strict=True)
    ]
    assert found.tolist() == brute


@given(pieces)
def test_gaps_are_all_the_rest(rows):
    x = intervals(rows)
    assert agree(ops.gaps(ops.regions(x)), [~m for m in mask(x)])


@given(pieces, pieces)
def test_intersect_and_subtract(rows, others):
    a, b = intervals(rows), intervals(others)
    pairs = list(zip(mask(a), mask(b), strict=True))
    regions = ops.regions(a), ops.regions(b)
    assert agree(ops.intersect(*regions), [x & y for x, y in pairs])
    assert agree(ops.subtract(*regions), [x & ~y for x, y in pairs])
