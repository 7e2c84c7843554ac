"""Tries settings on a table's dev split and writes what came out; the test split is not read.

    python benchmarks/tables/tune.py gue:tf/4 settings.jsonl [--data DIR]

Each line of `settings.jsonl` is a JSON object of hyperparameters that change the table's own
(`HPARAMS` in gue.py and so on), with a "name"; one line of tried.tsv in the output folder tells the
name, the setting, the seconds and the dev scores of the best epoch.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from row import Timer, add_arguments, find_data, new_folder, train


def main() -> None:
    """Tries the settings one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="script:set, as gue:tf/4, gb1:low_vs_high, yeast:, splice:")
    parser.add_argument("settings", type=Path, help="JSON lines; names already tried are skipped")
    add_arguments(parser)
    args = parser.parse_args()
    script, _, which = args.table.partition(":")
    table = importlib.import_module(script)
    data = find_data(args.data)
    folder = args.out / "tune" / args.table.replace("/", "_").replace(":", "_")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "tried.tsv"
    done = {x.split("\t")[0] for x in log.read_text().splitlines()} if log.exists() else set()
    for line in filter(None, map(str.strip, args.settings.read_text().splitlines())):
        change = json.loads(line)
        name = change.pop("name")
        if name in done:
            continue
        with Timer() as took:
            scores = _try(table, data, which, folder, name, change)
        told = {k: round(v, 4) for k, v in scores.items() if k.startswith("valid_")}
        row = [name, f"{took.wall:.0f}", f"{took.cpu:.0f}", json.dumps(told), json.dumps(change)]
        with log.open("a") as f:
            f.write("\t".join(row) + "\n")
        print(*row[:4], flush=True)


def _try(
    table: Any, data: Path, which: str, folder: Path, name: str, change: dict[str, Any]
) -> dict[str, float]:
    if hasattr(table, "tuning_scores"):  # not one training: cross-validation
        return table.tuning_scores(data, which, folder / name, change)
    hparams = table.dev_hparams(data, which, folder / "data") | change
    hparams = {k: v for k, v in hparams.items() if v is not None}  # null: leave it out
    return train(hparams, new_folder(folder / name))


if __name__ == "__main__":
    main()
