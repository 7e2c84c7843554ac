"""Losses, each as (sum over what was predicted, sum of weights): means are exact over ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def class_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 0.0,
) -> tuple[Tensor, Tensor]:
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
