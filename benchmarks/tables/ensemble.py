"""Tables again, with the mean over several networks that differ in their seed alone.

    python benchmarks/tables/ensemble.py [gue:tf/0 gb1:low_vs_high yeast:] [--members 5] [--dev]

Each of the seeds of the table starts that many networks, seed, seed + 1000, ...; what they predict
is averaged (of classes the probabilities) and scored as one. Settings are those of the table of one
network. With --dev nothing of the test is read: the scores on dev, of the mean over the networks
one by one as they come. A network that was trained before by this program with the same settings is
used again; so seeds can be trained side by side, and a last call for all of them writes the rows.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from row import (
    Timer,
    add_arguments,
    find_data,
    new_folder,
    predict,
    predictions,
    test,
    train,
    write_rows,
)

TABLES = ("gue:tf/0", "gb1:low_vs_high", "yeast:")
MEMBER_STEP = 1000


def members(
    hparams: Mapping[str, Any], folder: Path, seed: int, n: int, took: Timer | None = None
) -> list[Path]:
    """Checkpoints of the networks of a seed: of the best epoch, or the last if there is no dev.

    What their training took, now or then, is added to `took`.
    """
    found = []
    for k in range(n):
        given = {**hparams, "seed": seed + MEMBER_STEP * k}
        run = folder / f"member_{given['seed']}"
        trained = run / "trained.json"
        if not trained.exists() or json.loads(trained.read_text())["hparams"] != given:
            with Timer() as now:
                train(given, new_folder(run))
            record = {"hparams": given, "wall": now.wall, "cpu": now.cpu}
            trained.write_text(json.dumps(record) + "\n")
        if took is not None:
            record = json.loads(trained.read_text())
            took.wall, took.cpu = took.wall + record["wall"], took.cpu + record["cpu"]
        best = run / "checkpoints" / "best.ckpt"
        found.append(best if best.exists() else run / "checkpoints" / "last.ckpt")
    return found


def score(predictions: Sequence[Any], truth: Any) -> dict[str, float]:
    """Test metrics of the mean over `predictions`, probabilities or numbers [N, T] each."""
    import numpy as np

    from seqmodel.trust.short import score as score_of

    mean = np.mean(np.stack(list(predictions)), axis=0)
    names = ("mcc", "auroc") if truth.ndim == 1 else ("pearson", "spearman")
    return {name: score_of(name, truth, mean) for name in names}


def main() -> None:
    """Writes a row for each table, or prints the scores on dev."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", default=list(TABLES), help="script:set")
    parser.add_argument("--members", type=int, default=5, help="networks for each seed")
    parser.add_argument("--dev", action="store_true", help="score on dev, read no test")
    add_arguments(parser)
    args = parser.parse_args()
    data = find_data(args.data)
    for table in args.tables:
        script, _, which = table.partition(":")
        folder = args.out / "ensemble" / table.replace("/", "_").replace(":", "_")
        module = importlib.import_module(script)
        if args.dev:
            _dev(module, data, which, folder / "dev", args)
        else:
            write_rows(folder / "rows.md", _rows(module, data, which, folder, args))


def _dev(module: Any, data: Path, which: str, folder: Path, args: argparse.Namespace) -> None:
    hparams = module.dev_hparams(data, which, folder / "data")
    for seed in args.seeds:
        predictions: list[Any] = []
        for checkpoint in members(hparams, folder, seed, args.members):
            outputs, targets = predict(hparams, checkpoint, "valid")
            if hparams["task"] == "classify":
                outputs = outputs.softmax(1)
            predictions.append(outputs.double().numpy())
            one, mean = (score(x, targets.numpy()) for x in ([predictions[-1]], predictions))
            print(seed, len(predictions), "alone", _told(one), "mean", _told(mean), flush=True)


def _told(scores: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.4f}" for name, value in scores.items())


def _rows(module: Any, data: Path, which: str, folder: Path, args: argparse.Namespace) -> list[str]:
    import numpy as np

    hparams, tests = module.tests(data, which, folder / "data")
    hparams |= {"accelerator": args.accelerator}
    outputs: list[list[Any]] = [[] for _ in tests]
    truth: list[Any] = [None] * len(tests)
    for seed in args.seeds:
        checkpoints = [] if args.trained else members(hparams, folder, seed, args.members)
        names = [f"member_{seed + MEMBER_STEP * k}" for k in range(args.members)]
        for i, one in enumerate(tests):
            for name, checkpoint in zip(names, checkpoints, strict=False):
                test(one.hparams, checkpoint, folder / f"{name}_test_{i}")
            found = [predictions(folder / f"{name}_test_{i}") for name in names]
            outputs[i].append(np.mean([x.outputs for x in found], axis=0))
            truth[i] = found[0].truth
    return [one.row(x, y, args.members) for one, x, y in zip(tests, outputs, truth, strict=True)]


if __name__ == "__main__":
    main()
