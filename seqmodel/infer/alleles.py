"""The windows of REF and ALT that a variant is scored by.

First stage of scoring variants: alleles in, ids of windows out. A window has the length that the
model reads; in reading direction the first base that differs has index `index` on either strand.
Both alleles have one flank at the same place: the left one (align="left") or the right one.
Leaves out files of variants and models.

An insertion or deletion within a repeat can be written at several places; it is read at the
leftmost one in reading direction, so that its score depends neither on how it was written nor on
the strand. See docs/decisions/variant-windows.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.batch.window import Codes, WindowReader, plan_windows
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import HparamError

ALIGNMENTS = ("left", "right")


class Alleles(NamedTuple):
    """One ALT allele against the genome a row, trimmed of what both alleles share."""

    contig: np.ndarray
    """Number of the contig, int64 [n]."""
    pos: np.ndarray
    """First base that is replaced, or that follows an insertion; 0-based, int64 [n]."""
    n_ref: np.ndarray
    """Bases of the genome that are replaced, int64 [n]; 0 in an insertion."""
    alt: Sequence[np.ndarray]
    """Ids of the bases that replace them, n times uint8 [n_alt]; n_alt is 0 in a deletion."""

    def select(self, rows: np.ndarray) -> Alleles:
        """The alleles of these rows."""
        return Alleles(
            self.contig[rows], self.pos[rows], self.n_ref[rows], [self.alt[i] for i in rows]
        )

    @property
    def n_alt(self) -> np.ndarray:
        """Length of each ALT allele, int64 [n]."""
        return np.fromiter(map(len, self.alt), dtype=np.int64, count=len(self.alt))


def trim(ref: str, alt: str) -> tuple[int, str, str]:
    """Bases before the first that differs, and both alleles without what they share.

    What both end with is taken off first, then what both begin with, as `bcftools norm` does.
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
    """Reads the windows of alleles out of a genome.

    Args:
        codes: the genome, such as a SequenceStore.
        alphabet: what its codes mean.
        length: length of the windows, L.
        index: index of the first base that differs; (L - 1) // 2 unless given.

    Raises:
        HparamError: `index` is outside of the window.
    """

    def __init__(
        self, codes: Codes, alphabet: Alphabet, length: int, index: int | None = None
    ) -> None:
        self.codes, self.alphabet, self.length = codes, alphabet, length
        self.index = (length - 1) // 2 if index is None else index
        if not 0 <= self.index < length:
            raise HparamError(
                f"--variant_index={index} is outside of the window of {length} bases; choose one "
                f"from 0 to {length - 1}"
            )
        self._reader = WindowReader(codes, alphabet, length)

    def placed(self, alleles: Alleles, flip: bool) -> Alleles:
        """The same alleles; an insertion or deletion is at its leftmost place, as it is read."""
        n_alt = alleles.n_alt
        pos = alleles.pos.copy()
        alt = list(alleles.alt)
        for i in np.flatnonzero((alleles.n_ref == 0) != (n_alt == 0)):
            pos[i], alt[i] = self._shifted(alleles, int(i), flip)
        return Alleles(alleles.contig, pos, alleles.n_ref, alt)

    def start(self, alleles: Alleles, flip: bool) -> np.ndarray:
        """Where the window of each (placed) allele starts on its contig, int64 [n]; it may be < 0.

        On the minus strand (`flip`) the first base in reading direction is the last one replaced.
        """
        if not flip:
            return alleles.pos - self.index
        return alleles.pos + alleles.n_ref - (self.length - self.index)

    def ref(self, contig: np.ndarray, start: np.ndarray, flip: bool) -> np.ndarray:
        """Ids of the genome in windows, in reading direction, uint8 [n, L]; padded at its ends."""
        flips = np.full(len(start), flip)
        plan = plan_windows(
            self.codes.offsets, self.codes.lengths, contig, start, self.length, flips
        )
        return self._reader.read(plan)[0]

    def alt(self, alleles: Alleles, ref: np.ndarray, flip: bool, align: str) -> np.ndarray:
        """Ids of the ALT windows of (placed) alleles, uint8 [n, L].

        Args:
            alleles: as `placed` gives them for this strand.
            ref: their REF windows, [n, L].
            flip: the minus strand.
            align: the flank, in reading direction, that lies as in the REF window: left or right.
        """
        out = ref.copy()
        n_alt = alleles.n_alt
        is_snv = (alleles.n_ref == 1) & (n_alt == 1)
        rows = np.flatnonzero(is_snv)
        if len(rows):
            bases = np.concatenate([alleles.alt[i] for i in rows.tolist()])
            out[rows, self.index] = self._complement(bases) if flip else bases
        start = self.start(alleles, flip)
        keeps_start = (align == "left") != flip
        for i in np.flatnonzero(~is_snv):
            out[i] = self._haplotype(alleles, int(i), int(start[i]), flip, keeps_start)
        return out

    def _haplotype(
        self, alleles: Alleles, i: int, start: int, flip: bool, keeps_start: bool
    ) -> np.ndarray:
        """Ids of one ALT window in reading direction, uint8 [L].

        Args:
            alleles: placed alleles.
            i: the row.
            start: where its REF window starts.
            flip: the minus strand.
            keeps_start: the ALT window starts where the REF window does; else it ends there.
        """
        contig, pos, alt = int(alleles.contig[i]), int(alleles.pos[i]), alleles.alt[i]
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
        """Ids of contig[start:end], uint8; padding where that is beyond its ends."""
        n, at = int(self.codes.lengths[contig]), int(self.codes.offsets[contig])
        lo, hi = min(max(start, 0), n), min(max(end, 0), n)
        found = self.codes.data[at + lo : at + max(lo, hi)]
        if len(found) == end - start:
            return found
        out = np.full(end - start, self.alphabet.pad_id, dtype=np.uint8)
        out[lo - start : lo - start + len(found)] = found
        return out

    def _shifted(self, alleles: Alleles, i: int, flip: bool) -> tuple[int, np.ndarray]:
        """Position and ALT bases of an insertion or deletion at its leftmost place, as read."""
        contig, pos, n_ref = int(alleles.contig[i]), int(alleles.pos[i]), int(alleles.n_ref[i])
        alt = alleles.alt[i]
        unit = alt if len(alt) else self._bases(contig, pos, pos + n_ref)
        n, n_new = 0, self.length
        while n_new == self.length:  # mostly once: a repeat is seldom longer than a window
            at = pos + n_ref + n if flip else pos - n - self.length
            bases = self._bases(contig, at, at + self.length)
            turned = np.roll(unit, -n) if flip else np.roll(unit, n)[::-1]
            n_new = self._n_equal(bases if flip else bases[::-1], np.resize(turned, self.length))
            n += n_new
        if flip:
            return pos + n, np.roll(alt, -n) if len(alt) else alt
        return pos - n, np.roll(alt, n) if len(alt) else alt

    def _n_equal(self, a: np.ndarray, b: np.ndarray) -> int:
        """How many ids are equal before the first that differs or is no base."""
        differs = (a != b) | (a >= self.alphabet.n_letters)
        return int(differs.argmax()) if differs.any() else len(a)

    def _complement(self, ids: np.ndarray) -> np.ndarray:
        assert self.alphabet.complement_table is not None  # only strands of a complement are read
        return self.alphabet.complement_table[ids]
