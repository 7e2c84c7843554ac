"""Labels: texts of table columns -> arrays; missing labels are NaN and wrong ones are errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from seqmodel.dataset.label.targets import BOOLEANS, MISSING, Targets, class_ids, listed
from seqmodel.errors import LabelError

FLOAT32_MAX = float(np.finfo(np.float32).max)
MOST_CLASSES = 1 << 20
"""A class number beyond this is taken for a mistake: each class has weights of its own."""
MANY_CLASSES = 1000
"""From here on, more classes than half of the rows are a mistake too, such as a wrong column."""

Where = Callable[[int], str]


def labels_of(
    columns: Sequence[Sequence[str]],
    kind: str,
    class_names: Sequence[str],
    where: Where,
    names: Sequence[str] = (),
) -> np.ndarray:
    """Return labels of n items: int64 [n] for classes, else [n, T] with NaN where missing.

    Labels with kind "multilabel" are uint8 if none is missing, else float32.

    Args:
        columns: Texts of the T columns, n each.
        kind: Kind of the labels: "class", "multilabel" or "real".
        class_names: Names of the classes; empty if they are numbers.
        where: Function that returns file and line of item i, for messages.
        names: Names of the columns, for messages.

    Raises:
        LabelError: A label is not of this kind; the message names file and line.
    """
    if kind == "class" and len(columns) > 1:
        raise LabelError(
            f"{where(0)}: classes need one label column, but got {len(columns)}; set "
            "--label_kind=multilabel or real"
        )
    if kind == "class":
        return class_ids(columns[0], class_names or None, where)

    def place(j: int) -> Where:
        if len(columns) == 1 or len(names) <= j:
            return where
        return lambda i: f"{where(i)} column {names[j]!r}"

    if kind == "real":
        numbers = [numbers_of(x, place(j)) for j, x in enumerate(columns)]
        return np.stack(numbers, axis=1).astype(np.float32)
    return np.stack([_bits(x, place(j)) for j, x in enumerate(columns)], axis=1)


def _bits(texts: Sequence[str], where: Where) -> np.ndarray:
    """Return labels 0 and 1 of a column: uint8 [n], or float32 with NaN for missing ones."""
    whole = "".join(texts)
    if len(whole) == len(texts) and not whole.strip("01") and "" not in texts:
        return np.frombuffer(whole.encode(), dtype=np.uint8) - np.uint8(ord("0"))
    values = numbers_of(texts, where)
    missing = np.isnan(values)
    wrong = np.flatnonzero(~missing & (values != 0) & (values != 1))
    if len(wrong):
        i = int(wrong[0])
        raise LabelError(
            f"{where(i)}: label {texts[i]!r} is not 0, 1 or missing; set --label_kind=real "
            "if it is a number, --label_kind=class if it is a class"
        )
    return values.astype(np.float32 if missing.any() else np.uint8)


def numbers_of(texts: Sequence[str], where: Where) -> np.ndarray:
    """Return the numbers of a column, float64 [n]; NaN for texts in `MISSING`.

    True and False are 1 and 0.

    Raises:
        LabelError: A text is not a number.
    """
    try:
        found = np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        found = np.array([_number(x, i, where) for i, x in enumerate(texts)], dtype=np.float64)
    if "_" in "".join(texts):  # Python parses 1_000 as a number
        i = next(i for i, x in enumerate(texts) if "_" in x)
        raise LabelError(f"{where(i)}: label {texts[i]!r} is not a number")
    infinite = np.flatnonzero(np.abs(found) > FLOAT32_MAX)
    if len(infinite):
        i = int(infinite[0])
        raise LabelError(
            f"{where(i)}: label {texts[i]!r} is infinite in float32; leave it empty if it is "
            "missing, or change its unit"
        )
    return found


def _number(text: str, i: int, where: Where) -> float:
    word = text.strip().lower()
    if word in MISSING:
        return float("nan")
    try:
        return BOOLEANS[word] if word in BOOLEANS else float(text)
    except ValueError:
        raise LabelError(
            f"{where(i)}: label {text!r} is not a number (leave it empty if it is missing)"
        ) from None


def targets_of(
    kind: str, column_names: Sequence[str], class_names: Sequence[str], labels: Sequence[np.ndarray]
) -> Targets:
    """Return the Targets of labels of this kind, over all splits."""
    if kind != "class":
        return Targets(kind, tuple(column_names))
    highest = max(int(x.max()) for x in labels if len(x))
    n_rows = sum(map(len, labels))
    if highest >= MOST_CLASSES or (highest >= MANY_CLASSES and 2 * (highest + 1) > n_rows):
        raise LabelError(
            f"the labels include class {highest}, which implies {highest + 1} classes for {n_rows} "
            "rows; check --label_columns, number the classes from 0, or set --class_names; set "
            "--label_kind=real if the labels are numbers"
        )
    return Targets("class", tuple(class_names or map(str, range(max(highest, 1) + 1))))


def check_classes(found: Mapping[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Warn about unused class numbers and about classes without training rows.

    Args:
        found: Class of each row, by split.
        class_names: Names of the classes; empty if the labels are numbers.

    Raises:
        LabelError: The classes are numbered from 1.
    """
    n = max(len(class_names), *(int(x.max(initial=0)) + 1 for x in found.values()))
    counts = {split: np.bincount(x, minlength=n) for split, x in found.items()}
    train, total = counts.get("train"), np.sum(list(counts.values()), axis=0)
    if train is None:
        return
    empty, n_classes = np.flatnonzero(total == 0), int(np.count_nonzero(total))
    names = list(class_names) or list(map(str, range(n)))
    if not class_names and empty.tolist() == [0] and n_classes > 1:
        raise LabelError(
            f"the labels are 1 to {n - 1}, but classes are numbered from 0; subtract 1, or set "
            f"--class_names {' '.join(names[1:6])}{' ...' if n > 6 else ''}"
        )
    if not class_names and len(empty) and n_classes > 1:
        warnings.warn(f"no row has class {listed([names[i] for i in empty])}", stacklevel=3)
    for split, own in counts.items():
        new = np.flatnonzero((own > 0) & (train == 0))
        if len(new):
            warnings.warn(
                f"{split} split: {own[new].sum():,} of {own.sum():,} rows have a class that no "
                f"training row has: {listed([names[i] for i in new])}",
                stacklevel=3,
            )
