"""Variants inside coding windows of the demo, whose consequence is known without the model.

A window is taken if just one of its three reading frames has no stop codon: that of the gene. So
the codon of each position is known, without an annotation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

LETTERS = "ACGT"
STOPS = ((3, 0, 0), (3, 0, 2), (3, 2, 0))  # TAA, TAG, TGA
MAX_INDEL = 6
KINDS = {
    "codon_1": "SNV, first position of a codon",
    "codon_2": "SNV, second position",
    "codon_3": "SNV, third position",
    "stop": "SNV that makes a stop codon",
    "stop_out_of_frame": "SNV that makes such a triplet out of frame",
    "in_frame": "insertion or deletion of 3 or 6 bp",
    "frameshift": "insertion or deletion that shifts the frame",
}
HEADER = (
    "##fileformat=VCFv4.2\n"
    '##INFO=<ID=KIND,Number=A,Type=String,Description="Consequence: ' + ", ".join(KINDS) + '">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)


class Coding(NamedTuple):
    """A coding window: where it is, its codes along the gene uint8 [L], and its frame."""

    contig: str
    start: int
    end: int
    strand: str
    codes: np.ndarray
    frame: int


class Variant(NamedTuple):
    """A record of a VCF file; `pos` is from 1, `kinds` has one of KINDS for each ALT allele."""

    contig: str
    pos: int
    ref: str
    alts: Sequence[str]
    kinds: Sequence[str]


def read_coding(path: Path, genome: dict[str, np.ndarray], contig: str) -> list[Coding]:
    """The coding windows of a contig that have just one frame without a stop codon."""
    found = []
    for line in path.read_text().splitlines():
        name, start, end, label, _, strand = line.split("\t")
        if name == contig and label == "coding":
            ahead = genome[contig][int(start) : int(end)]
            codes = ahead if strand == "+" else 3 - ahead[::-1]
            frames = open_frames(codes)
            if len(frames) == 1:
                found.append(Coding(contig, int(start), int(end), strand, codes, frames[0]))
    return found


def open_frames(codes: np.ndarray) -> list[int]:
    """Those of the frames 0, 1 and 2 that have no stop codon."""
    triplets = np.lib.stride_tricks.sliding_window_view(codes, 3)
    is_stop = (triplets[:, None] == np.array(STOPS)).all(2).any(1)
    return [frame for frame in range(3) if not is_stop[frame::3].any()]


def snvs(window: Coding, index: int) -> Variant:
    """The three SNVs at an index of the window, which must be inside a whole codon."""
    place = (index - window.frame) % 3
    ahead = window.strand == "+"
    alts, kinds = [], []
    for code in range(4):
        if code != window.codes[index]:
            alts.append(LETTERS[code if ahead else 3 - code])
            new = new_stops(window.codes, index, code)
            other = "stop_out_of_frame" if new else f"codon_{place + 1}"
            kinds.append("stop" if index - place in new else other)
    ref = window.codes[index] if ahead else 3 - window.codes[index]
    pos = window.start + index + 1 if ahead else window.end - index
    return Variant(window.contig, pos, LETTERS[ref], alts, kinds)


def new_stops(codes: np.ndarray, index: int, code: int) -> list[int]:
    """Where a triplet begins that is a stop codon only with `code` at `index`."""
    changed = codes.copy()
    changed[index] = code
    starts = range(index - 2, index + 1)
    before, after = ([tuple(x[i : i + 3]) in STOPS for i in starts] for x in (codes, changed))
    return [i for i, old, new in zip(starts, before, after, strict=True) if new and not old]


def indel(window: Coding, index: int, genome: np.ndarray, rng: np.random.Generator) -> Variant:
    """A deletion, or an insertion of random bases, of 1 to MAX_INDEL bp at an index."""
    n = int(rng.integers(1, MAX_INDEL + 1))
    start = window.start + index
    kind = "frameshift" if n % 3 else "in_frame"
    ref = "".join(LETTERS[code] for code in genome[start : start + n + 1])
    if rng.random() < 0.5:
        return Variant(window.contig, start + 1, ref, [ref[0]], [kind])
    inserted = "".join(LETTERS[code] for code in rng.integers(0, 4, n))
    return Variant(window.contig, start + 1, ref[0], [ref[0] + inserted], [kind])


def draw(windows: Sequence[Coding], genome: np.ndarray, n: int, seed: int) -> list[Variant]:
    """All SNVs at one position of `n` windows, and an indel in half of them, by position.

    Args:
        windows: coding windows of one contig.
        genome: codes of that contig.
        n: number of windows.
        seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    found = []
    for i, k in enumerate(rng.choice(len(windows), n, replace=False)):
        middle = range(3, len(windows[k].codes) - MAX_INDEL - 3)
        found.append(snvs(windows[k], int(rng.choice(middle))))
        if i % 2:
            found.append(indel(windows[k], int(rng.choice(middle)), genome, rng))
    return sorted(found, key=lambda variant: variant.pos)


def write_vcf(path: Path, variants: Sequence[Variant]) -> None:
    """Writes a VCF file, with the kind of each ALT allele in INFO."""
    lines = [
        f"{v.contig}\t{v.pos}\t.\t{v.ref}\t{','.join(v.alts)}\t.\t.\tKIND={','.join(v.kinds)}\n"
        for v in variants
    ]
    path.write_text(HEADER + "".join(lines))


def write_bed(path: Path, windows: Sequence[Coding]) -> None:
    """Writes windows as intervals with their strand."""
    lines = [f"{w.contig}\t{w.start}\t{w.end}\tcoding\t0\t{w.strand}\n" for w in windows]
    path.write_text("".join(lines))


def summary(kinds: Sequence[str], effects: np.ndarray) -> list[tuple[str, int, float, float]]:
    """For each kind: what it is, how many, mean effect, mean absolute effect."""
    found = []
    for kind, text in KINDS.items():
        mine = effects[np.array(kinds) == kind]
        if len(mine):
            found.append((text, len(mine), float(mine.mean()), float(np.abs(mine).mean())))
    return found
