"""Scores of alleles: compare the outputs of a model for REF and ALT windows.

This stage follows alleles.py and does not read or write files.

A score is the mean over both strands and, for insertions and deletions, over the windows that share
their left and their right flank with REF. Each window is computed once: one REF window for all
alleles at a place, and one window for equal alleles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqmodel.errors import HparamError
from seqmodel.infer.alleles import Alleles, AlleleWindows
from seqmodel.infer.halving import Halving

_VALUES = ("ref", "alt", "abs")
_OF_EMBEDDINGS = ("cosine", "l2")
SCORES = {
    "classify": ("diff", "logit_diff", *_VALUES, *_OF_EMBEDDINGS),
    "multilabel": ("diff", "logit_diff", *_VALUES, *_OF_EMBEDDINGS),
    "regress": ("diff", *_VALUES, *_OF_EMBEDDINGS),
    "profile": ("log2fc", "jsd", *_VALUES, *_OF_EMBEDDINGS),
    "masked": ("llr", *_VALUES, *_OF_EMBEDDINGS),
    "causal": ("llr", *_VALUES, *_OF_EMBEDDINGS),
}
"""Scores by task."""
DEFAULTS = {
    "classify": ("diff", "logit_diff"),
    "multilabel": ("diff", "logit_diff"),
    "regress": ("diff",),
    "profile": ("log2fc", "jsd"),
    "masked": ("llr",),
    "causal": ("llr",),
}
_SIGNED = ("diff", "logit_diff", "log2fc", "llr")
_COMPARED = ("value", "logit", "shape", "embedding")
_MOST_BATCHES, _ROUND_LETTERS = 32, 1 << 25
"""A round makes windows of that many batches of alleles, fewer for long windows, at least four: few
batches are then not full."""

Values = dict[str, np.ndarray]


def chosen_scores(task: str, scores: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the scores to compute, by default those of the task.

    Raises:
        HparamError: The task has no such score.
    """
    known = SCORES.get(task)
    if known is None:
        raise HparamError(f"task {task!r} has no variant scores, only {', '.join(SCORES)} have")
    for name in scores or ():
        if name not in known:
            raise HparamError(
                f"--scores={name}: task {task} has no such score; choose from {', '.join(known)}"
            )
    return tuple(scores or DEFAULTS[task])


class Scorer:
    """Score alleles with a model.

    Args:
        model: Model.
        scores: Names of the scores.
        batch_size: Number of windows in a batch.
        indel_align: "both", "left" or "right": the flank of an ALT window that matches REF.
        strands: "both" or "plus".

    Attributes:
        columns: Names of the scores and, for an ensemble, of their standard deviations, `_sd`.
        targets: Names of the targets; empty for masked and causal models, which have one score.
    """

    def __init__(
        self,
        model: Any,
        scores: Sequence[str],
        batch_size: int,
        indel_align: str = "both",
        strands: str = "both",
    ) -> None:
        self.model, self.scores, self.batch_size = model, tuple(scores), batch_size
        self._halving = Halving(batch_size)
        self.aligns = ("left", "right") if indel_align == "both" else (indel_align,)
        both = strands == "both" and model.alphabet.complement is not None
        self.flips = (False, True) if both else (False,)
        self.columns = self.scores
        if len(model.members) > 1:
            spread = {x: f"{x}_sd" for x in self.scores if x not in ("abs", *_OF_EMBEDDINGS)}
            self.columns = (*self.scores, *spread.values())
        self.targets: tuple[str, ...] = ()
        if model.task not in ("masked", "causal"):
            self.targets = model.targets.names

    def names(self, score: str) -> list[str]:
        """Return the names of the columns of a score, one for each target."""
        if score in _OF_EMBEDDINGS or not self.targets:
            return [score]
        return [f"{target}_{score}" for target in self.targets]

    def __call__(self, windows: AlleleWindows, alleles: Alleles) -> Values:
        """Return scores by name, float32 [n, columns], from the genome's allele to the other."""
        found = {x: np.empty((len(alleles), len(self.names(x))), np.float32) for x in self.columns}
        unique, of = _unique(alleles)
        once = alleles.select(unique)
        n_batches = _ROUND_LETTERS // (windows.length * self.batch_size)
        step = min(max(n_batches, 4), _MOST_BATCHES) * self.batch_size
        values = [
            self._mean(windows, once.select(slice(i, i + step))) for i in range(0, len(once), step)
        ]
        for name, out in found.items():
            if values:
                out[:] = np.concatenate([x[name] for x in values])[of]
        return found

    def _mean(self, windows: AlleleWindows, alleles: Alleles) -> Values:
        compared = _Masked(self) if self.model.task == "masked" else _Compared(self)
        found = [compared(windows, alleles, flip) for flip in self.flips]
        mean: Values = {}
        for name in found[0]:
            mean[name] = np.stack([x[name] for x in found]).mean(axis=0, dtype=np.float64)
        if "abs" in self.scores:
            mean["abs"] = np.abs(mean["alt"] - mean["ref"])
        for name in self.columns[len(self.scores) :]:
            each = [mean[f"{name[:-3]}{x}"] for x in self.suffixes[1:]]
            mean[name] = np.stack(each).std(axis=0, ddof=1)
        return {k: mean[k] for k in self.columns}

    @property
    def suffixes(self) -> list[str]:
        """Return the suffixes of the columns: for the whole model and for each of an ensemble."""
        n = len(self.model.members)
        return ["", *(f"#{i}" for i in range(n))] if n > 1 else [""]

    @torch.no_grad()
    def batched(
        self, windows: np.ndarray, compute: Callable[[Tensor, Tensor | None], Values]
    ) -> Values:
        """Apply `compute` to windows and their padding, batch by batch; one row for each window."""
        step = self.batch_size
        parts = [
            part
            for i in range(0, len(windows), step)
            for part in self._batch(windows[i : i + step], compute)
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([x[name] for x in parts]) for name in parts[0]}

    def _batch(
        self, x: np.ndarray, compute: Callable[[Tensor, Tensor | None], Values]
    ) -> list[Values]:
        """Compute a batch, in pieces if the device has too little memory."""
        return self._halving(len(x), lambda part: compute(*self._on_device(x[part])))

    def _on_device(self, x: np.ndarray) -> tuple[Tensor, Tensor | None]:
        device, pad_id = self.model.device, self.model.alphabet.pad_id
        # padding is at the start or the end of a window: two columns show it
        has_pad = (x[:, 0] == pad_id).any() or (x[:, -1] == pad_id).any()
        pad = torch.from_numpy(x == pad_id).to(device) if has_pad else None
        return torch.from_numpy(x).to(device), pad

    def embedded(self, x: Tensor, pad: Tensor | None) -> Tensor:
        """Return the mean encoding over positions without padding, for each model, [N, M, C]."""
        found = []
        for member in self.model.members:
            encoder = member.task.encoder
            y, out = encoder(x, pad).float(), encoder.out_pad(pad)
            if out is None:
                found.append(y.mean(1))
                continue
            keep = (~out)[:, :, None].to(y)
            found.append((y * keep).sum(1) / keep.sum(1).clamp(min=1))
        if len({y.shape[1] for y in found}) > 1:
            raise HparamError("--scores: the embeddings of these models differ in size")
        return torch.stack(found, 1)


class _Compared:
    """Scores that compare the outputs for whole windows."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.model, self.scores = scorer, scorer.model, scorer.scores

    def __call__(self, windows: AlleleWindows, alleles: Alleles, flip: bool) -> Values:
        """The scores on one strand."""
        placed = windows.placed(alleles, flip)
        start = windows.start(placed, flip)
        first, of = _first_of(placed.contig, start)
        n_ref, n = len(first), len(alleles)
        ref = windows.ref(placed.contig[first], start[first], flip)
        main, *others = self.scorer.aligns
        alts = [windows.alt(placed, ref, flip, main, of)]
        indels = np.flatnonzero(placed.n_ref != placed.n_alt)
        if others and len(indels):
            alts.append(windows.alt(placed.select(indels), ref, flip, others[0], of[indels]))
        compute = partial(self._of_batch, flip=flip)
        values = self.scorer.batched(np.concatenate([ref, *alts]), compute)
        refs = {k: x[:n_ref][of] for k, x in values.items()}
        left = {k: x[n_ref : n_ref + n] for k, x in values.items()}
        found = self._scores(refs, left)
        if len(alts) > 1:
            right = {k: x[n_ref + n :] for k, x in values.items()}
            here = {k: x[indels] for k, x in refs.items()}
            there = {k: x[indels] for k, x in left.items()}
            second = self._scores(here, right)
            for name, score in found.items():
                score[indels] = (score[indels] + second[name]) / 2
            for x in self.scorer.suffixes if "jsd" in found else ():
                shape = self._joined(there[f"shape{x}"], right[f"shape{x}"], windows)
                found[f"jsd{x}"][indels] = _divergence(here[f"shape{x}"], shape)
        return found

    def _of_batch(self, x: Tensor, pad: Tensor | None, *, flip: bool) -> Values:
        """Return the values of each window that are compared."""
        found: dict[str, Tensor] = {}
        task = self.model.members[0].task
        if set(self.scores) - set(_OF_EMBEDDINGS):
            each = self.model.network.each(x, pad)
            if flip and self.model.task != "causal":  # compared in reading direction
                each = [task.complement_outputs(y) for y in each]
            found = self._of_outputs(each, x, pad)
            for y, suffix in zip(each, self.scorer.suffixes[1:], strict=False):
                own = self._of_outputs([y], x, pad)
                found |= {f"{name}{suffix}": z for name, z in own.items()}
        if set(self.scores) & set(_OF_EMBEDDINGS):
            found["embedding"] = self.scorer.embedded(x, pad)
        return {k: _numbers(y) for k, y in found.items()}

    def _of_outputs(
        self, each: Sequence[Tensor], x: Tensor, pad: Tensor | None
    ) -> dict[str, Tensor]:
        model = self.model
        if model.task == "causal":
            logp = model.shown(each, None, logits=model.ensemble_of == "logit")
            logp = logp.log_softmax(-1) if model.ensemble_of == "logit" else logp.log()
            letters = x[:, 1:].long()
            known = letters < model.alphabet.n_letters
            at = letters.masked_fill(~known, 0)[:, :, None]
            own = logp[:, :-1].gather(2, at)[:, :, 0].masked_fill(~known, 0)
            return {"value": own.double().sum(1, keepdim=True)}
        values = model.shown(each, pad)
        if model.task == "profile":
            values = values.nan_to_num(0.0)
            total = values.sum(1)
            found = {"value": total}
            if "jsd" in self.scores:
                found["shape"] = values
            return found
        if "logit_diff" not in self.scores:
            return {"value": values}
        return {"value": values, "logit": _log_odds(model, each, values)}

    def _scores(self, ref: Values, alt: Values) -> Values:
        """Return the scores, and the scores of each model of an ensemble."""
        found: Values = {}
        for x in self.scorer.suffixes:
            own = [{k: y[f"{k}{x}"] for k in _COMPARED if f"{k}{x}" in y} for y in (ref, alt)]
            found |= {f"{name}{x}": score for name, score in self._compared(*own).items()}
        return found

    def _compared(self, ref: Values, alt: Values) -> Values:
        found: Values = {}
        if "value" in ref:
            found["ref"], found["alt"] = ref["value"].copy(), alt["value"].copy()
        wanted: dict[str, Callable[[], np.ndarray]] = {
            "diff": lambda: alt["value"] - ref["value"],
            "llr": lambda: alt["value"] - ref["value"],
            "logit_diff": lambda: alt["logit"] - ref["logit"],
            "log2fc": lambda: np.log2(alt["value"]) - np.log2(ref["value"]),
            "jsd": lambda: _divergence(ref["shape"], alt["shape"]),
            "cosine": lambda: _cosine(ref["embedding"], alt["embedding"]),
            "l2": lambda: _l2(ref["embedding"], alt["embedding"]),
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            own = [
                k
                for k in wanted
                if k in self.scores and (k not in _OF_EMBEDDINGS or "embedding" in ref)
            ]
            return found | {k: wanted[k]() for k in own}

    def _joined(self, left: np.ndarray, right: np.ndarray, windows: AlleleWindows) -> np.ndarray:
        """Return ALT profiles whose bins on both sides of the variant match the places in REF."""
        n_bins, size = left.shape[1], self.model.bin_len
        before = (windows.length - n_bins * size) // 2  # outputs cover the middle of the window
        at = min(max(-(-(windows.index - before) // size), 0), n_bins)
        return np.concatenate([left[:, :at], right[:, at:]], axis=1)


class _Masked:
    """Log-likelihood ratio of substitutions, whose positions are masked together."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.model, self.scores = scorer, scorer.model, scorer.scores

    def __call__(self, windows: AlleleWindows, alleles: Alleles, flip: bool) -> Values:
        """The scores on one strand."""
        found: Values = {}
        if set(self.scores) - set(_OF_EMBEDDINGS):
            found = self._likelihoods(windows, alleles, flip)
        if set(self.scores) & set(_OF_EMBEDDINGS):
            compared = _Compared(self.scorer)
            compared.scores = tuple(x for x in self.scores if x in _OF_EMBEDDINGS)
            found |= compared(windows, alleles, flip)
        return found

    def _likelihoods(self, windows: AlleleWindows, alleles: Alleles, flip: bool) -> Values:
        start = windows.start(alleles, flip)
        first, of = _first_of(alleles.contig, start, alleles.n_ref)
        ref = windows.ref(alleles.contig[first], start[first], flip)
        alt = windows.alt(alleles, ref, flip, "left", of)
        index, end = windows.index, min(windows.length, windows.index + int(alleles.n_ref.max()))
        inside = np.arange(index, end) < index + alleles.n_ref[:, None]
        hidden = ref.copy()
        hidden[:, index:end][inside[first]] = self.model.alphabet.mask_id
        logp = self._logp(hidden, index, end)
        values: Values = {}
        for name, x in logp.items():
            own = [_picked(x[of], y[:, index:end], inside) for y in (ref[of], alt)]
            scores = {"ref": own[0], "alt": own[1], "llr": own[1] - own[0]}
            values |= {f"{k}{name}": y[:, None] for k, y in scores.items()}
        return values

    def _logp(self, windows: np.ndarray, start: int, end: int) -> Values:
        """Return log-probabilities of symbols at some positions, float32 [n, end - start, A]."""
        model = self.model

        def compute(x: Tensor, pad: Tensor | None) -> Values:
            each = [y[:, start:end] for y in model.network.each(x, pad)]
            logits = model.ensemble_of == "logit"
            found = {}
            for suffix, some in zip(
                self.scorer.suffixes, [each, *([y] for y in each)], strict=False
            ):
                y = model.shown(some, None, logits=logits)
                found[suffix] = _numbers(y.log_softmax(-1) if logits else y.log())
            return found

        return self.scorer.batched(windows, compute)


def _numbers(x: Tensor) -> np.ndarray:
    return (x if x.dtype == torch.float64 else x.float()).cpu().numpy()


def _picked(logp: np.ndarray, ids: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Sum the log-probabilities of known symbols over positions, float32 [n]."""
    known = inside & (ids < logp.shape[2])
    own = np.take_along_axis(logp, np.where(known, ids, 0)[:, :, None].astype(np.int64), axis=2)
    return np.where(known, own[:, :, 0], 0).sum(axis=1)


def _log_odds(model: Any, each: Sequence[Tensor], values: Tensor) -> Tensor:
    """Return the log-odds of each target."""
    if model.ensemble_of == "probability" and len(each) > 1:
        return torch.logit(values.double()).float()
    logits = model.shown(each, None, logits=True)
    if model.task == "multilabel":
        return logits
    others = [
        torch.cat([logits[:, :k], logits[:, k + 1 :]], 1).logsumexp(1)
        for k in range(logits.shape[1])
    ]
    return logits - torch.stack(others, 1)


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence in bits of profiles [n, bins, T], float64 [n, T]."""
    p, q = (x / x.sum(axis=1, keepdims=True, dtype=np.float64) for x in (p, q))
    middle = (p + q) / 2
    total = np.zeros((p.shape[0], p.shape[2]))
    for x in (p, q):
        ratio = np.divide(x, middle, out=np.ones_like(middle), where=x > 0)
        total += (x * np.log2(ratio)).sum(axis=1) / 2
    return np.maximum(total, 0)


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine distance of embeddings [n, M, C], averaged over M, [n, 1]."""
    a, b = (x.astype(np.float64) for x in (a, b))
    norm = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    return (1 - (a * b).sum(axis=2) / norm).mean(axis=1, keepdims=True)


def _l2(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a.astype(np.float64) - b, axis=2).mean(axis=1, keepdims=True)


def _unique(alleles: Alleles) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each distinct allele, in order, and each row's number among them."""
    one = alleles.n_alt == 1
    code = np.full(len(alleles), 255, dtype=np.int64)  # a deletion
    code[one] = alleles.bases[alleles.at[one]]
    seen: dict[bytes, int] = {}
    for i in np.flatnonzero(~one & (alleles.n_alt > 0)).tolist():
        code[i] = 256 + seen.setdefault(alleles.alt(i).tobytes(), len(seen))
    return _first_of(alleles.contig, alleles.pos, alleles.n_ref, code)


def _first_of(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each combination of values, in order, and each row's number."""
    n = len(columns[0])
    if not n:
        return np.arange(0), np.arange(0)
    order = np.lexsort(columns[::-1])
    new = np.ones(n, dtype=bool)
    new[1:] = np.any([x[order][1:] != x[order][:-1] for x in columns], axis=0)
    group = np.empty(n, dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    first = np.full(int(new.sum()), n, dtype=np.int64)
    np.minimum.at(first, group, np.arange(n))
    rank = np.empty(len(first), dtype=np.int64)
    by_first = np.argsort(first)
    rank[by_first] = np.arange(len(first))
    return first[by_first], rank[group]


def turned(values: Values, rows: np.ndarray) -> None:
    """Reverse scores: from the other allele to the genome's."""
    for name in _SIGNED:
        if name in values:
            values[name][rows] *= -1
    for a, b in (("ref", "alt"), ("ref_sd", "alt_sd")):
        if a in values and b in values:
            values[a][rows], values[b][rows] = values[b][rows], values[a][rows].copy()


def n_nan(values: Values, rows: Any) -> int:
    """Count the NaN scores of some rows."""
    return sum(int(np.isnan(x[rows]).sum()) for x in values.values())
