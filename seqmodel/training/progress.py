"""What a run prints where there is no terminal: one plain line now and then, for a log file."""

from __future__ import annotations

import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_only

LINE_EVERY_S = 10.0


class PlainLines(Callback):
    """Prints a line every ten seconds of training and one after each epoch."""

    def __init__(self) -> None:
        self._start = self._last = 0.0

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the clock."""
        self._start = self._last = time.monotonic()

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints, if ten seconds went by."""
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            share = f"batch {batch_idx + 1}/{trainer.num_training_batches}"
            self._print(trainer, share, ("train_loss",))

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Prints what the epoch came to."""
        self._last = time.monotonic()
        self._print(trainer, "done", tuple(trainer.callback_metrics))

    def _print(self, trainer: Trainer, share: str, names: tuple[str, ...]) -> None:
        metrics = trainer.callback_metrics
        values = [f"{name} {float(metrics[name]):.4g}" for name in names if name in metrics]
        seconds = time.monotonic() - self._start
        epochs = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        head = f"epoch {trainer.current_epoch + 1}{epochs} {share}"
        print("  ".join([head, *values, f"{seconds:.0f} s"]), flush=True)
