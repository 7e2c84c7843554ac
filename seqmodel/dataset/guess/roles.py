"""Guess the role of each column: sequences, labels and their kind, split.

Second step of the guess: Columns -> values of hyperparameters. If several readings are possible,
Unclear lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from seqmodel.dataset.guess.columns import MOST_VALUES, Column, number_of, words_of
from seqmodel.dataset.split import FLAGS, SPLITS, split_of
from seqmodel.errors import HparamError, LabelError

Values = dict[str, Any]

SEQUENCE_WORDS = {"sequence", "sequences", "seq", "seqs", "dna", "rna", "protein", "peptide"}
ABOUT_WORDS = {"id", "ids", "name", "names", "len", "length", "type", "index", "source"}
ID_WORDS = {"id", "ids", "name", "names", "index", "accession", "unnamed", "gene"}
LABEL_WORDS = {"label", "labels", "class", "classes", "target", "targets", "y"}
CLASS_WORDS = {"class", "classes", "category"}
SPLIT_WORDS = {"split", "set", "partition", "subset"}
VALID_WORDS = {"validation", "valid", "val"}
NEGATIVE = ("0", "-1", "no", "false", "neg", "negative", "none", "control", "background", "random")
"""Names of the first of two classes; the other one is the positive class of the metrics."""
SEQUENCE_LEN_MIN = 8
FEW_CLASSES, MANY_CLASSES = 3, 50
"""Whole numbers are classes if they are few, quantities if they are many, else not clear."""
MOST_READINGS = 4


class Unclear(Exception):
    """Raised for a file that can be read in several ways.

    Attributes:
        question: Sentence that says what is unclear.
        readings: Possible readings: the values to set, each with a short description.
    """

    def __init__(self, question: str, readings: Sequence[tuple[Values, str]]) -> None:
        super().__init__(question)
        self.question, self.readings = question, list(readings)


def is_named(first: Sequence[str], columns: Sequence[Column]) -> bool:
    """Return whether the first row of a file has the column names instead of values."""
    names = [x.strip().lower() for x in first]
    known = LABEL_WORDS | SPLIT_WORDS | {"sequence", "seq", "id", "name"}
    if any(x in known for x in names) and len(set(names)) == len(names):
        return True
    for text, column in zip(first, columns, strict=True):
        if not column.n_found:
            continue
        if column.are_numbers and number_of(text.strip()) is None and text.strip():
            return True
        if _is_sequence_like(column) and not _fits(text.strip(), column):
            return True
    return False


def _fits(text: str, column: Column) -> bool:
    """Return whether a text may be one of the sequences of a column."""
    return set(text.upper()) <= set(column.letters) | set("ACGTUN") and (
        2 * len(text) >= column.shortest or not text
    )


def find_column(path: str, columns: Sequence[Column], name: str) -> Column:
    """Return the column with this name or this number from 1.

    Raises:
        LabelError: The column does not exist.
    """
    found = next((c for c in columns if c.name == name), None)
    if found is None and name.isdigit() and 0 < int(name) <= len(columns):
        found = columns[int(name) - 1]
    if found is None:
        there = ", ".join(repr(c.name) for c in columns[:20])
        raise LabelError(f"{path}: no column {name!r}; it has {there}")
    return found


def sequence_column(path: str, columns: Sequence[Column]) -> Column:
    """Return the sequence column, found by its name or else by its contents.

    Raises:
        Unclear: there are several.
        HparamError: there is none.
    """
    named = [c for c in columns if _is_sequence_name(c.name) and c.alphabets]
    found = named or [c for c in columns if _may_be_label(c) and _is_sequence_like(c)]
    if len(found) > 1:
        raise Unclear(
            f"{path} has {len(found)} columns of sequences; which one should be read?",
            [({"sequence_column": c.name}, _shown(c)) for c in found[:MOST_READINGS]],
        )
    if not found:
        raise HparamError(f"{path}: no column of sequences; {_why_none(columns)}")
    return found[0]


def _is_sequence_name(name: str) -> bool:
    words = set(words_of(name))
    return bool(words & SEQUENCE_WORDS) and not words & ABOUT_WORDS


def _is_sequence_like(column: Column) -> bool:
    if not column.alphabets or column.n_missing:
        return False
    is_varied = column.has_more or 2 * column.n_values >= min(column.n, 40)
    return is_varied and column.mean_length >= SEQUENCE_LEN_MIN


def _why_none(columns: Sequence[Column]) -> str:
    """Return what to do about a table without a readable sequence column."""
    named = next((c for c in columns if _is_sequence_name(c.name) and c.letters), None)
    if named is not None:
        common = "".join(x for x, _ in named.letters.most_common(40))
        return (
            f"column {named.name!r} has the characters {common!r}, which are in no known alphabet; "
            "correct it, or give --sequence_column and --alphabet=letters:XYZ"
        )
    there = ", ".join(repr(c.name) for c in columns[:20])
    return f"it has {there}; give --sequence_column=NAME and --alphabet"


def alphabet_of(path: str, column: Column) -> str:
    """Return the alphabet of the sequences; a column named dna, rna or protein has that one.

    Raises:
        Unclear: there are two.
        HparamError: there is none.
    """
    found, words = column.alphabets, words_of(column.name)
    letters = set(column.letters)
    if {"protein", "peptide", "aa"} & set(words) and letters <= set("ACDEFGHIKLMNPQRSTVWYXBZJUO*"):
        return "protein"
    if "rna" in words and found == ["dna"] and "T" not in letters:
        return "rna"
    if not found:
        common = "".join(x for x, _ in column.letters.most_common(40))
        raise HparamError(
            f"{path}: column {column.name!r} has the characters {common!r}, which are in no known "
            "alphabet; correct it, or set --alphabet"
        )
    if len(found) > 1:
        raise Unclear(
            f"{path}: the sequences of column {column.name!r} may have either of two alphabets.",
            [({"alphabet": x}, "") for x in found],
        )
    return found[0]


def split_column(path: str, columns: Sequence[Column]) -> Column | None:
    """Return the column with the splits of the rows, or None.

    Raises:
        Unclear: there are several.
    """
    found = [c for c in columns if _is_split(c)]
    named = [c for c in found if set(words_of(c.name)) & SPLIT_WORDS]
    found = named or found
    if len(found) > 1:
        raise Unclear(
            f"{path} has {len(found)} columns with a split; which one should be read?",
            [({"split_column": c.name}, "") for c in found[:MOST_READINGS]],
        )
    return found[0] if found else None


def valid_column(
    path: str, columns: Sequence[Column], given: Mapping[str, Any], splits: set[str | None]
) -> Column | None:
    """Return the column with flags of validation rows, such as `validation` in FLIP; or None.

    It is found by its name only beside a column of splits that names no validation rows.
    """
    if given.get("valid_column"):
        return find_column(path, columns, given["valid_column"])
    if len(splits) < 2 or "valid" in splits or given.get("valid_prop"):
        return None
    for column in columns:
        words = set(words_of(column.name)) - {"is"}
        flags = {FLAGS.get(x.lower()) for x in column.values}
        if words and words <= VALID_WORDS and True in flags and None not in flags:
            return column
    return None


def _is_split(column: Column) -> bool:
    if column.has_more or column.n_missing or not column.n:
        return False
    splits = splits_in(column)
    return None not in splits and "train" in splits


def splits_in(column: Column) -> set[str | None]:
    """Return the splits that a column names, with None if a text is not a split."""
    return {split_of(x) for x in column.values}


def label_columns(path: str, columns: Sequence[Column]) -> list[Column]:
    """Return the label columns out of the columns without another role.

    Raises:
        Unclear: Several columns may be the label.
        HparamError: there is none.
    """
    named = [c for c in columns if c.name.strip().lower() in LABEL_WORDS]
    if len(named) > 1:
        raise Unclear(
            f"{path} has {len(named)} columns that may be the label; which one should be "
            "predicted?",
            [({"label_columns": [c.name]}, _shown(c)) for c in named[:MOST_READINGS]],
        )
    if named:
        return named
    numbered = [c for c in columns if set(words_of(c.name)[:1]) & LABEL_WORDS]
    if numbered:
        return numbered
    found = [c for c in columns if _may_be_label(c) and not _is_split(c)]
    if len(found) > 1 and not all(c.are_binary for c in found):
        raise Unclear(
            f"{path}: no column is named label, class, target or y, and {len(found)} may be the "
            "label; which one should be predicted?",
            [({"label_columns": [c.name]}, _shown(c)) for c in found[:MOST_READINGS]],
        )
    if not found:
        there = ", ".join(repr(c.name) for c in columns[:20]) or "none"
        raise HparamError(
            f"{path}: no column has labels (other columns: {there}); set --label_columns=NAME"
        )
    return found


def _may_be_label(column: Column) -> bool:
    """Return whether an unnamed column may be a label: not constant, not names of items."""
    words = words_of(column.name)
    if set(words) & ID_WORDS or not column.name or not column.n_found:
        return False
    if column.are_numbers:
        return column.n_values > 1 and not _counts_rows(column)
    is_class = not column.has_more and 2 * column.n_values <= max(column.n_found, 4)
    return (is_class and column.n_values > 1) or _is_sequence_like(column)


def _counts_rows(column: Column) -> bool:
    """Return whether whole numbers count the rows, like an index."""
    if not column.are_whole or column.n_values < min(column.n_found, 1000):
        return False
    first = [float(x) for x in list(column.values)[:1000]]
    return all(b == a + 1 for a, b in pairwise(first))


def _shown(column: Column) -> str:
    """Show a few texts of a column."""
    some = [x if len(x) <= 12 else f"{x[:9]}..." for x in list(column.values)[:3]]
    return f"{', '.join(some)}{', ...' if column.n_values > 3 else ''}"


def label_kind(path: str, columns: Sequence[Column]) -> tuple[Values, str]:
    """Return values of `label_kind` and `class_names`, and a description in words.

    Raises:
        Unclear: The labels may be classes or quantities.
        HparamError: The labels cannot be learned.
    """
    if len(columns) > 1:
        wrong = next((c for c in columns if not c.are_numbers), None)
        if wrong is not None:
            raise HparamError(
                f"{path}: several columns have labels, and {wrong.name!r} has texts; choose the "
                "one to predict with --label_columns=NAME"
            )
        if all(c.are_binary for c in columns):
            return {"label_kind": "multilabel"}, f"{len(columns)} labels of 0 and 1"
        return {"label_kind": "real"}, f"{len(columns)} numbers"
    column = columns[0]
    what = f"{path}: column {column.name!r}"
    if column.n_values < 2:
        only = next(iter(column.values), "nothing")
        raise HparamError(f"{what} has only {only!r}, but a model needs at least two classes")
    if column.are_binary and column.n_missing:
        return {"label_kind": "multilabel"}, "0 and 1, or missing"
    if column.are_numbers and _are_quantities(what, column):
        return {"label_kind": "real"}, "numbers"
    if column.has_more:
        raise HparamError(
            f"{what} has over {MOST_VALUES:,} different texts, too many for classes; set "
            "--label_columns"
        )
    return as_classes(column)


def as_classes(column: Column) -> tuple[Values, str]:
    """Return the classes of a column: `label_kind`, `class_names` if not 0, 1, ...; and words.

    They are in numeric or alphabetic order; of two classes, one with a name such as `negative`
    comes first.
    """
    names = ordered(column.values)
    counts = [f"{x} ({column.values[x]:,})" for x in names[:6]]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    text = f"{len(names)} classes: {', '.join(counts)}{more}"
    values: Values = {"label_kind": "class"}
    if names != [str(i) for i in range(len(names))]:
        values["class_names"] = names
    return values, text


def ordered(names: Sequence[str] | Mapping[str, int]) -> list[str]:
    """Sort names of classes in the order of a guess."""
    if all(number_of(x) is not None for x in names):
        return sorted(names, key=lambda x: (float(x), x))
    found = sorted(names, key=lambda x: (x.lower(), x))
    if len(found) == 2:
        found.sort(key=lambda x: not _is_negative(x))
    return found


def _is_negative(name: str) -> bool:
    words = name.lower().replace("_", "-").split("-")
    return name.lower() in NEGATIVE or words[0] in ("no", "non", "not", "neg", "negative")


def _are_quantities(what: str, column: Column) -> bool:
    """Return whether numbers are quantities and not classes.

    Raises:
        Unclear: They may be either.
    """
    if not column.are_whole:
        return True
    if set(words_of(column.name)) & CLASS_WORDS:
        return column.has_more
    if column.n_values <= FEW_CLASSES:
        return False
    if column.n_values > MANY_CLASSES or column.n_found < 2 * column.n_values:
        return True
    classes, _ = as_classes(column)
    raise Unclear(
        f"{what} has {column.n_values} different whole numbers: classes, or quantities?",
        [
            ({"task": "classify", **classes}, "classes"),
            ({"task": "regress", "label_kind": "real"}, "quantities"),
        ],
    )


def missing_splits(splits: set[str | None]) -> list[str]:
    """Return the missing splits other than train."""
    return [x for x in SPLITS[1:] if x not in splits]
