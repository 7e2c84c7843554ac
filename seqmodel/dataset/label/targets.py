"""Prediction targets: their names and kind, and their values for each item.

A model predicts the targets of its training data. `match` compares them with the targets of other
data, and returns the order in which the columns of these data match the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqmodel.errors import LabelError

MISSING = {"", ".", "na", "n/a", "#na", "#n/a", "#n/a n/a", "<na>", "nan", "-nan", "none", "null"}
MISSING |= {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
"""Texts in lower case that mean that there is no value: those of pandas, and a dot."""
BOOLEANS = {"true": 1.0, "false": 0.0}

KINDS = (None, "class", "multilabel", "real", "track")


@dataclass(frozen=True)
class Targets:
    """Kind and names of the targets; saved with the model.

    Attributes:
        kind: None (no labels), "class" (one of n), "multilabel" (n binary labels), "real"
            (n numbers) or "track" (n numbers for each of several bins).
        names: Names of the classes, labels or tracks.
        pairs: Names of tracks that swap in a reverse complement.
    """

    kind: str | None = None
    names: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabelError(f"unknown kind of targets {self.kind!r}; must be one of {KINDS}")
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "pairs", tuple((str(x), str(y)) for x, y in self.pairs))

    @property
    def n(self) -> int:
        """Number of classes, labels, numbers or tracks."""
        return len(self.names)

    @property
    def are_numbered(self) -> bool:
        """Whether the names are numbers, such as classes 0, 1, ... or columns of a file."""
        return all(name.isdigit() for name in self.names)

    @property
    def partners(self) -> list[int]:
        """Return the index of the target that replaces each one in a reverse complement."""
        other = dict(self.pairs) | {y: x for x, y in self.pairs}
        return [self.names.index(other[x]) if x in other else i for i, x in enumerate(self.names)]

    def to_dict(self) -> dict[str, object]:
        """Return the targets as plain JSON types."""
        found: dict[str, object] = {"kind": self.kind, "names": list(self.names)}
        return found | ({"pairs": [list(x) for x in self.pairs]} if self.pairs else {})

    @classmethod
    def from_dict(cls, values: dict) -> Targets:
        """Return the targets from the output of `to_dict`."""
        return cls(values["kind"], tuple(values["names"]), tuple(values.get("pairs", ())))


def pairs_of(names: Sequence[str], strands: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the names of tracks that are strand pairs: the k-th `+` and the k-th `-`."""
    plus, minus = ([n for n, s in zip(names, strands, strict=False) if s == x] for x in "+-")
    return tuple(zip(plus, minus, strict=False))


class Match(NamedTuple):
    """Mapping from the targets of data to the targets of a model.

    Attributes:
        targets: Targets in the order of the model.
        order: Index of each target in the data, int64 [T]; None if the order is the same.
        note: Information for the user, if any.
    """

    targets: Targets
    order: np.ndarray | None = None
    note: str = ""

    def arrange(self, target: Any) -> Any:
        """Reorder targets of items from the order of the data to the order of the model."""
        if target is None:
            return target
        if not isinstance(target, np.ndarray):
            return target.arranged(self.order, self.targets)
        if self.order is None:
            return target
        if self.targets.kind == "class":
            return np.argsort(self.order).astype(target.dtype)[target]
        return target[..., self.order]


def match(model: Targets, data: Targets) -> Match:
    """Compare the targets of a model with the targets of data.

    The data may have fewer numbered classes. Targets without known names, on one side or both, are
    matched by position; the note reports this.

    Raises:
        LabelError: The targets differ; the message names missing and new ones.
    """
    if model.kind != data.kind:
        raise LabelError(f"the model predicts {_shown(model)}, the data have {_shown(data)}")
    pairs = _pairs(model, data)
    if model.names == data.names:
        return Match(model, None, pairs)
    if sorted(model.names) == sorted(data.names) and len(set(model.names)) == model.n:
        order = np.array([data.names.index(x) for x in model.names])
        what = "classes are numbered" if model.kind == "class" else "targets are put"
        note = f"{what} in the order of the model: {listed(model.names)}"
        return Match(model, order, f"{note} (given: {listed(data.names)}){pairs and '; '}{pairs}")
    if not (model.are_numbered or data.are_numbered):
        missing = [x for x in model.names if x not in data.names]
        new = [x for x in data.names if x not in model.names]
        parts = {"missing": missing, "new": new}
        both = "; ".join(f"{word}: {listed(x)}" for word, x in parts.items() if x)
        raise LabelError(
            f"the model predicts {_shown(model)}, the data have {_shown(data)} ({both})"
        )
    fewer = model.kind == "class" and data.are_numbered and data.n < model.n
    if data.n != model.n and not fewer:
        raise LabelError(f"the model predicts {_shown(model)}, the data have {_shown(data)}")
    named = data if model.are_numbered and not data.are_numbered else model
    if model.are_numbered and data.are_numbered and model.kind == "class":
        return Match(model)
    return Match(
        named, None, f"{_shown(data)} of the data are taken for the model's {listed(model.names)}"
    )


def _pairs(model: Targets, data: Targets) -> str:
    """Return a note if only the model defines the strands of tracks.

    Raises:
        LabelError: The strands differ from those of the model.
    """
    ours, theirs = ({frozenset(x) for x in side.pairs} for side in (data, model))
    if ours and ours != theirs:
        shown = "; ".join(f"{x} and {y}" for x, y in model.pairs) or "none"
        raise LabelError(
            f"--track_strands: the strand pairs of the model are {shown}; "
            "remove the option to use them"
        )
    return "" if ours == theirs else "the strands of the tracks are those of the model"


def _shown(targets: Targets) -> str:
    words = {None: "labels", "class": "classes", "real": "numbers", "multilabel": "labels"}
    word = words.get(targets.kind, "tracks")
    if targets.kind is None:
        return f"no {word}"
    return f"{targets.n} {word} ({listed(targets.names)})"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Format names for a message; the first `most` are shown."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def class_ids(
    texts: Sequence[str], names: Sequence[str] | None, where: Callable[[int], str]
) -> np.ndarray:
    """Return the class of each text, int64 [n].

    Args:
        texts: Labels as written in the file.
        names: Names of the classes; None if the labels are the numbers 0, 1, ...
        where: Function that returns file and line of text i, for messages.

    Raises:
        LabelError: A label is not a class; the message names file and line.
    """
    numbers = {name: i for i, name in enumerate(names)} if names else None
    get = int if numbers is None else numbers.__getitem__
    try:
        if numbers is None and "_" in "".join(texts):  # Python parses 1_000 as a number
            raise ValueError
        ids = np.fromiter(map(get, texts), np.int64, len(texts))
    except (ValueError, KeyError, OverflowError):
        found = [_class_of(x, numbers) for x in texts]
        if None in found:
            i = found.index(None)
            raise LabelError(f"{where(i)}: {_no_class(texts[i], names)}") from None
        ids = np.array(found, dtype=np.int64)
    wrong = np.flatnonzero(ids < 0)
    if len(wrong):
        raise LabelError(
            f"{where(int(wrong[0]))}: label {ids[wrong[0]]} is negative; number the classes from 0"
        )
    return ids


def _class_of(text: str, numbers: dict[str, int] | None) -> int | None:
    """Return the class that a text means, or None. Tables may write 1 as 1.0 or True."""
    if numbers is not None:
        return numbers.get(text)
    word = text.strip().lower()
    try:
        if "_" in word:
            return None
        value = (
            BOOLEANS[word] if word in BOOLEANS else int(word) if _is_whole(word) else float(word)
        )
        return int(value) if value == int(value) and abs(value) < 1 << 63 else None
    except (ValueError, OverflowError):
        return None


def _is_whole(text: str) -> bool:
    return text.lstrip("+-").isdecimal()


def _no_class(text: str, names: Sequence[str] | None) -> str:
    """Return what is wrong with the text of a label."""
    if text.strip().lower() in MISSING:
        return f"label {text!r} is missing; remove the row"
    if names:
        known = listed(names, 20)
        return f"label {text!r} is none of the classes {known}; correct it or --class_names"
    is_number = text.strip().lstrip("+-")[:1].isdigit()
    advice = (
        "--label_kind=real if the labels are numbers, --class_names if the classes have names"
        if is_number
        else "--class_names if the classes have names"
    )
    return f"label {text!r} is not a whole number from 0 on; set {advice}"
