"""Trivial baselines: predictions from single numbers, k-mer counts and the nearest training row.

Each is fitted on the training rows (at most `MAX_ROWS`, drawn with a seed) and applied to the test
rows. A model that is not clearly better than the best baseline has learned little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from seqmodel.trust.linear import Linear, fit
from seqmodel.trust.rows import Rows

MAX_ROWS = 100_000
KMERS = (1, 2, 3, 4, 5)
METRIC = {"class": "mcc", "multilabel": "auroc", "real": "pearson"}
"""The test metric in which baselines and models are compared, by the kind of the targets."""
C_KMERS, C_NUMBER = 0.01, 1.0
_MAX_FEATURES = 1024
_MAX_WORK = 5_000_000_000  # rows * features * targets
_LETTERS = 1 << 22

Number = Callable[[Rows], np.ndarray | None]


def numbers(train: Rows, test: Rows) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the name and values of each number that both splits have and that varies in train.

    Values are float64 [N, 1]. The file of origin has one column for each file.
    """
    for name, number in NUMBERS.items():
        x, y = number(train), number(test)
        if x is not None and y is not None and len(x) and (x != x[0]).any():
            yield name, x[:, None], y[:, None]
    if train.source is not None and test.source is not None:
        files = np.unique(train.source)
        of_train, of_test = train.source[:, None] == files, test.source[:, None] == files
        yield "file of origin", of_train.astype(np.float64), of_test.astype(np.float64)


def _lengths(rows: Rows) -> np.ndarray:
    return rows.lengths.astype(np.float64)


def _gc(rows: Rows) -> np.ndarray | None:
    """Return the GC content of each row of DNA or RNA, without unknown bases."""
    letters = rows.alphabet.letters
    if not {"G", "C"} <= set(letters) or rows.alphabet.n_letters != 4:
        return None
    gc = _counts_of(rows, _mask(letters.index("G"), letters.index("C")))
    known = rows.lengths - _counts_of(rows, _mask(*range(4)), invert=True)
    return gc / np.maximum(known, 1)


def _unknown(rows: Rows) -> np.ndarray:
    n = rows.alphabet.n_letters
    return _counts_of(rows, _mask(*range(n)), invert=True).astype(np.float64)


def _row_order(rows: Rows) -> np.ndarray:
    return rows.numbers / max(1, rows.total)


def _start(rows: Rows) -> np.ndarray | None:
    return None if rows.starts is None else rows.starts.astype(np.float64)


NUMBERS: dict[str, Number] = {
    "length": _lengths,
    "GC": _gc,
    "unknown letters": _unknown,
    "lower case": lambda rows: rows.lower,
    "position": _start,
    "row order": _row_order,
}


def _mask(*ids: int) -> np.ndarray:
    """Return a mask of the given ids, bool [256]."""
    found = np.zeros(256, dtype=bool)
    found[list(ids)] = True
    return found


def _counts_of(rows: Rows, wanted: np.ndarray, *, invert: bool = False) -> np.ndarray:
    """Count the positions of each row that are in the mask, or that are not; int64 [N]."""
    counts = np.empty(len(rows), dtype=np.int64)
    for first, last in blocks(rows):
        begin, end = rows.offsets[first], rows.offsets[last]
        which = wanted[rows.codes[begin:end]] ^ invert
        total = np.concatenate(([0], np.cumsum(which, dtype=np.int64)))
        counts[first:last] = np.diff(total[rows.offsets[first : last + 1] - begin])
    return counts


def blocks(rows: Rows) -> Iterator[tuple[int, int]]:
    """Yield the first row and the last row + 1 of blocks of a few million positions."""
    first = 0
    while first < len(rows):
        reach = np.searchsorted(rows.offsets, rows.offsets[first] + _LETTERS, "right") - 1
        last = min(max(first + 1, int(reach)), first + _LETTERS // _MAX_FEATURES)
        yield first, last
        first = last


def kmer_counts(rows: Rows, k: int) -> np.ndarray:
    """Count the k-mers without unknown symbols of each row, float32 [N, A ** k]."""
    n_letters = rows.alphabet.n_letters
    n_features = n_letters**k
    found = np.zeros((len(rows), n_features), dtype=np.float32)
    for first, last in blocks(rows):
        begin = rows.offsets[first]
        codes = rows.codes[begin : rows.offsets[last]]
        n = len(codes) - k + 1
        if n <= 0:
            continue
        kmer, kept = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        for i in range(k):
            kmer = kmer * n_letters + codes[i : n + i]
            kept &= codes[i : n + i] < n_letters
        row = np.repeat(np.arange(last - first), rows.lengths[first:last])
        kept &= row[:n] == row[k - 1 :]
        flat = row[:n][kept] * n_features + kmer[kept]
        counts = np.bincount(flat, minlength=(last - first) * n_features)
        found[first:last] = counts.reshape(last - first, n_features)
    return found


def ks_of(train: Rows, wanted: Sequence[int] = KMERS) -> list[int]:
    """Return the values of k in `wanted` that give few enough features for these rows."""
    n = train.alphabet.n_letters
    n_targets = 1 if train.kind == "class" and len(train.targets) == 2 else len(train.targets)
    work = min(len(train), MAX_ROWS) * max(1, n_targets)
    return [k for k in wanted if n**k <= _MAX_FEATURES and n**k * work <= _MAX_WORK]


def baselines(
    train: Rows,
    test: Rows,
    nearest: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    kmers: Sequence[int] = KMERS,
    limit: int = MAX_ROWS,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Predict the test rows with each baseline.

    Args:
        train: Training rows with truth.
        test: Rows to predict.
        nearest: Containment and nearest training row of each test row, from
            `Containment(train).of(test)`.
        kmers: Values of k for k-mer counts. A k with too many features is left out.
        limit: Maximum number of training rows for fitting.
        seed: Random seed for drawing these rows.

    Returns:
        Probabilities [N, C] or [N, T], or numbers [N, T], by the name of the baseline. Empty if
        train has no truth, or only one class or number.
    """
    if train.kind is None or train.truth is None or not len(test) or not varies(train.truth):
        return {}
    found = {}
    drawn = train.draw(limit, seed)
    for name, x, y in numbers(drawn, test):
        found[name] = _fitted(x, drawn, C_NUMBER)(y)
    for k in ks_of(drawn, kmers):
        model = _fitted(kmer_counts(drawn, k), drawn, C_KMERS)
        found[f"{k}-mers"] = np.concatenate(
            [
                model(kmer_counts(test.select(np.arange(first, last)), k))
                for first, last in blocks(test)
            ]
        )
    if nearest is not None:
        found["nearest row"] = of_nearest(train, *nearest)
    return found


def varies(truth: np.ndarray) -> bool:
    """Return whether the truth has two classes, or two values of some target."""
    columns = truth.reshape(len(truth), -1).T.astype(np.float64)
    known = (x[~np.isnan(x)] for x in columns)
    return any(len(x) and bool((x != x[0]).any()) for x in known)


def of_nearest(train: Rows, share: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the truth of the most similar training row, or the mean truth if none is similar."""
    truth = train.truth
    assert truth is not None
    if train.kind == "class":
        truth = np.eye(len(train.targets))[truth]
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(truth)
        usual = np.where(known, truth, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found = np.where((nearest >= 0)[:, None], truth[np.maximum(nearest, 0)], usual)
    return np.where(np.isnan(found), usual, found)


def _fitted(x: np.ndarray, rows: Rows, c: float) -> Linear:
    assert rows.truth is not None and rows.kind is not None  # noqa: PT018 (not a test)
    return fit(x, rows.truth, rows.kind, len(rows.targets), c, overwrite=True)
