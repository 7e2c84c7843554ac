"""bigWig files: values of whole regions, read with pybigtools or pyBigWig if installed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.label.bigwig_check import check_bigwig
from seqmodel.errors import LabelError
from seqmodel.extras import missing
from seqmodel.files import reading


class BigWig:
    """bigWig file that each process opens itself: a handle is never shared among processes.

    Args:
        path: Path of the file.
        contigs: Contigs of the sequences, with their aliases.

    Attributes:
        least: Minimum of all values in the file; None if the file does not record it.

    Raises:
        LabelError: The file cannot be read, or has other contigs.
    """

    def __init__(self, path: str, contigs: Contigs) -> None:
        self.path = path
        with reading(path, LabelError, "bigWig"):
            self.least = check_bigwig(np.memmap(path, dtype=np.uint8, mode="r"))
        self._file, self._is_pybigtools = _open(path)
        with reading(path, LabelError, "bigWig"), no_panic():
            there = dict(self._file.chroms())
        self._names = {contigs.numbers[x]: x for x in there if x in contigs.numbers}
        if not self._names:
            shown = ", ".join(list(there)[:5])
            raise LabelError(
                f"{path} has the contigs {shown}, but the sequences have "
                f"{', '.join(contigs.names[:5])}; "
                "map equal ones with --contig_aliases"
            )
        for number, name in self._names.items():
            if there[name] != contigs.lengths[number]:
                raise LabelError(
                    f"{path}: contig {name!r} has length {there[name]}, but in the sequences "
                    f"{contigs.lengths[number]}; the assemblies differ"
                )

    def values(self, contig: int, start: int, end: int) -> np.ndarray:
        """Return the values of a region of a contig, float64 [end - start]; 0 where unset.

        Raises:
            LabelError: The values cannot be read, or one is infinite.
        """
        name = self._names.get(contig)
        if name is None or start >= end:  # a contig without data may be missing
            return np.zeros(end - start)
        with reading(self.path, LabelError, "bigWig"), no_panic():
            values = np.asarray(self._read(name, start, end), dtype=np.float64)
        if np.isfinite(values.min()) and np.isfinite(values.max()):  # NaN has neither
            return values
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            raise LabelError(
                f"{self.path}: the value at {name}:{start + infinite[0]} is infinite; correct the "
                "file (bigWigToBedGraph, bedGraphToBigWig)"
            )
        values[np.isnan(values)] = 0
        return values

    def _read(self, name: str, start: int, end: int) -> np.ndarray:
        if not self._is_pybigtools:
            return self._file.values(name, start, end, numpy=True)
        try:
            return self._file.values(name, start, end, fillna=0)
        except TypeError:  # versions before 0.3 have no fillna
            return self._file.values(name, start, end)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def contigs_in(path: str) -> Contigs:
    """Return the contigs of a bigWig file.

    Raises:
        LabelError: The file cannot be read.
    """
    with reading(path, LabelError, "bigWig"):
        check_bigwig(np.memmap(path, dtype=np.uint8, mode="r"))
    file, _ = _open(path)
    with reading(path, LabelError, "bigWig"), no_panic():
        found = dict(file.chroms())
        file.close()
    return Contigs(list(found), list(found.values()))


class _File(Protocol):
    """Methods used of a file opened by pybigtools or pyBigWig."""

    def chroms(self) -> Mapping[str, int]: ...
    def values(self, chrom: str, start: int, end: int, **options: Any) -> np.ndarray: ...
    def close(self) -> None: ...


def _open(path: str) -> tuple[_File, bool]:
    try:
        import pybigtools
    except ImportError:
        pybigtools = None
    try:
        with reading(path, LabelError, "bigWig"), no_panic():
            if pybigtools is not None:
                return pybigtools.open(os.fspath(path)), True
            import pyBigWig

            return pyBigWig.open(os.fspath(path)), False
    except ImportError as e:
        raise LabelError(missing(f"{path}: bigWig", "pybigtools", "tracks")) from e


_holds = False


@contextlib.contextmanager
def no_panic() -> Iterator[None]:
    """Suppress what pybigtools writes to the standard error before it raises.

    A block within another has no effect: many calls are cheaper in one block.
    """
    global _holds
    if _holds:
        yield
        return
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(tempfile.TemporaryFile())
        try:
            before = os.dup(2)
        except OSError:  # standard error is closed
            yield
            return
        os.dup2(held.fileno(), 2)
        _holds = True
        try:
            yield
        finally:
            _holds = False
            os.dup2(before, 2)
            os.close(before)
            held.seek(0)
            text = held.read()
            if text and not any(x in text for x in (b"panicked at", b"Error when opening")):
                os.write(2, text)
