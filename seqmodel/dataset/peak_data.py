"""Genome bins labelled by the factors that have a peak in them, as for DeepSEA, from peak files."""

from __future__ import annotations

import os

import numpy as np

from seqmodel.dataset.interval.interval import Intervals, concatenate, tiles
from seqmodel.dataset.interval.operations import covered, regions
from seqmodel.dataset.label.targets import Targets
from seqmodel.dataset.store_data import Items, StoreData, base_of
from seqmodel.errors import IntervalError
from seqmodel.rng import hash64

EMPTY_STREAM = 31


class PeakData(StoreData):
    """Bins of `bin_len` bp, read as windows of `seq_len` bp around them, with a label per factor.

    A bin is positive if peaks of the factor cover at least `min_covered_prop` of it.
    """

    def _load(self) -> None:
        self._factors: dict[str, Intervals] = {}
        super()._load()
        self.targets = Targets("multilabel", tuple(self._factors))

    def _items(self, split: str, names: list[str]) -> Items:
        hp = self.hparams
        if not self._factors:
            self._factors = self._read_factors()
        bins = tiles(self.contigs, hp.bin_len, names=names)
        positive = [positive_bins(bins, x, hp.min_covered_prop) for x in self._factors.values()]
        kept = self._kept(split, bins, positive)
        target = np.zeros((len(kept), len(positive)), dtype=np.uint8)
        for i, which in enumerate(positive):
            target[np.searchsorted(kept, which), i] = 1
        return Items(bins.select(kept), target)

    def _kept(self, split: str | None, bins: Intervals, positive: list[np.ndarray]) -> np.ndarray:
        """Return the bins with a peak, and some without, chosen by a hash of their position."""
        filled = np.unique(np.concatenate(positive))
        if not len(filled):
            raise IntervalError(
                f"{split} split: no bin has a peak; lower --min_covered_prop or check --peak_len"
            )
        empty = np.setdiff1d(np.arange(len(bins)), filled, assume_unique=True)
        n = min(len(empty), round(self.hparams.empty_per_positive * len(filled)))
        order = np.argsort(hash64(EMPTY_STREAM, bins.contig[empty], bins.start[empty]))
        self.left_out.setdefault(str(split), {})["without a peak"] = len(empty) - n
        return np.sort(np.concatenate((filled, empty[order[:n]])))

    def _around(self, x: Intervals) -> Intervals:
        return x.anchored(self.seq_len)  # bins; --anchor applies to peaks only

    def _read_factors(self) -> dict[str, Intervals]:
        hp = self.hparams
        found: dict[str, list[Intervals]] = {}
        for path in hp.peaks:
            columns, texts = [hp.factor_column] if hp.factor_column else [], list[str]()
            bed = self._read_anchored(
                path,
                columns,
                lambda found, _: texts.extend(x for y in found for x in y),  # noqa: B023
                summits=bool(hp.peak_len),
            )
            for name, peaks in _by_factor(path, bed.intervals, texts).items():
                found.setdefault(name, []).append(peaks)
        factors = {name: concatenate(parts) for name, parts in sorted(found.items())}
        enough = {name: x for name, x in factors.items() if len(x) >= hp.min_peaks}
        if not enough:
            most = max(map(len, factors.values()))
            raise IntervalError(
                f"none of {len(factors)} factors has --min_peaks={hp.min_peaks} peaks; "
                f"the largest number of peaks is {most}"
            )
        if hp.peak_len:
            enough = {
                name: x.anchored(hp.peak_len, base_of(hp.anchor)) for name, x in enough.items()
            }
        return enough

    def files_of(self, split: str) -> list[str]:
        """Return the peak files, which are the same for every split."""
        return self.hparams.peaks


def positive_bins(bins: Intervals, peaks: Intervals, min_covered_prop: float) -> np.ndarray:
    """Return the sorted indices of bins of which peaks cover at least this proportion."""
    n_covered = covered(bins, regions(peaks))
    return np.flatnonzero((n_covered > 0) & (n_covered >= min_covered_prop * bins.length))


def _by_factor(path: str, peaks: Intervals, texts: list[str]) -> dict[str, Intervals]:
    if not texts:
        return {stem(path): peaks}
    names, which = np.unique(np.array(texts), return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which, minlength=len(names)))
    parts = np.split(order, ends[:-1])
    return {str(name): peaks.select(part) for name, part in zip(names, parts, strict=True)}


def stem(path: str) -> str:
    """Return the name of a file without its extensions for compression and format."""
    name = os.path.basename(path)
    for end in (".gz", ".bgz", ".bed", ".narrowPeak", ".bw", ".bigWig", ".bigwig"):
        name = name.removesuffix(end)
    return name
