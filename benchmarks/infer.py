"""What applying a model costs beside the model's own forward pass.

    python benchmarks/infer.py [CASE ...] [--threads 2] [--rounds 5] [--n 20000] [--many 10000000]

    predict   intervals of a FASTA file to TSV, against the bare forward over preloaded batches;
              for the model of the demo, a cnn and a transformer
    variants  SNVs of a VCF, against (1 + ALTs) forwards a site and strand, masked letters against
              one; variants a second of a model that costs nothing, to TSV and to bgzipped VCF
    ism       every other letter at each position, plain, against 3 L forwards and against
              tangermeme; by windows, against plain, at a reach of 37 positions to each side
    memory    peak memory of ten thousand against --many tiles, with a model that costs nothing
    start     a command whose 1,000 parts are done; --help of each verb

Ratios are of one run: both sides take turns, in one process, and the median over the rounds is
given. Prints one JSON line a figure. It gives CPU seconds and clock seconds, for machines that
do other work as well.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MODELS = {
    "demo": {"encoder": "dilated_conv", "n_dims": 48, "n_layers": 6, "kernel_size": 3},
    "cnn": {"encoder": "cnn"},
    "transformer": {"encoder": "transformer"},
}
LENGTH = 200
REACH_37 = {
    "encoder": "dilated_conv",
    "n_dims": 48,
    "n_layers": 3,
    "first_kernel_size": 19,
    "kernel_size": 9,
    "seq_len": 1000,
}


def main() -> None:
    """Runs the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n", type=int, default=20_000, help="inputs of predict")
    parser.add_argument("--many", type=int, default=10_000_000, help="inputs of memory")
    args = parser.parse_args()
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            for figure in CASES[name](Path(folder), args):
                print(json.dumps({"case": name, **figure}), flush=True)


def predict(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """The verb, without its start, against the forward pass alone."""
    import torch

    from seqmodel.infer.command import parts_of, run
    from seqmodel.infer.inputs import IntervalsOf, Reading, with_index
    from seqmodel.infer.rows import Predictor

    torch.set_num_threads(args.threads)
    fasta, bed = genome(folder, args.n)
    for name, hparams in MODELS.items():
        model, checkpoint = trained(folder / name, fasta, bed, hparams, args.threads)
        lines, contigs, store = opened(fasta, bed, model)
        batches = ids_of(IntervalsOf(store, contigs, lines, Reading(model.alphabet, LENGTH)))
        number = iter(range(10**6))

        @torch.no_grad()
        def bare(batches=batches, model=model) -> None:
            for ids in batches:
                model.network.each(ids)

        def verb(
            checkpoint=checkpoint,
            model=model,
            number=number,
            lines=lines,
            contigs=contigs,
            store=store,
        ) -> None:
            out = checkpoint.parent / f"{next(number)}.tsv"
            parts = parts_of("predict", options(checkpoint, fasta, bed, out))
            source = IntervalsOf(store, contigs, lines, Reading(model.alphabet, LENGTH))
            run(parts, with_index(source.chunks()), Predictor(model))

        yield {"model": name, "n": args.n, **ratio(bare, verb, args.rounds)}


def variants(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """SNVs, without the start of the verb, against the forward passes that they need."""
    import torch

    from seqmodel.dataset.seq.store import SequenceStore
    from seqmodel.infer.effects import Effects, Options
    from seqmodel.infer.parts import Parts, apply
    from seqmodel.infer.vcf import VcfFile

    torch.set_num_threads(args.threads)
    fasta, bed = genome(folder, args.n)
    number = iter(range(10**6))

    def verb(model: object, source: VcfFile, suffix: str) -> None:
        effects = Effects(model, SequenceStore.open([fasta], model.alphabet), source, Options())
        if suffix.startswith("vcf"):
            effects.annotate("ID=variants")
        out = folder / f"{next(number)}.{suffix}"
        apply(Parts([str(out)], {}), source.blocks(16384), effects)

    for name, n_alts in (("demo", 1), ("demo", 3), ("masked", 3)):
        task = {"task": "masked", "seq_len": LENGTH} if name == "masked" else {}
        hparams = MODELS["demo"] | task
        model, _ = trained(folder / f"{name}{n_alts}", fasta, bed, hparams, args.threads)
        source = VcfFile(str(snvs(folder, fasta, args.n // 4, n_alts)))
        n_windows = args.n // 4 * 2 * (1 if name == "masked" else 1 + n_alts)
        ids = torch.randint(0, 4, (64, LENGTH), dtype=torch.uint8)

        @torch.no_grad()
        def bare(model=model, ids=ids, n_batches=-(-n_windows // 64)) -> None:
            for _ in range(n_batches):
                model.network.each(ids)

        figure = ratio(bare, lambda m=model, s=source: verb(m, s, "tsv"), args.rounds)
        yield {"model": name, "n_alts": n_alts, **figure, "bar": 0.9}
    yield from variants_of_nothing(snvs(folder, fasta, 5 * args.n, 1, 1000), verb, args)


def variants_of_nothing(
    vcf: Path, verb: Callable[..., None], args: argparse.Namespace
) -> Iterator[dict]:
    """Variants a second, windows of 1,000 on both strands, of a model that costs nothing."""
    import torch

    import seqmodel
    from seqmodel.infer.vcf import VcfFile

    class Nothing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 0, :1]

    model = seqmodel.wrap(Nothing(), seq_len=1000, targets=["x"], batch_size=1024)
    model.network.each = lambda x, pad=None: [x[:, 499:500].float()]  # without its one-hot
    for suffix, bar in (("tsv", 50_000), ("vcf.gz", 20_000)):
        found = []
        for _ in range(args.rounds):
            begin, begin_cpu = time.monotonic(), time.process_time()
            verb(model, VcfFile(str(vcf)), suffix)
            found.append((time.monotonic() - begin, time.process_time() - begin_cpu))
        clock, cpu = (round(5 * args.n / statistics.median(x)) for x in zip(*found, strict=True))
        yield {"out": suffix, "variants_s": clock, "variants_cpu_s": cpu, "bar": bar}


def snvs(folder: Path, fasta: Path, n: int, n_alts: int, reach: int = LENGTH) -> Path:
    """A VCF of n SNVs, sorted, with some ALT alleles each."""
    letters = fasta.read_text().split("\n")[1]
    rng = np.random.default_rng(1)
    places = np.sort(rng.integers(reach, len(letters) - reach, n)).tolist()
    path = folder / f"{n}.{n_alts}.vcf"
    with path.open("w") as file:
        file.write(f"##fileformat=VCFv4.2\n##contig=<ID=a,length={len(letters)}>\n")
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for x in places:
            ref = letters[x]
            alts = "ACGT".replace(ref, "")[:n_alts]
            file.write(f"a\t{x + 1}\trs{x}\t{ref}\t{','.join(alts)}\t.\tPASS\t.\n")
    return path


def ism(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """Mutagenesis of one sequence, against 3 L forwards; by windows, against whole sequences."""
    import torch
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    from seqmodel.infer.ism import Scores, is_local, mutagenesis

    torch.set_num_threads(args.threads)
    fasta, bed = genome(folder, 1000)
    for name, hparams in {**MODELS, "reach 37": REACH_37}.items():
        model, _ = trained(folder / name, fasta, bed, hparams, args.threads)
        length = model.seq_len
        ids = torch.randint(0, 4, (1, length), dtype=torch.uint8)
        scores = Scores(model.network, [1])
        module = model.module("NAL", model.targets.names[1])
        one_hot = torch.nn.functional.one_hot(ids.long(), 4).float().mT.contiguous()

        @torch.no_grad()
        def bare(model=model, ids=ids, n=-(-3 * length // 64)) -> None:
            batch = ids.repeat(64, 1)
            for _ in range(n):
                model.network.each(batch)

        def plain(scores=scores, ids=ids) -> None:
            mutagenesis(scores, ids, None, 64, local=False)

        def by_windows(scores=scores, ids=ids) -> None:
            mutagenesis(scores, ids, None, 64)

        def peer(fast: bool, module=module, x=one_hot) -> None:
            saturation_mutagenesis(
                module, x, hypothetical=True, batch_size=64, fast=fast, device="cpu"
            )

        entry = {"model": name, "length": length}
        yield {**entry, "what": "plain / 3 L forwards", **ratio(bare, plain, args.rounds)}
        found = ratio(lambda p=peer: p(False), plain, args.rounds)
        yield {**entry, "what": "plain / tangermeme", **found, "bar": 1.0}
        if is_local(scores, length, 64):
            found = ratio(plain, by_windows, args.rounds)
            bar = {"bar": 5.0 if name == "reach 37" else None}
            yield {**entry, "what": "by windows / plain", **found, **bar}
            found = ratio(lambda p=peer: p(True), by_windows, args.rounds)
            yield {**entry, "what": "by windows / fast tangermeme", **found, "bar": None}


def memory(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """Peak memory of a process of its own, for few and for many inputs."""
    peaks = {}
    fasta, bed = genome(folder, 1000)
    _, checkpoint = trained(folder / "m", fasta, bed, {"encoder": "cnn", **NULL}, args.threads)
    path = folder / "many.fa"  # the same for both: building its store takes memory of its own
    letters = np.random.default_rng(0).choice(list("ACGT"), args.many + LENGTH - 1)
    path.write_text(f">a\n{''.join(letters)}\n")
    for n in (10_000, args.many):
        stride = f"--stride={args.many // n}"
        words = [f"--checkpoints={checkpoint}", f"--fasta={path}", "--tiles", stride]
        words += [f"--out={folder / f'{n}.tsv'}", "--accelerator=cpu", "--batch_size=1024"]
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-c", PEAK, "predict", *words], capture_output=True)
        if done.returncode:
            raise SystemExit(done.stderr.decode())
        peaks[n] = int(done.stdout.split()[-1]) / 1024
        yield {"n": n, "mb": round(peaks[n]), "s": round(time.monotonic() - begin, 1)}
    few, many = peaks.values()
    yield {"ratio": round(many / few, 3), "bar": 1.05}


def start(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """Seconds of a command that finds its work done, and of --help."""
    fasta, bed = genome(folder, 1000)
    _, checkpoint = trained(folder / "m", fasta, bed, {"encoder": "cnn", **NULL}, args.threads)
    words = [f"--checkpoints={checkpoint}", f"--fasta={fasta}", f"--intervals={bed}"]
    words += [f"--out={folder / 'o.tsv'}", "--chunk_rows=1", "--accelerator=cpu"]
    seconds("predict", *words)
    yield {"what": "done, 1,000 parts", "s": seconds("predict", *words), "bar": 5}
    from seqmodel.cli.verbs import VERBS

    for verb, entry in VERBS.items():
        if entry.target.startswith("cli.infer:"):
            best = min(seconds(verb, "--help") for _ in range(args.rounds))
            yield {"what": f"{verb} --help", "s": best, "bar": 0.3}


CASES: dict[str, Callable[[Path, argparse.Namespace], Iterator[dict]]] = {
    "predict": predict,
    "variants": variants,
    "ism": ism,
    "memory": memory,
    "start": start,
}
NULL = {"n_dims": 4, "n_layers": 1, "seq_len": LENGTH}
PEAK = """
import resource, sys
from seqmodel.cli.verbs import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def genome(folder: Path, n: int) -> tuple[Path, Path]:
    """A FASTA file of one contig, and a BED file of n random windows on it."""
    rng = np.random.default_rng(0)
    fasta, bed = folder / "g.fa", folder / "g.bed"
    fasta.write_text(f">a\n{''.join(rng.choice(list('ACGT'), 1_000_000))}\n")
    starts = rng.integers(0, 1_000_000 - LENGTH, n).tolist()
    strands = rng.choice(["+", "-"], n).tolist()
    rows = zip(starts, strands, strict=True)
    bed.write_text("".join(f"a\t{x}\t{x + LENGTH}\t{x % 2}\t0\t{s}\n" for x, s in rows))
    return fasta, bed


def trained(folder: Path, fasta: Path, bed: Path, hparams: dict, n_threads: int) -> tuple:
    """A model after one step, and its checkpoint."""
    import seqmodel

    with contextlib.redirect_stdout(io.StringIO()):
        values = {
            "task": "classify",
            "dataset": "bed",
            "fasta": [str(fasta)],
            "train_files": [str(bed)],
            "default_root_dir": str(folder),
            "limit_train_batches": 1,
            "max_epochs": 1,
            "accelerator": "cpu",
            "progress": "none",
            "n_threads": n_threads,
        }
        run = seqmodel.train(**values | hparams)
    path = folder / "checkpoints/last.ckpt"
    return run.load("last", device="cpu"), path


def opened(fasta: Path, bed: Path, model: object) -> tuple:
    """What intervals are read from."""
    from seqmodel.dataset.interval.interval import Contigs
    from seqmodel.dataset.interval.stream import IntervalLines
    from seqmodel.dataset.seq.store import SequenceStore

    store = SequenceStore.open([fasta], model.alphabet)
    return IntervalLines(bed), Contigs(store.names, store.lengths), store


def ids_of(source: object, batch_size: int = 64) -> list:
    """The ids of all windows, in batches, in memory."""
    import torch

    from seqmodel.dataset.batch.window import WindowReader, plan_windows

    found = []
    for x in source.chunks():
        reader = WindowReader(x.codes, source.how.alphabet, LENGTH)
        plan = plan_windows(x.codes.offsets, x.codes.lengths, x.contig, x.start, LENGTH, x.flip)
        starts = range(0, len(x), batch_size)
        parts = (plan.part(at, at + batch_size) for at in starts)
        found += [torch.from_numpy(reader.read(part)[0]) for part in parts]
    return found


def options(checkpoint: Path, fasta: Path, bed: Path, out: Path) -> object:
    """What the verb was given."""
    from seqmodel.hparam.infer import PredictHparams

    return PredictHparams(checkpoints=[checkpoint], fasta=[fasta], intervals=bed, out=[out])


def ratio(peer: Callable[[], None], mine: Callable[[], None], rounds: int) -> dict:
    """Seconds of both, in turns, and what part of the peer's speed is reached."""
    clock: dict[str, list[float]] = {"peer": [], "mine": []}
    cpu: dict[str, list[float]] = {"peer": [], "mine": []}
    for _ in range(rounds + 1):  # the first one warms up
        for name, run in (("peer", peer), ("mine", mine)):
            begin, begin_cpu = time.monotonic(), time.process_time()
            run()
            clock[name].append(time.monotonic() - begin)
            cpu[name].append(time.process_time() - begin_cpu)

    def median_ratio(x: dict[str, list[float]]) -> float:
        pairs = zip(x["peer"][1:], x["mine"][1:], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    seconds_of = {f"{k}_s": round(statistics.median(x[1:]), 2) for k, x in clock.items()}
    return {**seconds_of, "ratio": median_ratio(clock), "cpu_ratio": median_ratio(cpu), "bar": 0.95}


def seconds(*words: str) -> float:
    """How long a command takes, start included."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "seqmodel", *words], cwd=ROOT, check=True, **QUIET)
    return round(time.monotonic() - begin, 2)


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
