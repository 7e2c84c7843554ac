"""Losses, each returned as (sum of losses, sum of weights), so that means over ranks are exact.

Missing targets (NaN) contribute no loss, no weight and no gradient.
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
    """Return `outputs` in float32 or higher, because losses are not summed in half precision."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


def class_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Loss:
    """Return the sum of the cross-entropies in nats and the sum of the sample weights.

    Args:
        logits: Logits of the classes, float32 [n, C].
        target: True classes, int64 [n].
        weights: Weights of the classes, float [C]. None means 1 for each.
        smoothing: Proportion of the label spread over all classes (Szegedy et al. 2016).
        gamma: Exponent of the focal loss (Lin et al. 2017): a sample has the weight
            (1 - p) ** gamma in the sum, where p is the predicted probability of its class.
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
    """Return the sum of the binary cross-entropies in nats and the number of known labels.

    Args:
        logits: Logits of the labels, float32 [N, T].
        target: Labels 0, 1 or NaN, float32 [N, T].
        positive_weights: Factors for the loss of positives, [T] or [1]. None means 1 for each.
        smoothing: Label smoothing; labels become `smoothing / 2` and `1 - smoothing / 2`.
        gamma: Exponent of the focal loss; see `class_loss`.
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
    """Return the sum of the squared errors or Huber losses and the number of known targets.

    Args:
        outputs: Predicted numbers, float32 [N, T].
        target: True numbers, float32 [N, T]; NaN where missing.
        huber_delta: Error above which the loss grows linearly. 0 selects the squared error.
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
    """Return the Poisson loss, the sum of rate - count * log(rate), and the number of bins.

    Args:
        log_rate: Logarithms of the expected counts, float32 [N, B, T].
        target: Observed counts, float32 [N, B, T]; NaN where missing.
        count_weight: Unused.
    """
    known = ~target.isnan()
    log_rate = torch.where(known, log_rate, 0.0)
    loss = log_rate.exp() - target.nan_to_num() * log_rate
    return torch.where(known, loss, 0.0).sum(), known.sum().to(loss.dtype)


def poisson_multinomial_loss(log_rate: Tensor, target: Tensor, count_weight: float) -> Loss:
    """Return the Poisson loss of the total plus the multinomial loss of the shape (Borzoi).

    Both are divided by the number of bins; the Poisson part is multiplied by `count_weight`
    (Linder et al. 2025). See `poisson_loss` for the arguments. The returned weight is the number
    of tracks with at least one known bin.
    """
    shape_loss, log_total, total, n_bins = _shape_and_total(log_rate, target)
    total_loss = log_total.exp() - total * log_total
    loss = (shape_loss + count_weight * total_loss) / n_bins.clamp(min=1)
    known = n_bins > 0
    return torch.where(known, loss, 0.0).sum(), known.sum().to(loss.dtype)


def multinomial_count_loss(log_rate: Tensor, target: Tensor, count_weight: float) -> Loss:
    """Return the multinomial loss of the shape plus the squared error of log(1 + total) (BPNet).

    The second part is multiplied by `count_weight` (Avsec et al. 2021). See
    `poisson_multinomial_loss` for the arguments and the returned weight.
    """
    shape_loss, log_total, total, n_bins = _shape_and_total(log_rate, target)
    # a stable log(1 + exp(x))
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
    # multinomial NLL without its constant, log of the predicted sum, observed sum, number of bins;
    # each [N, T]
    known = ~target.isnan()
    count = target.nan_to_num()
    # -1e9, not -inf: a track without any known bin would give NaN gradients
    log_rate = torch.where(known, log_rate, -1e9)
    log_total = log_rate.logsumexp(1)
    shape_loss = -(count * (log_rate - log_total[:, None])).sum(1)
    n_bins = known.sum(1)
    log_total = torch.where(n_bins > 0, log_total, 0.0)
    return shape_loss, log_total, count.sum(1), n_bins
