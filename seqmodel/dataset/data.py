"""The data of a run: from hyperparameters to the loaders of its splits.

The end of the flow for all who train: `data.loader("train", seed=0)`. Splits are made here; how a
file is read is told in bed.py, table.py and store.py.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any

import numpy as np

from seqmodel.dataset.alphabet import alphabet_from_name
from seqmodel.dataset.bed import read_bed
from seqmodel.dataset.interval import Contigs, Intervals, concatenate, tiles
from seqmodel.dataset.loader import Loader
from seqmodel.dataset.reader import SequenceReader
from seqmodel.dataset.sampler import Sampler
from seqmodel.dataset.store import SequenceStore
from seqmodel.dataset.table import Table, concatenate_tables, read_table
from seqmodel.dataset.targets import Targets, class_ids
from seqmodel.errors import HparamError, IntervalError, LabelError, SequenceError
from seqmodel.hparam import Hparams

SPLITS = ("train", "valid", "test")


class Data:
    """Splits of one data set.

    Attributes:
        alphabet: letters of the sequences.
        targets: what is predicted.
        splits: names of the splits that there are, out of train, valid, test.
        readers: what is read in each split, without augmentation.
    """

    targets = Targets()

    def __init__(self, hparams: Hparams, cache_dir: str | None = None) -> None:
        type(hparams).checks(hparams.hparams)
        self.hparams, self.cache_dir = hparams, cache_dir
        self.alphabet = alphabet_from_name(hparams.alphabet, hparams.unknown)
        self.readers: dict[str, SequenceReader] = {}
        self._load()
        if not self.readers:
            raise IntervalError("there is nothing to read: every split is empty")

    def _load(self) -> None:
        """Fills `readers` and `targets`."""
        raise NotImplementedError

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are."""
        return tuple(x for x in SPLITS if x in self.readers)

    def loader(
        self,
        split: str,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        n_workers: int = 0,
        train: bool | None = None,
        start_method: str | None = None,
    ) -> Loader:
        """The loader of a split, for one rank.

        Args:
            split: train, valid or test.
            seed: of the order, the strands and the keys.
            rank: number of this rank.
            world_size: number of ranks.
            n_workers: processes that prepare batches; 0 for none.
            train: shuffle, augment and pad to equal counts; default for the train split only.
            start_method: how workers are started.
        """
        if split not in self.readers:
            raise HparamError(f"there is no {split} split, only {', '.join(self.splits)}")
        train = split == "train" if train is None else train
        reader = self.readers[split].with_rc(self.hparams.rc_prob if train else 0.0)
        sampler = Sampler(
            len(reader),
            self.hparams.batch_size,
            seed=seed,
            train=train,
            rank=rank,
            world_size=world_size,
        )
        return Loader(reader, sampler, n_workers, start_method)

    def digests(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file that was read, by path."""
        return {path: _digest(path) for path in self._files()}

    def _files(self) -> list[str]:
        hp = self.hparams
        return [x for name in SPLITS for x in getattr(hp, f"{name}_files")]

    def describe(self) -> dict[str, Any]:
        """What is read, as plain types."""
        return {
            "alphabet": self.alphabet.name,
            "targets": self.targets.to_dict(),
            "splits": {
                x: {"n": len(self.readers[x]), "seq_len": self.readers[x].windows.length}
                for x in self.splits
            },
        }


class FastaData(Data):
    """Windows over whole contigs, or intervals, of FASTA files; no labels."""

    def _load(self) -> None:
        hp = self.hparams
        self.store = SequenceStore.open(hp.fasta, self.alphabet, self.cache_dir)
        self.contigs = Contigs(self.store.names, self.store.lengths)
        found = self._by_file() if self._has_split_files() else self._by_contig()
        length = hp.seq_len or self._common_length(found)
        for split, (intervals, labels) in found.items():
            windows, kept = self._windows(split, intervals, length)
            self.readers[split] = SequenceReader(
                self.store,
                self.alphabet,
                windows,
                length,
                target=None if labels is None else labels[kept],
            )

    def _has_split_files(self) -> bool:
        return any(getattr(self.hparams, f"{x}_files") for x in SPLITS)

    def _by_file(self) -> dict[str, tuple[Intervals, np.ndarray | None]]:
        files = {x: getattr(self.hparams, f"{x}_files") for x in SPLITS}
        return {split: self._read(paths) for split, paths in files.items() if paths}

    def _by_contig(self) -> dict[str, tuple[Intervals, np.ndarray | None]]:
        names = self._contigs_of_splits()
        if not self.hparams.intervals:
            return {split: (self._tiles(split, x), None) for split, x in names.items()}
        intervals, labels = self._read(self.hparams.intervals)
        found = {}
        for split, contigs in names.items():
            which = intervals.on(contigs, f"--{split}_contigs")
            if not which.any():
                raise IntervalError(
                    f"--intervals has no interval on the contigs of the {split} split"
                )
            found[split] = intervals.select(which), None if labels is None else labels[which]
        return found

    def _contigs_of_splits(self) -> dict[str, list[str]]:
        names = {x: list(getattr(self.hparams, f"{x}_contigs")) for x in SPLITS}
        for split in SPLITS:
            for name in names[split]:
                self.contigs.number(name, f"--{split}_contigs")
        if not names["train"]:
            taken = {*names["valid"], *names["test"]}
            names["train"] = [x for x in self.contigs.names if x not in taken]
        return {split: x for split, x in names.items() if x}

    def _tiles(self, split: str, names: list[str]) -> Intervals:
        hp = self.hparams
        try:
            return tiles(self.contigs, hp.seq_len, hp.stride, names=names, incomplete=hp.incomplete)
        except IntervalError as e:
            raise IntervalError(f"{split} split: {e}") from None

    def _read(self, paths: list[str]) -> tuple[Intervals, np.ndarray | None]:
        return concatenate([read_bed(x, self.contigs).intervals for x in paths]), None

    def _common_length(self, found: dict) -> int:
        lengths = {
            x for intervals, _ in found.values() for x in np.unique(intervals.length).tolist()
        }
        if len(lengths) > 1:
            raise IntervalError(
                f"the intervals have lengths from {min(lengths)} to {max(lengths)}; "
                "set --seq_len, to read a window of that length around the middle of each"
            )
        return lengths.pop()

    def _windows(self, split: str, given: Intervals, length: int) -> tuple[Intervals, np.ndarray]:
        windows = given.centred(length)
        if self.hparams.incomplete == "pad":
            return windows, np.ones(len(windows), dtype=bool)
        kept = windows.is_inside
        n_out = len(kept) - int(kept.sum())
        if n_out == len(kept):
            raise IntervalError(
                f"{split} split: every window of seq_len={length} reaches beyond its contig "
                f"(the longest has {int(self.contigs.lengths.max())}); "
                "lower it or set --incomplete=pad"
            )
        if n_out:
            warnings.warn(
                f"{split} split: {n_out} of {len(kept)} windows of {length} reach beyond their "
                "contig and are left out; --incomplete=pad keeps them",
                stacklevel=2,
            )
        return windows.select(kept), kept

    def digests(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file that was read, by path."""
        return self.store.digests() | super().digests()

    def _files(self) -> list[str]:
        return super()._files() + list(self.hparams.intervals)


class BedData(FastaData):
    """Intervals of FASTA files, each with a class."""

    def _load(self) -> None:
        self._labels: list[np.ndarray] = []
        super()._load()
        self.targets = _classes(self.hparams, self._labels)

    def _read(self, paths: list[str]) -> tuple[Intervals, np.ndarray | None]:
        columns = self.hparams.label_columns or ["4"]
        _check_one_column(columns)
        beds = [read_bed(path, self.contigs, columns[0]) for path in paths]
        names = self.hparams.class_names
        labels = np.concatenate([class_ids(x.texts, names, x.where) for x in beds])
        self._labels.append(labels)
        return concatenate([x.intervals for x in beds]), labels


class TableData(Data):
    """Sequences of tables, each with a class."""

    def _load(self) -> None:
        found = {x: self._read(x) for x in SPLITS if getattr(self.hparams, f"{x}_files")}
        longest = max(int(table.lengths.max()) for table, _ in found.values())
        length = self.hparams.seq_len or longest
        if longest > length:
            raise SequenceError(
                f"a sequence has {longest} letters, more than --seq_len={length}; "
                "raise it or leave it out"
            )
        for split, (table, labels) in found.items():
            n = len(table)
            whole = Intervals(
                Contigs([], table.lengths), np.arange(n), np.zeros(n, np.int64), table.lengths
            )
            self.readers[split] = SequenceReader(
                table, self.alphabet, whole, length, target=labels, left_aligned=True
            )
        self.targets = _classes(self.hparams, [labels for _, labels in found.values()])

    def _read(self, split: str) -> tuple[Table, np.ndarray]:
        hp = self.hparams
        columns = hp.label_columns or ["label"]
        _check_one_column(columns)
        tables = [
            read_table(x, self.alphabet, hp.sequence_column, columns)
            for x in getattr(hp, f"{split}_files")
        ]
        labels = [class_ids(x.labels[0], hp.class_names, x.where) for x in tables]
        return concatenate_tables(tables), np.concatenate(labels)


def _check_one_column(columns: list[str]) -> None:
    if len(columns) > 1:
        raise LabelError(f"--label_columns: one column of classes is wanted, not {len(columns)}")


def _classes(hparams: Hparams, labels: list[np.ndarray]) -> Targets:
    highest = max(int(x.max()) for x in labels)
    return Targets("class", tuple(hparams.class_names or map(str, range(max(highest, 1) + 1))))


def _digest(path: str) -> dict[str, Any]:
    with open(path, "rb") as f:
        sha256 = hashlib.file_digest(f, "sha256").hexdigest()
    return {"size": os.path.getsize(path), "sha256": sha256}
