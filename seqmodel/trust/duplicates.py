"""Duplicate sequences within a split and between two splits.

Two rows are the same if their sequences are equal, ignoring case. Rows are compared by 128 bits of
BLAKE2b. similarity.py finds near duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodel.dataset.seq.sequences import Sequences, digests
from seqmodel.trust.rows import Rows

N_EXAMPLES = 10


class Matches(NamedTuple):
    """For each row of a split, a row of another split with the same sequence."""

    same: np.ndarray
    """First row of the other split with the same sequence, int64; -1 if none."""
    reverse: np.ndarray
    """The first row that is its reverse complement and not the same, int64; else -1."""
    other_label: np.ndarray | None
    """Whether a row with the same sequence has another label, bool; None without labels."""

    @property
    def any(self) -> np.ndarray:
        """Whether each row is in the other split, on either strand; bool."""
        return (self.same >= 0) | (self.reverse >= 0)


def duplicates(train: Rows, test: Rows) -> dict[str, Any]:
    """Report the rows of `test` that are also in `train`.

    Returns:
        `rows`: number of test rows; `same`: rows with the sequence of a training row;
        `same_distinct`: distinct sequences among them; `other_label`: rows for which such a
        training row has another label; `reverse_complement`: rows of which only the reverse
        complement is a training row; `same_name`: rows with the name of a training row;
        `unknown_letters`: rows with unknown symbols; `examples`: row numbers of the first ten
        pairs. A number is None if the rows have no labels, names or complement.
    """
    found = match(train, test)
    same = found.same >= 0
    return {
        "rows": len(test),
        "same": int(same.sum()),
        "same_distinct": len(np.unique(found.same[same])),
        "other_label": None if found.other_label is None else int(found.other_label.sum()),
        "reverse_complement": _if_paired(test, found.reverse >= 0),
        "same_name": _same_names(train.names, test.names),
        "unknown_letters": int(has_unknown(test).sum()),
        "examples": _examples(train, test, found),
    }


def within(rows: Rows) -> dict[str, Any]:
    """Report the rows that occur more than once in one split.

    Returns:
        `rows`: number of rows; `same`: rows minus distinct sequences; `other_label`: rows for
        which a row with the same sequence has another label; `reverse_complement`: rows whose
        reverse complement is another row; `same_name`: rows minus distinct names;
        `unknown_letters`: rows with unknown symbols.
    """
    x = sequences(rows)
    (ids,) = _numbered([digests(x)])
    found = match(rows, rows)
    names = rows.names
    return {
        "rows": len(x),
        "same": len(x) - len(np.unique(ids)),
        "other_label": None if found.other_label is None else int(found.other_label.sum()),
        "reverse_complement": _if_paired(rows, _reverse_is_there(x)),
        "same_name": None if names is None else len(names) - len(set(names)),
        "unknown_letters": int(has_unknown(rows).sum()),
    }


def match(train: Rows, test: Rows) -> Matches:
    """Find each row of `test` in `train`."""
    x, y = sequences(train), sequences(test)
    parts = [digests(x), digests(y)]
    if y.alphabet.complement is not None:
        parts.append(digests(y, reverse=True))
    ids, own, *reverse = _numbered(parts)
    first = np.full(max((int(p.max(initial=-1)) for p in (ids, own, *reverse)), default=-1) + 1, -1)
    first[ids[::-1]] = np.arange(len(ids))[::-1]
    same = first[own]
    back = np.where(same < 0, first[reverse[0]], -1) if reverse else np.full(len(own), -1)
    return Matches(same, back, _other_label(train, test, ids, own))


def sequences(rows: Rows) -> Sequences:
    """Return the sequences of rows."""
    return Sequences(rows.codes, rows.offsets, rows.alphabet)


def has_unknown(rows: Rows) -> np.ndarray:
    """Return whether each row has an unknown symbol, bool [N]."""
    x = sequences(rows)
    at = np.flatnonzero(x.codes[x.offsets[0] : x.offsets[-1]] >= x.alphabet.n_letters)
    row = np.searchsorted(x.offsets, at + x.offsets[0], "right") - 1
    return np.bincount(row, minlength=len(x)) > 0


def _numbered(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Number the digests, int64; equal digests have one number in all parts."""
    ids = np.unique(np.concatenate(parts), return_inverse=True)[1]
    return np.split(ids, np.cumsum([len(x) for x in parts[:-1]]))


def _reverse_is_there(x: Sequences) -> np.ndarray:
    """Return whether the reverse complement of each row is another row, bool [N]."""
    if x.alphabet.complement is None:
        return np.zeros(len(x), dtype=bool)
    ids, reverse = _numbered([digests(x), digests(x, reverse=True)])
    return np.isin(reverse, ids) & (reverse != ids)


def _other_label(train: Rows, test: Rows, ids: np.ndarray, own: np.ndarray) -> np.ndarray | None:
    """Return whether a row of `train` with the same sequence has another label, for each test row.

    A missing label (NaN) does not count as another label.
    """
    if train.truth is None or test.truth is None:
        return None
    found = np.zeros(len(own), dtype=bool)
    shared, group = np.unique(own[np.isin(own, ids)], return_inverse=True)
    if not len(shared):
        return found
    there, mine = np.isin(ids, shared), np.isin(own, shared)
    labels, own_labels = _table(train.truth[there]), _table(test.truth[mine])
    least, most = np.full((2, len(shared), labels.shape[1]), np.nan)
    to = np.searchsorted(shared, ids[there])
    np.fmin.at(least, to, labels)
    np.fmax.at(most, to, labels)
    differs = (least[group] < own_labels) | (most[group] > own_labels)
    found[mine] = differs.any(axis=1)
    return found


def _table(truth: np.ndarray) -> np.ndarray:
    """Return labels as float64 [n, T]."""
    return np.asarray(truth, dtype=np.float64).reshape(len(truth), -1)


def _if_paired(rows: Rows, which: np.ndarray) -> int | None:
    return None if rows.alphabet.complement is None else int(which.sum())


def _same_names(known: Sequence[str] | None, names: Sequence[str] | None) -> int | None:
    if known is None or names is None:
        return None
    there = set(known)
    return sum(x in there for x in names)


def _examples(train: Rows, test: Rows, found: Matches) -> list[dict[str, Any]]:
    """Return the first rows of `test` that are in `train`, by number and name."""
    examples = []
    for row in np.flatnonzero(found.any)[:N_EXAMPLES].tolist():
        same = found.same[row] >= 0
        other = int(found.same[row] if same else found.reverse[row])
        labels = found.other_label
        examples.append(
            {
                "row": int(test.numbers[row]),
                "name": name_of(test, row),
                "train_row": int(train.numbers[other]),
                "train_name": name_of(train, other),
                "strand": "+" if same else "-",
                "other_label": None if labels is None else bool(labels[row]),
            }
        )
    return examples


def name_of(rows: Rows, row: int) -> str | None:
    """Return the name of a row or its interval; None if it has neither."""
    if rows.names is not None:
        return str(rows.names[row])
    if rows.contigs is None or rows.starts is None or rows.ends is None:
        return None
    return f"{rows.contigs[row]}:{int(rows.starts[row])}-{int(rows.ends[row])}"
