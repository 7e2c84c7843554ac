"""Build Lightning's Trainer for a run: exact steps, whole checkpoints, progress and loggers.

The randomness of a step (dropout) depends on (seed, epoch, batch, rank), not on a state that a kill
would lose. The data follow the same rule (seqmodel/rng.py). last.ckpt is written at points from
which Lightning resumes without repeating or skipping anything.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from lightning_fabric.plugins.environments import SLURMEnvironment
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from seqmodel.dataset.build import joined_contigs, joined_rows, training_contigs, training_rows
from seqmodel.dataset.data import Data
from seqmodel.errors import RunError
from seqmodel.extras import missing
from seqmodel.hparam.resolve import Run
from seqmodel.hparam.trust import plugin_digests
from seqmodel.record.checkpoint import ROWS, SafeCheckpointIO, load, stamp
from seqmodel.record.folder import CHECKPOINTS
from seqmodel.record.lock import FolderLock
from seqmodel.rng import hash64
from seqmodel.task.task import monitor_mode
from seqmodel.training.build import Parts
from seqmodel.training.callbacks import skip_idle_hooks, training_callbacks
from seqmodel.training.checks import whole_run_steps
from seqmodel.training.host import bare_trainer
from seqmodel.training.metrics_csv import MetricsCsv
from seqmodel.training.progress import EpochLoss, EpochTable
from seqmodel.training.stopping import StopOnSignal
from seqmodel.training.threads import set_threads
from seqmodel.training.usage import Usage

if TYPE_CHECKING:
    from pytorch_lightning.loops.progress import _ProcessedTracker

    from seqmodel.dataset.batch.loader import Loader
    from seqmodel.task.task import Task

_DROPOUT_STREAM = 0xD06
log = logging.getLogger("seqmodel.task")


class RunData(LightningDataModule):
    """Loaders of a data object for the rank on which Lightning requests them."""

    def __init__(self, data: Data, run: Run) -> None:
        super().__init__()
        self.data, self.run = data, run

    def train_dataloader(self) -> Loader:
        """Return the shuffled loader, with the same batches on every attempt."""
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        """Return a loader that reads every item of the validation split once."""
        return self._loader("valid")

    def test_dataloader(self) -> Loader:
        """Return a loader that reads every item of the test split once."""
        return self._loader("test")

    def _loader(self, split: str) -> Loader:
        assert self.trainer is not None, "Lightning sets it"
        return self.data.loader(
            split,
            seed=self.run.values.seed,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            n_workers=self.run.values.n_workers,
        )


class ExactSteps(Callback):
    """Restore the position of a resumed run, and seed torch before each training batch.

    The seed depends only on the position of the batch, not on earlier batches.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._saved_ranks: int | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Skip the batches before the checkpoint without reading them."""
        epoch = cast("_ProcessedTracker", trainer.fit_loop.epoch_progress.current)
        if epoch.ready != epoch.processed:  # the checkpoint was written within an epoch
            progress = trainer.fit_loop.epoch_loop.batch_progress
            done = cast("_ProcessedTracker", progress.current)
            if self._saved_ranks not in (None, trainer.world_size):
                _share_out_anew(done, self._saved_ranks, trainer.world_size)
            cast("Loader", trainer.train_dataloader).seek(done.ready)
        self._saved_ranks = trainer.world_size

    def state_dict(self) -> dict[str, Any]:
        """Return the number of ranks, on which the content of a batch depends."""
        return {"ranks": self._saved_ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of ranks."""
        self._saved_ranks = state_dict["ranks"]

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Set the seed of this batch's dropout."""
        words = (self.seed, _DROPOUT_STREAM, trainer.current_epoch, batch_idx, trainer.global_rank)
        seed = int(hash64(*words)) >> 1
        # torch.manual_seed also queues a call for each device that is not in use: 1 ms a step
        torch.default_generator.manual_seed(seed)
        if module.device.type == "cuda":
            torch.cuda.default_generators[module.device.index].manual_seed(seed)
        elif module.device.type == "mps":
            torch.mps.manual_seed(seed)


def _share_out_anew(done: _ProcessedTracker, before: int | None, now: int) -> None:
    """Convert the number of finished batches of an epoch to another number of ranks.

    Raises:
        RunError: The samples that were read are no whole number of batches of all ranks.
    """
    samples = done.ready * (before or 1)  # in batches of one rank
    if samples % now:
        raise RunError(
            f"the checkpoint is {done.ready} batches of {before} ranks into its epoch, which "
            f"{now} ranks cannot continue; use {before} ranks, or a number that divides {samples}"
        )
    left = done.ready - done.completed
    done.ready = done.started = done.processed = samples // now
    done.completed = done.ready - left


class Stamp(Callback):
    """Add to each checkpoint what is needed to apply the model."""

    def __init__(self, entry: dict[str, Any], rows: np.ndarray | None) -> None:
        self.entry, self.rows = entry, rows

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the entry."""
        checkpoint["seqmodel"] = self.entry
        if self.rows is not None:
            checkpoint[ROWS] = torch.from_numpy(self.rows)


class OneWriter(Callback):
    """Allow a checkpoint to be written only while this process owns the run folder."""

    def __init__(self, lock: FolderLock) -> None:
        self.lock = lock

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Check the lock; ranks other than the first have none and write nothing."""
        self.lock.check()


class BestCheckpoint(ModelCheckpoint):
    """Write best.ckpt, chosen by a monitored value; its folder can be moved."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score, with paths in the current folder."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in paths}
        best = moved["best_model_path"]
        if best and not Path(best).exists():
            warnings.warn(f"{best} is missing: the best is chosen from here on", stacklevel=2)
            return
        models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(
            {**state_dict, **moved, "best_k_models": models, "dirpath": self.dirpath}
        )

    def _save_topk_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Any]) -> None:
        """Save if the monitor is better; Lightning would save a first NaN as the best.

        A monitor that is undefined (AUROC of one class, a value that was not logged yet) chooses
        nothing.
        """
        current = monitor_candidates.get(self.monitor or "")
        if current is not None and bool(torch.isfinite(current)):
            super()._save_topk_checkpoint(trainer, monitor_candidates)
        elif trainer.is_global_zero:
            log.warning(
                "%s is %s after step %d: it chooses no best checkpoint and stops nothing",
                self.monitor,
                "not logged yet" if current is None else float(current),
                trainer.global_step,
            )


class StopEarly(EarlyStopping):
    """Early stopping that a resumed run remembers; Lightning's would continue to train.

    An undefined monitor does not count as a validation without improvement.
    """

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop at once if training had stopped before the checkpoint was written."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def _evaluate_stopping_criteria(self, current: torch.Tensor) -> tuple[bool, str | None]:
        if not torch.isfinite(current):
            return False, None
        return super()._evaluate_stopping_criteria(current)


class LastCheckpoint(Checkpoint):
    """Write last.ckpt after every epoch, when training stops and, if requested, every n steps.

    If validation is due or gradients are being accumulated, the checkpoint is written at a later
    step, because a resumed run would lose the validation or the gradients. If training ends within
    an epoch, Lightning validates first if needed; the checkpoint then has the state after the
    validation, with the position in the epoch from before it.
    """

    def __init__(self, path: Path, every_n_steps: int | None, stopper: StopOnSignal) -> None:
        self.path, self.every_n_steps, self.stopper = path, every_n_steps, stopper
        self._saved_step = -1
        self._place: dict[str, Any] | None = None  # position within the epoch before its validation

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if a checkpoint is due and the state is complete."""
        step = trainer.global_step
        signalled = self.stopper.due(trainer)
        if step == trainer.max_steps:
            trainer.should_stop = True  # so that Lightning validates the result of the last steps
        loop = trainer.fit_loop.epoch_loop  # only then does Lightning know whether the epoch ends
        within = not loop._num_ready_batches_reached()
        validates = trainer.should_stop or _validates(trainer)  # after which training may end
        self._place = copy.deepcopy(trainer.fit_loop.state_dict()) if within and validates else None
        due = bool(self.every_n_steps) and step % (self.every_n_steps or 1) == 0
        if (signalled or due) and within and not validates and not loop._should_accumulate():
            if step != self._saved_step:
                self._save(trainer)
            if signalled:
                self.stopper.leave()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Save after validation, at the end of the epoch or where it was interrupted."""
        if self._place or trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            self._save(trainer)
            self._place = None
            if self.stopper.due(trainer):
                self.stopper.leave()

    def on_save_checkpoint(
        self, trainer: Trainer, module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the position within the epoch, also to the best checkpoint."""
        if self._place:
            checkpoint["loops"]["fit_loop"] = self._place

    def _save(self, trainer: Trainer) -> None:
        self._saved_step = trainer.global_step
        trainer.save_checkpoint(self.path)


def _validates(trainer: Trainer) -> bool:
    """Return whether validation is due after this training batch, as Lightning counts."""
    every_n_epoch, loop = trainer.check_val_every_n_epoch, trainer.fit_loop.epoch_loop
    if not trainer.val_check_batch:
        return False
    if every_n_epoch is None:
        return (loop.total_batch_idx + 1) % trainer.val_check_batch == 0
    is_epoch = (trainer.current_epoch + 1) % every_n_epoch == 0
    return is_epoch and (loop.batch_idx + 1) % trainer.val_check_batch == 0


def make_trainer(
    run: Run,
    folder: Path,
    parts: Parts,
    data_record: dict[str, Any],
    stopper: StopOnSignal,
    lock: FolderLock | None = None,
) -> Trainer:
    """Return the Trainer of `run`, which writes into `folder` and ends if it loses `lock`."""
    lock = lock or FolderLock()
    v = run.values
    shown = _shown(v.progress)
    trainer = bare_trainer(
        run,
        limit_val_batches=v.limit_val_batches if "valid" in parts.data.splits else 0,
        enable_progress_bar=shown == "bar",
        enable_checkpointing=not v.fast_dev_run,
        default_root_dir=folder,
        logger=_loggers(run, folder, lock),
        callbacks=[
            *_callbacks(run, parts, shown, data_record),
            *_saving(run, folder, parts, stopper, lock),
        ],
        plugins=_plugins(),
    )
    environment = getattr(trainer.strategy, "cluster_environment", None)
    bound = environment is not None and environment.creates_processes_externally
    set_threads(v.n_threads, trainer.num_devices, bound=bound)
    skip_idle_hooks(trainer.callbacks)  # type: ignore[attr-defined]  # set by a connector
    # with max_steps, Lightning would end a finished epoch again after resuming, and so skip the
    # data of the next; counted by epochs it does not, and max_steps still ends training
    loop = trainer.fit_loop
    loop._iteration_based_training = lambda: False  # type: ignore[method-assign]  # see above
    if v.fast_dev_run:
        _cut_short(trainer, run, parts)
    return trainer


def _cut_short(trainer: Trainer, run: Run, parts: Parts) -> None:
    """Give a trial the settings of the full run; Lightning would treat it as a shorter run."""
    if "valid" not in parts.data.splits:
        trainer.limit_val_batches = 0
    if run.values.mode == "train":
        loader = parts.data.loader("train", world_size=trainer.world_size)
        parts.task.n_steps = whole_run_steps(run, len(loader))


def _loggers(run: Run, folder: Path, lock: FolderLock) -> list[Logger]:
    """Return the logger of metrics.csv and any other requested loggers."""
    resumed = run.values.resume_from_checkpoint
    step = load(resumed)["global_step"] if resumed else None
    loggers: list[Logger] = [MetricsCsv(folder / "metrics.csv", step, lock)]
    if not run.values.fast_dev_run:
        loggers += [_further_logger(name, folder) for name in run.values.logger]
    for logger in loggers[1:]:
        logger.log_hyperparams({n: v for n, v in vars(run.values).items() if v is not None})
    return loggers


def _further_logger(name: str, folder: Path) -> Logger:
    """Return one of Lightning's loggers, which writes into the run folder and uses no network.

    Raises:
        RunError: The package of the logger is not installed.
    """
    try:
        if name == "tensorboard":
            return TensorBoardLogger(folder, name="", version="tensorboard")
        if name == "mlflow":
            # a folder of files needs no server and can be copied; mlflow 3 requires this
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            where = f"file:{(folder / 'mlruns').resolve()}"
            return MLFlowLogger("seqmodel", tracking_uri=where)
        return WandbLogger(save_dir=folder, offline=True)
    except ModuleNotFoundError as e:
        raise RunError(missing(f"--logger={name}", e.name or name, name)) from e


def _plugins() -> list[Any]:
    plugins: list[Any] = [SafeCheckpointIO()]
    if SLURMEnvironment.detect():
        # the job, not Lightning, decides from its files whether it is requeued
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins


def _callbacks(run: Run, parts: Parts, shown: str, data_record: dict[str, Any]) -> list[Callback]:
    v = run.values
    entry = stamp(
        dict(vars(v)),
        alphabet=parts.data.alphabet.to_dict(),
        targets=parts.data.targets.to_dict(),
        splits={split: len(parts.data.readers[split]) for split in parts.data.splits},
        data=data_record,
        seq_len=parts.data.readers[parts.data.splits[0]].length,
        contigs=joined_contigs(training_contigs(parts.data), parts.before.contigs),
        plugins=plugin_digests(v.plugins),
    )
    entry["n_contigs"] = max(entry["n_contigs"], parts.before.n_contigs)
    rows = joined_rows(training_rows(parts.data), parts.before.rows)
    callbacks: list[Callback] = [ExactSteps(v.seed), EpochLoss(), Stamp(entry, rows)]
    callbacks += training_callbacks(run.hparams("optimiser"))
    if shown == "bar":
        callbacks.append(TQDMProgressBar())
    if shown != "none":
        has_valid = "valid" in parts.data.splits
        monitor, mode = monitored(run, parts.task) if has_valid else (None, "min")
        callbacks.append(EpochTable(monitor, mode, parts.task.logged_names()))
    if v.patience and "valid" in parts.data.splits:
        monitor, mode = monitored(run, parts.task)
        # not strict: a value that is not logged yet counts as undefined
        stop = StopEarly(monitor, mode=mode, patience=v.patience, strict=False)
        callbacks.append(stop)
    return callbacks


def _saving(
    run: Run, folder: Path, parts: Parts, stopper: StopOnSignal, lock: FolderLock
) -> list[Callback]:
    v = run.values
    if v.fast_dev_run:
        return []
    where = folder / CHECKPOINTS
    found: list[Callback] = [stopper, OneWriter(lock), Usage(folder, lock)]
    if "valid" in parts.data.splits:
        monitor, mode = monitored(run, parts.task)
        best = BestCheckpoint(
            dirpath=where,
            enable_version_counter=False,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            every_n_epochs=v.check_val_every_n_epoch,
            # with val_check_interval, validation is not at the end of an epoch
            save_on_train_epoch_end=not v.val_check_interval,
        )
        found.append(best)
    # after BestCheckpoint, because last.ckpt has its score
    found.append(LastCheckpoint(where / "last.ckpt", v.checkpoint_every_n_steps, stopper))
    return found


def monitored(run: Run, task: Task) -> tuple[str, str]:
    """Return the name of the value that chooses the best checkpoint, and "min" or "max"."""
    name = run.values.monitor or task.default_monitor
    return name, monitor_mode(name)


def _shown(progress: str) -> str:
    if progress != "auto":
        return progress
    return "bar" if sys.stderr.isatty() and sys.stdout.isatty() else "lines"
