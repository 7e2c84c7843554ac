"""Batches of an epoch for one rank, for the training loop.

Last stage of the flow. A batch is a dict of tensors. Without workers (the default), it is made
on request. Workers make many batches at a time and send them as one buffer, because a message
costs more than a batch; they map the store by its path and share no file handle.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from seqmodel.dataset.batch.sampler import Sampler, Samples

Batch = dict[str, Tensor]
Planned = TypeVar("Planned")

_PLANNED_SAMPLES = 1 << 14
_READ_BYTES = 1 << 19
_SENT_BYTES = 1 << 22
_SENT_BATCHES = 64


class Reader(Protocol[Planned]):
    """Source of a loader: `plan` for many samples at once, then `read` for each batch."""

    length: int
    """Length of the sequences, or of the longest."""
    is_fixed: bool
    """Whether all batches have that length, so that several may be read as one and cut."""

    def plan(self, samples: Samples) -> Planned:
        """Return everything that `read` needs for these samples."""

    def read(self, plan: Planned, start: int, end: int) -> dict[str, np.ndarray]:
        """Read the batch of samples `start` to `end` of the plan."""


class Loader:
    """Batches of one rank in each epoch; equal (seed, epoch) give equal batches.

    Args:
        reader: Reader of samples.
        sampler: Sampler that chooses them; its `set_epoch` may replace the one of the loader.
        n_workers: Number of processes that prepare batches; 0 uses this process.
        start_method: Start method of the workers: "fork", "spawn" or "forkserver".
    """

    batch_sampler = None  # Lightning expects one beside a sampler

    def __init__(
        self,
        reader: Reader[Any],
        sampler: Sampler,
        n_workers: int = 0,
        start_method: str | None = None,
    ) -> None:
        self.reader, self.sampler = reader, sampler
        self.n_workers, self.start_method = n_workers, start_method
        self._next = 0

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self.sampler)

    @property
    def batch_size(self) -> int:
        """Number of samples in a batch; the last batch may have fewer."""
        return self.sampler.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next iteration reads."""
        self.sampler.set_epoch(epoch)

    def seek(self, batch: int) -> None:
        """Start only the next iteration at this batch; earlier batches are not read."""
        self._next = batch

    def __iter__(self) -> Iterator[Batch]:
        """Iterate over the batches of the epoch; the first request determines the start."""
        first, self._next = self._next, 0
        if self.n_workers == 0:
            yield from self._batches(first, len(self))
        else:
            yield from self._from_workers(first)

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        """Iterate over batches `first` to `last`, planning many at a time."""
        step = max(1, _PLANNED_SAMPLES // self.sampler.batch_size)
        for begin in range(first, last, step):
            bounds = self.sampler.bounds(np.arange(begin, min(begin + step, last) + 1))
            offset = int(bounds[0])
            samples = self.sampler.samples(offset, int(bounds[-1]))
            plan = self.reader.plan(samples)
            cuts = (bounds - offset).tolist()
            for i in range(0, len(cuts) - 1, self._read_at_once):
                part = cuts[i : i + self._read_at_once + 1]
                arrays = self.reader.read(plan, part[0], part[-1])
                arrays["index"] = samples.index[part[0] : part[-1]]
                arrays["key"] = samples.key[part[0] : part[-1]].view(np.int64)
                yield from _cut(arrays, [end - start for start, end in pairwise(part)])

    @property
    def _read_at_once(self) -> int:
        """Number of batches read in one call and then cut, to save calls; 1 for large batches."""
        if not self.reader.is_fixed:
            return 1
        return max(1, _READ_BYTES // (self.sampler.batch_size * self.reader.length))

    def _from_workers(self, first: int) -> Iterator[Batch]:
        batches = next(self._batches(first, first + 1), None)
        if batches is None:
            return
        n_bytes = sum(x.nbytes for x in batches.values())
        share = -(-(len(self) - first) // (2 * self.n_workers))
        step = max(1, min(_SENT_BATCHES, _SENT_BYTES // n_bytes, share))
        bounds = [(x, min(x + step, len(self))) for x in range(first, len(self), step)]
        loader = DataLoader(
            _Chunks(self),
            batch_size=None,
            sampler=bounds,
            num_workers=self.n_workers,
            multiprocessing_context=self.start_method,
            # a separate generator: the global one, which a resumed run restores, is unchanged
            generator=torch.Generator(),
        )
        for buffer, layout in loader:
            yield from _unpack(buffer, layout)


def _cut(arrays: dict[str, np.ndarray], sizes: list[int]) -> Iterator[Batch]:
    """Cut arrays into batches of these sizes, without `pad` where a batch has no padding."""
    parts = [torch.split_with_sizes(torch.from_numpy(x), sizes) for x in arrays.values()]
    for tensors in zip(*parts, strict=True):
        batch = dict(zip(arrays, tensors, strict=True))
        if "pad" in batch and not batch["pad"].any():
            del batch["pad"]
        yield batch


class _Chunks(Dataset):
    """Consecutive batches as one buffer, made by a worker."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getitem__(self, bounds: tuple[int, int]) -> tuple[Tensor, list]:
        return _pack(list(self.loader._batches(*bounds)))


def _pack(batches: list[Batch]) -> tuple[Tensor, list]:
    """Pack batches into one uint8 buffer; return it and the position of each tensor."""
    layout, at = [], 0
    for batch in batches:
        places = []
        for name, x in batch.items():
            places.append((name, x.dtype, tuple(x.shape), at))
            at += -(-x.nbytes // 16) * 16
        layout.append(places)
    buffer = torch.empty(at, dtype=torch.uint8)
    for batch, places in zip(batches, layout, strict=True):
        for x, (_, _, _, start) in zip(batch.values(), places, strict=True):
            buffer[start : start + x.nbytes] = x.contiguous().view(-1).view(torch.uint8)
    return buffer, layout


def _unpack(buffer: Tensor, layout: list) -> Iterator[Batch]:
    for places in layout:
        batch = {}
        for name, dtype, shape, start in places:
            n_bytes = int(np.prod(shape)) * dtype.itemsize
            batch[name] = buffer[start : start + n_bytes].view(dtype).view(shape)
        yield batch
