"""K-mers of sequences of one length: which a sequence has, and how common they are elsewhere.

Both strands are one: a word and its reverse complement are the same. Codes are those of seqmodel's
DNA, A 0, C 1, G 2, T 3; a word with any other is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

CONTIGUOUS = ["1" * k for k in (4, 5, 6, 7, 8, 10, 12, 14, 16, 20)]
# Palindromes: a mask that reads the same from both ends fits both strands.
GAPPED = [
    "111000111",
    "11100000111",
    "1110000000111",
    "111101111",
    "1111001111",
    "11110001111",
    "111100001111",
    "1111000001111",
    "1110110111",
    "11101110111",
    "110110011011",
]
MASKS = CONTIGUOUS + GAPPED
SIZES = (9, 11, 12, 13, 14, 16, 20)
NO_WORD = np.uint64(2**64 - 1)
N_BITS = 23
"""Words are hashed to 2^23 columns."""


def words(codes: np.ndarray, mask: str) -> np.ndarray:
    """The word at each position: uint64 [..., L - len(mask) + 1] of codes [..., L].

    `mask` is a palindrome of 1 (a letter of the word) and 0 (any letter), with at most 31 ones.
    """
    n = codes.shape[-1] - len(mask) + 1
    ahead = np.zeros((*codes.shape[:-1], n), np.uint64)
    back, none = ahead.copy(), np.zeros(ahead.shape, bool)
    for k, i in enumerate(i for i, x in enumerate(mask) if x == "1"):
        letter = codes[..., i : i + n]
        none |= letter > 3
        letter = (letter & 3).astype(np.uint64)
        ahead = ahead << np.uint64(2) | letter
        back |= (np.uint64(3) - letter) << np.uint64(2 * k)
    return np.where(none, NO_WORD, np.minimum(ahead, back))


def presence(codes: np.ndarray, masks: Sequence[str] = MASKS) -> sparse.csr_matrix:
    """Which hashed words each sequence has: float32 [N, 2^23] of 0 and 1, of codes [N, L]."""
    columns = []
    for i, mask in enumerate(masks):
        found = words(codes, mask)
        hashed = found * np.uint64(0x9E3779B97F4A7C15) + np.uint64(i + 1) * np.uint64(0x1234567)
        hashed = (hashed ^ hashed >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9)
        columns.append((hashed >> np.uint64(64 - N_BITS)).astype(np.int32))
    each = [np.unique(x) for x in np.concatenate(columns, axis=1)]
    ends = np.cumsum([0, *map(len, each)])
    ones = np.ones(ends[-1], np.float32)
    return sparse.csr_matrix((ones, np.concatenate(each), ends), shape=(len(codes), 1 << N_BITS))


def abundance(
    sets: Sequence[np.ndarray], genome: np.ndarray, sizes: Sequence[int] = SIZES
) -> list[np.ndarray]:
    """How common the k-mers of each sequence are in `genome`, float32 [N, 5 x sizes] for each set.

    Of log(1 + count) over the positions: mean, largest, smallest, upper quartile, and the mean
    without the 30 positions at either end (fewer where none would be left).
    """
    columns: list[list[np.ndarray]] = [[] for _ in sets]
    for k in sizes:
        known = words(genome, "1" * k)
        known = np.sort(known[known != NO_WORD])
        for codes, out in zip(sets, columns, strict=True):
            found, where = np.unique(words(codes, "1" * k), return_inverse=True)  # in order: faster
            first, last = (np.searchsorted(known, found, side) for side in ("left", "right"))
            common = np.log1p(last - first).astype(np.float32)[where].reshape(len(codes), -1)
            upper = np.quantile(common, 0.75, axis=1)
            margin = min(30, (common.shape[1] - 1) // 2)
            middle = common[:, margin : common.shape[1] - margin].mean(1)
            out += [common.mean(1), common.max(1), common.min(1), upper, middle]
    return [np.column_stack(x).astype(np.float32) for x in columns]


def composition(codes: np.ndarray, sizes: Sequence[int] = (1, 2, 3, 4)) -> np.ndarray:
    """Counts of all k-mers, one strand: float32 [N, 4 + 16 + ...] of codes [N, L] below 4."""
    out = []
    for k in sizes:
        n = codes.shape[1] - k + 1
        number = sum(codes[:, i : i + n].astype(np.int64) * 4**i for i in range(k))
        shifted = number + np.arange(len(codes))[:, None] * 4**k
        out.append(np.bincount(shifted.ravel(), minlength=len(codes) * 4**k).reshape(-1, 4**k))
    return np.hstack(out).astype(np.float32)
