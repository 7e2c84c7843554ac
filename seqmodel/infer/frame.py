"""Inputs of a command or a call, and their predictions as a DataFrame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqmodel.dataset.interval.file import read_aliases
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.interval.stream import IntervalLines
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.infer import InputHparams, PredictHparams
from seqmodel.hparam.paths import check_files, files_to_read
from seqmodel.infer.inputs import IntervalsOf, Reading, Records, Table, Tiles, with_index
from seqmodel.infer.rows import Predictor, Shown, as_frame

Source = Records | Table | IntervalsOf | Tiles


def source_of(
    hparams: Hparams,
    how: Reading,
    store: SequenceStore | None,
    trained_anchor: str | None,
) -> Source:
    """Open the inputs of a command.

    Args:
        hparams: Hyperparameters of the command.
        how: How inputs become windows.
        store: Sequences of intervals and tiles.
        trained_anchor: Anchor of intervals during training, the default.
    """
    keep = getattr(hparams, "keep_columns", [])
    if hparams.table:
        return Table(hparams.table, how, hparams.sequence_column, keep, hparams.quotes)
    if store is None:
        return Records(hparams.fasta, how)
    if hparams.tiles:
        return Tiles(store, how, hparams.stride, hparams.contigs, hparams.incomplete)
    contigs = Contigs(store.names, store.lengths)
    if hparams.contig_aliases:
        contigs = read_aliases(hparams.contig_aliases, contigs)
    lines = IntervalLines(hparams.intervals, hparams.feature, hparams.strand_column, keep)
    anchor = hparams.anchor or trained_anchor
    if anchor == "summit" and lines.kind != "narrowpeak" and not hparams.anchor:
        anchor = None
    return IntervalsOf(store, contigs, lines, how, anchor)


def store_of(hparams: Hparams, alphabet: Alphabet) -> SequenceStore:
    """Open the sequences of `--fasta` with the alphabet of the model."""
    return SequenceStore.open(hparams.fasta, alphabet, hparams.cache_dir)


def checked_input(cls: type[InputHparams], verb: str, options: Mapping[str, Any]) -> InputHparams:
    """Return the hyperparameters of a verb for a call on a loaded model.

    Raises:
        HparamError: An option is unknown, or inputs are missing or do not fit together.
    """
    declared = cls.default_hparams().declared
    unknown = next((x for x in options if x not in declared), None)
    if unknown is not None:
        raise HparamError(f"{verb} has no option {unknown!r}; see seqmodel {verb} --help")
    hparams = cls(**{**options, "checkpoints": ["-"], "out": ["-.tsv"]})
    cls.checks(hparams.hparams)
    check_files([(flag, x) for flag, x in files_to_read(declared, hparams.hparams) if x != "-"])
    return hparams


def frame_of(model: Any, options: Mapping[str, Any]) -> Any:
    """Return predictions for files as a DataFrame with the columns of `seqmodel predict`.

    Args:
        model: Model.
        options: Options of `seqmodel predict`, by name.

    Raises:
        HparamError: An option is unknown, or the inputs do not fit together.
    """
    hparams = checked_input(PredictHparams, "predict", options)
    if model.seq_len is None:
        raise HparamError(
            "the checkpoint has no sequence length; use seqmodel.load(path, seq_len=...)"
        )
    store = store_of(hparams, model.alphabet) if hparams.intervals or hparams.tiles else None
    how = Reading(model.alphabet, model.seq_len, hparams.too_long)
    source = source_of(hparams, how, store, model.members[0].anchor)
    shown = Shown(hparams.logits, "max" if hparams.too_long == "tile_max" else "mean")
    predictor = Predictor(model, shown, hparams.batch_size)
    frames = as_frame(with_index(source.chunks()), predictor)
    predictor.warn()
    return frames
