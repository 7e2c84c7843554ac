"""One-hot sequences on the CPU, for tools that want them there; models make their own.

Two ids are looked up at a time, in a table small enough for the cache, which is as fast as a
kernel in C.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from seqmodel.dataset.seq.alphabet import Alphabet

_LARGEST_TABLE = 1 << 18


class OneHot:
    """From ids to one-hot, float32; unknown letters by the rule of the alphabet, mask and pad 0."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._single = alphabet.one_hot_table()
        n, a = self._single.shape
        first, second = np.arange(n)[None, :], np.arange(n)[:, None]
        self._pairs = None
        if 256 * n * 2 * a * 4 <= _LARGEST_TABLE and sys.byteorder == "little":
            # row lo + 256 * hi has the one-hot of lo, then that of hi
            self._pairs = np.zeros((256 * n, 2 * a), dtype=np.float32)
            self._pairs[first + 256 * second, :a] = self._single[first]
            self._pairs[first + 256 * second, a:] = self._single[second]

    def __call__(self, tokens: Tensor | np.ndarray) -> Tensor:
        """One-hot float32 [..., A] of ids uint8 [...]."""
        ids = np.ascontiguousarray(tokens)
        a = self._single.shape[1]
        if self._pairs is None or ids.size % 2:
            return torch.from_numpy(self._single[ids])
        found = self._pairs.take(ids.reshape(-1).view(np.uint16), axis=0, mode="clip")
        return torch.from_numpy(found.reshape(*ids.shape, a))
