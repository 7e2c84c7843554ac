"""Print the progress of training as a table with one row per epoch, on a terminal and in a log.

    epoch  step  train_loss  valid_loss    bits  perplexity  accuracy   time    left
      1/3    13      1.3860      1.3834   1.996       3.988     0.269   0.2s   <0.5s*

`*` marks the epoch with the best monitored value so far. A progress bar can be added.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, Timer
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm
from pytorch_lightning.utilities.rank_zero import rank_zero_only

if TYPE_CHECKING:
    from seqmodel.task.task import Task

LINE_EVERY_S, LINE_EVERY_PROP, LINE_AT_LEAST_S = 10.0, 0.1, 600.0
"""A row within an epoch is printed after 10 s and a tenth of the epoch, or after ten minutes."""
WIDTH = 80
SIGNED = ("mcc", "pearson", "spearman")  # may be negative
LOSSES = ("train_loss", "valid_loss")


class EpochLoss(Callback):
    """Make the task log the mean training loss of an epoch before other callbacks read it."""

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log the mean loss."""
        cast("Task", module).log_epoch()


class EpochTable(Callback):
    """Print a row after each epoch, after each validation within it, and at intervals.

    Args:
        monitor: Logged value that chooses the best checkpoint; None without validation.
        mode: "min" or "max": which value is best.
        names: Names of the validation metrics; None if unknown until they are logged.
    """

    def __init__(self, monitor: str | None, mode: str, names: tuple[str, ...] | None) -> None:
        self.monitor, self.sign = monitor, 1.0 if mode == "min" else -1.0
        self.names = () if monitor is None else names
        self.best, self.is_best, self.validated = math.inf, False, False
        self.printed: list[str] = []  # columns of the last header

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clocks and restore the best value of a resumed run."""
        self.began = self.epoch_began = self.last = time.monotonic()
        self.first_step, self.last_batch = trainer.global_step, 0
        self.first_epoch = trainer.current_epoch
        for callback in trainer.checkpoint_callbacks:
            score = getattr(callback, "best_model_score", None)
            if isinstance(callback, ModelCheckpoint) and score is not None:
                self.best = self.sign * float(score)

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock of the epoch."""
        self.epoch_began, self.last_batch, self.validated = time.monotonic(), 0, False

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a row within a long epoch."""
        waited = time.monotonic() - self.last
        if waited < LINE_EVERY_S:
            return
        done, all_ = batch_idx + 1, trainer.num_training_batches
        if done < all_ and (
            waited >= LINE_AT_LEAST_S or done - self.last_batch >= LINE_EVERY_PROP * all_
        ):
            self.last_batch = done
            self._row(trainer, module, {})

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print a row after a validation within an epoch; the epoch's row shows the last one."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        self.validated = True
        if trainer.check_val_every_n_epoch is None:  # otherwise the best is chosen after the epoch
            self._observe(trainer)
            if not trainer.fit_loop.epoch_loop._num_ready_batches_reached():
                self._row(trainer, module, trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print the row of the epoch."""
        if self.validated and trainer.check_val_every_n_epoch is not None:
            self._observe(trainer)
        self._row(trainer, module, trainer.callback_metrics, is_whole=True)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Print how long training took and, if it ended early, why."""
        step, seconds = trainer.global_step, time.monotonic() - self.began
        text = f"trained for {step - self.first_step:,} steps in {duration(seconds)}"
        show(text + _why(trainer))

    def _observe(self, trainer: Trainer) -> None:
        """Store the monitored value if it is the best so far."""
        value = trainer.callback_metrics.get(self.monitor or "")
        if value is not None and torch.isfinite(value) and self.sign * float(value) < self.best:
            self.best, self.is_best = self.sign * float(value), True

    @rank_zero_only
    def _row(
        self,
        trainer: Trainer,
        module: LightningModule,
        values: Mapping[str, Any],
        *,
        is_whole: bool = False,
    ) -> None:
        self.last = time.monotonic()
        logged = [x for x in values if x.startswith("valid_")] if self.names is None else self.names
        names = [n for n in logged if n != "train_loss"] or self.printed[3:-2]
        loss = values.get("train_loss") if is_whole else cast("Task", module).epoch_loss()
        all_ = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        cells = {"epoch": f"{trainer.current_epoch + 1}{all_}", "step": str(trainer.global_step)}
        cells["train_loss"] = number("train_loss", loss)
        known = values if self.validated else {}
        cells |= {name: number(name, known.get(name)) for name in names}
        cells["time"] = duration(time.monotonic() - self.epoch_began)
        cells["left"] = self._left(trainer, is_whole)
        if list(cells) != self.printed:
            self.printed = list(cells)
            self.widths = widths(self.printed, cells, trainer)
            show(self._line({name: short(name) for name in cells}))
        show(self._line(cells) + "*" * self.is_best)
        self.is_best = False

    def _line(self, cells: Mapping[str, str]) -> str:
        space = "  " if sum(self.widths.values()) + 2 * len(cells) <= WIDTH else " "
        return space.join(text.rjust(self.widths[name]) for name, text in cells.items())

    def _left(self, trainer: Trainer, is_whole: bool) -> str:
        """Return the remaining time at the pace so far, with `<` if it may be shorter."""
        done = trainer.global_step - self.first_step
        pace = (time.monotonic() - self.began) / max(done, 1)
        an_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        steps = []
        if (trainer.max_epochs or -1) > 0:
            left = (trainer.max_epochs or 0) - trainer.current_epoch - is_whole
            batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready
            of_this = 0 if is_whole else batch // trainer.accumulate_grad_batches
            steps.append(left * an_epoch - of_this)
        if trainer.max_steps > 0:
            steps.append(trainer.max_steps - trainer.global_step)
        seconds = [pace * max(min(steps), 0)] if steps else []
        stops = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
        limits = [c.time_remaining() for c in stops if isinstance(c, Timer)]
        seconds += [max(x, 0.0) for x in limits if x is not None]
        if not seconds:
            return ""
        early = min(seconds) > 0 and any(isinstance(c, EarlyStopping) for c in stops)
        return "<" * early + duration(min(seconds))


def widths(names: list[str], cells: Mapping[str, str], trainer: Trainer) -> dict[str, int]:
    """Return the width of each column for the largest numbers of this run."""
    found = {}
    for name in names:
        least = 7 if name.endswith("loss") else 6 if name.endswith(SIGNED) else 5
        found[name] = max(len(short(name)), least, len(cells[name]))
    found["step"] = len("step")
    n_epochs, an_epoch = trainer.max_epochs or 0, trainer.num_training_batches
    last = max(trainer.max_steps, max(n_epochs, 1) * an_epoch // trainer.accumulate_grad_batches)
    widest = {"epoch": 2 * len(str(n_epochs)) + 1, "step": len(str(last)), "time": 5, "left": 6}
    return {name: max(width, widest.get(name, 0)) for name, width in found.items()}


def short(name: str) -> str:
    """Return the header of a column; names of validation scores lose the name of the split."""
    return name if name in LOSSES else name.removeprefix("valid_")


def number(name: str, value: Any) -> str:
    """Format a loss with four decimal places, a score with three, and None as nothing."""
    if value is None:
        return ""
    x = float(value)
    if x and not 1e-3 <= abs(x) < 1e4:
        return f"{x:.1e}" if math.isfinite(x) else str(x)
    return f"{x:.{4 if name.endswith('loss') else 3}f}"


def duration(seconds: float) -> str:
    """Format a time as `0.4s`, `1:05` (minutes) or `2:03:04` (hours)."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{s:02}" if hours else f"{minutes}:{s:02}"


def show(line: str) -> None:
    """Print a line, above the progress bar if present."""
    Tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def _why(trainer: Trainer) -> str:
    """Return the end of a sentence that explains why training ended before its last epoch."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
        if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
            return (
                f"; stopped early: no better {callback.monitor} in {callback.patience} validations"
            )
        if isinstance(callback, Timer) and (callback.time_remaining() or 1.0) <= 0:
            return "; stopped: max_time was reached"
    if 0 < trainer.max_steps <= trainer.global_step:
        return "; stopped: max_steps was reached"
    return ""
