"""Inputs of a model: read files as chunks of windows, in constant memory.

    Records      whole records of FASTA files
    Table        rows of a CSV, TSV or Parquet file with a column of sequences
    IntervalsOf  intervals of FASTA files
    Tiles        windows over whole contigs

Row i is always input i. An input that the model cannot read has no window; `status` says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seqmodel.dataset.batch.window import Codes
from seqmodel.dataset.interval.interval import STRAND_SIGNS, Contigs
from seqmodel.dataset.interval.stream import IntervalLines, Line
from seqmodel.dataset.label.table import (
    CodeArray,
    blocks,
    column_in,
    header_of,
    is_parquet,
    stream,
)
from seqmodel.dataset.seq.alphabet import BAD, Alphabet
from seqmodel.dataset.seq.fasta import SPACE, Header
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.seq.store_build import reader_for
from seqmodel.errors import IntervalError, LabelError, SequenceError

STATUSES = ("ok", "padded", "cut", "outside", "too_short", "bad_letter")
OK, PADDED, CUT, OUTSIDE, TOO_SHORT, BAD_LETTER = range(len(STATUSES))
_MOST_LETTERS = 1 << 26  # characters in the texts of one chunk


class Places(NamedTuple):
    """Intervals on contigs, one for each row, along which tracks are written."""

    contig: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass
class Chunk:
    """Some inputs and the windows in which the model reads them.

    Attributes:
        columns: Columns of the output, by name, n values each.
        kept: Columns of the input file that are copied to the output.
        status: Index in STATUSES, uint8 [n].
        codes: Sequences.
        row: Input of each window, ascending, int64 [m].
        contig: Sequence of each window in `codes`, int64 [m].
        start: Start of each window there, may be < 0, int64 [m].
        flip: Whether a window is read as reverse complement, bool [m].
        places: Places of the inputs on contigs, if they have any.
    """

    columns: dict[str, Any]
    status: np.ndarray
    codes: Codes
    row: np.ndarray
    contig: np.ndarray
    start: np.ndarray
    flip: np.ndarray
    kept: dict[str, Any] = field(default_factory=dict)
    places: Places | None = None

    def __len__(self) -> int:
        return len(self.status)


@dataclass(frozen=True)
class Reading:
    """How inputs become windows.

    Attributes:
        alphabet: Alphabet of the model.
        length: Length of a window, L.
        too_long: How to handle a longer sequence: None (refuse it), "center", "tile_mean" or
            "tile_max".
        chunk_rows: Number of inputs in a chunk.
    """

    alphabet: Alphabet
    length: int
    too_long: str | None = None
    chunk_rows: int = 8192

    @property
    def tiles(self) -> bool:
        """Whether a sequence that is too long is split into several windows."""
        return self.too_long is not None and self.too_long.startswith("tile")


class Texts(NamedTuple):
    """Sequences as text: their names, their bytes, and copied columns."""

    wheres: list[str]
    names: list[str]
    raw: list[bytes]
    kept: list[list[str]]


class Records:
    """Whole records of FASTA or 2bit files."""

    def __init__(self, paths: Sequence[str], how: Reading) -> None:
        self.paths, self.how, self.n_rows = list(paths), how, None

    def chunks(self) -> Iterator[Chunk]:
        """Yield the records in the order of the files."""
        return _text_chunks(self._records(), self.how, {"name": 1}, [])

    def _records(self) -> Iterator[tuple[str, str, bytes, list[str]]]:
        for path in self.paths:
            if not os.path.getsize(path):
                continue
            name, line = "", 0
            parts: list[bytes] = []
            for event in reader_for(path, None):
                if isinstance(event, Header):
                    if line:
                        yield self._record(path, name, line, parts)
                    name, line, parts = event.name, event.line, []
                else:
                    parts.append(event.raw)
            if line:
                yield self._record(path, name, line, parts)

    def _record(
        self, path: str, name: str, line: int, parts: list[bytes]
    ) -> tuple[str, str, bytes, list[str]]:
        return f"{path} line {line} ({name})", name, b"".join(parts).translate(None, SPACE), []


class Table:
    """Rows of a CSV, TSV or Parquet file.

    Args:
        path: Path of the file.
        how: How rows become windows.
        column: Column of sequences, by name, or by number from 1 if the file has no header.
        keep: Other columns to copy to the output; "all" for all of them.
        quotes: Meaning of double quotes; see `--quotes`.
    """

    def __init__(
        self, path: str, how: Reading, column: str, keep: Sequence[str] = (), quotes: str = "auto"
    ) -> None:
        self.path, self.how, self.column, self.quotes = path, how, column, quotes
        self.n_rows = None
        self._header = self._names()
        self._at = column_in(path, column, self._header)
        if list(keep) == ["all"]:
            keep = [x for i, x in enumerate(self._header) if i != self._at]
        self._keep = {x: column_in(path, x, self._header) for x in keep}

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows in order."""
        return _text_chunks(self._rows(), self.how, {}, list(self._keep))

    def _names(self) -> list[str]:
        is_named = is_parquet(self.path) or not self.column.isdigit()
        return header_of(self.path, self.quotes) if is_named else []

    def _rows(self) -> Iterator[tuple[str, str, bytes, list[str]]]:
        at, keep = self._at, list(self._keep.values())
        if is_parquet(self.path):
            yield from self._parquet_rows(at, keep)
            return
        width = len(self._header)
        rows = stream(self.path, self.quotes)
        if self._header:
            next(rows, None)
        for line, fields in rows:
            width = width or len(fields)
            if len(fields) != width or at >= width:
                raise LabelError(
                    f"{self.path} line {line}: {len(fields)} columns, but the first has {width}; "
                    "is the file truncated, or does a field contain a separator?"
                )
            text = fields[at].strip().encode("utf-8", "surrogateescape")
            yield f"{self.path} line {line}", "", text, [fields[i] for i in keep]

    def _parquet_rows(
        self, at: int, keep: list[int]
    ) -> Iterator[tuple[str, str, bytes, list[str]]]:
        names = [self._header[i] for i in (at, *keep)]
        for rows in blocks([self.path], names, named=True):
            for i, (text, *kept) in enumerate(zip(*rows.columns, strict=True)):
                yield rows.where(i), "", text.strip().encode(), kept


class IntervalsOf:
    """Intervals of FASTA files.

    Args:
        store: Sequences.
        contigs: Contigs of the sequences, with their aliases.
        lines: Intervals.
        how: How intervals become windows.
        anchor: Base of an interval that is at index L // 2 of its window: "middle", "five_prime"
            or "summit". None means the summit if the file has summits, otherwise the middle.
    """

    def __init__(
        self,
        store: SequenceStore,
        contigs: Contigs,
        lines: IntervalLines,
        how: Reading,
        anchor: str | None = None,
    ) -> None:
        self.store, self.contigs, self.lines, self.how = store, contigs, lines, how
        self.anchor, self.n_rows = anchor, None
        if anchor == "summit" and lines.kind != "narrowpeak":
            raise IntervalError(
                f"{lines.path}: --anchor=summit, but only .narrowPeak files have summits; "
                "set --anchor to middle or five_prime"
            )

    def chunks(self) -> Iterator[Chunk]:
        """Yield the intervals in the order of the file."""
        any_known = False
        for rows in _cut(self.lines, self.how.chunk_rows):
            chunk = self._chunk(rows)
            any_known = any_known or not rows or bool((chunk.status != OUTSIDE).any())
            if not any_known and all(x.contig not in self.contigs.numbers for x in rows):
                first = rows[0]
                raise IntervalError(
                    f"{self.lines.where(first.number)}: {self.contigs.unknown(first.contig)}"
                )
            yield chunk

    def _chunk(self, rows: list[Line]) -> Chunk:
        how, known = self.how, self.contigs.numbers
        columns: dict[str, Any] = {
            "contig": [x.contig for x in rows],
            "start": np.array([x.start for x in rows], dtype=np.int64),
            "end": np.array([x.end for x in rows], dtype=np.int64),
        }
        if self.lines.has_name:
            columns["name"] = [x.name for x in rows]
        columns["strand"] = [STRAND_SIGNS[x.strand] for x in rows]
        contig = np.array([known.get(x.contig, -1) for x in rows], dtype=np.int64)
        start, end = columns["start"], columns["end"]
        flip = np.array([x.strand < 0 for x in rows], dtype=bool)
        size = self.contigs.lengths[contig] if len(self.contigs) else np.zeros_like(contig)
        outside = (contig < 0) | (end <= 0) | (start >= size)
        first = self._starts(rows, start, end, flip)
        # too long: adjacent windows, the last of which ends with the interval
        counts = np.ones(len(rows), dtype=np.int64)
        long = end - start > how.length
        if how.tiles:
            counts = np.where(long, -(-(end - start) // how.length), 1)
        counts[outside] = 0
        row = np.repeat(np.arange(len(rows)), counts)
        at = first[row]
        if how.tiles:
            at = _tile_starts(row, counts, at, long, start, end, how.length)
        status = np.full(len(rows), OK, dtype=np.uint8)
        if not how.tiles:
            status[(start < first) | (end > first + how.length)] = CUT
        beyond = (at < 0) | (at + how.length > size[row])
        status[row[beyond]] = PADDED
        status[outside] = OUTSIDE
        kept = {name: [x.kept[i] for x in rows] for i, name in enumerate(self.lines.kept)}
        places = Places(contig, start, end)
        return Chunk(columns, status, self.store, row, contig[row], at, flip[row], kept, places)

    def _starts(
        self, rows: list[Line], start: np.ndarray, end: np.ndarray, flip: np.ndarray
    ) -> np.ndarray:
        """Return the window start of each interval, as in training (Intervals.anchored)."""
        length = self.how.length
        if self.anchor == "five_prime":
            base = np.where(flip, end - 1, start)
        else:
            base = start + (end - start) // 2
        is_summit = np.zeros(len(rows), dtype=bool)
        if self.anchor in (None, "summit") and self.lines.kind == "narrowpeak":
            summits = [x.summit for x in rows]
            is_summit = np.array([x is not None for x in summits], dtype=bool)
            base = np.where(is_summit, [x or 0 for x in summits], base)
        found = base - np.where(flip, length - 1 - length // 2, length // 2)
        same = (end - start == length) & ~is_summit & (self.anchor != "five_prime")
        return np.where(same, start, found)


class Tiles:
    """Windows of length L every `stride` positions over whole contigs.

    Args:
        store: Sequences.
        how: How sequences become windows.
        stride: Distance between the starts of consecutive windows; None means L.
        names: Only these contigs.
        incomplete: "drop" or "pad" a window that reaches beyond the end of its contig.
    """

    def __init__(
        self,
        store: SequenceStore,
        how: Reading,
        stride: int | None = None,
        names: Sequence[str] = (),
        incomplete: str = "drop",
    ) -> None:
        self.store, self.how, self.stride = store, how, stride or how.length
        self.numbers = [store.number(x) for x in names] if names else list(range(len(store)))
        sizes = store.lengths[self.numbers]
        room = sizes - how.length
        counts = np.where(room >= 0, room // self.stride + 1, 0)
        if incomplete == "pad":  # no tile without new positions
            counts = np.maximum(-(-room // self.stride), 0) + 1
            counts[sizes == 0] = 0
        self._ends = np.cumsum(counts)
        self._begins = self._ends - counts
        self.n_rows = int(counts.sum())

    def chunks(self) -> Iterator[Chunk]:
        """Yield the windows contig by contig."""
        step, length = self.how.chunk_rows, self.how.length
        for first in range(0, max(self.n_rows, 1), step):
            number = np.arange(first, min(first + step, self.n_rows))
            which = np.searchsorted(self._ends, number, side="right")
            contig = np.array(self.numbers, dtype=np.int64)[which]
            start = (number - self._begins[which]) * self.stride
            end = np.minimum(start + length, self.store.lengths[contig])
            status = np.where(end - start < length, PADDED, OK).astype(np.uint8)
            columns = {
                "contig": [self.store.names[i] for i in contig],
                "start": start,
                "end": end,
                "strand": ["."] * len(number),
            }
            flip = np.zeros(len(number), dtype=bool)
            row = np.arange(len(number))
            places = Places(contig, start, end)
            yield Chunk(columns, status, self.store, row, contig, start, flip, {}, places)


def with_index(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Yield the chunks with the number of each input as the first column."""
    first = 0
    for chunk in chunks:
        index = np.arange(first, first + len(chunk), dtype=np.int64)
        chunk.columns = {"index": index, **chunk.columns}
        first += len(chunk)
        yield chunk


def _text_chunks(
    rows: Iterable[tuple[str, str, bytes, list[str]]],
    how: Reading,
    shows: Mapping[str, int],
    keep: list[str],
) -> Iterator[Chunk]:
    """Yield chunks of (where, name, text, copied columns); at least one."""
    at, found, n_letters, n_done = Texts([], [], [], []), 0, 0, 0
    for where, name, raw, kept in rows:
        at.wheres.append(where)
        at.names.append(name)
        at.raw.append(raw)
        at.kept.append(kept)
        found, n_letters = found + 1, n_letters + len(raw)
        if found == how.chunk_rows or n_letters >= _MOST_LETTERS:
            yield _text_chunk(at, n_done, how, shows, keep)
            n_done += found
            at, found, n_letters = Texts([], [], [], []), 0, 0
    if found or not n_done:
        yield _text_chunk(at, n_done, how, shows, keep)


def _text_chunk(
    texts: Texts, first: int, how: Reading, shows: Mapping[str, int], keep: list[str]
) -> Chunk:
    codes, bad = _encoded(texts.raw, how.alphabet)
    sizes = codes.lengths
    row, start = _text_windows(sizes, bad, how, lambda i: f"{texts.wheres[i]}: row {first + i}")
    status = np.full(len(sizes), OK, dtype=np.uint8)
    status[sizes < how.length] = PADDED
    if not how.tiles:
        status[sizes > how.length] = CUT
    status[sizes == 0] = TOO_SHORT
    status[bad] = BAD_LETTER
    columns: dict[str, Any] = {"name": texts.names} if "name" in shows else {}
    kept = {name: [x[i] for x in texts.kept] for i, name in enumerate(keep)}
    return Chunk(columns, status, codes, row, row, start, np.zeros(len(row), dtype=bool), kept)


def _text_windows(
    sizes: np.ndarray, bad: np.ndarray, how: Reading, where: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the input of each window and its start in the sequence."""
    length = how.length
    long = sizes > length
    if how.too_long is None and long.any():
        i = int(np.flatnonzero(long)[0])
        raise SequenceError(
            f"{where(i)} has length {sizes[i]:,}, but the model was trained on length {length:,}; "
            "cut it, or set --too_long to center, tile_mean or tile_max"
        )
    counts = np.where(long, -(-sizes // length), 1) if how.tiles else np.ones_like(sizes)
    counts[(sizes == 0) | bad] = 0
    row = np.repeat(np.arange(len(sizes)), counts)
    if how.tiles:
        zero = np.zeros_like(sizes)
        return row, _tile_starts(row, counts, zero[row], long, zero, sizes, length)
    return row, np.where(long, (sizes - length) // 2, 0)[row]


def _tile_starts(
    row: np.ndarray,
    counts: np.ndarray,
    at: np.ndarray,
    long: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    length: int,
) -> np.ndarray:
    """Return the starts of adjacent windows; the last window of a row ends with the row."""
    number = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    tiled = np.minimum(start[row] + number * length, end[row] - length)
    return np.where(long[row], tiled, at)


def _encoded(raw: list[bytes], alphabet: Alphabet) -> tuple[CodeArray, np.ndarray]:
    """Return the sequences as ids, and which have a character outside the alphabet, bool [n]."""
    sizes = np.fromiter(map(len, raw), np.int64, len(raw))
    if alphabet.is_single:
        codes = np.frombuffer(b"".join(raw).translate(alphabet.encode_table), dtype=np.uint8)
        bad = np.zeros(len(raw), dtype=bool)
        wrong = np.flatnonzero(codes == BAD)
        bad[np.searchsorted(np.cumsum(sizes), wrong, side="right")] = True
        return CodeArray(codes, sizes), bad
    parts, bad = [], np.zeros(len(raw), dtype=bool)
    for i, text in enumerate(raw):
        try:
            parts.append(alphabet.encode(text))
        except (SequenceError, UnicodeDecodeError):
            bad[i] = True
            parts.append(np.zeros(0, dtype=np.uint8))
    none = np.zeros(0, dtype=np.uint8)
    return CodeArray(np.concatenate([none, *parts]), np.array([len(x) for x in parts])), bad


def _cut(items: Iterable[object], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items, the last one shorter; at least one list, which may be empty."""
    part: list[Any] = []
    n_done = 0
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            n_done += size
            part = []
    if part or not n_done:
        yield part
