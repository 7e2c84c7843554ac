"""Data from intervals of FASTA files, without labels or with labels in columns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodel.dataset.batch.reader import Augment, SequenceReader
from seqmodel.dataset.batch.sampler import balanced_weights
from seqmodel.dataset.batch.window import unknown_props
from seqmodel.dataset.data import Data
from seqmodel.dataset.homology import split_by_homology
from seqmodel.dataset.interval.bed import Bed, Each, Skipped, column_number, head_of
from seqmodel.dataset.interval.file import has_summits, kind_of, read_aliases, read_intervals
from seqmodel.dataset.interval.interval import Contigs, Intervals, concatenate, tiles
from seqmodel.dataset.interval.operations import covered, regions
from seqmodel.dataset.label.gathered import Gathered, joined, scratch_folder, taken
from seqmodel.dataset.label.labels import labels_of, numbers_of, targets_of
from seqmodel.dataset.label.table import expanded
from seqmodel.dataset.negatives import matched_negatives
from seqmodel.dataset.seq.sequences import Sequences
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.split import (
    SPLITS,
    check_splits,
    flagged,
    open_rows,
    read_folds,
    split_by_digest,
    split_by_words,
)
from seqmodel.errors import IntervalError
from seqmodel.hparam import Hparams
from seqmodel.hparam.dataset import repeated


class Items(NamedTuple):
    """Intervals with their labels, weights and splits.

    A large result of `select` or `join` is kept in a scratch file in `folder`, if it is set.
    """

    intervals: Intervals
    target: np.ndarray | None = None
    weight: np.ndarray | None = None
    split: np.ndarray | None = None
    folder: str = ""

    def select(self, which: np.ndarray) -> Items:
        """Return the items of a bool mask or an array of indices."""
        columns = (self.target, self.weight, self.split)
        target, weight, split = (
            None if x is None else taken(x, which, self.folder) for x in columns
        )
        return Items(self.intervals.select(which), target, weight, split, self.folder)


def join(parts: list[Items]) -> Items:
    """Concatenate the items of `parts`, in order."""
    folder = parts[0].folder
    columns = zip(*((x.target, x.weight, x.split) for x in parts), strict=True)
    target, weight, split = (None if x[0] is None else joined(x, folder) for x in columns)
    return Items(concatenate([x.intervals for x in parts]), target, weight, split, folder)


class StoreData(Data):
    """Base class of data from intervals of FASTA files.

    Attributes:
        store: Store of the sequences.
        contigs: Contigs of the store, with their aliases.
    """

    store: SequenceStore

    def _load(self) -> None:
        hp = self.hparams
        self.bad_intervals = {}
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
        """Return items on the contigs `names`, from files that are not split yet."""
        raise NotImplementedError

    def _read(self, paths: list[str], *, training: bool = True) -> Items:
        """Read items of interval files; only training files have weights and words for splits."""
        raise NotImplementedError

    def _finish(self, split: str, items: Items) -> Items:
        """Complete the windows of a split; subclasses may override it."""
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
            raise IntervalError(f"contig {self.contigs.names[twice]!r} is in two splits")
        if not numbers["train"]:
            numbers["train"] = sorted(set(range(len(self.contigs))).difference(taken))
        return {split: [self.contigs.names[i] for i in x] for split, x in numbers.items() if x}

    def _take_out(self, found: dict[str, Items]) -> dict[str, Items]:
        """Split the training items by a column, a digest of their contigs, or homology."""
        hp, train = self.hparams, found.get("train")
        columns = hp.split_column or hp.valid_column
        if train is None or not (columns or hp.valid_prop or hp.test_prop):
            return found
        n = len(train.intervals)
        which = np.zeros(n, np.uint8) if train.split is None else train.split.copy()
        left = open_rows(which, columns, hp.valid_prop, hp.test_prop)
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
        found = {split: x for split, x in found.items() if len(x.intervals)}
        n_contigs = {split: len(np.unique(x.intervals.contig)) for split, x in found.items()}
        n_items = {split: len(x.intervals) for split, x in found.items()}
        whole_contigs = hp.split_by == "digest" and not columns
        check_splits(hp, *((n_contigs, "contig") if whole_contigs else (n_items, "interval")))
        return found

    def _by_homology(self, items: Intervals) -> np.ndarray:
        """Return the split of each training item; items with similar windows are in one split."""
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
        beds = [self._read_file_of_intervals(x, summits=False, strand="none") for x in paths]
        return regions(concatenate([x.intervals for x in beds]))

    def _long_enough(self, split: str, items: Items) -> Items:
        return self._keep(split, items, items.intervals.length >= self.hparams.min_len, "too short")

    def _keep(self, split: str, items: Items, kept: np.ndarray, why: str) -> Items:
        """Return the items to keep, and record the number of the others."""
        n_out = len(kept) - int(np.count_nonzero(kept))
        if not n_out:
            return items
        self.left_out.setdefault(split, {})[why] = n_out
        if n_out == len(kept):
            raise IntervalError(f"{split} split: all {n_out} windows are left out: {why}")
        return items.select(kept)

    def _windows(self, split: str, items: Items) -> Items:
        """Return windows of `seq_len` around the anchor of each item, without excluded windows."""
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
        """Return windows of `seq_len` with the anchor of each interval at index `seq_len // 2`."""
        return x.anchored(self.seq_len, base_of(self.hparams.anchor))

    def _read_anchored(self, path: str, columns: list[str], each: Each, **options: Any) -> Bed:
        """Read the intervals of a file, or their summits if summits are the anchors."""
        hp = self.hparams
        summits = anchors_are_summits(path, hp, **options)
        return self._read_file_of_intervals(path, columns, each, summits, hp.strand_column)

    def _read_file_of_intervals(
        self,
        path: str,
        columns: Sequence[str] = (),
        each: Each | None = None,
        summits: bool = True,
        strand: str | None = None,
    ) -> Bed:
        """Read the intervals of a file; unreadable ones are left out if the settings say so."""
        hp = self.hparams
        skipped = Skipped() if hp.bad_intervals == "skip" else None
        options: dict[str, Any] = {"summits": summits, "strand": strand, "each": each}
        bed = read_intervals(path, self.contigs, columns, hp.feature, skipped=skipped, **options)
        if skipped is not None and skipped.counts:
            n = sum(skipped.counts.values())
            parts = ", ".join(f"{k:,} {why}" for why, k in skipped.counts.items())
            self.bad_intervals = {**self.bad_intervals, path: skipped.counts}
            warnings.warn(
                f"{path}: {n:,} of {n + len(bed.intervals):,} intervals are left out: {parts}; "
                f"the first: {skipped.first}",
                stacklevel=2,
            )
        return bed

    def _split_columns(self, training: bool) -> list[str]:
        """Return the columns of a file that determine the split of a row."""
        hp = self.hparams
        return [x for x in (hp.split_column, hp.valid_column) if x and training]

    def _splits_of(self, texts: list[list[str]], where: Callable[[int], str]) -> np.ndarray | None:
        """Return the split of each row from the texts of `_split_columns`."""
        hp, which = self.hparams, None
        if not texts:
            return None
        which = np.zeros(len(texts[0]), dtype=np.uint8)
        if hp.split_column:
            which = split_by_words(texts[0], where)
        return flagged(which, texts[-1], where) if hp.valid_column else which

    def _inside(self, split: str, items: Items) -> Items:
        kept = items.intervals.is_inside
        n_out = len(kept) - int(kept.sum())
        if n_out == len(kept):
            raise IntervalError(
                f"{split} split: every window of seq_len={self.seq_len} reaches beyond its contig "
                f"(the longest has {int(self.contigs.lengths.max())}); "
                "lower seq_len or set --incomplete=pad"
            )
        if n_out:
            warnings.warn(
                f"{split} split: {n_out} of {len(kept)} windows of {self.seq_len} reach beyond "
                "their contig and are left out; --incomplete=pad keeps them",
                stacklevel=2,
            )
        return self._keep(split, items, kept, "beyond their contig")

    def files_of(self, split: str) -> list[str]:
        """Return the files with the items of a split, or the FASTA files if contigs are tiled."""
        return super().files_of(split) or self.hparams.intervals or self.hparams.fasta


class FastaData(StoreData):
    """Windows over whole contigs, or intervals of files, without labels."""

    def _augment(self) -> Augment:
        ahead = self.stride if self.hparams.random_offset else 0
        return super()._augment()._replace(random_offset=ahead)

    @property
    def stride(self) -> int:
        """Distance between the starts of successive windows, in positions."""
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
        columns = self._split_columns(training)
        parts = []
        for path in paths:
            splits: list[Any] = []
            bed = self._read_anchored(
                path,
                columns,
                lambda texts, where: splits.append(self._splits_of(texts, where)),  # noqa: B023
            )
            parts.append(Items(bed.intervals, split=np.concatenate(splits) if columns else None))
        return join(parts)


class BedData(StoreData):
    """Intervals with labels in columns, or with negatives of matching GC content."""

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
        names = [] if hp.negatives_per_positive else self._label_columns(path)
        n, folder = len(names), scratch_folder(self.cache_dir, path)
        weighted = bool(hp.weight_column and training)
        columns = [*names, *[hp.weight_column] * weighted, *self._split_columns(training)]
        labels, weights, splits = Gathered(folder), Gathered(folder), Gathered(folder)

        def each(texts: list[list[str]], where: Callable[[int], str]) -> None:
            if names:
                labels.add(labels_of(texts[:n], hp.label_kind, hp.class_names, where, names))
            if weighted:
                weights.add(numbers_of(texts[n], where))
            which = self._splits_of(texts[n + weighted :], where)
            if which is not None:
                splits.add(which)

        intervals = self._read_anchored(path, columns, each).intervals
        target = labels.array() if names else np.ones(len(intervals), dtype=np.int64)
        self._labels.append(target if hp.label_kind == "class" else target[:0])
        self._names = names
        weight = weights.array() if weighted else None
        if hp.balanced:
            weight = np.zeros(len(intervals))  # set once the kept items are known
        split = splits.array() if len(splits) else None
        return Items(intervals, target, weight, split, folder)

    def _label_columns(self, path: str) -> list[str]:
        """Return the label columns, with ranges and `rest` expanded."""
        hp = self.hparams
        words = hp.label_columns or ["4"]
        if not any(x == "rest" or "-" in x for x in words) or kind_of(path).startswith("g"):
            return words
        layout, first = head_of(path, hp.strand_column)
        used = {0, 1, 2} | ({layout.strand} if layout.strand is not None else set())
        others = (hp.weight_column, hp.split_column, hp.valid_column)
        used |= {column_number(path, x, layout.header) for x in others if x}
        used = {x for x in used if x < len(first)}
        return expanded(path, words, layout.header, len(first), used)

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
    """Return the items on the contigs of a split.

    Raises:
        IntervalError: There is no such item.
    """
    which = items.intervals.on(names)
    if not which.any():
        raise IntervalError(f"--intervals has no interval on the contigs of the {split} split")
    return items.select(which)


def anchors_are_summits(path: str, hparams: Hparams, *, summits: bool = True) -> bool:
    """Return whether to read the summits of a file: it has them and `--anchor` allows them.

    Raises:
        IntervalError: `--anchor=summit`, but the file has no summits.
    """
    if hparams.anchor == "summit" and not has_summits(path):
        raise IntervalError(
            f"{path}: --anchor=summit needs summits, which only .narrowPeak files have; "
            "set --anchor to middle or five_prime"
        )
    return summits and hparams.anchor in (None, "summit")


def base_of(anchor: str | None) -> str:
    """Return the base to center windows on; a summit was read as a one-base interval."""
    return anchor if anchor == "five_prime" else "middle"


def _common_length(parts: list[Intervals]) -> int:
    lengths = {x for part in parts for x in np.unique(part.length).tolist()}
    if len(lengths) > 1 or lengths == {1}:
        raise IntervalError(
            f"the intervals have lengths from {min(lengths)} to {max(lengths)}; "
            "set --seq_len, to read a window of that length around the middle of each"
        )
    return lengths.pop()
