"""Windows of one long array of codes, read one batch at a time.

Fourth stage of the flow. `plan` turns items into positions for thousands of samples at a time;
`read` copies the codes of one batch. No Python code runs per item, except for the rare
window that reaches beyond its contig and is padded.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch

from seqmodel.dataset.interval.interval import Intervals
from seqmodel.dataset.seq.alphabet import Alphabet

_COUNTED_BYTES = 1 << 22


class Plan(NamedTuple):
    """Position of each sample of successive batches; arrays of length n."""

    at: np.ndarray
    """Position of its first letter in the codes, int64; may lie before or after its contig."""
    flip: np.ndarray
    """Whether it is read as reverse complement, bool."""
    before: np.ndarray | None
    """Positions of the window before its contig, int64; None if no window reaches out."""
    after: np.ndarray | None
    """Positions of the window after its contig, int64; None if no window reaches out."""

    def part(self, start: int, end: int) -> Plan:
        """Return the plan of samples `start` to `end`."""
        before, after = (None if x is None else x[start:end] for x in self[2:])
        return Plan(self.at[start:end], self.flip[start:end], before, after)


def plan_windows(
    offsets: np.ndarray,
    lengths: np.ndarray,
    contig: np.ndarray,
    start: np.ndarray,
    length: int,
    flip: np.ndarray,
) -> Plan:
    """Plan windows of `length` at `start` of their contigs.

    Args:
        offsets: Position of each contig in the codes, int64.
        lengths: Length of each contig, int64.
        contig: Contig of each window.
        start: Start of each window on its contig; may be negative.
        length: Length of all windows.
        flip: Whether each window is read as reverse complement.
    """
    at = offsets[contig] + start
    before = np.clip(-start, 0, length)
    after = np.clip(start + length - lengths[contig], 0, length)
    if before.any() or after.any():
        return Plan(at, flip, before, after)
    return Plan(at, flip, None, None)


class Codes(Protocol):
    """Concatenated sequences in one array: a store, or a table in memory."""

    data: np.ndarray
    """The codes, uint8."""
    offsets: np.ndarray
    """Position of each sequence in `data`, int64."""
    lengths: np.ndarray
    """Length of each, int64."""


class SoftMasked(Codes, Protocol):
    """Sequences with known soft-masked (lower-case) positions."""

    edges: np.ndarray
    """Positions in `data` where lower case begins or ends, int64, sorted."""


class WindowReader:
    """Reader of windows of one length from sequences.

    Args:
        codes: Sequences.
        alphabet: Alphabet of the codes.
        length: Length of every window.
    """

    def __init__(self, codes: Codes, alphabet: Alphabet, length: int) -> None:
        self.codes, self.alphabet, self.length = codes, alphabet, length
        self._windows = _view(codes.data, length)
        self._by_xor = _complements_by_xor(alphabet)

    @property
    def _complements(self) -> np.ndarray:
        table = self.alphabet.complement_table
        assert table is not None, "SequenceReader refuses strands of such an alphabet"
        return table

    def __reduce__(self) -> tuple[object, ...]:
        # The views would be pickled as copies of the whole genome; a store is pickled as its path.
        return WindowReader, (self.codes, self.alphabet, self.length)

    def read(self, plan: Plan) -> tuple[np.ndarray, np.ndarray | None]:
        """Read codes of a batch, uint8 [N, L], and where they are padding, bool [N, L] or None."""
        before, after = plan.before, plan.after
        if before is not None and after is not None and (before.any() or after.any()):
            return self._read_padded(plan, before, after)
        return self._read_inside(plan.at, plan.flip), None

    def _read_inside(self, at: np.ndarray, flip: np.ndarray) -> np.ndarray:
        out = self._windows[at]  # the only access to the store; takes most of the time
        rows = np.flatnonzero(flip)
        if not len(rows):
            return out
        if len(rows) == len(at):
            return self._reversed(out)
        out[rows] = self._reversed(out.take(rows, axis=0))
        return out

    def _reversed(self, codes: np.ndarray) -> np.ndarray:
        """Return reverse complements of the rows, uint8 [n, length]."""
        # torch reverses bytes with vector instructions, numpy one at a time
        codes = torch.from_numpy(codes).flip(1).numpy()
        if not self._by_xor:
            return self._complements[codes]
        rows = np.flatnonzero(codes.max(axis=1) > 3) if codes.max() > 3 else ()
        others = self._complements[codes[rows]] if len(rows) else None
        np.bitwise_xor(codes, 3, out=codes)
        if others is not None:
            codes[rows] = others
        return codes

    def _read_padded(
        self, plan: Plan, before: np.ndarray, after: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        data, length = self.codes.data, self.length
        column = np.arange(length)
        pad = (column < before[:, None]) | (column >= (length - after)[:, None])
        fits = (plan.at >= 0) & (plan.at + length <= len(data))
        out = np.empty((len(plan.at), length), dtype=np.uint8)
        out[fits] = self._windows[plan.at[fits]]
        for i in np.flatnonzero(~fits):  # the window reaches beyond the array itself
            at, first, last = int(plan.at[i]), int(before[i]), length - int(after[i])
            out[i, first:last] = data[at + first : at + max(first, last)]
        out[pad] = self.alphabet.pad_id
        rows = np.flatnonzero(plan.flip)
        if len(rows):
            out[rows] = self._complements[out[rows, ::-1]]
            pad[rows] = pad[rows, ::-1]
        return out, pad


def _view(data: np.ndarray, length: int) -> np.ndarray:
    """Return all windows of `length` as rows of a view; no rows if the data are shorter."""
    n = max(0, len(data) - length + 1)
    return np.lib.stride_tricks.as_strided(data, (n, length), (1, 1), writeable=False)


def _complements_by_xor(alphabet: Alphabet) -> bool:
    """Return whether the complement of every symbol is its id ^ 3, as in DNA."""
    table = alphabet.complement_table
    return table is not None and alphabet.n_letters == 4 and table[:4].tolist() == [3, 2, 1, 0]


def letter_props(
    codes: Codes, alphabet: Alphabet, intervals: Intervals, length: int, letters: list[int]
) -> np.ndarray:
    """Return the proportion of the ids `letters` in each window, float64 [n].

    Unknown symbols are not counted, unless `letters` contains their id.
    """
    known = np.zeros(256, dtype=np.int8)
    known[: alphabet.n_letters] = 1
    wanted = np.zeros(256, dtype=np.int8)
    wanted[letters] = 1
    known |= wanted
    reader = WindowReader(codes, alphabet, length)
    found = np.empty(len(intervals))
    step = max(1, _COUNTED_BYTES // length)
    for i in range(0, len(intervals), step):
        part = intervals.select(np.arange(i, min(i + step, len(intervals))))
        forward = np.zeros(len(part), dtype=bool)
        plan = plan_windows(codes.offsets, codes.lengths, part.contig, part.start, length, forward)
        tokens, _ = reader.read(plan)
        n_wanted = wanted[tokens].sum(axis=1, dtype=np.int64)
        n_known = known[tokens].sum(axis=1, dtype=np.int64)
        found[i : i + step] = n_wanted / np.maximum(n_known, 1)
    return found


def unknown_props(
    codes: Codes, alphabet: Alphabet, intervals: Intervals, length: int
) -> np.ndarray:
    """Return the proportion of unknown symbols in each window, float64 [n], without padding."""
    return letter_props(codes, alphabet, intervals, length, [alphabet.unknown_id])
