"""The programs of benchmarks/tables as modules, and small data of the same form."""

import csv
import gzip
import random
import sys
import zipfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "tables"


@pytest.fixture(autouse=True)
def programs(monkeypatch):
    """Makes `import gue` work, as it does where gue.py is started; forgets the modules after."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    names = {x.stem for x in FOLDER.glob("*.py")}
    for name in set(sys.modules) - before & names:
        if name in names:
            del sys.modules[name]


def letters(rng, n, alphabet="ACGT"):
    return "".join(rng.choice(alphabet) for _ in range(n))


def write_gz(path, rows, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", newline="") as f:
        csv.writer(f, delimiter=delimiter).writerows(rows)


@pytest.fixture
def data(tmp_path):
    """A folder with the files that the tables read, of few sequences."""
    rng = random.Random(1)
    folder = tmp_path / "data"
    splits = {x: [(letters(rng, 70), i % 2) for i in range(40)] for x in ("train", "dev", "test")}
    splits["train"][:3] = [splits["dev"][0], splits["dev"][0], splits["test"][0]]
    for split, rows in splits.items():
        path = folder / "gue" / "prom" / "prom_core_tata" / f"{split}.csv.gz"
        write_gz(path, [("sequence", "label"), *rows])
    _splice(folder, rng)
    _gb1(folder, rng)
    yeast = folder / "dream_yeast_mpra"
    rows = [(letters(rng, n), rng.uniform(5, 15)) for n in [110] * 60 + [87, 133]]
    write_gz(yeast / "demo_train.txt.gz", rows, "\t")
    header = ("subset", "tag", "sequence", "expression")
    rows = [(x, "", letters(rng, 110), rng.random()) for x in ("random", "yeast") for _ in range(9)]
    write_gz(yeast / "public_leaderboard_test.tsv.gz", [header, *rows], "\t")
    return folder


def _splice(folder, rng):
    path = folder / "uci_splice" / "splice.data"
    path.parent.mkdir(parents=True)
    kinds = ["N"] * 1655 + ["EI"] * 767 + ["IE"] * 768
    path.write_text("".join(f"{x},  NAME-{i},   {letters(rng, 60)}\n" for i, x in enumerate(kinds)))


def _gb1(folder, rng):
    path = folder / "flip_gb1" / "splits.zip"
    path.parent.mkdir(parents=True)
    lines = ["sequence,target,set,validation"]
    for i in range(60):
        split = ("train,", "train,True", "test,")[i % 3]
        lines.append(f"{letters(rng, 265, 'ACDEFGHIKLMNPQRSTVWY')},{rng.random()},{split}")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("low_vs_high", "three_vs_rest", "two_vs_rest"):
            archive.writestr(f"splits/{name}.csv", "\n".join(lines) + "\n")
