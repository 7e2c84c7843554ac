"""Labelled tables: CSV or TSV files with a column of sequences and columns of labels.

All sequences are encoded into one array, so that they are read like the contigs of a store.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from seqmodel.dataset.alphabet import BAD, Alphabet
from seqmodel.dataset.bed import open_text
from seqmodel.errors import LabelError, SequenceError

SLACK = 64


@dataclass(frozen=True)
class Table:
    """Sequences and labels of one file.

    Attributes:
        path: the file.
        data: codes of all sequences, uint8, with `SLACK` bytes before the first and after the last.
        offsets: position of each sequence in `data`, int64 [n].
        lengths: length of each, int64 [n].
        labels: texts of each label column, n each.
        label_names: names of the label columns.
        lines: line number of each row, int64 [n].
    """

    path: str
    data: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    labels: list[list[str]]
    label_names: list[str]
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def where(self, i: int) -> str:
        """File and line of row `i`, for a message."""
        return f"{self.path} line {self.lines[i]}"


def read_table(
    path: str | os.PathLike,
    alphabet: Alphabet,
    sequence_column: str = "sequence",
    label_columns: list[str] | tuple[str, ...] = ("label",),
) -> Table:
    """The table of a file; columns are separated by tabs if its first line has one, else by commas.

    Args:
        path: plain or gzip.
        alphabet: letters of the sequences.
        sequence_column: name of the column, or its number from 1; with a number for the sequences
            the file has no line of names.
        label_columns: names of the columns with labels, or their numbers.

    Raises:
        LabelError: the file has no such column, or a row has too few.
        SequenceError: a sequence is empty or has a letter outside of the alphabet; file, line,
            column and character are named.
    """
    path = os.fspath(path)
    rows, lines, header = _read_rows(path, named=not sequence_column.isdigit())
    at = _column(path, sequence_column, header)
    wanted = [_column(path, x, header) for x in label_columns]
    widest = max([at, *wanted])
    short = next((i for i, x in enumerate(rows) if len(x) <= widest), None)
    if short is not None:
        raise LabelError(
            f"{path} line {lines[short]}: {len(rows[short])} columns, {widest + 1} are wanted"
        )
    sequences = [x[at].strip() for x in rows]
    name = header[at] if header else at + 1

    def where(i: int) -> str:
        return f"{path} line {lines[i]} column {name!r}"

    data, offsets, lengths = encode_all(sequences, alphabet, where)
    labels = [[x[i].strip() for x in rows] for i in wanted]
    names = [header[i] if header else str(x) for i, x in zip(wanted, label_columns, strict=True)]
    return Table(path, data, offsets, lengths, labels, names, np.array(lines))


def concatenate_tables(tables: list[Table]) -> Table:
    """The rows of all `tables`, in order; path and lines are those of the first."""
    if len(tables) == 1:
        return tables[0]
    starts = np.cumsum([0] + [len(x.data) for x in tables[:-1]])
    return Table(
        tables[0].path,
        np.concatenate([x.data for x in tables]),
        np.concatenate([x.offsets + at for x, at in zip(tables, starts, strict=True)]),
        np.concatenate([x.lengths for x in tables]),
        [[y for x in tables for y in x.labels[i]] for i in range(len(tables[0].labels))],
        tables[0].label_names,
        np.concatenate([x.lines for x in tables]),
    )


def encode_all(
    texts: list[str], alphabet: Alphabet, where: Callable[[int], str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of all texts in one array with `SLACK` at both ends, their offsets, their lengths.

    Raises:
        SequenceError: a text is empty or not of the alphabet; `where(i)` names it.
    """
    if alphabet.is_single:
        raw = "".join(texts).encode("ascii", "replace")
        codes = np.frombuffer(raw.translate(alphabet.encode_table), dtype=np.uint8)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        wrong = raw.translate(alphabet.encode_table).find(BAD)
        if wrong >= 0:
            i = int(np.searchsorted(np.cumsum(lengths), wrong, side="right"))
            alphabet.encode(texts[i], where(i))
    else:
        parts = [alphabet.encode(x, where(i)) for i, x in enumerate(texts)]
        codes = np.concatenate(parts)
        lengths = np.array([len(x) for x in parts], dtype=np.int64)
    empty = np.flatnonzero(lengths == 0)
    if len(empty):
        raise SequenceError(f"{where(int(empty[0]))}: the sequence is empty; leave out the row")
    slack = np.zeros(SLACK, dtype=np.uint8)
    offsets = SLACK + np.cumsum(lengths) - lengths
    return np.concatenate((slack, codes, slack)), offsets, lengths


def _read_rows(path: str, *, named: bool) -> tuple[list[list[str]], list[int], list[str]]:
    """Rows that are not blank, their line numbers, and the names of the columns."""
    with open_text(path) as f:
        first = f.readline()
        f.seek(0)
        reader = csv.reader(f, delimiter="\t" if "\t" in first else ",")
        rows, lines = [], []
        try:
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
        except (csv.Error, EOFError, OSError) as e:
            raise LabelError(f"{path} line {reader.line_num + 1}: cannot be read ({e})") from e
    header = [x.strip() for x in rows[0]] if named and rows else []
    rows, lines = rows[bool(header) :], lines[bool(header) :]
    if not rows:
        raise LabelError(f"{path}: has no row")
    return rows, lines, header


def _column(path: str, column: str, header: list[str]) -> int:
    if column in header:
        return header.index(column)
    if column.isdigit() and int(column) > 0:
        return int(column) - 1
    there = f"it has {', '.join(header)}" if header else "it has no line of names; give a number"
    raise LabelError(
        f"{path}: no column {column!r}; {there}; see --sequence_column and --label_columns"
    )
