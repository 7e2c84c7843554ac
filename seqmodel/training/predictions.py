"""Write the position, the label and the prediction of each test item for --mode=test.

The file is test_predictions.tsv, or test_predictions.npz if there are more than `MOST` numbers.
For profiles it has log(1 + sum of the counts) of each track. Their bins and positions are left out,
because their labels are as large as the data.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from seqmodel.dataset.batch.sampler import Sampler
from seqmodel.dataset.interval.interval import STRAND_SIGNS
from seqmodel.errors import RunError
from seqmodel.files import writing

NAME = "test_predictions"
MOST = 10_000_000


def write_predictions(
    folder: Path,
    reader: Any,
    item: np.ndarray,
    names: list[str],
    outputs: np.ndarray,
    target: np.ndarray,
) -> Path:
    """Write the predictions in the order of the items and return the path of the file.

    Args:
        folder: Run folder.
        reader: Reader of the test split.
        item: Number of each item in the split, [N].
        names: Names of the targets.
        outputs: Probabilities or predicted numbers, [N, T].
        target: Class numbers, [N], or labels or numbers, [N, T]; NaN means unknown.

    Raises:
        RunError: The file cannot be written.
    """
    order = np.argsort(item, kind="stable")
    columns: dict[str, Any] = {"row": item[order], **_where(reader, item[order])}
    target, outputs = target[order], outputs[order]
    if outputs.size > MOST:
        path = folder / f"{NAME}.npz"
        arrays = {name: np.array(x) for name, x in columns.items()}
        arrays |= {"targets": np.array(names), "truth": target, "predictions": outputs}
        with writing(path, RunError) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
        return path
    if target.ndim == 1:
        columns["truth"] = [names[i] for i in target.tolist()]
        columns |= {name: _texts(outputs[:, i]) for i, name in enumerate(names)}
    else:
        for i, name in enumerate(names):
            columns |= {f"{name}_truth": _texts(target[:, i]), name: _texts(outputs[:, i])}
    path = folder / f"{NAME}.tsv"
    with writing(path, RunError) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        table = csv.writer(text, delimiter="\t", lineterminator="\n")
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))
        text.detach()  # flushes; `writing` closes the file
    return path


def scored_items(n: int, batch_size: int, n_batches: int, world_size: int) -> np.ndarray:
    """Return the numbers of the scored items in the order of gathered outputs, int64 [N]."""
    found = []
    for rank in range(world_size):
        sampler = Sampler(n, batch_size, train=False, rank=rank, world_size=world_size)
        end = int(sampler.bounds(np.array(min(n_batches, len(sampler)))))
        found.append(sampler.samples(0, end).item)
    return np.concatenate(found)


def _where(reader: Any, item: np.ndarray) -> dict[str, Any]:
    """Return the names or intervals of items."""
    chosen = reader.intervals.select(item)
    names = chosen.contigs.names or list(getattr(reader.codes, "names", []))
    if not names:
        return {}
    contigs = [names[i] for i in chosen.contig.tolist()]
    if reader.left_aligned:
        return {"name": contigs}
    return {
        "contig": contigs,
        "start": chosen.start,
        "end": chosen.end,
        "strand": [STRAND_SIGNS[x] for x in chosen.strand.tolist()],
    }


def _texts(values: np.ndarray) -> list[str]:
    return ["" if x != x else f"{x:.9g}" for x in values.tolist()]
