"""Linear models of standardised features, used to fit the baselines.

The objectives are those of scikit-learn: LogisticRegression(C) and Ridge(alpha), both after
StandardScaler. The optimizer is L-BFGS from torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_EXACT = 6_000_000  # up to this many features in total, numbers have 64 bits
_BLOCK = 4096  # rows copied at once
MAX_ITERATIONS = 200


class Linear(NamedTuple):
    """The linear model `(x - mean) / scale @ weight + bias` and its link function.

    Attributes:
        mean: Mean of each feature, [F].
        scale: Standard deviation of each feature, 1 if it is 0, [F].
        weight: Weights of the standardised features, [F, K].
        bias: Biases, [K].
        kind: "class" (K is 1 for two classes), "multilabel" or "real".
    """

    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    kind: str

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return probabilities or numbers for rows [N, F], float64 [N, C] or [N, T]."""
        y = ((x - self.mean) / self.scale).astype(np.float64) @ self.weight + self.bias
        if self.kind == "real":
            return y
        if self.kind == "class" and y.shape[1] > 1:
            return np.asarray(torch.softmax(torch.from_numpy(y), dim=1).numpy())
        p = np.asarray(torch.sigmoid(torch.from_numpy(y)).numpy())
        return np.concatenate((1 - p, p), axis=1) if self.kind == "class" else p


def fit(
    x: np.ndarray,
    y: np.ndarray,
    kind: str,
    n_classes: int = 2,
    c: float = 0.01,
    *,
    overwrite: bool = False,
) -> Linear:
    """Fit a linear model of features [N, F].

    Args:
        x: Features, [N, F].
        y: Class numbers [N]; or labels or numbers [N, T], NaN if missing.
        kind: "class", "multilabel" (one model for each target) or "real".
        n_classes: Number of classes.
        c: Inverse of the L2 penalty: LogisticRegression(C=c) or Ridge(alpha=1 / c).
        overwrite: Allow changing `x`, which saves memory.
    """
    dtype = np.float64 if x.size <= _EXACT else np.float32
    mean, scale = _moments(x)
    scale = np.where(scale > 1e-12 * np.maximum(1, np.abs(mean)), scale, 1)
    mean, scale = mean.astype(dtype), scale.astype(dtype)
    z: Any = x if overwrite and x.dtype == dtype else x.astype(dtype)
    for i in range(0, len(z), _BLOCK):
        z[i : i + _BLOCK] -= mean
        z[i : i + _BLOCK] /= scale
    features = torch.from_numpy(z)
    if kind == "real":
        weight, bias = _ridge(features, torch.from_numpy(y).to(features.dtype), 1 / c)
    else:
        weight, bias = _logistic(features, y, n_classes if kind == "class" else 0, c)
    return Linear(mean, scale, weight, bias, kind)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation of each column, float64."""
    mean = x.mean(axis=0, dtype=np.float64)
    squares = np.zeros(x.shape[1])
    for i in range(0, len(x), _BLOCK):
        squares += np.square(x[i : i + _BLOCK] - mean).sum(axis=0)
    return mean, np.sqrt(squares / max(1, len(x)))


def _logistic(x: Tensor, y: np.ndarray, n_classes: int, c: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression: weights and biases; `n_classes` is 0 for independent labels."""
    multinomial = n_classes > 2
    if multinomial:
        target, n_outputs = torch.from_numpy(y).long(), n_classes
    else:
        target = torch.from_numpy(y.reshape(len(y), -1)).to(x.dtype)
        n_outputs = target.shape[1]
    known = None if multinomial else ~torch.isnan(target)
    target = target if known is None else target.nan_to_num()
    weight = torch.zeros(x.shape[1] + 1, n_outputs, dtype=x.dtype, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=1e-6 if x.dtype == torch.float64 else 1e-5,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        solver.zero_grad()
        logits = x @ weight[:-1] + weight[-1]
        if known is None:
            errors = functional.cross_entropy(logits, target, reduction="sum")
        else:
            each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
            errors = (each * known).sum()
        value = (errors + weight[:-1].square().sum() / (2 * c)) / len(x)
        value.backward()
        return value

    with torch.enable_grad():
        solver.step(loss)
    found = weight.detach().numpy().astype(np.float64)
    return found[:-1], found[-1]


def _ridge(x: Tensor, y: Tensor, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit a ridge regression: weights and biases; each target uses the rows that have a value."""
    known = ~torch.isnan(y)
    if bool(known.all()):
        weight, bias = _solved(x, y, alpha)
    else:
        parts = [_solved(x[k], t[k][:, None], alpha) for t, k in zip(y.T, known.T, strict=True)]
        weight, bias = (torch.cat(side, dim=-1) for side in zip(*parts, strict=True))
    return weight.numpy().astype(np.float64), bias.numpy().astype(np.float64)


def _solved(x: Tensor, y: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    if not len(x):
        return x.new_zeros(x.shape[1], y.shape[1]), y.new_zeros(y.shape[1])
    mean, middle = x.mean(dim=0), y.mean(dim=0)
    gram = (x.T @ x).double() - len(x) * torch.outer(mean, mean).double()
    right = (x.T @ (y - middle)).double()
    gram.diagonal().add_(alpha)
    weight = torch.linalg.solve(gram, right).to(x.dtype)
    return weight, middle - mean @ weight
