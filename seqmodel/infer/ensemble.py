"""The network of a Model: torch modules that average the logits of one or more tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seqmodel.errors import CheckpointError
from seqmodel.infer.calibrated import Calibration
from seqmodel.task.loss import full


class Ensemble(nn.Module):
    """Mean logits of several tasks.

    Args:
        tasks: Tasks.
        precision: Precision of the forward pass: "32", "16-mixed" or "bf16-mixed".
        calibrations: Scale and shift of the logits of each task; empty for raw logits.
    """

    def __init__(
        self,
        tasks: Iterable[Any],
        precision: str = "32",
        calibrations: Sequence[Calibration] = (),
    ) -> None:
        super().__init__()
        self.tasks = nn.ModuleList(tasks)
        self.precision, self.calibrations = precision, tuple(calibrations)
        self._dtype = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(precision)

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return logits [N, T] or [N, L', T] for ids [N, L] or one-hot [N, L, A]."""
        outputs = self.each(x, pad)
        return outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(0)

    def each(self, x: Tensor, pad: Tensor | None = None) -> list[Tensor]:
        """Return the logits of each task."""
        outputs = self.of_each(x, lambda task: task(x, pad))
        if any(y.shape != outputs[0].shape for y in outputs[1:]):
            shapes = sorted({tuple(y.shape) for y in outputs})
            raise CheckpointError(f"the models return outputs of different shapes: {shapes}")
        if not self.calibrations:
            return outputs
        return [x.of(y) for x, y in zip(self.calibrations, outputs, strict=True)]

    def autocast(self, x: Tensor) -> torch.autocast:
        """Return the autocast context of the forward pass on the device of `x`."""
        return torch.autocast(x.device.type, self._dtype, enabled=self._dtype is not None)

    def of_each(self, x: Tensor, outputs_of: Callable[[Any], Tensor]) -> list[Tensor]:
        """Apply a function of each task to `x` in the precision of the forward pass."""
        with self.autocast(x):
            outputs = [outputs_of(task) for task in self.tasks]
        return [full(y) for y in outputs]


class Logits(nn.Module):
    """Logits for input in one layout, for one target, [N, 1], or for all."""

    def __init__(self, network: nn.Module, layout: str, target: int | None) -> None:
        super().__init__()
        self.network, self.layout, self.target = network, layout, target
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of `x`."""
        outputs = self.network(x.mT if self.layout == "NAL" else x)
        return outputs if self.target is None else outputs[..., self.target : self.target + 1]
