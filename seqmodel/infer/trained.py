"""Train a model from hyperparameters in one call, like `seqmodel run`.

run = seqmodel.train(task="classify", dataset="table", train_files=["train.csv"], ...)
run.metrics["test_auroc"]
run.load().predict(["ACGT..."])
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from seqmodel.errors import RunError
from seqmodel.hparam.resolve import resolve
from seqmodel.infer.model import Model, load
from seqmodel.record.folder import CHECKPOINTS, RECORD, read_record
from seqmodel.terminal import plain
from seqmodel.training.execute import execute
from seqmodel.training.metrics_csv import read_rows


def train(table: str | os.PathLike[str] | None = None, **hparams: Any) -> TrainedRun:
    """Train and test a model; the folder, the record and the numbers equal those of `seqmodel run`.

    Args:
        table: Path of a CSV, TSV, Parquet, BED or FASTA file with labels, or of a folder with
            train, valid and test files. Missing hyperparameters are guessed from it and printed.
        **hparams: Hyperparameters by name, as on the command line.

    Returns:
        The run: its folder, scores and model.

    Raises:
        SeqmodelError: A hyperparameter, the data or the run folder cannot be used.
        KeyboardInterrupt: The run was interrupted; its last checkpoint stays.
    """
    from seqmodel.trust.short import after_test

    run = resolve(hparams if table is None else {"table": os.fspath(table), **hparams})
    if run.guessed:
        print(plain(str(run.guessed)), flush=True)
    with _interruptible():
        done = execute(run, after_test)
    return TrainedRun(done.folder, done.metrics, run.values.plugins)


class TrainedRun:
    """A run folder.

    Args:
        path: Path of the folder; None for a trial (`fast_dev_run`), which has no folder.
        metrics: Logged metrics of a trial.
        plugins: Modules that its checkpoints may import; None means those given to `load`.

    Raises:
        RunError: The folder does not contain a run.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        metrics: dict[str, float] | None = None,
        plugins: Sequence[str] | None = None,
    ) -> None:
        self._logged, self._plugins = metrics or {}, plugins
        self.path = None if path is None else Path(path).absolute()
        self.hparams: dict[str, Any] = {}
        if self.path is not None:
            record = read_record(self.path / RECORD)
            self.hparams = {n: value for n, value in record.items() if n != "_run"}

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Last value of each logged metric, such as valid_loss and test_auroc."""
        if self.path is None:
            return self._logged
        found: dict[str, float] = {}
        for row in read_rows(self.path / "metrics.csv"):
            found |= {n: float(x) for n, x in row.items() if x and n not in ("epoch", "step")}
        return found

    def load(self, checkpoint: str | None = None, **options: Any) -> Model:
        """Load the trained model.

        Args:
            checkpoint: "best" or "last". None means the best, or the last without validation.
            **options: Options of `seqmodel.load`, such as device.

        Raises:
            RunError: The folder has no such checkpoint.
        """
        names = ("best", "last") if checkpoint is None else (checkpoint,)
        paths = [] if self.path is None else [self.path / CHECKPOINTS / f"{x}.ckpt" for x in names]
        found = next((x for x in paths if x.is_file()), None)
        if found is None:
            raise RunError(
                f"{self.path or 'a trial'}: no checkpoint {' or '.join(names)}.ckpt in it; train "
                "with mode=train and without fast_dev_run"
            )
        return load(found, **{"plugins": self._plugins, **options})

    def __repr__(self) -> str:
        scores = [f"{n}={x:.4g}" for n, x in self.metrics.items() if n.startswith("test_")]
        return f"TrainedRun({str(self.path)!r}{''.join(f', {x}' for x in scores if '/' not in x)})"


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn exits of the process into exceptions.

    Lightning calls sys.exit after Ctrl-C.

    Raises:
        KeyboardInterrupt: The user interrupted the run.
        RunError: A signal stopped the run after it was saved.
    """
    try:
        yield
    except SystemExit as e:
        if isinstance(e.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise RunError(
            f"the run was stopped by a signal (exit code {e.code}); resume it with "
            "resume_from_checkpoint=<run folder>/checkpoints/last.ckpt"
        ) from e
