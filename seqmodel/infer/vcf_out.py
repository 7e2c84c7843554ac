"""Annotated VCF: additions to the header and to INFO, written as text, bgzip or BCF.

This is the last stage of scoring variants, after records.py and scores.py. A piece is the text of a
chunk. In bgzip it consists of whole blocks, so pieces are concatenated without change.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from seqmodel.errors import RunError
from seqmodel.files import BGZIP_END, aside_of, writing

STATUS_ID = "SM_STATUS"
_BLOCK_BYTES = 65280  # bytes of text in a bgzip block
_DEFINED = re.compile(rb"##(contig|FILTER|INFO|FORMAT)=<ID=([^,>]+)")
_BAD = re.compile(r"[^0-9A-Za-z_.]")


class Annotation:
    """Additions to a VCF.

    Args:
        names: Name of each column of scores.
        header: Lines of the input header, with line endings; empty to make a header.
        source: Description of the computation, the content of a line `##seqmodel=<...>`.
        contigs: Names and lengths of contigs, for a new header.
    """

    def __init__(
        self,
        names: Sequence[str],
        header: Sequence[bytes],
        source: str,
        contigs: Mapping[str, int],
    ) -> None:
        self.ids = info_ids(names)
        known = {f"##INFO=<ID={x},".encode() for x in (STATUS_ID, *self.ids)}
        kept = [x for x in header if not x.startswith(tuple(known))]
        again = len(kept) < len(header)
        self.replaced = {STATUS_ID.encode(), *(x.encode() for x in self.ids)} if again else set()
        self.header = self._header(kept or _made(contigs), names, source)

    def lines(
        self,
        rows: Sequence[Sequence[bytes]],
        record: np.ndarray,
        status: Sequence[str],
        scores: Sequence[np.ndarray],
    ) -> bytes:
        """Return records with their scores in INFO.

        Args:
            rows: Fields of each record; all columns after INFO are one field.
            record: Index of the record of each allele, int64 [n].
            status: Status of each allele.
            scores: Columns of scores, [n] each.
        """
        columns = [list(status), *map(_texts, scores)]
        if len(record) != len(rows):
            columns = [_by_record(x, record, len(rows)) for x in columns]
        form = ";".join(f"{x}=%s" for x in (STATUS_ID, *self.ids))
        added = "\n".join([form % x for x in zip(*columns, strict=True)]).encode().split(b"\n")
        return b"".join(
            [self._line(row, new) for row, new in zip(rows, added if rows else [], strict=True)]
        )

    def _line(self, row: Sequence[bytes], new: bytes) -> bytes:
        info, end = row[7], b""
        if len(row) == 8:
            bare = info.rstrip(b"\r\n")
            info, end = bare, info[len(bare) :] or b"\n"
        if self.replaced:
            fields = info.split(b";")
            info = b";".join(x for x in fields if x.split(b"=", 1)[0] not in self.replaced)
        info = new if info in (b".", b"") else info + b";" + new
        return b"\t".join((*row[:7], info, *row[8:])) + end

    def _header(self, kept: Sequence[bytes], names: Sequence[str], source: str) -> bytes:
        end = b"\r\n" if kept[0].endswith(b"\r\n") else b"\n"
        own = [
            f'##INFO=<ID={STATUS_ID},Number=A,Type=String,Description="Whether seqmodel scored '
            'the allele, or why not">'
        ]
        for name, x in zip(names, self.ids, strict=True):
            text = name.replace("\\", "\\\\").replace('"', '\\"')
            own.append(f'##INFO=<ID={x},Number=A,Type=Float,Description="seqmodel: {text}">')
        own.append(f"##seqmodel=<{source}>")
        added = [x.encode("utf-8", "surrogateescape") + end for x in own]
        return b"".join([*kept[:-1], *added, kept[-1]])


class VcfFormat:
    """VCF as text, bgzip with an index (.tbi, or .csi), or BCF."""

    name = ""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """Return the records; `first` adds the header.

        Raises:
            RunError: The rows are not variants.
        """
        if rows.vcf is None:
            raise RunError("--out: only `seqmodel variants` writes VCF and BCF files")
        header, lines = rows.vcf
        text = header + lines if first else lines
        return bgzipped(text) if self.kind == "vcf.gz" else text

    def join(self, pieces: Callable[[], Iterator[bytes]], out: str) -> None:
        """Write all records into one file."""
        if self.kind == "bcf":
            self._bcf(pieces, out)
            return
        with writing(out, RunError) as file:
            for piece in pieces():
                file.write(piece)
            if self.kind == "vcf.gz":
                file.write(BGZIP_END)
        if self.kind == "vcf.gz":
            _index(out)

    def _bcf(self, pieces: Callable[[], Iterator[bytes]], out: str) -> None:
        from pysam import bcftools

        from seqmodel.infer.vcf import pysam

        # if killed here, both files stay; the next join replaces or removes them
        text, made = f"{out}.text", aside_of(out)
        try:
            with writing(text, RunError) as file:
                for piece in pieces():
                    file.write(piece)
            bcftools.view("--no-version", "-Ob", "-o", made, text, catch_stdout=False)
            os.replace(made, out)
        except pysam().SamtoolsError as e:
            raise RunError(
                f"cannot write {out}: {' '.join(str(e).split())}; BCF needs a header that "
                "defines all contigs, filters, INFO and FORMAT fields; write .vcf.gz"
            ) from e
        finally:
            for path in (text, made):
                with suppress(OSError):
                    os.unlink(path)
        _index(out)


def check_bcf(header: bytes, records: Iterable[bytes], out: str) -> None:
    """Check that the header has all definitions that BCF needs for these records.

    Raises:
        RunError: A definition is missing; the message names the first.
    """
    known = {*_DEFINED.findall(header), (b"FILTER", b"PASS")}
    for line in records:
        row = line.rstrip(b"\r\n").split(b"\t", 9)
        if len(row) < 8:
            return  # another error; it names the record
        used = [(b"contig", row[0])]
        used += [(b"FILTER", x) for x in row[6].split(b";")]
        used += [(b"INFO", x.split(b"=", 1)[0]) for x in row[7].split(b";")]
        used += [(b"FORMAT", x) for x in b":".join(row[8:9]).split(b":")]
        lacks = next((x for x in used if x not in known and x[1] not in (b"", b".")), None)
        if lacks is not None:
            kind, name = (x.decode("utf-8", "replace") for x in lacks)
            raise RunError(
                f"--out={out}: the header of the variants does not define {kind} {name!r}; BCF "
                "needs a header that defines all contigs, filters, INFO and FORMAT fields; write "
                ".vcf.gz"
            )


def info_ids(names: Sequence[str]) -> list[str]:
    """Return a unique INFO ID for each name, with the characters that VCF allows."""
    found: dict[str, None] = {STATUS_ID: None}
    for name in names:
        own = base = f"SM_{_BAD.sub('_', name)}"
        number = 1
        while own in found:
            number += 1
            own = f"{base}_{number}"
        found[own] = None
    return list(found)[1:]


def bgzipped(text: bytes) -> bytes:
    """Compress to bgzip blocks (SAM specification, section 4.1), without the end-of-file block."""
    found = []
    for i in range(0, len(text), _BLOCK_BYTES):
        part = text[i : i + _BLOCK_BYTES]
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        packed = packer.compress(part) + packer.flush()
        head = bytes.fromhex("1f8b08040000000000ff060042430200")
        size = (len(head) + 2 + len(packed) + 8 - 1).to_bytes(2, "little")
        sums = zlib.crc32(part).to_bytes(4, "little") + len(part).to_bytes(4, "little")
        found.append(head + size + packed + sums)
    return b"".join(found)


def _made(contigs: Mapping[str, int]) -> list[bytes]:
    lines = ["##fileformat=VCFv4.2"]
    lines += [f"##contig=<ID={name},length={n}>" for name, n in contigs.items()]
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    return [f"{x}\n".encode("utf-8", "surrogateescape") for x in lines]


def _texts(values: np.ndarray) -> list[str]:
    return ["." if x != x else f"{x:.6g}" for x in values.tolist()]


def _by_record(texts: Sequence[str], record: np.ndarray, n: int) -> list[str]:
    found: list[list[str]] = [[] for _ in range(n)]
    for text, i in zip(texts, record.tolist(), strict=True):
        found[i].append(text)
    return [",".join(x) for x in found]


def _index(path: str) -> None:
    """Write path.tbi, or path.csi for longer contigs and BCF; unsorted files get no index."""
    try:
        import pysam
    except ImportError:
        return
    pysam.set_verbosity(0)
    for suffix in (".tbi", ".csi"):
        with suppress(OSError):
            os.unlink(path + suffix)
    is_vcf = not path.endswith(".bcf")
    for as_csi in (False, True) if is_vcf else (True,):
        with suppress(Exception):  # pysam: unsorted, or a contig is too long
            pysam.tabix_index(path, preset="vcf", csi=as_csi, keep_original=True)
            return
