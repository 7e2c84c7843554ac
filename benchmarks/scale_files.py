"""The files of benchmarks/scale.py: genomes, intervals, tables and runs, written at speed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

LENGTH = 1000
LINE = 60
# chr1 to chr22, X, Y and M of GRCh38; 169 scaffolds and EBV complete the no-alt analysis set
LENGTHS = [
    248_956_422, 242_193_529, 198_295_559, 190_214_555, 181_538_259, 170_805_979, 159_345_973,
    145_138_636, 138_394_717, 133_797_422, 135_086_622, 133_275_309, 114_364_328, 107_043_718,
    101_991_189, 90_338_345, 83_257_441, 80_373_285, 58_617_616, 64_444_167, 46_709_983,
    50_818_468, 156_040_895, 57_227_415, 16_569, *[67_800] * 169, 171_823,
]  # fmt: skip
NAMES = [*(f"chr{x}" for x in (*range(1, 23), "X", "Y", "M")), *(f"chrUn_{i}" for i in range(170))]


def write_genome(path: Path, n: int, lengths: list[int] = LENGTHS) -> list[int]:
    """About n bases in the proportions of GRCh38; runs of lower case of 300 bp, 5 % N."""
    rng = np.random.default_rng(0)
    size = LINE * (1_000_000 if n > 60_000_000 else 20_000)
    text = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, size, dtype=np.uint8)]
    edges = np.cumsum(rng.geometric(1 / 300, 2 * size // 300))
    lower = np.searchsorted(edges, np.arange(size)) % 2 == 1
    text = text + (lower * 32).astype(np.uint8)
    text[: size // 20] = ord("N")
    lengths = [max(2 * LENGTH, x * n // sum(lengths)) for x in lengths]
    with path.open("wb") as file:
        for name, length in zip(NAMES, lengths, strict=True):
            file.write(f">{name}\n".encode())
            begin = int(rng.integers(0, size))
            here = np.concatenate([text[begin:], text[:begin]])
            for at in range(0, length, size):
                n_here = min(size, length - at)
                part = here[:n_here]
                whole = n_here // LINE * LINE
                lines = np.full((whole // LINE, LINE + 1), ord("\n"), np.uint8)
                lines[:, :LINE] = part[:whole].reshape(-1, LINE)
                file.write(lines.data)
                if whole < n_here:
                    file.write(part[whole:].tobytes() + b"\n")
    return lengths


def write_bed(path: Path, lengths: list[int], n: int) -> None:
    """Random windows on both strands, in random order."""
    rng = np.random.default_rng(1)
    usable = np.array([x - LENGTH for x in lengths])
    p = usable / usable.sum()
    with path.open("wb") as file:
        for begin in range(0, n, 1_000_000):
            k = min(1_000_000, n - begin)
            contig = rng.choice(len(lengths), k, p=p)
            start = (rng.random(k) * usable[contig]).astype(np.int64)
            names = np.array(NAMES, "S12")[contig]
            strand = np.where(rng.random(k) < 0.5, b"+", b"-")
            file.write(joined([names, digits(start), digits(start + LENGTH), b".", b"0", strand]))


def digits(values: np.ndarray) -> np.ndarray:
    """Numbers as text."""
    return values.astype("S10")


def joined(columns: list) -> bytes:
    """Lines of columns of bytes, separated by tabs."""
    n = max(len(x) for x in columns if isinstance(x, np.ndarray))
    parts = []
    for i, column in enumerate(columns):
        text = np.broadcast_to(np.asarray(column), (n,))
        parts.append(np.ascontiguousarray(text).view(np.uint8).reshape(n, -1))
        end = b"\n" if i == len(columns) - 1 else b"\t"
        parts.append(np.full((n, 1), end[0], np.uint8))
    whole = np.concatenate(parts, axis=1)
    return whole[whole != 0].tobytes()


def write_table(path: Path, n: int) -> None:
    """Rows of 200 bp with a class, as CSV."""
    rng = np.random.default_rng(2)
    with path.open("wb") as file:
        file.write(b"sequence,label\n")
        for begin in range(0, n, 100_000):
            k = min(100_000, n - begin)
            rows = np.full((k, 203), ord("\n"), np.uint8)
            rows[:, :200] = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (k, 200))]
            rows[:, 200] = ord(",")
            rows[:, 201] = rng.integers(0, 2, k) + ord("0")
            file.write(rows.data)


def drop_pages(path: str) -> None:
    """Removes a file from the page cache."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def read_whole(path: str) -> None:
    """Brings a file into the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def parquet_of(path: Path) -> list[Path]:
    """The same table as Parquet, if pyarrow is there."""
    try:
        from pyarrow import csv, parquet
    except ImportError:
        print("scale: rows: pip install pyarrow", file=sys.stderr)
        return []
    out = path.with_suffix(".parquet")
    with csv.open_csv(path) as table, parquet.ParquetWriter(out, table.schema) as file:
        for batch in table:
            file.write_batch(batch)
    return [out]


def write_runs(root: Path, n: int) -> None:
    """The folders, as jobs leave them."""
    from jobs import RUN, finish

    from seqmodel.job import ShellJob

    here = os.getcwd()
    os.chdir(root)
    try:
        job = ShellJob(python="/bin/true")
        settings = [{**RUN, "seed": i % 10, "lr": 1e-6 * (1 + i // 10)} for i in range(n)]
        for replicate in job.create_all(settings):
            finish(Path(replicate.path))
    finally:
        os.chdir(here)
