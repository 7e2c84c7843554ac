"""bigWig files: values of whole stretches, through pybigtools or pyBigWig, whichever is there."""

from __future__ import annotations

import os

import numpy as np

from seqmodel.dataset.interval import Contigs
from seqmodel.errors import LabelError
from seqmodel.files import reading


class BigWig:
    """One bigWig file, opened where it is used: a handle is never shared with another process.

    Args:
        path: the file.
        contigs: contigs of the sequences, with their aliases.

    Raises:
        LabelError: it cannot be read, or has other contigs.
    """

    def __init__(self, path: str, contigs: Contigs) -> None:
        self.path = path
        self._file, self._is_pybigtools = _open(path)
        with reading(path, LabelError, "bigWig"):
            there = dict(self._file.chroms())
        self._names = {contigs.numbers[x]: x for x in there if x in contigs.numbers}
        if not self._names:
            shown = ", ".join(list(there)[:5])
            raise LabelError(
                f"{path}: has contigs {shown}, the sequences have {', '.join(contigs.names[:5])}; "
                "--contig_aliases can tell which are the same"
            )
        for number, name in self._names.items():
            if there[name] != contigs.lengths[number]:
                raise LabelError(
                    f"{path}: contig {name!r} has {there[name]} letters, in the sequences "
                    f"{contigs.lengths[number]}; they are of different assemblies"
                )

    def values(self, contig: int, start: int, end: int) -> np.ndarray:
        """Values of a stretch of a contig, float64 [end - start]; 0 where there are none."""
        name = self._names.get(contig)
        if name is None or start >= end:  # a contig without data may be missing
            return np.zeros(end - start)
        with reading(self.path, LabelError, "bigWig"):
            return np.nan_to_num(np.asarray(self._read(name, start, end), dtype=np.float64))

    def _read(self, name: str, start: int, end: int) -> np.ndarray:
        if not self._is_pybigtools:
            return self._file.values(name, start, end, numpy=True)
        try:
            return self._file.values(name, start, end, fillna=0)
        except TypeError:  # before 0.3 there was no fillna
            return self._file.values(name, start, end)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _open(path: str) -> tuple[object, bool]:
    try:
        import pybigtools
    except ImportError:
        pybigtools = None
    try:
        with reading(path, LabelError, "bigWig"):
            if pybigtools is not None:
                return pybigtools.open(os.fspath(path)), True
            import pyBigWig

            return pyBigWig.open(os.fspath(path)), False
    except ImportError as e:
        raise LabelError(f"{path}: bigWig files need pybigtools; pip install pybigtools") from e
