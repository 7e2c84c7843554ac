"""Reads all that is kept for a set of data and compares it with its checksums."""

from __future__ import annotations

from seqmodel.dataset.data import Data
from seqmodel.dataset.label.array_cache import MappedArray, check_array
from seqmodel.dataset.seq.store import SequenceStore


def check(data: Data) -> dict[str, int]:
    """Checks stores and cached arrays; by path, the number of blocks of 1 MiB that were compared.

    Raises:
        SequenceError: a store is damaged, or its sources are not what was read.
        LabelError: a cached array is damaged.
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
