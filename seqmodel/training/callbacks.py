"""Callbacks that change the trained model: averages of the weights. trainer.py adds them.

Both validate, test and save the average. The checkpoint also has the weights that are trained
(`current_model_state`), and a resumed run continues with those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, WeightAveraging
from torch import Tensor

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams

STEP_HOOKS = (
    "on_train_batch_start",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
    "on_train_batch_end",
)


def training_callbacks(hparams: Hparams) -> list[Callback]:
    """Return the callbacks that the hyperparameters of the optimiser request."""
    if hparams.ema_decay:
        return [EMAWeightAveraging(decay=hparams.ema_decay)]
    if hparams.swa_start_prop is not None:
        return [EpochAverage(hparams.swa_start_prop)]
    return []


def skip_idle_hooks(callbacks: list[Callback]) -> None:
    """Make Lightning skip the per-step hooks that a callback does not define.

    It calls all of them on all callbacks, through a profiler: 0.1 ms a step for five callbacks that
    do nothing. A hook that is None is skipped.
    """
    for callback in callbacks:
        for name in STEP_HOOKS:
            if getattr(type(callback), name) is getattr(Callback, name):
                setattr(callback, name, None)


class EpochAverage(WeightAveraging):
    """Average the weights at the end of each late epoch (SWA, Izmailov et al. 2018).

    Lightning's StochasticWeightAveraging leaves the averages out of the best checkpoint, validates
    weights that it does not keep, and replaces the learning rate schedule; this does neither. Batch
    norm statistics are averaged too.

    Args:
        start_prop: Proportion of the epochs after which averaging starts.
    """

    def __init__(self, start_prop: float) -> None:
        super().__init__(avg_fn=self._average)
        self.start_prop = start_prop
        self._n_averaged = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights to the average after the last batch of an epoch, before validation."""
        if trainer.is_last_batch:
            start = int(self.start_prop * (trainer.max_epochs or 0))
            self._n_averaged = max(trainer.current_epoch - start, 0)
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _average(self, average: Tensor, current: Tensor, n_updates: object) -> Tensor:
        # before the first late epoch it is a copy, so validation uses the current weights
        return average + (current - average) / (self._n_averaged + 1)
