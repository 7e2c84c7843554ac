"""Guess how to split the rows of a file, and a model that trains on them in minutes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqmodel.dataset.guess.roles import Values, missing_splits

SMALL = 1000
"""Below this many rows a larger part of them is taken for validation and test."""
PROP, SMALL_PROP = 0.1, 0.2
DIVIDED_BY = {"split_by", "homology_min", "valid_prop", "test_prop", "split_column"}
CHECKPOINTS = ("load_checkpoint_path", "load_encoder_from_checkpoint")
ENCODER = "cnn"
LETTERS_TOTAL = 200_000_000
"""Bases or residues that are read in all epochs together: at most twenty minutes on two cores."""
INTERVALS_MODEL: Values = {"n_layers": 2, "pool": "max"}
EPOCHS_MIN, EPOCHS_MAX, PATIENCE = 3, 50, 5
VALID = ("valid_files", "valid_prop", "valid_contigs", "fold_json")
VALIDATION = "score on the valid split"
LEAKS = (
    "similar sequences may be in two splits, which makes scores too high: --split_by=homology "
    "keeps them together"
)


def split_props(
    there: set[str | None], n_items: int, given: Mapping[str, Any], unit: str
) -> tuple[Values, str]:
    """Return proportions for missing splits, and a description; empty if none is made.

    Args:
        there: Splits that the files or a column have.
        n_items: Minimum number of rows.
        given: Known values.
        unit: Word for what is never divided among splits.
    """
    missing = missing_splits(there)
    if "valid_prop" in given or "test_prop" in given or not missing:
        return {}, ""
    prop = SMALL_PROP if n_items < SMALL else PROP
    values: Values = {f"{split}_prop": prop for split in missing}
    what = " and ".join(f"{prop:.0%} {split}" for split in missing).replace("%", " %")
    if given.get("split_by") == "homology":
        return values, f"{what}, taken from train; similar sequences are in one split"
    return values, f"{what}, taken from train by {unit}; {LEAKS}"


def model_for(n_items: int, seq_len: int, known: Mapping[str, Any]) -> tuple[Values, str]:
    """Choose an encoder and a training length that take minutes on two cores.

    Args:
        n_items: Minimum number of training rows.
        seq_len: Length of a sequence.
        known: Given or guessed values.

    Returns:
        Values and a description in words; empty if a checkpoint defines them.
    """
    if any(known.get(x) for x in CHECKPOINTS):
        return {}, ""
    values: Values = {}
    notes = []
    if known.get("encoder", ENCODER) == ENCODER:
        values["encoder"] = ENCODER
        notes.append("convolutions with pooling, which learn motifs from few sequences")
        if known.get("dataset") == "bed" and not {"decoder", "n_layers", "pool"} & set(known):
            values |= INTERVALS_MODEL
            notes.append("the maximum over positions, because a motif may be anywhere")
    if not {"max_epochs", "max_steps"} & set(known):
        most = LETTERS_TOTAL // max(n_items * seq_len, 1)
        values["max_epochs"] = min(max(most, EPOCHS_MIN), EPOCHS_MAX)
        notes.append(f"up to {values['max_epochs']} epochs")
        has_valid = any(known.get(x) for x in (*VALID, "split_column"))
        if has_valid and values["max_epochs"] > PATIENCE:
            values["patience"] = PATIENCE
            notes[-1] += f", until {PATIENCE} without a better {VALIDATION}"
    return values, "; ".join(notes)
