"""Splits that keep similar sequences together.

Two rows are similar if one has at least a part of the distinct k-mers of the other (containment).
Rows that are linked by similar rows are a component, and a component is in one split.
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
    """The split and the component of each training row."""

    split: np.ndarray
    """0 train, 1 valid, 2 test; uint8 [N]."""
    component: np.ndarray
    """The first row of its component, int64 [N]."""
    places: Sequence[str] = ()
    """Where each row is: tab-separated values."""
    header: str = "row"
    """The names of these values."""

    def write(self, path: str | os.PathLike) -> None:
        """Writes a table with the split and the component of each row."""
        columns = (self.places, self.split.tolist(), self.component.tolist())
        rows = (f"{a}\t{SPLITS[b]}\t{c}\n" for a, b, c in zip(*columns, strict=True))
        write_file(path, f"{self.header}\tsplit\tcomponent\n{''.join(rows)}", RunError)


def split_by_homology(
    x: Sequences, valid_prop: float, test_prop: float, minimum: float, max_rows: int = MAX_ROWS
) -> Division:
    """Split of each row; rows that are linked by similar ones are in one split.

    A component goes where the digest of its smallest sequence says, so the split is the same on
    every machine and for every order of the rows.

    Args:
        x: the rows.
        valid_prop: proportion for the valid split.
        test_prop: proportion for the test split.
        minimum: two rows are similar if their containment is at least this, in one direction.
        max_rows: k-mers that more rows have are repeats, and left out.

    Raises:
        IntervalError: a component has more rows than its split should have.
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
            "raise --homology_min, or leave out rows with these"
        )
    return Division(split, component)


def components(x: Sequences, minimum: float, max_rows: int = MAX_ROWS) -> np.ndarray:
    """The first row of the component of each row, int64 [N].

    Rows that are the same sequence, or its reverse complement, are similar whatever k-mers they
    have.
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
    """A digest that a row and its reverse complement share."""
    forward = digests(x)
    if x.alphabet.complement is None:
        return forward
    backward = digests(x, reverse=True)
    return np.where(forward < backward, forward, backward)


def _joined(root: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The first row of each component, once the components of `a` and `b` are joined pairwise."""
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
    """The sequence that is first in the alphabet, of the component of each row."""
    found: dict[int, str] = {}
    for row, first in enumerate(component.tolist()):
        text = x.text(row)
        if first not in found or text < found[first]:
            found[first] = text
    return [found[first] for first in component.tolist()]


def _linking(rows: Sequences, x: Sequences, max_rows: int) -> str:
    """The k-mers that most of `rows` have, of those that are no repeats in `x`."""
    reader = KmerReader(x.alphabet)
    kmers = np.concatenate([keys & np.uint64(2**32 - 1) for _, _, keys in reader.blocks(rows)])
    found, counts = np.unique(kmers, return_counts=True)
    counts[np.isin(found, KmerIndex(x, max_rows=max_rows).repeats)] = 0
    best = np.argsort(-counts, kind="stable")[:_N_NAMED].tolist()
    return ", ".join(f"{reader.text(int(found[i]))} ({counts[i]} rows)" for i in best)
