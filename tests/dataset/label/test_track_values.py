"""The values of tracks, bit for bit: each item alone, as pyBigWig reads it and numpy adds it."""

import tracemalloc

import numpy as np
import pyBigWig
import pytest

from seqmodel.dataset import track_data
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.label.array_cache import cached_array
from seqmodel.dataset.label.bigwig import BigWig
from seqmodel.dataset.track_data import Binning, Track, TrackData, fill_tracks
from seqmodel.hparam.genome import TracksHparams

LENGTHS = {"chr1": 4000, "chr2": 900}
LENGTH, MARGIN = 96, 12
STRANDS = {1: ["."], 2: ["+", "-"], 3: ["-", ".", "+"], 4: ["+", "-", "+", "-"]}


def write_bigwig(path, seed):
    """Fractions, large and small values, negative zeros and NaN on a third of the positions."""
    rng = np.random.default_rng(seed)
    with pyBigWig.open(path, "w") as f:
        f.addHeader(list(LENGTHS.items()))
        for name, n in LENGTHS.items():
            at = np.flatnonzero(rng.random(n) < 0.3)
            values = np.exp(rng.normal(0, 6, len(at))).astype(np.float32).astype(float)
            values[::7], values[::11] = -0.0, np.nan
            f.addEntries([name] * len(at), at, ends=at + 1, values=values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    text = {x: "".join(rng.choice(list("ACGT"), n)) for x, n in LENGTHS.items()}
    (tmp_path / "g.fa").write_text("".join(f">{x}\n{y}\n" for x, y in text.items()))
    for i in range(4):
        write_bigwig(f"{i}.bw", i)
    starts = [*rng.integers(0, 3900, 60), -40, 3950, -200, 0]  # also beyond both ends, and apart
    rows = [("chr1", x, "+-"[i % 2]) for i, x in enumerate(starts)]
    rows += [("chr2", x, "+-"[i % 2]) for i, x in enumerate(rng.integers(0, 800, 9))]
    middle = LENGTH // 2
    (tmp_path / "x.bed").write_text(
        "".join(
            f"{c}\t{max(x + middle, 0)}\t{max(x + middle, 0) + 1}\t.\t0\t{s}\n" for c, x, s in rows
        )
    )
    return tmp_path


@pytest.mark.parametrize("n_tracks", STRANDS)
@pytest.mark.parametrize(
    ("bin_len", "jitter", "value"), [(1, 0, "sum"), (1, 4, "sum"), (12, 0, "mean"), (12, 4, "sum")]
)
def test_bins_of_each_item_are_those_of_pybigwig(
    folder, monkeypatch, n_tracks, bin_len, jitter, value
):
    for name, small in (("BLOCK", 300), ("_GAP", 20), ("_OPEN_TRACKS", 3), ("_MAPPED_BYTES", 999)):
        monkeypatch.setattr(track_data, name, small)
    data = TrackData(
        TracksHparams(
            fasta=["g.fa"],
            tracks=[f"{i}.bw" for i in range(n_tracks)],
            track_strands=STRANDS[n_tracks],
            intervals=["x.bed"],
            seq_len=LENGTH,
            target_len=LENGTH - 2 * MARGIN,
            bin_len=bin_len,
            bin_value=value,
            jitter=jitter,
            incomplete="pad",
        )
    )
    windows, reader = data.readers["train"].intervals, data.readers["train"].target
    item = np.random.default_rng(1).permutation(len(windows))
    shift = np.random.default_rng(2).integers(-jitter, jitter + 1, len(item))
    flip = np.arange(len(item)) % 3 > 0
    found = reader.read(item, shift, flip)
    assert found.dtype == np.float32
    partners = data.targets.partners
    files = [pyBigWig.open(f"{i}.bw") for i in range(n_tracks)]
    n_missing = 0
    for row, i, by, minus in zip(found, item.tolist(), shift.tolist(), flip, strict=True):
        values = letters_of(windows[i], by, files)
        parts = values.reshape(-1, bin_len, n_tracks)
        if jitter:  # each base is cached as float32, and bins are added as they are read
            sums = parts.sum(axis=1)
        else:  # each track is binned alone
            each = [np.ascontiguousarray(parts[:, :, j]).sum(axis=1) for j in range(n_tracks)]
            sums = np.stack(each, axis=1)
        bins = (sums / bin_len if value == "mean" else sums).astype(np.float32)
        if minus:
            bins = bins[::-1, partners]
        np.testing.assert_array_equal(row, bins)
        assert not np.signbit(row[row == 0]).any()
        n_missing += np.isnan(bins).sum()
    assert n_missing > 0


def letters_of(x, shift, files):
    """Values of one window per base, [L, T]; 0 without a value, NaN beyond the contig."""
    start, n = x.start + MARGIN + shift, LENGTH - 2 * MARGIN
    values = np.full((n, len(files)), np.nan)
    inside = np.arange(max(start, 0), min(start + n, LENGTHS[x.contig]))
    for j, f in enumerate(files):
        if len(inside):
            there = f.values(x.contig, int(inside[0]), int(inside[-1]) + 1)
            values[inside - start, j] = np.nan_to_num(there)
    return values


@pytest.mark.parametrize("jitter", [0, 2])
def test_zero_has_no_sign_in_a_bin(folder, monkeypatch, jitter):
    monkeypatch.setattr(
        BigWig, "values", lambda self, contig, start, end: np.full(end - start, -0.0)
    )
    hparams = {"fasta": ["g.fa"], "tracks": ["0.bw"], "intervals": ["x.bed"], "jitter": jitter}
    data = TrackData(TracksHparams(**hparams, seq_len=LENGTH, bin_len=1, incomplete="pad"))
    found = data.readers["train"].target.read(np.arange(9), np.zeros(9, int), np.zeros(9, bool))
    assert (found == 0).all()
    assert not np.signbit(found).any()


@pytest.mark.parametrize("n_tracks", [1, 2, 3, 17])
@pytest.mark.parametrize("bin_len", [1, 2, 9, 128])
def test_bins_are_added_as_by_the_sum_of_numpy(n_tracks, bin_len):
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 9, (3, 4 * bin_len, n_tracks))).astype(np.float32)
    found = Binning(bin_len, "sum", None, False)(values)
    parts = values.reshape(3, 4, bin_len, n_tracks)
    np.testing.assert_array_equal(found, parts.sum(axis=2, dtype=np.float64))


def test_memory_does_not_grow_with_windows_or_tracks(folder, monkeypatch):
    monkeypatch.setattr(track_data, "BLOCK", 2000)
    contigs = Contigs(list(LENGTHS), list(LENGTHS.values()))

    def peak(n, n_tracks):
        start = np.random.default_rng(0).integers(0, 3900, n)
        windows = Intervals(contigs, np.zeros(n, int), start, LENGTH)
        tracks = [Track(f"{i % 4}.bw", contigs) for i in range(n_tracks)]
        peaks = []

        def fill(out):
            tracemalloc.start()
            fill_tracks(out, tracks, windows, Binning(1, "sum", None, False), binned=True)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()

        shape = (n, LENGTH, n_tracks)
        cached_array(["0.bw"], f"{n} {n_tracks}", shape, np.float32, fill)
        return peaks[0]

    peak(100, 2)  # what is allocated once
    few, n_more = peak(1000, 2), 9000
    more = peak(1000 + n_more, 2)
    assert more - few < n_more * 100, "more than the order of the windows"
    assert n_more * LENGTH * 2 * 4 > 7 * n_more * 100, "the values themselves take more"
    assert peak(1000, 20) < few + 20 * 2000 * 8, "a block of each track"
