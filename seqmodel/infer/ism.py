"""In-silico mutagenesis: scores of a sequence with each symbol at each position.

The plain method computes a forward pass for each of the (A - 1) L substitutions. If a substitution
does not change the output of the encoder beyond its `reach`, the local method encodes only the
window around it and inserts the result into the encoding of the sequence.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from seqmodel.infer.halving import Halving
from seqmodel.model.strand import reverse_complement

TOLERANCE = 1e-4
N_CHECKED = 8
_IN_CACHE = 32  # windows and encodings of this many mutants fit into the caches of a CPU


class Mutants(NamedTuple):
    """Substitutions, int64 [M] each: sequence, position, and id of the new symbol."""

    row: Tensor
    position: Tensor
    letter: Tensor

    def batches(self, size: int) -> list[Mutants]:
        """Yield the mutants, `size` at a time."""
        return [Mutants(*x) for x in zip(*(y.split(size) for y in self), strict=True)]


class Scores(nn.Module):
    """One score per sequence and target: the logit, or the logarithm of the total count.

    Args:
        network: Network or Ensemble that returns logits [N, T] or [N, L', T].
        targets: Numbers of the targets.
    """

    def __init__(self, network: Any, targets: list[int]) -> None:
        super().__init__()
        self.network, self.targets = network, targets

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return scores [N, T] of ids [N, L] or one-hot rows [N, L, A]."""
        return self.of(self.network(x, pad), pad)

    def of(self, outputs: Tensor, pad: Tensor | None) -> Tensor:
        """Return scores of the outputs of the network, given the padding of its input."""
        outputs = outputs[..., self.targets]
        if outputs.ndim == 2:
            return outputs
        task = self.network.tasks[0]
        padded = task.out_pad(pad)
        if task.counts:
            filled = (
                outputs if padded is None else outputs.masked_fill(padded[..., None], -torch.inf)
            )
            return filled.logsumexp(1)
        if padded is None:
            return outputs.mean(1)
        n_known = (~padded).sum(1, keepdim=True).clamp(min=1)
        return outputs.masked_fill(padded[..., None], 0.0).sum(1) / n_known


@torch.no_grad()
def mutagenesis(
    scores: Scores,
    ids: Tensor,
    pad: Tensor | None,
    batch_size: int,
    *,
    local: bool = True,
    halving: Halving | None = None,
) -> Tensor:
    """Return scores with each symbol at each position, [N, L, A, T].

    Padded positions have the score of the sequence.

    Args:
        scores: Scores of the model.
        ids: Sequences of known symbols, [N, L].
        pad: Mask of padding.
        batch_size: Number of sequences or mutants in a batch.
        local: Use the local method if the model allows it; see `is_local`.
        halving: Splits batches of mutants that do not fit into memory.
    """
    halving = halving or Halving(batch_size)
    n_letters = scores.network.tasks[0].alphabet.n_letters
    found = []
    n_mutants = min(batch_size, _IN_CACHE) if local and ids.device.type == "cpu" else batch_size
    for begin in range(0, len(ids), batch_size):
        x = ids[begin : begin + batch_size]
        mask = None if pad is None else pad[begin : begin + batch_size]
        way = Local if local and is_aligned(scores.network, x, mask) else plain
        outputs_of = way(scores.network, x, mask)
        values = scores(x, mask)[:, None, None].repeat(1, x.shape[1], n_letters, 1)
        put = partial(_put, values, scores, outputs_of, mask)
        for batch in all_mutants(x, mask, n_letters).batches(n_mutants):
            halving(len(batch.row), partial(put, batch))
        found.append(values)
    return torch.cat(found)


def _put(
    values: Tensor,
    scores: Scores,
    outputs_of: Callable[[Mutants], Tensor],
    pad: Tensor | None,
    mutants: Mutants,
    at: slice,
) -> None:
    """Write the scores of some mutants into `values`."""
    some = Mutants(*(x[at] for x in mutants))
    values[some] = scores.of(outputs_of(some), None if pad is None else pad[some.row])


def all_mutants(ids: Tensor, pad: Tensor | None, n_letters: int) -> Mutants:
    """Return all substitutions outside padding, ordered by sequence, then position."""
    known = torch.ones_like(ids, dtype=torch.bool) if pad is None else ~pad
    row, position = known.nonzero(as_tuple=True)
    shift = torch.arange(1, n_letters, device=ids.device)
    letter = (ids[row, position].long()[:, None] + shift) % n_letters
    n = n_letters - 1
    return Mutants(row.repeat_interleave(n), position.repeat_interleave(n), letter.flatten())


def plain(network: Any, ids: Tensor, pad: Tensor | None) -> Callable[[Mutants], Tensor]:
    """Return a function that computes the outputs for mutants by whole forward passes."""

    def outputs_of(mutants: Mutants) -> Tensor:
        x = ids[mutants.row]
        x[torch.arange(len(x), device=x.device), mutants.position] = mutants.letter.to(x.dtype)
        return network(x, None if pad is None else pad[mutants.row])

    return outputs_of


class Local:
    """Compute outputs for mutants of a few sequences by encoding only the changed windows."""

    def __init__(self, network: Any, ids: Tensor, pad: Tensor | None) -> None:
        self.network, self.pad = network, pad
        self.n_known = torch.full_like(ids[:, 0], ids.shape[1], dtype=torch.long)
        if pad is not None:
            self.n_known = (~pad).sum(1)
        self._strands: dict[Any, list[_Strand]] = {}
        network.of_each(ids, lambda task: self._encode(task, ids))

    def __call__(self, mutants: Mutants) -> Tensor:
        """Return outputs like those of the network."""
        each = self.network.of_each(mutants.row, lambda task: self._outputs(task, mutants))
        return each[0] if len(each) == 1 else torch.stack(each).mean(0)

    def _encode(self, task: Any, ids: Tensor) -> Tensor:
        strands = [_Strand(task, ids, self.pad)]
        if task.task_hparams.average_strands:
            other = reverse_complement(ids, task.alphabet, self.pad)
            strands.append(_Strand(task, other, self.pad))
        self._strands[task] = strands
        return strands[0].encoded

    def _outputs(self, task: Any, mutants: Mutants) -> Tensor:
        this, *other = self._strands[task]
        outputs = this.outputs(mutants)
        if not other:
            return outputs
        table = torch.as_tensor(task.alphabet.complement_table, device=outputs.device).long()
        last = self.n_known[mutants.row] - 1
        turned = Mutants(mutants.row, last - mutants.position, table[mutants.letter])
        pad = None if self.pad is None else self.pad[mutants.row]
        return (outputs + task.from_other_strand(other[0].outputs(turned), pad)) / 2


class _Strand:
    """Sequences on one strand with their encodings."""

    def __init__(self, task: Any, ids: Tensor, pad: Tensor | None) -> None:
        self.task, stride = task, task.encoder.stride
        self.encoded = task.encoder(ids, pad)
        self.out_pad = task.encoder.out_pad(pad)
        # whole outputs, so all windows have one length
        rest = -ids.shape[1] % stride
        self.ids = nn.functional.pad(ids, (0, rest), value=task.alphabet.pad_id)
        self.pad = pad
        if rest:
            pad = torch.zeros_like(ids, dtype=torch.bool) if pad is None else pad
            self.pad = nn.functional.pad(pad, (0, rest), value=True)
        self.near = -(-task.encoder.reach // stride)  # outputs on each side that change

    def outputs(self, mutants: Mutants) -> Tensor:
        """Return the outputs of the decoder for mutants."""
        stride, device = self.task.encoder.stride, self.ids.device
        n_outputs, near = self.encoded.shape[1], self.near
        at = mutants.position // stride
        first = (at - 2 * near).clamp(0, n_outputs - (4 * near + 1))
        where = first[:, None] * stride + torch.arange((4 * near + 1) * stride, device=device)
        window = self.ids[mutants.row[:, None], where]
        inside = mutants.position - first * stride
        window.scatter_(1, inside[:, None], mutants.letter[:, None].to(window.dtype))
        pad = None if self.pad is None else self.pad[mutants.row[:, None], where]
        pad = pad if pad is not None and bool(pad.any()) else None
        encoded = self.task.encoder(window, pad)
        # outputs that the substitution can change; those near a cut end of the window are wrong
        changed = (at - near).clamp(0, n_outputs - (2 * near + 1))[:, None]
        changed = changed + torch.arange(2 * near + 1, device=device)
        new = encoded[torch.arange(len(at), device=device)[:, None], changed - first[:, None]]
        whole = self.encoded[mutants.row]
        whole[torch.arange(len(at), device=device)[:, None], changed] = new
        out_pad = None if self.out_pad is None else self.out_pad[mutants.row]
        return self.task.decode(whole, out_pad)


def has_windows(network: Any, length: int) -> bool:
    """Return whether the window that one position can change is shorter than the sequence."""
    for task in network.tasks:
        encoder = task.encoder
        if encoder.reach is None:
            return False
        window = 4 * -(-encoder.reach // encoder.stride) + 1
        if window * encoder.stride >= length:
            return False
    return True


def is_aligned(network: Any, ids: Tensor, pad: Tensor | None) -> bool:
    """Return whether an encoder of both strands aligns its strides on both strands of a window."""
    n_known = torch.tensor([ids.shape[1]]) if pad is None else (~pad).sum(1)
    encoders = [task.encoder for task in network.tasks]
    return not any(bool((n_known % x.stride).any()) for x in encoders if x.symmetric)


@torch.no_grad()
def is_local(
    scores: Scores,
    length: int,
    batch_size: int,
    device: Any = "cpu",
    halving: Halving | None = None,
) -> bool:
    """Return whether the local method equals the plain method on eight random mutants.

    The mutants are of one random sequence, two of them at its ends. Warns if the methods differ by
    more than 1e-4 of the largest change.
    """
    halving = halving or Halving(batch_size)
    network = scores.network
    if not has_windows(network, length):
        return False
    length -= length % max(task.encoder.stride for task in network.tasks)
    generator = torch.Generator().manual_seed(length)
    n_letters = network.tasks[0].alphabet.n_letters
    ids = torch.randint(n_letters, (1, length), generator=generator, dtype=torch.uint8)
    position = torch.randint(length, (N_CHECKED,), generator=generator)
    position[0], position[1] = 0, length - 1
    letter = (ids[0, position].long() + 1) % n_letters
    ids, position, letter = ids.to(device), position.to(device), letter.to(device)
    mutants = Mutants(torch.zeros_like(position), position, letter)

    def part(way: Any, at: slice) -> Tensor:
        some = Mutants(*(x[at] for x in mutants))
        return scores.of(way(network, ids, None)(some), None)

    one, other = (torch.cat(halving(N_CHECKED, partial(part, x))) for x in (plain, Local))
    largest = (one - scores(ids)).abs().max()
    difference = (one - other).abs().max()
    if difference <= TOLERANCE * largest + 2e-6 * one.abs().max():
        return True
    warnings.warn(
        f"a substitution changes outputs beyond the reach that the encoder declares "
        f"({float(difference):.2g} of {float(largest):.2g}); each mutant is encoded as a whole "
        "sequence, which is slower",
        stacklevel=2,
    )
    return False
