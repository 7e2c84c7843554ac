"""Turn records of a variant file into alleles of a genome, with a status for each.

This stage follows vcf.py. SNVs are handled a block at a time, other variants one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np

from seqmodel.dataset.batch.window import Codes
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.seq.alphabet import BAD, Alphabet
from seqmodel.errors import VariantError
from seqmodel.infer.alleles import Alleles, trim
from seqmodel.infer.vcf import Block, Records, Source, first_of

STATUSES = (
    "ok",
    "padded",  # scored, but a window reaches beyond the contig
    "swapped",  # scored, but the genome has the ALT allele
    "vcf_ref",  # scored, with the REF allele of the file in place of the genome's
    "edge",
    "ref_mismatch",
    "no_contig",
    "outside",
    "no_alt",
    "star",
    "symbolic",
    "breakend",
    "bad_letter",
    "too_long",
    "indel",
)
(OK, PADDED, SWAPPED, VCF_REF, EDGE, MISMATCH, NO_CONTIG, OUTSIDE, NO_ALT) = range(9)
(STAR, SYMBOLIC, BREAKEND, BAD_LETTER, TOO_LONG, INDEL) = range(9, 15)
N_SCORED = 4
"""Statuses below are scored."""

_CHECKED_RECORDS, _MISMATCH_PROP, _MIN_MISMATCHES = 1000, 0.05, 10
_MITOCHONDRION = (b"M", b"MT")


@dataclass
class AlleleRows:
    """ALT alleles of a block in file order; a record without ALT has one row.

    Attributes:
        record: Index of the record in its block, int64 [n].
        alt: ALT as in the file.
        status: Index in STATUSES, uint8 [n].
        alleles: Trimmed alleles; meaningless for rows that are not scored.
        given: REF of the file, as position and ids, for rows with status "vcf_ref".
    """

    record: np.ndarray
    alt: list[bytes]
    status: np.ndarray
    alleles: Alleles
    given: dict[int, tuple[int, bytes]]


class ContigNames:
    """Numbers of contigs by the names in a file of variants.

    Names with and without `chr`, and M and MT, are equivalent if this makes every name in the file
    the name of a contig.

    Args:
        contigs: Contigs of the genome, with their aliases.
        source: Variants; the whole file is scanned once if a name is unknown.
    """

    def __init__(self, contigs: Contigs, source: Source) -> None:
        self.contigs, self._source = contigs, source
        self._known = {_raw(x): i for x, i in contigs.numbers.items()}

    def numbers(self, names: Sequence[bytes]) -> np.ndarray:
        """Return the contig number of each record, -1 if unknown, int64 [n]."""
        if not self._known.keys() >= set(names):
            self._known |= self._others
        return np.fromiter(map(self._known.get, names, repeat(-1)), np.int64, len(names))

    @cached_property
    def _others(self) -> dict[bytes, int]:
        """Return the numbers of all names in the file that need translation."""
        names = {
            line[: line.index(b"\t")]
            for block in self._source.blocks(1 << 16)
            for line in block.lines
        }
        found = {x: self._alike(x) for x in names - self._known.keys()}
        return {} if None in found.values() else {k: v for k, v in found.items() if v is not None}

    def _alike(self, name: bytes) -> int | None:
        bare = name.removeprefix(b"chr")
        same = _MITOCHONDRION if bare in _MITOCHONDRION else (bare,)
        found = {self._known[x] for y in same for x in (y, b"chr" + y) if x in self._known}
        return found.pop() if len(found) == 1 else None


class RecordReader:
    """Turn records into alleles.

    Args:
        codes: Genome.
        alphabet: Alphabet of the genome.
        names: Numbers of its contigs.
        ref_mismatch: How to handle a REF that differs from the genome: skip, error, swap, use_vcf.
        max_indel: Length of the longest `<DEL>` to score; 0 scores none.
        substitutions: Score only alleles that are as long as REF.
    """

    def __init__(
        self,
        codes: Codes,
        alphabet: Alphabet,
        names: ContigNames,
        ref_mismatch: str = "skip",
        max_indel: int = 0,
        substitutions: bool = False,
    ) -> None:
        self.codes, self.alphabet, self.names = codes, alphabet, names
        self.ref_mismatch, self.max_indel = ref_mismatch, max_indel
        self.substitutions = substitutions

    def rows(self, block: Block) -> AlleleRows:
        """Return the alleles of a block.

        Raises:
            VariantError: The block is malformed, or REF differs from the genome and ref_mismatch
                is error.
        """
        records = block.records
        one = _lengths(records.ref) * _lengths(records.alt) == 1
        contig = self.names.numbers(records.contig)
        pos = np.array(records.pos, dtype=np.int64) - 1
        parsed = {
            int(i): self._parsed(records, int(i), int(contig[i]), int(pos[i]))
            for i in np.flatnonzero(~one)
        }
        n_alts = np.ones(len(one), dtype=np.int64)
        for i, found in parsed.items():
            n_alts[i] = len(found)
        rows = self._empty(np.repeat(np.arange(len(one)), n_alts))
        first = np.cumsum(n_alts) - n_alts
        single = np.flatnonzero(one)
        self._fill_single(rows, records, first[single], single, contig[single], pos[single])
        self._fill_parsed(rows, first, contig, parsed)
        if self.ref_mismatch == "error" and (rows.status == MISMATCH).any():
            at = int(rows.record[(rows.status == MISMATCH).argmax()])
            raise VariantError(
                f"{self.mismatch(records, at)}; set --ref_mismatch to skip, swap or use_vcf"
            )
        return rows

    def mismatch(self, records: Records, i: int) -> str:
        """Describe the mismatch of REF in record `i`."""
        contig = int(self.names.numbers(records.contig[i : i + 1])[0])
        genome = np.frombuffer(self._genome(contig, records.pos[i] - 1, len(records.ref[i])), "u1")
        name, ref = (x.decode("utf-8", "replace") for x in (records.contig[i], records.ref[i]))
        return f"{name}:{records.pos[i]} has REF {ref}, the genome {self.alphabet.decode(genome)}"

    def _empty(self, record: np.ndarray) -> AlleleRows:
        n = len(record)
        contig, pos, n_ref, n_alt = (np.zeros(n, dtype=np.int64) for _ in range(4))
        alleles = Alleles(contig, pos, n_ref, n_alt, np.arange(n), np.zeros(n, dtype=np.uint8))
        return AlleleRows(record, [b""] * n, np.zeros(n, dtype=np.uint8), alleles, {})

    def _fill_single(
        self,
        rows: AlleleRows,
        records: Records,
        at: np.ndarray,
        single: np.ndarray,
        contig: np.ndarray,
        pos: np.ndarray,
    ) -> None:
        """Fill in records whose REF and only ALT have one character."""
        refs, alts = (b"".join([x[i] for i in single]) for x in (records.ref, records.alt))
        ref, alt = (self._ids(x) for x in (refs, alts))
        letter = np.frombuffer(alts, dtype=np.uint8)
        status = np.full(len(at), OK, dtype=np.uint8)
        lengths = self.codes.lengths[contig] if len(self.codes.lengths) else contig * 0
        inside = (contig >= 0) & (pos >= 0) & (pos < lengths)
        genome = np.full(len(at), BAD, dtype=np.uint8)
        genome[inside] = self.codes.data[self.codes.offsets[contig[inside]] + pos[inside]]
        differs = genome != ref
        status[differs] = MISMATCH
        base = alt.copy()
        if self.ref_mismatch == "swap":
            swapped = differs & (alt == genome) & (ref < self.alphabet.n_letters)
            status[swapped], base[swapped] = SWAPPED, ref[swapped]
        elif self.ref_mismatch == "use_vcf":
            status[differs] = VCF_REF
            for i in np.flatnonzero(differs):
                rows.given[int(at[i])] = int(pos[i]), bytes([ref[i]])
        status[(alt >= self.alphabet.n_letters) | (ref == BAD)] = BAD_LETTER
        status[~inside] = OUTSIDE
        status[contig < 0] = NO_CONTIG
        status[letter == ord("*")] = STAR
        status[letter == ord(".")] = NO_ALT
        rows.status[at] = status
        x = rows.alleles
        x.contig[at], x.pos[at], x.n_ref[at], x.n_alt[at], x.bases[at] = contig, pos, 1, 1, base
        if len(at) == len(rows.alt):
            rows.alt = records.alt
        else:
            for i, k in zip(at.tolist(), single.tolist(), strict=True):
                rows.alt[i] = records.alt[k]

    def _fill_parsed(
        self,
        rows: AlleleRows,
        first: np.ndarray,
        contig: np.ndarray,
        parsed: dict[int, list[tuple[bytes, int, int, int, bytes, tuple[int, bytes] | None]]],
    ) -> None:
        """Fill in all other records."""
        x, bases, n_bases = rows.alleles, [rows.alleles.bases], len(rows.alleles.bases)
        for i, found in parsed.items():
            for k, (alt, status, pos, n_ref, ids, given) in enumerate(found, int(first[i])):
                rows.alt[k], rows.status[k] = alt, status
                x.contig[k], x.pos[k], x.n_ref[k], x.n_alt[k] = contig[i], pos, n_ref, len(ids)
                x.at[k], n_bases = n_bases, n_bases + len(ids)
                bases.append(np.frombuffer(ids, dtype=np.uint8))
                if given is not None:
                    rows.given[k] = given
        own = (x.contig, x.pos, x.n_ref, x.n_alt, x.at)
        rows.alleles = Alleles(*own, np.concatenate(bases))

    def _parsed(
        self, records: Records, i: int, contig: int, pos: int
    ) -> list[tuple[bytes, int, int, int, bytes, tuple[int, bytes] | None]]:
        """Return text, status, position, number of REF bases, ids of ALT, and REF if it differs."""
        ref = records.ref[i].translate(self.alphabet.encode_table)
        inside = contig >= 0 and pos >= 0 and pos + len(ref) <= self.codes.lengths[contig]
        genome = self._genome(contig, pos, len(ref)) if inside else b""
        found = []
        for text in records.alt[i].split(b","):
            status = _kind(text)
            alt = b"" if status else text.translate(self.alphabet.encode_table)
            place, n_ref, given = pos, 0, None
            if status == SYMBOLIC and text == b"<DEL>" and self.max_indel and inside:
                n_ref = _deleted(records, i)
                status = OK if 0 < n_ref <= self.max_indel else TOO_LONG
                status = status if pos + 1 + n_ref <= self.codes.lengths[contig] else OUTSIDE
                status = status if genome == ref else MISMATCH
                place = pos + 1
            elif status == OK and contig < 0:
                status = NO_CONTIG
            elif status == OK and not inside:
                status = OUTSIDE
            elif status == OK and (max(alt) >= self.alphabet.n_letters or BAD in ref):
                status = BAD_LETTER
            elif status == OK:
                other = alt
                if genome != ref:
                    status, given = self._differing(contig, pos, ref, alt)
                    other = ref if status == SWAPPED else alt
                    alt_ref = alt if status == SWAPPED else ref
                else:
                    alt_ref = ref
                skipped, short, alt = trim(alt_ref, other)
                place, n_ref = pos + skipped, len(short)
            if status < N_SCORED and self.substitutions and n_ref != len(alt):
                status = INDEL
            found.append((text, status, place, n_ref, alt, given))
        return found

    def _differing(
        self, contig: int, pos: int, ref: bytes, alt: bytes
    ) -> tuple[int, tuple[int, bytes] | None]:
        """Return the status of an allele with another REF, and REF if it is used."""
        if self.ref_mismatch == "use_vcf":
            return VCF_REF, (pos, ref)
        if self.ref_mismatch == "swap" and max(ref) < self.alphabet.n_letters:
            end = pos + len(alt)
            if end <= self.codes.lengths[contig] and self._genome(contig, pos, len(alt)) == alt:
                return SWAPPED, None
        return MISMATCH, None

    def _ids(self, text: bytes) -> np.ndarray:
        return np.frombuffer(text.translate(self.alphabet.encode_table), dtype=np.uint8)

    def _genome(self, contig: int, pos: int, n: int) -> bytes:
        at = int(self.codes.offsets[contig]) + pos
        return self.codes.data[at : at + n].tobytes()


def check_build(reader: RecordReader, source: Source) -> None:
    """Check by the first records that the variants belong to this genome.

    Raises:
        VariantError: REF differs from the genome in more than 5 % of the records, or all contigs
            are unknown.
    """
    n, n_wrong, any_known = 0, 0, False
    contig = b""
    examples: list[str] = []
    for block in first_of(source, _CHECKED_RECORDS):
        if not len(block):
            return
        records = block.records
        contig, n = contig or records.contig[0], n + len(block)
        any_known = any_known or bool((reader.names.numbers(records.contig) >= 0).any())
        if reader.ref_mismatch != "use_vcf":
            rows = reader.rows(block)
            wrong = np.unique(rows.record[rows.status == MISMATCH])
            n_wrong += len(wrong)
            examples += [reader.mismatch(records, int(i)) for i in wrong[: 3 - len(examples)]]
    if not any_known:
        name = contig.decode("utf-8", "replace")
        raise VariantError(f"the variants: {reader.names.contigs.unknown(name)}")
    if n_wrong >= _MIN_MISMATCHES and n_wrong > _MISMATCH_PROP * n:
        raise VariantError(
            f"{n_wrong} of the first {n} records have a REF that differs from the genome "
            f"({'; '.join(examples)}); is it another genome build? Use its FASTA file, "
            "or set --ref_mismatch=use_vcf"
        )


def _kind(alt: bytes) -> int:
    """Return the status of an ALT that is not a sequence of bases, or OK."""
    if alt in (b".", b""):
        return NO_ALT
    if alt == b"*":
        return STAR
    if alt[:1] == b"<":
        return SYMBOLIC
    if b"[" in alt or b"]" in alt or alt[:1] == b"." or alt[-1:] == b".":
        return BREAKEND
    return OK


def _deleted(records: Records, i: int) -> int:
    """Return the number of deleted bases of a `<DEL>`, from END or SVLEN; 0 if unknown."""
    info = records.info[i]
    values = dict(x.split(b"=", 1) for x in info.strip().split(b";") if b"=" in x)
    try:
        if b"END" in values:
            return int(values[b"END"]) - records.pos[i]
        return abs(int(values.get(b"SVLEN", b"0").split(b",")[0]))
    except ValueError:
        return 0


def _lengths(texts: Iterable[bytes]) -> np.ndarray:
    return np.fromiter(map(len, texts), dtype=np.int64)


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
