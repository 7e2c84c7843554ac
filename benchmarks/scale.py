"""How cost grows: a genome of 3.1 Gb, 50 million intervals, 5 million rows, 10,000 runs.

    python benchmarks/scale.py --folder DIR [CASE ...] [--genome_mb 3100] [--n_intervals ...]

    genome     a FASTA file like GRCh38 (195 contigs, half of it in lower case): build of its store;
               the first batch, with the pages of the store in memory and without; the rate of a
               shuffled epoch against that of a genome of --small_mb
    intervals  BED files of --n_intervals lines: reading, memory, the first batch
    rows       CSV and Parquet tables of --n_rows rows of 200 bp: the same
    runs       --n_runs finished runs in one folder: status, results, report, submit

A child process does the work of each figure, with one thread. Its memory is the peak of the whole
process, beside what it had before the work began (imports). Peers that are not installed are left
out with a line on stderr: `pip install pyfaidx`, and the programs samtools and bedtools. DIR needs
twice the size of the genome; everything is removed at the end. Prints one JSON line a figure, or
two where there is a peer. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scale_files import (
    LENGTH,
    drop_pages,
    parquet_of,
    read_whole,
    write_bed,
    write_genome,
    write_runs,
    write_table,
)

ROOT = Path(__file__).resolve().parent.parent
BATCH, N_WINDOWS = 64, 200_000
SETTLED_S = 4  # a file that has just been written is read again when its store is opened


# -- the work, each in a process of its own --------------------------------------------------------


def memory_mb(name: str) -> float:
    """A value of /proc/self/status: VmRSS, VmHWM (its peak) or RssAnon (without mapped files)."""
    lines = dict(x.split(":", 1) for x in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


@contextmanager
def measured(figure: dict) -> Iterator[None]:
    """Adds seconds, and the peak of memory: all of the process, and above what it had before."""
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    begin, cpu = time.perf_counter(), time.process_time()
    yield
    figure |= {"s": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}
    figure |= {"mb": memory_mb("VmHWM"), "above_mb": memory_mb("VmHWM") - before}
    figure["private_mb"] = memory_mb("RssAnon")


def build(fasta: str, folder: str) -> dict:
    """Builds a store."""
    from seqmodel.dataset.seq.store import SequenceStore

    figure: dict = {}
    with measured(figure):
        store = SequenceStore.open(fasta, cache_dir=folder, quiet=True)
    return figure | {"store": store.path}


def faidx(fasta: str, folder: str) -> dict:
    """Index of pyfaidx; it reads the file, and keeps no copy of the sequences."""
    import pyfaidx

    figure: dict = {}
    with measured(figure):
        pyfaidx.Faidx(fasta, indexname=f"{fasta}.peer.fai")
    return figure


def samtools(fasta: str, folder: str) -> dict:
    """Index of samtools through pysam."""
    import pysam

    figure: dict = {}
    with measured(figure):
        pysam.faidx(fasta, "-o", f"{folder}/samtools.fai")
    return figure


def first_batch(fasta: str, bed: str, folder: str) -> dict:
    """Makes the data as run.py does, and its first batch."""
    data, figure = None, {}
    fasta_data()
    with measured(figure):
        data = fasta_data(fasta, bed, folder)
        begin = time.perf_counter()
        next(iter(data.loader("train")))
    reader = data.readers["train"]
    figure["first_s"] = time.perf_counter() - begin
    return figure | {"n": len(reader), "interval_bytes": reader.intervals.nbytes / len(reader)}


def rates(small: str, small_bed: str, large: str, large_bed: str, folder: str) -> dict:
    """Batches a second of a shuffled epoch of two genomes in turn, warm, and of the large, cold."""
    import itertools

    sides = {"small": (small, small_bed), "large": (large, large_bed)}
    data = {name: fasta_data(*pair, folder) for name, pair in sides.items()}

    def epochs(name: str) -> Iterator[object]:
        loader = data[name].loader("train")
        for epoch in itertools.count():
            loader.set_epoch(epoch)
            yield from loader

    def turn(batches: Iterator[object], n: int) -> float:
        begin = time.perf_counter()
        for _ in range(n):
            next(batches)
        return n / (time.perf_counter() - begin)

    n = max(1, len(data["small"].loader("train")) // 4)
    drop_pages(data["large"].store.path)
    streams = {name: epochs(name) for name in data}
    cold = [turn(streams["large"], max(1, n // 8)) for _ in range(8)]
    for name, batches in streams.items():  # the rest of the first epoch: the pages are there
        turn(batches, len(data[name].loader("train")))
    read_whole(data["large"].store.path)
    found: dict[str, list[float]] = {name: [] for name in data}
    for _ in range(8):
        for name, batches in streams.items():
            found[name].append(turn(batches, n))
    median = {name: statistics.median(x) for name, x in found.items()}
    return {**median, "cold_first": cold[0], "cold": statistics.median(cold)}


def table_data(path: str, folder: str) -> dict:
    """Makes the data of a table, and its first batch."""
    from seqmodel.dataset.table_data import TableData
    from seqmodel.hparam.dataset import TableHparams

    hparams = TableHparams(train_files=[path], sequence_column="sequence", label_columns=["label"])
    figure: dict = {}
    with measured(figure):
        data = TableData(hparams, cache_dir=folder)
        begin = time.perf_counter()
        next(iter(data.loader("train")))
    return figure | {"first_s": time.perf_counter() - begin, "n": len(data.readers["train"])}


def pandas_bed(path: str) -> dict:
    """A BED file as a data frame, sorted."""
    import pandas as pd

    figure: dict = {}
    with measured(figure):
        frame = pd.read_csv(path, sep="\t", header=None)
        frame.sort_values([0, 1])
    return figure


def pandas_table(path: str) -> dict:
    """A table as a data frame."""
    import pandas as pd

    figure: dict = {}
    with measured(figure):
        pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    return figure


def verb(*words: str) -> dict:
    """A command; its output is thrown away."""
    from seqmodel.cli.verbs import main

    figure: dict = {}
    with measured(figure), open(os.devnull, "w") as nothing:
        sys.stdout = nothing
        code = main(list(words))
        sys.stdout = sys.__stdout__
    if code:
        raise SystemExit(code)
    return figure


def fasta_data(fasta: str = "", bed: str = "", folder: str = ""):
    """The data of a genome with intervals; without a name, only what it imports."""
    from seqmodel.dataset.store_data import FastaData
    from seqmodel.hparam.genome import FastaHparams

    if not fasta:
        return None
    more = {"seq_len": LENGTH, "batch_size": BATCH, "rc_prob": 0.5}
    return FastaData(FastaHparams(fasta=[fasta], intervals=[bed], **more), cache_dir=folder)


WORK = {
    x.__name__: x
    for x in (
        build,
        faidx,
        samtools,
        first_batch,
        rates,
        table_data,
        pandas_bed,
        pandas_table,
        verb,
    )
}


def child(name: str, *words: object, cwd: Path | None = None) -> dict | None:
    """What a function of WORK returns in its own process; None if its package is missing."""
    command = [sys.executable, __file__, "--child", name, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=cwd, check=False)
    if done.returncode == MISSING:
        return None
    if done.returncode:
        raise SystemExit(f"{name} {' '.join(map(str, words))}: exit {done.returncode}")
    return {k: v if isinstance(v, str) else rounded(v) for k, v in json.loads(done.stdout).items()}


MISSING = 77


def run_child(name: str, words: list[str]) -> None:
    """Does the work of this process."""
    sys.path.insert(0, str(ROOT))
    try:
        figure = WORK[name](*words)
    except ImportError as e:
        print(f"scale: {name}: pip install {e.name}", file=sys.stderr)
        raise SystemExit(MISSING) from None
    print(json.dumps(figure))


# -- cases -----------------------------------------------------------------------------------------


def rounded(value: float) -> float:
    """Three digits that count, or whole."""
    return round(value) if value >= 100 else round(value, 3)


def say(case: str, figure: dict, key: str, unit: str, peers: dict | None = None, **more) -> None:
    """Prints one line of a figure, and one for each peer that is there; ratio > 1 is better."""
    line = {"case": case, "ours": figure[key], "unit": unit, **more}
    line |= {k: figure[k] for k in ("cpu_s", "mb", "above_mb", "private_mb") if k in figure}
    there = {name: x for name, x in (peers or {}).items() if x}
    for name, peer in there.items():
        both = {"peer": name, "peer_value": peer[key], "peer_mb": peer["mb"]}
        print(json.dumps({**line, **both, "ratio": rounded(peer[key] / figure[key])}), flush=True)
    if not there:
        print(json.dumps({**line, "peer": None, "peer_value": None, "ratio": None}), flush=True)


def genome(folder: Path, args: argparse.Namespace) -> None:
    """The store of a large genome."""
    sizes = {"small": args.small_mb, "large": args.genome_mb}
    need = 2.1e6 * sum(sizes.values())
    if shutil.disk_usage(folder).free < need:
        raise SystemExit(f"{folder}: {need / 1e9:.0f} GB must be free; see --folder, --genome_mb")
    fastas, beds, n_bases = {}, {}, {}
    for name, mb in sizes.items():
        fastas[name], beds[name] = folder / f"{name}.fa", folder / f"{name}.bed"
        lengths = write_genome(fastas[name], mb * 1_000_000)
        write_bed(beds[name], lengths, args.n_windows)
        n_bases[name] = sum(lengths)
    time.sleep(SETTLED_S)
    for name in sizes:
        read_whole(str(fastas[name]))
        figure = child("build", fastas[name], folder)
        peers = {
            "samtools faidx": child("samtools", fastas[name], folder) if args.peers else None,
            "pyfaidx": child("faidx", fastas[name], folder) if args.peers else None,
        }
        per_s = rounded(fastas[name].stat().st_size / 1e6 / figure["s"])
        say("genome_build", figure, "s", "s", peers, bases=n_bases[name], mb_per_s=per_s)
        for state in ("cold", "warm"):
            (drop_pages if state == "cold" else read_whole)(figure["store"])
            first = child("first_batch", fastas[name], beds[name], folder)
            say(f"genome_first_batch_{state}", first, "first_s", "s", bases=n_bases[name],
                with_data_s=first["s"])  # fmt: skip
    found = child("rates", *(x[k] for k in ("small", "large") for x in (fastas, beds)), folder)
    line = {"case": "genome_rate", "ours": found["large"], "peer": f"{args.small_mb} MB genome"}
    line |= {"peer_value": found["small"], "unit": "batches/s"}
    print(json.dumps({**line, "ratio": rounded(found["large"] / found["small"])}), flush=True)
    for name in ("cold_first", "cold"):
        line |= {"case": f"genome_rate_{name}", "ours": found[name], "peer": "warm"}
        line |= {"peer_value": found["large"], "ratio": rounded(found[name] / found["large"])}
        print(json.dumps(line), flush=True)


def intervals(folder: Path, args: argparse.Namespace) -> None:
    """Reading of many intervals."""
    fasta = folder / "g.fa"
    lengths = write_genome(fasta, args.small_mb * 1_000_000)
    time.sleep(SETTLED_S)
    child("build", fasta, folder)
    for n in args.n_intervals:
        bed = folder / f"{n}.bed"
        write_bed(bed, lengths, n)
        figure = child("first_batch", fasta, bed, folder)
        peers = {"pandas, read and sort": child("pandas_bed", bed) if args.peers else None}
        if args.peers and shutil.which("bedtools"):
            peers["bedtools sort"] = program(["bedtools", "sort", "-i", str(bed)])
        more = {"n": n, "first_batch_s": figure["first_s"], "bytes": figure["interval_bytes"]}
        say("intervals", figure, "s", "s", peers, **more)
        bed.unlink()


def program(words: list[str]) -> dict:
    """Seconds and peak memory of a program."""
    begin = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit {process.returncode}")
    return {"s": rounded(time.perf_counter() - begin), "mb": rounded(usage.ru_maxrss / 1024)}


def rows(folder: Path, args: argparse.Namespace) -> None:
    """Reading of large tables."""
    for n in args.n_rows:
        path = folder / f"{n}.csv"
        write_table(path, n)
        paths = [path, *parquet_of(path)]
        for path in paths:
            figure = child("table_data", path, folder)
            peers = {"pandas": child("pandas_table", path) if args.peers else None}
            more = {"n": n, "first_batch_s": figure["first_s"]}
            say(f"rows_{path.suffix[1:]}", figure, "s", "s", peers, **more)
            path.unlink()


def runs(folder: Path, args: argparse.Namespace) -> None:
    """Finished runs of 200 logged steps, ten seeds of each setting; half of them failed."""
    for n in args.n_runs:
        root = folder / f"runs{n}"
        root.mkdir()
        (root / "a.fa").write_text(">c1\nACGTACGT\n")
        begin = time.perf_counter()
        write_runs(root, n)
        say("runs_written", {"s": rounded(time.perf_counter() - begin)}, "s", "s", n=n)
        run = ["--create=true", "--task=masked", "--fasta=a.fa", "--seq_len=8"]
        verbs = {
            "status": ["status"],
            "results": ["results"],
            "results_grouped": ["results", "--grouped=true"],
            "report": ["report", "--out=r.html"],
            "advise": ["advise"],
            "submit": ["submit", *run, "--seed=77"],
            "submit_12_replicates": ["submit", *run, "--n_replicates=12"],
        }
        for name, words in verbs.items():
            figure = child("verb", *words, cwd=root)
            say(f"runs_{name}", figure, "s", "s", n=n, ms_a_run=rounded(1000 * figure["s"] / n))
        shutil.rmtree(root)


CASES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    x.__name__: x for x in (genome, intervals, rows, runs)
}


def main() -> None:
    """Runs the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--folder", type=Path, default=Path(), help="of the files; default: here")
    parser.add_argument("--genome_mb", type=int, default=3100)
    parser.add_argument("--small_mb", type=int, default=64)
    parser.add_argument("--n_windows", type=int, default=N_WINDOWS)
    parser.add_argument("--n_intervals", type=int, nargs="*", default=[5_000_000, 50_000_000])
    parser.add_argument("--n_rows", type=int, nargs="*", default=[500_000, 5_000_000])
    parser.add_argument("--n_runs", type=int, nargs="*", default=[1000, 10_000])
    parser.add_argument("--peers", type=int, default=1, help="0: without the other tools")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path[:0] = [str(ROOT)]
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory(dir=args.folder.resolve()) as folder:
            CASES[name](Path(folder), args)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2], sys.argv[3:])
    else:
        main()
