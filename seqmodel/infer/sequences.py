"""Prepare sequences from a user as in training: ids or one-hot rows, and padding.

A sequence starts at position 0 and is padded to the training length. Case is ignored; unknown
symbols follow the rule of the alphabet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqmodel.dataset.label.table import encode_all
from seqmodel.errors import SequenceError

if TYPE_CHECKING:
    from seqmodel.dataset.seq.alphabet import Alphabet

Sequences = Iterable[str] | Iterable[bytes] | Iterable[np.ndarray] | np.ndarray


def rows_of(sequences: Sequences, alphabet: Alphabet) -> Sequence[np.ndarray]:
    """Return each sequence as ids, uint8 [L], or as one-hot rows, float32 [L, A].

    Args:
        sequences: Texts, ids [N, L] or one-hot [N, L, A]; lengths may differ.
        alphabet: Alphabet of the model.

    Raises:
        SequenceError: A row is empty, has another shape, or is not in the alphabet.
    """
    if isinstance(sequences, (str, bytes)):
        raise SequenceError("got one text instead of a list of sequences; use predict([text])")
    rows: list[Any] = list(sequences)
    if rows and all(isinstance(x, (str, bytes)) for x in rows):
        texts = [x if isinstance(x, str) else x.decode("latin-1") for x in rows]
        codes = encode_all(texts, alphabet, _row)
        return [codes.data[at : at + n] for at, n in zip(codes.offsets, codes.lengths, strict=True)]
    return [_array(x, i, alphabet) for i, x in enumerate(rows)]


def _row(i: int) -> str:
    return f"row {i}"


def _array(row: object, i: int, alphabet: Alphabet) -> np.ndarray:
    x = np.asarray(row.detach().cpu() if isinstance(row, torch.Tensor) else row)
    if x.ndim == 1 and x.dtype.kind in "iu" and len(x):
        if x.min() < 0 or x.max() >= alphabet.n_tokens:
            raise SequenceError(
                f"row {i}: ids from {x.min()} to {x.max()}, but the alphabet {alphabet.name!r} has "
                f"ids below {alphabet.n_tokens}"
            )
        return x.astype(np.uint8)
    if x.ndim == 2 and x.dtype.kind == "f" and len(x) and x.shape[1] == alphabet.n_letters:
        return x.astype(np.float32)
    raise SequenceError(
        f"row {i}: {type(row).__name__} ({x.dtype}, shape {list(x.shape)}) is not a sequence; "
        f"give texts, ids [L], or one-hot floats [L, {alphabet.n_letters}]"
    )


def checked_length(rows: Sequence[np.ndarray], seq_len: int | None) -> int:
    """Return the length to which all rows are padded.

    Raises:
        SequenceError: A row is longer than `seq_len`, or it is unknown and lengths differ.
    """
    lengths = [len(x) for x in rows]
    if seq_len is None and len(set(lengths)) != 1:
        raise SequenceError(
            "the checkpoint does not record its training length, and the lengths of the sequences "
            "differ; use seqmodel.load(path, seq_len=...)"
        )
    length = lengths[0] if seq_len is None else seq_len
    for i, n in enumerate(lengths):
        if n > length:
            raise SequenceError(
                f"row {i}: length {n}, but the model was trained on length {length}; "
                "cut the sequence"
            )
    return length


def batches_of(
    rows: Sequence[np.ndarray], length: int, batch_size: int, alphabet: Alphabet
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield batches in order: ids [N, L] or one-hot [N, L, A], and the padding, bool [N, L].

    Each batch has at most `batch_size` rows, all ids or all one-hot.
    """
    begin = 0
    for end in range(1, len(rows) + 1):
        other = end == len(rows) or rows[end].ndim != rows[begin].ndim
        if other or end - begin == batch_size:
            yield _padded(rows[begin:end], length, alphabet)
            begin = end


def _padded(
    rows: Sequence[np.ndarray], length: int, alphabet: Alphabet
) -> tuple[np.ndarray, np.ndarray | None]:
    fill = alphabet.pad_id if rows[0].ndim == 1 else 0
    out = np.full((len(rows), length, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for row, x in zip(out, rows, strict=True):
        row[: len(x)] = x
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    pad = np.arange(length) >= lengths[:, None]
    return out, pad if pad.any() else None
