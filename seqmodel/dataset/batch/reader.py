"""Source of a loader: windows of sequences, with augmentation, and their targets.

All random choices come from the key of a sample, so every reader makes the same ones. Inputs and
targets are shifted and reversed together; noise changes only the sequence.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple, Protocol, cast

import numpy as np

from seqmodel.dataset.batch.sampler import Samples
from seqmodel.dataset.batch.window import Codes, Plan, SoftMasked, WindowReader, plan_windows
from seqmodel.dataset.interval.interval import Intervals
from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import SequenceError
from seqmodel.rng import below, chance, hash64

# Streams of random bits, drawn from the key of a sample.
RC_STREAM, JITTER_STREAM, OFFSET_STREAM, NOISE_STREAM = 11, 12, 13, 14


class Augment(NamedTuple):
    """Augmentation of training samples; 0 everywhere changes nothing."""

    rc_prob: float = 0.0
    """Probability that a sample is read as its reverse complement."""
    jitter: int = 0
    """Windows are moved by up to this many letters to either side."""
    random_offset: int = 0
    """Windows are moved on by less than this many letters, in the direction of their strand."""
    noise_prop: float = 0.0
    """Proportion of the letters that are replaced by a random one."""


class TargetReader(Protocol):
    """Targets that follow the window, such as tracks."""

    def read(self, item: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
        """Return targets float32 [N, L', T] of items with shifted and reversed windows."""


class ReadPlan(NamedTuple):
    """Plan of many samples: item, shift in positions, strand, and windows if known."""

    item: np.ndarray
    key: np.ndarray
    shift: np.ndarray
    flip: np.ndarray
    windows: Plan | None


class SequenceReader:
    """Reader of the windows of `intervals`, all of one length, each on its strand.

    Args:
        codes: Sequences; the contigs of `intervals` are their indices.
        alphabet: Alphabet of the codes.
        intervals: Interval of each item, with length `length`, or shorter if `left_aligned`.
        length: Length of the windows, L.
        target: Value of each item, [n] or [n, T], or a TargetReader; None without labels.
        augment: Augmentation of the samples.
        left_aligned: Shorter intervals start at position 0 on either strand, before the padding.
        pads_to_batch: With `left_aligned`, L is the length of the longest interval of the batch,
            rounded up to a multiple of 8.
        soft_mask_weight: Weight of positions in lower case; 1 gives no weights.

    Raises:
        SequenceError: Strands are requested, but the alphabet has no complement.
    """

    def __init__(
        self,
        codes: Codes,
        alphabet: Alphabet,
        intervals: Intervals,
        length: int,
        *,
        target: np.ndarray | TargetReader | None = None,
        augment: Augment = Augment(),  # noqa: B008 (immutable)
        left_aligned: bool = False,
        pads_to_batch: bool = False,
        soft_mask_weight: float = 1.0,
    ) -> None:
        self.codes, self.alphabet, self.intervals, self.length = codes, alphabet, intervals, length
        self.target, self.augment, self.soft_mask_weight = target, augment, soft_mask_weight
        self.left_aligned, self.pads_to_batch = left_aligned, pads_to_batch
        self.is_fixed = not pads_to_batch
        self._readers: dict[int, WindowReader] = {}
        stranded = augment.rc_prob > 0 or bool((intervals.strand < 0).any())
        if stranded and alphabet.complement_table is None:
            raise SequenceError(
                f"alphabet {alphabet.name!r} has no complement, so it cannot be read on the minus "
                "strand; set --rc_prob=0 and give intervals without '-'"
            )

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_readers": {}}  # views of the whole genome are not pickled

    def __len__(self) -> int:
        """Number of items."""
        return len(self.intervals)

    def with_augment(self, augment: Augment, **changed: object) -> SequenceReader:
        """Return this reader with another augmentation, and other arguments `changed`."""
        kept = ("target", "left_aligned", "pads_to_batch", "soft_mask_weight")
        options = {name: getattr(self, name) for name in kept} | changed
        return SequenceReader(
            self.codes, self.alphabet, self.intervals, self.length, augment=augment, **options
        )

    def plan(self, samples: Samples) -> ReadPlan:
        """Plan contig, start and strand of each sample."""
        chosen = self.intervals.select(samples.item)
        flip = chosen.strand < 0
        if self.augment.rc_prob > 0:
            flip ^= chance(hash64(samples.key, RC_STREAM), self.augment.rc_prob)
        shift = self._shift(samples.key, chosen)
        windows = None
        if not (self.left_aligned or self.has_pad):
            at = self.codes.offsets[chosen.contig] + chosen.start + shift
            windows = Plan(at, flip, None, None)
        elif not self.left_aligned:
            windows = self._windows(chosen.contig, chosen.start + shift, self.length, flip)
        return ReadPlan(samples.item, samples.key, shift, flip, windows)

    @cached_property
    def has_pad(self) -> bool:
        """Whether a window is shorter or, at any shift, reaches beyond its contig."""
        is_short = bool((self.intervals.length != self.length).any())
        return is_short or not self.intervals.is_inside.all()

    def _windows(
        self, contig: np.ndarray, start: np.ndarray, length: int, flip: np.ndarray
    ) -> Plan:
        return plan_windows(self.codes.offsets, self.codes.lengths, contig, start, length, flip)

    def _shift(self, key: np.ndarray, chosen: Intervals) -> np.ndarray:
        """Return the shift of each window; a window inside its contig stays inside."""
        by, ahead = self.augment.jitter, self.augment.random_offset
        shift = np.zeros(len(key), dtype=np.int64)
        if by:
            shift += below(hash64(key, JITTER_STREAM), 2 * by + 1) - by
        if ahead:
            shift += below(hash64(key, OFFSET_STREAM), ahead)
        if not (by or ahead):
            return shift
        shift[chosen.strand < 0] *= -1  # in the reading direction
        room = self.codes.lengths[chosen.contig] - chosen.end
        return np.clip(shift, np.minimum(-chosen.start, 0), np.maximum(room, 0))

    def read(self, plan: ReadPlan, start: int, end: int) -> dict[str, np.ndarray]:
        """Read tokens [N, L]; `pad` [N, L] if any; `weight` [N, L] and `target` if requested."""
        item, flip = plan.item[start:end], plan.flip[start:end]
        if plan.windows is None:
            windows, length = self._left_aligned(item, flip)
        else:
            windows, length = plan.windows.part(start, end), self.length
        tokens, pad = self._reader(length).read(windows)
        if self.augment.noise_prop > 0:
            tokens = self._noise(tokens, plan.key[start:end])
        batch = {"tokens": tokens}
        if pad is not None:
            batch["pad"] = pad
        if self.soft_mask_weight != 1:
            batch["weight"] = self._weight(windows, length)
        if self.target is not None:
            batch["target"] = self._target(item, plan.shift[start:end], flip)
        return batch

    def _reader(self, length: int) -> WindowReader:
        if length not in self._readers:
            self._readers[length] = WindowReader(self.codes, self.alphabet, length)
        return self._readers[length]

    def _left_aligned(self, item: np.ndarray, flip: np.ndarray) -> tuple[Plan, int]:
        chosen = self.intervals.select(item)
        length = self.length
        if self.pads_to_batch:
            length = min(length, -(-int(chosen.length.max()) // 8) * 8)
        start = np.where(flip, chosen.end - length, chosen.start)
        return self._windows(chosen.contig, start, length, flip), length

    def _noise(self, tokens: np.ndarray, key: np.ndarray) -> np.ndarray:
        bits = hash64(key[:, None], NOISE_STREAM, np.arange(tokens.shape[1])[None, :])
        n = self.alphabet.n_letters
        chosen = chance(bits, self.augment.noise_prop) & (tokens < n)
        return np.where(chosen, (bits & np.uint64(0x7FF)) % np.uint64(n), tokens).astype(np.uint8)

    def _weight(self, windows: Plan, length: int) -> np.ndarray:
        """Return weights of positions, float32 [N, L]: 1, or `soft_mask_weight` if masked."""
        edges, at = cast("SoftMasked", self.codes).edges, windows.at
        first = np.searchsorted(edges, at, side="right")
        count = np.searchsorted(edges, at + length, side="left") - first
        toggles = np.zeros((len(at), length + 1), dtype=np.uint8)
        row = np.repeat(np.arange(len(at)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        toggles[row, edges[first[row] + within] - at[row]] = 1
        toggles[:, 0] ^= (first % 2).astype(np.uint8)
        lower = np.bitwise_xor.accumulate(toggles, axis=1)[:, :length]
        lower[windows.flip] = lower[windows.flip, ::-1]
        return np.where(lower == 1, np.float32(self.soft_mask_weight), np.float32(1))

    def _target(self, item: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
        assert self.target is not None
        if not isinstance(self.target, np.ndarray):
            return self.target.read(item, shift, flip)
        values = self.target[item]
        is_class = values.ndim == 1 and values.dtype.kind in "iu"
        return values.astype(np.int64 if is_class else np.float32, copy=False)
