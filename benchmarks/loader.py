"""Speed of the loader that run.py uses, beside copies of memory, plain numpy and other tools.

    python benchmarks/loader.py [--cases ids ids_rc ...] [--peers numpy ...]
    python benchmarks/loader.py --peers_python /path/to/python     # GenVarLoader, tangermeme

Prints one JSON line for each case and peer. Cases: `ids` and `ids_rc` (uint8 ids, 64 x 1000,
forward or on both strands with reverse complements at 0.5), `onehot_rc` (float32), `wide_ids` and
`onehot_wide` (4 x 131072, both strands). 200,000 shuffled intervals, one process, no workers.

What is compared takes turns of some milliseconds (A B A B). Other work on the machine only ever
slows a turn down, so the rate is that of the fastest tenth of the turns, of all alike. Then:
time to construct, time to the first batch, memory, rate with workers.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
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

N_INTERVALS = 200_000
N_CONTIGS, GENOME_LETTERS = 8, 64_000_000


class Case(NamedTuple):
    """What is read: batch, length, both strands or not, ids or one-hot."""

    name: str
    batch_size: int
    length: int
    both_strands: bool
    onehot: bool


CASES = {
    x.name: x
    for x in (
        Case("ids", 64, 1000, False, False),
        Case("ids_rc", 64, 1000, True, False),
        Case("onehot_rc", 64, 1000, True, True),
        Case("wide_ids", 4, 131072, True, False),
        Case("onehot_wide", 4, 131072, True, True),
    )
}


def synthetic_genome(folder: Path) -> Path:
    """A seeded genome of 64 MB in 8 contigs, as FASTA."""
    path = folder / "synthetic.fa"
    if not path.exists():
        rng = np.random.default_rng(0)
        letters = np.frombuffer(b"ACGT", dtype=np.uint8)
        size = GENOME_LETTERS // N_CONTIGS
        with path.open("wb") as f:
            for i in range(N_CONTIGS):
                text = letters[rng.integers(0, 4, size, dtype=np.uint8)]
                f.write(b">chr%d\n" % (i + 1))
                for row in text.reshape(-1, 80):
                    f.write(row.tobytes() + b"\n")
    return path


def write_intervals(path: Path, names: list[str], lengths: np.ndarray, case: Case) -> None:
    """200,000 intervals at random, on either strand if the case has both."""
    rng = np.random.default_rng(1)
    usable = np.flatnonzero(np.asarray(lengths) > case.length)
    contig = usable[rng.integers(0, len(usable), N_INTERVALS)]
    start = (rng.random(N_INTERVALS) * (np.asarray(lengths)[contig] - case.length)).astype(int)
    strand = rng.integers(0, 2, N_INTERVALS) * case.both_strands
    with path.open("w") as f:
        for c, s, minus in zip(contig.tolist(), start.tolist(), strand.tolist(), strict=True):
            f.write(f"{names[c]}\t{s}\t{s + case.length}\t.\t0\t{'+-'[minus]}\n")


# -- what is compared: functions that give endless batches -----------------------------------------


def ours(data, case: Case, n_workers: int = 0) -> Iterator[object]:
    from seqmodel.dataset.seq.onehot import OneHot

    loader = data.loader("train", n_workers=n_workers)
    onehot = OneHot(data.alphabet)
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        for batch in loader:
            yield onehot(batch["tokens"]) if case.onehot else batch
        epoch += 1


def memcpy(data, case: Case) -> Iterator[object]:
    """A copy of as many bytes."""
    shape = (case.batch_size, case.length)
    source = np.ones((*shape, 4), np.float32) if case.onehot else np.ones(shape, np.uint8)
    while True:
        yield source.copy()


def numpy(data, case: Case) -> Iterator[object]:
    """A gather by hand over the same memory map, in an order that is there already."""
    reader = data.readers["train"]
    x, codes = reader.intervals, reader.codes
    order = np.random.default_rng(0).permutation(len(x))
    at = (codes.offsets[x.contig] + x.start)[order]
    minus = (x.strand < 0)[order]
    if case.both_strands:
        minus ^= np.random.default_rng(2).random(len(x)) < 0.5
    windows = np.lib.stride_tricks.sliding_window_view(codes.data, case.length)
    has_unknown = bool((codes.data[codes.offsets[0] : codes.offsets[0] + 10**7] > 3).any())
    complement = data.alphabet.complement_table
    table = data.alphabet.one_hot_table()
    n = case.batch_size
    while True:
        for i in range(0, len(at) - n + 1, n):
            batch, flip = windows[at[i : i + n]], minus[i : i + n]
            if has_unknown and case.both_strands:
                batch[flip] = complement[batch[flip, ::-1]]
            elif case.both_strands:
                batch[flip] = batch[flip, ::-1] ^ np.uint8(3)
            yield table[batch] if case.onehot else batch


def pysam(data, case: Case) -> Iterator[object]:
    """One item after the other out of the FASTA file."""
    import pysam as module

    fasta = module.FastaFile(data.hparams.fasta[0])
    reader, alphabet = data.readers["train"], data.alphabet
    order = np.random.default_rng(0).permutation(len(reader.intervals))
    table = alphabet.one_hot_table()
    n = case.batch_size
    for i in cycle(range(0, len(order) - n + 1, n)):
        rows = []
        for j in order[i : i + n].tolist():
            x = reader.intervals[j]
            codes = alphabet.encode(fasta.fetch(x.contig, x.start, x.end))
            rows.append(alphabet.reverse_complement(codes) if x.strand == "-" else codes)
        batch = np.stack(rows)
        yield table[batch] if case.onehot else batch


def genvarloader(fasta: str, bed: str, case: Case) -> Iterator[object]:
    """GenVarLoader's RefDataset; runs in an environment that has it."""
    import genvarloader as gvl
    import seqpro as sp

    dataset = gvl.RefDataset(gvl.Reference.from_path(fasta), sp.bed.read(bed))
    dataset = dataset.with_len(case.length)
    order = np.random.default_rng(0).permutation(N_INTERVALS)
    ids = np.full(256, 6, dtype=np.int32)
    ids[list(b"ACGT")] = range(4)
    n = case.batch_size
    for i in cycle(range(0, len(order) - n + 1, n)):
        batch = np.asarray(dataset[order[i : i + n]])
        if case.onehot:
            yield sp.DNA.ohe(batch).astype(np.float32)
        else:
            yield ids[batch.view(np.uint8)]


def tangermeme(fasta: str, bed: str, case: Case) -> Iterator[object]:
    """tangermeme, sequences loaded as one-hot beforehand, some reversed as in training loops.

    The reverse complement of one-hot [N, 4, L] is both axes flipped. Runs where it is installed.
    """
    import torch
    from tangermeme.io import extract_loci

    some = Path(bed).with_suffix(".some.bed")
    n_loaded = 20000 if case.length < 10000 else 200
    with open(bed) as f:
        some.write_text("".join(line for line, _ in zip(f, range(n_loaded), strict=False)))
    loci = extract_loci(str(some), fasta, in_window=case.length)
    order = np.random.default_rng(0).permutation(len(loci))
    minus = torch.from_numpy(np.random.default_rng(2).random(len(loci)) < 0.5)
    for i in cycle(range(0, len(order) - case.batch_size + 1, case.batch_size)):
        batch = loci[torch.from_numpy(order[i : i + case.batch_size])]
        if case.both_strands:
            rows = minus[i : i + case.batch_size]
            batch[rows] = batch[rows].flip(1, 2)
        yield batch.float()


HERE: dict[str, Callable] = {"ours": ours, "memcpy": memcpy, "numpy": numpy, "pysam": pysam}
ELSEWHERE: dict[str, Callable] = {"genvarloader": genvarloader, "tangermeme": tangermeme}


class Rates(NamedTuple):
    """Sequences a second: of the fastest tenth of the turns, and of the middle one."""

    best: float
    median: float


def turn(batches: Iterator[object], n_batches: int) -> float:
    """Seconds for some batches."""
    begin = time.perf_counter()
    for _ in range(n_batches):
        next(batches)
    return time.perf_counter() - begin


def take_turns(
    peers: dict[str, Iterator[object]], batch_size: int, seconds: float
) -> dict[str, Rates]:
    """Rates of peers that take turns, each about `seconds` in all."""
    n_batches = 256 if batch_size > 8 else 8  # what our loader plans, or reads, in one go
    sizes = {}
    for name, x in peers.items():
        turn(x, n_batches)
        once = turn(x, 2)
        sizes[name] = n_batches if once < 0.01 else 2
    times: dict[str, list[float]] = {name: [] for name in peers}
    end = time.perf_counter() + seconds * len(peers)
    order = np.random.default_rng(0)
    while time.perf_counter() < end:
        # in any order, since what ran before leaves the caches cold
        for name in order.permutation(list(peers)).tolist():
            times[name].append(turn(peers[name], sizes[name]) / sizes[name])
    return {
        name: Rates(batch_size / np.percentile(x, 10), batch_size / np.percentile(x, 50))
        for name, x in times.items()
    }


def elsewhere(options: argparse.Namespace, peer: str, fasta: str, bed: str, case: Case) -> Rates:
    """Rates of a peer in another environment; NaN if it does not run there."""
    command = [options.peers_python, __file__, "--only", peer, fasta, bed, case.name]
    command.append(str(options.seconds))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{peer}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return Rates(float("nan"), float("nan"))
    return Rates(*map(float, done.stdout.split()[-2:]))


def compare(data, bed: str, genome: str, case: Case, options: argparse.Namespace) -> float:
    """Prints a line for each peer of a case; our own rate, in sequences a second."""
    names = ["ours", *[x for x in options.peers if x in HERE]]
    others = [x for x in options.peers if x in ELSEWHERE] if options.peers_python else []
    rounds: dict[str, list[Rates]] = {}
    for _ in range(options.rounds):
        here = take_turns({x: HERE[x](data, case) for x in names}, case.batch_size, options.seconds)
        for name in others:
            here[name] = elsewhere(options, name, data.hparams.fasta[0], bed, case)
        for name, found in here.items():
            rounds.setdefault(name, []).append(found)
    mine = rounds.pop("ours")
    for name, found in rounds.items():
        ratios = [x.best / y.best for x, y in zip(mine, found, strict=True)]
        values = (statistics.median(x.best for x in y) for y in (mine, found))
        tell(case.name, *values, name, "sequences/s", genome, statistics.median(ratios))
    return statistics.median(x.best for x in mine)


def tell(
    case: str,
    value: float,
    peer_value: float,
    peer: str,
    unit: str,
    genome: str,
    ratio: float,
) -> None:
    """Prints one line; `ratio` is above 1 where ours is better."""
    line = {"case": case, "ours": rounded(value), "peer": peer, "peer_value": rounded(peer_value)}
    print(
        json.dumps({**line, "unit": unit, "ratio": round(ratio, 3), "genome": genome}), flush=True
    )


def rounded(value: float) -> float:
    """Whole where it is large."""
    return round(value) if value > 1000 else round(value, 4)


def construct(fasta: str, bed: str, case: Case, cache_dir: str):
    """The data as run.py makes them."""
    from seqmodel.dataset.store_data import FastaData
    from seqmodel.hparam.genome import FastaHparams

    hparams = FastaHparams(
        fasta=[fasta],
        intervals=[bed],
        seq_len=case.length,
        batch_size=case.batch_size,
        rc_prob=0.5 if case.both_strands else 0.0,
    )
    return FastaData(hparams, cache_dir=cache_dir)


def run_case(
    fasta: str, genome: str, case: Case, folder: Path, options: argparse.Namespace
) -> None:
    """Everything about one case on one genome."""
    from seqmodel.dataset import store_data  # noqa: F401 (importing torch is no construction)
    from seqmodel.dataset.seq.store import SequenceStore

    store = SequenceStore.open(fasta, cache_dir=str(folder))
    bed = folder / f"{genome}.{case.length}.{case.both_strands}.bed"
    write_intervals(bed, store.names, store.lengths, case)
    begin = time.perf_counter()
    data = construct(fasta, str(bed), case, str(folder))
    made = time.perf_counter()
    next(iter(data.loader("train")))
    first = time.perf_counter() - made
    n_bytes = data.readers["train"].intervals.nbytes / N_INTERVALS
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for what, value, budget, unit in (
        ("construct", made - begin, 0.2, "s"),
        ("first_batch", first, 0.1, "s"),
        ("interval_bytes", n_bytes, 16.0, "bytes/interval"),
        ("memory", rss_mb, 600.0, "MB"),
    ):
        tell(f"{case.name}_{what}", value, budget, "budget", unit, genome, budget / value)
    alone = compare(data, str(bed), genome, case, options)
    for n_workers in options.workers:
        batches = ours(data, case, n_workers)
        n = min(len(data.loader("train")) // 2, 2000)
        next(batches)  # the workers have started
        rate = n * case.batch_size / turn(batches, n)
        name = f"{case.name}_{n_workers}_workers"
        tell(name, rate, alone, "no_workers", "sequences/s", genome, rate / alone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--peers", nargs="*", default=["memcpy", "numpy", "pysam", *ELSEWHERE])
    parser.add_argument("--peers_python", help="python of an environment with the other tools")
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each peer in each round")
    parser.add_argument("--human", help="FASTA of a real genome, measured as well")
    parser.add_argument("--folder", default=os.path.join(tempfile.gettempdir(), "seqmodel_bench"))
    options = parser.parse_args()
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    genomes = {"synthetic": str(synthetic_genome(folder))}
    human = options.human or shared_human(folder)
    if human:
        genomes["human_chr20"] = human
    for genome, fasta in genomes.items():
        for name in options.cases:
            run_case(fasta, genome, CASES[name], folder, options)


def shared_human(folder: Path) -> str | None:
    """Chromosome 20 out of the shared data, unpacked once; None where there are none."""
    root = os.environ.get("SEQMODEL_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data"
    parts = sorted((Path(root) / "human_chr20_b37").glob("20.fa.gz.part*"))
    if not parts:
        return None
    import gzip

    path = folder / "chr20.fa"
    if not path.exists():
        packed = b"".join(x.read_bytes() for x in parts)
        path.write_bytes(gzip.decompress(packed))
    return str(path)


if __name__ == "__main__":
    if "--only" in sys.argv:
        at = sys.argv.index("--only")
        name, fasta_path, bed_path, case_name, time_s = sys.argv[at + 1 : at + 6]
        chosen = CASES[case_name]
        peer = {name: ELSEWHERE[name](fasta_path, bed_path, chosen)}
        print(*take_turns(peer, chosen.batch_size, float(time_s))[name])
    else:
        main()
