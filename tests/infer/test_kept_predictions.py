"""--mode=test keeps the prediction of each item; --mode=predict is the verb. Scores by sklearn."""

import csv
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, mean_squared_error, roc_auc_score

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.run import main as run_main
from seqmodel.training.metrics_csv import read_rows
from seqmodel.training.predictions import scored_items, write_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))

from cases import write_data

QUIET = ("--accelerator=cpu", "--progress=none")


@pytest.fixture
def folder(tmp_path):
    with chdir(tmp_path):
        write_data(tmp_path)
        yield tmp_path


def scored(trained, task, name):
    """The predictions and the scores of a run that tests the best checkpoint of a task."""
    best = trained.best(task)
    argv = ["--mode=test", f"--load_checkpoint_path={best}", f"--default_root_dir={name}", *QUIET]
    assert run_main(argv) == 0
    scores = {k: float(v) for k, v in read_rows(Path(name, "metrics.csv"))[-1].items() if v}
    path = Path(name, "test_predictions.tsv")
    return (pd.read_csv(path, sep="\t") if path.exists() else None), scores


def test_scores_of_the_rows_are_those_of_the_run(trained, folder, capsys):
    found, scores = scored(trained, "classify", "c")
    assert list(found.columns) == ["row", "contig", "start", "end", "strand", "truth", "0", "1"]
    assert "predictions: c/test_predictions.tsv" in capsys.readouterr().out
    lines = [x.split("\t") for x in Path("g.bed").read_text().splitlines() if x[0] == "c"]
    assert found["start"].tolist() == [int(x[1]) for x in lines]
    assert found["truth"].tolist() == [int(x[3]) for x in lines]
    assert roc_auc_score(found["truth"], found["1"]) == pytest.approx(scores["test_auroc"])
    assert average_precision_score(found["truth"], found["1"]) == pytest.approx(
        scores["test_auprc"]
    )
    found, scores = scored(trained, "multilabel", "m")
    assert list(found.columns) == ["row", "one_truth", "one", "two_truth", "two"]
    for name in ("one", "two"):
        auroc = roc_auc_score(found[f"{name}_truth"], found[name])
        assert auroc == pytest.approx(scores[f"test_auroc/{name}"])
    found, scores = scored(trained, "regress", "r")
    assert found["row"].tolist() == list(range(16))
    assert mean_squared_error(found["value_truth"], found["value"]) == pytest.approx(
        scores["test_mse"], rel=1e-5
    )
    assert scored(trained, "masked", "x")[0] is None


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_rows_are_those_that_the_verb_predicts(trained, folder, task):
    found, _ = scored(trained, task, task)
    model = seqmodel.load(trained.best(task), device="cpu")
    given = {
        "classify": {"fasta": ["g.fa"], "intervals": "c.bed"},
        "regress": {"table": "test.csv"},
    }
    lines = [x for x in Path("g.bed").read_text().splitlines(True) if x[0] == "c"]
    Path("c.bed").write_text("".join(lines))
    for name in model.targets.names:
        found_by_verb = model.predict(**given[task])[name]
        np.testing.assert_allclose(found[name], found_by_verb, 1e-4, 1e-6)


@pytest.mark.parametrize("n_batches", [1, 2, 100])
@pytest.mark.parametrize(("n", "world_size"), [(1, 1), (16, 1), (17, 2), (23, 3), (7, 7)])
def test_items_are_in_the_order_in_which_ranks_score_them(n, world_size, n_batches):
    """By the loader of each rank."""
    from seqmodel.dataset.batch.loader import Loader
    from seqmodel.dataset.batch.sampler import Sampler

    class Reader:
        is_fixed, length = True, 64

        def plan(self, samples):
            return samples

        def read(self, plan, start, end):
            return {"item": plan.item[start:end]}

    expected = []
    for rank in range(world_size):
        sampler = Sampler(n, 3, train=False, rank=rank, world_size=world_size)
        batches = list(Loader(Reader(), sampler))[:n_batches]
        expected += [int(i) for batch in batches for i in batch["item"]]
    assert scored_items(n, 3, n_batches, world_size).tolist() == expected


def test_many_numbers_are_kept_as_arrays_and_rows_are_in_order(tmp_path, monkeypatch):
    from seqmodel.dataset.interval.interval import Contigs, Intervals

    class Reader:
        intervals = Intervals(Contigs(["a\tb"], [9]), np.zeros(3, int), np.arange(3), 4)
        left_aligned = False
        codes = None

    item, outputs = np.array([2, 0, 1]), np.arange(6, dtype=np.float32).reshape(3, 2)
    target = np.array([[2.0, np.nan], [0, 0], [1, 1]])
    path = write_predictions(tmp_path, Reader(), item, ["x", "y;/"], outputs, target)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [x["row"] for x in rows] == ["0", "1", "2"]
    assert [x["contig"] for x in rows] == ["a\tb"] * 3
    assert [x["y;/"] for x in rows] == ["3", "5", "1"]
    assert [x["y;/_truth"] for x in rows] == ["0", "1", ""]
    monkeypatch.setattr("seqmodel.training.predictions.MOST", 5)
    path = write_predictions(tmp_path, Reader(), item, ["x", "y;/"], outputs, target)
    with np.load(path) as archive:
        assert archive["predictions"].tolist() == [[2, 3], [4, 5], [0, 1]]
        assert archive["start"].tolist() == [0, 1, 2]
        assert archive["truth"][:, 0].tolist() == [0, 1, 2]


def test_mode_predict_of_a_run_is_the_verb(trained, folder):
    best = trained.best("regress")
    words = ["--table=test.csv", "--accelerator=cpu"]
    assert main(["predict", f"--checkpoints={best}", "--out=verb.tsv", *words]) == 0
    for mode in (["--mode=predict"], ["--mode", "predict"]):
        name = f"run{len(mode)}.tsv"
        argv = [*mode, f"--load_checkpoint_path={best}", f"--out={name}", *words]
        assert run_main(argv) == 0
        assert Path(name).read_bytes() == Path("verb.tsv").read_bytes()
    assert run_main(["--mode=predict", f"--load_checkpoint_path={best}", *words]) == 2
