"""Batches of an epoch for one rank: what a training loop iterates over.

Last stage of the flow. A batch is made whole, as a dict of tensors. Without workers (the default)
it is made when it is asked for. Workers make many batches at a time and send them as one buffer,
since a message costs more than a batch; they map the store by its path and share no file handle.
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
    """What a loader reads from: `plan` for many samples at once, then `read` for some batches."""

    length: int
    """Length of the sequences, or of the longest."""
    is_fixed: bool
    """Whether all batches have that length, so that several may be read as one and cut."""

    def plan(self, samples: Samples) -> Planned:
        """Whatever `read` needs for these samples."""

    def read(self, plan: Planned, start: int, end: int) -> dict[str, np.ndarray]:
        """The batch of samples `start` to `end` of the plan."""


class Loader:
    """Batches of one rank, epoch after epoch; the same ones for the same (seed, epoch).

    Args:
        reader: reads samples.
        sampler: says which samples; its `set_epoch` may be called instead of the loader's.
        n_workers: processes that prepare batches; 0 prepares them in this one.
        start_method: how workers are started, "fork", "spawn" or "forkserver".
    """

    batch_sampler = None  # Lightning looks for one where there is a sampler

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
        """Samples in a batch; the last one may have fewer."""
        return self.sampler.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration reads."""
        self.sampler.set_epoch(epoch)

    def seek(self, batch: int) -> None:
        """Makes the next iteration, and only that, begin at this batch; nothing before is read."""
        self._next = batch

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the epoch; where it begins is read when the first one is asked for."""
        first, self._next = self._next, 0
        if self.n_workers == 0:
            yield from self._batches(first, len(self))
        else:
            yield from self._from_workers(first)

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        """Batches `first` to `last`, planned many at a time."""
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
        """Batches that are read in one go and then cut, to save calls; one if they are large."""
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
            # a generator of its own: the global one, which a resumed run restores, is not touched
            generator=torch.Generator(),
        )
        for buffer, layout in loader:
            yield from _unpack(buffer, layout)


def _cut(arrays: dict[str, np.ndarray], sizes: list[int]) -> Iterator[Batch]:
    """Batches of these sizes out of arrays; without `pad` where there is none."""
    parts = [torch.split_with_sizes(torch.from_numpy(x), sizes) for x in arrays.values()]
    for tensors in zip(*parts, strict=True):
        batch = dict(zip(arrays, tensors, strict=True))
        if "pad" in batch and not batch["pad"].any():
            del batch["pad"]
        yield batch


class _Chunks(Dataset):
    """Consecutive batches as one buffer, for a worker."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getitem__(self, bounds: tuple[int, int]) -> tuple[Tensor, list]:
        return _pack(list(self.loader._batches(*bounds)))


def _pack(batches: list[Batch]) -> tuple[Tensor, list]:
    """Batches in one uint8 buffer, and where in it each tensor lies."""
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
