"""Counter-based random bits: a pure function of words, with no state to save or restore.

All randomness of the data path (order, offsets, strands, masks) is drawn here from (seed, epoch,
index, ...). A sample is therefore the same for any number of workers and ranks, any batch size, and
after any resume. NumPy and torch give the same bits.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators", variant 13 of Stafford), applied once per word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_ALL = 0xFFFFFFFFFFFFFFFF  # 64 bits
_GAMMA = 0x9E3779B97F4A7C15
_MUL1 = 0xBF58476D1CE4E5B9
_MUL2 = 0x94D049BB133111EB


def hash64(*words: int | np.ndarray) -> np.ndarray:
    """Return random words, uint64, of the broadcast shape of `words` (integers or their arrays)."""
    n = next((i for i, word in enumerate(words) if not isinstance(word, int)), len(words))
    first = _hash_ints([word for word in words[:n] if isinstance(word, int)])
    if n == len(words):
        return np.array(first, dtype=np.uint64)
    state = np.full(1, first, dtype=np.uint64)
    for word in words[n:]:
        word = word & _ALL if isinstance(word, int) else word
        state = _mix((state + np.uint64(_GAMMA)) ^ np.asarray(word).astype(np.uint64))
    return state.reshape(np.broadcast_shapes(*(np.shape(word) for word in words[n:])))


def _hash_ints(words: Sequence[int]) -> int:
    """Compute `hash64` of plain integers, for which NumPy calls cost more than the arithmetic."""
    state = 0
    for word in words:
        x = (state + _GAMMA & _ALL) ^ (word & _ALL)
        x = (x ^ x >> 30) * _MUL1 & _ALL
        x = (x ^ x >> 27) * _MUL2 & _ALL
        state = x ^ x >> 31
    return state


def _mix(x: np.ndarray) -> np.ndarray:
    y = x >> np.uint64(30)
    y ^= x
    y *= np.uint64(_MUL1)
    x = y >> np.uint64(27)
    x ^= y
    x *= np.uint64(_MUL2)
    y = x >> np.uint64(31)
    y ^= x
    return y


def uniform(bits: np.ndarray) -> np.ndarray:
    """Return numbers in [0, 1), float64, from the upper 53 of the 64 `bits`."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chance(bits: np.ndarray, prob: float) -> np.ndarray:
    """Return the mask `uniform(bits) < prob`, bool, without computing the numbers."""
    # scaling by a power of two is exact, so comparing the integers gives the same result
    limit = math.ceil(prob * 2.0**53)
    if limit >= 2**53:
        return np.ones(np.shape(bits), dtype=bool)
    return bits < np.uint64(limit << 11)


def below(bits: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Return integers in [0, n), int64, from `bits`; n is at most 2**32, the bias < n / 2**32."""
    n = np.asarray(n, dtype=np.uint64)
    return (((bits >> np.uint64(32)) * n) >> np.uint64(32)).astype(np.int64)


def torch_hash64(*words: int | Tensor) -> Tensor:
    """Return the words of `hash64` as int64 with the same bits, on the device of the tensors."""
    device = next((word.device for word in words if isinstance(word, Tensor)), None)
    state = torch.zeros((), dtype=torch.int64, device=device)
    for word in words:
        value = word if isinstance(word, Tensor) else _signed(word)
        state = _torch_mix((state + _signed(_GAMMA)) ^ value)
    return state


def torch_uniform(key: Tensor, n: int, stream: int = 0) -> Tensor:
    """Return numbers in [0, 1), float32 [N, n], for int64 `key` [N].

    Entry (i, j) depends only on key i, `stream` and j. The numbers come from the upper 24 bits, so
    each is exact in float32 and below 1.0.
    """
    position = torch.arange(n, dtype=torch.int64, device=key.device)
    bits = torch_hash64(key[:, None], stream, position[None, :])
    return _shift(bits, 40).to(torch.float32) * 2.0**-24


def _signed(word: int) -> int:
    word &= 0xFFFFFFFFFFFFFFFF
    return word - (1 << 64) if word >> 63 else word


def _shift(x: Tensor, n: int) -> Tensor:
    # torch shifts int64 arithmetically: the mask clears the copies of the sign bit
    return (x >> n) & ((1 << (64 - n)) - 1)


def _torch_mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_MUL1)
    x = (x ^ _shift(x, 27)) * _signed(_MUL2)
    return x ^ _shift(x, 31)
