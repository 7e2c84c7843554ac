"""UCI splice junctions: error % on Neither / EI / IE, 10-fold cross-validation on 1000 examples.

    python benchmarks/tables/splice.py [--data FOLDER]

The protocol of the UCI page (KBANN, backpropagation): 1000 examples at random, ten folds, each of
which is predicted by a model trained on the other nine. A seed draws the examples, the folds and
the initial weights. Settings were chosen by the same protocol on 1000 examples that no seed draws
from; the model trains for a fixed number of epochs, so that the folds need no dev split.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path
from typing import Any

from row import (
    Timer,
    add_arguments,
    find_data,
    new_folder,
    row,
    test,
    train,
    write_csv,
    write_rows,
)

CLASSES = ("N", "EI", "IE")
BARS = {"N": (4.62, 5.29), "EI": (7.56, 5.74), "IE": (8.47, 10.75)}
N_EXAMPLES, N_FOLDS = 1000, 10
HPARAMS: dict[str, Any] = {
    "task": "classify",
    "dataset": "table",
    "class_names": list(CLASSES),
    "class_weights": [1.0, 1.4, 1.2],
    "encoder": "cnn",
    "decoder": "binned",
    "n_dims": 64,
    "n_layers": 1,
    "first_kernel_size": 7,
    "pool_size": 2,
    "dropout": 0.3,
    "n_bins": 30,
    "n_decoder_dims": 64,
    "decoder_dropout": 0.5,
    "ema_decay": 0.99,
    "lr": 2e-3,
    "schedule": "cosine",
    "warmup_steps": 20,
    "batch_size": 32,
    "max_epochs": 15,
    "log_every_n_steps": 1000,
}


def read(data: Path) -> list[tuple[str, str]]:
    """Class and sequence of each of the 3190 examples."""
    with (data / "uci_splice" / "splice.data").open() as f:
        return [(x[0].strip(), x[2].strip()) for x in csv.reader(f) if x]


def draw(data: Path, seed: int | None) -> list[list[tuple[str, str]]]:
    """Ten folds of 1000 examples: of those for tuning (seed None), or of the others."""
    rows = read(data)
    random.Random(2024).shuffle(rows)
    tuning, others = rows[:N_EXAMPLES], rows[N_EXAMPLES:]
    chosen = tuning if seed is None else random.Random(seed).sample(others, N_EXAMPLES)
    return [chosen[i::N_FOLDS] for i in range(N_FOLDS)]


def errors(
    data: Path, folder: Path, seed: int | None, change: dict[str, Any] | None = None
) -> dict[str, float]:
    """Error % of each class over all ten folds, and of all examples."""
    from seqmodel.trust.predictions import read_predictions

    folds = draw(data, seed)
    wrong = dict.fromkeys(CLASSES, 0)
    total = dict.fromkeys(CLASSES, 0)
    for i, held_out in enumerate(folds):
        rest = [x for j, fold in enumerate(folds) if j != i for x in fold]
        header = ("label", "sequence")
        files = [
            write_csv(folder / f"fold_{i}_{name}.csv", header, rows)
            for name, rows in (("rest", rest), ("test", held_out))
        ]
        hparams = HPARAMS | {"seed": seed or 0, "train_files": files[:1]} | (change or {})
        hparams = {k: v for k, v in hparams.items() if v is not None}  # null: leave it out
        run = new_folder(folder / f"fold_{i}")
        train(hparams, run)
        tested = folder / f"fold_{i}_test"
        test(hparams | {"test_files": files[1:]}, run / "checkpoints" / "last.ckpt", tested)
        outputs = read_predictions(tested / "test_predictions.tsv").outputs
        for (label, _), output in zip(held_out, outputs, strict=True):
            total[label] += 1
            wrong[label] += CLASSES[int(output.argmax())] != label
    found = {label: 100 * wrong[label] / total[label] for label in CLASSES}
    return found | {"all": 100 * sum(wrong.values()) / sum(total.values())}


def tuning_scores(data: Path, which: str, folder: Path, change: dict[str, Any]) -> dict[str, float]:
    """The errors on the 1000 examples for tuning."""
    return {f"valid_{k}": v for k, v in errors(data, folder, None, change).items()}


def main() -> None:
    """Writes one row a class."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    data, out = find_data(args.data), args.out / "splice"
    with Timer() as took:
        found = [errors(data, out / f"seed_{seed}", seed) for seed in args.seeds]
    split = "10-fold CV on 1000 of 2190"
    rows = []
    for label in CLASSES:
        bar = "{} (KBANN), {} (backpropagation)".format(*BARS[label])
        values = [x[label] for x in found]
        rows.append(row(f"UCI splice {label}", split, "error %", values, bar, took, 2))
    write_rows(out / "splice.md", rows)


if __name__ == "__main__":
    main()
