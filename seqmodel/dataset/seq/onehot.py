"""One-hot sequences on the CPU, for other tools; models encode their own input.

A table that fits in the cache encodes two ids per lookup, which is as fast as a kernel in C.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import Tensor

from seqmodel.dataset.seq.alphabet import Alphabet

_LARGEST_TABLE = 1 << 18


class OneHot:
    """Encode ids as one-hot, float32; the alphabet defines unknown symbols; mask and pad are 0."""

    def __init__(self, alphabet: Alphabet) -> None:
        self._single = alphabet.one_hot_table()
        n, a = self._single.shape
        first, second = np.arange(n)[None, :], np.arange(n)[:, None]
        self._pairs = None
        if 256 * n * 2 * a * 4 <= _LARGEST_TABLE and sys.byteorder == "little":
            # row lo + 256 * hi holds the one-hot of lo, then the one-hot of hi
            self._pairs = np.zeros((256 * n, 2 * a), dtype=np.float32)
            self._pairs[first + 256 * second, :a] = self._single[first]
            self._pairs[first + 256 * second, a:] = self._single[second]

    def __call__(self, tokens: Tensor | np.ndarray) -> Tensor:
        """Return one-hot float32 [..., A] of ids uint8 [...]."""
        ids = np.ascontiguousarray(tokens)
        a = self._single.shape[1]
        if self._pairs is None or ids.size % 2:
            return torch.from_numpy(self._single[ids])
        found = self._pairs.take(ids.reshape(-1).view(np.uint16), axis=0, mode="clip")
        return torch.from_numpy(found.reshape(*ids.shape, a))
