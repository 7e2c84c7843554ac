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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from row import (
    add_arguments,
    find_data,
    new_folder,
    predictions,
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


def run_folds(
    folder: Path,
    folds: list[list[tuple[str, str]]],
    hparams: dict[str, Any],
) -> None:
    """Trains on all folds but one, tests on that one, and so with each."""
    for i, held_out in enumerate(folds):
        header = ("label", "sequence")
        files = [
            write_csv(folder / f"fold_{i}_{name}.csv", header, rows)
            for name, rows in (("rest", rest_of(folds, i)), ("test", held_out))
        ]
        run = new_folder(folder / f"fold_{i}")
        given = hparams | {"train_files": files[:1]}
        train(given, run)
        last = run / "checkpoints" / "last.ckpt"
        test(given | {"test_files": files[1:]}, last, folder / f"fold_{i}_test")


def rest_of(folds: list[list[tuple[str, str]]], i: int) -> list[tuple[str, str]]:
    """The examples of all folds but one."""
    return [x for j, fold in enumerate(folds) if j != i for x in fold]


def errors(folder: Path, folds: list[list[tuple[str, str]]]) -> dict[str, float]:
    """Error % of each class over all folds, and of all examples."""
    wrong = dict.fromkeys(CLASSES, 0)
    total = dict.fromkeys(CLASSES, 0)
    for i, held_out in enumerate(folds):
        outputs = predictions(folder / f"fold_{i}_test").outputs
        for (label, _), output in zip(held_out, outputs, strict=True):
            total[label] += 1
            wrong[label] += CLASSES[int(output.argmax())] != label
    found = {label: 100 * wrong[label] / total[label] for label in CLASSES}
    return found | {"all": 100 * sum(wrong.values()) / sum(total.values())}


def tuning_scores(data: Path, which: str, folder: Path, change: dict[str, Any]) -> dict[str, float]:
    """The errors on the 1000 examples for tuning."""
    folds = draw(data, None)
    hparams = HPARAMS | {"seed": 0} | change
    run_folds(folder, folds, {k: v for k, v in hparams.items() if v is not None})
    return {f"valid_{k}": v for k, v in errors(folder, folds).items()}


def evidence_of(seeds: Sequence[tuple[Path, list[list[tuple[str, str]]]]]) -> Any:
    """The evidence of the folds of all seeds; `truth` is class + 3 times the number of the seed."""
    from evidence import join, of_rows

    from seqmodel.trust.audit import components_of
    from seqmodel.trust.rows import Rows, rows_of_tables

    def table(rows: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
        return {"label": [x for x, _ in rows], "sequence": [x for _, x in rows]}

    parts, all_rows = [], []
    for number, (folder, folds) in enumerate(seeds):
        for i, held_out in enumerate(folds):
            tables = {"train": table(rest_of(folds, i)), "test": table(held_out)}
            rows = rows_of_tables(tables, label_kind="class", class_names=CLASSES)
            outputs = predictions(folder / f"fold_{i}_test").outputs[..., None]
            part = of_rows(rows["train"], rows["test"], outputs)
            parts.append(part._replace(truth=part.truth + len(CLASSES) * number))
            all_rows += held_out
    return join(parts, components_of(Rows.of_table(table(all_rows))))


def main() -> None:
    """Writes one row a class."""
    from evidence import best, error_of

    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    args = parser.parse_args()
    data, out = find_data(args.data), args.out / "splice"
    seeds = [(out / f"seed_{seed}", draw(data, seed)) for seed in args.seeds]
    for seed, (folder, folds) in zip(args.seeds, seeds, strict=True):
        if not args.trained:
            run_folds(folder, folds, HPARAMS | {"seed": seed, "accelerator": args.accelerator})
    found, values = evidence_of(seeds), [errors(*x) for x in seeds]
    # of all classes: what says always N makes no error on N
    first = best(found.baselines(error_of(None, len(CLASSES))), low_is_good=True)
    split = "10-fold CV on 1000 of 2190"
    rows = []
    for i, label in enumerate(CLASSES):
        bar = "{} (KBANN), {} (backpropagation)".format(*BARS[label])
        metric, each = error_of(i, len(CLASSES)), [x[label] for x in values]
        name = f"UCI splice {label}"
        rows.append(row(name, split, "error %", metric, found, bar, 1, 2, each, first))
    write_rows(out / "splice.md", rows)


if __name__ == "__main__":
    main()
