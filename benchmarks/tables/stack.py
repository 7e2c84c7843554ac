"""GUE again, with three models as one: a network, a linear model of k-mers, and trees on motifs.

    python benchmarks/tables/stack.py [tf/0] [--data DIR] [--dev | --held_out]

The network is that of gue.py. The linear one is a support vector machine on which k-mers a sequence
has, up to 20 letters long and with gaps (kmers.py; after gkm-SVM, Ghandi et al. 2014). The trees
see how well the vertebrate motifs of JASPAR fit, the composition, and how common the sequence's
k-mers are in human chromosome 20, which needs no labels. A logistic regression on what the three
say is fitted on dev. With --dev no test is read: the stack is scored on dev by cross-validation;
with --held_out on 3,000 rows of train that the three did not see.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import gue
import kmers
import motifs
import numpy as np
from ensemble import members
from row import Timer, add_arguments, find_data, predict, write_csv, write_rows
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import LinearSVC

SVM = {"C": 1.0, "dual": True, "max_iter": 300}
TREES = {
    "max_iter": 400,
    "learning_rate": 0.06,
    "max_leaf_nodes": 31,
    "min_samples_leaf": 40,
    "l2_regularization": 5.0,
    "max_features": 0.2,
}
N_HELD_OUT = 3000
MODELS = ("network", "k-mers", "trees")


class Split:
    """Sequences and labels of a CSV file: codes uint8 [N, L], labels int [N]."""

    def __init__(self, path: Path) -> None:
        from seqmodel.dataset.seq.alphabet import DNA

        rows = gue.read(path)
        self.codes = np.stack([DNA.encode(x["sequence"], str(path)) for x in rows])
        self.labels = np.array([int(x["label"]) for x in rows])


@cache
def chromosome(data: Path) -> np.ndarray:
    """Codes of human chromosome 20; the file lies in parts that are one gzip file together."""
    from seqmodel.dataset.seq.alphabet import DNA

    parts = sorted((data / "human_chr20_b37").glob("20.fa.gz.part*"))
    if not parts:
        sys.exit(f"no human_chr20_b37/20.fa.gz.part* in {data}; give --data=FOLDER with it")
    text = gzip.decompress(b"".join(x.read_bytes() for x in parts))
    return DNA.encode(text.partition(b"\n")[2].replace(b"\n", b""), "chromosome 20")


def linear(splits: Sequence[Split]) -> list[np.ndarray]:
    """The k-mers' model, fitted to the first split: its decision values for the others."""
    found = [kmers.presence(x.codes) for x in splits]
    n_with = np.bincount(found[0].indices, minlength=found[0].shape[1])
    rarity = sparse.diags(np.log((1 + len(splits[0].labels)) / (1 + n_with)).astype(np.float32))
    train, *others = [normalize((x @ rarity).tocsr()) for x in found]
    model = LinearSVC(**SVM, random_state=0).fit(train, splits[0].labels)
    return [model.decision_function(x) for x in others]


def describe(splits: Sequence[Split], data: Path) -> list[np.ndarray]:
    """What the trees see of each split."""
    known = motifs.read_meme(data / "motifs" / "JASPAR2024_CORE_vertebrates.meme.gz")
    common = kmers.abundance([x.codes for x in splits], chromosome(data))
    return [
        np.hstack([motifs.scan(x.codes, known), kmers.composition(x.codes), y])
        for x, y in zip(splits, common, strict=True)
    ]


def trees(seen: Sequence[np.ndarray], labels: np.ndarray, seed: int) -> list[np.ndarray]:
    """The trees, fitted to the first of `seen`: their decision values for the others."""
    model = HistGradientBoostingClassifier(**TREES, random_state=seed).fit(seen[0], labels)
    return [model.decision_function(x) for x in seen[1:]]


def network(
    hparams: Mapping[str, Any], folder: Path, seed: int, splits: Sequence[str], took: Timer
) -> list[np.ndarray]:
    """The network's decision values for each of the splits ("valid", "test")."""
    trained_on = {k: v for k, v in hparams.items() if k != "test_files"}
    [checkpoint] = members(trained_on, folder, seed, 1, took)
    outputs = [predict(hparams, checkpoint, x)[0].numpy() for x in splits]
    return [x[:, 1] - x[:, 0] for x in outputs]


def top() -> Any:
    """The model on top of the three."""
    return make_pipeline(StandardScaler(), LogisticRegression())


def scores(labels: np.ndarray, decision: np.ndarray) -> dict[str, float]:
    """How well decision values tell the classes; positive is class 1."""
    mcc = matthews_corrcoef(labels, decision > 0)
    return {"mcc": float(mcc), "auroc": float(roc_auc_score(labels, decision))}


def tell(seed: int, labels: np.ndarray, each: Sequence[np.ndarray], stacked: np.ndarray) -> float:
    """Prints the scores of the three and of the stack; returns the stack's MCC."""
    for name, decision in zip((*MODELS, "stack"), (*each, stacked), strict=True):
        told = scores(labels, decision)
        print(seed, name, *(f"{k}={v:.4f}" for k, v in told.items()), flush=True)
    return told["mcc"]


def hold_out(hparams: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings with rows of train, by a digest of their sequence, in place of dev."""
    path = Path(hparams["train_files"][0])
    rows = [(x["sequence"], x["label"]) for x in gue.read(path)]
    rows.sort(key=lambda x: hashlib.sha256(x[0].encode()).digest())
    held, rest = rows[:N_HELD_OUT], rows[N_HELD_OUT:]
    header = ["sequence", "label"]
    train = write_csv(folder / f"{path.stem}_rest.csv", header, rest)
    valid = write_csv(folder / f"{path.stem}_held_out.csv", header, held)
    return {**hparams, "train_files": [train], "valid_files": [valid]}


def main() -> None:
    """Writes the row, or prints scores without the test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="?", default="tf/0", help="the set of GUE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dev", action="store_true", help="score on dev, read no test")
    how.add_argument("--held_out", action="store_true", help="score on rows of train")
    add_arguments(parser)
    args = parser.parse_args()
    data, folder = find_data(args.data), args.out / "stack" / args.which.replace("/", "_")
    if args.held_out:
        folder = folder / "held_out"
        hparams = hold_out(gue.dev_hparams(data, args.which, folder / "data"), folder / "data")
        _print_scores(hparams, data, folder, args.seeds)
    elif args.dev:
        hparams = gue.dev_hparams(data, args.which, folder / "dev" / "data")
        _print_scores(hparams, data, folder / "dev", args.seeds)
    else:
        _write_row(data, args.which, folder, args.seeds)


def _print_scores(hparams: dict[str, Any], data: Path, folder: Path, seeds: Sequence[int]) -> None:
    train, valid = (Split(Path(hparams[f"{x}_files"][0])) for x in ("train", "valid"))
    by_words, seen = linear([train, valid])[0], describe([train, valid], data)
    for seed in seeds:
        each = [
            network(hparams, folder, seed, ["valid"], Timer())[0],
            by_words,
            trees(seen, train.labels, seed)[0],
        ]
        stacked = cross_val_predict(
            top(), np.column_stack(each), valid.labels, cv=10, method="decision_function"
        )
        tell(seed, valid.labels, each, stacked)


def _write_row(data: Path, which: str, folder: Path, seeds: Sequence[int]) -> None:
    hparams, [test] = gue.tests(data, which, folder / "data")
    paths = [Path(hparams[f"{x}_files"][0]) for x in ("train", "valid", "test")]
    splits = [Split(x) for x in paths]
    labels = [x.labels for x in splits]
    outputs = []
    by_words, seen = linear(splits), describe(splits, data)
    for seed in seeds:
        of_network = network(hparams, folder, seed, ["valid", "test"], Timer())
        of_trees = trees(seen, labels[0], seed)
        dev, tested = (np.column_stack(x) for x in zip(of_network, by_words, of_trees, strict=True))
        stacked = top().fit(dev, labels[1]).decision_function(tested)
        tell(seed, labels[2], tested.T, stacked)
        outputs.append(np.column_stack([-stacked, stacked]))
    renamed = test._replace(name=f"{test.name}, network + k-mers + trees")
    write_rows(folder / "rows.md", [renamed.row(outputs, labels[2])])


if __name__ == "__main__":
    main()
