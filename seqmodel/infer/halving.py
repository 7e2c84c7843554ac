"""A batch that does not fit into the memory of the device is computed in halves."""

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
    """Computes batches; once one did not fit, those that follow are as small as what did.

    Args:
        batch_size: rows in a batch; the first batch that is cut is reported in a warning.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = self._most = batch_size

    def __call__(self, n: int, compute: Callable[[slice], T]) -> list[T]:
        """What `compute` makes of the rows 0 to n, in order, in as few pieces as the memory allows.

        Raises:
            RunError: a single row does not fit.
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
                f"a batch of {n} does not fit into memory; it is computed in halves, so that the "
                "last digits may differ from those of another machine. Lower --batch_size",
                stacklevel=2,
            )
        self._most = -(-n // 2)
        return self._piece(begin, end, compute)


def in_batches(
    batches: Iterable[tuple[np.ndarray, np.ndarray | None]],
    batch_size: int,
    device: torch.device,
    compute: Callable[[Tensor, Tensor | None], Tensor],
) -> list[Tensor]:
    """What `compute` makes of batches of sequences and their padding, in pieces, on the CPU."""
    halving, found = Halving(batch_size), []
    for x, pad in batches:

        def part(at: slice, x: np.ndarray = x, pad: np.ndarray | None = pad) -> Tensor:
            mask = None if pad is None else torch.from_numpy(pad[at]).to(device)
            return compute(torch.from_numpy(x[at]).to(device), mask).cpu()

        found += halving(len(x), part)
    return found
