"""Formats in which verbs write: rows become pieces, and pieces become a file.

A format makes one piece (bytes) of the rows of one part, and a file of all pieces in order. Memory
stays that of one piece.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from seqmodel.errors import RunError
from seqmodel.files import writing

Pieces = Callable[[], Iterator[bytes]]


@dataclass
class Rows:
    """What some inputs gave, a row an input.

    Attributes:
        columns: by name, n values each; what a table shows, in its order.
        arrays: by name, [n, ...] each; what .npz and .h5 keep.
        counts: number of rows by status, and of outputs that are not a number.
    """

    columns: Mapping[str, Sequence[Any] | np.ndarray]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


class Format(Protocol):
    """A kind of file."""

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """The bytes that keep these rows; `first` for the part at the beginning."""

    def join(self, pieces: Pieces, out: str) -> None:
        """Writes the file `out` of all pieces, which `pieces()` gives in order, whole.

        Raises:
            RunError: it cannot be written.
        """


class TextFormat:
    """Tables as text; compressed ones are made of one gzip member a part."""

    def __init__(self, separator: str, packed: bool) -> None:
        self.separator, self.packed = separator, packed

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """Lines, after one with the names of the columns if `first`."""
        columns = [self._texts(x) for x in rows.columns.values()]
        lines = [self.separator.join(self._texts(list(rows.columns)))] if first else []
        lines += map(self.separator.join, zip(*columns, strict=True))
        raw = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
        return gzip.compress(raw, 6, mtime=0) if self.packed and raw else raw

    def join(self, pieces: Pieces, out: str) -> None:
        """All lines in one file."""
        with writing(out, RunError) as file:
            for piece in pieces():
                file.write(piece)

    def _texts(self, values: Sequence[Any] | np.ndarray) -> list[str]:
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            # 7 digits give a float32 back but for its last bit, 9 and 17 all of it
            digits = 9 if values.dtype.itemsize == 4 else 17
            return ["" if x != x else f"{x:.{digits}g}" for x in values.tolist()]
        if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
            return list(map(str, values.tolist()))
        texts = ["" if x is None else str(x) for x in values]
        special = ("\n", "\r", '"', self.separator)
        return [self._quoted(x) if any(s in x for s in special) else x for x in texts]

    def _quoted(self, text: str) -> str:
        doubled = text.replace('"', '""')
        return f'"{doubled}"'


class ParquetFormat:
    """Parquet, one row group a part."""

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """The rows as a Parquet file."""
        arrow = _pyarrow()
        buffer = io.BytesIO()
        columns = {k: arrow.array(_plain(v)) for k, v in rows.columns.items()}
        arrow.parquet.write_table(arrow.table(columns), buffer)
        return buffer.getvalue()

    def join(self, pieces: Pieces, out: str) -> None:
        """All row groups in one file."""
        parquet = _pyarrow().parquet
        with writing(out, RunError) as file:
            writer = None
            for piece in pieces():
                table = parquet.read_table(io.BytesIO(piece))
                writer = writer or parquet.ParquetWriter(file, table.schema)
                writer.write_table(table.cast(writer.schema))
            if writer is not None:
                writer.close()


class ArrayFormat:
    """Arrays in .npz or .h5."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """The arrays as .npz."""
        buffer = io.BytesIO()
        np.savez(buffer, **rows.arrays)  # type: ignore[arg-type]  # none is named allow_pickle
        return buffer.getvalue()

    def join(self, pieces: Pieces, out: str) -> None:
        """Each array along its first axis, in one file."""
        shapes: dict[str, tuple[int, ...]] = {}
        dtypes: dict[str, np.dtype] = {}
        for piece in pieces():
            for name, x in _arrays(piece).items():
                before = shapes.get(name, (0, *x.shape[1:]))
                shapes[name] = (before[0] + len(x), *x.shape[1:])
                dtypes[name] = np.promote_types(dtypes.get(name, x.dtype), x.dtype)
        with writing(out, RunError) as file:
            if self.kind == "npz":
                self._npz(pieces, file, shapes, dtypes)
            else:
                self._h5(pieces, file, shapes, dtypes)

    def _npz(self, pieces: Pieces, file: Any, shapes: dict, dtypes: dict) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, shape in shapes.items():
                info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
                with archive.open(info, "w", force_zip64=True) as member:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(dtypes[name]),
                        "fortran_order": False,
                        "shape": shape,
                    }
                    np.lib.format.write_array_header_2_0(member, header)
                    for piece in pieces():
                        part = _arrays(piece)[name].astype(dtypes[name], copy=False)
                        member.write(np.ascontiguousarray(part).tobytes())

    def _h5(self, pieces: Pieces, file: Any, shapes: dict, dtypes: dict) -> None:
        h5py = _h5py()
        with h5py.File(file, "w") as store:
            for name, shape in shapes.items():
                is_text = dtypes[name].kind == "U"
                dtype = h5py.string_dtype() if is_text else dtypes[name]
                dataset = store.create_dataset(name, shape, dtype=dtype, track_times=False)
                at = 0
                for piece in pieces():
                    x = _arrays(piece)[name]
                    dataset[at : at + len(x)] = x.astype(object) if is_text else x
                    at += len(x)


FORMATS: dict[str, Callable[[], Format]] = {
    ".tsv": lambda: TextFormat("\t", packed=False),
    ".tsv.gz": lambda: TextFormat("\t", packed=True),
    ".csv": lambda: TextFormat(",", packed=False),
    ".csv.gz": lambda: TextFormat(",", packed=True),
    ".parquet": ParquetFormat,
    ".npz": lambda: ArrayFormat("npz"),
    ".h5": lambda: ArrayFormat("h5"),
}
"""By suffix; a verb adds its own."""


def format_of(path: str) -> Format:
    """The format that the suffix of `path` names.

    Raises:
        RunError: there is none, or the package that it needs is missing.
    """
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if path.lower().endswith(suffix):
            if suffix == ".parquet":
                _pyarrow()
            if suffix == ".h5":
                _h5py()
            return FORMATS[suffix]()
    raise RunError(f"--out={path}: no format has this suffix; choose one of {', '.join(FORMATS)}")


def _arrays(piece: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(piece)) as archive:
        return dict(archive)


def _plain(values: Sequence[Any] | np.ndarray) -> Any:
    return values if isinstance(values, np.ndarray) else list(values)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as e:
        raise RunError("Parquet needs pyarrow: pip install 'seqmodel[parquet]'") from e
    return pyarrow


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as e:
        raise RunError("HDF5 needs h5py: pip install 'seqmodel[hdf5]'") from e
    return h5py
