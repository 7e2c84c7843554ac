"""Negative windows that match the GC content of positives, which then predicts nothing alone."""

from __future__ import annotations

import numpy as np

from seqmodel.dataset.batch.window import letter_props
from seqmodel.dataset.interval.interval import Intervals, concatenate
from seqmodel.dataset.interval.operations import Regions, covered, regions
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import IntervalError
from seqmodel.rng import below, hash64

NEGATIVE_STREAM = 21
TOLERANCE = 0.02
"""A negative differs from its positive by at most this proportion of G and C."""

_ROUNDS = 64
_LEAST_DRAWN = 4096


def matched_negatives(
    store: SequenceStore,
    alphabet: Alphabet,
    positives: Intervals,
    per_positive: float = 1.0,
    *,
    blacklist: Regions | None = None,
) -> Intervals:
    """Draw windows on the contigs of `positives` that overlap none of them, with distinct starts.

    Each negative matches one positive: its GC content differs by at most `TOLERANCE`, and its
    strand is the same. Draws use a counter, so the same intervals always get the same negatives.

    Args:
        store: Store of the sequences.
        alphabet: Alphabet with the symbols G and C.
        positives: Windows of equal length.
        per_positive: Number of negatives for each positive.
        blacklist: Regions that negatives must not overlap.

    Raises:
        IntervalError: There are too few windows of matching GC content.
    """
    gc = [i for i, x in enumerate(alphabet.letters) if x in "GC"]
    if len(gc) != 2:
        raise IntervalError(f"alphabet {alphabet.name!r} has no G and C to match")
    n = round(len(positives) * per_positive)
    length = int(positives.length[0])
    # positive of each negative, in turn
    wanted = letter_props(store, alphabet, positives, length, gc)[np.arange(n) % len(positives)]
    strand = positives.strand[np.arange(n) % len(positives)]
    open_ = np.ones(n, dtype=bool)
    parts: list[Intervals] = []
    forbidden = regions(positives)
    for round_ in range(_ROUNDS):
        left = np.flatnonzero(open_)
        if not len(left):
            break
        drawn = _draw(positives, length, round_, max(_LEAST_DRAWN, 8 * len(left)))
        clean = covered(drawn, forbidden) == 0
        if blacklist is not None:
            clean &= covered(drawn, blacklist) == 0
        drawn = drawn.select(clean)
        have = letter_props(store, alphabet, drawn, length, gc)
        which, candidate = _match(wanted[left], have)
        chosen = drawn.select(candidate)
        parts.append(
            Intervals(chosen.contigs, chosen.contig, chosen.start, length, strand[left[which]])
        )
        open_[left[which]] = False
        forbidden = regions(concatenate([positives, *parts]))
    n_left = int(open_.sum())
    if n_left:
        raise IntervalError(
            f"only {n - n_left} of {n} negatives of matching GC content were found on the contigs; "
            "lower --negatives_per_positive or --seq_len"
        )
    return concatenate(parts)


def _draw(positives: Intervals, length: int, round_: int, n: int) -> Intervals:
    """Draw random windows on the contigs of `positives` that do not overlap each other."""
    contigs = positives.contigs
    numbers = np.unique(positives.contig)
    numbers = numbers[contigs.lengths[numbers] >= length]
    room = contigs.lengths[numbers] - length + 1
    first = np.cumsum(room) - room
    n = min(n, max(1, int(room.sum()) // (2 * length)))  # more windows would overlap each other
    bits = hash64(NEGATIVE_STREAM, len(positives), length, round_, np.arange(n))
    place = np.sort(below(bits, int(room.sum())))
    contig = np.searchsorted(first, place, side="right") - 1
    start = place - first[contig]
    apart = np.ones(n, dtype=bool)
    apart[1:] = (np.diff(start) >= length) | (np.diff(contig) != 0)
    order = hash64(NEGATIVE_STREAM + 1, place).argsort(kind="stable")
    return Intervals(contigs, numbers[contig], start, length).select(order[apart[order]])


def _match(wanted: np.ndarray, have: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs (index into wanted, index into have) within the tolerance, each used once."""
    n_bins = int(1 / TOLERANCE)
    wanted_bin = np.minimum((wanted * n_bins).astype(int), n_bins - 1)
    have_bin = np.minimum((have * n_bins).astype(int), n_bins - 1)
    pairs = []
    for b in np.unique(wanted_bin).tolist():
        a, c = np.flatnonzero(wanted_bin == b), np.flatnonzero(have_bin == b)
        k = min(len(a), len(c))
        pairs.append((a[:k], c[:k]))
    return np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
