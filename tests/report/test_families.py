"""What runs are called, which failed for one cause, and which diverged, before it is a page."""

import json

import numpy as np
import pytest
import run_folders
from report.search_folder import NAMES, labels, probabilities, write_search
from sklearn import metrics

from seqmodel.job.results import results
from seqmodel.report.content import content
from seqmodel.report.families import with_areas
from seqmodel.report.importance import together
from seqmodel.training.curves import curves


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("search") / "splice"
    write_search(root)
    return content(results(str(root)), str(root), here=True)


def test_legends_name_what_varies_among_the_runs_that_are_shown(page):
    [family] = page["families"]
    assert family["groups"][0]["label"] == "lr=0.001, n_layers=4, warmup_steps=200"
    assert len(family["groups"][0]["runs"]) == 2
    assert family["ranked"][0]["label"] == "lr=0.001, n_layers=4, warmup_steps=200, seed=1"
    # the three best have one lr
    assert [best["label"] for best in family["best"]] == [
        "n_layers=4, seed=1", "n_layers=4, seed=0", "n_layers=2, seed=1"
    ]  # fmt: skip


def test_failures_of_one_cause_are_one_entry_with_what_they_share(page):
    memory, nan, rose = page["failures"]
    assert (memory["state"], memory["reason"]) == ("error", "out of memory")
    assert memory["shared"] == ["lr=0.001", "n_layers=8", "warmup_steps=200"]
    assert [run["label"] for run in memory["runs"]] == ["seed=0", "seed=1", "seed=2"]
    assert (nan["state"], nan["reason"], len(nan["runs"])) == (
        "diverged", "the loss is not finite", 2
    )  # fmt: skip
    assert rose["reason"].endswith("to 50")
    assert rose["runs"][0]["label"] == "lr=0.1, n_layers=4, warmup_steps=10, seed=0"


def test_diverged_runs_are_not_complete_and_are_not_compared(page):
    assert page["states"]["complete"] == 12
    assert page["states"]["diverged"] == 3
    lost = {run["id"] for run in page["runs"] if run["state"] == "diverged"}
    assert not lost & {i for x in page["families"][0]["ranked"] for i in x["runs"]}


@pytest.mark.parametrize(
    ("train", "valid", "diverged"),
    [
        ([1.0, 2.0], [1.0, 3.0], True),
        ([1.0, 0.1], [1.0, 3.0], False),  # it overfits
        ([1.0, 1.1], [1.0, 1.5], False),
        ([1.0, "inf"], [1.0, 1.0], True),
        ([1.0, 0.5], [1.0, "nan"], True),
        ([-1.0, -0.5], [-1.0, 1.0], False),  # a loss below 0 has no ratio
    ],
)
def test_a_run_diverged_if_both_losses_ended_far_above_their_first_values(
    tmp_path, train, valid, diverged
):
    folder = run_folders.write_run(tmp_path / "out")
    rows = ["epoch,step,train_loss,valid_loss"]
    rows += [f"{i},{i},{a},{b}" for i, (a, b) in enumerate(zip(train, valid, strict=True))]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    [run] = content(results(str(tmp_path / "out")), "out")["runs"]
    assert run["state"] == ("diverged" if diverged else "complete")


def test_settings_that_vary_together_are_found(page):
    [family] = page["families"]
    assert family["together"] == [["lr", "warmup_steps"]]
    assert "warmup_steps" not in [item["name"] for item in family["importance"]]


@pytest.mark.parametrize(
    ("a", "b", "linked"),
    [
        ([1, 1, 2, 2], ["x", "x", "y", "y"], True),
        ([1, 1, 2, 2], ["x", "y", "x", "y"], False),
        ([1, 1, 2, 2], ["x", "x", "y", "z"], False),
        ([1, 2, 3, 4], [0.4, 0.3, 0.2, 0.1], True),
        ([1, 2, 3, 4], [0.3, 0.4, 0.1, 0.2], False),  # random values are all different
        ([1, 1], ["x", "y"], False),
    ],
)
def test_together_means_that_each_value_determines_the_other(a, b, linked):
    runs = [{"a": x, "b": y} for x, y in zip(a, b, strict=True)]
    assert together(runs + runs, ["a", "b"]) == ([["a", "b"]] if linked else [])


def test_areas_are_scikit_learns_also_those_of_runs_that_kept_none():
    p, y = probabilities(1.0), labels()
    kept = curves("class", NAMES, p, y)
    old = json.loads(json.dumps(kept))
    for key in ("roc", "pr"):
        for points in old[key].values():
            del points["area"]
    for i, name in enumerate(NAMES):
        truth = y == i
        areas = {
            "roc": metrics.roc_auc_score(truth, p[:, i]),
            "pr": metrics.average_precision_score(truth, p[:, i]),
        }
        for key, area in areas.items():
            assert with_areas(kept)[key][name]["area"] == pytest.approx(area)
            assert with_areas(old)[key][name]["area"] == pytest.approx(area, abs=1e-4)


def test_the_worst_predictions_of_the_best_run_are_shown(page):
    found = page["families"][0]["predictions"]
    p, y = probabilities(2.45), labels()
    wrong = np.flatnonzero(p.argmax(1) != y)
    assert sum(found["histogram"]["wrong"]) == len(wrong)
    assert sum(found["histogram"]["right"]) == len(y) - len(wrong)
    worst = wrong[np.argmin(p[wrong, y[wrong]])]
    assert found["worst"][0][:3] == [f"row {worst}", NAMES[y[worst]], NAMES[p[worst].argmax()]]
    assert found["n"] == len(y)


def test_numbers_that_are_far_off_come_first(tmp_path):
    folder = run_folders.write_run(tmp_path / "out", task="regress")
    text = "contig\tstart\tend\ty_truth\ty\nc1\t10\t20\t1\t1.5\nc1\t30\t40\t2\t9\nc2\t5\t9\t\t3\n"
    (folder / "test_predictions.tsv").write_text(text)
    page = content(results(str(tmp_path / "out")), str(tmp_path / "out"), here=True)
    found = page["families"][0]["predictions"]
    assert found["worst"] == [["c1:31", "y", 2, 9], ["c1:11", "y", 1, 1.5]]
    assert found["scatter"]["y"] == {"target": [1, 2], "predicted": [1.5, 9]}


def test_logos_and_tracks_of_the_folder_are_shown(page):
    [logos] = page["logos"]
    assert (logos["name"], logos["method"], logos["n"]) == ("explained/x", "ism", 7)
    assert logos["sequences"][0]["label"] == "c2:1-40 (+) site, EI: score 1.25"
    assert logos["sequences"][0]["svg"].startswith("<svg")
    [track] = page["tracks"]
    whole, near = track["windows"]
    assert (whole["contig"], whole["start"], whole["end"], whole["step"]) == ("c2", 0, 5000, 10)
    assert whole["values"][100:110] == [0.5] * 10
    assert whole["values"][200] == -4
    assert (near["start"], near["end"], near["values"][500:510]) == (1500, 2500, [-4] * 10)


def test_files_that_cannot_be_read_are_named_and_do_no_harm(tmp_path):
    root = tmp_path / "out"
    folder = run_folders.write_run(root)
    (folder / "test_predictions.tsv").write_text("a\tb\n1\n")
    (folder / "x.attribute.json").write_text("{")
    (folder / "x.bw").write_bytes(b"no bigWig")
    page = content(results(str(root)), str(root), here=True)
    assert "line 2" in page["families"][0]["predictions"]["problem"]
    assert "x.attribute.json" in page["logos"][0]["problem"]
    assert "x.bw" in page["tracks"][0]["problem"]
    assert content(results(str(root)), str(root))["tracks"] == []  # the folder is on another host
