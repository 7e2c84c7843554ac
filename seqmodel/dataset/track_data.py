"""Genome windows with the values of bigWig tracks, cached as memory-mapped files.

Without jitter, the cache holds the bins of each window. With jitter, it holds a value for each base
of the window and its flanks. These are binned when read, so input and target shift together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import cast

import numpy as np

from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.label.array_cache import MappedArray, cached_array, key_of, release
from seqmodel.dataset.label.bigwig import BigWig, no_panic
from seqmodel.dataset.label.labels import FLOAT32_MAX
from seqmodel.dataset.label.targets import Targets, pairs_of
from seqmodel.dataset.peak_data import stem
from seqmodel.dataset.store_data import FastaData
from seqmodel.errors import LabelError
from seqmodel.hparam.dataset import repeated

BLOCK = 1 << 18
"""Positions, and values of the output, that are read of each track at a time."""
_GAP = 1 << 14
"""Positions between two windows that are skipped, because reading them takes longer."""
_MAPPED_BYTES = 1 << 24
"""Bytes of the output that are held in memory at a time."""
_OPEN_TRACKS = 16
"""Files that are open at a time."""


class Binning:
    """Bin values per base: sum or mean, then a limit, then log(1 + x)."""

    def __init__(self, bin_len: int, value: str, clip: float | None, log1p: bool) -> None:
        self.bin_len, self.value, self.clip, self.log1p = bin_len, value, clip, log1p

    def __call__(self, letters: np.ndarray) -> np.ndarray:
        """Return bins [n, L / bin_len, T] of values per base [n, L, T]."""
        n, length, n_tracks = letters.shape
        parts = letters.reshape(n, length // self.bin_len, self.bin_len, n_tracks)
        if n_tracks == 1:
            found = parts.sum(axis=2, dtype=np.float64)
        else:  # what sum(axis=2) does, in the same order and faster
            found = parts[:, :, 0] + np.float64(0)
            for i in range(1, self.bin_len):
                found += parts[:, :, i]
        if self.value == "mean":
            found /= self.bin_len
        if self.clip is not None:
            np.minimum(found, self.clip, out=found)
        return np.log1p(found) if self.log1p else found

    @property
    def is_identity(self) -> bool:
        """Whether the bins are the values themselves."""
        return self.bin_len == 1 and self.clip is None and not self.log1p

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
            found = self._shifted(values, item, self.jitter + shift)
        else:
            found = np.asarray(values[item])
        if self.order is not None:
            found = found[:, :, self.order]
        rows = np.flatnonzero(flip)
        if len(rows):
            self._reverse(found, rows)
        return found

    def _shifted(self, values: np.ndarray, item: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return bins float32 [N, L', T] of values from `start` on."""
        _, length, n_tracks = values.shape
        flat, n = values.reshape(-1), self.target_len * n_tracks
        slices = np.lib.stride_tricks.sliding_window_view(flat, n)
        found = np.asarray(slices[(item * length + start) * n_tracks])
        found = found.reshape(len(item), self.target_len, n_tracks)
        if self.binning.is_identity:
            found += 0  # as a sum, which has no negative zero
            return found
        return self.binning(found).astype(np.float32)

    def _reverse(self, found: np.ndarray, rows: np.ndarray) -> None:
        """Reverse `rows` of [N, L', T] in place, and exchange their partners."""
        part, n_tracks = found[rows], found.shape[2]
        if list(self.partners) == list(range(n_tracks))[::-1]:
            found[rows] = part.reshape(len(rows), -1)[:, ::-1].reshape(part.shape)
            return
        for i, partner in enumerate(self.partners):
            found[rows, :, i] = part[:, ::-1, partner]


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
            for i in range(0, len(hp.tracks), _OPEN_TRACKS):
                with contextlib.ExitStack() as stack, no_panic():
                    some = [
                        stack.enter_context(
                            contextlib.closing(Track(x, self.contigs, hp.track_abs))
                        )
                        for x in hp.tracks[i : i + _OPEN_TRACKS]
                    ]
                    part = out[:, :, i : i + len(some)]
                    fill_tracks(part, some, middle.widened(jitter), binning, binned=not jitter)

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
        inside, outside = max(start, 0), min(end, int(self.contigs.lengths[contig]))
        if (inside, outside) == (start, end):
            values = self.file.values(contig, start, end)
        else:
            values = np.full(end - start, np.nan, dtype=np.float64)
            if inside < outside:
                values[inside - start : outside - start] = self.file.values(contig, inside, outside)
        return np.abs(values, out=values) if self.absolute else values

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def read(
        self,
        out: np.ndarray,
        contig: int,
        starts: np.ndarray,
        length: int,
        binning: Binning,
        *,
        binned: bool,
    ) -> None:
        """Write the bins of windows of a contig, or their values per base, into out [n, W].

        Raises:
            LabelError: A value is wrong; the message names the position of the first one.
        """
        first = int(starts[0])
        values = self.stretch(contig, first, int(starts[-1]) + length)
        least, most = np.fmin.reduce(values), np.fmax.reduce(values)
        is_finite = max(-least, most) * length <= FLOAT32_MAX
        if not is_finite or (binning.log1p and least < 0):
            self._check(values, contig, starts, length, binning.log1p)
        at = starts - first
        if binned and not binning.is_identity:
            rows = np.lib.stride_tricks.sliding_window_view(values, length)
            step = max(1, BLOCK // length)
            for i in range(0, len(at), step):
                out[i : i + step] = binning(rows[at[i : i + step], :, None])[:, :, 0]
            return
        values = values.astype(np.float32)
        if binned:
            values += 0  # as a sum, which has no negative zero
        out[...] = np.lib.stride_tricks.sliding_window_view(values, length)[at]

    def _check(
        self, values: np.ndarray, contig: int, starts: np.ndarray, length: int, log1p: bool
    ) -> None:
        """Check that the values of windows have a logarithm and a finite sum in float32.

        Raises:
            LabelError: A value is wrong; the message names the position of the first one.
        """
        rows = np.lib.stride_tricks.sliding_window_view(values, length)
        for start in starts.tolist():
            letters = rows[start - starts[0]]
            if log1p and (letters < 0).any():
                place = self._place(contig, start + int(np.argmax(letters < 0)))
                raise LabelError(negative(self.path, place, "the logarithm of --log1p"))
            total = np.nansum(np.abs(letters))
            if total > FLOAT32_MAX:
                place = self._place(contig, start + int(np.nanargmax(np.abs(letters))))
                raise LabelError(
                    f"{self.path}: the values around {place} add up to {total:g}, which is "
                    "infinite in float32; correct the file"
                )

    def _place(self, contig: int, position: int) -> str:
        return f"{self.contigs.names[contig]}:{position}"


def fill_tracks(
    out: np.ndarray, tracks: Sequence[Track], windows: Intervals, binning: Binning, *, binned: bool
) -> None:
    """Write the values of tracks for windows of equal length into out [n, W, T].

    Positions outside a contig are NaN (missing). Little of `out` is in memory at a time.

    Args:
        out: Output, float32 [n, W, T]: bins if `binned`, else values per base.
        tracks: Tracks to read.
        windows: The n windows.
        binning: Binning of values per base, used here or when items are read.
        binned: Bin the values here.
    """
    length = int(windows.length[0])
    order = np.lexsort((windows.start, windows.contig))
    contig, start = windows.contig[order], windows.start[order]
    n_bytes = 0
    for begin, end in _stretches(contig, start, length, out.shape[1]):
        block = np.empty((end - begin, *out.shape[1:]), dtype=np.float32)
        for i, track in enumerate(tracks):
            here = (int(contig[begin]), start[begin:end], length)
            track.read(block[:, :, i], *here, binning, binned=binned)
        out[order[begin:end]] = block
        n_bytes += block.nbytes
        if n_bytes > _MAPPED_BYTES:
            release(out)
            n_bytes = 0


def _stretches(
    contig: np.ndarray, start: np.ndarray, length: int, width: int
) -> Iterator[tuple[int, int]]:
    """Return the bounds of windows, sorted by contig and start, that are read together.

    They have at most BLOCK values, are on one contig and near each other.
    """
    reach, most = max(BLOCK, 8 * length), max(1, BLOCK // width)
    apart = (np.diff(contig) != 0) | (np.diff(start) > length + _GAP)
    for begin, end in pairwise([0, *(np.flatnonzero(apart) + 1).tolist(), len(start)]):
        while begin < end:
            near = int(np.searchsorted(start[begin:end], start[begin] + reach))
            stop = begin + min(near, most)
            yield begin, stop
            begin = stop
