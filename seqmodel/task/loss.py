"""Losses, each as (sum over what was predicted, sum of weights): means are exact over ranks.

Missing targets (NaN) have no loss, no weight and no gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    mse_loss,
)

Loss = tuple[Tensor, Tensor]


def full(outputs: Tensor) -> Tensor:
    """`outputs` in float32 at least: losses are not summed up in half precision."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def class_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Loss:
    """Sum of the cross-entropies in nats, and sum of the weights of the samples.

    Args:
        logits: float32 [n, C].
        target: classes, int64 [n].
        weights: of the classes, float [C]; all 1 if None.
        smoothing: share of the label that is spread over all classes (Szegedy et al. 2016).
        gamma: focal loss (Lin et al. 2017): a sample weighs (1 - p) ** gamma in the sum, p being
            the probability of its class.
    """
    loss = cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    if gamma:
        p = logits.log_softmax(1).gather(1, target[:, None])[:, 0].exp()
        loss = loss * (1 - p) ** gamma
    weight = torch.ones_like(loss) if weights is None else weights.to(loss.dtype)[target]
    return (loss * weight).sum(), weight.sum()


def binary_loss(
    logits: Tensor,
    target: Tensor,
    *,
    positive_weights: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Loss:
    """Sum of the binary cross-entropies in nats, and number of labels that are there.

    Args:
        logits: float32 [N, T].
        target: 0, 1 or NaN, float32 [N, T].
        positive_weights: factor of the loss of positives, [T] or [1]; all 1 if None.
        smoothing: labels become `smoothing / 2` and `1 - smoothing / 2`.
        gamma: focal loss, as in `class_loss`.
    """
    known = ~target.isnan()
    label = target.nan_to_num()
    smooth = label * (1 - smoothing) + smoothing / 2
    loss = binary_cross_entropy_with_logits(
        logits, smooth, reduction="none", pos_weight=positive_weights
    )
    if gamma:
        p = torch.where(label > 0.5, logits, -logits).sigmoid()
        loss = loss * (1 - p) ** gamma
    return torch.where(known, loss, 0.0).sum(), known.sum().to(loss.dtype)


def regression_loss(outputs: Tensor, target: Tensor, huber_delta: float = 0.0) -> Loss:
    """Sum of the squared errors, or of Huber's loss, and number of targets that are there.

    Args:
        outputs: float32 [N, T].
        target: float32 [N, T], NaN where missing.
        huber_delta: error above which the loss grows linearly; 0 for the squared error.
    """
    known = ~target.isnan()
    # both sides of a missing target are 0, so no NaN reaches a gradient
    outputs, target = torch.where(known, outputs, 0.0), target.nan_to_num()
    if huber_delta:
        loss = huber_loss(outputs, target, reduction="sum", delta=huber_delta)
    else:
        loss = mse_loss(outputs, target, reduction="sum")
    return loss, known.sum().to(loss.dtype)


def poisson_loss(log_rate: Tensor, target: Tensor, count_weight: float = 0.0) -> Loss:
    """Poisson: sum of rate - count * log(rate), without log(count!), and number of bins.

    Args:
        log_rate: float32 [N, B, T].
        target: counts, float32 [N, B, T], NaN where missing.
        count_weight: not used.
    """
    known = ~target.isnan()
    log_rate = torch.where(known, log_rate, 0.0)
    loss = log_rate.exp() - target.nan_to_num() * log_rate
    return torch.where(known, loss, 0.0).sum(), known.sum().to(loss.dtype)


def poisson_multinomial_loss(log_rate: Tensor, target: Tensor, count_weight: float) -> Loss:
    """Poisson of the sum over bins and multinomial of the shape (Linder et al. 2025, Borzoi).

    Both divided by the number of bins; the Poisson part times `count_weight`.
    Arguments as in `poisson_loss`; the weight is the number of tracks with a known bin.
    """
    shape_loss, log_total, total, n_bins = _shape_and_total(log_rate, target)
    total_loss = log_total.exp() - total * log_total
    loss = (shape_loss + count_weight * total_loss) / n_bins.clamp(min=1)
    known = n_bins > 0
    return torch.where(known, loss, 0.0).sum(), known.sum().to(loss.dtype)


def multinomial_count_loss(log_rate: Tensor, target: Tensor, count_weight: float) -> Loss:
    """Multinomial of the shape and squared error of log(1 + total) (Avsec et al. 2021, BPNet).

    The second part times `count_weight`. Arguments and weight as in `poisson_multinomial_loss`.
    """
    shape_loss, log_total, total, n_bins = _shape_and_total(log_rate, target)
    # log(1 + exp(x)), stable
    error = torch.nn.functional.softplus(log_total) - total.log1p()
    loss = shape_loss + count_weight * error**2
    known = n_bins > 0
    return torch.where(known, loss, 0.0).sum(), known.sum().to(loss.dtype)


PROFILE_LOSSES = {
    "poisson": poisson_loss,
    "poisson_multinomial": poisson_multinomial_loss,
    "multinomial_count": multinomial_count_loss,
}


def _shape_and_total(log_rate: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # multinomial NLL without its constant, log of the predicted sum, sum, bins: each [N, T]
    known = ~target.isnan()
    count = target.nan_to_num()
    # -1e9, not -inf: a track without any known bin would give NaN gradients
    log_rate = torch.where(known, log_rate, -1e9)
    log_total = log_rate.logsumexp(1)
    shape_loss = -(count * (log_rate - log_total[:, None])).sum(1)
    n_bins = known.sum(1)
    log_total = torch.where(n_bins > 0, log_total, 0.0)
    return shape_loss, log_total, count.sum(1), n_bins
