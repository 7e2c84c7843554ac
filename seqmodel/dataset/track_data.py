"""Genome windows with the values of bigWig tracks, cached as memory-mapped files.

Without jitter, the cache holds the bins of each window. With jitter, it holds a value for each base
of the window and its flanks. These are binned when read, so input and target shift together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.label.array_cache import MappedArray, cached_array, key_of
from seqmodel.dataset.label.bigwig import BigWig
from seqmodel.dataset.label.labels import FLOAT32_MAX
from seqmodel.dataset.label.targets import Targets, pairs_of
from seqmodel.dataset.peak_data import stem
from seqmodel.dataset.store_data import FastaData
from seqmodel.errors import LabelError
from seqmodel.hparam.dataset import repeated

BLOCK = 1 << 22
"""Letters of a contig whose values are read at a time."""


class Binning:
    """Bin values per base: sum or mean, then a limit, then log(1 + x)."""

    def __init__(self, bin_len: int, value: str, clip: float | None, log1p: bool) -> None:
        self.bin_len, self.value, self.clip, self.log1p = bin_len, value, clip, log1p

    def __call__(self, letters: np.ndarray) -> np.ndarray:
        """Return bins [n, L / bin_len, T] of values per base [n, L, T]."""
        n, length, n_tracks = letters.shape
        shape = (n, length // self.bin_len, self.bin_len, n_tracks)
        found = letters.reshape(shape).sum(axis=2, dtype=np.float64)
        if self.value == "mean":
            found /= self.bin_len
        if self.clip is not None:
            np.minimum(found, self.clip, out=found)
        return np.log1p(found) if self.log1p else found

    def words(self) -> list:
        """Return the words that represent this binning in a cache key."""
        return [self.bin_len, self.value, self.clip, self.log1p]


class TrackReader:
    """Targets of items: bins of tracks, shifted and reversed with their windows.

    Args:
        values: Values of bins, or of bases if `jitter` is not 0; float32 [n, W, T].
        binning: Binning of values per base.
        target_len: Length that the bins of a window cover, in bp.
        jitter: Length of the flanks in `values` on each side, in bp.
        partners: Track that replaces each track in a reverse complement, [T].
        order: Index in `values` of each returned track, [T]; None keeps the order.
    """

    def __init__(
        self,
        values: MappedArray,
        binning: Binning,
        target_len: int,
        jitter: int,
        partners: Sequence[int] | np.ndarray,
        order: np.ndarray | None = None,
    ) -> None:
        self.values, self.binning, self.partners = values, binning, partners
        self.target_len, self.jitter, self.order = target_len, jitter, order

    def arranged(self, order: np.ndarray | None, targets: Targets) -> TrackReader:
        """Return this reader with its tracks in the order of `targets`."""
        return TrackReader(
            self.values, self.binning, self.target_len, self.jitter, targets.partners, order
        )

    def __len__(self) -> int:
        """Number of items."""
        return len(self.values.array)

    def read(self, item: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
        """Return bins float32 [N, L', T] of items whose windows are shifted and reversed."""
        values = self.values.array
        if self.jitter:
            at = self.jitter + shift[:, None] + np.arange(self.target_len)
            found = self.binning(values[item[:, None], at]).astype(np.float32)
        else:
            found = np.asarray(values[item])
        if self.order is not None:
            found = found[:, :, self.order]
        rows = np.flatnonzero(flip)
        if len(rows):
            found[rows] = found[rows][:, ::-1, self.partners]
        return found


class TrackData(FastaData):
    """Windows over contigs, or intervals, with the values of tracks."""

    def _load(self) -> None:
        hp = self.hparams
        super()._load()
        names = hp.track_names or [stem(x) for x in hp.tracks]
        twice = repeated(names)
        if twice is not None:
            raise LabelError(f"two tracks are named {twice!r}; set other names with --track_names")
        self.targets = Targets("track", tuple(names), pairs_of(names, hp.track_strands))
        self.target_len = hp.target_len or self.seq_len
        if self.target_len % hp.bin_len:
            raise LabelError(
                f"--bin_len={hp.bin_len} does not divide the predicted length, {self.target_len}"
            )
        if (self.seq_len - self.target_len) % 2:
            raise LabelError(
                f"--target_len={self.target_len} is not in the middle of --seq_len={self.seq_len} "
                "on both strands; make both even or both odd"
            )
        for reader in self.readers.values():
            reader.target = self._target(reader.intervals)

    def _target(self, windows: Intervals) -> TrackReader:
        hp = self.hparams
        # jitter of training, which sets the length of the flanks in the cache
        jitter = hp.jitter + (self.stride if hp.random_offset else 0)
        binning = Binning(hp.bin_len, hp.bin_value, hp.clip, hp.log1p)
        middle = windows.widened(-((self.seq_len - self.target_len) // 2))
        key = key_of(
            [self.contigs.names, self.contigs.lengths.tolist(), self.contigs.aliases],
            [self.target_len, jitter, binning.words()],
            middle.contig,
            middle.start,
        )
        if hp.track_abs:
            key = key_of(key, "abs")
        n_bins = self.target_len + 2 * jitter if jitter else self.target_len // hp.bin_len
        shape = (len(windows), n_bins, len(hp.tracks))

        def fill(out: np.ndarray) -> None:
            for i, path in enumerate(hp.tracks):
                wide = middle.widened(jitter)
                track = Track(path, self.contigs, hp.track_abs)
                fill_track(out[:, :, i], track, wide, binning, binned=not jitter)

        array = cached_array(hp.tracks, key, shape, np.float32, fill, self.cache_dir)
        partners = self.targets.partners
        return TrackReader(MappedArray(array), binning, self.target_len, jitter, partners)

    def check_counts(self) -> None:
        """Check that no value is negative, for tasks whose targets are counts.

        Raises:
            LabelError: A bin is negative; the message names the file and the position.
        """
        hp = self.hparams
        for number, path in enumerate(hp.tracks if not hp.track_abs else ()):
            track = BigWig(path, self.contigs)
            track.close()
            if track.least is not None and track.least >= 0:
                continue
            for reader in self.readers.values():
                target = cast("TrackReader", reader.target)
                found = _first_negative(target.values.array, number)
                if found is not None:
                    item, position = found
                    window = reader.intervals[item]
                    jitter = target.jitter
                    margin = (self.seq_len - self.target_len) // 2 - jitter
                    start = window.start + margin + position * (1 if jitter else hp.bin_len)
                    raise LabelError(negative(path, f"{window.contig}:{start}", "a count"))


def negative(path: str, place: str, what: str) -> str:
    """Return the message for a negative value."""
    return (
        f"{path}: the value at {place} is negative, and {what} cannot be; tracks of the minus "
        "strand are often written so: --track_abs=True takes absolute values"
    )


def _first_negative(values: np.ndarray, track: int) -> tuple[int, int] | None:
    """Return item and position of the first negative value of a track, in values [n, W, T]."""
    step = max(1, BLOCK // values[0].size)
    for i in range(0, len(values), step):
        found = np.argwhere(values[i : i + step, :, track] < 0)
        if len(found):
            return i + int(found[0, 0]), int(found[0, 1])
    return None


class Track:
    """Values of one bigWig file in windows.

    Args:
        path: Path of the file.
        contigs: Contigs of the sequences.
        absolute: Use absolute values.
    """

    def __init__(self, path: str, contigs: Contigs, absolute: bool = False) -> None:
        self.path, self.contigs, self.absolute = path, contigs, absolute
        self.file = BigWig(path, contigs)

    def stretch(self, contig: int, start: int, end: int) -> np.ndarray:
        """Return the values of a region, float64 [end - start]; NaN outside the contig."""
        values = np.full(end - start, np.nan, dtype=np.float64)
        inside, outside = max(start, 0), min(end, int(self.contigs.lengths[contig]))
        if inside < outside:
            values[inside - start : outside - start] = self.file.values(contig, inside, outside)
        return np.abs(values) if self.absolute else values

    def check(self, letters: np.ndarray, contig: int, starts: np.ndarray, log1p: bool) -> None:
        """Check that values per base [n, W] have a logarithm and a finite sum.

        Raises:
            LabelError: A value is wrong; the message names the position of the first one.
        """
        if log1p:
            below = np.argwhere(letters < 0)
            if len(below):
                place = self._place(contig, int(starts[below[0, 0]] + below[0, 1]))
                raise LabelError(negative(self.path, place, "the logarithm of --log1p"))
        sums = np.nansum(np.abs(letters), axis=1)
        wrong = np.flatnonzero(sums > FLOAT32_MAX)
        if len(wrong):
            i = int(wrong[0])
            place = self._place(contig, int(starts[i] + np.nanargmax(np.abs(letters[i]))))
            raise LabelError(
                f"{self.path}: the values around {place} add up to {sums[i]:g}, which is infinite "
                "in float32; correct the file"
            )

    def _place(self, contig: int, position: int) -> str:
        return f"{self.contigs.names[contig]}:{position}"


def fill_track(
    out: np.ndarray, track: Track, windows: Intervals, binning: Binning, *, binned: bool
) -> None:
    """Write the values of one track for windows of equal length into out [n, W].

    Each region of the file is read once. Positions outside a contig are NaN (missing).

    Args:
        out: Output, float32 [n, W]: bins if `binned`, else values per base.
        track: Track to read.
        windows: The n windows.
        binning: Binning of values per base, used here or when items are read.
        binned: Bin the values here.
    """
    length = int(windows.length[0])
    order = np.lexsort((windows.start, windows.contig))
    contig, start = windows.contig[order], windows.start[order]
    at = 0
    while at < len(order):
        number, first = int(contig[at]), int(start[at])
        last = int(np.searchsorted(contig, number, side="right"))
        stop = at + int(np.searchsorted(start[at:last], first + BLOCK))
        here = start[at:stop]
        values = track.stretch(number, first, int(here[-1]) + length)
        with np.errstate(over="ignore"):
            is_odd = not (np.fmax.reduce(np.abs(values)) * length <= FLOAT32_MAX)
        is_odd = is_odd or bool(binning.log1p and (values < 0).any())
        rows = np.lib.stride_tricks.sliding_window_view(values, length)
        step = max(1, BLOCK // length)
        for i in range(0, len(here), step):
            starts = here[i : i + step]
            letters = rows[starts - first]
            if is_odd:
                track.check(letters, number, starts, binning.log1p)
            found = binning(letters[:, :, None])[:, :, 0] if binned else letters
            out[order[at + i : at + i + len(letters)]] = found
        at = stop
    track.file.close()
