"""From hyperparameters to the data of a run, and what a checkpoint keeps of them."""

from __future__ import annotations

import numpy as np

from seqmodel.dataset.data import Data
from seqmodel.hparam.resolve import Run
from seqmodel.hparam.target import resolve_target


def build_data(run: Run) -> Data:
    """The data of `run`.

    Raises:
        SeqmodelError: they cannot be read as the hyperparameters say.
    """
    cls: type[Data] = resolve_target(run.classes["dataset"].target)
    return cls(run.hparams("dataset"), cache_dir=run.values.cache_dir)


def training_contigs(data: Data) -> dict[str, list[int]]:
    """The contigs, or records, of FASTA files that have training windows; others have none.

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
