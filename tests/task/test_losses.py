"""Losses against torch, against formulas, and against what is missing."""

import pytest
import torch
from torch import nn

from seqmodel.task.loss import (
    PROFILE_LOSSES,
    binary_loss,
    multinomial_count_loss,
    poisson_loss,
    poisson_multinomial_loss,
    regression_loss,
)

NAN = float("nan")


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mean_of(pair):
    return pair[0] / pair[1]


def test_binary_loss_is_that_of_torch():
    logits, target = random(6, 4), (random(6, 4, seed=1) > 0).float()
    expected = nn.BCEWithLogitsLoss()(logits, target)
    torch.testing.assert_close(mean_of(binary_loss(logits, target)), expected)
    weights = torch.tensor([1.0, 5.0, 0.5, 2.0])
    ours = mean_of(binary_loss(logits, target, positive_weights=weights))
    torch.testing.assert_close(ours, nn.BCEWithLogitsLoss(pos_weight=weights)(logits, target))


def test_smoothed_and_focal_binary_losses_are_their_formulas():
    logits, target = random(6, 4), (random(6, 4, seed=1) > 0).float()
    p = logits.sigmoid()
    smooth = target * 0.8 + 0.1
    expected = -(smooth * p.log() + (1 - smooth) * (1 - p).log()).mean()
    torch.testing.assert_close(mean_of(binary_loss(logits, target, smoothing=0.2)), expected)
    p_true = torch.where(target > 0, p, 1 - p)
    expected = (-((1 - p_true) ** 3) * p_true.log()).mean()
    torch.testing.assert_close(mean_of(binary_loss(logits, target, gamma=3.0)), expected)


def test_regression_losses_are_those_of_torch():
    outputs, target = random(6, 4) * 3, random(6, 4, seed=1)
    torch.testing.assert_close(
        mean_of(regression_loss(outputs, target)), nn.MSELoss()(outputs, target)
    )
    ours = mean_of(regression_loss(outputs, target, 0.7))
    torch.testing.assert_close(ours, nn.HuberLoss(delta=0.7)(outputs, target))


def test_poisson_loss_is_that_of_torch():
    log_rate, count = random(2, 9, 3), random(2, 9, 3, seed=1).abs().mul(5).round()
    expected = nn.PoissonNLLLoss(log_input=True)(log_rate, count)
    torch.testing.assert_close(mean_of(poisson_loss(log_rate, count)), expected)


def test_multinomial_losses_are_those_of_the_distribution():
    # a Poisson of each bin is a Poisson of the sum and a multinomial of the shape
    log_rate, count = random(2, 9, 3), random(2, 9, 3, seed=1).abs().mul(5).round()
    total = count.sum(1)
    shape = torch.stack(
        [
            -torch.distributions.Multinomial(
                int(total[i, t]), logits=log_rate[i, :, t], validate_args=False
            ).log_prob(count[i, :, t])
            for i in range(2)
            for t in range(3)
        ]
    ).view(2, 3)
    constant = torch.lgamma(total + 1) - torch.lgamma(count + 1).sum(1)
    shape = shape + constant  # the losses leave out what does not depend on the model
    rate = log_rate.exp().sum(1)
    of_sum = rate - total * rate.log()
    ours = mean_of(poisson_multinomial_loss(log_rate, count, 0.3))
    torch.testing.assert_close(ours, ((shape + 0.3 * of_sum) / 9).mean())
    both = poisson_multinomial_loss(log_rate, count, 1.0)[0] * 9
    torch.testing.assert_close(both, poisson_loss(log_rate, count)[0])
    error = (1 + rate).log() - (1 + total).log()
    ours = mean_of(multinomial_count_loss(log_rate, count, 0.3))
    torch.testing.assert_close(ours, (shape + 0.3 * error**2).mean())


@pytest.mark.parametrize("loss", ["binary", "regression", *PROFILE_LOSSES])
def test_what_is_missing_touches_neither_loss_nor_gradient(loss):
    function = {
        "binary": lambda x, y: binary_loss(x, y, gamma=1.0, smoothing=0.1),
        "regression": lambda x, y: regression_loss(x, y, 1.0),
    }.get(loss) or (lambda x, y: PROFILE_LOSSES[loss](x, y, 0.5))
    shape = (4, 6, 2) if loss in PROFILE_LOSSES else (4, 6)
    x = random(*shape)
    y = (random(*shape, seed=1) > 0).float()
    y[1:3] = NAN
    y[3, 2:] = NAN
    x = x.masked_fill(y.isnan(), 1e4).requires_grad_()  # exp of it overflows
    loss_sum, weight = function(x, y)
    loss_sum.backward()
    assert x.grad.isfinite().all()
    assert (x.grad[y.isnan()] == 0).all()
    assert (x.grad[~y.isnan()] != 0).any()
    first = function(x[:1].detach(), y[:1])
    last = function(x[3:, :2].detach(), y[3:, :2])
    torch.testing.assert_close(loss_sum.detach(), first[0] + last[0])
    torch.testing.assert_close(weight, first[1] + last[1])


@pytest.mark.parametrize("loss", ["binary", "regression", *PROFILE_LOSSES])
def test_a_batch_without_targets_has_no_loss_and_no_weight(loss):
    function = {"binary": binary_loss, "regression": regression_loss}.get(loss) or (
        lambda x, y: PROFILE_LOSSES[loss](x, y, 0.5)
    )
    shape = (4, 6, 2) if loss in PROFILE_LOSSES else (4, 6)
    x = random(*shape).requires_grad_()
    loss_sum, weight = function(x, torch.full(shape, NAN))
    loss_sum.backward()
    assert loss_sum == weight == 0
    assert (x.grad == 0).all()
