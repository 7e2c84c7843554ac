"""Attribution methods: the contribution of each position of a sequence to a score.

    ism                   score with each symbol at each position, minus their mean at the position
    gradient              gradient, minus its mean over the symbols at a position
    input_x_gradient      gradient
    integrated_gradients  mean gradient along the line from a baseline, relative to the baseline
    deeplift              DeepLIFT multipliers (tangermeme), relative to the baseline

Each method gives one number for each symbol at each position, the hypothetical contribution. The
number of the observed symbol is its contribution. attribute_files.py writes files and logo.py draws
logos.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqmodel.errors import HparamError
from seqmodel.extras import optional
from seqmodel.hparam.attribute import BASELINES, METHODS
from seqmodel.infer.halving import Halving
from seqmodel.infer.ism import Scores, is_local, mutagenesis
from seqmodel.infer.logo import Logo, logo
from seqmodel.model.equivariant import BothStrands

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet

_DEFAULT_BASELINE = {"integrated_gradients": "uniform", "deeplift": "shuffled"}
N_STEPS = 64
N_SHUFFLES = 20
MAX_DELTA = {"deeplift": 1e-3, "integrated_gradients": 1e-2}
"""Of the range of the scores; a larger convergence delta is warned of. A sum over few points of a
gradient that jumps, as behind a ReLU, comes no closer."""


@dataclass
class Attributions:
    """Contributions to scores: N sequences of length L, alphabet of A symbols, T targets.

    Attributes:
        method: Name of the method.
        targets: Names of the targets.
        letters: Symbols of the alphabet.
        one_hot: Sequences, float32 [N, A, L]; zeros at padding.
        all_hypothetical: Hypothetical contributions, float32 [N, T, A, L].
        scores: Scores of the sequences, float32 [N, T].
        deltas: Convergence delta: the difference of scores from the baseline, minus the sum of the
            contributions, float32 [N, T]. None for methods without a baseline.
        rows: Row number of each sequence in the input.
        left_out: Row numbers of inputs that are empty or have unknown symbols.
    """

    method: str
    targets: tuple[str, ...]
    letters: tuple[str, ...]
    one_hot: np.ndarray
    all_hypothetical: np.ndarray
    scores: np.ndarray
    deltas: np.ndarray | None
    rows: list[int]
    left_out: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def target(self, name: str) -> Attributions:
        """Select one target.

        Raises:
            HparamError: No target has that name.
        """
        if name not in self.targets:
            raise HparamError(f"no target {name!r}; the targets are {', '.join(self.targets)}")
        i = self.targets.index(name)
        return replace(
            self,
            targets=(name,),
            all_hypothetical=self.all_hypothetical[:, i : i + 1],
            scores=self.scores[:, i : i + 1],
            deltas=None if self.deltas is None else self.deltas[:, i : i + 1],
        )

    @property
    def hypothetical(self) -> np.ndarray:
        """Hypothetical contributions of each symbol to the only target, [N, A, L].

        Raises:
            HparamError: There are several targets.
        """
        return self.all_hypothetical[:, self._only()]

    @property
    def contributions(self) -> np.ndarray:
        """Contributions of the observed symbols to the only target, [N, L]."""
        return (self.hypothetical * self.one_hot).sum(1)

    @property
    def effects(self) -> np.ndarray:
        """Change of the score of the only target by each substitution, [N, A, L].

        Exact for ism, a first-order approximation for the other methods.
        """
        known = self.one_hot.any(1, keepdims=True)
        return (self.hypothetical - self.contributions[:, None]) * known

    def logo(self, i: int, start: int | None = None, end: int | None = None) -> Logo:
        """Draw the contributions of sequence `i` as a logo; a notebook shows it.

        Args:
            i: Index of the sequence.
            start: First position. None means the whole sequence, or the 100 positions with the
                largest contributions if it is longer than 200.
            end: Position after the last one.
        """
        values = self.hypothetical[i] * self.one_hot[i]
        length = int(self.one_hot[i].any(0).sum())
        if start is None and end is None and length > 200:
            start, end = telling(values.sum(0)[:length], 100)
        return logo(values[:, :length], self.letters, start or 0, end or length)

    def _only(self) -> int:
        if len(self.targets) != 1:
            raise HparamError(
                f"there are {len(self.targets)} targets; select one, such as "
                f".target({self.targets[0]!r})"
            )
        return 0


def joined(parts: Sequence[Attributions]) -> Attributions:
    """Concatenate attributions of one model and method."""
    deltas = [x.deltas for x in parts if x.deltas is not None]
    return replace(
        parts[0],
        one_hot=np.concatenate([x.one_hot for x in parts]),
        all_hypothetical=np.concatenate([x.all_hypothetical for x in parts]),
        scores=np.concatenate([x.scores for x in parts]),
        deltas=np.concatenate(deltas) if deltas else None,
        rows=[i for x in parts for i in x.rows],
        left_out=[i for x in parts for i in x.left_out],
    )


def telling(contributions: np.ndarray, width: int) -> tuple[int, int]:
    """Return start and end of the `width` positions with the largest absolute contributions."""
    sums = np.concatenate(([0.0], np.cumsum(np.abs(contributions))))
    width = min(width, len(contributions))
    start = int(np.argmax(sums[width:] - sums[: len(sums) - width]))
    return start, start + width


class Found(NamedTuple):
    """Result of a method for a batch: [N, T, A, L], [N, T], and [N, T] or None."""

    hypothetical: Tensor
    scores: Tensor
    deltas: Tensor | None


class Attributor:
    """An attribution method for batches of sequences.

    Args:
        network: Network of the model.
        alphabet: Alphabet of the model.
        targets: Names of all targets of the model.
        target: Name of a target, "all", or None for the only target.
        method: One of METHODS.
        batch_size: Number of sequences or mutants in a batch.
        length: Length of the sequences, with padding.
        baseline: One of BASELINES, for methods that use one. None means the default of the method.
        device: Device of the model.

    Raises:
        HparamError: The model has no such target, or no score of a whole sequence.
    """

    def __init__(
        self,
        network: Any,
        alphabet: Alphabet,
        targets: Sequence[str],
        *,
        target: str | None,
        method: str,
        batch_size: int,
        length: int,
        baseline: str | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if method not in METHODS:
            raise HparamError(f"method={method!r}: choose one of {', '.join(METHODS)}")
        if not network.tasks[0].predicts_targets:
            raise HparamError(
                "attribute needs a score of the whole sequence; this model predicts single "
                "positions and has no targets"
            )
        self.targets = chosen_targets(targets, target)
        self.baseline = baseline_of(method, baseline)
        self.alphabet, self.method, self.batch_size = alphabet, method, batch_size
        self.network, self.device = network.eval(), torch.device(device)
        self.scores = Scores(network, [list(targets).index(x) for x in self.targets])
        self.table = torch.from_numpy(alphabet.one_hot_table())
        if self.baseline == "shuffled" or method == "deeplift":
            _tangermeme()
        self._halving, self._mutants = Halving(batch_size), Halving(batch_size)
        self.local = method == "ism" and is_local(
            self.scores, length, batch_size, device, self._mutants
        )
        self.largest = 0.0
        self._range = [np.inf, -np.inf]

    def __call__(self, ids: np.ndarray, pad: np.ndarray | None) -> Attributions:
        """Return the contributions of sequences [N, L], without those that have unknown symbols.

        Raises:
            HparamError: A sequence has no baseline.
        """
        known = ids < self.alphabet.n_letters
        whole = known.all(1) if pad is None else (known | pad).all(1) & known.any(1)
        rows = np.flatnonzero(whole)
        n_targets, n_letters, length = len(self.targets), len(self.alphabet.letters), ids.shape[1]

        def part(at: slice) -> Found:
            here = None if pad is None else torch.from_numpy(pad[rows[at]]).to(self.device)
            return self._batch(torch.from_numpy(ids[rows[at]]).to(self.device), here)

        found = self._halving(len(rows), part) if len(rows) else []
        shape = (0, n_targets, n_letters, length)
        hypothetical, scores, deltas = (
            np.concatenate([x.cpu().numpy() for x in part if x is not None] or [np.zeros(empty)])
            for part, empty in zip(
                zip(*found, strict=True) if found else ((), (), ()),
                (shape, shape[:2], shape[:2]),
                strict=True,
            )
        )
        has_deltas = self.baseline is not None
        self._observe(scores, deltas if has_deltas else None)
        return Attributions(
            method=self.method,
            targets=self.targets,
            letters=self.alphabet.letters,
            one_hot=self.table.numpy()[ids[rows]].transpose(0, 2, 1).copy(),
            all_hypothetical=hypothetical.astype(np.float32),
            scores=scores.astype(np.float32),
            deltas=deltas.astype(np.float32) if has_deltas else None,
            rows=rows.tolist(),
            left_out=np.flatnonzero(~whole).tolist(),
        )

    def warn(self) -> None:
        """Warn if a convergence delta is large compared with the range of all scores so far."""
        low, high = self._range
        if np.isfinite(low) and self.largest > MAX_DELTA[self.method] * (high - low):
            warnings.warn(
                f"{self.method}: contributions differ from the difference of scores by up to "
                f"{self.largest:.2g} (scores range from {low:.3g} to {high:.3g}); "
                "the model has an operation that the method does not support; use --method=ism",
                stacklevel=2,
            )

    def _observe(self, scores: np.ndarray, deltas: np.ndarray | None) -> None:
        if deltas is not None and len(deltas):
            self.largest = max(self.largest, float(deltas.max()))
            self._range[0] = min(self._range[0], float(scores.min()))
            self._range[1] = max(self._range[1], float(scores.max()))

    def _batch(self, ids: Tensor, pad: Tensor | None) -> Found:
        if self.method == "ism":
            values = mutagenesis(
                self.scores, ids, pad, self.batch_size, local=self.local, halving=self._mutants
            )
            there = ids.long() if pad is None else ids.long().masked_fill(pad, 0)
            scores = values[torch.arange(len(ids)), 0, there[:, 0]]
            centred = values - values.mean(2, keepdim=True)
            if pad is not None:
                centred = centred.masked_fill(pad[:, :, None, None], 0.0)
            return Found(centred.permute(0, 3, 2, 1), scores, None)
        x = self.table.to(self.device)[ids.long()]
        each = [self._of_target(x, ids, pad, i) for i in range(len(self.targets))]
        hypothetical = torch.stack([y[0] for y in each], 1)
        if pad is not None:
            hypothetical = hypothetical.masked_fill(pad[:, None, :, None], 0.0)
        with torch.no_grad():
            scores = self.scores(x, pad)
        deltas = torch.stack([y[1] for y in each], 1) if self.baseline else None
        return Found(hypothetical.mT, scores, deltas)

    def _of_target(
        self, x: Tensor, ids: Tensor, pad: Tensor | None, target: int
    ) -> tuple[Tensor, Tensor]:
        """Return hypothetical contributions [N, L, A] to one target, and convergence deltas [N]."""
        if self.baseline is None:
            slope = self._gradient(x, pad, target)[0]
            centre = slope.mean(-1, keepdim=True) if self.method == "gradient" else 0.0
            return slope - centre, slope.new_zeros(len(x))
        found = torch.zeros_like(x)
        deltas = x.new_zeros(len(x))
        bases = self._baselines(x, pad)
        for base in bases:
            of = self._deeplift if self.method == "deeplift" else self._along
            slope, difference = of(x, base, pad, target)
            found += (slope - (base * slope).sum(-1, keepdim=True)) / len(bases)
            delta = (((x - base) * slope).sum((1, 2)) - difference).abs()
            deltas = torch.maximum(deltas, delta)
        return found, deltas

    def _gradient(self, x: Tensor, pad: Tensor | None, target: int) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            scores = self.scores(x, pad)[:, target]
            return torch.autograd.grad(scores.sum(), x)[0], scores.detach()

    def _along(
        self, x: Tensor, base: Tensor, pad: Tensor | None, target: int
    ) -> tuple[Tensor, Tensor]:
        """Return the mean gradient from `base` to `x` (Gauss-Legendre), and the difference."""
        nodes, weights = np.polynomial.legendre.leggauss(N_STEPS)
        total = torch.zeros_like(x)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            total += weight * self._gradient(base + node * (x - base), pad, target)[0]
        with torch.no_grad():
            ends = [self.scores(y, pad)[:, target] for y in (x, base)]
        return total, ends[0] - ends[1]

    def _deeplift(
        self, x: Tensor, base: Tensor, pad: Tensor | None, target: int
    ) -> tuple[Tensor, Tensor]:
        """Return DeepLIFT multipliers between `base` and `x`, and the difference of scores."""
        deep_lift_shap = _tangermeme()[0]
        both = [m for m in self.network.modules() if isinstance(m, BothStrands)]
        for module in both:
            module.together = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ours are relative to the range
                slope = deep_lift_shap(
                    _ChannelsFirst(self.scores).eval(),
                    x.mT.contiguous(),
                    args=None if pad is None else (pad,),
                    target=target,
                    batch_size=len(x),
                    references=_Given(base.mT.contiguous()),
                    n_shuffles=1,
                    raw_outputs=True,
                    only_warn=True,
                    device=self.device,
                )[:, 0].mT.to(x.device)
        finally:
            for module in both:
                module.together = True
        with torch.no_grad():
            ends = [self.scores(y, pad)[:, target] for y in (x, base)]
        return slope, ends[0] - ends[1]

    def _baselines(self, x: Tensor, pad: Tensor | None) -> list[Tensor]:
        if self.baseline == "zeros":
            return [torch.zeros_like(x)]
        if self.baseline == "uniform":
            base = torch.full_like(x, 1 / x.shape[-1])
            return [base if pad is None else base.masked_fill(pad[:, :, None], 0.0)]
        shuffle = _tangermeme()[1]
        found = torch.zeros(N_SHUFFLES, *x.shape, dtype=x.dtype, device=x.device)
        n_known = [x.shape[1]] * len(x) if pad is None else (~pad).sum(1).tolist()
        for i, n in enumerate(n_known):
            one = x[i : i + 1, :n].mT.contiguous().cpu()
            several = one.expand(N_SHUFFLES, -1, -1).contiguous()
            with warnings.catch_warnings(), suppress(ValueError):  # AAAA has only one shuffle
                warnings.simplefilter("ignore")
                several = shuffle(several, n=1, random_state=list(range(N_SHUFFLES)))[:, 0]
            found[:, i, :n] = several.mT.to(x)
        return list(found)


class _ChannelsFirst(nn.Module):
    """Network that scores one-hot rows [N, A, L], with the padding as 0 and 1."""

    def __init__(self, scores: Scores) -> None:
        super().__init__()
        self.scores = scores

    def forward(self, x: Tensor, pad: Tensor | None = None) -> Tensor:
        return self.scores(x.mT, None if pad is None else pad > 0.5)


class _Given:
    """References of the sequences of one batch, in the form that tangermeme expects."""

    def __init__(self, base: Tensor) -> None:
        self.base = base

    def __call__(self, x: Tensor, n: int = 1, **kwargs: Any) -> Tensor:
        return self.base[:, None]


def chosen_targets(names: Sequence[str], target: str | None) -> tuple[str, ...]:
    """Return the chosen targets.

    Raises:
        HparamError: No target has that name, or there are several and none is named.
    """
    shown = ", ".join(names[:20])
    if target == "all" and "all" not in names:
        return tuple(names)
    if target is None and len(names) == 1:
        return (names[0],)
    if target is None:
        raise HparamError(
            f"the model has {len(names)} targets ({shown}); set target to one of them, or to all"
        )
    if target not in names:
        raise HparamError(f"no target {target!r}; the targets are {shown}")
    return (target,)


def baseline_of(method: str, baseline: str | None) -> str | None:
    """Return the baseline of a method; None if the method uses none.

    Raises:
        HparamError: The baseline is unknown, or the method uses none.
    """
    if baseline is None:
        return _DEFAULT_BASELINE.get(method)
    if method not in _DEFAULT_BASELINE:
        raise HparamError(f"baseline={baseline!r} has no effect on method={method!r}")
    if baseline not in BASELINES:
        raise HparamError(f"baseline={baseline!r}: choose one of {', '.join(BASELINES)}")
    return baseline


def _tangermeme() -> tuple[Any, Any]:
    deep_lift, ersatz = (
        optional(f"tangermeme.{name}", "--method or --baseline", "attribute", HparamError)
        for name in ("deep_lift_shap", "ersatz")
    )
    return deep_lift.deep_lift_shap, ersatz.dinucleotide_shuffle
