"""Checks of the data and the task of a run before its folder is created.

A trial (`--fast_dev_run`) passes the same checks.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np

from seqmodel.errors import HparamError, LabelError, RunError
from seqmodel.hparam.value import did_you_mean
from seqmodel.model.decoder import ProfileDecoder
from seqmodel.task.optim import build_optimiser
from seqmodel.task.profile import check_crop
from seqmodel.task.schedule import schedule_curve

if TYPE_CHECKING:
    from seqmodel.hparam.resolve import Run
    from seqmodel.training.build import Parts


def check_monitor(run: Run, parts: Parts) -> None:
    """Check that the monitor is logged and that settings have the validation they need.

    A resumed run keeps such settings, because an earlier version accepted them.

    Raises:
        HparamError: The task does not log `--monitor`, or the run does not validate.
    """
    v = run.values
    if v.mode != "train":
        return
    names = parts.task.logged_names()
    if v.monitor and names is not None and v.monitor not in names:
        raise HparamError(
            f"--monitor={v.monitor}: the task {v.task} logs no such value; choose one of "
            f"{', '.join(names)}{did_you_mean(v.monitor, list(names))}"
        )
    what = "without a validation split"
    remedy = "add one (with --valid_files, --valid_prop, --valid_contigs or --split_column)"
    too_late = ""
    if "valid" in parts.data.splits:
        too_late = _too_late_for_validation(run, parts)
        if not too_late:
            return
        what, remedy = f"because {too_late} is after the end of the run", f"lower {too_late}"
    settings = {"--patience": v.patience, "--schedule=plateau": v.schedule == "plateau"}
    if not too_late:  # a shorter run of the same command keeps its monitor
        settings = {"--monitor": v.monitor, **settings}
    for name in [name for name, value in settings.items() if value]:
        without = f"{name} has no effect {what}"
        if not v.resume_from_checkpoint:
            raise HparamError(f"{without}; {remedy}, or leave {name.split('=')[0]} out")
        warnings.warn(without, stacklevel=2)
    if too_late:
        warnings.warn(f"the run does not validate, {what}; {remedy}", stacklevel=2)


def _too_late_for_validation(run: Run, parts: Parts) -> str:
    """Return the setting that puts the first validation after the end of the run, or ""."""
    v = run.values
    if v.max_steps >= 0 or v.fast_dev_run:
        return ""  # the last step of --max_steps is validated
    if isinstance(v.val_check_interval, int):
        n_batches = len(parts.data.loader("train", world_size=v.devices * v.num_nodes))
        too_late = v.val_check_interval > limited(n_batches, v.limit_train_batches) * v.max_epochs
        return f"--val_check_interval={v.val_check_interval}" if too_late else ""
    every = v.check_val_every_n_epoch
    return f"--check_val_every_n_epoch={every}" if every > v.max_epochs else ""


def check_bins(run: Run, parts: Parts) -> None:
    """Check that the bins of a model of tracks match the data.

    Raises:
        HparamError: The bins differ in size from the data.
        LabelError: The number of bins differs.
    """
    task, data = parts.task, parts.data
    decoder, target_len = task.decoder, getattr(data, "target_len", None)
    if not isinstance(decoder, ProfileDecoder) or target_len is None:
        return
    stride, bin_len = task.encoder.stride, data.hparams.bin_len
    if decoder.size * stride != bin_len and not run.values.resume_from_checkpoint:
        raise HparamError(
            f"--bin_positions={decoder.size}: at {stride} bp for a position of the encoder, a bin "
            f"of the model has {decoder.size * stride} bp and one of the data --bin_len={bin_len}; "
            "leave --bin_positions out"
        )
    length = data.readers[data.splits[0]].length
    check_crop(target_len // bin_len, decoder.n_bins(-(-length // stride)))


def check_lengths(run: Run, parts: Parts) -> None:
    """Check that a proportion of the batches of a split leaves at least one.

    Raises:
        HparamError: No batch is left; the message names the setting.
    """
    v = run.values
    limits = {"train": v.limit_train_batches, "valid": v.limit_val_batches}
    limits["test"] = v.limit_test_batches
    for split, limit in limits.items():
        if split not in parts.data.splits or not isinstance(limit, float):
            continue
        n_ranks = v.devices * v.num_nodes
        n_batches = len(parts.data.loader(split, train=split == "train", world_size=n_ranks))
        if not limited(n_batches, limit):
            name = "limit_val_batches" if split == "valid" else f"limit_{split}_batches"
            raise HparamError(
                f"--{name}={limit}: this is less than one of the {n_batches} batches of the "
                f"{split} split; set a number of batches, or a proportion of at least "
                f"{1 / n_batches:.3g}"
            )


def check_training(run: Run, parts: Parts) -> None:
    """Check that the optimiser has weights and the schedule fits the steps of the run.

    Raises:
        HparamError: The error that `Task.configure_optimizers` would raise later.
    """
    v = run.values
    if v.mode == "train":
        build_optimiser(parts.task, run.hparams("optimiser"), fused=False)
        n_batches = len(parts.data.loader("train", world_size=v.devices * v.num_nodes))
        schedule_curve(run.hparams("schedule"), whole_run_steps(run, n_batches))


def whole_run_steps(run: Run, n_batches: int) -> int:
    """Return the optimiser steps of a run with `n_batches` per epoch and rank, as in Lightning."""
    v = run.values
    an_epoch = limited(n_batches, v.limit_train_batches)
    steps = math.ceil(an_epoch / v.accumulate_grad_batches) * v.max_epochs
    return steps if v.max_steps < 0 else min(steps, v.max_steps)


def limited(n_batches: int, limit: float | None) -> int:
    """Return how many of `n_batches` a limit (number or proportion) leaves, as in Lightning."""
    if isinstance(limit, float):
        return int(n_batches * limit)
    return min(n_batches, limit or n_batches)


def check_contents(run: Run, parts: Parts) -> None:
    """Check that each split has something to predict; usually one batch of each is read.

    Raises:
        LabelError: All labels of a split are missing, or all positions are unknown.
    """
    used = ("test",) if run.values.mode == "test" else parts.data.splits
    for split in used:
        loader = parts.data.loader(split, train=False)
        if not any(parts.task.has_something_to_predict(batch) for batch in loader):
            what = (
                "every label is missing"
                if parts.task.predicts_targets
                else "every position is unknown (N) or has no weight"
            )
            raise LabelError(
                f"the {split} split ({', '.join(parts.data.files_of(split))}) has nothing to "
                f"predict: {what} in all {len(parts.data.readers[split]):,} items; check its files"
            )


def check_test_split(run: Run, parts: Parts) -> None:
    """Check that the test split differs from the valid split, which chooses the best checkpoint.

    Raises:
        RunError: Both have files of the same content under different names.
    """
    data = parts.data
    files = [list(getattr(data.hparams, f"{split}_files", ())) for split in ("valid", "test")]
    if run.values.mode != "train" or not all(files):
        return
    digests = data.digests()
    sums = [sorted(str(digests[x]["sha256"]) for x in paths if x in digests) for paths in files]
    intervals = [data.readers[split].intervals for split in ("valid", "test")]
    # rows of a table are numbered across all splits
    contigs = [x.contig - x.contig.min() for x in intervals]
    same = np.array_equal(*contigs) and all(
        np.array_equal(*(getattr(x, name) for x in intervals)) for name in ("start", "end")
    )
    if sums[0] == sums[1] != [] and same:
        raise RunError(
            f"--test_files={', '.join(files[1])} has the content of --valid_files="
            f"{', '.join(files[0])}: they choose the best checkpoint, so the test score would be "
            "too good; use other data for the test, or none"
        )
