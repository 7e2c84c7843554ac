"""Markov chains: the baselines of masked and causal models."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from seqmodel.trust.rows import Rows

CHAINS = {
    "order 0": (0, 0),
    "order 3": (3, 0),
    "order 5": (5, 0),
    "3 positions on either side": (3, 3),
}
"""Number of symbols before and after the predicted one."""
_MAX_STATES = 1 << 22
_LETTERS = 1 << 22


def contexts(
    codes: np.ndarray, n_left: int, n_right: int, positions: np.ndarray, n_letters: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Return context number and symbol at the `positions` where both are known."""
    inside = (positions >= n_left) & (positions < len(codes) - n_right)
    positions = positions[inside]
    letter = codes[positions]
    context = np.zeros(len(positions), np.int64)
    known = letter < n_letters
    for offset in (*range(-n_left, 0), *range(1, n_right + 1)):
        neighbour = codes[positions + offset]
        known &= neighbour < n_letters
        context = context * n_letters + neighbour
    return context[known], letter[known]


def markov_entropy(
    train: Iterable[np.ndarray],
    test: Iterable[tuple[np.ndarray, np.ndarray]],
    n_left: int,
    n_right: int = 0,
    n_letters: int = 4,
) -> float:
    """Return the cross-entropy, in nats per position, of `test` under a chain fitted on `train`.

    The chain sees the `n_left` symbols before a position and the `n_right` symbols after it;
    n_right=0 is a chain of order n_left. Probabilities are proportions of counts plus one.

    Args:
        train: Codes of each contig, all of whose positions are counted.
        test: Codes of a contig and the positions to predict.
        n_left: Number of symbols before the position.
        n_right: Number of symbols after it.
        n_letters: Number of known symbols; larger codes are unknown symbols.
    """
    counts = np.ones((n_letters ** (n_left + n_right), n_letters))
    for codes in train:
        context, letter = contexts(codes, n_left, n_right, np.arange(len(codes)), n_letters)
        joint = context * n_letters + letter
        counts += np.bincount(joint, minlength=counts.size).reshape(counts.shape)
    nats = -np.log(counts / counts.sum(axis=1, keepdims=True))
    found = [contexts(codes, n_left, n_right, x, n_letters) for codes, x in test]
    return float(np.concatenate([nats[context, letter] for context, letter in found]).mean())


def chains(train: Rows, test: Rows, *, causal: bool = False) -> dict[str, float | None]:
    """Return the nats per position of each chain on `test`; None if no position has its context.

    Args:
        train: Rows on which the chains are fitted.
        test: Rows to predict, at all positions.
        causal: Only chains that see the symbols before.
    """
    n = train.alphabet.n_letters
    found: dict[str, float | None] = {}
    for name, (left, right) in CHAINS.items():
        if n ** (left + right + 1) > _MAX_STATES or (causal and right):
            continue
        parts = [(x, np.arange(len(x))) for x in _pieces(test)]
        if not any(len(contexts(*(x, left, right, at, n))[1]) for x, at in parts):
            found[name] = None
            continue
        found[name] = markov_entropy(_pieces(train), parts, left, right, n)
    return found


def _pieces(rows: Rows) -> Iterable[np.ndarray]:
    """Yield blocks of rows as one sequence, with an unknown symbol between rows."""
    first = 0
    while first < len(rows):
        reach = np.searchsorted(rows.offsets, rows.offsets[first] + _LETTERS, "right") - 1
        last = max(first + 1, int(reach))
        begin = rows.offsets[first]
        codes = rows.codes[begin : rows.offsets[last]]
        yield np.insert(codes, rows.offsets[first + 1 : last] - begin, 255)
        first = last
