"""`model.attribute(...)`: contributions for sequences, or for files as in the verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from seqmodel.dataset.batch.window import WindowReader, plan_windows
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import HparamError
from seqmodel.hparam.attribute import AttributeHparams
from seqmodel.hparam.hparams import Hparams
from seqmodel.infer.attribute import Attributions, Attributor, joined
from seqmodel.infer.frame import checked_input, source_of, store_of
from seqmodel.infer.inputs import Chunk, Reading
from seqmodel.infer.sequences import batches_of, checked_length, rows_of

_CHUNK_LETTERS = 1 << 16


def input_of(model: Any, hparams: Hparams) -> tuple[Any, Reading]:
    """Return the inputs of a command or a call, and how to read them.

    Raises:
        HparamError: The length of the sequences is unknown.
    """
    if model.seq_len is None:
        raise HparamError(
            "the checkpoint does not record the length of its sequences; set --seq_len or use "
            "seqmodel.load(path, seq_len=...)"
        )
    rows = hparams.chunk_rows or max(1, min(16384, _CHUNK_LETTERS // model.seq_len))
    how = Reading(model.alphabet, model.seq_len, hparams.too_long, rows)
    with_store = hparams.intervals or hparams.tiles
    store = store_of(hparams, model.alphabet) if with_store else None
    return source_of(hparams, how, store, model.members[0].anchor), how


def attributor_of(model: Any, hparams: Hparams, length: int) -> Attributor:
    """Return the requested method for the model."""
    return Attributor(
        model.network,
        model.alphabet,
        model.targets.names,
        target=hparams.target,
        method=hparams.method,
        baseline=hparams.baseline,
        batch_size=hparams.batch_size or model.members[0].batch_size,
        length=length,
        device=model.device,
    )


def attributions_of(
    model: Any, sequences: Any, how: Mapping[str, Any], files: Mapping[str, Any]
) -> Attributions:
    """Return contributions for sequences, or for files as in `seqmodel attribute`.

    Args:
        model: Model.
        sequences: Texts, ids or one-hot rows; None for files.
        how: Method, target, baseline and batch_size.
        files: Options of `seqmodel attribute`, by name.

    Raises:
        SequenceError, HparamError: See `Model.attribute`.
    """
    if sequences is None:
        hparams = checked_input(AttributeHparams, "attribute", {**how, **files})
        source, reading = input_of(model, hparams)
        attributor = attributor_of(model, hparams, reading.length)
        parts, first = [], 0
        for chunk in source.chunks():
            found = attributor(*windows_of(chunk, model.alphabet, reading.length))
            found.rows = [first + int(chunk.row[i]) for i in found.rows]
            kept = set(found.rows)
            found.left_out = [i for i in range(first, first + len(chunk)) if i not in kept]
            parts.append(found)
            first += len(chunk)
        attributor.warn()
        return joined(parts)
    rows = rows_of(sequences, model.alphabet)
    ids = [x if x.ndim == 1 else _ids(x, i, model.alphabet) for i, x in enumerate(rows)]
    length = checked_length(ids, model.seq_len) if ids else model.seq_len or 1
    hparams = AttributeHparams(**how)
    attributor = attributor_of(model, hparams, length)
    size = hparams.batch_size
    parts, first = [], 0
    for x, pad in batches_of(ids, length, size, model.alphabet):
        found = attributor(x, pad)
        found.rows = [first + i for i in found.rows]
        found.left_out = [first + i for i in found.left_out]
        parts.append(found)
        first += len(x)
    attributor.warn()
    empty = np.zeros((0, length), dtype=np.uint8)
    return joined(parts or [attributor(empty, None)])


def _ids(one_hot: np.ndarray, row: int, alphabet: Alphabet) -> np.ndarray:
    """Convert one-hot rows to ids; rows of zeros become unknown symbols.

    Raises:
        HparamError: A value is neither 0 nor 1.
    """
    sums = one_hot.sum(1)
    if not (np.isin(one_hot, (0, 1)).all() and np.isin(sums, (0, 1)).all()):
        raise HparamError(f"row {row}: attribute needs one symbol per position; use texts")
    ids = one_hot.argmax(1).astype(np.uint8)
    ids[sums == 0] = alphabet.unknown_id
    return ids


def windows_of(
    chunk: Chunk, alphabet: Alphabet, length: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the windows of a chunk: ids [M, L] and the mask of padding."""
    if not len(chunk.row):
        return np.zeros((0, length), dtype=np.uint8), None
    reader = WindowReader(chunk.codes, alphabet, length)
    codes = chunk.codes
    return reader.read(
        plan_windows(codes.offsets, codes.lengths, chunk.contig, chunk.start, length, chunk.flip)
    )
