"""Output formats of the verbs: rows become pieces, and pieces become a file.

A format turns the rows of one part into one piece (bytes), and all pieces in order into a file.
Memory is that of one piece.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from seqmodel.errors import RunError
from seqmodel.extras import optional
from seqmodel.files import writing
from seqmodel.infer.arrays import AnnDataFormat, ArrayFormat, Pieces, arrays_of, h5py_module
from seqmodel.infer.named import LinesFormat, OneArrayFormat, SummaryFormat
from seqmodel.infer.vcf_out import VcfFormat


class Track(NamedTuple):
    """Values along stretches of contigs; overlapping stretches are averaged."""

    names: Sequence[str]
    """Names of all contigs, in their order."""
    sizes: np.ndarray
    """Their lengths, int64."""
    contig: np.ndarray
    """Number of the contig of each stretch, int64 [n]."""
    start: np.ndarray
    end: np.ndarray
    value: np.ndarray
    """float32 [n]; NaN for no value."""


@dataclass
class Rows:
    """Results for some inputs, one row for each input.

    Attributes:
        columns: Columns of a table by name, in order, n values each.
        arrays: Arrays for .npz and .h5 by name, [n, ...] each.
        counts: Number of rows by status, and number of NaN outputs.
        constants: Arrays that belong to all rows, by name; .npz and .h5 keep them once.
        sizes: Number of entries of each row in a ragged array, int64 [n], by the name under which
            .npz and .h5 keep the offsets, [n + 1]: row i has entries offsets[i:i + 2].
        tracks: Values along contigs, by the name of the output file.
        vcf: Header and records of VCF, for rows that are variants.
        lines: Text, by the name of the output file.
        summary: Values written once for all rows; see SummaryFormat.
    """

    columns: Mapping[str, Sequence[object] | np.ndarray]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    tracks: Mapping[str, Track] = field(default_factory=dict)
    vcf: tuple[bytes, bytes] | None = None
    sizes: Mapping[str, np.ndarray] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


class Format(Protocol):
    """A file format; `name` is the name of the file."""

    name: str

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """Return these rows as bytes; `first` marks the first part."""

    def join(self, pieces: Pieces, out: str) -> None:
        """Write the whole file `out` from all pieces, which `pieces()` yields in order.

        Raises:
            RunError: The file cannot be written.
        """


_TEXT_ROWS = 2048


class TextFormat:
    """Tables as text; compressed files have one gzip member for each part."""

    name = ""

    def __init__(self, separator: str, packed: bool) -> None:
        self.separator, self.packed = separator, packed

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """Return the lines; `first` adds the line of column names."""
        head = [self._lines([[x] for x in rows.columns])] if first else []
        # rows take ten times their memory as text
        starts = range(0, len(rows), _TEXT_ROWS)
        parts = ([x[i : i + _TEXT_ROWS] for x in rows.columns.values()] for i in starts)
        raw = b"".join([*head, *map(self._lines, parts)])
        return gzip.compress(raw, 6, mtime=0) if self.packed and raw else raw

    def join(self, pieces: Pieces, out: str) -> None:
        """Write all lines into one file."""
        with writing(out, RunError) as file:
            for piece in pieces():
                file.write(piece)

    def _lines(self, columns: Sequence[Sequence[object] | np.ndarray]) -> bytes:
        texts = zip(*map(self._texts, columns), strict=True)
        lines = "".join(f"{self.separator.join(x)}\n" for x in texts)
        return lines.encode("utf-8", "surrogateescape")

    def _texts(self, values: Sequence[object] | np.ndarray) -> list[str]:
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            # 7 digits restore a float32 except its last bit; 9 and 17 restore it exactly
            digits = 9 if values.dtype.itemsize == 4 else 17
            return ["" if x != x else f"{x:.{digits}g}" for x in values.tolist()]
        if isinstance(values, np.ndarray) and values.dtype.kind in "iub":
            return list(map(str, values.tolist()))
        texts = ["" if x is None else str(x) for x in values]
        special = ("\n", "\r", '"', self.separator)
        together = "".join(texts)  # usually none has one: one look is enough
        if not any(s in together for s in special):
            return texts
        return [self._quoted(x) if any(s in x for s in special) else x for x in texts]

    def _quoted(self, text: str) -> str:
        doubled = text.replace('"', '""')
        return f'"{doubled}"'


class ParquetFormat:
    """Parquet with one row group for each part."""

    name = ""

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """Return the rows as a Parquet file."""
        arrow = _pyarrow()
        buffer = io.BytesIO()
        columns = {k: _column(v) for k, v in rows.columns.items()}
        arrow.parquet.write_table(arrow.table(columns), buffer)
        return buffer.getvalue()

    def join(self, pieces: Pieces, out: str) -> None:
        """Write all row groups into one file."""
        parquet = _pyarrow().parquet
        with writing(out, RunError) as file:
            writer = None
            for piece in pieces():
                table = parquet.read_table(io.BytesIO(piece))
                writer = writer or parquet.ParquetWriter(file, table.schema)
                writer.write_table(table.cast(writer.schema))
            if writer is not None:
                writer.close()


HELD = 20_000_000
"""Stretches of tracks that are held in memory at once when parts are joined."""


class TrackFormat:
    """bigWig or bedGraph: sorted values along contigs, averaged where stretches overlap.

    Memory is that of the stretches of one contig, or of all contigs up to `HELD` stretches.
    """

    name = ""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def piece(self, rows: Rows, *, first: bool) -> bytes:
        """Return the stretches as .npz; the first piece has the names and sizes of contigs."""
        track = rows.tracks[self.name]
        keep = ~np.isnan(track.value) & (track.end > track.start)
        arrays = {x: getattr(track, x)[keep] for x in ("contig", "start", "end", "value")}
        if first:
            arrays |= {"names": np.array(track.names, dtype=str), "sizes": track.sizes}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def join(self, pieces: Pieces, out: str) -> None:
        """Write all stretches into one file."""
        if self.kind == "bw":
            self._bigwig(pieces, out)
            return
        with (
            writing(out, RunError) as file,
            gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed,
        ):
            for name, start, end, value in self._stretches(pieces):
                packed.write(f"{name}\t{start}\t{end}\t{value:.9g}\n".encode())

    def _bigwig(self, pieces: Pieces, out: str) -> None:
        first = arrays_of(next(pieces()))
        # names are needed to leave out contigs without values; readers need at least one contig
        sizes = dict(zip(first["names"].tolist(), first["sizes"].tolist(), strict=True))
        stretches = self._stretches(pieces)
        begin = next(stretches, None)
        if begin is None:
            raise RunError(f"{out}: no window has a value; a bigWig file needs at least one")
        aside = f"{out}.new.bw"  # if killed here, the next join replaces it
        try:
            # this closes the file
            _pybigtools().open(aside, "w").write(sizes, itertools.chain([begin], stretches))
            os.replace(aside, out)
        except (OSError, RuntimeError, ValueError) as e:
            raise RunError(f"cannot write {out}: {e}; nothing was changed") from e
        finally:
            with suppress(OSError):
                os.unlink(aside)

    def _stretches(self, pieces: Pieces) -> Iterator[tuple[str, int, int, float]]:
        """Yield (contig, start, end, mean), sorted by contig name, then by start."""
        names = arrays_of(next(pieces()))["names"].tolist()
        used: set[int] = set()
        n = 0
        for piece in pieces():
            numbers = arrays_of(piece)["contig"]
            used.update(np.unique(numbers).tolist())
            n += len(numbers)
        held = list(map(arrays_of, pieces())) if n <= HELD else None  # read again for each contig
        for number in sorted(used, key=lambda i: names[i]):
            found = [self._on(x, number) for x in held or map(arrays_of, pieces())]
            start, end, value = (np.concatenate(x) for x in zip(*found, strict=True))
            for at, to, mean in zip(*means(start, end, value), strict=True):
                yield names[number], at, to, mean

    def _on(self, arrays: Mapping[str, np.ndarray], number: int) -> list[np.ndarray]:
        here = arrays["contig"] == number
        return [arrays[x][here] for x in ("start", "end", "value")]


def means(
    start: np.ndarray, end: np.ndarray, value: np.ndarray
) -> tuple[list[int], list[int], list[float]]:
    """Return sorted stretches without overlap: start, end, and the mean of the given values."""
    order = np.argsort(start, kind="stable")
    start, end, value = start[order], end[order], value[order].astype(np.float64)
    if len(start) < 2 or (end[:-1] <= start[1:]).all():
        return start.tolist(), end.tolist(), value.tolist()
    edges = np.unique(np.concatenate((start, end)))
    first, last = np.searchsorted(edges, start), np.searchsorted(edges, end)
    n = last - first
    # repeat each stretch for each piece between two edges that it covers
    where = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n) + np.repeat(first, n)
    counts = np.bincount(where, minlength=len(edges) - 1)
    sums = np.bincount(where, np.repeat(value, n), minlength=len(edges) - 1)
    there = np.flatnonzero(counts)
    found = sums[there] / counts[there]
    return edges[there].tolist(), edges[there + 1].tolist(), found.tolist()


FORMATS: dict[str, Callable[[], Format]] = {
    ".tsv": lambda: TextFormat("\t", packed=False),
    ".tsv.gz": lambda: TextFormat("\t", packed=True),
    ".csv": lambda: TextFormat(",", packed=False),
    ".csv.gz": lambda: TextFormat(",", packed=True),
    ".parquet": ParquetFormat,
    ".npz": lambda: ArrayFormat("npz"),
    ".h5": lambda: ArrayFormat("h5"),
    ".h5ad": AnnDataFormat,
    ".ohe.npz": OneArrayFormat,
    ".hypothetical.npz": OneArrayFormat,
    ".attribute.json": SummaryFormat,
    ".bed": lambda: LinesFormat(packed=False),
    ".effects.tsv.gz": lambda: LinesFormat(packed=True),
    ".bw": lambda: TrackFormat("bw"),
    ".bedgraph.gz": lambda: TrackFormat("bedgraph"),
    ".vcf": lambda: VcfFormat("vcf"),
    ".vcf.gz": lambda: VcfFormat("vcf.gz"),
    ".bcf": lambda: VcfFormat("bcf"),
}
"""By suffix; a verb adds its own."""
ARRAYS = (".npz", ".h5", ".h5ad")


def format_of(path: str) -> Format:
    """Return the format for the suffix of `path`.

    Raises:
        RunError: The suffix is unknown, or its package is not installed.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        _pyarrow()
    if suffix in (".h5", ".h5ad"):
        h5py_module()
    if suffix == ".bw":
        _pybigtools()
    made = FORMATS[suffix]()
    made.name = os.path.basename(path)
    return made


def suffix_of(path: str) -> str:
    """Return the suffix of `path` that names a format, in lower case.

    Raises:
        RunError: The suffix is unknown.
    """
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if path.lower().endswith(suffix):
            return suffix
    raise RunError(f"--out={path}: unknown suffix; choose one of {', '.join(FORMATS)}")


def _column(values: Sequence[Any] | np.ndarray) -> Any:
    """Return a Parquet column; several numbers per row become lists of a fixed length."""
    arrow = _pyarrow()
    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return arrow.array(values if isinstance(values, np.ndarray) else list(values))


def _pyarrow() -> Any:
    optional("pyarrow.parquet", "Parquet", "parquet", RunError)
    return optional("pyarrow", "Parquet", "parquet", RunError)


def _pybigtools() -> Any:
    return optional("pybigtools", "bigWig", "tracks", RunError)
