"""The error for a loss that is no longer finite; it names the first layer with such a value.

The search starts only after such a loss, so a healthy run pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqmodel.errors import DivergedError
from seqmodel.task.step import Batch, Scored


class Scoring(Protocol):
    """The part of a task that this module uses."""

    trainer: Any

    def score(self, batch: Batch) -> Scored:
        """Return the loss of a batch."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the trainable weights with their names."""

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Return the buffers with their names."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Return the layers with their names."""


def diverged(
    task: Scoring, name: str, value: float, batches: Iterable[Batch] = ()
) -> DivergedError:
    """Return the error for a loss of `task` that is not finite.

    Args:
        task: The task in its current state.
        name: Name of the logged loss.
        value: Value of the loss.
        batches: Batches in which the value may have appeared.
    """
    trainer = task.trainer
    rate = ""
    if trainer.optimizers:
        now = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        rate = f", learning rate {float(now):g}"
    return DivergedError(
        f"{name} is {value} at step {trainer.global_step}{rate}; first value that is not finite: "
        f"{first_not_finite(task, batches)}; lower --lr, set --warmup_steps, or check the labels"
    )


def first_not_finite(task: Scoring, batches: Iterable[Batch] = ()) -> str:
    """Locate the first non-finite value; weights first, then inputs, layers and gradients."""
    weights = [*task.named_parameters(), *task.named_buffers()]
    bad = [name for name, x in weights if not _is_finite(x)]
    if bad:
        return f"weights {bad[0]} ({len(bad)} of {len(weights)} tensors have such values)"
    if any(hasattr(x, "full_tensor") for _, x in task.named_parameters()):
        batches = ()  # a forward pass needs all ranks, and only some may have a bad batch
    for batch in batches:
        found = _in_batch(task, batch)
        if found:
            return found
    for name, parameter in task.named_parameters():
        if not _is_finite(parameter.grad):
            return f"gradient of {name}"
    return "none is left (an earlier step had it)"


def _in_batch(task: Scoring, batch: Batch) -> str | None:
    for name, x in batch.items():
        if bool(x.isinf().any()):  # NaN marks a missing label
            return f"input {name!r} of the batch"
    with torch.no_grad(), torch.compiler.set_stance("force_eager"), _watched(task) as found:
        scored = task.score(batch)
    if found:
        return f"output of {found[0]}"
    return None if _is_finite(scored.loss_sum) else "the loss itself"


@contextmanager
def _watched(task: Scoring) -> Iterator[list[str]]:
    """Collect the names of modules with a non-finite output, in the order in which they ran."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def look(module: nn.Module, args: Any, output: Any) -> None:
            outputs = output if isinstance(output, (tuple, list)) else [output]
            if not all(_is_finite(x) for x in outputs):
                found.append(name)

        return look

    hooks = [m.register_forward_hook(watch(name)) for name, m in task.named_modules() if name]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _is_finite(x: Any) -> bool:
    if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
        return True
    found = x.detach().isfinite().all()
    # of all ranks, where each has a shard
    return bool(found.full_tensor() if hasattr(found, "full_tensor") else found)
