"""Data from whole sequences: rows of tables, or records of FASTA files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import compress
from typing import NamedTuple

import numpy as np

from seqmodel.dataset.batch.reader import SequenceReader
from seqmodel.dataset.batch.sampler import balanced_weights
from seqmodel.dataset.batch.window import Codes
from seqmodel.dataset.data import Data
from seqmodel.dataset.homology import split_by_homology
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.label.gathered import Gathered, pieces, scratch_folder, taken
from seqmodel.dataset.label.labels import labels_of, numbers_of, targets_of
from seqmodel.dataset.label.table import (
    SLACK,
    SLACK_CODES,
    CodeArray,
    Rows,
    blocks,
    column_in,
    encode_all,
    expanded,
    header_of,
    is_parquet,
)
from seqmodel.dataset.seq.sequences import Sequences
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.split import (
    SPLITS,
    check_splits,
    flagged,
    open_rows,
    split_by_digest,
    split_by_words,
)
from seqmodel.errors import LabelError, SequenceError


class Labelled(NamedTuple):
    """Items of one split: sequence numbers with labels, weights and sources."""

    sequence: np.ndarray
    target: np.ndarray
    source: np.ndarray
    line: np.ndarray
    weight: np.ndarray

    def select(self, which: np.ndarray, folder: str) -> Labelled:
        """Return the items of a mask."""
        return Labelled(*(taken(x, which, folder) for x in self))


class _Part:
    """Items of one split, collected block by block."""

    def __init__(self, folder: str) -> None:
        self.columns = [Gathered(folder) for _ in Labelled._fields]

    def add(self, items: Labelled) -> None:
        for column, values in zip(self.columns, items, strict=True):
            for piece in pieces(values):
                column.add(piece)

    def items(self) -> Labelled:
        return Labelled(*(x.array() for x in self.columns))


class TableData(Data):
    """Sequences of tables, with labels."""

    codes: Codes

    def _load(self) -> None:
        hp = self.hparams
        self._paths = [x for split in SPLITS for x in getattr(hp, f"{split}_files")]
        self._folder = scratch_folder(self.cache_dir, self._paths[0])
        self._labels = self._label_columns()
        self._begin()
        parts: dict[str, _Part] = {}
        for split in SPLITS:
            for source, path in enumerate(self._paths):
                if path in getattr(hp, f"{split}_files"):
                    self._read(split, path, source, parts)
        self.codes = self._end()
        whole = {split: x.items() for split, x in parts.items()}
        if hp.split_by == "homology" and "train" in whole:
            whole = self._by_homology(whole)
        check_splits(hp, {split: len(x.sequence) for split, x in whole.items()}, "row")
        self.seq_len = self._length(list(whole.values()))
        for split in (x for x in SPLITS if x in whole):
            x = whole[split]
            self.readers[split] = self._reader(x)
            if len(np.unique(x.source)) > 1:
                self.sources[split] = x.source
            if hp.balanced:
                self.weights[split] = balanced_weights(x.target)
            elif hp.weight_column and split == "train":
                self.weights[split] = x.weight
        labels = [x.target for x in whole.values()]
        self.targets = targets_of(hp.label_kind, self._names, hp.class_names, labels)

    def _label_columns(self) -> list[str]:
        """Return the label columns, according to the first file."""
        hp, path = self.hparams, self._paths[0]
        words = hp.label_columns or ["label"]
        if not any(x == "rest" or "-" in x for x in words):
            return words
        first = header_of(path, hp.quotes)
        header = first if self._is_named or is_parquet(path) else []
        taken_by = (hp.sequence_column, hp.weight_column, hp.split_column, hp.valid_column)
        used = [column_in(path, x, header) for x in taken_by if x]
        return expanded(path, words, header, len(first), used)

    @property
    def _is_named(self) -> bool:
        return not self.hparams.sequence_column.isdigit()

    def _read(self, split: str, path: str, source: int, parts: dict[str, _Part]) -> None:
        """Add the rows of a file to the parts of their splits."""
        hp, n = self.hparams, len(self._labels)
        # only training files have weights and splits
        training = (hp.weight_column, hp.split_column, hp.valid_column) if split == "train" else ()
        columns = [hp.sequence_column, *self._labels, *(x for x in training if x)]
        for rows in blocks([path], columns, named=self._is_named, quotes=hp.quotes):
            which = self._splits(rows, split)
            for part, some in _divided(rows, which, split):
                weight = np.zeros(len(some.lines))
                if hp.weight_column and split == "train":
                    weight = numbers_of(some.columns[1 + n], some.where)
                self._names = some.names[1 : 1 + n]
                labels = some.columns[1 : 1 + n]
                target = labels_of(labels, hp.label_kind, hp.class_names, some.where, self._names)
                sequence = self._sequences(some.columns[0], lambda i: some.cell(i, 0))  # noqa: B023
                line = np.array(some.lines, dtype=np.int64)
                items = Labelled(sequence, target, np.full(len(line), source), line, weight)
                parts.setdefault(part, _Part(self._folder)).add(items)

    def _splits(self, rows: Rows, split: str) -> np.ndarray | None:
        """Return the split of each row of a training file; None if all are in `split`."""
        hp, n = self.hparams, len(rows.lines)
        if split != "train":
            return None
        more = rows.columns[1 + len(self._labels) + bool(hp.weight_column) :]
        which = np.zeros(n, dtype=np.uint8)
        if hp.split_column:
            which = split_by_words(more.pop(0), rows.where)
        if hp.valid_column:
            which = flagged(which, more.pop(0), rows.where)
        column = hp.split_column or hp.valid_column
        left = open_rows(which, column, hp.valid_prop, hp.test_prop)
        if hp.split_by == "digest" and (hp.valid_prop or hp.test_prop):
            texts = [x.upper() for x in compress(rows.columns[0], left)]
            which[left] = split_by_digest(texts, hp.valid_prop, hp.test_prop)
        return which if which.any() else None

    def _by_homology(self, whole: dict[str, Labelled]) -> dict[str, Labelled]:
        """Divide the training rows; rows with similar sequences are in one split."""
        hp, train, codes = self.hparams, whole["train"], self.codes
        x = Sequences.gathered(
            codes.data,
            codes.offsets[train.sequence],
            codes.lengths[train.sequence],
            self.alphabet,
        )
        found = split_by_homology(x, hp.valid_prop, hp.test_prop, hp.homology_min)
        rows = zip(train.source.tolist(), train.line.tolist(), strict=True)
        places = [f"{self._paths[source]}\t{line}" for source, line in rows]
        self.division = found._replace(places=places, header="file\tline")
        parts = {}
        for i, split in enumerate(SPLITS):
            part = _Part(self._folder)
            if i and split in whole:
                part.add(whole[split])
            part.add(train.select(found.split == i, self._folder))
            parts[split] = part.items()
        return {split: x for split, x in parts.items() if len(x.sequence)}

    def _begin(self) -> None:
        self._letters = Gathered(self._folder)
        self._letters.add(SLACK_CODES)
        self._lengths = Gathered(self._folder)

    def _sequences(self, texts: list[str], where: Callable[[int], str]) -> np.ndarray:
        """Return numbers of the sequences that these texts contain or name."""
        n = len(self._lengths)
        found = encode_all(texts, self.alphabet, where)
        self._letters.add(found.data[SLACK:-SLACK])
        self._lengths.add(found.lengths)
        return np.arange(n, n + len(texts))

    def _end(self) -> Codes:
        """Return all sequences."""
        self._letters.add(SLACK_CODES)
        return CodeArray.padded(self._letters.array(), self._lengths.array())

    def _length(self, parts: list[Labelled]) -> int:
        longest = max(int(self.codes.lengths[x.sequence].max()) for x in parts)
        length = self.hparams.seq_len or longest
        if longest > length:
            raise SequenceError(
                f"a sequence has length {longest}, more than --seq_len={length}; "
                "raise --seq_len or leave it unset"
            )
        return length

    def _reader(self, items: Labelled) -> SequenceReader:
        contigs = Contigs([], self.codes.lengths)
        start = np.zeros(len(items.sequence), dtype=np.int64)
        lengths = self.codes.lengths[items.sequence]
        return SequenceReader(
            self.codes,
            self.alphabet,
            Intervals(contigs, items.sequence, start, lengths),
            self.seq_len,
            target=items.target,
            left_aligned=True,
            pads_to_batch=self.hparams.length_buckets,
        )


class RecordsData(TableData):
    """Whole records of FASTA files, with labels in tables that name the records."""

    store: SequenceStore

    def _load(self) -> None:
        self.store = SequenceStore.open(self.hparams.fasta, self.alphabet, self.cache_dir)
        super()._load()

    def _begin(self) -> None:
        self._numbers = {name: i for i, name in enumerate(self.store.names)}

    def _end(self) -> Codes:
        return self.store

    def _sequences(self, texts: list[str], where: Callable[[int], str]) -> np.ndarray:
        found = np.fromiter((self._numbers.get(x, -1) for x in texts), np.int64, len(texts))
        missing = np.flatnonzero(found < 0)
        if len(missing):
            i = int(missing[0])
            raise LabelError(f"{where(i)}: the FASTA files have no record {texts[i]!r}")
        empty = np.flatnonzero(self.store.lengths[found] == 0)
        if len(empty):
            i = int(empty[0])
            raise SequenceError(f"{where(i)}: record {texts[i]!r} is empty; remove the row")
        return found


def _divided(rows: Rows, which: np.ndarray | None, split: str) -> Iterator[tuple[str, Rows]]:
    """Return the rows of each split that is not empty."""
    if which is None:
        yield split, rows
        return
    for number, part in enumerate(SPLITS):
        mask = which == number
        if mask.any():
            yield part, rows.select(mask)
