"""What is to be predicted: names and kind of the targets, and their values by item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seqmodel.errors import LabelError

KINDS = (None, "class", "multilabel", "real", "track")


@dataclass(frozen=True)
class Targets:
    """Kind and names of what is predicted; saved with the model.

    Attributes:
        kind: None (no labels), "class" (one of n), "multilabel" (n times yes or no), "real"
            (n numbers) or "track" (n numbers for each of several bins).
        names: names of the classes, labels or tracks.
    """

    kind: str | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabelError(f"targets of kind {self.kind!r}: known are {KINDS}")
        object.__setattr__(self, "names", tuple(self.names))

    @property
    def n(self) -> int:
        """Number of classes, labels, numbers or tracks."""
        return len(self.names)

    def to_dict(self) -> dict[str, object]:
        """The targets as plain JSON types."""
        return {"kind": self.kind, "names": list(self.names)}

    @classmethod
    def from_dict(cls, values: dict) -> Targets:
        """The targets that `to_dict` wrote."""
        return cls(values["kind"], tuple(values["names"]))


def class_ids(
    texts: Sequence[str], names: Sequence[str] | None, where: Callable[[int], str]
) -> np.ndarray:
    """Class of each text, int64 [n].

    Args:
        texts: labels as they stand in the file.
        names: names of the classes; None if the labels are the numbers 0, 1, ...
        where: file and line of text i, for messages.

    Raises:
        LabelError: a label is no class; file and line are named.
    """
    numbers = {name: i for i, name in enumerate(names)} if names else None
    get = int if numbers is None else numbers.__getitem__
    try:
        ids = np.fromiter(map(get, texts), np.int64, len(texts))
    except (ValueError, KeyError):
        i = next(i for i, x in enumerate(texts) if not _is_class(x, numbers))
        what = (
            "is not a whole number from 0 on; set --class_names if the classes have names"
            if numbers is None
            else f"is none of the classes {', '.join(names)}"
        )
        raise LabelError(f"{where(i)}: label {texts[i]!r} {what}") from None
    wrong = np.flatnonzero(ids < 0)
    if len(wrong):
        raise LabelError(f"{where(int(wrong[0]))}: label {ids[wrong[0]]} is negative; count from 0")
    return ids


def _is_class(text: str, numbers: dict[str, int] | None) -> bool:
    if numbers is not None:
        return text in numbers
    try:
        return int(text) >= 0
    except ValueError:
        return False
