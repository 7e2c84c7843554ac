"""Assign items to the train, valid and test splits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from seqmodel.dataset.label.targets import MISSING
from seqmodel.errors import HparamError, IntervalError
from seqmodel.files import CORRECT_IT, read_text, reading
from seqmodel.hparam import Hparams

SPLITS = ("train", "valid", "test")
FLAGS = {"true": True, "t": True, "yes": True, "1": True, "1.0": True}
FLAGS |= dict.fromkeys(("false", "f", "no", "0", "0.0", *MISSING), False)
WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "dev": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}


def split_of(word: str) -> str | None:
    """Return the split that a word means (val, valid, dev are equal), in any case, or None."""
    return WORDS.get(word.strip().lower())


def read_folds(path: str | os.PathLike) -> dict[str, list[str]]:
    """Read contigs by split from a JSON file: {"train": [...], "valid": [...], "test": [...]}.

    Raises:
        IntervalError: The file has another format.
    """
    with reading(path, IntervalError, "JSON", advice=CORRECT_IT):
        found = json.loads(read_text(path, IntervalError))
    folds: dict[str, list[str]] = {}
    for word, names in found.items() if isinstance(found, dict) else [("", None)]:
        split = split_of(word)
        if (
            split is None
            or not isinstance(names, list)
            or not all(isinstance(x, str) for x in names)
        ):
            raise IntervalError(
                f"{path}: {word!r} is not a split with a list of contigs; write "
                '{"train": [...], "valid": [...], "test": [...]}'
            )
        folds.setdefault(split, []).extend(names)
    return folds


def split_by_words(texts: Sequence[str], where: Callable[[int], str]) -> np.ndarray:
    """Return the split of each item from a word in its row: 0 train, 1 valid, 2 test; uint8 [n].

    Raises:
        IntervalError: A word is not a split.
    """
    numbers = {
        word: SPLITS.index(split_of(word) or "train") for word in set(texts) if split_of(word)
    }
    for i, text in enumerate(texts):
        if text not in numbers:
            raise IntervalError(
                f"{where(i)}: {text!r} is not a split; write train, valid or test, or choose "
                "another --split_column"
            )
    return np.fromiter((numbers[x] for x in texts), np.uint8, len(texts))


def open_rows(which: np.ndarray, column: str | None, valid_prop: float, test_prop: float) -> Any:
    """Return which training rows --valid_prop and --test_prop divide further, bool [n].

    Raises:
        HparamError: The column already has rows of such a split.
    """
    for number, prop in ((1, valid_prop), (2, test_prop)):
        if column and prop and (which == number).any():
            name = SPLITS[number]
            raise HparamError(
                f"--{name}_prop: column {column!r} of the file already has rows of the {name} "
                f"split; remove --{name}_prop"
            )
    return which == 0


def flagged(which: np.ndarray, texts: Sequence[str], where: Callable[[int], str]) -> np.ndarray:
    """Move flagged items of the train split to the valid split; return the split of each item.

    Args:
        which: Split of each item, in the format of `split_by_words`.
        texts: Flag of each item: true, yes or 1; false, no, 0 or empty.
        where: Function that returns file and line of an item, for messages.

    Raises:
        IntervalError: A text is not a flag.
    """
    words = [x.strip().lower() for x in texts]
    for i, word in enumerate(words):
        if word not in FLAGS:
            raise IntervalError(f"{where(i)}: {texts[i]!r} is not true or false (--valid_column)")
    flags = np.array([FLAGS[x] for x in words], dtype=bool)
    return np.where(flags & (which == 0), 1, which).astype(np.uint8)


def check_splits(hparams: Hparams, n: Mapping[str, int], what: str) -> None:
    """Check that proportions leave no split empty.

    Args:
        hparams: Hyperparameters of the data.
        n: Number of items in each split.
        what: Word for an item.

    Raises:
        IntervalError: A requested split is empty.
    """
    total = sum(n.values())
    for split in SPLITS[1:]:
        prop = getattr(hparams, f"{split}_prop")
        if prop and not n.get(split):
            raise IntervalError(
                f"--{split}_prop={prop:g} leaves no {what} for the {split} split, of {total}; "
                f"raise it, or choose the {split} split by files, by a column or by contigs"
            )
    if (hparams.valid_prop or hparams.test_prop) and hparams.train_files and not n.get("train"):
        raise IntervalError(
            f"--valid_prop and --test_prop leave no {what} for the train split, of {total}; "
            "lower them"
        )


def split_by_digest(names: Sequence[str], valid_prop: float, test_prop: float) -> np.ndarray:
    """Return the split of each item from a digest of its name, equal on every host; uint8 [n].

    Items with the same name are in the same split: 0 train, 1 valid, 2 test.
    """
    cache: dict[str, int] = {}
    found = np.empty(len(names), dtype=np.uint8)
    for i, name in enumerate(names):
        split = cache.get(name)
        if split is None:
            digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
            part = int.from_bytes(digest[:8], "big") / 2.0**64
            split = 1 if part < valid_prop else 2 if part < valid_prop + test_prop else 0
            cache[name] = split
        found[i] = split
    return found
