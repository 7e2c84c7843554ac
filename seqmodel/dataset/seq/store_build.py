"""Write a sequence store: source files -> one file of uint8 codes with an index at its end.

store.py describes the layout. The file is written under another name
and renamed when complete. The builder holds a lock, so other processes wait for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from seqmodel.dataset.seq.alphabet import BAD, Alphabet
from seqmodel.dataset.seq.checksum import BlockSums
from seqmodel.dataset.seq.fasta import SPACE, FastaReader, Header, Residues
from seqmodel.dataset.seq.source import Source
from seqmodel.dataset.seq.twobit import TwoBitReader, is_twobit
from seqmodel.errors import SequenceError
from seqmodel.files import Error, remove_stale, writing
from seqmodel.terminal import plain_line

MAGIC = b"SEQSTORE"
FORMAT = 2
HEADER_BYTES = 4096
TAIL_BYTES = 64
"""Room after the last code, so that a window may be read in whole words."""

_QUIET_BYTES = 1 << 25
_LOWER = bytes(1 if chr(i).islower() and i < 128 else 0 for i in range(256))


@dataclass
class _Contigs:
    names: list[str] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (file, line)


class StoreBuilder:
    """Encode records into an open file; `finish` writes the index."""

    def __init__(
        self, out: IO[bytes], edges: IO[bytes], alphabet: Alphabet, paths: list[str]
    ) -> None:
        self._out = out
        self._edges = edges  # edges of soft-masked runs, spooled so that memory stays constant
        self._alphabet = alphabet
        self._paths = paths
        self._contigs = _Contigs()
        self._sources: list[Source] = []
        self._position = HEADER_BYTES
        self._sums = BlockSums()
        self._n_edges = 0
        self._last_edge = -1
        out.write(bytes(HEADER_BYTES))

    def add_file(self, number: int, reader: FastaReader | TwoBitReader) -> None:
        """Add all records of file `number`, and record its source."""
        for event in reader:
            if isinstance(event, Header):
                self._begin(event, number)
            else:
                self._add(event, number)
        assert reader.source is not None, "known after the last event"
        self._sources.append(reader.source)

    def _begin(self, event: Header, number: int) -> None:
        seen = self._contigs.seen
        if event.name in seen:
            first_file, first_line = seen[event.name]
            first = (
                f"line {first_line}"
                if first_file == number
                else (f"in {self._paths[first_file]} line {first_line}")
            )
            raise SequenceError(
                f"{self._paths[number]} line {event.line}: contig {event.name!r} occurs twice "
                f"(first {first}); names must be unique across files"
            )
        seen[event.name] = (number, event.line)
        self._contigs.names.append(event.name)
        self._contigs.lengths.append(0)

    def _add(self, event: Residues, number: int) -> None:
        codes = event.raw.translate(self._alphabet.encode_table, SPACE)
        if codes.find(BAD) >= 0:
            self._refuse(event, number)
        self._add_soft_mask(event.raw)
        self._write(codes)
        self._position += len(codes)
        self._contigs.lengths[-1] += len(codes)

    def _write(self, raw: bytes) -> None:
        self._out.write(raw)
        self._sums.update(raw)

    def _refuse(self, event: Residues, number: int) -> None:
        plain = event.raw.translate(self._alphabet.encode_table)
        spaces = set(SPACE)
        at = next(i for i, c in enumerate(plain) if c == BAD and event.raw[i] not in spaces)
        line = event.line + event.raw.count(b"\n", 0, at)
        column = at - (event.raw.rfind(b"\n", 0, at) + 1)
        where = f"{self._paths[number]} line {line} (contig {self._contigs.names[-1]!r})"
        raise SequenceError(self._alphabet.refusal(where, column, event.raw[at : at + 1]))

    def _add_soft_mask(self, raw: bytes) -> None:
        lower = raw.translate(_LOWER, SPACE)
        if lower.find(1) < 0:
            return
        flags = np.frombuffer(lower, dtype=np.uint8)
        edges = np.flatnonzero(flags[1:] != flags[:-1]) + 1
        edges = np.concatenate(
            (np.zeros(flags[0], dtype=np.int64), edges, np.full(flags[-1], len(flags)))
        )
        edges += self._position
        if edges[0] == self._last_edge:  # the run continues from the previous block
            edges = edges[1:]
        elif self._last_edge >= 0:
            self._spool(np.array([self._last_edge]))
        self._spool(edges[:-1])
        self._last_edge = int(edges[-1])

    def _spool(self, edges: np.ndarray) -> None:
        self._edges.write(edges.astype("<i8").tobytes())
        self._n_edges += len(edges)

    def finish(self) -> None:
        """Write the soft-masked runs, the index and the header."""
        if self._last_edge >= 0:
            self._spool(np.array([self._last_edge]))
        pad = TAIL_BYTES + -self._position % 8
        self._write(bytes(pad))
        edges_at = self._position + pad
        self._edges.seek(0)
        while block := self._edges.read(1 << 22):
            self._write(block)
        index_at = edges_at + 8 * self._n_edges
        index = json.dumps(self._index(edges_at)).encode()
        self._out.write(index)
        self._out.seek(0)
        self._out.write(header_of(index_at, index))

    def _index(self, edges_at: int) -> dict[str, object]:
        return {
            "alphabet": self._alphabet.to_dict(),
            "sources": [x.to_dict() for x in self._sources],
            "names": self._contigs.names,
            "lengths": self._contigs.lengths,
            "edges_at": edges_at,
            "n_edges": self._n_edges,
            "block_crc32": self._sums.sums(),
        }


def header_of(index_at: int, index: bytes) -> bytes:
    """Return the first 40 bytes of a store with the text `index` at `index_at`."""
    head = MAGIC + np.array([FORMAT, index_at, len(index)], dtype="<u8").tobytes()
    return head + np.array([zlib.crc32(index, zlib.crc32(head))], dtype="<u8").tobytes()


def reader_for(path: str, progress: Callable[[int], None] | None) -> FastaReader | TwoBitReader:
    """Return the reader of a source file, chosen by its first bytes."""
    return TwoBitReader(path, progress) if is_twobit(path) else FastaReader(path, progress)


def build_store(target: str, paths: list[str], alphabet: Alphabet, *, quiet: bool = False) -> None:
    """Write the store `target` of `paths`, completely or not at all.

    Raises:
        SequenceError: A source is malformed, or the store cannot be written.
    """
    total = sum(os.path.getsize(x) for x in paths)
    progress = Progress(f"building {target}", total, quiet=quiet or total < _QUIET_BYTES)
    with writing_cache(target) as out, tempfile.TemporaryFile(dir=os.path.dirname(target)) as edges:
        builder = StoreBuilder(out, edges, alphabet, paths)
        for number, path in enumerate(paths):
            builder.add_file(number, reader_for(path, progress.add))
        builder.finish()
    progress.close()


def writing_cache(target: str, error: Error = SequenceError) -> AbstractContextManager[IO[bytes]]:
    """Open a file that becomes `target` when the block ends, and is removed if it fails.

    Raises:
        error: The disk is full or the folder is not writable.
    """
    remove_stale(target)
    advice = "free some space there or set --cache_dir to another folder"
    return writing(target, error, durable=True, advice=advice)


@contextlib.contextmanager
def lock(target: str) -> Iterator[None]:
    """Hold the lock of `target` among processes; no lock if the file system supports none."""
    path = f"{target}.lock"
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            yield
            return
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # its last holder may have removed the file: then other processes lock a new one
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(path), os.fstat(handle)):
                break
        os.close(handle)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(handle)


class Progress:
    """Progress on stderr: a bar on a terminal, otherwise a line at the start and the end."""

    def __init__(self, title: str, total: int, *, quiet: bool) -> None:
        self._title, self._total, self._quiet = plain_line(title), max(total, 1), quiet
        self._terminal = sys.stderr.isatty()
        self._done, self._shown, self._start = 0, -1, time.monotonic()
        if not quiet and not self._terminal:
            print(f"{self._title}: {total / 1e6:.0f} MB to read", file=sys.stderr, flush=True)

    def add(self, n: int) -> None:
        """Count `n` more bytes."""
        self._done += n
        percent = min(100, 100 * self._done // self._total)
        if self._quiet or not self._terminal or percent == self._shown:
            return
        self._shown = percent
        bar = "#" * (percent // 4)
        print(f"\r{self._title} [{bar:25}] {percent}%", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line and print the elapsed time."""
        if not self._quiet:
            took = time.monotonic() - self._start
            print(f"{chr(10) * self._terminal}{self._title}: done in {took:.1f} s", file=sys.stderr)
