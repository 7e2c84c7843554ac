"""One split of any kind of data as rows: sequences, truth and origin.

Every check in seqmodel/trust/ reads rows. They come from the data of a run (`rows_of`) or from a
table (`Rows.of_table`), without augmentation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from seqmodel.dataset.data import Data
from seqmodel.dataset.label.labels import MISSING, labels_of
from seqmodel.dataset.label.table import encode_all, header_of, read_rows
from seqmodel.dataset.seq.alphabet import Alphabet, alphabet_from_name
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import HparamError, LabelError
from seqmodel.rng import hash64

_LETTERS = 1 << 22  # positions read at once
DRAW_STREAM = 71
MAX_LETTERS = 400_000_000  # rows of a split that an audit reads
MOST_CLASSES = 100  # whole numbers with more distinct values than this are quantities, not classes
LABEL_WORDS = ("label", "labels", "target", "class", "y")
SEQUENCE_WORDS = ("sequence", "seq", "sequences")
NAME_WORDS = ("name", "id", "names")


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one split.

    Attributes:
        name: Name of the split: train, valid or test.
        codes: Ids of all sequences, concatenated, uint8, as a model reads them: an interval on the
            minus strand is reverse-complemented.
        offsets: Start of each row in `codes`, and the end of the last row, int64 [N + 1].
        alphabet: Alphabet of the codes.
        names: Names of the rows.
        kind: Kind of the truth: None, "class", "multilabel" or "real".
        truth: Class numbers, int64 [N]; or labels or numbers, float [N, T], NaN if missing. For
            tracks, log(1 + sum of the bins).
        targets: Names of the classes, or of the T targets.
        contigs: Contig of each row, [N]; only if rows have coordinates.
        starts: 0-based start of each row, int64 [N].
        ends: End of each row, int64 [N].
        source: Number of the file of each row, int64 [N]; only if there are several files.
        lower: Proportion of soft-masked (lower case) positions, float64 [N], if known.
        index: Number of each row in its split, int64 [N]; None if all rows are present, in order.
        n_all: Number of rows of the split, from which these may have been drawn.
    """

    name: str
    codes: np.ndarray
    offsets: np.ndarray
    alphabet: Alphabet
    names: Sequence[str] | None = None
    kind: str | None = None
    truth: np.ndarray | None = None
    targets: tuple[str, ...] = ()
    contigs: np.ndarray | None = None
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None
    source: np.ndarray | None = None
    lower: np.ndarray | None = None
    index: np.ndarray | None = None
    n_all: int | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Length of each row, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def numbers(self) -> np.ndarray:
        """Number of each row in its split, int64 [N]."""
        return np.arange(len(self)) if self.index is None else self.index

    @property
    def total(self) -> int:
        """Number of rows of the split."""
        return len(self) if self.n_all is None else self.n_all

    def select(self, which: np.ndarray) -> Rows:
        """Select rows by a bool mask or an array of indices."""
        which = np.flatnonzero(which) if which.dtype == bool else which
        lengths = self.lengths[which]
        codes = _gather(self.codes, self.offsets[:-1][which], lengths)
        offsets = _offsets(lengths)
        names = None if self.names is None else [self.names[i] for i in which.tolist()]
        arrays = ("truth", "contigs", "starts", "ends", "source", "lower")
        rest = {x: v[which] for x in arrays if (v := getattr(self, x)) is not None}
        index = self.numbers[which]
        return replace(
            self, codes=codes, offsets=offsets, names=names, index=index, n_all=self.total, **rest
        )

    def draw(self, limit: int, seed: int = 0) -> Rows:
        """Draw at most `limit` rows with a seed, in their order."""
        return self if len(self) <= limit else self.select(drawn(len(self), limit, seed))

    @classmethod
    def of_table(
        cls,
        table: Any,
        name: str = "train",
        *,
        alphabet: str = "dna",
        sequence_column: str | None = None,
        label_columns: Sequence[str] | None = None,
        label_kind: str | None = None,
        class_names: Sequence[str] = (),
        name_column: str | None = None,
    ) -> Rows:
        """Make rows from a DataFrame, a mapping of columns, or a file (CSV, TSV, Parquet).

        Args:
            table: Table or its path.
            name: Name of the split.
            alphabet: Value of `--alphabet`.
            sequence_column: Column of sequences. Default: `sequence` or `seq`.
            label_columns: Columns of labels. Default: `label`, `target` or `class`, if present.
            label_kind: class, multilabel or real. Default: decided by the values.
            class_names: Names of the classes. Default: numbers, or all texts in sorted order.
            name_column: Column of row names. Default: `name` or `id`, if present.

        Raises:
            LabelError: A column is missing, or a label is not of the given kind.
            SequenceError: A symbol is not in the alphabet.
        """
        what = f"the {name} table"
        columns = columns_of(table, what)
        sequence = _one_of(sequence_column, SEQUENCE_WORDS, columns, what)
        if sequence is None:
            raise LabelError(f"{what}: no column of sequences, only {', '.join(columns)}")
        letters = alphabet_from_name(alphabet)
        texts = [str(x) for x in columns[sequence]]
        found = encode_all(texts, letters, lambda i: f"{what} row {i + 1} column {sequence!r}")
        named = _one_of(name_column, NAME_WORDS, columns, what)
        labels = list(label_columns or _label_column(columns))
        kind, truth = None, None
        targets: tuple[str, ...] = ()
        if labels:
            values = [_texts(columns[_one_of(x, (), columns, what) or x]) for x in labels]
            kind = label_kind or kind_of(values)
            classes = list(class_names) or (_classes(values[0]) if kind == "class" else [])
            truth = labels_of(values, kind, classes, lambda i: f"{what} row {i + 1}")
            n = int(truth.max(initial=0)) + 1 if kind == "class" and not classes else 0
            targets = tuple(classes) or (tuple(map(str, range(n))) if n else tuple(labels))
        return cls(
            name,
            found.data[found.offsets[0] : found.offsets[0] + int(found.lengths.sum())],
            _offsets(found.lengths),
            letters,
            names=None if named is None else [str(x) for x in columns[named]],
            kind=kind,
            truth=truth,
            targets=targets,
            lower=_lower_texts(texts, found.lengths),
        )


def rows_of(data: Data, split: str, limit: int | None = None, seed: int = 0) -> Rows:
    """Read the rows of a split of the data of a run.

    Args:
        data: Data from build_data.
        split: train, valid or test.
        limit: Maximum number of rows, drawn with `seed`. Default: all rows.
        seed: Random seed of the draw.

    Raises:
        HparamError: The data have no such split.
    """
    if split not in data.readers:
        raise HparamError(f"the data have no {split} split, only {', '.join(data.splits)}")
    reader = data.readers[split]
    n = len(reader)
    which = drawn(n, limit, seed) if limit is not None and n > limit else None
    chosen = reader.intervals if which is None else reader.intervals.select(which)
    contig, strand = chosen.contig, chosen.strand
    size = reader.codes.lengths[contig]
    start, end = np.clip(chosen.start, 0, size), np.clip(chosen.end, 0, size)
    at = reader.codes.offsets[contig] + start
    lengths = np.maximum(end - start, 0)
    table = reader.alphabet.complement_table
    codes = _gather(reader.codes.data, at, lengths, strand < 0, table)
    found = Rows(split, codes, _offsets(lengths), reader.alphabet, index=which, n_all=n)
    names = list(chosen.contigs.names) or list(getattr(reader.codes, "names", []))
    more: dict[str, Any] = {}
    if names and reader.left_aligned:
        more["names"] = [names[i] for i in contig.tolist()]
    elif names:
        more |= {"contigs": np.array(names)[contig], "starts": start, "ends": end}
    if isinstance(reader.codes, SequenceStore):
        more["lower"] = _lower(reader.codes.edges, at, lengths)
    sources = data.sources.get(split)
    if sources is not None:
        more["source"] = sources if which is None else sources[which]
    return replace(found, **more, **_truth(data, reader.target, which, n))


def most_rows(data: Data, split: str, max_letters: int = MAX_LETTERS) -> int:
    """Return how many rows of a split have about `max_letters` positions together."""
    lengths = data.readers[split].intervals.length
    total = int(lengths.sum(dtype=np.int64))
    return len(lengths) if total <= max_letters else max(1, len(lengths) * max_letters // total)


def drawn(n: int, limit: int, seed: int = 0) -> np.ndarray:
    """Draw `limit` sorted numbers below `n`; the result is the same on every host."""
    order = np.argsort(hash64(seed, DRAW_STREAM, np.arange(n)), kind="stable")
    return np.sort(order[:limit])


def kind_of(columns: Sequence[Sequence[str]]) -> str:
    """Guess the kind of labels from their texts: class, multilabel or real."""
    words = {x for column in columns for x in column}
    known = {x for x in words if x.strip().lower() not in MISSING}
    named = all(map(_is_whole, words)) or not all(map(_is_number, words))
    if named and len(columns) == 1 and known == words and len(words) <= MOST_CLASSES:
        return "class"
    numbers = {float(x) for x in known if _is_number(x)}
    return "multilabel" if numbers <= {0.0, 1.0} else "real"


def _truth(data: Data, target: Any, which: np.ndarray | None, n: int) -> dict[str, Any]:
    """Return the kind, the truth and the target names of items."""
    targets = data.targets
    if target is None or targets.kind is None:
        return {}
    if isinstance(target, np.ndarray):
        values = target if which is None else target[which]
        if targets.kind != "class":
            values = values.reshape(len(values), -1).astype(np.float64)
        return {"kind": targets.kind, "truth": values, "targets": targets.names}
    items = np.arange(n) if which is None else which
    values = np.empty((len(items), targets.n))
    step = 1024
    for i in range(0, len(items), step):
        part = items[i : i + step]
        none = np.zeros(len(part), dtype=np.int64)
        read = target.read(part, none, none.astype(bool)).astype(np.float64)
        known = np.isfinite(read)
        sums, count = np.where(known, read, 0).sum(axis=1), known.sum(axis=1)
        # what test_predictions holds of a profile (training/predictions.py)
        values[i : i + step] = np.where(count > 0, np.log1p(np.maximum(sums, 0)), np.nan)
    return {"kind": "real", "truth": values, "targets": targets.names}


def _gather(
    data: np.ndarray,
    at: np.ndarray,
    lengths: np.ndarray,
    flip: np.ndarray | None = None,
    complements: np.ndarray | None = None,
) -> np.ndarray:
    """Concatenate pieces of `data`, uint8; pieces in `flip` are reverse-complemented."""
    flipped = flip is not None and bool(flip.any())
    if not flipped and len(at) and np.array_equal(at[1:], at[:-1] + lengths[:-1]):
        return data[int(at[0]) : int(at[-1] + lengths[-1])]
    offsets = _offsets(lengths)
    out = np.empty(int(offsets[-1]), dtype=np.uint8)
    first = 0
    while first < len(at):
        reach = int(np.searchsorted(offsets, offsets[first] + _LETTERS, "right")) - 1
        last = max(first + 1, reach)
        part, here = slice(first, last), lengths[first:last]
        begin, total = offsets[first], offsets[last] - offsets[first]
        inside = np.arange(total) - np.repeat(offsets[part] - begin, here)
        if flipped and flip is not None and complements is not None:
            back = np.repeat(flip[part], here)
            inside = np.where(back, np.repeat(here, here) - 1 - inside, inside)
            found = data[np.repeat(at[part], here) + inside]
            found = np.where(back, complements[np.minimum(found, len(complements) - 1)], found)
        else:
            found = data[np.repeat(at[part], here) + inside]
        out[begin : begin + total] = found
        first = last
    return out


def _offsets(lengths: np.ndarray) -> np.ndarray:
    """Return 0 and the ends of pieces of these lengths, int64 [N + 1]."""
    return np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def _lower(edges: np.ndarray, at: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the proportion of lower-case positions in pieces of a store, float64 [N]."""
    begin = np.asarray(edges[0::2], dtype=np.int64)
    ends = np.asarray(edges[1::2], dtype=np.int64)
    before = np.concatenate(([0], np.cumsum(ends - begin)))

    def until(position: np.ndarray) -> np.ndarray:
        i = np.searchsorted(begin, position, "right")
        beyond = np.maximum(np.append(0, ends)[i] - position, 0)
        return before[i] - np.where(i > 0, beyond, 0)

    return (until(at + lengths) - until(at)) / np.maximum(lengths, 1)


def _lower_texts(texts: Sequence[str], lengths: np.ndarray) -> np.ndarray:
    counts = np.array([0 if x.isupper() else sum(map(str.islower, x)) for x in texts])
    return counts / np.maximum(lengths, 1)


def columns_of(table: Any, what: str) -> dict[str, Any]:
    """Return the columns of a DataFrame, a mapping or a file, by name.

    Raises:
        LabelError: The table has no row, or its columns have different lengths.
    """
    if isinstance(table, str | os.PathLike):
        names = header_of(os.fspath(table))
        read = read_rows([table], names, named=True)
        return dict(zip(names, read.columns, strict=True))
    columns = {str(x): list(table[x]) for x in table}
    if not columns or not all(len(x) for x in columns.values()):
        raise LabelError(f"{what}: the table has no row")
    if len({len(x) for x in columns.values()}) > 1:
        raise LabelError(f"{what}: the columns have different lengths")
    return columns


def rows_of_tables(tables: Mapping[str, Any], **options: Any) -> dict[str, Rows]:
    """Make rows from the tables of several splits, with one kind of labels and one set of names.

    Args:
        tables: Tables for `Rows.of_table`, by the name of the split.
        **options: Options of `Rows.of_table`.
    """
    columns = {name: columns_of(x, f"the {name} table") for name, x in tables.items()}
    labels = list(options.get("label_columns") or _label_column(next(iter(columns.values()))))
    values = [
        [y for x in columns.values() if name in x for y in _texts(x[name])] for name in labels
    ]
    if values and all(values):
        kind = options.get("label_kind") or kind_of(values)
        classes = options.get("class_names") or ()
        if kind == "class" and not classes:
            n = max((int(x) for x in values[0] if _is_whole(x)), default=0) + 1
            classes = _classes(values[0]) or tuple(map(str, range(max(2, n))))
        options |= {"label_kind": kind, "class_names": classes, "label_columns": labels}
    found = {}
    for name, x in columns.items():
        own = {} if all(y in x for y in labels) else {"label_columns": None, "label_kind": None}
        found[name] = Rows.of_table(x, name, **(options | own))
    return found


def _label_column(columns: Mapping[str, Any]) -> list[str]:
    return [x for x in LABEL_WORDS if x in columns][:1]


def _one_of(name: str | None, words: Sequence[str], columns: dict, what: str) -> str | None:
    """Return the named column, or else the first column whose name is in `words`."""
    if name is not None and name not in columns:
        raise LabelError(f"{what}: no column {name!r}; its columns are {', '.join(columns)}")
    return name or next((x for x in words if x in columns), None)


def _texts(values: Sequence[Any]) -> list[str]:
    """Convert values to text: whole numbers without a decimal point, missing values empty."""
    return ["" if x is None or x != x else str(x).strip() for x in values]


def _classes(texts: Sequence[str]) -> list[str]:
    """Return the names of the classes; empty if they are numbers."""
    return [] if all(_is_whole(x) for x in texts) else sorted(set(texts))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
