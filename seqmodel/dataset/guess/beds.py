"""Guess for BED files: the label column, the window length, and the contigs of each split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from seqmodel.dataset.guess.columns import BLOCK_ROWS, MOST_CELLS, Column
from seqmodel.dataset.guess.roles import (
    Unclear,
    Values,
    find_column,
    label_columns,
    split_column,
    splits_in,
)
from seqmodel.dataset.guess.tables import Found, kind_of_labels
from seqmodel.dataset.guess.training import PROP, split_props
from seqmodel.dataset.interval.bed import BED_NAMES, SIGNS, layout_of
from seqmodel.dataset.interval.file import has_summits
from seqmodel.dataset.interval.stream import IntervalLines
from seqmodel.errors import HparamError

_BED = re.compile(r"\.(bed|narrowpeak)(\.b?gz)?$", re.IGNORECASE)
RC_PROB = 0.5
MOST_CONTIGS = 200
"""Contigs are named on the command line if they are at most this many."""
LEN_MIN, LEN_MAX, LEN_STEP = 200, 2000, 100
SPLITTING = ("train_contigs", "valid_contigs", "test_contigs", "fold_json", "split_column")


def is_bed(path: str) -> bool:
    """Return whether a path has the extension of a BED or narrowPeak file."""
    return _BED.search(path) is not None


class _Lines(NamedTuple):
    """Contents of a BED file: the columns after the third, and the positions of the intervals."""

    columns: list[Column]
    contigs: Counter[str]
    lengths: Counter[int]
    n: int


def read_bed_file(files: Mapping[str, str], given: Mapping[str, Any]) -> Found:
    """Guess the roles of the columns of BED files.

    Args:
        files: BED files by split, including train.
        given: Known values.

    Raises:
        SeqmodelError: A file cannot be read, or has no label.
        Unclear: Several readings are possible.
    """
    path = files["train"]
    if not given.get("fasta"):
        raise HparamError(
            f"{path}: intervals need the sequences of their contigs; add --fasta=genome.fa"
        )
    found = _read(path)
    notes = [("rows", f"{found.n:,} intervals on {len(found.contigs):,} contigs in {path}")]
    values: Values = {"dataset": "bed"}
    values |= {"intervals": [path]} if len(files) == 1 else {
        f"{split}_files": [x] for split, x in files.items()
    }  # fmt: skip
    strand, rest = _without_strand(found.columns, _header(path), given)
    values |= strand
    if not given.get("rc_prob") and not _has_strands(path, given, strand):
        values["rc_prob"] = RC_PROB
        notes.append(("strands", "none in the file: half of the training windows are reversed"))
    split = None if len(files) > 1 else _split(path, rest, given)
    rest = [c for c in rest if c is not split]
    labels = _labels(path, found, rest, given)
    if labels:
        for other in list(files.values())[1:]:
            columns = _read(other).columns
            for label in labels:
                label.join(find_column(other, columns, label.name))
        values |= kind_of_labels(path, labels, given, notes)
    else:
        values["task"] = "classify"
        notes.append(("labels", "the intervals are class 1, windows of like GC content class 0"))
    values |= _length(found.lengths, given, notes)
    values |= _divide(found, files, split, given, notes)
    values = {"task": values.pop("task"), **values}
    length = given.get("seq_len") or values.get("seq_len") or max(found.lengths)
    return Found(values, notes, found.n, length)


def _header(path: str) -> list[str]:
    return layout_of(path, "none").header


def _read(path: str) -> _Lines:
    header = _header(path)
    lines = IntervalLines(path, strand="none", keep=["all"])
    names = [*(["name"] if lines.has_name else []), *lines.kept]
    if not header:  # columns without names are numbered
        names = [str(BED_NAMES.index(x) + 1) if x in BED_NAMES else x for x in names]
    columns = [Column(x) for x in names]
    contigs: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    rows, n = iter(lines), 0
    while n * (3 + len(names)) < MOST_CELLS and (block := list(islice(rows, BLOCK_ROWS))):
        n += len(block)
        contigs.update(x.contig for x in block)
        lengths.update(x.end - x.start for x in block)
        cells = ([*([x.name] if lines.has_name else []), *x.kept] for x in block)
        for column, texts in zip(columns, zip(*cells, strict=True), strict=False):
            column.add(texts)
    if not n:
        raise HparamError(f"{path} has no interval; BED lines are: contig, start, end")
    return _Lines(columns, contigs, lengths, n)


def _without_strand(
    columns: Sequence[Column], header: Sequence[str], given: Mapping[str, Any]
) -> tuple[Values, list[Column]]:
    """Return `strand_column=none` if column 6 is not a strand, and the columns without strands."""
    chosen = given.get("strand_column")
    if chosen:
        return {}, [c for c in columns if c.name != chosen]
    if header:
        return {}, [c for c in columns if c.name.lower() != "strand"]
    sixth = next((c for c in columns if c.name == "6"), None)
    if sixth is not None and (sixth.has_more or not set(sixth.values) <= set(SIGNS)):
        return {"strand_column": "none"}, list(columns)
    return {}, [c for c in columns if c is not sixth]


def _has_strands(path: str, given: Mapping[str, Any], strand: Values) -> bool:
    """Return whether an interval at the start of the file has a strand."""
    column = given.get("strand_column") or strand.get("strand_column")
    return any(x.strand for x in islice(IntervalLines(path, strand=column), BLOCK_ROWS))


def _split(path: str, columns: Sequence[Column], given: Mapping[str, Any]) -> Column | None:
    if given.get("split_column"):
        return find_column(path, columns, given["split_column"])
    known = any(given.get(x) for x in (*SPLITTING, "valid_prop", "test_prop"))
    return None if known else split_column(path, columns)


def _labels(
    path: str, found: _Lines, columns: Sequence[Column], given: Mapping[str, Any]
) -> list[Column]:
    """Return the label columns; none if the intervals are compared with negatives."""
    if given.get("negatives_per_positive"):
        return []
    if given.get("label_columns"):
        return [find_column(path, found.columns, x) for x in given["label_columns"]]
    score = [c for c in columns if c.name.lower() in ("5", "score")]
    are_labels = all(c.are_binary for c in columns)
    rest = [c for c in columns if c not in score or are_labels]
    if has_summits(path):
        rest = []
    try:
        return label_columns(path, rest)
    except HparamError:
        readings: list[tuple[Values, str]] = [
            ({"negatives_per_positive": 1}, "against windows of like GC content")
        ]
        readings += [
            ({"label_columns": [c.name], "task": "regress"}, "predict the score")
            for c in score
            if c.are_numbers and c.n_values > 1
        ]
        raise Unclear(
            f"{path}: no column has labels; what should be predicted?", readings
        ) from None


def _length(
    lengths: Counter[int], given: Mapping[str, Any], notes: list[tuple[str, str]]
) -> Values:
    """Choose a window length if the intervals have several lengths, or are short."""
    shortest, longest = min(lengths), max(lengths)
    if given.get("seq_len") or (shortest == longest and shortest >= LEN_MIN // 4):
        return {}
    middle = sorted(lengths.elements())[lengths.total() // 2]
    length = -(-middle // LEN_STEP) * LEN_STEP
    length = min(max(length, LEN_MIN), LEN_MAX)
    shown = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    notes.append(
        ("windows", f"{length:,} bp around the middle of each interval, which has {shown} bp")
    )
    return {"seq_len": length}


def _divide(
    found: _Lines,
    files: Mapping[str, str],
    split: Column | None,
    given: Mapping[str, Any],
    notes: list[tuple[str, str]],
) -> Values:
    """Choose the splits: by file, by a column, or else by contigs."""
    values: Values = {}
    there: set[str | None] = {*files, *(x for x in ("valid", "test") if given.get(f"{x}_files"))}
    if split is not None:
        values["split_column"] = split.name
        there |= splits_in(split)
        counted = ", ".join(f"{n:,} {word}" for word, n in split.values.most_common())
        notes.append(("split", f"column {split.name!r}: {counted}"))
    if given.get("valid_column"):
        there.add("valid")
    if len(there) > 1 or any(given.get(x) for x in (*SPLITTING, "valid_prop", "test_prop")):
        is_open = len(there) > 1 and not any(given.get(x) for x in SPLITTING[:4])
        props, text = split_props(there, found.n, given, "contig") if is_open else ({}, "")
        if props:
            notes.append(("split", text))
        return values | props
    n = len(found.contigs)
    if given.get("split_by") == "homology" or n < 3:
        more = {"split_by": "homology"} if n < 3 and not given.get("negatives_per_positive") else {}
        props, _ = split_props(there, found.n, {**given, **more}, "homology")
        notes.append(
            ("split", f"{n} contigs are too few to be divided; similar windows are in one split")
        )
        return more | props
    if n > MOST_CONTIGS:
        props, _ = split_props(there, found.n, given, "contig")
        notes.append(("split", "10 % of the contigs for valid, 10 % for test, by their names"))
        return props
    test = choose_contigs(found.contigs)
    valid = choose_contigs(
        Counter({x: k for x, k in found.contigs.items() if x not in test}), found.n
    )
    counts = {
        name: sum(found.contigs[x] for x in of) for name, of in (("valid", valid), ("test", test))
    }
    notes.append(
        (
            "split",
            f"by contig: {counts['valid']:,} intervals of {', '.join(valid)} for valid, "
            f"{counts['test']:,} of {', '.join(test)} for test; homologous regions may be in both",
        )
    )
    return {"valid_contigs": valid, "test_contigs": test}


def choose_contigs(counts: Counter[str], n: int | None = None) -> list[str]:
    """Choose contigs that have about a tenth of `n` intervals, larger ones first."""
    wanted = PROP * (n or counts.total())
    names = sorted(counts, key=lambda x: (-counts[x], x))
    found: list[str] = []
    so_far = 0
    for name in names:
        if so_far + counts[name] <= 1.25 * wanted:
            found.append(name)
            so_far += counts[name]
        if so_far >= 0.75 * wanted:
            break
    if so_far >= 0.5 * wanted:
        return found
    return [min(names, key=lambda x: (abs(counts[x] - wanted), x))]
