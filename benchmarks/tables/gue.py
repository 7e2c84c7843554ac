"""GUE (DNABERT-2's benchmark): test MCC x 100 of a model trained here from scratch on the CPU.

    python benchmarks/tables/gue.py [prom/prom_core_tata prom/prom_300_tata tf/0 tf/4] [--data DIR]

The best epoch is chosen by MCC on dev (tf/4: by AUROC). Rows of train whose sequence is also in dev
(tf/4: 512) or in test are left out of training: a dev that was trained on chooses badly.
"""

from __future__ import annotations

import argparse
import csv
import gzip
from pathlib import Path
from typing import Any

from row import Test, add_arguments, count_rows, find_data, train_seeds, write_rows

BARS = {
    "prom/prom_core_tata": "74.17 (DNABERT-2)",
    "prom/prom_300_tata": "71.59 (DNABERT-2)",
    "tf/0": "68.99 (DNABERT-2 71.99, less 3)",
    "tf/4": "74.43 (DNABERT-2 77.43, less 3)",
}
COMMON: dict[str, Any] = {
    "task": "classify",
    "dataset": "table",
    "monitor": "valid_mcc",
    "schedule": "cosine",
    "log_every_n_steps": 1000,
}
BINNED = {"encoder": "cnn", "decoder": "binned"}
TF_4 = {
    "encoder": "conv_lstm",
    "decoder": "binned",
    "monitor": "valid_auroc",
    "n_dims": 192,
    "n_layers": 1,
    "first_kernel_size": 19,
    "pool_size": 4,
    "dropout": 0.2,
    "n_bins": 13,
    "n_decoder_dims": 128,
    "decoder_dropout": 0.4,
    "rc_prob": 0.5,
    "average_strands": True,
    "lr": 2e-3,
    "warmup_steps": 100,
    "ema_decay": 0.995,
    "batch_size": 64,
    "max_epochs": 8,
    "precision": "bf16-mixed",
}
TF_0 = TF_4 | {
    "monitor": "valid_mcc",
    "n_dims": 320,
    "first_kernel_size": 15,
    "dropout": 0.3,
    "decoder_dropout": 0.5,
    "noise_prop": 0.02,
    "max_epochs": 10,
}
PROM = {
    "n_dims": 128,
    "n_layers": 2,
    "first_kernel_size": 11,
    "kernel_size": 5,
    "pool_size": 2,
    "dropout": 0.3,
    "n_bins": 18,
    "n_decoder_dims": 64,
    "decoder_dropout": 0.5,
    "lr": 1e-3,
    "warmup_steps": 50,
    "batch_size": 64,
    "max_epochs": 10,
    "precision": "bf16-mixed",
}
PROM_300 = PROM | {
    "n_dims": 64,
    "pool_size": 3,
    "dropout": 0.1,
    "n_bins": 34,
    "decoder_dropout": 0.4,
    "lr": 3e-3,
    "max_epochs": 20,
}
HPARAMS = {
    "prom/prom_core_tata": COMMON | BINNED | PROM,
    "prom/prom_300_tata": COMMON | BINNED | PROM_300,
    "tf/0": COMMON | TF_0,
    "tf/4": COMMON | TF_4,
}


def dev_hparams(data: Path, which: str, folder: Path) -> dict[str, Any]:
    """The settings of a set without its test split, which is not read."""
    return _hparams(data, which, folder, ["dev"])


def test_hparams(data: Path, which: str, folder: Path) -> dict[str, Any]:
    """The settings of a set with all its splits."""
    test = {"test_files": [str(data / "gue" / which / "test.csv.gz")]}
    return _hparams(data, which, folder, ["dev", "test"]) | test


def _hparams(data: Path, which: str, folder: Path, held_out: list[str]) -> dict[str, Any]:
    source = data / "gue" / which
    name = "_".join([which.replace("/", "_"), "train_without", *held_out])
    train_file = without(source, held_out, folder / f"{name}.csv")
    files = {"train_files": [str(train_file)], "valid_files": [str(source / "dev.csv.gz")]}
    return HPARAMS[which] | files


def without(source: Path, held_out: list[str], path: Path) -> Path:
    """Writes the rows of train whose sequences are in none of the splits `held_out`."""
    known = {x["sequence"] for split in held_out for x in read(source / f"{split}.csv.gz")}
    rows = [x for x in read(source / "train.csv.gz") if x["sequence"] not in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, ["sequence", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, gzip or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="") as f:
        return list(csv.DictReader(f))


def tests(data: Path, which: str, folder: Path) -> tuple[dict[str, Any], list[Test]]:
    """What is trained, and what it is tested on."""
    hparams = test_hparams(data, which, folder)
    sizes = [len(read(data / "gue" / which / f"{x}.csv.gz")) for x in ("dev", "test")]
    n_train = count_rows(Path(hparams["train_files"][0]))
    split = f"train {n_train} / dev {sizes[0]} / test {sizes[1]}"
    return hparams, [Test(f"GUE {which}", split, "mcc", BARS[which], hparams)]


def table_row(data: Path, which: str, out: Path, args: argparse.Namespace) -> str:
    """Trains and tests with each seed."""
    hparams, [test] = tests(data, which, out / "data")
    return test.row_of(train_seeds(hparams, out / which, args))


def main() -> None:
    """Writes one row a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(HPARAMS), help="which sets; all unless set")
    add_arguments(parser)
    args = parser.parse_args()
    data, out = find_data(args.data), args.out / "gue"
    for which in args.sets:
        text = table_row(data, which, out, args)
        write_rows(out / f"{which.replace('/', '_')}.md", [text])


if __name__ == "__main__":
    main()
