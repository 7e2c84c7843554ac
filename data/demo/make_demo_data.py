"""Derives data/demo from the Ustilago maydis genome in Debian's package maffilter-examples.

    apt-get install maffilter-examples
    python data/demo/make_demo_data.py --source /usr/share/doc/maffilter/examples/Umaydis

Writes umaydis.fa.gz (five contigs) and windows.bed (coding and intergenic windows of one length,
contigs of the splits apart). Standard library only; every choice that looks random is a digest of
the window's place, so that any machine derives the same. SOURCE.md says what the windows are.
"""

import argparse
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SPLITS = {"train": ("chr02", "chr03", "chr05"), "valid": ("chr06",), "test": ("chr07",)}
WINDOW_BP = 200
SHARED_KMER_BP = 32
LINE_BP = 80
COMPLEMENT = str.maketrans("ACGT", "TGCA")


class Window(NamedTuple):
    """One line of windows.bed; 0-based half-open."""

    contig: str
    start: int
    end: int
    label: str
    strand: str


def read_fasta(path: Path) -> Iterator[tuple[str, str]]:
    """Name and upper-case sequence of each record; `Umaydis:chr01:1:+:2476500` is named chr01."""
    with gzip.open(path, "rt") as file:
        for record in file.read().split(">")[1:]:
            header, _, body = record.partition("\n")
            words = header.split()[0].split(":")
            yield words[1] if len(words) > 1 else words[0], body.replace("\n", "").upper()


def read_features(path: Path, kind: str) -> Iterator[tuple[str, int, int, str]]:
    """Contig, start, end (0-based half-open) and strand of each feature of a kind in a GFF3."""
    with gzip.open(path, "rt") as file:
        for line in file:
            words = line.split("\t")
            if len(words) == 9 and words[2] == kind:
                yield words[0], int(words[3]) - 1, int(words[4]), words[6]


def digest(*words: object) -> int:
    """A number that looks random, the same for the same words everywhere."""
    return int.from_bytes(hashlib.sha256(repr(words).encode()).digest()[:8], "big")


def runs(mask: bytearray, value: int) -> Iterator[tuple[int, int]]:
    """Maximal stretches of `mask` that hold `value`."""
    end = 0
    while (start := mask.find(value, end)) >= 0:
        end = start
        stretch = mask[start:].lstrip(bytes([value]))
        end = len(mask) - len(stretch)
        yield start, end


def tile(start: int, end: int, *salt: object) -> Iterator[int]:
    """Starts of as many windows as fit, side by side, beginning anywhere in what is left over.

    So a coding window begins in any of the three phases of its reading frame.
    """
    n_windows, left_over = divmod(end - start, WINDOW_BP)
    first = start + digest("offset", start, end, *salt) % (left_over + 1)
    for i in range(n_windows):
        yield first + i * WINDOW_BP


def contig_windows(contig: str, sequence: str, gff: Path) -> list[Window]:
    """Windows of both classes, none overlapping another, none with a letter other than ACGT."""
    # Bits: 1 coding on +, 2 coding on -, 4 inside an mRNA (introns too).
    mask = bytearray(len(sequence))
    for kind in ("CDS", "mRNA"):
        for name, start, end, strand in read_features(gff, kind):
            if name == contig:
                bit = 4 if kind == "mRNA" else 1 if strand == "+" else 2
                mask[start:end] = bytes(value | bit for value in mask[start:end])
    windows = []
    for value, label, strand in ((5, "coding", "+"), (6, "coding", "-"), (0, "intergenic", "")):
        for run_start, run_end in runs(mask, value):
            for start in tile(run_start, run_end, contig):
                sign = strand or "+-"[digest("strand", contig, start) % 2]
                windows.append(Window(contig, start, start + WINDOW_BP, label, sign))
    return [w for w in windows if set(sequence[w.start : w.end]) <= set("ACGT")]


def kmers(sequence: str) -> Iterator[str]:
    """All k-mers of SHARED_KMER_BP, each as the lesser of itself and its reverse complement."""
    reverse = sequence[::-1].translate(COMPLEMENT)
    last = len(sequence) - SHARED_KMER_BP
    for i in range(last + 1):
        ahead = sequence[i : i + SHARED_KMER_BP]
        yield min(ahead, reverse[last - i : last - i + SHARED_KMER_BP])


def without_repeats(
    windows: list[Window], genome: dict[str, str], earlier: list[str]
) -> list[Window]:
    """The windows that share no k-mer with an earlier contig nor with a window before them."""
    own = {w: set(kmers(genome[w.contig][w.start : w.end])) for w in windows}
    all_own = set().union(*own.values())
    seen = {kmer for contig in earlier for kmer in kmers(genome[contig]) if kmer in all_own}
    kept = []
    for window in windows:
        if own[window].isdisjoint(seen):
            kept.append(window)
        seen |= own[window]
    return kept


def balance(windows: list[Window]) -> list[Window]:
    """As many windows of each class, those with the lowest digests, in the order of the genome."""
    classes = [[w for w in windows if w.label == label] for label in ("coding", "intergenic")]
    n_kept = min(map(len, classes))
    kept = [w for c in classes for w in sorted(c, key=lambda w: digest("keep", w))[:n_kept]]
    return sorted(kept)


def derive(genome: dict[str, str], gff: Path) -> list[Window]:
    """Balanced windows of all splits; none of a later split shares a 32-mer with an earlier one.

    Shared means on either strand, anywhere in the earlier split's contigs: the encoder is
    pre-trained on the whole of them. Copies within a split are dropped too, but for the first.
    """
    earlier: list[str] = []
    result = []
    for split, contigs in SPLITS.items():
        windows = [w for c in contigs for w in contig_windows(c, genome[c], gff)]
        distinct = without_repeats(windows, genome, earlier)
        kept = balance(distinct)
        print(
            f"{split}: {len(windows)} windows, {len(windows) - len(distinct)} dropped as repeats, "
            f"{len(kept)} after balancing"
        )
        result += kept
        earlier += contigs
    return result


def write(folder: Path, genome: dict[str, str], windows: list[Window]) -> None:
    """The two files; gzip without a time stamp."""
    with open(folder / "umaydis.fa.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as file:
        for contigs in SPLITS.values():
            for contig in contigs:
                file.write(f">{contig}\n".encode())
                for i in range(0, len(genome[contig]), LINE_BP):
                    file.write(f"{genome[contig][i : i + LINE_BP]}\n".encode())
    lines = [f"{w.contig}\t{w.start}\t{w.end}\t{w.label}\t0\t{w.strand}\n" for w in windows]
    (folder / "windows.bed").write_text("".join(lines))


def main() -> None:
    """Command line; --source is a folder with one GFF3 and one or more FASTA files, gzipped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder of *.fa.gz, *.gff3.gz")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    args = parser.parse_args()
    (gff,) = args.source.glob("*.gff3.gz")
    fastas = sorted([*args.source.glob("*.fa.gz"), *args.source.glob("*.fasta.gz")])
    wanted = {contig for contigs in SPLITS.values() for contig in contigs}
    genome = {n: seq for fasta in fastas for n, seq in read_fasta(fasta) if n in wanted}
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out, genome, derive(genome, gff))


if __name__ == "__main__":
    main()
