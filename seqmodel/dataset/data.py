"""The data of a run: from hyperparameters to the loaders of its splits.

Training reads from `data.loader("train", seed=0)`. In your own loop, use `data.dataset("train")`
with a DataLoader of torch. This module holds what all kinds of data share;
store_data.py, table_data.py, peak_data.py, track_data.py and array_data.py find the items.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import numpy as np

from seqmodel.dataset.batch.indexed import IndexedDataset
from seqmodel.dataset.batch.loader import Loader
from seqmodel.dataset.batch.reader import Augment, SequenceReader
from seqmodel.dataset.batch.sampler import Sampler
from seqmodel.dataset.homology import Division
from seqmodel.dataset.label.labels import check_classes
from seqmodel.dataset.label.targets import Match, Targets
from seqmodel.dataset.seq.alphabet import alphabet_from_name
from seqmodel.dataset.seq.source import known_sha256
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.split import SPLITS
from seqmodel.errors import HparamError, IntervalError, RunError
from seqmodel.files import sha256_of
from seqmodel.hparam.hparams import PLACE, Hparams
from seqmodel.hparam.paths import check_files, files_to_read


class Data:
    """Splits of one data set.

    Attributes:
        alphabet: Alphabet of the sequences.
        targets: Targets that a model predicts.
        splits: Names of the splits that exist, out of train, valid, test.
        readers: Reader of each split, without augmentation.
        weights: Sampling weights of the items, by split, if any.
        left_out: Number of items left out, by split and by reason.
        sources: Number of the file of each item, by split, if there are several files.
        store: Sequence store, if the sequences come from FASTA files.
        division: Split and component of each training row, if split by homology.
        bad_intervals: Number of intervals that could not be read, by file and by reason.
    """

    targets = Targets()
    store: SequenceStore | None = None
    division: Division | None = None
    bad_intervals: Mapping[str, Mapping[str, int]] = MappingProxyType({})
    _digests: dict[str, dict[str, Any]] | None = None

    def __init__(self, hparams: Hparams, cache_dir: str | None = None) -> None:
        check_files(files_to_read(hparams.default_hparams().declared, hparams.hparams))
        type(hparams).checks(hparams.hparams)
        self.hparams, self.cache_dir = hparams, cache_dir
        self.alphabet = alphabet_from_name(hparams.alphabet, hparams.unknown)
        self.readers: dict[str, SequenceReader] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self.sources: dict[str, np.ndarray] = {}
        self._load()
        if not self.readers:
            raise IntervalError("there is nothing to read: every split is empty")
        if self.targets.kind == "class":
            found = {x: np.asarray(reader.target) for x, reader in self.readers.items()}
            check_classes(found, getattr(hparams, "class_names", ()))
        augment = self._augment()
        for reader in self.readers.values():
            reader.with_augment(augment)  # raises if the alphabet has no reverse complement

    def _load(self) -> None:
        """Fill `readers` and `targets`."""
        raise NotImplementedError

    def _augment(self) -> Augment:
        """Return the augmentation for training."""
        return Augment(rc_prob=self.hparams.rc_prob, noise_prop=self.hparams.noise_prop)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that exist."""
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
        """Return the loader of a split, for one rank.

        Args:
            split: train, valid or test.
            seed: Random seed of the order, the strands and the keys.
            rank: Index of this rank.
            world_size: Number of ranks.
            n_workers: Number of processes that prepare batches; 0 uses this process.
            train: Shuffle, augment and pad to equal counts. Default: for the train split only.
            start_method: Start method of the worker processes.
        """
        train = split == "train" if train is None else train
        reader = self._reader_of(split, train)
        sampler = Sampler(
            len(reader),
            self.hparams.batch_size,
            seed=seed,
            train=train,
            rank=rank,
            world_size=world_size,
            weights=self.weights.get(split),
            lengths=reader.intervals.length if reader.pads_to_batch else None,
        )
        return Loader(reader, sampler, n_workers, start_method)

    def dataset(self, split: str, *, seed: int = 0, train: bool | None = None) -> IndexedDataset:
        """Return the items of a split by index, for a DataLoader of torch.

        All sequences are padded to the longest one of the split, in every batch.

        Args:
            split: train, valid or test.
            seed: Random seed of the strands, the positions and the keys.
            train: Augment, anew in each epoch. Default: for the train split only.
        """
        train = split == "train" if train is None else train
        reader = self._reader_of(split, train, pads_to_batch=False)
        return IndexedDataset(reader, seed=seed, train=train)

    def _reader_of(self, split: str, train: bool, **changed: Any) -> SequenceReader:
        if split not in self.readers:
            raise HparamError(f"there is no {split} split, only {', '.join(self.splits)}")
        return self.readers[split].with_augment(self._augment() if train else Augment(), **changed)

    def check_counts(self) -> None:
        """Raise an error for negative targets, for tasks with counts; these data have none."""

    def digests(self) -> dict[str, dict[str, Any]]:
        """Return size and SHA-256 of each file that was read, by path; FASTA files come first."""
        if self._digests is None:
            store = self.store.digests() if self.store is not None else {}
            self._digests = store | {path: digest_of(path) for path in self._files()}
        return self._digests

    def _files(self) -> list[str]:
        """Return the data files, except those whose digests the store has."""
        hp = self.hparams
        declared = hp.default_hparams().declared
        known = ("fasta",) if self.store is not None else ()
        places = [n for n, h in declared.items() if h.group == PLACE and n not in known]
        return [x for name in places for x in files_in(getattr(hp, name))]

    def arrange(self, found: Match) -> None:
        """Put the targets in the order of a model."""
        self.targets = found.targets
        for reader in self.readers.values():
            reader.target = found.arrange(reader.target)

    def files_of(self, split: str) -> list[str]:
        """Return the files with the items of a split."""
        hp = self.hparams
        found = list(getattr(hp, f"{split}_files"))
        columns = hp.split_column or (split == "valid" and hp.valid_column)
        divided = columns or (split != "train" and getattr(hp, f"{split}_prop"))
        return found + [x for x in hp.train_files if divided and split != "train"]


def files_in(value: Any) -> list[str]:
    """Return the paths in the value of a hyperparameter: a list, one path, or none."""
    return value if isinstance(value, list) else [value] if value else []


def digest_of(path: str) -> dict[str, Any]:
    """Return size and SHA-256 of a file; the file is not read if this process has the digest."""
    sha256 = known_sha256(path) or sha256_of(path, RunError)
    return {"size": os.path.getsize(path), "sha256": sha256}


Digests = Mapping[str, Mapping[str, Any]]


def changed_files(
    before: Mapping[str, list[str]],
    digests_before: Digests,
    now: Mapping[str, list[str]],
    digests_now: Digests,
) -> list[str]:
    """List the files whose content has changed: one line each with path, size and digest.

    The k-th file of a hyperparameter is compared with its k-th file now, wherever both are.

    Args:
        before: Earlier files, by the name of the hyperparameter.
        digests_before: Size and SHA-256 of the earlier files, by path.
        now: Files of the same hyperparameters now.
        digests_now: Size and SHA-256 of the files now, by path.
    """
    found = []
    for name, paths in now.items():
        for old_path, path in zip(before.get(name, []), paths, strict=False):
            old, new = _digest_in(digests_before, old_path), _digest_in(digests_now, path)
            if old and new and old.get("sha256") != new["sha256"]:
                was, now_is = (f"{x['size']} bytes, SHA-256 {x['sha256'][:12]}" for x in (old, new))
                found.append(f"{path} (--{name}) has changed: {now_is}, was {was}")
    return found


def _digest_in(digests: Digests, path: str) -> Mapping[str, Any] | None:
    """Return the digest of a file, which may be recorded under its absolute or another path."""
    if path in digests:
        return digests[path]
    end = path.split("/")[::-1]

    def n_shared(other: str) -> int:
        pairs = zip(end, other.split("/")[::-1], strict=False)
        return sum(1 for _ in takewhile(lambda x: x[0] == x[1], pairs))

    nearest = max(digests, key=n_shared, default="")
    return digests[nearest] if nearest and n_shared(nearest) else None
