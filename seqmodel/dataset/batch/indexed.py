"""Items by index: a data set for torch's own DataLoader and samplers.

This is an alternative to loader.py in which the caller controls the order, the ranks and the
workers. An item is the same in every batch, rank and worker.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from seqmodel.dataset.batch.reader import SequenceReader
from seqmodel.dataset.batch.sampler import Samples, keys_of


class IndexedDataset(Dataset):
    """Items of a split, each a dict of tensors that depends on (seed, epoch, index) only.

    `tokens` uint8 [L], `index` and `key` int64 []; if the data have them, also `target`, `weight`
    float32 [L] and `pad` bool [L]. All items have the same names and shapes.

    Args:
        reader: Reader of samples of equal length.
        seed: Random seed of the strands, the positions and the keys.
        train: Whether the random choices depend on the epoch.
    """

    def __init__(self, reader: SequenceReader, *, seed: int = 0, train: bool = False) -> None:
        self.reader, self.seed, self.train = reader, seed, train
        # shared memory, because persistent workers keep the copy from their start
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Number of items."""
        return len(self.reader)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the random changes; evaluation has only one."""
        self._epoch.fill_(epoch if self.train else 0)

    def __getitem__(self, index: SupportsIndex | list[SupportsIndex]) -> dict[str, Tensor]:
        """Return one item, or for a list of indices a whole batch with tensors [N, ...].

        Negative indices count from the end.

        Raises:
            IndexError: The index is out of range.
        """
        if isinstance(index, list):
            return self._read(index)
        return {name: x[0] for name, x in self._read([index]).items()}

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[dict[str, Tensor]]:
        """Read several items together; torch's DataLoader calls this for a batch."""
        batch = self._read(indices)
        rows = zip(*(x.unbind() for x in batch.values()), strict=True)
        return [dict(zip(batch, row, strict=True)) for row in rows]

    def _item(self, index: SupportsIndex) -> int:
        number, n = operator.index(index), len(self)
        if not -n <= number < n:
            raise IndexError(f"index {number} is out of range for {n} items, 0 to {n - 1}")
        return number % n

    def _read(self, indices: Sequence[SupportsIndex]) -> dict[str, Tensor]:
        item = np.array([self._item(i) for i in indices], dtype=np.int64)
        key = keys_of(self.seed, int(self._epoch), item)
        plan = self.reader.plan(Samples(item, item, key))
        batch = self.reader.read(plan, 0, len(item))
        if self.reader.has_pad:
            batch.setdefault("pad", np.zeros(batch["tokens"].shape, dtype=bool))
        batch |= {"index": item, "key": key.view(np.int64)}
        return {name: torch.from_numpy(x) for name, x in batch.items()}
