"""Data whose items are whole sequences: rows of tables, or records of FASTA files."""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.batch.reader import SequenceReader
from seqmodel.dataset.batch.sampler import balanced_weights
from seqmodel.dataset.batch.window import Codes
from seqmodel.dataset.data import Data
from seqmodel.dataset.homology import split_by_homology
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.label.labels import labels_of, numbers_of, targets_of
from seqmodel.dataset.label.table import CodeArray, Rows, encode_all, read_rows
from seqmodel.dataset.seq.sequences import Sequences
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.split import SPLITS, open_rows, split_by_digest, split_by_words
from seqmodel.errors import LabelError, SequenceError


class Labelled(NamedTuple):
    """Sequences of one split, by their numbers in `codes`, and what belongs to each."""

    codes: Codes
    sequence: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    source: np.ndarray

    def select(self, which: np.ndarray) -> Labelled:
        """The items of a mask."""
        weight = None if self.weight is None else self.weight[which]
        sequence, target = self.sequence[which], self.target[which]
        return Labelled(self.codes, sequence, target, weight, self.source[which])


class TableData(Data):
    """Sequences of tables, with labels."""

    def _load(self) -> None:
        hp = self.hparams
        self._names: list[str] = []
        self._n_files = 0
        found: dict[str, list[Labelled]] = {}
        for split in SPLITS:
            paths = getattr(hp, f"{split}_files")
            if paths:
                rows = read_rows(
                    paths,
                    [hp.sequence_column, *self._columns(split)],
                    named=not hp.sequence_column.isdigit(),
                    quotes=hp.quotes,
                )
                for part, items in self._divide(split, rows).items():
                    found.setdefault(part, []).append(items)
        whole = {split: _join(x) for split, x in found.items()}
        self.seq_len = self._length(list(whole.values()))
        for split, x in whole.items():
            self.readers[split] = self._reader(x)
            if len(np.unique(x.source)) > 1:
                self.sources[split] = x.source
            if hp.balanced:
                self.weights[split] = balanced_weights(x.target)
            elif x.weight is not None:
                self.weights[split] = x.weight
        labels = [x.target for x in whole.values()]
        self.targets = targets_of(hp.label_kind, self._names, hp.class_names, labels)

    def _columns(self, split: str) -> list[str]:
        """Columns beside the sequences; what is drawn and how it is split is of training files."""
        hp = self.hparams
        more = [x for x in (hp.weight_column, hp.split_column) if x and split == "train"]
        return [*(hp.label_columns or ["label"]), *more]

    def _divide(self, split: str, rows: Rows) -> dict[str, Labelled]:
        """The items of some rows, by split; only training rows are divided further."""
        hp = self.hparams
        n_labels = len(hp.label_columns) or 1
        texts, labels, rest = (
            rows.columns[0],
            rows.columns[1 : 1 + n_labels],
            rows.columns[1 + n_labels :],
        )
        self._names = rows.names[1 : 1 + n_labels]
        target = labels_of(labels, hp.label_kind, hp.class_names, rows.where)
        weighted = hp.weight_column and split == "train"
        weight = numbers_of(rest.pop(0), rows.where) if weighted else None
        codes, sequence = self._sequences(texts, lambda i: rows.cell(i, 0))
        source = self._n_files + np.searchsorted(rows.ends, np.arange(len(texts)), "right")
        self._n_files += len(rows.paths)
        items = Labelled(codes, sequence, target, weight, source)
        if split != "train":
            return {split: items}
        if not (hp.split_column or hp.valid_prop or hp.test_prop):
            return {split: items}
        which = np.zeros(len(texts), dtype=np.uint8)
        if hp.split_column:
            which = split_by_words(rest.pop(0), rows.where)
        left = open_rows(which, hp.split_column, hp.valid_prop, hp.test_prop)
        if hp.split_by == "homology":
            which[left] = self._by_homology(items.select(left), [*compress(rows.places(), left)])
        elif hp.valid_prop or hp.test_prop:
            names = [x.upper() for x in compress(texts, left)]
            which[left] = split_by_digest(names, hp.valid_prop, hp.test_prop)
        parts = {x: items.select(which == i) for i, x in enumerate(SPLITS)}
        parts |= {x: parts[x]._replace(weight=None) for x in SPLITS[1:]}
        return {x: part for x, part in parts.items() if len(part.sequence)}

    def _by_homology(self, items: Labelled, places: list[str]) -> np.ndarray:
        """Split of each training row; rows with similar sequences are in one."""
        hp, which, codes = self.hparams, items.sequence, items.codes
        x = Sequences.gathered(
            codes.data, codes.offsets[which], codes.lengths[which], self.alphabet
        )
        found = split_by_homology(x, hp.valid_prop, hp.test_prop, hp.homology_min)
        self.division = found._replace(places=places, header="file\tline")
        return found.split

    def _sequences(self, texts: list[str], where: Callable[[int], str]) -> tuple[Codes, np.ndarray]:
        return encode_all(texts, self.alphabet, where), np.arange(len(texts))

    def _length(self, parts: list[Labelled]) -> int:
        longest = max(int(x.codes.lengths[x.sequence].max()) for x in parts)
        length = self.hparams.seq_len or longest
        if longest > length:
            raise SequenceError(
                f"a sequence has {longest} letters, more than --seq_len={length}; "
                "raise it or leave it out"
            )
        return length

    def _reader(self, items: Labelled) -> SequenceReader:
        contigs = Contigs([], items.codes.lengths)
        start = np.zeros(len(items.sequence), dtype=np.int64)
        lengths = items.codes.lengths[items.sequence]
        return SequenceReader(
            items.codes,
            self.alphabet,
            Intervals(contigs, items.sequence, start, lengths),
            self.seq_len,
            target=items.target,
            left_aligned=True,
            pads_to_batch=self.hparams.length_buckets,
        )


class RecordsData(TableData):
    """Whole records of FASTA files, with labels in tables that name them."""

    store: SequenceStore

    def _load(self) -> None:
        self.store = SequenceStore.open(self.hparams.fasta, self.alphabet, self.cache_dir)
        super()._load()

    def _sequences(self, texts: list[str], where: Callable[[int], str]) -> tuple[Codes, np.ndarray]:
        numbers = {name: i for i, name in enumerate(self.store.names)}
        found = np.fromiter((numbers.get(x, -1) for x in texts), np.int64, len(texts))
        missing = np.flatnonzero(found < 0)
        if len(missing):
            i = int(missing[0])
            raise LabelError(f"{where(i)}: no record {texts[i]!r} in the FASTA files")
        empty = np.flatnonzero(self.store.lengths[found] == 0)
        if len(empty):
            i = int(empty[0])
            raise SequenceError(f"{where(i)}: record {texts[i]!r} is empty; leave out the row")
        return self.store, found


def _join(parts: list[Labelled]) -> Labelled:
    """Items of several files as one; they have one `codes`, or else are put in one."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0].codes
    target = np.concatenate([x.target for x in parts])
    weight = None if parts[0].weight is None else np.concatenate([x.weight for x in parts])
    source = np.concatenate([x.source for x in parts])
    if all(x.codes is first for x in parts):
        sequence = np.concatenate([x.sequence for x in parts])
        return Labelled(first, sequence, target, weight, source)
    shifts = np.cumsum([0] + [len(x.codes.lengths) for x in parts[:-1]])
    sequence = np.concatenate([x.sequence + n for x, n in zip(parts, shifts, strict=True)])
    codes = CodeArray.joined([x.codes for x in parts if isinstance(x.codes, CodeArray)])
    return Labelled(codes, sequence, target, weight, source)
