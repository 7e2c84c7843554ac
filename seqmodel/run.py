"""One run: hyperparameters -> objects -> fit, test. `python seqmodel/run.py --task=...`.

Everything that can be refused is refused before the run folder is made. A user's mistake is one
line and exit 2. Heavy packages are imported after the hyperparameters were checked.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):  # started as a script: its own folder would hide other modules
    _here = os.path.dirname(os.path.abspath(__file__))
    if sys.path[0] in (_here, os.path.realpath(_here)):
        del sys.path[0]
    # the folder above: first for this package, then last, so that no file in it passes for torch
    sys.path.insert(0, os.path.dirname(_here))
    import seqmodel  # noqa: F401

    sys.path.append(sys.path.pop(0))

from seqmodel.errors import DivergedError, SeqmodelError
from seqmodel.hparam.resolve import Run, help_text, resolve
from seqmodel.record.folder import is_other_rank
from seqmodel.terminal import plain

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seqmodel.record.lock import FolderLock
    from seqmodel.training.build import Parts
    from seqmodel.training.stopping import StopOnSignal


# stopped by a signal, after saving: 75 is "try again later" of sysexits.h, 143 the shell's SIGTERM
EXIT_CODES = {signal.SIGUSR1: 75, signal.SIGTERM: 143}

# what Lightning warns of and is meant here
QUIET = (
    ".*dataloader is not resumable.*",  # RunData puts it where it was
    ".*exists and is not empty.*",  # a resumed run goes on in its folder
    ".*smaller than the logging interval.*",
    ".*does not have many workers.*",
    ".*`srun` command is available.*",  # a login node, or one process on purpose
    ".*LeafSpec.*is deprecated.*",  # its own use of torch
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program's name) and returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    warnings.showwarning = _show_warning
    try:
        if "--help" in argv or "-h" in argv:
            print(help_text(argv), end="")
            return 0
        run = resolve(argv)
        with _told_if_out_of_memory(), _refused_if_ended():
            execute(run)
    except SeqmodelError as e:
        if not (isinstance(e, DivergedError) and is_other_rank()):  # all ranks see it at once
            print(plain(f"{type(e).__name__}: {e}"), file=sys.stderr)
        return e.exit_code
    return 0


def execute(run: Run) -> dict[str, float]:
    """Does what `run` says and returns the last values that were logged, by name.

    Raises:
        SeqmodelError: something that the user can mend.
    """
    from seqmodel.record.lock import FolderLock
    from seqmodel.training.stopping import StopOnSignal

    with FolderLock() as lock, StopOnSignal() as stopper, warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings("ignore", message=message)
        return _execute(run, stopper, lock)


def _execute(run: Run, stopper: StopOnSignal, lock: FolderLock) -> dict[str, float]:
    from seqmodel.record.folder import check_folder, run_folder, write_record
    from seqmodel.training.allocator import kept_memory
    from seqmodel.training.build import build
    from seqmodel.training.checks import check_contents, check_monitor
    from seqmodel.training.trainer import RunData, make_trainer
    from seqmodel.training.usage import Usage

    # a trial leaves nothing behind, so that the run itself finds its folder free
    trial = run.values.fast_dev_run
    if not trial:
        check_folder(run)
    parts = build(run)
    _check_splits(run, parts.data)
    check_monitor(run, parts)
    check_contents(run, parts)
    record = parts.data.digests()
    folder = Path(os.devnull) if trial else run_folder(run, lock)
    trainer = make_trainer(run, folder, parts, record, stopper, lock)
    if trainer.is_global_zero:
        if not trial:
            told = write_record(folder, run, record, parts.changed_data)
            _tell(f"run folder: {folder}")
            for line in told:
                _tell(line)
        _tell(f"model: {_n_weights(parts.task):,} weights")
    if run.values.compile:
        parts.task.encoder.compile()  # in place: the names of the weights stay
    data = RunData(parts.data, run)
    on_cpu = trainer.strategy.root_device.type == "cpu"
    with kept_memory() if on_cpu else nullcontext():
        if run.values.mode == "train":
            trainer.fit(parts.task, datamodule=data, ckpt_path=run.values.resume_from_checkpoint)
        if "test" in parts.data.splits:
            _test(run, parts, trainer, data, folder, lock)
    for callback in trainer.callbacks:
        if isinstance(callback, Usage):
            callback.write(parts.task, ended=True)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@contextmanager
def _refused_if_ended() -> Iterator[None]:
    """A plugin that calls sys.exit() in the middle of a run must not make it a success."""
    from seqmodel.errors import RunError

    try:
        yield
    except SystemExit as e:
        if e.code in (None, 0):
            raise RunError("the run did not end: a module called sys.exit() in it") from e
        raise


@contextmanager
def _told_if_out_of_memory() -> Iterator[None]:
    from seqmodel.training.out_of_memory import explain_out_of_memory

    try:
        yield
    except (RuntimeError, MemoryError) as e:
        told = explain_out_of_memory(e)
        if told is None:
            raise
        raise told from e


def _check_splits(run: Run, data: Any) -> None:
    from seqmodel.errors import RunError

    wanted = "test" if run.values.mode == "test" else "train"
    if wanted not in data.splits:
        have = ", ".join(data.splits) or "none"
        raise RunError(
            f"--mode={run.values.mode} needs a {wanted} split, but the data have: {have}; "
            f"say which are for it with --{wanted}_files, or another option that splits"
        )


def _test(
    run: Run, parts: Parts, trainer: Trainer, data: Any, folder: Path, lock: FolderLock
) -> None:
    """Scores the test split: with the best checkpoint after training, else as loaded."""
    from seqmodel.record.folder import add_to_record

    best = _best_checkpoint(trainer) if run.values.mode == "train" else None
    if best is not None:
        from seqmodel.record.checkpoint import load_weights

        trainer.strategy.barrier()  # the first rank writes it
        load_weights(parts.task, best, alphabet=parts.data.alphabet.to_dict())
    trainer.test(parts.task, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        tested = _tested(trainer, parts.data)
        _tell(f"test: {tested['n']:,} items of {_listed(tested['files'])}")
        values = [f"{name} {float(v):.4f}" for name, v in trainer.callback_metrics.items()]
        _tell("  ".join(["test:", *(v for v in values if v.startswith("test_") and "/" not in v)]))
        if not run.values.fast_dev_run:
            lock.check()
            add_to_record(folder, "tested", tested)
            _write_curves(parts, folder)


def _tested(trainer: Trainer, data: Any) -> dict[str, Any]:
    """How many items were scored, and which files have them."""
    batches = trainer.num_test_batches[0] * trainer.world_size
    n = min(len(data.readers["test"]), batches * data.hparams.batch_size)
    return {"n": n, "files": data.files_of("test")}


def _listed(paths: Sequence[str], most: int = 3) -> str:
    names = ", ".join(os.path.basename(x) for x in paths[:most])
    return names + (f" and {len(paths) - most} more" if len(paths) > most else "")


def _write_curves(parts: Parts, folder: Path) -> None:
    """Keeps what a report draws of the predictions on the test split."""
    from seqmodel.record.folder import write_whole
    from seqmodel.training.curves import curves

    targets, tested = parts.data.targets, parts.task.tested
    if tested is None or targets.kind not in ("class", "multilabel", "real"):
        return
    outputs, target = (x.cpu() for x in tested)
    if not outputs.isfinite().all():
        return  # there is nothing to draw
    if targets.kind == "class":
        outputs = outputs.softmax(-1)
    elif targets.kind == "multilabel":
        outputs = outputs.sigmoid()
    kept = curves(targets.kind, targets.names, outputs.numpy(), target.numpy())
    write_whole(folder / "test_curves.json", json.dumps(kept) + "\n")


def _best_checkpoint(trainer: Trainer) -> Path | None:
    from pytorch_lightning.callbacks import ModelCheckpoint

    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
            return Path(callback.best_model_path)
    return None


def _n_weights(task: Any) -> int:
    return sum(p.numel() for p in task.parameters() if p.requires_grad)


def _tell(*lines: str) -> None:
    for line in lines:
        print(plain(line), flush=True)


def _show_warning(message: Any, category: type, *args: Any, **kwargs: Any) -> None:
    print(plain(f"warning: {message}"), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
