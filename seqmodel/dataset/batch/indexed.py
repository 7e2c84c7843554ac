"""Items by their index: what torch's own DataLoader and samplers read from.

Another end of the flow, beside loader.py: the order, the ranks and the workers are those of the
caller. An item is the same whichever batch, rank or worker reads it.
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

    `tokens` uint8 [L], `index` and `key` int64 []; where the data have them also `target`, `weight`
    float32 [L] and `pad` bool [L]. All items have the same names and shapes.

    Args:
        reader: reads samples; all of one length.
        seed: of the strands, the places and the keys.
        train: whether these depend on the epoch.
    """

    def __init__(self, reader: SequenceReader, *, seed: int = 0, train: bool = False) -> None:
        self.reader, self.seed, self.train = reader, seed, train
        # shared, since workers that persist keep the copy that they were started with
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Number of items."""
        return len(self.reader)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose changes are read; evaluation has one only."""
        self._epoch.fill_(epoch if self.train else 0)

    def __getitem__(self, index: SupportsIndex | list[SupportsIndex]) -> dict[str, Tensor]:
        """One item, or of a list of indices a whole batch, its tensors [N, ...].

        Negative indices count from the end.

        Raises:
            IndexError: there is no such item.
        """
        if isinstance(index, list):
            return self._read(index)
        return {name: x[0] for name, x in self._read([index]).items()}

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[dict[str, Tensor]]:
        """The same items as one by one, read together; torch's DataLoader calls it for a batch."""
        batch = self._read(indices)
        rows = zip(*(x.unbind() for x in batch.values()), strict=True)
        return [dict(zip(batch, row, strict=True)) for row in rows]

    def _item(self, index: SupportsIndex) -> int:
        number, n = operator.index(index), len(self)
        if not -n <= number < n:
            raise IndexError(f"index {number} is outside of the {n} items, 0 to {n - 1}")
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
