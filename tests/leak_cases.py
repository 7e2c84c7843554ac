"""Rows that tests make, and answers by brute force."""

import csv
import gzip
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from seqmodel.dataset.seq.alphabet import DNA
from seqmodel.dataset.seq.sequences import Sequences
from seqmodel.trust.rows import Rows

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("SEQMODEL_SHARED_DATA", ROOT.parent / "shared" / "data"))
PAIRS = str.maketrans("ACGTU", "TGCAA")


def sequences_of(texts, alphabet=DNA):
    """Sequences of some texts."""
    offsets = np.concatenate(([0], np.cumsum([len(x) for x in texts]))).astype(np.int64)
    return Sequences(alphabet.encode("".join(texts)), offsets, alphabet)


def texts_of(rng, n, low, high=None, letters="ACGT"):
    """Random texts of `low` to `high` letters."""
    lengths = rng.integers(low, (high or low) + 1, n)
    return ["".join(rng.choice(list(letters), x)) for x in lengths]


def reverse(text):
    """The reverse complement of DNA, or of RNA."""
    found = text.translate(PAIRS)[::-1]
    return found.replace("T", "U") if "U" in text else found


def kmers(text, k, canonical=True, letters="ACGT"):
    """The distinct k-mers of a text, without those with unknown letters."""
    found = {text[i : i + k] for i in range(len(text) - k + 1)}
    found = {x for x in found if set(x) <= set(letters)}
    if not canonical:
        return found
    rna = "U" in letters
    pairs = str.maketrans("ACGU", "UGCA") if rna else PAIRS
    return {min(x, x.translate(pairs)[::-1]) for x in found}


def repeats(texts, k, max_rows, **how):
    """k-mers that more than `max_rows` texts have."""
    n = {}
    for x in texts:
        for kmer in kmers(x, k, **how):
            n[kmer] = n.get(kmer, 0) + 1
    return {kmer for kmer, count in n.items() if count > max_rows}


def substituted(rng, text, prop):
    """A text with another letter at a proportion of its positions."""
    out = np.array(list(text))
    for i in rng.choice(len(out), round(prop * len(out)), replace=False):
        out[i] = rng.choice([x for x in "ACGT" if x != out[i]])
    return "".join(out)


def shuffled(rng, text):
    """A text with the same dinucleotides in another order (Altschul and Erickson 1985)."""
    while True:
        edges = {}
        for a, b in pairwise(text):
            edges.setdefault(a, []).append(b)
        for x in edges.values():
            rng.shuffle(x)
        out = [text[0]]
        while edges.get(out[-1]):
            out.append(edges[out[-1]].pop())
        if len(out) == len(text):
            return "".join(out)


def gue(name):
    """Texts and labels of a set of GUE by split; the test is skipped without the data."""
    folder = SHARED / "gue" / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set SEQMODEL_SHARED_DATA to the folder of shared data")
    found = {}
    for split in ("train", "dev", "test"):
        with gzip.open(folder / f"{split}.csv.gz", "rt") as f:
            rows = list(csv.reader(f))[1:]
        found[split] = [x for x, _ in rows], np.array([int(y) for _, y in rows])
    return found


def rows_of(texts, alphabet=DNA, name="train", **more):
    """Rows of some texts."""
    return Rows(name, *sequences_of(texts, alphabet), **more)
