"""What the tables share: where the data are, runs of seqmodel, and rows of Markdown."""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

SEEDS = (0, 1, 2)
HEADER = (
    "| table | split | metric | mean ± sd (3 seeds) | 95 % of test rows | each seed | "
    "not similar to train | k-mers | GC | nearest row | less the best baseline | to beat |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


class Test(NamedTuple):
    """What a row of a table is about; `metric` is the name in logs, without "test_"."""

    name: str
    split: str
    metric: str
    bar: str
    hparams: dict[str, Any]

    @property
    def label(self) -> str:
        """The metric as it stands in the row."""
        return {"mcc": "MCC x 100"}.get(self.metric, self.metric.capitalize())

    def row(self, outputs: Sequence[Any], truth: Any, n_networks: int = 1) -> str:
        """The row; `outputs` for the test rows are one array a seed."""
        from evidence import gather

        name = self.name if n_networks == 1 else f"{self.name}, {n_networks} networks"
        scale, digits = (100, 2) if self.metric == "mcc" else (1, 3)
        found = gather(self.hparams, outputs, truth)
        return row(name, self.split, self.label, self.metric, found, self.bar, scale, digits)

    def row_of(self, folders: Sequence[Path]) -> str:
        """The row of the predictions that runs left in their folders, one a seed."""
        found = [predictions(x) for x in folders]
        return self.row([x.outputs for x in found], found[0].truth)


class Timer:
    """Wall and CPU seconds of what is done within it, each time it is entered."""

    wall = cpu = 0.0

    def __enter__(self) -> Timer:
        self._start = time.monotonic(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.wall += time.monotonic() - self._start[0]
        self.cpu += time.process_time() - self._start[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every table has."""
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with gue/, uci_splice/, flip_gb1/, dream_yeast_mpra/; SEQMODEL_SHARED_DATA "
        "or ../shared/data unless given",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/tables"), help="where runs and rows are kept"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS), help="seeds")
    parser.add_argument(
        "--trained", action="store_true", help="train nothing: rows of the predictions in --out"
    )
    parser.add_argument("--accelerator", default="cpu", help="of the trainings: cpu or gpu")


def find_data(given: Path | None) -> Path:
    """The folder of the data; ends the program with one line if there is none."""
    path = given or Path(os.environ.get("SEQMODEL_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        sys.exit(f"no data in {path}; give --data=FOLDER or set SEQMODEL_SHARED_DATA")
    return path.resolve()


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Writes a table, and returns its path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        csv.writer(f).writerows([header, *rows])
    return str(path)


def new_folder(path: Path) -> Path:
    """`path`, which a run makes; what an earlier one left there is removed."""
    if path.exists():
        shutil.rmtree(path)
    return path


def count_rows(path: Path) -> int:
    """Rows of a CSV file that this folder's programs wrote, without the line of names."""
    return len(path.read_text().splitlines()) - 1


def train(hparams: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Trains (and tests, if there are test files); the scores of the best epoch, by name."""
    from seqmodel.hparam.resolve import resolve
    from seqmodel.task.task import monitor_mode
    from seqmodel.training.execute import execute
    from seqmodel.training.metrics_csv import read_rows

    given = {"progress": "none", "n_threads": 1, "accelerator": "cpu", **hparams}
    last = execute(resolve({**given, "default_root_dir": str(folder)})).metrics
    monitor = given.get("monitor", "valid_loss")
    if not any(name.startswith("valid_") for name in last):  # no dev split
        return last
    rows = [x for x in read_rows(folder / "metrics.csv") if _has(x, monitor)]
    pick = max if monitor_mode(monitor) == "max" else min
    best = pick(rows, key=lambda x: float(x[monitor]))
    scores = {
        k: float(v) for k, v in best.items() if k.startswith("valid_") and v not in ("", None)
    }
    tests = {k: v for k, v in last.items() if k.startswith("test_")}
    return scores | {"valid_epoch": float(best["epoch"])} | tests


def train_seeds(hparams: Mapping[str, Any], out: Path, args: argparse.Namespace) -> list[Path]:
    """Trains and tests with each seed unless that was done (`--trained`); their folders."""
    folders = [out / f"seed_{seed}" for seed in args.seeds]
    for seed, folder in zip(args.seeds, folders, strict=True):
        if not args.trained:
            train({**hparams, "seed": seed, "accelerator": args.accelerator}, new_folder(folder))
    return folders


def test(hparams: Mapping[str, Any], checkpoint: Path, folder: Path) -> dict[str, float]:
    """Scores of a checkpoint on the test files of `hparams`."""
    from seqmodel.hparam.resolve import resolve
    from seqmodel.training.execute import execute

    given = {**hparams, "mode": "test", "load_checkpoint_path": str(checkpoint)}
    given |= {"progress": "none", "n_threads": 1, "accelerator": "cpu"}
    return execute(resolve({**given, "default_root_dir": str(new_folder(folder))})).metrics


def predict(hparams: Mapping[str, Any], checkpoint: Path, split: str = "test") -> tuple[Any, Any]:
    """Outputs of a checkpoint for a split, in its order: float [N, T], and the targets."""
    import torch

    from seqmodel.hparam.resolve import resolve
    from seqmodel.training.build import build

    given = {**hparams, "load_checkpoint_path": str(checkpoint)}
    given |= {"mode": "test"} if split == "test" else {}
    parts = build(resolve({**given, "progress": "none", "n_threads": 1}))
    task, outputs, targets = parts.task.eval(), [], []
    with torch.no_grad():
        for batch in parts.data.loader(split):
            outputs.append(task(batch["tokens"], batch.get("pad")))
            targets.append(batch["target"])
    return torch.cat(outputs), torch.cat(targets)


def predictions(folder: Path) -> Any:
    """What a run predicted for its test split; ends the program if it left nothing."""
    from seqmodel.trust.predictions import predictions_in

    found = predictions_in(folder)
    if found is None:
        sys.exit(f"no test_predictions in {folder}; run this without --trained")
    return found


def row(
    name: str,
    split: str,
    label: str,
    metric: Any,
    found: Any,
    bar: str,
    scale: float,
    digits: int,
    values: Sequence[float] = (),
    first: str = "",
) -> str:
    """A row of Markdown under `HEADER`, of an Evidence.

    `values` are those of the seeds, where they cannot be told apart in the evidence; `first` is the
    baseline to compare with, else the best.
    """
    from evidence import cells

    values = [scale * x for x in values or found.each(metric)]
    sd = statistics.stdev(values) if len(values) > 1 else float("nan")
    mean, each = statistics.mean(values), ", ".join(f"{x:.{digits}f}" for x in values)
    ends, *rest = cells(metric, found, scale, digits, first)
    told = [name, split, label, f"{mean:.{digits}f} ± {sd:.{digits}f}", ends, each, *rest, bar]
    return "| " + " | ".join(told) + " |"


def write_rows(path: Path, rows: Sequence[str]) -> None:
    """Prints the rows and writes them into a file of their own."""
    text = "\n".join([HEADER, *rows]) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text)


def _has(values: Mapping[str, Any], name: str) -> bool:
    return values.get(name) not in (None, "")
