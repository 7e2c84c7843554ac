"""Read every cached file of a data set and compare it with its checksums."""

from __future__ import annotations

from seqmodel.dataset.data import Data
from seqmodel.dataset.label.array_cache import MappedArray, check_array
from seqmodel.dataset.seq.store import SequenceStore


def check(data: Data) -> dict[str, int]:
    """Check stores and cached arrays; return the number of compared 1 MiB blocks by path.

    Raises:
        SequenceError: A store is damaged, or its sources have changed since it was built.
        LabelError: A cached array is damaged.
    """
    checked: dict[str, int] = {}
    for reader in data.readers.values():
        codes = reader.codes
        if isinstance(codes, SequenceStore) and codes.path not in checked:
            checked[codes.path] = codes.check()
        for kept in (getattr(codes, "mapped", None), getattr(reader.target, "values", None)):
            if isinstance(kept, MappedArray) and kept.path not in checked:
                checked[kept.path] = check_array(kept.path)
    return checked
