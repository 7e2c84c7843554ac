"""The whole run, from files on disk to a tested model: seqmodel against others; JSON lines.

    python benchmarks/whole_run.py [demo table tracks] [--peers PEER ...] [--rounds 2] [--threads 2]
        [--rows 3000] [--epochs 2] [--folder DIR] [--options audit=short] [--paths PEER=DIR ...]

- `demo`: the fine-tuning of the demo (BED windows of a FASTA file, a pre-trained encoder) against a
  Lightning script with pyfaidx, and gReLU.
- `table`: GUE's prom_core_tata (4,904 rows of 70 bp; random rows where the files are missing) and a
  transformer, against a loop in PyTorch, and HuggingFace's Trainer with a BERT of equal size.
- `tracks`: windows of 1,000 bp at ChIP-exo peaks of yeast and both strands of a bigWig track
  (random data where the files are missing), against a loop in PyTorch over arrays that pyBigWig
  read, and the same network and loop behind bpnet-lite's loader.

The scripts of the peers are in benchmarks/peers. Each side is one command in a process of its own,
on a fresh copy of the files without caches: same data, layers, batch size, number of steps,
optimizer and threads, float32; validation and a checkpoint after each epoch, and a test of the best
weights at the end. They take turns (A B A B). Each case has four lines: seconds (`wall`), seconds
from the end of the first optimizer step (`steps`), processor seconds (`cpu`) and peak memory of the
process (`memory`). Values are medians over the rounds, and a ratio is the median of the ratios
within a round, above 1 where ours is better. `weights`, `score` and `n_steps` show that both did
the same. Files are looked for in $SEQMODEL_SHARED_DATA, or ../shared/data beside this checkout.

A peer that is not installed is left out. What they need beside `.[demo,tracks,attribute,hf]`:

    pip install pyfaidx pyBigWig accelerate                     plain scripts, HuggingFace's Trainer
    pip install --no-deps --target DIR bpnet-lite               and --paths bpnetlite=DIR
    pip install --no-deps --target DIR gReLU captum==0.5.0 ...  and --paths grelu=DIR

gReLU 1.1.0 asks for captum==0.5.0, enformer-pytorch, genomepy, wandb and 50 more packages: the last
line stands for the list of `pip install --dry-run gReLU`. Only its own process sees the folder.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
SHARED = Path(os.environ.get("SEQMODEL_SHARED_DATA") or ROOT.parent / "shared" / "data")
NEEDS = {  # packages of each peer, and the command that installs them
    "plain": (),
    "hf": ("transformers", "accelerate"),
    "bpnetlite": ("bpnetlite", "tangermeme"),
    "grelu": ("grelu", "captum"),
}
INSTALL = {
    "hf": "pip install transformers accelerate",
    "bpnetlite": "pip install --no-deps --target DIR bpnet-lite, and --paths bpnetlite=DIR",
    "grelu": "pip install --no-deps --target DIR gReLU captum==0.5.0 ..., and --paths grelu=DIR",
}
FIRST = {"seed": 0, "audit": "none", "accelerator": "cpu"}
CONVOLUTIONS = {"encoder": "dilated_conv", "n_layers": 6, "kernel_size": 3, "dropout": 0}


class Measured(NamedTuple):
    """What one process took: seconds, seconds after the first step, processor seconds, MB."""

    wall: float
    steps: float
    cpu: float
    memory: float


UNITS = {"wall": "s", "steps": "s", "cpu": "s", "memory": "MB"}


class Done(NamedTuple):
    """What one process did, to see that all did the same."""

    weights: int
    steps: int
    score: float


class Case(NamedTuple):
    """Files and commands of a case.

    Attributes:
        prepare: Makes the files in a folder, of about a number of training items.
        ours: Hyperparameters of seqmodel, for a folder of files.
        score: Name of the test score that all report.
        peers: Command of each peer, without --epochs and --out.
        rows: Number of training items by default.
        epochs: Number of epochs by default.
    """

    prepare: Callable[[Path, int], None]
    ours: Callable[[Path], dict]
    score: str
    peers: dict[str, Callable[[Path], list[str]]]
    rows: int
    epochs: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--peers", nargs="*", default=list(NEEDS), choices=list(NEEDS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, help="number of training items, about")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--folder", type=Path, help="keeps files and output; unset: temporary")
    parser.add_argument("--options", nargs="*", default=[], help="of seqmodel, as NAME=VALUE")
    parser.add_argument("--paths", nargs="*", default=[], help="packages of a peer, as PEER=DIR")
    args = parser.parse_args()
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory() as temporary:
            compare(name, (args.folder or Path(temporary)) / name, args)


def compare(name: str, folder: Path, args: argparse.Namespace) -> None:
    """Prints the lines of a case."""
    case = CASES[name]
    epochs = args.epochs or case.epochs
    if not (folder / "data").exists():
        (folder / "data").mkdir(parents=True)
        case.prepare(folder / "data", args.rows or case.rows)
    paths = dict(x.split("=", 1) for x in args.paths)
    sides = [x for x in case.peers if x in args.peers and is_there(x, paths.get(x, ""))]
    sides.insert(0, "ours")
    figures: dict[str, list[Measured]] = {side: [] for side in sides}
    done = {}
    for i in range(args.rounds):
        for side in sides:
            place = folder / f"{side}_{i}"
            shutil.copytree(folder / "data", place / "data")
            if side == "ours":
                command = command_of_ours(case, place, epochs, args)
            else:
                command = [sys.executable, *case.peers[side](place / "data")]
                command += [f"--epochs={epochs}", f"--out={place / 'out'}"]
            figures[side].append(measure(command, place, args.threads, paths.get(side)))
            done[side] = what_ours_did(place, case) if side == "ours" else what_peer_did(place)
            print(side, figures[side][-1], done[side], file=sys.stderr, flush=True)
    for peer in sides[1:]:
        if done[peer].steps != done["ours"].steps:
            sys.exit(f"{name}: {done[peer].steps} steps of {peer}, {done['ours'].steps} of ours")
        tell(name, peer, figures, done, args)


def is_there(peer: str, path: str) -> bool:
    """Whether the packages of a peer are installed; tells how if not."""
    missing = [x for x in NEEDS[peer] if not Path(path or "-", x).exists() and not find_spec(x)]
    if missing:
        print(f"without {peer}: no {missing[0]}; {INSTALL[peer]}", file=sys.stderr)
    return not missing


def command_of_ours(case: Case, place: Path, epochs: int, args: argparse.Namespace) -> list[str]:
    values = FIRST | case.ours(place / "data") | {"max_epochs": epochs}
    values |= {"cache_dir": place / "cache", "default_root_dir": place / "out"}
    return [*seqmodel(values), *(f"--{x}" for x in args.options)]


def seqmodel(values: dict) -> list[str]:
    """The command line of a run."""
    words = [sys.executable, str(ROOT / "seqmodel/run.py")]
    for name, value in values.items():
        several = list(map(str, value)) if isinstance(value, list) else [str(value)]
        words += [f"--{name}", *several] if len(several) > 1 else [f"--{name}={several[0]}"]
    return words


def measure(command: list[str], place: Path, threads: int, path: str | None = None) -> Measured:
    """Runs a command in a process of its own; the output is kept in `place`."""
    mark = place / "first_step"
    paths = [str(PEERS / "first_step"), path, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "FIRST_STEP_FILE": str(mark),
        "OMP_NUM_THREADS": str(threads),
    }
    with open(place / "stdout", "w") as out, open(place / "stderr", "w") as err:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment, cwd=place)
        _, status, used = os.wait4(process.pid, 0)
        end = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(
            f"{' '.join(command)}\n"
            f"ended with exit code {process.returncode}:\n{(place / 'stderr').read_text()}"
        )
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS
    memory = used.ru_maxrss * unit / 1e6
    cpu = used.ru_utime + used.ru_stime  # and of its children that have ended
    return Measured(end - start, end - float(mark.read_text()), cpu, memory)


def what_ours_did(place: Path, case: Case) -> Done:
    usage = json.loads((place / "out/usage.json").read_text())
    with open(place / "out/metrics.csv", newline="") as file:
        scores = [row[case.score] for row in csv.DictReader(file) if row.get(case.score)]
    return Done(usage["n_weights"], usage["step"], float(scores[-1]))


def what_peer_did(place: Path) -> Done:
    return Done(**json.loads((place / "stdout").read_text().splitlines()[-1]))


def tell(
    name: str,
    peer: str,
    figures: dict[str, list[Measured]],
    done: dict[str, Done],
    args: argparse.Namespace,
) -> None:
    """Prints a line for each figure."""
    for kind, unit in UNITS.items():
        ours, theirs = ([getattr(x, kind) for x in figures[side]] for side in ("ours", peer))
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        line = {"case": f"{name}_{kind}", "ours": round(statistics.median(ours), 2), "peer": peer}
        line |= {"peer_value": round(statistics.median(theirs), 2), "unit": unit}
        line |= {"ratio": round(statistics.median(ratios), 3)}
        line |= {"ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3)}
        line |= {"n_steps": done["ours"].steps, "rounds": args.rounds, "threads": args.threads}
        for what in ("weights", "score"):
            pair = [getattr(done[side], what) for side in ("ours", peer)]
            line[what] = [round(x, 4) for x in pair]
        print(json.dumps(line | {"torch": version("torch")}), flush=True)


def evenly(lines: list[str], n_wanted: int) -> list[str]:
    """That many lines, at equal distances; all if there are fewer."""
    n = min(n_wanted, len(lines))
    return [lines[i * len(lines) // n] for i in range(n)]


def prepare_demo(folder: Path, n: int) -> None:
    """Some windows of the demo, and a pre-trained encoder."""
    with gzip.open(ROOT / "data/demo/umaydis.fa.gz") as file:
        (folder / "genome.fa").write_bytes(file.read())
    lines = (ROOT / "data/demo/windows.bed").read_text().splitlines(keepends=True)
    # a share of 0.7 is in the contigs of training
    (folder / "windows.bed").write_text("".join(evenly(lines, round(n / 0.7))))
    values = {"task": "masked", "fasta": folder / "genome.fa", "seq_len": 256, "n_dims": 48}
    values |= {"valid_contigs": "chr06", "max_steps": 4, "limit_val_batches": 1}
    values |= {"cache_dir": folder.parent / "cache", "default_root_dir": folder.parent / "before"}
    subprocess.run(seqmodel(values | CONVOLUTIONS), check=True, stdout=subprocess.DEVNULL)
    shutil.copy(folder.parent / "before/checkpoints/best.ckpt", folder / "encoder.ckpt")


def demo(data: Path) -> dict:
    """The fine-tuning of examples/demo.py."""
    return {
        "task": "classify",
        "dataset": "bed",
        "fasta": data / "genome.fa",
        "intervals": data / "windows.bed",
        "class_names": ["intergenic", "coding"],
        "valid_contigs": "chr06",
        "test_contigs": "chr07",
        "load_encoder_from_checkpoint": data / "encoder.ckpt",
        "batch_size": 32,
        "lr": 2e-3,
        "schedule": "cosine",
        "warmup_steps": 10,
    }


def demo_peer(script: str) -> Callable[[Path], list[str]]:
    def command(data: Path) -> list[str]:
        files = [f"--fasta={data / 'genome.fa'}", f"--bed={data / 'windows.bed'}"]
        return [str(PEERS / script), *files, f"--checkpoint={data / 'encoder.ckpt'}"]

    return command


def prepare_table(folder: Path, n: int) -> None:
    """The files of GUE, or random rows; fewer rows if fewer are wanted."""
    source, rng = SHARED / "gue/prom/prom_core_tata", random.Random(0)
    for split, all_ in {"train": 4904, "dev": 613, "test": 613}.items():
        if (source / f"{split}.csv.gz").exists():
            with gzip.open(source / f"{split}.csv.gz", "rt") as file:
                lines = file.read().splitlines()[1:]
        else:
            lines = [f"{''.join(rng.choices('ACGT', k=70))},{i % 2}" for i in range(all_)]
        lines = evenly(lines, max(all_ * n // 4904, 16))
        with gzip.open(folder / f"{split}.csv.gz", "wt") as file:
            file.write("\n".join(["sequence,label", *lines]) + "\n")


def table(data: Path) -> dict:
    """A transformer on the table."""
    sizes = {"n_dims": 128, "n_layers": 4, "n_heads": 4, "n_ff": 512, "dropout": 0}
    files = {"train_files": "train", "valid_files": "dev", "test_files": "test"}
    return (
        {"task": "classify", "dataset": "table", "encoder": "transformer"}
        | {name: data / f"{split}.csv.gz" for name, split in files.items()}
        | sizes
        | {"batch_size": 32, "lr": 3e-4}
    )


def table_peer(script: str) -> Callable[[Path], list[str]]:
    def command(data: Path) -> list[str]:
        files = {"train": "train", "valid": "dev", "test": "test"}
        return [str(PEERS / script), *(f"--{x}={data / y}.csv.gz" for x, y in files.items())]

    return command


def prepare_tracks(folder: Path, n: int) -> None:
    """Windows of 1,000 bp that do not overlap, at peaks of yeast, with tracks of both strands."""
    source = SHARED / "yeast_sacCer3"
    if not source.exists():
        random_tracks(folder, n)
        return
    with gzip.open(source / "sacCer3.fa.gz") as file:
        (folder / "genome.fa").write_bytes(file.read())
    for strand in ("plus", "minus"):
        shutil.copy(source / f"stripeseq_WT_pooled.{strand}.bw", folder / f"{strand}.bw")
    sizes = dict(x.split() for x in (source / "sacCer3.chrom.sizes").read_text().splitlines())
    with gzip.open(source / "chipexo_rossi2021_peaks.bed.gz", "rt") as file:
        peaks = sorted({(x.split()[0], int(x.split()[1])) for x in file})
    windows, last = [], ("", 0)
    for contig, peak in peaks:
        start = peak - 500
        if start >= (last[1] if contig == last[0] else 0) and start + 1000 <= int(sizes[contig]):
            windows.append(f"{contig}\t{start}\t{start + 1000}\n")
            last = (contig, start + 1000)
    # a share of 0.77 is in the contigs of training
    (folder / "peaks.bed").write_text("".join(evenly(windows, round(n / 0.77))))


def random_tracks(folder: Path, n: int) -> None:
    """Random files of the same form: contigs of the splits, sparse counts."""
    rng = random.Random(0)
    shares = {"chrI": 0.77, "chrXIV": 0.08, "chrXV": 0.15}
    sizes = {contig: 1000 * max(2, round(n / 0.77 * share)) for contig, share in shares.items()}
    fasta = (f">{x}\n{''.join(rng.choices('ACGT', k=size))}\n" for x, size in sizes.items())
    (folder / "genome.fa").write_text("".join(fasta))
    windows = (f"{x}\t{i}\t{i + 1000}\n" for x, size in sizes.items() for i in range(0, size, 1000))
    (folder / "peaks.bed").write_text("".join(windows))
    for strand in ("plus", "minus"):
        at = {x: sorted(rng.sample(range(size), size // 20)) for x, size in sizes.items()}
        counts = {x: [float(rng.randint(1, 9)) for _ in places] for x, places in at.items()}
        write_bigwig(folder / f"{strand}.bw", sizes, at, counts)


def write_bigwig(path: Path, sizes: dict, at: dict, counts: dict) -> None:
    import pyBigWig

    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(sizes.items()))
        for contig, starts in at.items():
            file.addEntries(contig, starts, values=counts[contig], span=1)


def tracks(data: Path) -> dict:
    """Profiles of both strands at single bp, in the middle 800 bp."""
    return {
        "task": "profile",
        "dataset": "tracks",
        "fasta": data / "genome.fa",
        "intervals": data / "peaks.bed",
        "tracks": [data / "plus.bw", data / "minus.bw"],
        "track_strands": ["+", "-"],
        "seq_len": 1000,
        "target_len": 800,
        "bin_len": 1,
        "crop_bins": 100,
        "valid_contigs": "chrXIV",
        "test_contigs": ["chrXV", *(["chrXVI"] if (SHARED / "yeast_sacCer3").exists() else [])],
        "n_dims": 32,
        "batch_size": 32,
        "lr": 1e-3,
    } | CONVOLUTIONS


def tracks_peer(loader: str) -> Callable[[Path], list[str]]:
    def command(data: Path) -> list[str]:
        files = [f"--fasta={data / 'genome.fa'}", f"--bed={data / 'peaks.bed'}"]
        files += ["--tracks", str(data / "plus.bw"), str(data / "minus.bw")]
        return [str(PEERS / "plain_tracks.py"), *files, f"--loader={loader}"]

    return command


CASES = {
    "demo": Case(
        prepare_demo,
        demo,
        "test_auroc",
        {"plain": demo_peer("plain_demo.py"), "grelu": demo_peer("grelu_demo.py")},
        rows=5000,
        epochs=3,
    ),
    "table": Case(
        prepare_table,
        table,
        "test_auroc",
        {"plain": table_peer("plain_table.py"), "hf": table_peer("hf_table.py")},
        rows=4904,
        epochs=2,
    ),
    "tracks": Case(
        prepare_tracks,
        tracks,
        "test_pearson",
        {"plain": tracks_peer("plain"), "bpnetlite": tracks_peer("bpnetlite")},
        rows=3000,
        epochs=2,
    ),
}


if __name__ == "__main__":
    main()
