"""The base class of all tasks: a LightningModule of an encoder and a decoder.

A subclass defines its predictions and their loss (`score`) and its metrics (`new_metric`). This
class has the rest: the training, validation and test steps, the logging, the optimiser and its
schedule. The Trainer, its callbacks and checkpoints are in training/.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from inspect import getattr_static
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from seqmodel.errors import HparamError, ModelError
from seqmodel.model.equivariant import swap_strands
from seqmodel.model.strand import reverse_complement, reverse_outputs
from seqmodel.task.divergence import diverged
from seqmodel.task.optim import build_optimiser
from seqmodel.task.schedule import Schedule, build_schedule
from seqmodel.task.step import (
    Accumulation,
    Batch,
    EpochLoss,
    LossWindow,
    Scored,
    mean_weight,
    weighted_mean,
    world_size,
)

if TYPE_CHECKING:
    from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
    from torch.optim import Optimizer

    from seqmodel.dataset.label.targets import Targets
    from seqmodel.dataset.seq.alphabet import Alphabet
    from seqmodel.hparam.hparams import Hparams
    from seqmodel.model.encoder import Encoder
    from seqmodel.task.metric import SplitMetric


class Task(pl.LightningModule):
    """Base class of all tasks.

    Args:
        hparams: Hyperparameters of the task.
        encoder: Module from token ids to vectors.
        decoder: Module from vectors to the `n_out` outputs of the task.
        alphabet: Alphabet of the input.
        targets: Kind, names and number of the labels.
        optimiser: Hyperparameters of the optimiser.
        schedule: Hyperparameters of the learning rate schedule.

    Attributes:
        tested: Outputs and targets of the test split, over all ranks; None before the test.
        default_monitor: Name of the logged value that selects the best checkpoint; see
            `monitor_mode`.
        per_position: Whether the decoder must give one output per position. None accepts both.
        predicts_targets: Whether the task predicts the labels of its data; if not, labels are not
            read.
        counts: Whether the targets are counts, which must not be negative.
        n_steps: Number of optimiser steps of the whole run, if the trainer runs fewer as a trial.
    """

    default_monitor: ClassVar[str] = "valid_loss"
    per_position: ClassVar[bool | None] = None
    predicts_targets: ClassVar[bool] = True
    counts: ClassVar[bool] = False

    if not TYPE_CHECKING:
        # Lightning calls empty hooks through a profiler at each step, but skips None
        on_train_batch_start = None
        on_before_backward = None
        on_after_backward = None
        on_before_optimizer_step = None
        on_train_batch_end = None

    def __init__(
        self,
        hparams: Hparams,
        encoder: Encoder,
        decoder: nn.Module,
        *,
        alphabet: Alphabet,
        targets: Targets,
        optimiser: Hparams,
        schedule: Hparams,
    ) -> None:
        super().__init__()
        self._check_decoder(decoder)
        self.task_hparams = hparams
        self.optimiser_hparams = optimiser
        self.schedule_hparams = schedule
        self.alphabet = alphabet
        self.targets = targets
        self.encoder = encoder
        self.decoder = decoder
        self.n_outputs = self.n_out(hparams, alphabet, targets)
        self._metrics: dict[str, SplitMetric] = {}
        self.tested: tuple[Tensor, Tensor] | None = None
        self.n_steps: int | None = None
        self._window, self._epoch = LossWindow(), EpochLoss()
        self._logged_epoch = -1
        self._accumulation: Accumulation | None = None

    @classmethod
    def n_out(cls, hparams: Hparams, alphabet: Alphabet, targets: Targets) -> int:
        """Return the number of outputs that the decoder must give.

        Raises:
            LabelError: The data lack the labels that the task predicts.
        """
        raise NotImplementedError

    def score(self, batch: Batch) -> Scored:
        """Return the loss of a batch with its outputs and targets."""
        raise NotImplementedError

    def new_metric(self, stage: str) -> SplitMetric:
        """Return an empty metric for "valid" or "test"."""
        raise NotImplementedError

    def logged_names(self) -> tuple[str, ...] | None:
        """Return the names of values that can select the best checkpoint; None if unknown."""
        names = self.new_metric("valid").value_names
        return None if names is None else (*(f"valid_{name}" for name in names), "train_loss")

    def has_something_to_predict(self, batch: Batch) -> bool:
        """Return whether the batch has anything to predict: a known label or a known position."""
        target = batch.get("target")
        return target is None or not target.is_floating_point() or not bool(target.isnan().all())

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return the outputs of the decoder for token ids or one-hot rows `x`.

        Outside of training they are means over both strands if `average_strands` is set.
        """
        outputs = self._one_strand(x, pad)
        if self.task_hparams.average_strands and not self.training:
            other = self._one_strand(reverse_complement(x, self.alphabet, pad), pad)
            outputs = (outputs + self.from_other_strand(other, pad)) / 2
        return outputs

    def decode(self, encoded: Tensor, pad: Tensor | None = None) -> Tensor:
        """Return the outputs of the decoder; for a symmetric encoder, the mean over both strands.

        The predictions of a symmetric model are thus the same for the reverse complement.

        Args:
            encoded: Output of the encoder, or some positions of it.
            pad: Mask of the positions of `encoded` that are padding.

        Raises:
            ModelError: The shape of the decoder's output is wrong for the task.
        """
        outputs = self.decoder(encoded, pad)
        per_position = bool(self.decoder.per_position)
        if outputs.ndim != 2 + per_position or outputs.shape[-1] != self.n_outputs:
            wanted = "[N, L, {}]" if per_position else "[N, {}]"
            raise ModelError(
                f"{type(self.decoder).__name__}.forward gives {list(outputs.shape)}; its n_out and "
                f"per_position={per_position} mean {wanted.format(self.n_outputs)}"
            )
        if not self.encoder.symmetric:
            return outputs
        other = self.decoder(swap_strands(encoded), pad)
        return (outputs + self.complement_outputs(other)) / 2

    def predictions(self, outputs: Tensor) -> Tensor:
        """Convert outputs of `forward` to probabilities or numbers for users; same shape."""
        return outputs

    def complement_outputs(self, outputs: Tensor) -> Tensor:
        """Convert outputs for the other strand to outputs for this one, at the same positions."""
        return outputs

    def from_other_strand(self, outputs: Tensor, pad: Tensor | None) -> Tensor:
        """Convert outputs for the reverse complement to outputs for the sequence itself."""
        outputs = self.complement_outputs(outputs)
        return outputs if outputs.ndim < 3 else reverse_outputs(outputs, self.out_pad(pad))

    def out_pad(self, pad: Tensor | None) -> Tensor | None:
        """Return the padding mask of the outputs, given that of the input."""
        pad = self.encoder.out_pad(pad)
        of_decoder = getattr(self.decoder, "out_pad", None)
        return of_decoder(pad) if of_decoder else pad

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; the mean is logged every `log_every_n_steps` steps."""
        scored = self.score(batch)
        weight = mean_weight(scored.weight)
        if self.trainer.accumulate_grad_batches == 1:
            loss = weighted_mean(scored.loss_sum, weight)
            self._log_step(loss.detach(), batch)
        else:
            loss = self._accumulate(scored.loss_sum, weight, batch, batch_idx)
        return loss

    def configure_gradient_clipping(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Scale accumulated gradients to those of the mean loss, then clip them."""
        if self._accumulation is not None:
            self._accumulation.correct(optimizer)
        super().configure_gradient_clipping(optimizer, *args, **kwargs)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the metrics of the validation split."""
        self._evaluate("valid", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the metrics of the test split."""
        self._evaluate("test", batch)

    def on_validation_epoch_end(self) -> None:
        """Compute and log the metrics of the whole validation split, over all ranks."""
        self._log_metric("valid")

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics of the whole test split, over all ranks."""
        self._log_metric("test")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser and its schedule over optimiser steps."""
        mixed = self.trainer.precision.endswith("mixed")
        # Lightning refuses to clip if a fused optimiser could undo the loss scaling itself
        fused = not (mixed and self.trainer.gradient_clip_val)
        optimiser = build_optimiser(self, self.optimiser_hparams, fused=fused)
        n_steps = self.n_steps or self.trainer.estimated_stepping_batches
        schedule = build_schedule(optimiser, self.schedule_hparams, n_steps)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step", "name": "lr"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store each rank's losses since the last logged row and of the epoch.

        A resumed run therefore logs the same values.

        Raises:
            DivergedError: A loss is not finite; such a state is not stored.
        """
        for name, window in self._windows.items():
            states = [window.state()]
            if world_size() > 1:
                states = states * world_size()
                torch.distributed.all_gather_object(states, window.state())
            for _, total, _ in states:
                if not math.isfinite(total):
                    raise diverged(self, "train_loss", total)
            checkpoint[name] = states

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the stored losses; with a different number of ranks the sums restart."""
        self._accumulation = None
        for name, window in self._windows.items():
            states = checkpoint.get(name, [])
            if len(states) == self.trainer.world_size:
                window.number, window.total, window.count = states[self.trainer.global_rank]

    @property
    def _windows(self) -> dict[str, LossWindow]:
        """Return the sums of losses by their names in a checkpoint."""
        return {"train_loss_windows": self._window, "train_loss_epochs": self._epoch}

    def _accumulate(self, loss_sum: Tensor, weight: Tensor, batch: Batch, batch_idx: int) -> Tensor:
        n_batches = self.trainer.accumulate_grad_batches
        # Lightning clears the gradients before the same batches
        if self._accumulation is None or batch_idx % n_batches == 0:
            self._accumulation = Accumulation(n_batches)
        loss = self._accumulation.add(loss_sum, weight)
        if self._steps_now(batch_idx):
            self._log_step(self._accumulation.mean(), batch)
        return loss

    def _steps_now(self, batch_idx: int) -> bool:
        """Return whether the optimiser steps after this batch, or accumulates more gradients."""
        trainer = self.trainer
        last = batch_idx + 1 == trainer.num_training_batches
        return last or (batch_idx + 1) % trainer.accumulate_grad_batches == 0

    def _log_step(self, loss: Tensor, batch: Batch) -> None:
        """Record the loss of a step, and log the mean if a row is due."""
        step = self.trainer.global_step
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by a connector
        self._window.add(loss, step // max(every, 1))
        self._epoch.add(loss, self.trainer.current_epoch)
        if every and (step + 1) % every == 0:
            self._log_training(step, batch)

    def epoch_loss(self) -> Tensor | None:
        """Return this rank's mean loss over the steps of the epoch; None before the first step."""
        is_begun = self._epoch.count and self._epoch.number == self.trainer.current_epoch
        return self._epoch.mean() if is_begun else None

    def log_epoch(self) -> None:
        """Log the mean loss over the steps of the epoch, at its end.

        If validation ran after the last step, its row already has this value.

        Raises:
            DivergedError: The loss is not finite.
        """
        loss = self.epoch_loss()
        if loss is not None:
            is_new = self._logged_epoch != self.trainer.current_epoch
            self._show_training(loss, self.trainer.global_step - 1, {} if is_new else None)

    def _log_training(self, step: int, batch: Batch) -> None:
        """Log the mean loss since the last row, and the learning rate."""
        rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        self._show_training(self._window.mean(), step, {"lr": float(rate)}, batch)

    def _show_training(
        self, mean: Tensor, step: int, more: dict[str, float] | None, *batches: Batch
    ) -> None:
        """Show a training loss; unless `more` is None, also write a row with the loss and `more`.

        self.log is not used for the row: it costs 0.3 ms per step and writes after the checkpoint
        of the step, so a kill between the two would lose the row of a resumed run.

        Raises:
            DivergedError: The loss is not finite.
        """
        loss = _over_ranks(mean)
        row = {"train_loss": float(loss), **(more or {}), "epoch": self.trainer.current_epoch}
        for logger in self.trainer.loggers if more is not None else ():
            logger.log_metrics(row, step)
        self.log("train_loss", loss.float(), prog_bar=True, logger=False)
        if not math.isfinite(row["train_loss"]):
            raise diverged(self, "train_loss", row["train_loss"], batches)

    def _check_decoder(self, decoder: nn.Module) -> None:
        kinds = {True: "one output a position", False: "one output a sequence"}
        wanted, given = self.per_position, getattr(decoder, "per_position", None)
        if wanted is not None and given is not None and given != wanted:
            raise HparamError(
                f"{type(self).__name__} wants a decoder with {kinds[wanted]}, but "
                f"{type(decoder).__name__} gives {kinds[given]}; choose another --decoder"
            )

    def _one_strand(self, x: Tensor, pad: Tensor | None) -> Tensor:
        return self.decode(self.encoder(x, pad), self.encoder.out_pad(pad))

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning sets it 30 times per step; nn.Module would search parameters and modules first
        if name == "_current_fx_name":
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    def _trains(self) -> bool:
        return self.trainer.state.fn == "fit" and not self.trainer.sanity_checking

    def _evaluate(self, stage: str, batch: Batch) -> None:
        if stage not in self._metrics:
            # not a submodule, because a metric does not belong in a checkpoint
            self._metrics[stage] = self.new_metric(stage).to(self.device)
        self._metrics[stage].update(*self.score(batch))

    def _check_valid_loss(self, loss: float, weight: float) -> None:
        """Check that the loss is finite, unless no label is known and the loss is undefined."""
        if weight and not math.isfinite(loss):
            n_batches = int(self.trainer.num_val_batches[0])
            raise diverged(self, "valid_loss", loss, self._valid_batches_again(n_batches))

    def _valid_batches_again(self, n: int) -> Iterator[Batch]:
        for batch in islice(self.trainer.val_dataloaders or (), n):
            yield self.trainer.strategy.batch_to_device(batch)

    def _log_metric(self, stage: str) -> None:
        metric = self._metrics.pop(stage, None)
        if metric is None:
            return
        values = {f"{stage}_{name}": value for name, value in metric.compute().items()}
        self.tested = getattr(metric, "last", None) if stage == "test" else None
        loss = self.epoch_loss() if stage == "valid" and self._trains() else None
        if loss is not None and self.trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            values["train_loss"] = _over_ranks(loss).float()
            self._logged_epoch = self.trainer.current_epoch
        on_bar = {f"{stage}_loss", self.default_monitor}
        for name, value in values.items():
            # the same on all ranks; sync_dist only reports this to Lightning
            self.log(name, value, prog_bar=name in on_bar, sync_dist=world_size() > 1)
        if stage == "valid":
            weight = 0.0 if metric.total_weight is None else float(metric.total_weight)
            self._check_valid_loss(float(values["valid_loss"]), weight)
        if stage == "valid" and self._trains():
            for config in self.trainer.lr_scheduler_configs:
                # stochastic weight averaging puts its own schedule here
                if isinstance(config.scheduler, Schedule):
                    config.scheduler.observe(float(values["valid_loss"]))


def _over_ranks(mean: Tensor) -> Tensor:
    """Return the mean of `mean` over ranks."""
    if world_size() > 1:
        torch.distributed.all_reduce(mean)
        mean = mean / world_size()
    return mean


def check_task(cls: object) -> type[Task]:
    """Return `cls` if it defines everything that a task must.

    Raises:
        ModelError: `cls` is not a task, or lacks a method.
    """
    if not (isinstance(cls, type) and issubclass(cls, Task)):
        raise ModelError(f"{cls!r} is no task: derive it from seqmodel.task.task.Task")
    for name in ("n_out", "score", "new_metric"):
        if getattr_static(cls, name) is vars(Task)[name]:
            says = str(getattr(Task, name).__doc__).splitlines()[0]
            raise ModelError(f"{cls.__name__} has no {name}: define the method ({says})")
    return cls


def monitor_mode(name: str) -> str:
    """Return `min` if a lower logged value is better (losses, errors), otherwise `max`."""
    return "min" if name.endswith(("loss", "bits", "perplexity", "mse")) else "max"
