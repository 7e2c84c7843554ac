"""FASTA files as a stream of events, in large blocks and constant memory.

Feeds the store builder (store_build.py). Blocks are cut at headers only, so a chromosome on one
line needs no more memory than a wrapped one. The symbols are not interpreted here.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from seqmodel.dataset.seq.source import Source, Stamp
from seqmodel.errors import SequenceError
from seqmodel.files import open_binary, text_of, unpacked

BLOCK_BYTES = 1 << 22
SPACE = b" \t\r\n\v\f"


@dataclass(frozen=True)
class Header:
    """Start of a record: the first word after '>', its line (1-based), and the text after '>'."""

    name: str
    line: int
    raw: bytes = b""


@dataclass(frozen=True)
class Residues:
    """Raw text of the current record with line ends; it begins in `line` (1-based)."""

    raw: bytes
    line: int


class FastaReader:
    """Events of one FASTA file; after the last event, `source` describes the file that was read.

    Args:
        path: Path of a plain, gzip or bgzip file; the first bytes decide, not the name.
        progress: Function called with the number of bytes of each block read from disk.
    """

    def __init__(self, path: str, progress: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.source: Source | None = None
        self._progress = progress

    def __iter__(self) -> Iterator[Header | Residues]:
        """Iterate over headers and residues in the order of the file.

        Raises:
            SequenceError: The file is empty, damaged or not FASTA; the message names the line.
        """
        sha256 = hashlib.sha256()

        def seen(part: memoryview) -> None:
            sha256.update(part)
            if self._progress is not None:
                self._progress(len(part))

        with open_binary(self.path, SequenceError, seen) as packed:
            before = Stamp.of(self.path)
            yield from _events(_blocks(packed, self.path), self.path)
            if not before.is_file(Stamp.of(self.path)):
                raise SequenceError(f"{self.path}: changed while it was read; try again")
            self.source = Source(os.path.abspath(self.path), sha256.hexdigest(), before)


def _blocks(packed: io.BufferedReader, path: str) -> Iterator[bytes]:
    text = unpacked(packed, path, SequenceError)
    while block := text.read(BLOCK_BYTES):
        yield block
    while packed.read(BLOCK_BYTES):  # the digest includes bytes that the decompressor has not read
        pass


def _events(blocks: Iterator[bytes], path: str) -> Iterator[Header | Residues]:
    line, fresh, header, n_headers = 1, True, None, 0
    for number, text in enumerate(blocks):
        block = text.removeprefix(b"\xef\xbb\xbf") if number == 0 else text
        at = 0
        while at < len(block):
            if header is not None:
                end = block.find(b"\n", at)
                header += block[at:] if end < 0 else block[at:end]
                if end < 0:
                    break
                yield Header(_name(header, path, line), line, bytes(header))
                line, at, fresh, header, n_headers = line + 1, end + 1, True, None, n_headers + 1
            elif fresh and block[at] == ord(">"):
                header, at = b"", at + 1
            else:
                end = _next_header(block, at)
                part = block[at:end]
                if n_headers or part.strip():
                    _check_begun(n_headers, path, line, part)
                    yield Residues(part, line)
                line += part.count(b"\n")
                at, fresh = end, part.endswith(b"\n")
    if header is not None:
        yield Header(_name(header, path, line), line, bytes(header))
    elif not n_headers:
        raise SequenceError(f"{path} has no sequence; a FASTA file begins with '>'")


def _next_header(block: bytes, at: int) -> int:
    """Return the start of the next line that begins with '>', or the end of the block."""
    found = block.find(b">", at + 1)
    while found >= 0 and block[found - 1] != ord("\n"):
        found = block.find(b">", found + 1)
    return len(block) if found < 0 else found


def _check_begun(n_headers: int, path: str, line: int, part: bytes) -> None:
    if not n_headers:
        line += part[: len(part) - len(part.lstrip())].count(b"\n")
        raise SequenceError(f"{path} line {line}: not FASTA: a record must begin with '>'")


def _name(header: bytes, path: str, line: int) -> str:
    text = header.rstrip(b"\r")
    if b"\r" in text:
        raise SequenceError(
            f"{path} line {line}: old Mac line ends (CR only); "
            "convert it, for example with tr '\\r' '\\n'"
        )
    words = text.split(maxsplit=1)
    if not words or text[:1].isspace():
        raise SequenceError(f"{path} line {line}: a record has no name; add one after '>'")
    return text_of(words[0], lambda: f"{path} line {line}", SequenceError)
