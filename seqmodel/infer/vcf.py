"""Read variants from VCF, BCF, tables and lists, in blocks of records.

This is the first stage of scoring variants. A VCF record keeps its bytes, so it can be written
again with only INFO changed. records.py decides which records can be scored.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from seqmodel.errors import VariantError
from seqmodel.extras import optional
from seqmodel.files import open_unpacked, reading

TABLE_SUFFIXES = (".tsv", ".csv", ".txt")
COLUMNS = ("contig", "pos", "ref", "alt")
_N_COLUMNS = 8
_MOST_BYTES = 1 << 24
"""A block ends after the record with which it is so long, for files of thousands of samples."""


class Records(NamedTuple):
    """Records of a file as columns of n values; ALT alleles are joined by commas."""

    contig: list[bytes]
    pos: list[int]
    """1-based, as in the file."""
    ref: list[bytes]
    alt: list[bytes]
    info: list[bytes]


class Block:
    """Consecutive records of a file, parsed on demand.

    Attributes:
        number: Index of the first record in the file.
        lines: VCF records, each with its line ending.
    """

    def __init__(self, number: int, lines: Sequence[bytes], where: str) -> None:
        self.number, self.lines, self._where = number, lines, where

    def __len__(self) -> int:
        return len(self.lines)

    @cached_property
    def records(self) -> Records:
        """Return the records as columns.

        Raises:
            VariantError: A record has too few columns, or its position is not a number.
        """
        rows = self.rows
        pos = self._positions([x[1] for x in rows])
        contig, ref, alt, info = ([x[i] for x in rows] for i in (0, 3, 4, 7))
        return Records(contig, pos, ref, alt, info)

    @cached_property
    def rows(self) -> list[list[bytes]]:
        """Return the fields of each record; all columns after INFO are one field.

        Raises:
            VariantError: A record has too few fields.
        """
        rows = [line.split(b"\t", _N_COLUMNS) for line in self.lines]
        short = next((i for i, x in enumerate(rows) if len(x) < _N_COLUMNS), None)
        if short is not None:
            raise VariantError(
                f"{self._name(short)}: {len(rows[short])} columns, but a VCF record has "
                f"{_N_COLUMNS} or more, separated by tabs; is the file truncated?"
            )
        return rows

    def _positions(self, texts: Sequence[bytes]) -> list[int]:
        try:
            found = list(map(int, texts))
        except ValueError:
            found = [-1]
        if found and (min(found) < 0 or max(found) >= 1 << 60):
            bad = next(i for i, x in enumerate(texts) if not x.isdigit() or len(x) > 18)
            raise VariantError(
                f"{self._name(bad)}: position {texts[bad].decode('utf-8', 'replace')!r} is not "
                "a whole number"
            )
        return found

    def _name(self, i: int) -> str:
        return f"{self._where} record {self.number + i + 1}"


class Source(Protocol):
    """Source of variants.

    Attributes:
        path: Name of the source in messages.
        header: Lines of the VCF header, with line endings; empty for other formats.
    """

    path: str
    header: list[bytes]

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """Yield all records, `n_rows` at a time, fewer if they are long; at least one block."""


class VcfFile:
    """A VCF file: text, gzip or bgzip. Each record keeps its bytes.

    Raises:
        VariantError: The file has no header.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.header: list[bytes] = []
        with open_unpacked(path, VariantError) as file:
            for line in file:
                if not self.header:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if not line.startswith(b"#"):
                    break
                self.header.append(line)
        if not self.header or not self.header[-1].upper().startswith(b"#CHROM"):
            raise VariantError(
                f"{path} is not VCF: no #CHROM line before its records; the name of a "
                f"table ends in {', '.join(TABLE_SUFFIXES)} or .parquet"
            )

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """The records."""
        with open_unpacked(self.path, VariantError) as file:
            for _ in self.header:
                next(file)
            # some editors leave an empty line at the end
            yield from _blocks((x for x in file if x.strip()), n_rows, self.path)


class BcfFile:
    """A BCF file, read by pysam; each record becomes the VCF text that bcftools prints."""

    def __init__(self, path: str) -> None:
        self.path = path
        with (
            reading(path, VariantError, "BCF"),
            pysam().VariantFile(path) as file,
        ):
            self.header = str(file.header).encode().splitlines(keepends=True)

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """The records."""
        yield from _blocks(self._lines(), n_rows, self.path)

    def _lines(self) -> Iterator[bytes]:
        with reading(self.path, VariantError, "BCF"):
            file = pysam().VariantFile(self.path)
        try:
            while True:
                with reading(self.path, VariantError, "BCF"):
                    record = next(file, None)
                    line = None if record is None else str(record).encode()
                if line is None:
                    return
                yield line
        finally:
            with suppress(OSError):  # a reading error was raised already
                file.close()


class Table:
    """Rows of contig, pos (1-based), ref and alt in a CSV, TSV or Parquet file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.header: list[bytes] = []

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """The rows."""
        yield from _blocks(map(_line, self._rows()), n_rows, self.path)

    def _rows(self) -> Iterator[Sequence[Any]]:
        if self.path.lower().endswith(".parquet"):
            yield from self._parquet()
            return
        import csv

        separator = "," if ".csv" in os.path.basename(self.path).lower() else "\t"
        with open_unpacked(self.path, VariantError) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
            rows = csv.reader(text, delimiter=separator)
            at = self._columns(next(rows, []))
            for number, row in enumerate(rows, 2):
                if not row:
                    continue
                if len(row) <= max(at):
                    raise VariantError(
                        f"{self.path} line {number}: {len(row)} columns, too few for "
                        f"{', '.join(COLUMNS)}; is the file truncated?"
                    )
                yield [row[i] for i in at]

    def _parquet(self) -> Iterator[Sequence[Any]]:
        parquet = optional("pyarrow.parquet", "Parquet", "parquet", VariantError)
        with reading(self.path, VariantError, "Parquet"):
            file = parquet.ParquetFile(self.path)
        names = file.schema_arrow.names
        columns = [names[i] for i in self._columns(names)]
        batches = file.iter_batches(8192, columns=columns)
        while True:
            with reading(self.path, VariantError, "Parquet"):
                batch = next(batches, None)
            if batch is None:
                return
            yield from zip(*(batch.column(x).to_pylist() for x in columns), strict=True)

    def _columns(self, names: Sequence[str]) -> list[int]:
        found = [x.strip().lower().lstrip("#") for x in names]
        other = {"contig": ("chrom", "chr", "chromosome"), "pos": ("position",)}
        at = []
        for name in COLUMNS:
            known = [x for x in (name, *other.get(name, ())) if x in found]
            if not known:
                raise VariantError(
                    f"{self.path}: no column {name!r}; a table of variants needs the columns "
                    f"{', '.join(COLUMNS)} (pos is 1-based); this table has {', '.join(names)}"
                )
            at.append(found.index(known[0]))
        return at


class Typed:
    """Variants from a list: texts `contig:pos:ref:alt`, or tuples of these four values."""

    path = "--variant"

    def __init__(self, variants: Iterable[str | Sequence[Any]]) -> None:
        self.header: list[bytes] = []
        self._lines = [_line(_typed(x)) for x in variants]

    def blocks(self, n_rows: int) -> Iterator[Block]:
        """The variants."""
        yield from _blocks(iter(self._lines), n_rows, self.path)


def open_variants(path: str) -> Source:
    """Open a file of variants; its suffix or its first bytes decide the format.

    Raises:
        VariantError: The file cannot be read.
    """
    base = path.lower().removesuffix(".gz")
    if base.endswith((*TABLE_SUFFIXES, ".parquet")):
        return Table(path)
    with open_unpacked(path, VariantError) as file:
        is_bcf = file.peek(3)[:3] == b"BCF"
    return BcfFile(path) if is_bcf else VcfFile(path)


def pysam() -> Any:
    """Return the module pysam, with its messages on stderr turned off.

    Raises:
        VariantError: pysam is not installed.
    """
    found = optional("pysam", "a BCF file or an index", "variants", VariantError)
    found.set_verbosity(0)
    return found


def first_of(source: Source, n: int) -> Iterator[Block]:
    """Yield the first `n` records of a source in blocks."""
    for block in source.blocks(n):
        if len(block) >= n:
            yield block if len(block) == n else Block(block.number, block.lines[:n], source.path)
            return
        yield block
        n -= len(block)


def _blocks(lines: Iterator[bytes], n_rows: int, where: str) -> Iterator[Block]:
    number, n_bytes = 0, 0
    part: list[bytes] = []
    for line in lines:
        part.append(line)
        n_bytes += len(line)
        if len(part) == n_rows or n_bytes >= _MOST_BYTES:
            yield Block(number, part, where)
            number, n_bytes, part = number + len(part), 0, []
    if part or not number:
        yield Block(number, part, where)


def _line(row: Sequence[Any]) -> bytes:
    """Format a variant as a VCF record."""
    contig, pos, ref, alt = ("." if x is None else str(x).strip() for x in row)
    text = f"{contig}\t{pos}\t.\t{ref}\t{alt or '.'}\t.\t.\t.\n"
    return text.encode("utf-8", "surrogateescape")


def _typed(variant: str | Sequence[Any]) -> Sequence[Any]:
    parts = variant.rsplit(":", 3) if isinstance(variant, str) else list(variant)
    if len(parts) != len(COLUMNS):
        raise VariantError(
            f"variant {variant!r}: use contig:pos:ref:alt with a 1-based position, such as "
            "20:42984264:G:A"
        )
    return parts
