"""Scores against scikit-learn on random input, and NaN that is told on degenerate input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from seqmodel.task.metric import ClassMetric
from seqmodel.task.scores import class_scores


def random_case(n, n_classes, seed, ties=False):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, n_classes))
    if ties:
        logits = logits.round()
    target = rng.integers(0, n_classes, size=n)
    target[:n_classes] = range(n_classes)
    logits[np.arange(n), target] += 0.7
    return torch.from_numpy(logits).softmax(1), torch.from_numpy(target)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(4, 80), seed=st.integers(0, 10**6), ties=st.booleans())
def test_two_class_scores_are_those_of_scikit_learn(n, seed, ties):
    p, y = random_case(n, 2, seed, ties)
    ours = {name: float(v) for name, v in class_scores(p, y, ["a", "b"], "test").items()}
    predicted = p.argmax(1).numpy()
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(y, predicted))
    assert ours["f1"] == pytest.approx(sk.f1_score(y, predicted))
    assert ours["mcc"] == pytest.approx(sk.matthews_corrcoef(y, predicted), abs=1e-6)
    assert ours["auroc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
    assert ours["auprc"] == pytest.approx(sk.average_precision_score(y, p[:, 1]))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(6, 80), n_classes=st.integers(3, 6), seed=st.integers(0, 10**6))
def test_multi_class_scores_are_those_of_scikit_learn(n, n_classes, seed):
    p, y = random_case(n, n_classes, seed)
    names = [f"class {i}" for i in range(n_classes)]
    ours = {name: float(v) for name, v in class_scores(p, y, names, "test").items()}
    predicted = p.argmax(1).numpy()
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(y, predicted))
    assert ours["f1"] == pytest.approx(sk.f1_score(y, predicted, average="macro"))
    assert ours["mcc"] == pytest.approx(sk.matthews_corrcoef(y, predicted), abs=1e-6)
    one_hot = np.eye(n_classes)[y]
    assert ours["auroc"] == pytest.approx(sk.roc_auc_score(one_hot, p, average="macro"))
    assert ours["auprc"] == pytest.approx(sk.average_precision_score(one_hot, p, average="macro"))


@pytest.mark.parametrize("only", [0, 1])
def test_one_class_only_is_nan_and_told(only, caplog):
    p, _ = random_case(10, 2, seed=0)
    scores = class_scores(p, torch.full((10,), only), ["intergenic", "coding"], "valid")
    for name in ("auroc", "auprc", "mcc"):
        assert math.isnan(scores[name])
    assert scores["accuracy"] == (p.argmax(1) == only).float().mean()
    assert "valid: AUROC and AUPRC undefined (NaN) for 1 of 1: coding" in caplog.text


def test_an_absent_class_is_told_and_left_out_of_the_mean(caplog):
    p, y = random_case(30, 3, seed=1)
    keep = y != 1
    scores = class_scores(p[keep], y[keep], ["neither", "donor", "acceptor"], "test")
    expected = [sk.roc_auc_score(y[keep] == c, p[keep][:, c]) for c in (0, 2)]
    assert float(scores["auroc"]) == pytest.approx(np.mean(expected))
    assert "test: AUROC and AUPRC undefined (NaN) for 1 of 3: donor" in caplog.text
    assert not math.isnan(scores["mcc"])


def test_a_constant_prediction_is_no_better_than_chance():
    p = torch.tensor([[0.3, 0.7]]).expand(8, 2)
    y = torch.tensor([0, 1, 1, 1, 0, 1, 0, 0])
    scores = class_scores(p, y, ["a", "b"], "test")
    assert scores["mcc"] == sk.matthews_corrcoef(y, p.argmax(1)) == 0
    assert scores["auroc"] == sk.roc_auc_score(y, p[:, 1]) == 0.5
    assert scores["auprc"] == sk.average_precision_score(y, p[:, 1]) == 0.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("wrong", [False, True])
def test_perfect_and_perfectly_wrong_predictions(n_classes, wrong):
    y = torch.arange(12) % n_classes
    p = torch.eye(n_classes)[(y + wrong) % n_classes]
    scores = class_scores(p, y, [str(c) for c in range(n_classes)], "test")
    assert float(scores["mcc"]) == pytest.approx(sk.matthews_corrcoef(y, p.argmax(1)))
    assert float(scores["f1"]) == float(not wrong)
    assert float(scores["auroc"]) == pytest.approx(
        sk.roc_auc_score(np.eye(n_classes)[y], p, average="macro")
    )


def test_scores_are_of_the_whole_split_and_no_mean_of_batches():
    p, y = random_case(60, 2, seed=3)
    logits = p.log()
    whole, cut = ClassMetric(["a", "b"], "test"), ClassMetric(["a", "b"], "test")
    one = torch.ones(())
    whole.update(one * 60, one * 60, logits, y)
    for i, n in ((0, 7), (7, 1), (8, 52)):  # the second has one class only
        cut.update(one * n, one * n, logits[i : i + n], y[i : i + n])
    a, b = whole.compute(), cut.compute()
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name])
