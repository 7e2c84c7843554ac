"""The data of a run: from hyperparameters to the loaders of its splits.

The end of the flow for all who train: `data.loader("train", seed=0)`. This is what all kinds of
data share; how each is found is told in store_data.py, table_data.py, peak_data.py, track_data.py
and array_data.py.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from seqmodel.dataset.alphabet import alphabet_from_name
from seqmodel.dataset.loader import Loader
from seqmodel.dataset.reader import Augment, SequenceReader
from seqmodel.dataset.sampler import Sampler
from seqmodel.dataset.split import SPLITS
from seqmodel.dataset.targets import Match, Targets
from seqmodel.errors import HparamError, IntervalError, RunError
from seqmodel.files import sha256_of
from seqmodel.hparam import Hparams


class Data:
    """Splits of one data set.

    Attributes:
        alphabet: letters of the sequences.
        targets: what is predicted.
        splits: names of the splits that there are, out of train, valid, test.
        readers: what is read in each split, without augmentation.
        weights: by split, weights with which training samples are drawn, where there are any.
        left_out: by split, how many items were left out, by the reason.
    """

    targets = Targets()

    def __init__(self, hparams: Hparams, cache_dir: str | None = None) -> None:
        type(hparams).checks(hparams.hparams)
        self.hparams, self.cache_dir = hparams, cache_dir
        self.alphabet = alphabet_from_name(hparams.alphabet, hparams.unknown)
        self.readers: dict[str, SequenceReader] = {}
        self.weights: dict[str, np.ndarray] = {}
        self.left_out: dict[str, dict[str, int]] = {}
        self._load()
        if not self.readers:
            raise IntervalError("there is nothing to read: every split is empty")
        augment = self._augment()
        for reader in self.readers.values():
            reader.with_augment(augment)  # refuses strands that an alphabet has not

    def _load(self) -> None:
        """Fills `readers` and `targets`."""
        raise NotImplementedError

    def _augment(self) -> Augment:
        """How training changes what is read."""
        return Augment(rc_prob=self.hparams.rc_prob, noise_prop=self.hparams.noise_prop)

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
        reader = self.readers[split].with_augment(self._augment() if train else Augment())
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

    def digests(self) -> dict[str, dict[str, Any]]:
        """Size and SHA-256 of each file that was read, by path."""
        return {path: digest_of(path) for path in self._files()}

    def _files(self) -> list[str]:
        hp = self.hparams
        return [x for name in SPLITS for x in getattr(hp, f"{name}_files")]

    def arrange(self, found: Match) -> None:
        """Puts the targets in the order in which a model has them."""
        self.targets = found.targets
        for reader in self.readers.values():
            reader.target = found.arrange(reader.target)

    def files_of(self, split: str) -> list[str]:
        """The files with the items of a split."""
        hp = self.hparams
        found = list(getattr(hp, f"{split}_files"))
        divided = hp.split_column or (split != "train" and getattr(hp, f"{split}_prop"))
        return found + [x for x in hp.train_files if divided and split != "train"]

    def describe(self) -> dict[str, Any]:
        """What a run would read, as plain types; dataset/describe.py makes text of it."""
        from seqmodel.dataset.describe import describe

        return describe(self)


def digest_of(path: str) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"size": os.path.getsize(path), "sha256": sha256_of(path, RunError)}
