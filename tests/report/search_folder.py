"""A folder of a search as it is after some trouble, with outputs of the verbs beside the runs."""

import json

import numpy as np
import run_folders

from seqmodel.infer.logo import logo
from seqmodel.training.curves import curves

NAMES = ["EI", "IE", "N"]
N = 60
OOM = "slurmstepd: error: Detected 1 oom_kill event in StepId={}.batch. Some of the step tasks"
NAN = "DivergedError: train_loss is nan at step {}, learning rate 0.1; first value: blocks.1"


def labels():
    """Classes of the test split, int [N]."""
    return np.random.default_rng(0).integers(0, 3, N)


def probabilities(good, seed=0):
    """Probabilities of the classes, float [N, 3]: the better, the larger `good`."""
    z = np.random.default_rng(seed).normal(size=(N, 3))
    z[np.arange(N), labels()] += good
    e = np.exp(z)
    return e / e.sum(1, keepdims=True)


def write_search(root):
    """12 complete runs over lr with warmup_steps, n_layers and seed; 6 that failed; outputs."""
    for i, (lr, warmup) in enumerate([(1e-4, 1000), (1e-3, 200), (1e-2, 50)]):
        for layers in (2, 4):
            for seed in (0, 1):
                good = [0.5, 2.0, 1.0][i] + 0.1 * layers + 0.05 * seed
                p = probabilities(good)
                folder = _run(
                    root, lr, warmup, layers, seed, level=1 / (1 + good),
                    curves=curves("class", NAMES, p, labels()),
                )  # fmt: skip
                _write_predictions(folder, p)
    for seed in (0, 1, 2):
        _run(root, 1e-3, 200, 8, seed, state="error", stderr=OOM.format(70 + seed))
    for seed in (0, 1):
        _run(root, 0.1, 10, 2, seed, state="error", stderr=NAN.format(30 + seed))
    rising(_run(root, 0.1, 10, 4, 0, level=0.9))
    write_outputs(root / "explained")


def _run(root, lr, warmup, layers, seed, **more):
    name = f"{lr},{layers},{seed}"
    hparams = {"lr": lr, "warmup_steps": warmup, "n_layers": layers, "seed": seed}
    return run_folders.write_run(root, name=name, **hparams, **more)


def rising(folder, to=50.0):
    """Makes the losses of a run end at `to`."""
    path = folder / "metrics.csv"
    head, *rows = (line.split(",") for line in path.read_text().splitlines())
    for column in (head.index("train_loss"), head.index("valid_loss")):
        last = [row for row in rows if row[column]][-1]
        last[column] = str(to)
    path.write_text("".join(",".join(row) + "\n" for row in [head, *rows]))


def _write_predictions(folder, p):
    rows = [["row", "truth", *NAMES]]
    rows += [[i, NAMES[y], *map(float, p[i])] for i, y in enumerate(labels().tolist())]
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (folder / "test_predictions.tsv").write_text(text)


def write_outputs(folder):
    """What `seqmodel attribute --plot --bigwig` leaves of one sequence."""
    import pyBigWig

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    values = np.eye(4)[rng.integers(0, 4, 40)].T * rng.normal(size=40)
    about = {"method": "ism", "targets": ["EI"], "n_sequences": 7}
    (folder / "x.attribute.json").write_text(json.dumps(about))
    (folder / "x.bed").write_text("c2\t0\t40\tsite\t0\t+\t1.25\n")
    (folder / "x.0.svg").write_text(logo(values, "ACGT", 0, 40).svg)
    track = pyBigWig.open(str(folder / "x.bw"), "w")
    track.addHeader([("c1", 3000), ("c2", 5000)])
    track.addEntries(["c2", "c2"], [1000, 2000], ends=[1100, 2010], values=[0.5, -4.0])
    track.close()
