"""The other strand: reverse complement of batches and reversal of outputs.

Padding stays at the end: only the first n positions of a row of n positions are reversed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seqmodel.errors import SequenceError

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet


def reverse_complement(x: Tensor, alphabet: Alphabet, pad: Tensor | None = None) -> Tensor:
    """Return the reverse complement of ids [N, L] or one-hot rows [N, L, A].

    Raises:
        SequenceError: The alphabet has no complement.
    """
    if alphabet.complement_table is None:
        raise SequenceError(
            f"alphabet {alphabet.name!r} has no complement, so there is no other strand; set "
            "--average_strands=False and --rc_equivariant=False"
        )
    table = torch.from_numpy(alphabet.complement_table).to(x.device)
    if x.is_floating_point():
        # the complement is its own inverse, so the table also maps back
        return reverse_outputs(x[..., table[: alphabet.n_letters].long()], pad)
    return reverse_outputs(table[x.int()].to(x.dtype), pad)


def reverse_outputs(x: Tensor, pad: Tensor | None = None) -> Tensor:
    """Return `x` [N, L, ...] with the positions of each row before its padding reversed."""
    if pad is None:
        return x.flip(1)
    at = torch.arange(x.shape[1], device=x.device)[None, :]
    length = (~pad).sum(1, keepdim=True)
    at = torch.where(at < length, length - 1 - at, at)
    return x.gather(1, at.view(*at.shape, *[1] * (x.ndim - 2)).expand_as(x))
