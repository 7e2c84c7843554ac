"""Data that are intervals of FASTA files: without labels, or with labels in columns."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from seqmodel.dataset.batch.reader import Augment, SequenceReader
from seqmodel.dataset.batch.sampler import balanced_weights
from seqmodel.dataset.batch.window import unknown_props
from seqmodel.dataset.data import Data
from seqmodel.dataset.homology import split_by_homology
from seqmodel.dataset.interval.bed import Bed
from seqmodel.dataset.interval.file import has_summits, read_aliases, read_intervals
from seqmodel.dataset.interval.interval import Contigs, Intervals, concatenate, tiles
from seqmodel.dataset.interval.operations import covered, regions
from seqmodel.dataset.label.labels import labels_of, numbers_of, targets_of
from seqmodel.dataset.negatives import matched_negatives
from seqmodel.dataset.seq.sequences import Sequences
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.split import SPLITS, open_rows, read_folds, split_by_digest, split_by_words
from seqmodel.errors import IntervalError
from seqmodel.hparam import Hparams
from seqmodel.hparam.dataset import repeated


class Items(NamedTuple):
    """Intervals, and what belongs to each: labels, a weight, a word for its split."""

    intervals: Intervals
    target: np.ndarray | None = None
    weight: np.ndarray | None = None
    split: np.ndarray | None = None

    def select(self, which: np.ndarray) -> Items:
        """The items of a bool mask or an array of indices."""
        rest = (None if x is None else x[which] for x in self[1:])
        return Items(self.intervals.select(which), *rest)


def join(parts: list[Items]) -> Items:
    """All items of `parts`, in order."""
    columns = zip(*(x[1:] for x in parts), strict=True)
    rest = (None if x[0] is None else np.concatenate(x) for x in columns)
    return Items(concatenate([x.intervals for x in parts]), *rest)


class StoreData(Data):
    """What all data share that are intervals of FASTA files.

    Attributes:
        store: the sequences.
        contigs: their contigs, with their aliases.
    """

    store: SequenceStore

    def _load(self) -> None:
        hp = self.hparams
        self.store = SequenceStore.open(hp.fasta, self.alphabet, self.cache_dir)
        self.contigs = Contigs(self.store.names, self.store.lengths)
        if hp.contig_aliases:
            self.contigs = read_aliases(hp.contig_aliases, self.contigs)
        self._blacklist = self._read_blacklist()
        found = {x: self._long_enough(x, items) for x, items in self._find().items()}
        self.seq_len = hp.seq_len or _common_length([x.intervals for x in found.values()])
        for split, items in found.items():
            windows = self._finish(split, self._windows(split, items))
            self.readers[split] = SequenceReader(
                self.store,
                self.alphabet,
                windows.intervals,
                self.seq_len,
                target=windows.target,
                soft_mask_weight=hp.soft_mask_weight,
            )
            if windows.weight is not None:
                self.weights[split] = windows.weight

    def _augment(self) -> Augment:
        return super()._augment()._replace(jitter=self.hparams.jitter)

    def _items(self, split: str, names: list[str]) -> Items:
        """Items of files that are not split yet, on the contigs `names`."""
        raise NotImplementedError

    def _read(self, paths: list[str], *, training: bool = True) -> Items:
        """Items of interval files; weights and words for splits of training files alone."""
        raise NotImplementedError

    def _finish(self, split: str, items: Items) -> Items:
        """The last word of a kind of data on the windows of a split."""
        return items

    def _find(self) -> dict[str, Items]:
        files = {x: getattr(self.hparams, f"{x}_files") for x in SPLITS}
        if any(files.values()):
            found = {
                split: self._read(paths, training=split == "train")
                for split, paths in files.items()
                if paths
            }
        else:
            names = self._contigs_of_splits()
            found = {split: self._items(split, x) for split, x in names.items()}
        return self._take_out(found)

    def _contigs_of_splits(self) -> dict[str, list[str]]:
        hp = self.hparams
        names = {x: list(getattr(hp, f"{x}_contigs")) for x in SPLITS}
        if hp.fold_json:
            names |= read_folds(hp.fold_json)
        numbers = {
            split: [
                self.contigs.number(x, hp.fold_json or f"--{split}_contigs") for x in names[split]
            ]
            for split in SPLITS
        }
        taken = [x for split in SPLITS for x in numbers[split]]
        twice = repeated(taken)
        if twice is not None:
            raise IntervalError(f"contig {self.contigs.names[twice]!r} stands in two splits")
        if not numbers["train"]:
            numbers["train"] = sorted(set(range(len(self.contigs))).difference(taken))
        return {split: [self.contigs.names[i] for i in x] for split, x in numbers.items() if x}

    def _take_out(self, found: dict[str, Items]) -> dict[str, Items]:
        """Splits the training items by a column, a digest of their contigs, or by homology."""
        hp, train = self.hparams, found.get("train")
        if train is None or not (hp.split_column or hp.valid_prop or hp.test_prop):
            return found
        n = len(train.intervals)
        which = np.zeros(n, np.uint8) if train.split is None else train.split.copy()
        left = open_rows(which, hp.split_column, hp.valid_prop, hp.test_prop)
        if hp.split_by == "homology":
            which[left] = self._by_homology(train.intervals.select(left))
        elif hp.valid_prop or hp.test_prop:
            by_contig = split_by_digest(self.contigs.names, hp.valid_prop, hp.test_prop)
            which[left] = by_contig[train.intervals.contig[left]]
        found = dict(found)
        for number, split in enumerate(SPLITS):
            part = train.select(which == number)
            if number and split in found:
                part = join([found[split], part])
            found[split] = part
        return {split: x for split, x in found.items() if len(x.intervals)}

    def _by_homology(self, items: Intervals) -> np.ndarray:
        """Split of each training item; those with similar windows are in one."""
        hp, n = self.hparams, self.contigs.lengths
        self.seq_len = hp.seq_len or _common_length([items])
        windows = self._around(items)
        contig = windows.contig
        start, end = (np.clip(x, 0, n[contig]) for x in (windows.start, windows.end))
        at, length = self.store.offsets[contig] + start, end - start
        x = Sequences.gathered(self.store.data, at, length, self.alphabet)
        found = split_by_homology(x, hp.valid_prop, hp.test_prop, hp.homology_min)
        columns = (contig.tolist(), items.start.tolist(), items.end.tolist())
        places = [f"{self.contigs.names[c]}\t{a}\t{b}" for c, a, b in zip(*columns, strict=True)]
        self.division = found._replace(places=places, header="contig\tstart\tend")
        return found.split

    def _read_blacklist(self) -> Any:
        paths = self.hparams.blacklist
        if not paths:
            return None
        beds = [read_intervals(x, self.contigs, summits=False, strand="none") for x in paths]
        return regions(concatenate([x.intervals for x in beds]))

    def _long_enough(self, split: str, items: Items) -> Items:
        return self._keep(split, items, items.intervals.length >= self.hparams.min_len, "too short")

    def _keep(self, split: str, items: Items, kept: np.ndarray, why: str) -> Items:
        """The items that are kept; the number of the others is noted."""
        n_out = len(kept) - int(np.count_nonzero(kept))
        if not n_out:
            return items
        self.left_out.setdefault(split, {})[why] = n_out
        if n_out == len(kept):
            raise IntervalError(f"{split} split: all of its {n_out} windows are left out as {why}")
        return items.select(kept)

    def _windows(self, split: str, items: Items) -> Items:
        """Windows of `seq_len` around the anchor of each item, without those that may not be."""
        hp = self.hparams
        items = items._replace(intervals=self._around(items.intervals))
        if hp.incomplete == "drop":
            items = self._inside(split, items)
        if self._blacklist is not None:
            clean = covered(items.intervals, self._blacklist) == 0
            items = self._keep(split, items, clean, "blacklisted")
        if hp.max_unknown_prop < 1:
            props = unknown_props(self.store, self.alphabet, items.intervals, self.seq_len)
            kept = props <= hp.max_unknown_prop
            items = self._keep(split, items, kept, f"over {hp.max_unknown_prop:g} unknown letters")
        return items

    def _around(self, x: Intervals) -> Intervals:
        """Windows of `seq_len` that have the anchor of each interval at index `seq_len // 2`."""
        return x.anchored(self.seq_len, base_of(self.hparams.anchor))

    def _read_anchored(self, path: str, column: str | None) -> Bed:
        """Intervals of a file, or their summits where those are the anchors."""
        return read_anchored(path, self.contigs, column, self.hparams)

    def _inside(self, split: str, items: Items) -> Items:
        kept = items.intervals.is_inside
        n_out = len(kept) - int(kept.sum())
        if n_out == len(kept):
            raise IntervalError(
                f"{split} split: every window of seq_len={self.seq_len} reaches beyond its contig "
                f"(the longest has {int(self.contigs.lengths.max())}); "
                "lower it or set --incomplete=pad"
            )
        if n_out:
            warnings.warn(
                f"{split} split: {n_out} of {len(kept)} windows of {self.seq_len} reach beyond "
                "their contig and are left out; --incomplete=pad keeps them",
                stacklevel=2,
            )
        return self._keep(split, items, kept, "beyond their contig")

    def files_of(self, split: str) -> list[str]:
        """The files with the items of a split; of the sequences, where those are all in windows."""
        return super().files_of(split) or self.hparams.intervals or self.hparams.fasta


class FastaData(StoreData):
    """Windows over whole contigs, or intervals of files; no labels."""

    def _augment(self) -> Augment:
        ahead = self.stride if self.hparams.random_offset else 0
        return super()._augment()._replace(random_offset=ahead)

    @property
    def stride(self) -> int:
        """Letters from the start of a window to the start of the next."""
        return self.hparams.stride or self.seq_len + self.hparams.skip_len

    def _items(self, split: str, names: list[str]) -> Items:
        hp = self.hparams
        if hp.intervals:
            return on_contigs(self._read(hp.intervals), split, names)
        try:
            stride = hp.stride or hp.seq_len + hp.skip_len
            return Items(
                tiles(self.contigs, hp.seq_len, stride, names=names, incomplete=hp.incomplete)
            )
        except IntervalError as e:
            raise IntervalError(f"{split} split: {e}") from None

    def _read(self, paths: list[str], *, training: bool = True) -> Items:
        column = self.hparams.split_column if training else None
        parts = []
        for path in paths:
            bed = self._read_anchored(path, column)
            words = split_by_words(bed.texts, bed.where) if column else None
            parts.append(Items(bed.intervals, split=words))
        return join(parts)


class BedData(StoreData):
    """Intervals with labels in columns of their files, or against negatives of like GC content."""

    def _load(self) -> None:
        self._labels: list[np.ndarray] = []
        self._names: list[str] = []
        super()._load()
        hp = self.hparams
        if hp.negatives_per_positive:
            self._labels = [np.array([0, 1])]
        self.targets = targets_of(hp.label_kind, self._names, hp.class_names, self._labels)

    def _items(self, split: str, names: list[str]) -> Items:
        return on_contigs(self._read(self.hparams.intervals), split, names)

    def _read(self, paths: list[str], *, training: bool = True) -> Items:
        return join([self._read_file(x, training) for x in paths])

    def _read_file(self, path: str, training: bool) -> Items:
        hp = self.hparams
        columns = [] if hp.negatives_per_positive else hp.label_columns or ["4"]
        beds = [self._read_anchored(path, x) for x in columns or [None]]
        first = beds[0]
        labels = np.ones(len(first.intervals), dtype=np.int64)
        if columns:
            texts = [x.texts for x in beds]
            labels = labels_of(texts, hp.label_kind, hp.class_names, first.where)
        self._labels.append(labels)
        self._names = list(columns)
        weight = split = None
        if hp.weight_column and training:
            weight = numbers_of(self._texts(path, hp.weight_column), first.where)
        elif hp.balanced:
            weight = np.zeros(len(labels))  # made when it is known which items are kept
        if hp.split_column and training:
            split = split_by_words(self._texts(path, hp.split_column), first.where)
        return Items(first.intervals, labels, weight, split)

    def _texts(self, path: str, column: str) -> list[str]:
        return self._read_anchored(path, column).texts

    def _finish(self, split: str, items: Items) -> Items:
        hp = self.hparams
        if hp.negatives_per_positive:
            negatives = matched_negatives(
                self.store,
                self.alphabet,
                items.intervals,
                hp.negatives_per_positive,
                blacklist=self._blacklist,
            )
            zeros = np.zeros(len(negatives), dtype=np.int64)
            items = join([Items(items.intervals, items.target), Items(negatives, zeros)])
        if hp.balanced and items.target is not None:
            items = items._replace(weight=balanced_weights(items.target))
        return items


def on_contigs(items: Items, split: str, names: list[str]) -> Items:
    """The items on the contigs of a split.

    Raises:
        IntervalError: there is none.
    """
    which = items.intervals.on(names)
    if not which.any():
        raise IntervalError(f"--intervals has no interval on the contigs of the {split} split")
    return items.select(which)


def read_anchored(
    path: str, contigs: Contigs, column: str | None, hparams: Hparams, *, summits: bool = True
) -> Bed:
    """Intervals of a file; of a narrowPeak file its summits, unless `--anchor` is another base.

    Raises:
        IntervalError: `--anchor=summit`, and the file has none.
    """
    if hparams.anchor == "summit" and not has_summits(path):
        raise IntervalError(
            f"{path}: --anchor=summit, but only .narrowPeak files name summits; "
            "set it to middle or five_prime"
        )
    summits = summits and hparams.anchor in (None, "summit")
    strand = hparams.strand_column
    return read_intervals(path, contigs, column, hparams.feature, summits=summits, strand=strand)


def base_of(anchor: str | None) -> str:
    """The base of what was read that stands at the middle; a summit was read as one base."""
    return anchor if anchor == "five_prime" else "middle"


def _common_length(parts: list[Intervals]) -> int:
    lengths = {x for part in parts for x in np.unique(part.length).tolist()}
    if len(lengths) > 1 or lengths == {1}:
        raise IntervalError(
            f"the intervals have lengths from {min(lengths)} to {max(lengths)}; "
            "set --seq_len, to read a window of that length around the middle of each"
        )
    return lengths.pop()
