"""Counter-based random bits: a pure function of words, with no state to save or to restore.

Everything that is random in the data path (order, offsets, strands, masks) is drawn here from
(seed, epoch, index, ...), so that the same sample comes out whatever the workers, the ranks, the
batch size or the moment at which a run was resumed. NumPy and torch give the same bits.

The mixing function is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable
pseudorandom number generators", variant 13 of Stafford), applied once a word.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_MUL1 = 0xBF58476D1CE4E5B9
_MUL2 = 0x94D049BB133111EB


def hash64(*words: int | np.ndarray) -> np.ndarray:
    """Random words, uint64, of the broadcast shape of `words` (integers or integer arrays)."""
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        array = np.asarray(word & 0xFFFFFFFFFFFFFFFF if isinstance(word, int) else word)
        state = _mix((state + np.uint64(_GAMMA)) ^ array.astype(np.uint64))
    shape = np.broadcast_shapes(*(np.shape(word) for word in words))
    return state.reshape(shape)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MUL1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MUL2)
    return x ^ (x >> np.uint64(31))


def uniform(bits: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1), float64, from the upper 53 of the 64 `bits`."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(bits: np.ndarray, n: int | np.ndarray) -> np.ndarray:
    """Integers in [0, n), int64, from `bits`; n up to 2**32, bias below n / 2**32."""
    n = np.asarray(n, dtype=np.uint64)
    return (((bits >> np.uint64(32)) * n) >> np.uint64(32)).astype(np.int64)


def torch_hash64(*words: int | Tensor) -> Tensor:
    """The same words as `hash64`, as int64 with the same bits, on the device of the tensors."""
    device = next((word.device for word in words if isinstance(word, Tensor)), None)
    state = torch.zeros((), dtype=torch.int64, device=device)
    for word in words:
        value = word if isinstance(word, Tensor) else _signed(word)
        state = _torch_mix((state + _signed(_GAMMA)) ^ value)
    return state


def torch_uniform(key: Tensor, n: int, stream: int = 0) -> Tensor:
    """Numbers in [0, 1), float32 [N, n], for int64 `key` [N].

    Entry (i, j) depends on key i, `stream` and j only. From the upper 24 bits: every number is
    exact in float32, and 1.0 never comes.
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
