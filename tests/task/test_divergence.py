"""Outputs that are NaN: no metric makes a number of them, and the first bad layer is found."""

import math

import pytest
import torch
from task_cases import NO_TARGETS, THREE_CLASSES, TWO_CLASSES, batch_of, task_of

from seqmodel.dataset.label.targets import Targets
from seqmodel.hparam.model import ProfileHparams, TransformerHparams
from seqmodel.hparam.optim import PlateauHparams
from seqmodel.hparam.task import (
    CausalHparams,
    ClassifyHparams,
    MaskedHparams,
    MultilabelHparams,
    ProfileTaskHparams,
    RegressHparams,
)
from seqmodel.task.divergence import first_not_finite
from seqmodel.task.metric import ClassMetric
from seqmodel.task.schedule import build_schedule
from seqmodel.task.scores import correlation_scores, ranking_scores

NAN = float("nan")
LABELS = Targets("multilabel", ("CTCF", "DNase", "p300"))
NUMBERS = Targets("real", ("expression", "fitness"))
TRACKS = Targets("track", ("plus", "minus"))


def some(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# hyperparameters, targets, a target of four sequences
CASES = {
    "masked": (MaskedHparams(mask_prop=0.5), NO_TARGETS, None),
    "causal": (CausalHparams(), NO_TARGETS, None),
    "classify": (ClassifyHparams(), TWO_CLASSES, torch.tensor([0, 1, 1, 0])),
    "three classes": (ClassifyHparams(), THREE_CLASSES, torch.tensor([0, 1, 2, 0])),
    "multilabel": (MultilabelHparams(), LABELS, (some(4, 3) > 0.5).float()),
    "regress": (RegressHparams(), NUMBERS, some(4, 2)),
    "profile": (ProfileTaskHparams(), TRACKS, some(4, 16, 2)),
}


def case(name):
    hparams, targets, target = CASES[name]
    encoder = TransformerHparams(n_dims=16, n_layers=2, dropout=0.0, causal=name == "causal")
    decoder = ProfileHparams() if name == "profile" else None
    task = task_of(hparams, targets, encoder=encoder, decoder=decoder).eval()
    return task, batch_of(4, 16, **({} if target is None else {"target": target}))


@pytest.mark.parametrize("stage", ["valid", "test"])
@pytest.mark.parametrize("name", CASES)
def test_every_metric_of_outputs_that_are_nan_is_nan(name, stage):
    task, batch = case(name)
    healthy = task.new_metric(stage)
    healthy.update(*task.score(batch))
    task.decoder.requires_grad_(False)
    for parameter in task.decoder.parameters():
        parameter.fill_(NAN)
    metric = task.new_metric(stage)
    metric.update(*task.score(batch))
    values = metric.compute()
    assert values.keys() == healthy.compute().keys()
    assert [n for n, value in values.items() if not math.isnan(value)] == []


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("multilabel", NAN),  # an infinite logit is a prediction
        ("regress", NAN),
        ("regress", math.inf),
        ("profile", NAN),
        ("profile", math.inf),
    ],
)
def test_one_target_whose_outputs_are_nan_makes_the_means_nan_and_no_other_target(name, bad):
    task, batch = case(name)
    _, _, outputs, target = task.score(batch)
    broken = outputs.detach().clone()
    broken[2, ..., 0] = bad
    metric = task.new_metric("test")
    metric.update(torch.tensor(1.0), torch.tensor(1.0), broken, target)
    healthy = task.new_metric("test")
    healthy.update(torch.tensor(1.0), torch.tensor(1.0), outputs, target)
    values, expected = metric.compute(), healthy.compute()
    first = task.targets.names[0]
    for key, value in values.items():
        if key != "loss" and ("/" not in key or key.endswith(f"/{first}")):
            assert math.isnan(value), key
        else:
            torch.testing.assert_close(value, expected[key], equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_a_metric_says_before_what_it_will_give(name):
    task, batch = case(name)
    metric = task.new_metric("valid")
    metric.update(*task.score(batch))
    assert task.logged_names() == (*(f"valid_{n}" for n in metric.compute()), "train_loss")
    assert task.default_monitor in task.logged_names()


def test_a_metric_of_a_plugin_need_not_say_it():
    class Silent(ClassMetric):
        def scores(self):
            return {"other": torch.zeros(())}

    class Tells(Silent):
        value_names = ("loss", "other")

    assert Silent.value_names is None
    assert Tells.value_names == ("loss", "other")


@pytest.mark.parametrize("name", CASES)
def test_the_first_layer_with_a_value_that_is_not_finite_is_found(name):
    task, batch = case(name)
    assert first_not_finite(task, [batch]).startswith("none is left")
    # the output of the second block is infinite, and so all that follow it is NaN
    block = dict(task.encoder.named_modules())[next(n for n in blocks(task) if n.endswith("1"))]
    block.register_forward_hook(lambda module, args, output: output * float("inf"))
    second = next(n for n in blocks(task) if n.endswith("1"))
    assert first_not_finite(task, [batch, batch]) == f"output of encoder.{second}"
    weight_name, weight = list(task.named_parameters())[-1]
    weight.data.view(-1)[0] = NAN
    assert first_not_finite(task, [batch]).startswith(f"weights {weight_name} (1 of ")


def blocks(task):
    return [n for n, _ in task.encoder.named_modules() if n.count(".") == 1 and n[-1].isdigit()]


def test_an_infinite_label_and_a_gradient_are_named():
    task, batch = case("regress")
    batch["target"][1, 0] = NAN
    assert first_not_finite(task, [batch]).startswith("none is left")
    next(task.parameters()).grad = torch.full_like(next(task.parameters()), NAN)
    assert first_not_finite(task, [batch]).startswith("gradient of encoder.")
    batch["target"][1, 0] = float("inf")
    assert first_not_finite(task, [batch]) == "input 'target' of the batch"


@pytest.mark.parametrize("side", [0, 1])
def test_scores_of_one_target_are_nan_where_a_prediction_is(side):
    x, y = some(8), some(2, 8)[1] > 0.5
    x[3] = NAN
    assert math.isnan(ranking_scores(x, y)[side])
    assert math.isnan(correlation_scores(x, some(2, 8)[1])[side])


def test_a_plateau_does_not_count_a_loss_that_is_undefined():
    hparams = PlateauHparams(plateau_patience=0)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimiser, hparams, 100)
    for loss in (1.0, NAN, NAN, NAN):
        schedule.observe(loss)
    assert schedule.reduction == 1.0
    schedule.observe(2.0)
    assert schedule.reduction == 0.5
