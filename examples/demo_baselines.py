"""What the demo's models are compared with: GC content, 4-mer counts and Markov chains.

Reads the demo's files by itself, and fits with scikit-learn, so that an error in seqmodel's own
reading or fitting would show as a difference.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, matthews_corrcoef, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from seqmodel.trust.markov import contexts, markov_entropy

__all__ = ["contexts", "markov_entropy"]

SPLITS = {"train": ("chr02", "chr03", "chr05"), "valid": ("chr06",), "test": ("chr07",)}
UNKNOWN = 4  # code of a letter that is not A, C, G or T


class Windows(NamedTuple):
    """Labelled windows of one split: codes uint8 [N, L], coding bool [N]."""

    codes: np.ndarray
    coding: np.ndarray


class Scores(NamedTuple):
    """How well one model separates the classes on one split."""

    auroc: float
    mcc: float
    accuracy: float


def read_genome(path: Path) -> dict[str, np.ndarray]:
    """Codes of each contig, uint8: A 0, C 1, G 2, T 3, anything else 4."""
    table = np.full(256, UNKNOWN, np.uint8)
    table[list(b"ACGT")] = range(4)
    genome = {}
    for record in gzip.decompress(path.read_bytes()).split(b">")[1:]:
        name, _, body = record.partition(b"\n")
        letters = np.frombuffer(body.replace(b"\n", b""), np.uint8)
        genome[name.decode()] = table[letters]
    return genome


def read_windows(path: Path, genome: dict[str, np.ndarray], split: str) -> Windows:
    """The windows of a split, each read along its strand."""
    codes, coding = [], []
    for line in path.read_text().splitlines():
        contig, start, end, label, _, strand = line.split("\t")
        if contig in SPLITS[split]:
            ahead = genome[contig][int(start) : int(end)]
            codes.append(ahead if strand == "+" else 3 - ahead[::-1])
            coding.append(label == "coding")
    return Windows(np.stack(codes), np.array(coding))


def gc_content(windows: Windows) -> np.ndarray:
    """Proportion of C and G, float [N, 1]."""
    return np.isin(windows.codes, (1, 2)).mean(axis=1, keepdims=True)


def kmer_counts(windows: Windows, k: int = 4) -> np.ndarray:
    """How often each k-mer occurs in each window, float32 [N, 4 ** k]."""
    n, length = windows.codes.shape
    index = np.zeros((n, length - k + 1), np.int64)
    for i in range(k):
        index = index * 4 + windows.codes[:, i : length - k + 1 + i]
    index += np.arange(n)[:, None] * 4**k
    return np.bincount(index.ravel(), minlength=n * 4**k).reshape(n, -1).astype(np.float32)


def score(coding: np.ndarray, probability: np.ndarray) -> Scores:
    """AUROC, and MCC and accuracy at a probability of one half."""
    called = probability > 0.5
    return Scores(
        float(roc_auc_score(coding, probability)),
        float(matthews_corrcoef(coding, called)),
        float(accuracy_score(coding, called)),
    )


def logistic(train: np.ndarray, coding: np.ndarray, c: float) -> Pipeline:
    """Logistic regression on standardised features; `c` is the inverse of the L2 penalty."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
    return model.fit(train, coding)


def label_baselines(splits: dict[str, Windows]) -> dict[str, Scores]:
    """Test scores of both baselines; the penalties are those with the best validation AUROC."""
    result = {}
    for name, features in (
        ("GC content alone", gc_content),
        ("4-mers, logistic regression", kmer_counts),
    ):
        x = {split: features(windows) for split, windows in splits.items()}
        models = [logistic(x["train"], splits["train"].coding, c) for c in (1e-3, 1e-2, 1e-1, 1)]
        best = max(
            models,
            key=lambda m: score(splits["valid"].coding, m.predict_proba(x["valid"])[:, 1]).auroc,
        )
        result[name] = score(splits["test"].coding, best.predict_proba(x["test"])[:, 1])
    return result
