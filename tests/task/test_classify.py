"""The task of classes: its loss against formulas, its checks, its metrics through a Trainer."""

import pytest
import torch
from sklearn import metrics as sk
from task_cases import (
    NO_TARGETS,
    THREE_CLASSES,
    TWO_CLASSES,
    Batches,
    batch_of,
    task_of,
    trainer_of,
)
from torch.nn.functional import cross_entropy, nll_loss

from seqmodel.errors import HparamError, LabelError
from seqmodel.hparam.model import PositionHparams
from seqmodel.hparam.task import ClassifyHparams
from seqmodel.task.loss import class_loss


def random_logits(n=20, n_classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, n_classes, (n,), generator=generator)
    return torch.randn(n, n_classes, generator=generator), target


def mean_of(pair):
    return pair[0] / pair[1]


def test_plain_loss_is_cross_entropy():
    logits, target = random_logits()
    torch.testing.assert_close(mean_of(class_loss(logits, target)), cross_entropy(logits, target))


def test_weighted_loss_is_that_of_torch():
    logits, target = random_logits()
    weights = torch.tensor([0.2, 1.0, 3.0])
    ours = mean_of(class_loss(logits, target, weights=weights))
    torch.testing.assert_close(ours, cross_entropy(logits, target, weight=weights))


def test_smoothed_labels_are_a_mixture_with_the_uniform_one():
    logits, target = random_logits()
    log_p = logits.log_softmax(1)
    expected = 0.9 * nll_loss(log_p, target) - 0.1 * log_p.mean()
    torch.testing.assert_close(mean_of(class_loss(logits, target, smoothing=0.1)), expected)


def test_focal_loss_is_its_formula():
    logits, target = random_logits()
    p = logits.softmax(1)[torch.arange(20), target]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    torch.testing.assert_close(mean_of(class_loss(logits, target, gamma=2.0)), expected)


@pytest.mark.parametrize("targets", [TWO_CLASSES, THREE_CLASSES], ids=["two", "three"])
def test_metrics_of_a_split_are_those_of_scikit_learn(targets, tmp_path):
    task = task_of(ClassifyHparams(), targets)
    batches = [
        batch_of(n, 16, seed=i, target=torch.arange(i, i + n) % targets.n)
        for i, n in enumerate((8, 8, 3))
    ]
    values = trainer_of(tmp_path).test(task, Batches(batches), verbose=False)[0]
    task.eval()
    p = torch.cat([task(b["tokens"]) for b in batches]).detach().double().softmax(1)
    y = torch.cat([b["target"] for b in batches])
    assert values["test_loss"] == pytest.approx(sk.log_loss(y, p, labels=range(targets.n)))
    assert values["test_mcc"] == pytest.approx(sk.matthews_corrcoef(y, p.argmax(1)), abs=1e-6)
    one_hot = torch.eye(targets.n)[y]
    auroc = (
        sk.roc_auc_score(y, p[:, 1])
        if targets.n == 2
        else sk.roc_auc_score(one_hot, p, average="macro")
    )
    assert values["test_auroc"] == pytest.approx(auroc)


def test_averaged_strands_give_both_strands_one_prediction():
    task = task_of(ClassifyHparams(average_strands=True), TWO_CLASSES)
    x = batch_of(4, 21)["tokens"]
    pad = torch.zeros(4, 21, dtype=torch.bool)
    pad[2, 13:] = True
    other = x.clone()
    for row, n in zip(range(4), (~pad).sum(1), strict=True):
        other[row, :n] = 3 - x[row, :n].flip(0)  # A C G T are 0 1 2 3
    task.eval()
    torch.testing.assert_close(task(x, pad), task(other, pad))
    task.train()
    assert not torch.allclose(task(x, pad), task(other, pad))


@pytest.mark.parametrize("targets", [NO_TARGETS], ids=["unlabelled"])
def test_data_without_classes_are_refused(targets):
    with pytest.raises(LabelError, match="needs two or more classes"):
        task_of(ClassifyHparams(), targets)


def test_a_wrong_number_of_class_weights_is_refused():
    with pytest.raises(HparamError, match="3 weights but the data have 2 classes"):
        task_of(ClassifyHparams(class_weights=[1, 2, 3]), TWO_CLASSES)


def test_a_decoder_by_position_is_refused():
    with pytest.raises(HparamError, match="one output a sequence"):
        task_of(ClassifyHparams(), TWO_CLASSES, decoder=PositionHparams())
