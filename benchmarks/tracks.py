"""Sequences with the values of two bigWig tracks: the batches of run.py, and how they are cached.

    python benchmarks/tracks.py [--cases profile wide ...] [--tracks sparse dense yeast] ...
    pip install genvarloader==0.43.0                      # a peer; in any folder on PYTHONPATH

Prints one JSON line for each figure; `ratio` is above 1 where ours is better. Cases:

    profile          64 x 2114 bp, with the counts of the middle 1,000 bp on both strands
    jitter           the same, shifted by up to 128 bp in each epoch
    wide             4 x 131,072 bp in bins of 128 bp
    CASE_build       MB/s of the cache, float32, against the reader alone that reads both files
                     whole (`reader`), and seconds against what GenVarLoader writes (`genvarloader`)
    memory           peak memory of the build, for --memory_mb and ten times as much; for 2 and 8
                     tracks

Peers: `genvarloader` (its tracks of the target's length beside its sequences, binned by numpy),
`pybigwig` (one item after the other: pysam and pyBigWig), `pybigwig_values` (the same without
sequences). Intervals are shuffled, on both strands; ours also takes reverse complements at 0.5. All
take turns in one process (A B A B, see loader.py); rates are medians.

Tracks: `sparse` (2 % of the positions have a count, as in ChIP-exo), `dense` (runs of 1 to 20 bp
with a value each), on a synthetic genome of --genome_mb; `yeast`: STRIPE-seq on sacCer3, where the
shared data are. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
from loader import rounded, take_turns

ROOT = Path(__file__).resolve().parents[1]
N_CONTIGS = 8
GVL_MISSING = "no GenVarLoader: pip install genvarloader==0.43.0 (or --target FOLDER, PYTHONPATH)"

# peak memory of the code alone; ru_maxrss would be that of the parent where the parent is larger
CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import tracks
def peak():
    return int(dict(x.split(":", 1) for x in open("/proc/self/status"))["VmHWM"].split()[0]) / 1024
case = tracks.Case(*json.loads(sys.argv[2]))
tracks.store(sys.argv[3])
before = peak()
data = tracks.construct(sys.argv[3], json.loads(sys.argv[4]), sys.argv[5], case, sys.argv[6])
print(json.dumps([before, peak()]))
"""


class Case(NamedTuple):
    """What is read: batch, length, length of the targets, of a bin, and the largest shift."""

    name: str
    batch_size: int
    length: int
    target_len: int
    bin_len: int
    jitter: int
    n_intervals: int


class Tracks(NamedTuple):
    """A genome and the bigWig files of its two strands."""

    name: str
    fasta: str
    bigwigs: list[str]


def cases(options: argparse.Namespace) -> list[Case]:
    n, n_wide, length = options.n_intervals, options.n_wide, options.wide_len
    found = (
        Case("profile", 64, 2114, 1000, 1, 0, n),
        Case("jitter", 64, 2114, 1000, 1, 128, n),
        Case("wide", 4, length, length, 128, 0, n_wide),
    )
    return [x for x in found if x.name in options.cases]


# -- data ------------------------------------------------------------------------------------------


def synthetic(folder: Path, kind: str, mb: float, n_tracks: int = 2) -> Tracks:
    """A seeded genome in 8 contigs and bigWig files of one kind."""
    fasta, n = folder / f"{mb:g}.fa", int(mb * 1e6) // N_CONTIGS
    if not fasta.exists():
        letters = np.frombuffer(b"ACGT", dtype=np.uint8)
        with fasta.open("wb") as f:
            for i in range(N_CONTIGS):
                bases = letters[np.random.default_rng(i).integers(0, 4, n, dtype=np.uint8)]
                f.write(b">chr%d\n%b\n" % (i + 1, bases.tobytes()))
    paths = [folder / f"{kind}.{mb:g}.{k}.bw" for k in range(n_tracks)]
    for k, path in enumerate(paths):
        if not path.exists():
            write_bigwig(path, kind, n, k)
    return Tracks(kind, str(fasta), [str(x) for x in paths])


def write_bigwig(path: Path, kind: str, n: int, seed: int) -> None:
    """A bigWig file of contigs with n positions."""
    import pyBigWig

    rng = np.random.default_rng(seed)
    with pyBigWig.open(str(path), "w") as f:
        f.addHeader([(f"chr{i + 1}", n) for i in range(N_CONTIGS)], maxZooms=0)
        for i in range(N_CONTIGS):
            if kind == "sparse":
                start = np.flatnonzero(rng.random(n) < 0.02)
                end = start + 1
                values = rng.geometric(0.3, len(start)).astype(float)
            else:
                edges = np.cumsum(rng.integers(1, 21, n // 8))
                edges = edges[edges < n]
                start, end = edges[:-1], edges[1:]
                values = np.abs(np.cumsum(rng.integers(-3, 4, len(start)))) + 1.0
            f.addEntries([f"chr{i + 1}"] * len(start), start, ends=end, values=values)


def yeast(folder: Path) -> Tracks | None:
    """The STRIPE-seq tracks of the shared data; None where there are none."""
    root = os.environ.get("SEQMODEL_SHARED_DATA") or ROOT.parent / "shared" / "data"
    found = [
        Path(root) / "yeast_sacCer3" / f"stripeseq_WT_pooled.{x}.bw" for x in ("plus", "minus")
    ]
    if not all(x.exists() for x in found):
        return None
    import gzip

    fasta = folder / "sacCer3.fa"
    if not fasta.exists():
        fasta.write_bytes(gzip.decompress((found[0].parent / "sacCer3.fa.gz").read_bytes()))
    return Tracks("yeast", str(fasta), [str(x) for x in found])


def store(fasta: str):
    """The sequences, built once beside the FASTA file; modules that take long are imported."""
    from seqmodel.dataset import track_data  # noqa: F401
    from seqmodel.dataset.seq.store import SequenceStore

    return SequenceStore.open(fasta)


def write_intervals(path: Path, fasta: str, case: Case) -> Path:
    """Intervals of the targets at random; their windows, shifted or not, are within contigs."""
    x, rng = store(fasta), np.random.default_rng(1)
    margin = (case.length - case.target_len) // 2 + case.jitter
    room = x.lengths - case.target_len - 2 * margin
    contig = rng.choice(np.flatnonzero(room > 0), case.n_intervals)
    start = margin + (rng.random(case.n_intervals) * room[contig]).astype(int)
    minus = rng.integers(0, 2, case.n_intervals)
    with path.open("w") as f:
        for c, s, strand in zip(contig.tolist(), start.tolist(), minus.tolist(), strict=True):
            f.write(f"{x.names[c]}\t{s}\t{s + case.target_len}\t.\t0\t{'+-'[strand]}\n")
    return path


def construct(fasta: str, bigwigs: list[str], bed: str, case: Case, cache_dir: str):
    """The data as run.py makes them."""
    from seqmodel.dataset.track_data import TrackData
    from seqmodel.hparam.genome import TracksHparams

    hparams = TracksHparams(
        fasta=[fasta],
        tracks=bigwigs,
        track_strands=["+", "-"] * (len(bigwigs) // 2),
        intervals=[bed],
        seq_len=case.length,
        target_len=case.target_len,
        bin_len=case.bin_len,
        jitter=case.jitter,
        batch_size=case.batch_size,
        rc_prob=0.5,
    )
    return TrackData(hparams, cache_dir=cache_dir)


# -- what is compared: functions that give endless batches -----------------------------------------


def ours(data) -> Iterator[object]:
    loader = data.loader("train")
    for epoch in range(1 << 30):
        loader.set_epoch(epoch)
        yield from loader


def binned(values: np.ndarray, case: Case) -> np.ndarray:
    """Bins [..., L / bin_len] of values [..., L]."""
    if case.bin_len == 1:
        return values
    return values.reshape(*values.shape[:-1], -1, case.bin_len).sum(axis=-1)


def pybigwig(data, tracks: Tracks, case: Case, with_sequences: bool = True) -> Iterator[object]:
    """One item after the other out of the files."""
    import pyBigWig
    import pysam

    fasta, files = pysam.FastaFile(tracks.fasta), [pyBigWig.open(x) for x in tracks.bigwigs]
    windows, alphabet = data.readers["train"].intervals, data.alphabet
    order = np.random.default_rng(0).permutation(len(windows))
    rng, margin, n = np.random.default_rng(2), (case.length - case.target_len) // 2, case.batch_size
    for i in cycle(range(0, len(order) - n + 1, n)):
        tokens, targets = [], []
        for j in order[i : i + n].tolist():
            x = windows[j]
            by = int(rng.integers(-case.jitter, case.jitter + 1)) if case.jitter else 0
            start = x.start + margin + by
            found = [
                binned(
                    np.nan_to_num(f.values(x.contig, start, start + case.target_len, numpy=True)),
                    case,
                )
                for f in files
            ]
            targets.append(
                np.stack([y[::-1] for y in found[::-1]] if x.strand == "-" else found, 1)
            )
            if with_sequences:
                codes = alphabet.encode(fasta.fetch(x.contig, x.start + by, x.end + by))
                tokens.append(alphabet.reverse_complement(codes) if x.strand == "-" else codes)
        yield np.stack(targets), np.stack(tokens) if tokens else None


def gvl_write(folder: Path, tracks: Tracks, bed: str, case: Case) -> Path:
    """What GenVarLoader writes for these intervals, in place of what is there."""
    import genvarloader as gvl

    names = ("plus", "minus")
    wigs = [gvl.BigWigs(n, {"s": x}) for n, x in zip(names, tracks.bigwigs, strict=True)]
    with contextlib.redirect_stdout(sys.stderr):
        gvl.write(folder, bed, tracks=wigs, max_jitter=case.jitter or None, overwrite=True)
    return folder


def genvarloader(folder: Path, tracks: Tracks, bed: str, case: Case) -> Iterator[object]:
    """GenVarLoader's tracks, and its sequences of the windows around them."""
    import genvarloader as gvl
    import seqpro as sp

    values = gvl.Dataset.open(folder, jitter=case.jitter, rng=0).with_tracks(["plus", "minus"])
    values = values.with_len(case.target_len)
    wide, by = sp.bed.read(bed), (case.length - case.target_len) // 2 + case.jitter
    wide = wide.with_columns(wide["chromStart"] - by, wide["chromEnd"] + by)
    sequences = gvl.RefDataset(gvl.Reference.from_path(tracks.fasta), wide, jitter=case.jitter)
    sequences = sequences.with_len(case.length)
    order = np.random.default_rng(0).permutation(case.n_intervals)
    ids = np.full(256, 6, dtype=np.int32)
    ids[list(b"ACGT")] = range(4)
    n = case.batch_size
    for i in cycle(range(0, len(order) - n + 1, n)):
        some = order[i : i + n]
        tokens = ids[np.asarray(sequences[some]).view(np.uint8)]
        yield tokens, binned(np.asarray(values[some, 0]), case)


# -- figures ---------------------------------------------------------------------------------------


def tell(case: str, value: float, peer: str, peer_value: float, unit: str, **more: object) -> None:
    """Prints one line; `unit` says whether more or less is better."""
    ratio = value / peer_value if "/s" in unit else peer_value / value
    line = {"case": case, "ours": rounded(value), "peer": peer, "peer_value": rounded(peer_value)}
    print(json.dumps({**line, "unit": unit, "ratio": round(ratio, 3), **more}), flush=True)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def read_whole(paths: list[str]) -> None:
    """All values of the files, by the reader that seqmodel uses."""
    import pybigtools

    for path in paths:
        file = pybigtools.open(path)
        for name, n in file.chroms().items():
            file.values(name, 0, n, fillna=0)


def compare_rates(data, tracks: Tracks, bed: str, folder: Path, case: Case, options) -> None:
    peers = {"ours": ours(data), "pybigwig": pybigwig(data, tracks, case)}
    peers["pybigwig_values"] = pybigwig(data, tracks, case, with_sequences=False)
    if options.has_gvl:
        peers["genvarloader"] = genvarloader(folder / "gvl", tracks, bed, case)
    rounds = [take_turns(peers, case.batch_size, options.seconds) for _ in range(options.rounds)]
    mine = statistics.median(x["ours"].median for x in rounds)
    for name in list(peers)[1:]:
        value = statistics.median(x[name].median for x in rounds)
        tell(case.name, mine, name, value, "sequences/s", tracks=tracks.name)


def compare_builds(tracks: Tracks, bed: str, folder: Path, case: Case, options) -> None:
    cache = folder / "cache"
    times: dict[str, list[float]] = {"ours": [], "reader": [], "genvarloader": []}
    for _ in range(options.rounds):
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
        store(tracks.fasta)
        whole = timed(lambda: construct(tracks.fasta, tracks.bigwigs, bed, case, str(cache)))
        again = timed(lambda: construct(tracks.fasta, tracks.bigwigs, bed, case, str(cache)))
        times["ours"].append(max(whole - again, 1e-4))
        times["reader"].append(timed(lambda: read_whole(tracks.bigwigs)))
        if options.has_gvl:
            times["genvarloader"].append(
                timed(lambda: gvl_write(folder / "gvl", tracks, bed, case))
            )
    seconds = {x: statistics.median(y) for x, y in times.items() if y}
    made = sum(x.stat().st_size for x in cache.glob("*.npy")) / 1e6
    wig = sum(os.path.getsize(x) for x in tracks.bigwigs) / 1e6
    mine, name = made / seconds["ours"], f"{case.name}_build"
    more = {"tracks": tracks.name, "cache_mb": rounded(made), "bigwig_mb": rounded(wig)}
    tell(name, mine, "bar", 100.0, "MB/s", **more)
    tell(name, seconds["ours"], "reader", seconds["reader"], "s", **more)
    if options.has_gvl:
        tell(name, seconds["ours"], "genvarloader", seconds["genvarloader"], "s", **more)


def peak_of_build(tracks: Tracks, case: Case, folder: Path) -> tuple[float, float]:
    """Peak memory in MB before a build in a new process, and after it."""
    bed = write_intervals(folder / "memory.bed", tracks.fasta, case)
    cache = folder / "memory"
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    words = [json.dumps(case), tracks.fasta, json.dumps(tracks.bigwigs), str(bed), str(cache)]
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    shutil.rmtree(cache)
    before, after = json.loads(done.stdout)
    return before, after


def compare_memory(folder: Path, options: argparse.Namespace) -> None:
    """Each 10 bp of the genome are in one window; so the cache grows with the genome."""
    mb = options.memory_mb
    for name, more_mb, n_tracks in (("genome_x10", 10 * mb, 2), ("tracks_x4", mb, 8)):
        found = []
        for size, n in ((mb, 2), (more_mb, n_tracks)):
            tracks = synthetic(folder, "sparse", size, n)
            case = Case("memory", 64, 2114, 1000, 1, 0, int(size * 1e3))
            before, after = peak_of_build(tracks, case, folder)
            found.append(after - before)
        tell(
            f"memory_{name}", found[1], "small", found[0], "MB", genome_mb=more_mb, tracks=n_tracks
        )


def run_tracks(tracks: Tracks, folder: Path, options: argparse.Namespace) -> None:
    for case in cases(options):
        here = folder / f"{tracks.name}.{case.name}"
        here.mkdir(exist_ok=True)
        bed = str(write_intervals(here / "windows.bed", tracks.fasta, case))
        compare_builds(tracks, bed, here, case, options)
        data = construct(tracks.fasta, tracks.bigwigs, bed, case, str(here / "cache"))
        compare_rates(data, tracks, bed, here, case, options)
        shutil.rmtree(here)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ["profile", "jitter", "wide", "memory"]
    parser.add_argument("--cases", nargs="*", default=names, choices=names)
    kinds = ["sparse", "dense", "yeast"]
    parser.add_argument("--tracks", nargs="*", default=kinds, choices=kinds)
    parser.add_argument("--genome_mb", type=float, default=12)
    parser.add_argument("--memory_mb", type=float, default=12)
    parser.add_argument("--n_intervals", type=int, default=20_000)
    parser.add_argument("--n_wide", type=int, default=1000, help="intervals of the case wide")
    parser.add_argument("--wide_len", type=int, default=131_072)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each peer in each round")
    parser.add_argument("--folder", default=os.path.join(tempfile.gettempdir(), "seqmodel_bench"))
    options = parser.parse_args()
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import genvarloader  # noqa: F401
        from loguru import logger

        logger.remove()  # its log would be among the figures
        options.has_gvl = True
    except ImportError:
        print(GVL_MISSING, file=sys.stderr)
        options.has_gvl = False
    for kind in options.tracks:
        tracks = yeast(folder) if kind == "yeast" else synthetic(folder, kind, options.genome_mb)
        if tracks is None:
            print("no yeast tracks: the shared data are not here", file=sys.stderr)
        else:
            run_tracks(tracks, folder, options)
    if "memory" in options.cases:
        compare_memory(folder, options)


if __name__ == "__main__":
    main()
