"""FLIP GB1: Spearman on the test split of variants of a protein that differ at four sites.

    python benchmarks/tables/gb1.py [low_vs_high three_vs_rest two_vs_rest] [--data FOLDER]

The best epoch is chosen by Spearman on the split's own validation rows; but low_vs_high trains for
a fixed number of epochs, for its validation rows are like those it trains on, not like the test.
The 265 letters are cut to the 32 around the four sites (39, 40, 41, 54), the only ones that vary.
"""

from __future__ import annotations

import argparse
import csv
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

from row import Test, add_arguments, find_data, train_seeds, write_rows

BARS = {"low_vs_high": 0.51, "three_vs_rest": 0.83, "two_vs_rest": 0.32}
WINDOW = slice(30, 62)
COMMON: dict[str, Any] = {
    "task": "regress",
    "dataset": "table",
    "alphabet": "protein",
    "label_columns": ["target"],
    "label_kind": "real",
    "split_column": "split",
    "monitor": "valid_spearman",
    "encoder": "cnn",
    "n_dims": 64,
    "n_layers": 1,
    "first_kernel_size": 5,
    "pool_size": 1,
    "dropout": 0.1,
    "n_decoder_dims": 64,
    "decoder_dropout": 0.2,
    "lr": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 20,
    "batch_size": 64,
    "max_epochs": 20,
    "log_every_n_steps": 1000,
}
BINNED = {"decoder": "binned", "n_bins": 32}
# after the CNN of FLIP (Dallago et al. 2021): a convolution, a layer on each position, the maximum
LOW_VS_HIGH = {
    "decoder": "pooled",
    "pool": "max",
    "n_decoder_dims": 0,
    "n_dims": 512,
    "n_layers": 2,
    "kernel_size": 1,
    "dropout": 0.0,
    "weight_decay": 0.05,
    "schedule": "constant",
    "batch_size": 256,
    "max_epochs": 30,
    "check_val_every_n_epoch": 30,  # once, after the last: its validation rows choose nothing
    "precision": "bf16-mixed",
}
HPARAMS = {
    "low_vs_high": COMMON | LOW_VS_HIGH,
    "three_vs_rest": COMMON | BINNED | {"lr": 3e-3, "max_epochs": 40, "n_decoder_dims": 128},
    "two_vs_rest": COMMON | BINNED | {"batch_size": 16, "max_epochs": 40},
}


def read(data: Path, which: str) -> list[tuple[str, str, str]]:
    """Sequence, target and split (train, valid, test) of each row."""
    with zipfile.ZipFile(data / "flip_gb1" / "splits.zip") as archive:
        text = archive.read(f"splits/{which}.csv").decode()
    found = []
    for x in csv.DictReader(io.StringIO(text)):
        split = "valid" if x["validation"] == "True" else x["set"]
        found.append((x["sequence"][WINDOW], x["target"], split))
    return found


def dev_hparams(data: Path, which: str, folder: Path) -> dict[str, Any]:
    """The settings of a split without its test rows.

    "low_vs_high:0.8" is the same question asked of the rows that are not for the test: dev is those
    above 0.8, and a third of those between 0.5 and 0.8 so that there is something to rank (half of
    the rows are near 0, the others above 0.5).
    """
    which, _, top = which.partition(":")
    rows = [x for x in read(data, which) if x[2] != "test"]
    if top:
        rows = [(s, y, _imitated_split(s, float(y), float(top))) for s, y, _ in rows]
    return _hparams(which, folder / f"{which}_dev.csv", rows)


def _imitated_split(sequence: str, target: float, top: float) -> str:
    in_third = zlib.crc32(sequence.encode()) % 3 == 0
    return "valid" if target > top or (target > 0.5 and in_third) else "train"


def test_hparams(data: Path, which: str, folder: Path) -> dict[str, Any]:
    """The settings of a split with all rows."""
    return _hparams(which, folder / f"{which}.csv", read(data, which))


def _hparams(which: str, path: Path, rows: list[tuple[str, str, str]]) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(("sequence", "target", "split"))
        writer.writerows(rows)
    return HPARAMS[which] | {"train_files": [str(path)]}


def tests(data: Path, which: str, folder: Path) -> tuple[dict[str, Any], list[Test]]:
    """What is trained, and what it is tested on."""
    hparams = test_hparams(data, which, folder)
    rows = [x[2] for x in read(data, which)]
    split = " / ".join(f"{x} {rows.count(x)}" for x in ("train", "valid", "test"))
    bar = f"{BARS[which]:.2f} (CNN of FLIP)"
    return hparams, [Test(f"FLIP GB1 {which}", split, "spearman", bar, hparams)]


def table_row(data: Path, which: str, out: Path, args: argparse.Namespace) -> str:
    """Trains and tests with each seed."""
    hparams, [test] = tests(data, which, out / "data")
    return test.row_of(train_seeds(hparams, out / which, args))


def main() -> None:
    """Writes one row a split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(HPARAMS), help="which splits; all if none")
    add_arguments(parser)
    args = parser.parse_args()
    data, out = find_data(args.data), args.out / "gb1"
    for which in args.sets:
        text = table_row(data, which, out, args)
        write_rows(out / f"{which}.md", [text])


if __name__ == "__main__":
    main()
