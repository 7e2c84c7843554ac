"""Embeddings of sequences: outputs of an encoder or of a layer, pooled or per position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.errors import HparamError, SeqmodelError
from seqmodel.hparam.infer import POOLS
from seqmodel.infer.sequences import Sequences
from seqmodel.model.encoder import Encoder
from seqmodel.model.equivariant import BothStrands
from seqmodel.model.strand import reverse_complement, reverse_outputs
from seqmodel.task.loss import full


def embeddings(
    model: Any,
    sequences: Sequences,
    pool: str = "mean",
    layer: str | int | None = None,
    batch_size: int | None = None,
) -> np.ndarray | list[np.ndarray]:
    """Return the embedding of each sequence, [N, C]; with pool="none", a list of N arrays [L', C].

    Raises:
        HparamError: The layer or pool is unknown, or the model is an ensemble.
    """
    found = model.each_batch(sequences, batch_size, embedder(model, pool, layer))
    if pool != "none":
        return np.concatenate([x.numpy() for x in found])
    return [row for x in found for row in split(x.numpy())]


def embedder(
    model: Any, pool: str = "mean", layer: str | int | None = None
) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Return a function that embeds a batch and its padding, [N, C].

    With pool="none" it returns [N, L', C + 1]; the last channel is 0 at padding, otherwise 1.

    Raises:
        HparamError: The layer or pool is unknown, or the model is an ensemble.
    """
    if len(model.members) > 1:
        raise HparamError(
            f"{len(model.members)} checkpoints: embeddings of different models cannot be "
            "averaged; give one checkpoint"
        )
    if pool not in POOLS:
        raise HparamError(f"pool={pool!r}: choose one of {', '.join(POOLS)}")
    task = model.members[0].task
    hooked = None if layer is None else layer_of(task, layer)

    def compute(x: Tensor, pad: Tensor | None) -> Tensor:
        with model.network.autocast(x):
            encoded, pad = encoded_at(task.encoder, task, x, pad, hooked)
        encoded = full(encoded)
        if pool == "none":
            if encoded.ndim == 2:
                encoded = encoded[:, None]
            there = encoded.new_ones(*encoded.shape[:2], 1)
            if pad is not None and pad.shape == there.shape[:2]:
                there = (~pad).to(there)[:, :, None]
            return torch.cat([encoded * there, there], -1)
        return encoded if encoded.ndim == 2 else pooled(encoded, pad, pool)

    return compute


def pooled(encoded: Tensor, pad: Tensor | None, pool: str) -> Tensor:
    """Pool positions [N, L', C] to [N, C], without padding."""
    if pad is None:  # the same bits as with an empty mask, in less time
        if pool == "max":
            return encoded.amax(1)
        return encoded[:, 0] if pool == "first" else encoded.sum(1) / encoded.shape[1]
    if pool == "first":  # padding may precede a sequence
        at = (~pad).to(torch.uint8).argmax(1)
        return encoded[torch.arange(len(encoded), device=encoded.device), at]
    if pool == "max":
        return encoded.masked_fill(pad[:, :, None], -torch.inf).amax(1)
    n_known = (~pad).sum(1, keepdim=True).clamp(min=1)
    return encoded.masked_fill(pad[:, :, None], 0.0).sum(1) / n_known


def layer_of(task: nn.Module, layer: str | int) -> nn.Module:
    """Return the submodule for a number, or for a name in the encoder, task or wrapped module.

    Raises:
        HparamError: The model has no such layer.
    """
    encoder: Any = task.encoder
    inner = encoder.encoder if isinstance(encoder, BothStrands) else encoder
    if str(layer).isdigit():
        n_blocks = len(getattr(inner, "blocks", ()))
        names = {0: "embed", **{i + 1: f"blocks.{i}" for i in range(n_blocks)}}
        layer = names.get(int(layer), str(layer))
    for root in (inner, getattr(inner, "module", None), task):
        found = dict(root.named_modules()) if root is not None else {}
        if layer and layer in found:
            return found[str(layer)]
    root = getattr(inner, "module", inner)
    some = [name for name, _ in root.named_modules() if name][:20]
    raise HparamError(f"layer={layer!r}: no such layer; choose one of {', '.join(some)}")


def encoded_at(
    encoder: Encoder, task: nn.Module, x: Tensor, pad: Tensor | None, layer: nn.Module | None
) -> tuple[Tensor, Tensor | None]:
    """Return the output of the encoder or of a layer, [N, L', C] or [N, C], and the padding.

    Raises:
        HparamError: The layer is not used, or returns another shape.
    """
    if layer is None:
        return encoder(x, pad), encoder.out_pad(pad)
    if isinstance(encoder, BothStrands) and layer in list(encoder.modules()):
        x = torch.cat([x, reverse_complement(x, encoder.alphabet, pad)])
        both, pads = _hooked(
            encoder.encoder, x, None if pad is None else torch.cat([pad, pad]), layer
        )
        this, other = both.chunk(2)
        pad = None if pads is None else pads.chunk(2)[0]
        if both.ndim == 3:
            other = reverse_outputs(other, pad)
        return torch.cat([this, other], -1), pad
    return _hooked(task, x, pad, layer)


class _Found(Exception):
    """Raised to end a forward pass after the layer returned its output."""


def _hooked(
    network: nn.Module, x: Tensor, pad: Tensor | None, layer: nn.Module
) -> tuple[Tensor, Tensor | None]:
    output = _output(network, x, pad, layer)
    name = type(layer).__name__
    if output.ndim == 2:
        return output, None
    if _channels_first(network, x, output, layer):
        output = output.mT
    if pad is None:
        return output, None
    length, n_positions = x.shape[1], output.shape[1]
    stride = -(-length // n_positions)
    if -(-length // stride) != n_positions:
        raise HparamError(
            f"layer {name} returns {n_positions} positions for an input of length {length}, so "
            "the padded positions are unknown; use sequences of full length"
        )
    return output, pad[:, ::stride]


def _output(network: nn.Module, x: Tensor, pad: Tensor | None, layer: nn.Module) -> Tensor:
    """Return the output of the layer, [N, C], [N, L', C] or [N, C, L'].

    Raises:
        HparamError: The layer is not used, or returns something else.
    """
    given: list[Any] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        given.append(output)
        raise _Found

    handle = layer.register_forward_hook(keep)
    try:
        network(x, pad)
    except _Found:
        pass
    finally:
        handle.remove()
    name = type(layer).__name__
    output = given[0] if given else None
    if isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.ndim not in (2, 3) or len(output) != len(x):
        what = "is not used" if not given else f"gives {_shape(output)}"
        raise HparamError(f"layer {name} {what}; choose a layer that returns [N, C] or [N, L', C]")
    return output


def _channels_first(network: nn.Module, x: Tensor, output: Tensor, layer: nn.Module) -> bool:
    """Return whether the last axis is positions: it is shorter for a shorter sequence."""
    try:
        shorter = _output(network, x[:1, : x.shape[1] // 2], None, layer).shape
    except (RuntimeError, ValueError, IndexError, SeqmodelError):  # the model reads only one length
        return output.shape[2] == x.shape[1] != output.shape[1]
    return shorter[1] == output.shape[1] and shorter[2] != output.shape[2]


def _shape(output: Any) -> str:
    return str(list(output.shape)) if isinstance(output, Tensor) else type(output).__name__


def split(values: np.ndarray) -> list[np.ndarray]:
    """Split [N, L', C + 1] into the rows of each sequence by the last channel."""
    return [x[x[:, -1] == 1, :-1] for x in values]
