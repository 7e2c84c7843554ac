"""What a loader reads from: windows of sequences, their strands, and their targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from seqmodel.counter import hash64, uniform
from seqmodel.dataset.alphabet import Alphabet
from seqmodel.dataset.interval import Intervals
from seqmodel.dataset.sampler import Samples
from seqmodel.dataset.window import Codes, Plan, WindowReader, plan_windows
from seqmodel.errors import SequenceError

RC_STREAM = 11
"""Stream of the choice of the strand; drawn from the key of a sample."""


class ReadPlan(NamedTuple):
    """Windows of many samples and their items."""

    windows: Plan
    item: np.ndarray


class SequenceReader:
    """Reads the windows of `intervals`, all of one length, each on its strand.

    Args:
        codes: the sequences; their numbers are the contigs of `intervals`.
        alphabet: what the codes mean.
        intervals: what is read, item by item; of length `length`, or shorter if `left_aligned`.
        length: length of the windows, L.
        target: value of each item, [n] or [n, T]; None without labels.
        rc_prob: probability with which a sample is read as its reverse complement.
        left_aligned: shorter intervals begin at position 0 on either strand, padding follows.

    Raises:
        SequenceError: strands are wanted of an alphabet that has no complement.
    """

    def __init__(
        self,
        codes: Codes,
        alphabet: Alphabet,
        intervals: Intervals,
        length: int,
        *,
        target: np.ndarray | None = None,
        rc_prob: float = 0.0,
        left_aligned: bool = False,
    ) -> None:
        self.codes, self.intervals, self.target = codes, intervals, target
        self.rc_prob, self.left_aligned = rc_prob, left_aligned
        self.windows = WindowReader(codes, alphabet, length)
        stranded = rc_prob > 0 or bool((intervals.strand < 0).any())
        if stranded and alphabet.complement_table is None:
            raise SequenceError(
                f"alphabet {alphabet.name!r} has no complement, so it cannot be read on the minus "
                "strand; set --rc_prob=0 and give intervals without '-'"
            )

    def __len__(self) -> int:
        """Number of items."""
        return len(self.intervals)

    def with_rc(self, rc_prob: float) -> SequenceReader:
        """The same reader with another probability of reverse complements."""
        return SequenceReader(
            self.codes,
            self.windows.alphabet,
            self.intervals,
            self.windows.length,
            target=self.target,
            rc_prob=rc_prob,
            left_aligned=self.left_aligned,
        )

    def plan(self, samples: Samples) -> ReadPlan:
        """Contig, start and strand of each sample."""
        chosen = self.intervals.select(samples.item)
        flip = chosen.strand < 0
        if self.rc_prob > 0:
            flip ^= uniform(hash64(samples.key, RC_STREAM)) < self.rc_prob
        length, start = self.windows.length, chosen.start
        if self.left_aligned:
            start = np.where(flip, chosen.end - length, start)
        windows = plan_windows(
            self.codes.offsets, self.codes.lengths, chosen.contig, start, length, flip
        )
        return ReadPlan(windows, samples.item)

    def read(self, plan: ReadPlan, start: int, end: int) -> dict[str, np.ndarray]:
        """Tokens [N, L], `pad` [N, L] if there is any, and `target` if there are labels."""
        tokens, pad = self.windows.read(plan.windows.part(start, end))
        batch = {"tokens": tokens}
        if pad is not None:
            batch["pad"] = pad
        if self.target is not None:
            values = self.target[plan.item[start:end]]
            is_class = values.ndim == 1 and values.dtype.kind in "iu"
            batch["target"] = values.astype(np.int64 if is_class else np.float32, copy=False)
        return batch
