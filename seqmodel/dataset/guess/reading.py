"""Guess the hyperparameters of a run from the path of a file, for `--table`.

    columns.py   what the cells of each column have in common
    roles.py     the role of each column
    tables.py    tables, and FASTA files with labels in their headers
    beds.py      intervals with a label in a column
    training.py  the splits and the model

A guess never replaces a given value. hparam/table.py calls this and prints the guesses.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from seqmodel.dataset.guess.beds import is_bed, read_bed_file
from seqmodel.dataset.guess.roles import Unclear, Values
from seqmodel.dataset.guess.tables import read_tables
from seqmodel.dataset.guess.training import model_for
from seqmodel.dataset.split import SPLITS, split_of
from seqmodel.errors import HparamError
from seqmodel.files import check

Notes = list[tuple[str, str]]
ENDING = re.compile(
    r"\.(csv|tsv|txt|tab|data|parquet|pq|bed|narrowpeak|fa|fasta|fna|faa|ffn|fas)(\.b?gz)?$",
    re.IGNORECASE,
)


def guess(
    path: str, given: Mapping[str, Any], command: Callable[[Values], str]
) -> tuple[Values, Notes]:
    """Guess the unset settings of a run on the file or folder `path`.

    Args:
        path: A table (CSV, TSV, Parquet), a BED file, a FASTA file with labels in its headers, or a
            folder with such files for train, valid and test.
        given: Known values.
        command: Function that returns the short command line with more values, for a question.

    Returns:
        Values by name, in the order of printing, and notes: (what, text).

    Raises:
        SeqmodelError: The file cannot be read, or is ambiguous; the message shows both
            readings.
    """
    try:
        return _guess(path, given)
    except Unclear as e:
        lines = [
            f"  {command(values)}" + (f"    # {words}" if words else "")
            for values, words in e.readings
        ]
        give = "Give one of" if len(lines) > 1 else "Give"
        raise HparamError("\n".join([f"{e.question} {give}:", *lines])) from None


def _guess(path: str, given: Mapping[str, Any]) -> tuple[Values, Notes]:
    files = files_of(path)
    found = (read_bed_file if is_bed(files["train"]) else read_tables)(files, given)
    values, notes = found.values, found.notes
    more, note = model_for(found.n_items, found.seq_len, {**values, **given})
    values |= more
    if note:
        notes.append(("model", note))
    return {n: v for n, v in values.items() if n not in given}, notes


def files_of(path: str) -> dict[str, str]:
    """Return the files by split; a single file is for train.

    Raises:
        HparamError: The file does not exist, or a folder has no file, or several for a split.
    """
    if not os.path.isdir(path):
        check(path, HparamError)
        return {"train": path}
    found: dict[str, str] = {}
    for name in sorted(os.listdir(path)):
        ending = ENDING.search(name)
        split = split_of(name[: ending.start()]) if ending else None
        if split in found:
            raise HparamError(
                f"{path}: {os.path.basename(found[split])} and {name} are both for the {split} "
                "split; set --train_files, --valid_files and --test_files instead"
            )
        if split:
            found[split] = os.path.join(path, name)
    if "train" not in found:
        raise HparamError(
            f"{path}: the folder has no train.csv (or .tsv, .parquet, .bed, .fa); give the path of "
            "a file, or name the files train, valid (or dev, val) and test"
        )
    return {split: found[split] for split in SPLITS if split in found}
