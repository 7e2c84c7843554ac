"""FASTA files as a stream of events, in large blocks and constant memory.

Feeds the store builder (store_build.py). A block is cut at headers only, so a chromosome on one
line costs no more memory than one that is wrapped. Leaves out what the letters mean.
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
    """A record begins: the first word after '>', its line, 1-based, and all that is after '>'."""

    name: str
    line: int
    raw: bytes = b""


@dataclass(frozen=True)
class Residues:
    """Raw text of the current record, line ends included; it begins in `line`, 1-based."""

    raw: bytes
    line: int


class FastaReader:
    """Events of one FASTA file; after the last one `source` tells what was read.

    Args:
        path: plain, gzip or bgzip; told by its first bytes, not by its name.
        progress: called with the number of bytes read from the disk, block by block.
    """

    def __init__(self, path: str, progress: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.source: Source | None = None
        self._progress = progress

    def __iter__(self) -> Iterator[Header | Residues]:
        """Headers and residues in the order of the file.

        Raises:
            SequenceError: the file is empty, damaged or no FASTA; the line is named.
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
    while packed.read(BLOCK_BYTES):  # what a decompressor left belongs to the digest
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
        raise SequenceError(f"{path}: has no sequence; a FASTA file begins with '>'")


def _next_header(block: bytes, at: int) -> int:
    """Where the next line that begins with '>' starts, or the end of the block."""
    found = block.find(b">", at + 1)
    while found >= 0 and block[found - 1] != ord("\n"):
        found = block.find(b">", found + 1)
    return len(block) if found < 0 else found


def _check_begun(n_headers: int, path: str, line: int, part: bytes) -> None:
    if not n_headers:
        line += part[: len(part) - len(part.lstrip())].count(b"\n")
        raise SequenceError(f"{path} line {line}: no FASTA, a record must begin with '>'")


def _name(header: bytes, path: str, line: int) -> str:
    text = header.rstrip(b"\r")
    if b"\r" in text:
        raise SequenceError(
            f"{path} line {line}: line ends of the old Mac kind (CR alone); "
            "convert it, for example with tr '\\r' '\\n'"
        )
    words = text.split(maxsplit=1)
    if not words or text[:1].isspace():
        raise SequenceError(f"{path} line {line}: a record without a name; write one after '>'")
    return text_of(words[0], lambda: f"{path} line {line}", SequenceError)
