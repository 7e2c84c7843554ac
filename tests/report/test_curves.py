"""The curves of the test split against scikit-learn's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from seqmodel.training.curves import MAX_POINTS, curves


@given(st.integers(0, 10**6), st.integers(5, 150))
def test_confusion_roc_and_precision_are_scikit_learns(seed, n):
    rng = np.random.default_rng(seed)
    p = rng.integers(0, 20, n) / 20  # with ties
    y = rng.integers(0, 2, n)
    y[:2] = 0, 1
    found = curves("class", ["neg", "pos"], np.stack([1 - p, p], 1), y)
    assert found["confusion"] == metrics.confusion_matrix(y, p > 0.5).tolist()
    fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    assert found["roc"]["pos"]["fpr"] == pytest.approx(fpr, abs=1e-4)
    assert found["roc"]["pos"]["tpr"] == pytest.approx(tpr, abs=1e-4)
    assert found["roc"]["pos"]["area"] == pytest.approx(metrics.roc_auc_score(y, p))
    assert found["pr"]["pos"]["area"] == pytest.approx(metrics.average_precision_score(y, p))
    precision, recall, _ = metrics.precision_recall_curve(y, p)
    ours = dict(zip(found["pr"]["pos"]["recall"], found["pr"]["pos"]["precision"], strict=True))
    for r, value in ours.items():
        near = [q for q, s in zip(precision, recall, strict=True) if abs(s - r) < 1e-4]
        assert any(abs(q - value) < 1e-4 for q in near)


def test_unknown_labels_are_left_out_and_one_sided_ones_have_no_curve():
    p = np.array([[0.9, 0.1], [0.2, 0.3], [0.6, 0.5]])
    y = np.array([[1, np.nan], [0, 1], [np.nan, 1]])
    found = curves("multilabel", ["a", "b"], p, y)
    assert found["roc"] == {"a": {"fpr": [0, 0, 1], "tpr": [0, 1, 1], "area": 1}}


def test_large_splits_are_thinned_and_all_is_json():
    rng = np.random.default_rng(0)
    p, y = rng.random((50_000, 3)), rng.random((50_000, 3))
    y[0, 0] = np.nan
    found = curves("real", ["x", "y", "z"], p, y)
    assert len(found["scatter"]["x"]["target"]) <= 2000
    assert None not in json.loads(json.dumps(found))["scatter"]["x"]["target"]
    classes = curves("class", list("abc"), p, rng.integers(0, 3, 50_000))
    assert len(classes["roc"]["b"]["fpr"]) <= MAX_POINTS
    assert classes["roc"]["b"]["area"] == pytest.approx(0.5, abs=0.02)
    assert (classes["roc"]["b"]["fpr"][0], classes["roc"]["b"]["fpr"][-1]) == (0, 1)
    json.dumps(classes)


def test_nothing_is_made_of_tracks_or_of_nothing():
    assert curves("track", ["x"], np.zeros((2, 1)), np.zeros((2, 1))) == {}
    assert curves(None, [], np.zeros((2, 0)), np.zeros((2, 0))) == {}
    assert curves("real", ["x"], np.zeros((0, 1)), np.zeros((0, 1))) == {}
