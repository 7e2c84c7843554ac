"""Execute a run: build data and model, train, test, and record everything in its folder.

All checks are done before the run folder is created.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from seqmodel.dataset.homology import SPLIT_FILE
from seqmodel.errors import RunError
from seqmodel.files import write_file
from seqmodel.hparam.resolve import Run
from seqmodel.record.checkpoint import load, put_weights
from seqmodel.record.folder import (
    CHECKPOINTS,
    FOLDER_VARIABLE,
    add_to_record,
    check_folder,
    link_latest,
    run_folder,
    write_record,
)
from seqmodel.record.lock import FolderLock
from seqmodel.terminal import plain
from seqmodel.training.allocator import kept_memory
from seqmodel.training.build import Parts, build
from seqmodel.training.checks import (
    check_bins,
    check_contents,
    check_lengths,
    check_monitor,
    check_test_split,
    check_training,
)
from seqmodel.training.curves import curves
from seqmodel.training.ending import Beside, mistakes, next_commands, score_table, target_table
from seqmodel.training.host import check_host
from seqmodel.training.opening import entry, listed, opening
from seqmodel.training.out_of_memory import explain_out_of_memory
from seqmodel.training.predictions import NAME, scored_items, write_predictions
from seqmodel.training.stopping import StopOnSignal
from seqmodel.training.threads import VARIABLE
from seqmodel.training.trainer import RunData, make_trainer
from seqmodel.training.usage import Usage
from seqmodel.training.used import used_settings
from seqmodel.training.waiting import considerate_waits

if TYPE_CHECKING:
    import numpy as np

    from seqmodel.dataset.data import Data

# most numbers of test predictions that a run keeps without --mode=test
MOST_AFTER_TRAINING = 2_000_000
# warnings of Lightning about what is intended here
QUIET = (
    ".*dataloader is not resumable.*",  # RunData restores the position
    ".*exists and is not empty.*",  # a resumed run continues in its folder
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*`srun` command is available.*",  # a login node, or a single process is intended
    ".*AMP with fp16 is not supported on CPU.*",  # check_host warns
    ".*LeafSpec.*is deprecated.*",  # Lightning's own use of torch
)


class Outcome(NamedTuple):
    """The result of a run: its folder (None for a trial) and the last logged values."""

    folder: Path | None
    metrics: dict[str, float]


class Tested(NamedTuple):
    """The results of a test in memory, for an audit.

    Attributes:
        run: Run that was tested.
        data: Data of the run.
        folder: Run folder.
        seconds: Time that the run has taken, in seconds.
        metrics: Scores of the test split by name.
        curves: Content of test_curves.json.
        item: Number of each item in the test split, int64 [N]; None if no item has an output.
        outputs: Probabilities or predicted numbers, [N, C] or [N, T].
    """

    run: Run
    data: Data
    folder: Path
    seconds: float
    metrics: Mapping[str, float]
    curves: Mapping[str, Any] = {}
    item: np.ndarray | None = None
    outputs: np.ndarray | None = None


AfterTest = Callable[[Tested], Beside]
"""Function of the results of a test that returns what to show beside the scores."""


def execute(run: Run, after_test: AfterTest | None = None) -> Outcome:
    """Execute `run`.

    Args:
        run: Run to execute.
        after_test: Function called on the first rank at the end of a tested run.

    Raises:
        SeqmodelError: The user can correct the input.
    """
    with (
        _process_as_it_was(),
        _told_if_out_of_memory(),
        _refused_if_ended(),
        FolderLock() as lock,
        StopOnSignal() as stopper,
        warnings.catch_warnings(),
    ):
        for message in QUIET:
            warnings.filterwarnings("ignore", message=message)
        return _execute(run, stopper, lock, after_test)


def _execute(
    run: Run, stopper: StopOnSignal, lock: FolderLock, after_test: AfterTest | None
) -> Outcome:
    began, tested = time.monotonic(), None
    # a trial leaves nothing behind, so the folder of the real run stays free
    trial = run.values.fast_dev_run
    if not trial:
        check_folder(run)
    check_host(run)
    parts = build(run)
    _check_splits(run, parts.data)
    check_monitor(run, parts)
    check_lengths(run, parts)
    check_bins(run, parts)
    check_training(run, parts)
    check_contents(run, parts)
    check_test_split(run, parts)
    record = parts.data.digests()
    folder = Path(os.devnull) if trial else run_folder(run, lock)
    trainer = make_trainer(run, folder, parts, record, stopper, lock)
    if trainer.is_global_zero:
        notes: list[str] = []
        if not trial:
            used = used_settings(run, parts, trainer)
            notes = write_record(folder, run, record, parts.changed_data, used)
            link_latest(folder)
            if parts.data.division is not None:
                parts.data.division.write(folder / SPLIT_FILE)
        _tell(*opening(run, parts, trainer, folder, notes), "")
    if run.values.compile:
        parts.task.encoder.compile()  # in place, which keeps the names of the weights
    data = RunData(parts.data, run)
    on_cpu = trainer.strategy.root_device.type == "cpu"
    with kept_memory() if on_cpu else nullcontext(), considerate_waits():
        if run.values.mode == "train":
            trainer.fit(parts.task, datamodule=data, ckpt_path=run.values.resume_from_checkpoint)
        if "test" in parts.data.splits:
            tested = _test(run, parts, trainer, data, folder, lock)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
        if isinstance(callback, Usage):
            callback.write(trainer, parts.task, ended=True)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    beside = Beside()
    if tested is not None and after_test is not None:
        beside = after_test(tested._replace(seconds=time.monotonic() - began))
    if trainer.is_global_zero:
        _tell(*score_table(metrics, beside), *target_table(metrics))
        if not trial:
            if tested is not None and "confusion" in tested.curves:
                _tell(*mistakes(tested.curves["names"], tested.curves["confusion"]))
            _tell(*beside.lines, *_left(run, parts, trainer, folder))
    return Outcome(None if trial else folder, metrics)


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Restore process-wide settings after a run, because a notebook continues to use them."""
    variables = {name: os.environ.get(name) for name in (FOLDER_VARIABLE, VARIABLE)}
    n_threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        torch.set_num_threads(n_threads)
        torch.use_deterministic_algorithms(deterministic)


@contextmanager
def _refused_if_ended() -> Iterator[None]:
    """Raise an error if a plugin calls sys.exit() during a run, which is no success."""
    try:
        yield
    except SystemExit as e:
        if e.code in (None, 0):
            raise RunError("the run did not end: a module called sys.exit() in it") from e
        raise


@contextmanager
def _told_if_out_of_memory() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as e:
        explained = explain_out_of_memory(e)
        if explained is None:
            raise
        raise explained from e


def _check_splits(run: Run, data: Data) -> None:
    wanted = "test" if run.values.mode == "test" else "train"
    if wanted not in data.splits:
        have = ", ".join(data.splits) or "none"
        raise RunError(
            f"--mode={run.values.mode} needs a {wanted} split, but the data have: {have}; "
            f"add --{wanted}_files, or another option that splits the data"
        )


def _test(
    run: Run, parts: Parts, trainer: Trainer, data: RunData, folder: Path, lock: FolderLock
) -> Tested | None:
    """Score the test split with the best checkpoint after training, or else the loaded weights.

    Returns:
        The results on the first rank, except for a trial; None otherwise.
    """
    best = _best_checkpoint(trainer) if run.values.mode == "train" else None
    weights = _weights(run, trainer)
    if best is not None:
        trainer.strategy.barrier()  # only the first rank writes it
        saved = load(best)
        if run.values.strategy == "fsdp":
            from seqmodel.training.sharded import as_shards

            saved["state_dict"] = as_shards(parts.task, saved["state_dict"])
        put_weights(parts.task, saved, best, alphabet=parts.data.alphabet.to_dict())
        weights += f", of epoch {saved['epoch'] + 1}, step {saved['global_step']:,}"
    trainer.test(parts.task, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        tested = _tested(trainer, parts.data)
        _tell("", entry("test", f"{tested['n']:,} items of {listed(tested['files'])}"))
        _tell(entry("weights", weights))
        if not run.values.fast_dev_run:
            lock.check()
            add_to_record(folder, "tested", tested)
            kept = _write_curves(parts, folder)
            return _keep_predictions(run, trainer, parts, folder)._replace(curves=kept)
    return None


def _weights(run: Run, trainer: Trainer) -> str:
    """Describe which weights are tested, and why."""
    if run.values.mode != "train":
        return f"as loaded, from {run.values.load_checkpoint_path}"
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
            which = "lowest" if callback.mode == "min" else "highest"
            score = float(callback.best_model_score or 0.0)
            return f"best.ckpt, with the {which} {callback.monitor} ({score:.4f})"
    return "the last ones, as no validation has chosen others"


def _left(run: Run, parts: Parts, trainer: Trainer, folder: Path) -> Iterator[str]:
    """Yield lines that show where the predictions are and which commands to type next."""
    files = [folder / f"{NAME}.{x}" for x in ("tsv", "npz")]
    for path in filter(Path.is_file, files):
        yield entry("predictions", str(path))
    checkpoint = folder / CHECKPOINTS / ("best.ckpt" if _best_checkpoint(trainer) else "last.ckpt")
    if run.values.mode != "train":
        checkpoint = Path(run.values.load_checkpoint_path or "")
    yield "next:"
    yield from next_commands(
        parts, run.values, folder, checkpoint if checkpoint.is_file() else None
    )


def _tested(trainer: Trainer, data: Any) -> dict[str, Any]:
    """Return the number of items that were scored, and their files."""
    batches = trainer.num_test_batches[0] * trainer.world_size
    n = min(len(data.readers["test"]), batches * data.hparams.batch_size)
    return {"n": n, "files": data.files_of("test")}


def _write_curves(parts: Parts, folder: Path) -> dict[str, Any]:
    """Write and return what a report draws of the test predictions."""
    targets, tested = parts.data.targets, parts.task.tested
    if tested is None or targets.kind not in ("class", "multilabel", "real"):
        return {}
    outputs, target = (x.cpu() for x in tested)
    if not outputs.isfinite().all():
        return {}  # there is nothing to draw
    shown = parts.task.predictions(outputs).numpy()
    kept = curves(targets.kind, targets.names, shown, target.numpy())
    write_file(folder / "test_curves.json", json.dumps(kept) + "\n", RunError)
    return kept


def _keep_predictions(run: Run, trainer: Trainer, parts: Parts, folder: Path) -> Tested:
    """Write the label and the prediction of each test item, unless there are too many."""
    scores = {name: float(x) for name, x in trainer.callback_metrics.items()}
    tested = Tested(run, parts.data, folder, 0.0, scores)
    if parts.task.tested is None or parts.task.tested[0].ndim != 2:
        return tested
    outputs, target = (x.cpu() for x in parts.task.tested)
    reader, batch_size = parts.data.readers["test"], parts.data.hparams.batch_size
    n_batches = int(trainer.num_test_batches[0])
    item = scored_items(len(reader), batch_size, n_batches, trainer.world_size)
    # for tracks, ProfileMetric keeps both as log(1 + sum of the counts)
    is_sum = parts.data.targets.kind == "track"
    shown = (outputs if is_sum else parts.task.predictions(outputs)).numpy()
    is_wanted = run.values.audit != "none" and outputs.numel() <= MOST_AFTER_TRAINING
    if run.values.mode == "test" or is_wanted:
        names = list(parts.data.targets.names)
        write_predictions(folder, reader, item, names, shown, target.numpy())
    return tested._replace(item=item, outputs=shown)


def _best_checkpoint(trainer: Trainer) -> Path | None:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
            return Path(callback.best_model_path)
    return None


def _tell(*lines: str) -> None:
    for line in lines:
        print(plain(line), flush=True)
