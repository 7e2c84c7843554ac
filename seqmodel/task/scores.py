"""Scores of predictions, from torchmetrics. An undefined score is NaN and logs one warning line.

torchmetrics and scikit-learn return 0 or 1 for some undefined values (AUROC of one class). Here:
- AUROC, AUPRC and MCC are NaN if the split has one class only;
- MCC of a constant prediction of two classes is 0, as in scikit-learn: no better than chance;
- the mean over classes or targets includes only defined scores;
- NaN outputs give NaN scores, and each mean over them is NaN.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torchmetrics.functional import classification as tm

log = logging.getLogger("seqmodel.task")


def class_scores(
    probabilities: Tensor, target: Tensor, names: list[str], stage: str
) -> dict[str, Tensor]:
    """Return accuracy, F1, MCC, AUROC and AUPRC of predicted classes.

    With two classes, F1, AUROC and AUPRC are those of the second class. With more, they are means
    over classes, each against the rest.

    Args:
        probabilities: Probabilities of the classes, float [n, C].
        target: True classes, int64 [n].
        names: Names of the classes.
        stage: Name of the split, used in messages.
    """
    n_classes = len(names)
    if probabilities.isnan().any():
        log.warning("%s: the outputs are NaN, and so are the scores", stage)
        return dict.fromkeys(("accuracy", "f1", "mcc", "auroc", "auprc"), _nan(target))
    predicted = probabilities.argmax(1)
    counts = torch.bincount(target, minlength=n_classes)
    classes = [1] if n_classes == 2 else range(n_classes)
    one_rest = [ranking_scores(probabilities[:, c], target == c) for c in classes]
    auroc, auprc = (torch.stack(values) for values in zip(*one_rest, strict=True))
    tell_undefined(stage, "AUROC and AUPRC", [names[c] for c in classes], auroc)
    return {
        "accuracy": (predicted == target).float().mean(),
        "f1": f1(predicted, target, classes),
        "mcc": _nan(target) if (counts > 0).sum() < 2 else mcc(predicted, target, n_classes),
        "auroc": auroc.nanmean(),
        "auprc": auprc.nanmean(),
    }


def ranking_scores(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Return the area under the ROC curve and the average precision; NaN for one class only.

    Args:
        scores: Scores that increase with the probability of being positive, float [n]. A NaN
            score makes both results NaN.
        positive: Mask of the positives, bool [n].
    """
    positive = positive.bool()
    n_positive = int(positive.sum())
    if n_positive in (0, positive.numel()) or scores.isnan().any():
        return _nan(scores), _nan(scores)
    # ranks, not values: torchmetrics squashes values outside of [0, 1], which makes ties
    ranks = _exact(torch.unique(scores, return_inverse=True)[1])
    ranks = ranks / max(float(ranks.max()), 1.0)
    label = positive.long()
    auroc = tm.binary_auroc(ranks, label, validate_args=False)
    return auroc.float(), tm.binary_average_precision(ranks, label, validate_args=False).float()


def correlation_scores(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return Pearson's and Spearman's correlation; NaN unless both sides vary.

    Args:
        predicted: Predicted numbers, float [n].
        target: True numbers, float [n].
    """
    both = (predicted, target)
    if predicted.numel() < 2 or any(bool((x == x[0]).all() or x.isnan().any()) for x in both):
        return _nan(predicted), _nan(predicted)
    x, y = _exact(predicted), _exact(target)
    return _pearson(x, y), _pearson(_average_ranks(x), _average_ranks(y))


def known(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs and targets with a known target (not NaN)."""
    there = ~target.isnan()
    return outputs[there], target[there]


def f1(predicted: Tensor, target: Tensor, classes: list[int] | range) -> Tensor:
    """Return the mean F1 over `classes` that occur in target or prediction; NaN if none does."""
    values = []
    for c in classes:
        true = ((predicted == c) & (target == c)).sum()
        values.append(2 * true / ((predicted == c).sum() + (target == c).sum()))
    return torch.stack(values).nanmean()


def mcc(predicted: Tensor, target: Tensor, n_classes: int) -> Tensor:
    """Return the Matthews correlation coefficient; 0 for a constant prediction."""
    if (predicted == predicted[0]).all():
        return torch.zeros((), device=target.device)
    found = tm.multiclass_matthews_corrcoef(predicted, target, n_classes, validate_args=False)
    return found.float()  # an integer tensor if all are correct


def _pearson(x: Tensor, y: Tensor) -> Tensor:
    # torchmetrics' formula warns and loses digits where the variance is small against the mean
    x, y = x - x.mean(), y - y.mean()
    return (x @ y / (x.norm() * y.norm())).float()


def _average_ranks(x: Tensor) -> Tensor:
    # ties share the mean of their ranks
    _, which, counts = torch.unique(x, return_inverse=True, return_counts=True)
    last = counts.cumsum(0)
    return (_exact(last) - (_exact(counts) - 1) / 2)[which]


def _exact(x: Tensor) -> Tensor:
    return x.float() if x.device.type == "mps" else x.double()


def tell_undefined(stage: str, what: str, names: list[str], values: Tensor) -> None:
    """Log one line with the names of the NaN `values`, if any."""
    missing = [name for name, value in zip(names, values.tolist(), strict=True) if value != value]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        log.warning(
            "%s: %s undefined (NaN) for %d of %d: %s (one class only, constant, or NaN outputs)",
            *(stage, what, len(missing), len(names), shown),
        )


def _nan(like: Tensor) -> Tensor:
    return torch.full((), float("nan"), device=like.device)
