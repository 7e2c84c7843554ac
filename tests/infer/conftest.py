"""One small run of each task, whose data are deleted after it, and what the data were."""

import sys
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import seqmodel

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))

from cases import CASES, SMALL, write_data

DATA = ("g.fa", "g.bed", "t.bw", "train.csv", "valid.csv", "test.csv")


class Trained(NamedTuple):
    """Runs by task; sequences, columns (one, two, value) and bins of the test split."""

    folder: Path
    runs: dict
    sequences: list
    labels: np.ndarray
    bins: np.ndarray

    def best(self, task):
        return self.folder / task / "checkpoints/best.ckpt"


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with chdir(folder):
        write_data(folder)
        runs = {
            task: seqmodel.train(**{**SMALL, **values, "default_root_dir": task, "max_epochs": 2})
            for task, values in CASES.items()
        }
        rows = [x.split(",") for x in Path("test.csv").read_text().splitlines()[1:]]
        for name in DATA:
            Path(name).unlink()
    values = np.repeat([float(s % 7) for s in range(0, 1024, 32)], 32)  # of each letter of a contig
    bins = values.reshape(16, 8, 8).sum(2)
    labels = np.array([row[1:] for row in rows], dtype=float)
    return Trained(folder, runs, [row[0] for row in rows], labels, bins)
