"""Guess for tables, and for FASTA files with labels in their headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seqmodel.dataset.guess.columns import Column, read_columns, rows_of
from seqmodel.dataset.guess.roles import (
    ID_WORDS,
    Values,
    alphabet_of,
    as_classes,
    find_column,
    is_named,
    label_columns,
    label_kind,
    sequence_column,
    split_column,
    splits_in,
    valid_column,
)
from seqmodel.dataset.guess.training import DIVIDED_BY, split_props
from seqmodel.errors import HparamError
from seqmodel.files import open_unpacked

KINDS = {"classify": "class", "multilabel": "multilabel", "regress": "real"}
TASKS = {kind: task for task, kind in KINDS.items()}
GENOME_BYTES = 1 << 20
_INSTEAD = (
    "to pre-train on it: seqmodel run --task=masked --fasta={0} --seq_len=512; to train on "
    "intervals of it: seqmodel train intervals.bed --fasta={0}"
)


class Found(NamedTuple):
    """Guess from a file: values, notes (what, text), minimum number of rows, and their length."""

    values: Values
    notes: list[tuple[str, str]]
    n_items: int
    seq_len: int


def read_tables(files: Mapping[str, str], given: Mapping[str, Any]) -> Found:
    """Guess the roles of the columns of tables.

    Args:
        files: Tables by split, including train.
        given: Known values.

    Raises:
        SeqmodelError: A file cannot be read, or has no sequences or labels.
        Unclear: Several readings are possible.
    """
    path, quotes = files["train"], given.get("quotes") or "auto"
    is_fasta = refuse_genome(path)
    name = given.get("sequence_column")
    columns, named, has_more = read_columns(
        path,
        rows_of(path, quotes),
        is_named if name is None else lambda *_: not name.isdigit(),
    )
    notes = [("rows", f"{columns[0].n:,}{' and more' if has_more else ''} in {path}")]
    values: Values = {"dataset": "records" if given.get("fasta") else "table"}
    values |= {f"{split}_files": [x] for split, x in files.items()}
    rest = [c for c in columns if c.name != given.get("weight_column")]
    sequence = _sequences(path, rest, given, values, notes)
    rest = [c for c in rest if c is not sequence]
    there: set[str | None] = {*files, *(x for x in ("valid", "test") if given.get(f"{x}_files"))}
    split = _split(path, rest, given, there)
    if split is not None:
        values["split_column"] = split.name
        there |= splits_in(split)
        rest = [c for c in rest if c is not split]
        notes.append(("split", f"column {split.name!r}: {_counted(split)}"))
    flag = valid_column(path, rest, given, there)
    if flag is not None:
        values["valid_column"] = flag.name
        there.add("valid")
        rest = [c for c in rest if c is not flag]
        notes.append(("split", f"column {flag.name!r}: {_counted(flag)} of train are valid"))
    labels = [find_column(path, columns, x) for x in given.get("label_columns") or []]
    labels = labels or (_header_labels if is_fasta else label_columns)(path, rest)
    for other in list(files.values())[1:]:
        _add_labels(other, quotes, named, labels)
    values |= kind_of_labels(path, labels, given, notes)
    props, text = split_props(there, columns[0].n, given, "a digest of the sequence")
    if props:
        values |= props
        notes.append(("split", text))
    unused = [c.name for c in rest if c not in labels and c.name]
    if unused:
        notes.append(("not used", ", ".join(map(repr, unused[:10]))))
    ordered = ("task", "dataset")
    values = {n: values[n] for n in ordered if n in values} | values
    return Found(values, notes, columns[0].n, int(max(1, sequence.mean_length)))


def refuse_genome(path: str) -> bool:
    """Raise for a FASTA file with a long first record: it would be read whole, without labels.

    Returns:
        Whether the file is FASTA.

    Raises:
        HparamError: The file is a genome.
    """
    with open_unpacked(path, HparamError) as file:
        head = file.read(GENOME_BYTES) if file.peek(1)[:1] == b">" else b""
    if len(head) == GENOME_BYTES and b"\n>" not in head:
        raise HparamError(
            f"{path}: its first record has over a million bases, so it is a genome, without "
            f"labels; {_INSTEAD.format(path)}"
        )
    return bool(head)


def _header_labels(path: str, columns: Sequence[Column]) -> list[Column]:
    try:
        return label_columns(path, columns)
    except HparamError:
        raise HparamError(
            f"{path}: the headers have no labels such as '>name label', '>name|label' or "
            f"'>name label=x'; {_INSTEAD.format(path)}"
        ) from None


def _sequences(
    path: str,
    columns: Sequence[Column],
    given: Mapping[str, Any],
    values: Values,
    notes: list[tuple[str, str]],
) -> Column:
    """Return the column with sequences, or with their names if FASTA files have them."""
    name = given.get("sequence_column")
    column = find_column(path, columns, name) if name else None
    if given.get("fasta"):
        column = column or _record_names(path, columns)
        values["sequence_column"] = column.name
        read, _, _ = read_columns(given["fasta"][0], rows_of(given["fasta"][0], "auto"), is_named)
        letters, where = read[0], f"records of {given['fasta'][0]}"
    else:
        column = column or sequence_column(path, columns)
        values["sequence_column"] = column.name
        letters, where = column, f"column {column.name!r}"
    alphabet = given.get("alphabet") or alphabet_of(path, letters)
    values["alphabet"] = alphabet
    n = (int(letters.shortest), letters.longest)
    length = f"{n[0]:,}" if n[0] == n[1] else f"{n[0]:,} to {n[1]:,}"
    unit = "residues" if alphabet == "protein" else "bases"
    shown = alphabet.upper() if alphabet in ("dna", "rna") else alphabet
    notes.append(("sequences", f"{where}: {shown}, {length} {unit}"))
    return column if letters is column else _with_lengths(column, letters)


def _record_names(path: str, columns: Sequence[Column]) -> Column:
    found = [c for c in columns if c.name.lower() in ID_WORDS]
    if not found:
        raise HparamError(
            f"{path}: with --fasta, a column has the names of the records; set --sequence_column"
        )
    return found[0]


def _with_lengths(column: Column, letters: Column) -> Column:
    column.total_length, column.n_texts = letters.total_length, letters.n_texts
    return column


def _split(
    path: str, columns: Sequence[Column], given: Mapping[str, Any], there: set[str | None]
) -> Column | None:
    if given.get("split_column"):
        return find_column(path, columns, given["split_column"])
    if len(there) > 1 or DIVIDED_BY & {n for n in given if given[n]}:
        return None
    return split_column(path, columns)


def _counted(column: Column) -> str:
    return ", ".join(f"{n:,} {word}" for word, n in column.values.most_common())


def _add_labels(path: str, quotes: str, named: bool, labels: Sequence[Column]) -> None:
    """Add the labels of another file to the known ones."""
    columns, _, _ = read_columns(path, rows_of(path, quotes), lambda *_: named)
    for label in labels:
        label.join(find_column(path, columns, label.name))


def kind_of_labels(
    path: str, labels: Sequence[Column], given: Mapping[str, Any], notes: list[tuple[str, str]]
) -> Values:
    """Return the task and the kind and names of the labels; given values take precedence."""
    values: Values = {"label_columns": [c.name for c in labels]}
    kind = given.get("label_kind") or KINDS.get(given.get("task") or "")
    if kind is None and given.get("class_names"):
        kind = "class"
    if kind is None:
        found, text = label_kind(path, labels)
    elif kind == "class" and len(labels) == 1 and not labels[0].has_more:
        found, text = as_classes(labels[0])
    else:
        found, text = {"label_kind": kind}, "as given"
    shown = ", ".join(repr(c.name) for c in labels[:6]) + (", ..." if len(labels) > 6 else "")
    notes.append(("labels", f"column{'s' * (len(labels) > 1)} {shown}: {text}"))
    values |= found
    return {"task": TASKS[values["label_kind"]], **values}
