"""Splits that keep similar sequences together.

Two rows are similar if one has at least a minimum proportion of the other's distinct k-mers
(containment).
Rows linked by similar rows form a component; each component is in one split.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.seq.kmers import MAX_KMERS, MAX_ROWS, KmerIndex, KmerReader
from seqmodel.dataset.seq.sequences import Sequences, digests
from seqmodel.dataset.split import SPLITS, split_by_digest
from seqmodel.errors import IntervalError, RunError
from seqmodel.files import write_file

SPLIT_FILE = "split.tsv"
_N_NAMED = 3


class Division(NamedTuple):
    """Split and component of each training row."""

    split: np.ndarray
    """0 train, 1 valid, 2 test; uint8 [N]."""
    component: np.ndarray
    """The first row of its component, int64 [N]."""
    places: Sequence[str] = ()
    """Where each row is: tab-separated values."""
    header: str = "row"
    """The names of these values."""

    def write(self, path: str | os.PathLike) -> None:
        """Write a table with the split and the component of each row."""
        columns = (self.places, self.split.tolist(), self.component.tolist())
        rows = (f"{a}\t{SPLITS[b]}\t{c}\n" for a, b, c in zip(*columns, strict=True))
        write_file(path, f"{self.header}\tsplit\tcomponent\n{''.join(rows)}", RunError)


def split_by_homology(
    x: Sequences, valid_prop: float, test_prop: float, minimum: float, max_rows: int = MAX_ROWS
) -> Division:
    """Return the split of each row; rows linked by similar rows are in one split.

    The digest of its smallest sequence decides the split of a component. The split is therefore the
    same on every host and for every order of the rows.

    Args:
        x: Rows to split.
        valid_prop: Proportion of the valid split.
        test_prop: Proportion of the test split.
        minimum: Minimum containment, in either direction, of two similar rows.
        max_rows: K-mers in more rows than this are repeats and are left out.

    Raises:
        IntervalError: A component has more rows than its split should have.
    """
    component = components(x, minimum, max_rows)
    smallest = _smallest(x, component)
    split = split_by_digest(smallest, valid_prop, test_prop)
    sizes = np.bincount(component, minlength=len(x))
    props = np.array([1 - valid_prop - test_prop, valid_prop, test_prop])
    room = np.maximum(1, np.ceil(props * len(x)))
    too_large = np.flatnonzero(sizes > room[split])
    if len(too_large):
        row = int(too_large[np.argmax(sizes[too_large])])
        word, n = SPLITS[split[row]], int(room[split[row]])
        kmers = _linking(x.select(np.flatnonzero(component == row)), x, max_rows)
        raise IntervalError(
            f"--split_by=homology: {int(sizes[row])} of {len(x)} rows are linked by similar rows "
            f"and go to the {word} split, which should have {n}; most of them have {kmers}; "
            "raise --homology_min, or remove rows with these k-mers"
        )
    return Division(split, component)


def components(x: Sequences, minimum: float, max_rows: int = MAX_ROWS) -> np.ndarray:
    """Return the first row of the component of each row, int64 [N].

    Rows with the same sequence, or its reverse complement, are always similar, even if they have
    no k-mers.
    """
    root = np.arange(len(x))
    first, number = np.unique(_canonical_digests(x), return_index=True, return_inverse=True)[1:]
    root = _joined(root, root, first[number])
    index = KmerIndex(x, max_rows=max_rows, max_kmers=MAX_KMERS)
    size = index.sizes(len(x))
    for _, _, pairs in index.pairs(x):
        least = np.minimum(size[pairs.row], size[pairs.other])
        similar = (pairs.row < pairs.other) & (pairs.shared / least >= minimum)
        root = _joined(root, pairs.row[similar], pairs.other[similar])
    return root


def _canonical_digests(x: Sequences) -> np.ndarray:
    """Return digests that are equal for a row and its reverse complement."""
    forward = digests(x)
    if x.alphabet.complement is None:
        return forward
    backward = digests(x, reverse=True)
    return np.where(forward < backward, forward, backward)


def _joined(root: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Join the components of `a` and `b` pairwise; return the first row of each component."""
    while True:
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        apart = low != high
        if not apart.any():
            return root
        a, b = a[apart], b[apart]
        np.minimum.at(root, high[apart], low[apart])
        while not np.array_equal(above := root[root], root):
            root = above


def _smallest(x: Sequences, component: np.ndarray) -> list[str]:
    """Return the alphabetically first sequence of the component of each row."""
    found: dict[int, str] = {}
    for row, first in enumerate(component.tolist()):
        text = x.text(row)
        if first not in found or text < found[first]:
            found[first] = text
    return [found[first] for first in component.tolist()]


def _linking(rows: Sequences, x: Sequences, max_rows: int) -> str:
    """Return the k-mers that most of `rows` share, without the repeats of `x`."""
    reader = KmerReader(x.alphabet)
    kmers = np.concatenate([keys & np.uint64(2**32 - 1) for _, _, keys in reader.blocks(rows)])
    found, counts = np.unique(kmers, return_counts=True)
    counts[np.isin(found, KmerIndex(x, max_rows=max_rows).repeats)] = 0
    best = np.argsort(-counts, kind="stable")[:_N_NAMED].tolist()
    return ", ".join(f"{reader.text(int(found[i]))} ({counts[i]} rows)" for i in best)
