"""Windows of the REF and ALT alleles by which a variant is scored.

This stage turns alleles into ids of windows. A window has the length that the model reads. In
reading direction, the first base that differs has index `index` on either strand. One flank of both
alleles is at the same place: the left flank (align="left") or the right flank. Variant files and
models are handled elsewhere.

An insertion or deletion within a repeat can be written at several positions. It is placed at the
leftmost one in reading direction, so its score does not depend on how it was written or on the
strand. See docs/decisions/variant-windows.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import AnyStr

import numpy as np

from seqmodel.dataset.batch.window import Codes, WindowReader, plan_windows
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import HparamError

ALIGNMENTS = ("left", "right")


@dataclass(frozen=True)
class Alleles:
    """Alleles trimmed of the bases that REF and ALT share; one ALT allele in each row."""

    contig: np.ndarray
    """Number of the contig, int64 [n]."""
    pos: np.ndarray
    """First base that is replaced, or that follows an insertion; 0-based, int64 [n]."""
    n_ref: np.ndarray
    """Bases of the genome that are replaced, int64 [n]; 0 in an insertion."""
    n_alt: np.ndarray
    """Bases that replace them, int64 [n]; 0 in a deletion."""
    at: np.ndarray
    """Index of the first of these in `bases`, int64 [n]."""
    bases: np.ndarray
    """Ids of the bases of all ALT alleles, uint8."""

    @classmethod
    def of(
        cls, contig: np.ndarray, pos: np.ndarray, n_ref: np.ndarray, alt: Sequence[np.ndarray]
    ) -> Alleles:
        """Make alleles from one array of ALT bases for each."""
        n_alt = np.fromiter(map(len, alt), dtype=np.int64, count=len(alt))
        bases = np.concatenate([np.empty(0, dtype=np.uint8), *alt])
        return cls(contig, pos, n_ref, n_alt, np.cumsum(n_alt) - n_alt, bases)

    def __len__(self) -> int:
        return len(self.pos)

    def select(self, rows: np.ndarray | slice) -> Alleles:
        """Select the alleles of these rows."""
        return Alleles(
            contig=self.contig[rows],
            pos=self.pos[rows],
            n_ref=self.n_ref[rows],
            n_alt=self.n_alt[rows],
            at=self.at[rows],
            bases=self.bases,
        )

    def alt(self, i: int) -> np.ndarray:
        """Return the ids of the bases of ALT allele `i`, uint8 [n_alt]."""
        return self.bases[self.at[i] : self.at[i] + self.n_alt[i]]


def trim(ref: AnyStr, alt: AnyStr) -> tuple[int, AnyStr, AnyStr]:
    """Return the number of bases before the first difference, and both alleles trimmed.

    The shared suffix is removed first, then the shared prefix, as in `bcftools norm`.
    """
    n = min(len(ref), len(alt))
    end = 0
    while end < n and ref[-1 - end] == alt[-1 - end]:
        end += 1
    start = 0
    while start < n - end and ref[start] == alt[start]:
        start += 1
    return start, ref[start : len(ref) - end], alt[start : len(alt) - end]


class AlleleWindows:
    """Read the windows of alleles from a genome.

    Args:
        codes: Genome, such as a SequenceStore.
        alphabet: Alphabet of the genome.
        length: Length of the windows, L.
        index: Index of the first base that differs. Default: (L - 1) // 2.

    Raises:
        HparamError: `index` is outside the window.
    """

    def __init__(
        self, codes: Codes, alphabet: Alphabet, length: int, index: int | None = None
    ) -> None:
        self.codes, self.alphabet, self.length = codes, alphabet, length
        self.index = (length - 1) // 2 if index is None else index
        if not 0 <= self.index < length:
            raise HparamError(
                f"--variant_index={index} is outside the window of {length} bp; choose one "
                f"from 0 to {length - 1}"
            )
        self._reader = WindowReader(codes, alphabet, length)

    def placed(self, alleles: Alleles, flip: bool) -> Alleles:
        """Move each insertion or deletion to its leftmost place in reading direction."""
        rows = np.flatnonzero((alleles.n_ref == 0) != (alleles.n_alt == 0))
        if not len(rows):
            return alleles
        pos, at, bases = alleles.pos.copy(), alleles.at.copy(), [alleles.bases]
        n_bases = len(alleles.bases)
        for i in rows.tolist():
            pos[i], alt = self._shifted(alleles, i, flip)
            if len(alt):
                at[i], n_bases = n_bases, n_bases + len(alt)
                bases.append(alt)
        return replace(alleles, pos=pos, at=at, bases=np.concatenate(bases))

    def start(self, alleles: Alleles, flip: bool) -> np.ndarray:
        """Return the window start of each placed allele on its contig, int64 [n]; may be < 0.

        On the minus strand (`flip`), the first base in reading direction is the last one replaced.
        """
        if not flip:
            return alleles.pos - self.index
        return alleles.pos + alleles.n_ref - (self.length - self.index)

    def ref(self, contig: np.ndarray, start: np.ndarray, flip: bool) -> np.ndarray:
        """Return ids of REF windows in reading direction, uint8 [n, L], padded at contig ends."""
        flips = np.full(len(start), flip)
        plan = plan_windows(
            self.codes.offsets, self.codes.lengths, contig, start, self.length, flips
        )
        return self._reader.read(plan)[0]

    def alt(
        self,
        alleles: Alleles,
        ref: np.ndarray,
        flip: bool,
        align: str,
        of: np.ndarray | slice = slice(None),
    ) -> np.ndarray:
        """Return the ids of the ALT windows of placed alleles, uint8 [n, L].

        Args:
            alleles: Result of `placed` for this strand.
            ref: REF windows, uint8 [m, L].
            flip: Whether to read the minus strand.
            align: Flank, in reading direction, that keeps its place in the window: left or right.
            of: Row of `ref` of each allele. Default: the same order.
        """
        out = ref[of].copy() if isinstance(of, slice) else ref[of]
        is_snv = (alleles.n_ref == 1) & (alleles.n_alt == 1)
        rows = np.flatnonzero(is_snv)
        bases = alleles.bases[alleles.at[rows]]
        out[rows, self.index] = self._complement(bases) if flip else bases
        others = np.flatnonzero(~is_snv)
        if len(others):
            start = self.start(alleles, flip)
            keeps_start = (align == "left") != flip
            for i in others.tolist():
                out[i] = self._haplotype(alleles, i, int(start[i]), flip, keeps_start)
        return out

    def _haplotype(
        self, alleles: Alleles, i: int, start: int, flip: bool, keeps_start: bool
    ) -> np.ndarray:
        """Return the ids of one ALT window in reading direction, uint8 [L].

        Args:
            alleles: Placed alleles.
            i: Row of the allele.
            start: Start of its REF window.
            flip: Whether to read the minus strand.
            keeps_start: The ALT window starts at the start of the REF window. Otherwise it ends at
                the end of the REF window.
        """
        contig, pos, alt = int(alleles.contig[i]), int(alleles.pos[i]), alleles.alt(i)
        end, length = pos + int(alleles.n_ref[i]), self.length
        if keeps_start:
            before = self._bases(contig, min(start, pos), pos)
            after = self._bases(contig, end, end + max(0, length - len(before) - len(alt)))
            window = np.concatenate([before, alt, after])[:length]
        else:
            after = self._bases(contig, end, max(start + length, end))
            before = self._bases(contig, pos - max(0, length - len(after) - len(alt)), pos)
            window = np.concatenate([before, alt, after])[-length:]
        return self._complement(window[::-1]) if flip else window

    def _bases(self, contig: int, start: int, end: int) -> np.ndarray:
        """Return the ids of contig[start:end], uint8, padded beyond the ends of the contig."""
        n, at = int(self.codes.lengths[contig]), int(self.codes.offsets[contig])
        lo, hi = min(max(start, 0), n), min(max(end, 0), n)
        found = self.codes.data[at + lo : at + max(lo, hi)]
        if len(found) == end - start:
            return found
        out = np.full(end - start, self.alphabet.pad_id, dtype=np.uint8)
        out[lo - start : lo - start + len(found)] = found
        return out

    def _shifted(self, alleles: Alleles, i: int, flip: bool) -> tuple[int, np.ndarray]:
        """Return position and ALT bases of an insertion or deletion at its leftmost place."""
        contig, pos, n_ref = int(alleles.contig[i]), int(alleles.pos[i]), int(alleles.n_ref[i])
        alt = alleles.alt(i)
        unit = alt if len(alt) else self._bases(contig, pos, pos + n_ref)
        n, n_new = 0, self.length
        while n_new == self.length:  # usually one pass: a repeat is rarely longer than a window
            at = pos + n_ref + n if flip else pos - n - self.length
            bases = self._bases(contig, at, at + self.length)
            turned = np.roll(unit, -n) if flip else np.roll(unit, n)[::-1]
            n_new = self._n_equal(bases if flip else bases[::-1], np.resize(turned, self.length))
            n += n_new
        if flip:
            return pos + n, np.roll(alt, -n) if len(alt) else alt
        return pos - n, np.roll(alt, n) if len(alt) else alt

    def _n_equal(self, a: np.ndarray, b: np.ndarray) -> int:
        """Count the equal ids before the first one that differs or is not a base."""
        differs = (a != b) | (a >= self.alphabet.n_letters)
        return int(differs.argmax()) if differs.any() else len(a)

    def _complement(self, ids: np.ndarray) -> np.ndarray:
        assert self.alphabet.complement_table is not None  # a complement exists
        return self.alphabet.complement_table[ids]
