"""Windows of the genome with the values of bigWig tracks, cached memory-mapped.

Without jitter the cache has the bins of each window; with jitter it has the letters of the window
and of its surroundings, which are binned when they are read: input and target move together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqmodel.dataset.array_cache import MappedArray, cached_array, key_of
from seqmodel.dataset.bigwig import BigWig
from seqmodel.dataset.interval import Contigs, Intervals
from seqmodel.dataset.peak_data import stem
from seqmodel.dataset.store_data import FastaData
from seqmodel.dataset.targets import Targets, pairs_of
from seqmodel.errors import LabelError

BLOCK = 1 << 22
"""Letters of a contig whose values are read at a time."""


class Binning:
    """From values of letters to those of bins: sum or mean, then a limit, then log(1 + x)."""

    def __init__(self, bin_len: int, value: str, clip: float | None, log1p: bool) -> None:
        self.bin_len, self.value, self.clip, self.log1p = bin_len, value, clip, log1p

    def __call__(self, letters: np.ndarray) -> np.ndarray:
        """Bins [n, L / bin_len, T] of the values of letters [n, L, T]."""
        n, length, n_tracks = letters.shape
        shape = (n, length // self.bin_len, self.bin_len, n_tracks)
        found = letters.reshape(shape).sum(axis=2, dtype=np.float64)
        if self.value == "mean":
            found /= self.bin_len
        if self.clip is not None:
            np.minimum(found, self.clip, out=found)
        return np.log1p(found) if self.log1p else found

    def words(self) -> list:
        """What stands for it in a key."""
        return [self.bin_len, self.value, self.clip, self.log1p]


class TrackReader:
    """Targets of items: bins of tracks, moved and reversed as their windows are.

    Args:
        values: float32 [n, W, T], of bins, or of letters if `jitter` is not 0.
        binning: how letters become bins.
        target_len: letters that the bins of a window cover.
        jitter: letters in `values` before and after those.
        partners: track that takes the place of each in a reverse complement, [T].
        order: number in `values` of each track that is given out, [T]; None: the same order.
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
        """The same with its tracks in another order, as `targets` has them."""
        return TrackReader(
            self.values, self.binning, self.target_len, self.jitter, targets.partners, order
        )

    def __len__(self) -> int:
        """Number of items."""
        return len(self.values.array)

    def read(self, item: np.ndarray, shift: np.ndarray, flip: np.ndarray) -> np.ndarray:
        """Bins float32 [N, L', T] of items whose windows were moved by `shift` and reversed."""
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
    """Windows over contigs, or intervals, with the tracks of each."""

    def _load(self) -> None:
        hp = self.hparams
        super()._load()
        names = hp.track_names or [stem(x) for x in hp.tracks]
        twice = next((x for i, x in enumerate(names) if x in names[:i]), None)
        if twice is not None:
            raise LabelError(f"two tracks are named {twice!r}; give each a name with --track_names")
        self.targets = Targets("track", tuple(names), pairs_of(names, hp.track_strands))
        self.target_len = hp.target_len or self.seq_len
        if self.target_len % hp.bin_len:
            raise LabelError(
                f"--bin_len={hp.bin_len} does not divide the {self.target_len} letters predicted"
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
        # the jitter of training, and no other: it says how much of the surroundings is kept
        jitter = hp.jitter + (self.stride if hp.random_offset else 0)
        binning = Binning(hp.bin_len, hp.bin_value, hp.clip, hp.log1p)
        middle = windows.widened(-((self.seq_len - self.target_len) // 2))
        key = key_of(
            [self.contigs.names, self.contigs.lengths.tolist(), self.contigs.aliases],
            [self.target_len, jitter, binning.words()],
            middle.contig,
            middle.start,
        )
        n_bins = self.target_len + 2 * jitter if jitter else self.target_len // hp.bin_len
        shape = (len(windows), n_bins, len(hp.tracks))

        def fill(out: np.ndarray) -> None:
            for i, path in enumerate(hp.tracks):
                wide = middle.widened(jitter)
                fill_track(out[:, :, i], path, self.contigs, wide, None if jitter else binning)

        array = cached_array(hp.tracks, key, shape, np.float32, fill, self.cache_dir)
        partners = self.targets.partners
        return TrackReader(MappedArray(array), binning, self.target_len, jitter, partners)


def fill_track(
    out: np.ndarray, path: str, contigs: Contigs, windows: Intervals, binning: Binning | None
) -> None:
    """Writes the values of one track for windows of one length into out [n, W].

    The file is read in stretches, each once. Letters outside of a contig are NaN, missing.
    """
    track = BigWig(path, contigs)
    length = int(windows.length[0])
    order = np.lexsort((windows.start, windows.contig))
    contig, start = windows.contig[order], windows.start[order]
    at = 0
    while at < len(order):
        number, first = int(contig[at]), int(start[at])
        last = int(np.searchsorted(contig, number, side="right"))
        stop = at + int(np.searchsorted(start[at:last], first + BLOCK))
        here = start[at:stop]
        values = _stretch(
            track, number, first, int(here[-1]) + length, int(contigs.lengths[number])
        )
        rows = np.lib.stride_tricks.sliding_window_view(values, length)
        step = max(1, BLOCK // length)
        for i in range(0, len(here), step):
            letters = rows[here[i : i + step] - first][:, :, None]
            found = letters if binning is None else binning(letters)
            out[order[at + i : at + i + len(letters)]] = found[:, :, 0]
        at = stop
    track.close()


def _stretch(track: BigWig, contig: int, start: int, end: int, size: int) -> np.ndarray:
    values = np.full(end - start, np.nan, dtype=np.float64)
    inside, outside = max(start, 0), min(end, size)
    if inside < outside:
        values[inside - start : outside - start] = track.values(contig, inside, outside)
    return values
