"""Compute a batch in halves if it does not fit into the memory of the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from seqmodel.training.out_of_memory import explain_out_of_memory

T = TypeVar("T")


class Halving:
    """Compute batches; after a batch did not fit, later ones use the size that did.

    Args:
        batch_size: Number of rows in a batch. The first batch that is split causes a warning.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = self._most = batch_size

    def __call__(self, n: int, compute: Callable[[slice], T]) -> list[T]:
        """Apply `compute` to the rows 0 to n in order, in as few pieces as the memory allows.

        Raises:
            RunError: A single row does not fit.
        """
        return self._piece(0, n, compute)

    def _piece(self, begin: int, end: int, compute: Callable[[slice], T]) -> list[T]:
        n = end - begin
        if n > self._most:
            size = self._most
            cuts = ((at, min(at + size, end)) for at in range(begin, end, size))
            return [x for cut in cuts for x in self._piece(*cut, compute)]
        try:
            return [compute(slice(begin, end))]
        except (RuntimeError, MemoryError) as e:
            if (why := explain_out_of_memory(e)) is None:
                raise
            if n == 1:
                raise why from e
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self._most == self.batch_size:
            warnings.warn(
                f"a batch of {n} does not fit into memory and is computed in halves; the last "
                "digits may differ from those on another host; lower --batch_size",
                stacklevel=2,
            )
        self._most = -(-n // 2)
        return self._piece(begin, end, compute)


def on_host(*tensors: Tensor | None) -> Callable[[], list[np.ndarray | None]]:
    """Start to copy tensors to the CPU; return a function that waits for the copies.

    On a CUDA device the host meanwhile reads and starts the next batch.
    """
    on_card = [x for x in tensors if x is not None and x.is_cuda]
    copies = [None if x is None else x.to("cpu", non_blocking=x.is_cuda) for x in tensors]
    done = torch.cuda.current_stream(on_card[0].device).record_event() if on_card else None

    def finish() -> list[np.ndarray | None]:
        if done is None:
            return [None if x is None else x.numpy() for x in copies]
        done.synchronize()
        # the copies are in page-locked memory, which is scarce
        return [None if x is None else x.numpy().copy() for x in copies]

    return finish


def in_batches(
    batches: Iterable[tuple[np.ndarray, np.ndarray | None]],
    batch_size: int,
    device: torch.device,
    compute: Callable[[Tensor, Tensor | None], Tensor],
) -> list[Tensor]:
    """Apply `compute` to batches of sequences and their padding; return the results on the CPU."""
    halving, found = Halving(batch_size), []
    for x, pad in batches:

        def part(at: slice, x: np.ndarray = x, pad: np.ndarray | None = pad) -> Tensor:
            mask = None if pad is None else torch.from_numpy(pad[at]).to(device)
            return compute(torch.from_numpy(x[at]).to(device), mask).cpu()

        found += halving(len(x), part)
    return found
