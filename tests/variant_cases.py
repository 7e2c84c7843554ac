"""A small genome, variants on it, and files of them."""

import numpy as np

from seqmodel.cli.verbs import main

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
RNG = np.random.default_rng(5)
GENOME = {
    "chr1": "".join(RNG.choice(list("ACGT"), 900)),
    "chr2": "".join(RNG.choice(list("ACGT"), 500)) + "ATATATATATATAT" + "ACCCCCCCG" * 4,
    "chrM": "".join(RNG.choice(list("ACGT"), 300)),
}
HEAD = '##fileformat=VCFv4.2\n##INFO=<ID=DP,Number=1,Type=Integer,Description="d">\n'
NAMES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


def rc(text):
    return text[::-1].translate(COMPLEMENT)


def letter(contig, pos, n=1):
    return GENOME[contig][pos - 1 : pos - 1 + n]


def other(base, k=0):
    return [x for x in "ACGT" if x != base][k]


def snvs(n=40, contig="chr1"):
    places = RNG.choice(np.arange(40, 860 if contig == "chr1" else 255), n, replace=False)
    return [(contig, int(p), letter(contig, p), other(letter(contig, p), p % 3)) for p in places]


def indels():
    found = [("chr1", p, letter("chr1", p, 4), letter("chr1", p)) for p in (100, 203, 411)]
    found += [("chr1", p, letter("chr1", p), letter("chr1", p) + "GATTA") for p in (120, 350)]
    return [*found, ("chr2", 505, letter("chr2", 505, 3), letter("chr2", 505))]


def write_fasta(path):
    path.write_text("".join(f">{n}\n{s}\n" for n, s in GENOME.items()))
    return path


def write_vcf(path, records, head=HEAD, contigs=True, names=NAMES):
    lines = [f"##contig=<ID={n},length={len(s)}>\n" for n, s in GENOME.items()] if contigs else []
    body = [f"{c}\t{p}\tid{i}\t{r}\t{a}\t9\tPASS\tDP=3\n" for i, (c, p, r, a) in enumerate(records)]
    path.write_text(head + "".join(lines) + names + "\n" + "".join(body))
    return path


def run(trained, fasta, variants, *outs, task="multilabel", expect=0, **options):
    words = [f"--checkpoints={trained.best(task)}", f"--fasta={fasta}", f"--variants={variants}"]
    words += [f"--{k}={v}" for k, v in options.items()]
    code = main(["variants", *words, "--out", *map(str, outs)])
    assert code == expect
    return code
