"""Build the data of a run from hyperparameters, and summarize them for a checkpoint."""

from __future__ import annotations

import numpy as np

from seqmodel.dataset.data import Data
from seqmodel.dataset.seq.digests import MOST_ROWS, digests
from seqmodel.hparam.resolve import Run
from seqmodel.hparam.target import resolve_target


def build_data(run: Run) -> Data:
    """Build the data of `run`.

    Raises:
        SeqmodelError: The data cannot be read with these hyperparameters.
    """
    cls: type[Data] = resolve_target(run.classes["dataset"].target)
    return cls(run.hparams("dataset"), cache_dir=run.values.cache_dir)


def training_contigs(data: Data) -> dict[str, list[int]]:
    """Return the contigs or records of FASTA files that have training windows; else none.

    Returns:
        By name: length of the contig, number of windows, start of the first and end of the last
        window, without augmentation; contigs with many windows come first.
    """
    reader, store = data.readers.get("train"), data.store
    if reader is None or store is None or reader.codes is not store:
        return {}
    x = reader.intervals
    n = np.bincount(x.contig, minlength=len(store.names))
    start, end = store.lengths.astype(np.int64), np.zeros(len(n), dtype=np.int64)
    np.minimum.at(start, x.contig, x.start)
    np.maximum.at(end, x.contig, x.end)
    start, end = np.maximum(start, 0), np.minimum(end, store.lengths)
    used = [i for i in np.argsort(-n, kind="stable").tolist() if n[i]]
    return {
        store.names[i]: [int(store.lengths[i]), int(n[i]), int(start[i]), int(end[i])] for i in used
    }


def joined_contigs(one: dict[str, list[int]], other: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the contigs that either model was trained on; if lengths differ, `one` decides."""
    found = dict(one)
    for name, x in other.items():
        y = found.get(name, x)
        if x[0] == y[0]:
            found[name] = [x[0], max(x[1], y[1]), min(x[2], y[2]), max(x[3], y[3])]
    return found


def training_rows(data: Data) -> np.ndarray | None:
    """Return digests of training items that are whole sequences: table rows, records, arrays.

    Returns:
        Distinct digests, int64, sorted; None without such items or with more than `MOST_ROWS`.
    """
    reader = data.readers.get("train")
    if reader is None or not 0 < len(reader) <= MOST_ROWS:
        return None
    x, codes = reader.intervals, reader.codes
    if x.start.any() or (x.length != codes.lengths[x.contig]).any():
        return None
    begin = codes.offsets[x.contig]
    bounds = zip(begin.tolist(), (begin + x.length).tolist(), strict=True)
    return np.unique(digests((codes.data[i:j] for i, j in bounds), data.alphabet))


def joined_rows(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    """Return the digests that are in either array; None counts as empty."""
    known = [x for x in (one, other) if x is not None]
    return np.unique(np.concatenate(known)) if known else None
