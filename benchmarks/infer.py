"""What applying a model costs beside the model's own forward pass.

    python benchmarks/infer.py [CASE ...] [--threads 2] [--rounds 5] [--n 20000] [--many 10000000]
                               [--device cpu] [--models demo cnn transformer]

    predict   intervals of a FASTA file to TSV, against the bare forward over preloaded batches;
              for the model of the demo, a cnn and a transformer
    embed     the same to .npz, against the encoder and the mean over positions
    variants  SNVs of a VCF, against (1 + ALTs) forwards a site and strand, masked letters against
              one; variants a second of a model that costs nothing, to TSV and to bgzipped VCF
    ism       every other letter at each position, plain, against 3 L forwards and against
              tangermeme; by windows, against plain, at a reach of 37 positions to each side
    memory    peak memory of ten thousand against --many tiles, with a model that costs nothing
    start     a command whose 1,000 parts are done; --help of each verb

Ratios are of one run: both sides take turns, in one process, and the median over the rounds is
given. Prints one JSON line a figure; `cpu_ratio` is that of the processor seconds, for machines
that do other work as well, and `bar` is what the ratio should reach.
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

Figures = Iterator[tuple[str, dict]]
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
    parser.add_argument("--device", default="cpu", help="cpu or cuda, of predict to ism")
    parser.add_argument("--models", nargs="*", default=[*MODELS, "reach 37"], help="of predict ...")
    parser.add_argument("--many", type=int, default=10_000_000, help="inputs of memory")
    args = parser.parse_args()
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            for what, figure in CASES[name](Path(folder), args):
                more = {"card": card(args.device)}
                print(json.dumps({"case": f"{name} {what}", **figure, **more}), flush=True)


def predict(folder: Path, args: argparse.Namespace) -> Figures:
    """The verb, without its start, against the forward pass alone."""
    from seqmodel.hparam.infer import PredictHparams
    from seqmodel.infer.rows import Predictor

    def bare(model: object, ids: object) -> None:
        model.network.each(ids)

    for name, *both in of_intervals(
        folder, args, bare, "tsv", PredictHparams, lambda model, _: Predictor(model)
    ):
        yield name, ratio(*both, args.rounds, "bare forward", 0.95)


def embed(folder: Path, args: argparse.Namespace) -> Figures:
    """The verb, without its start, against the encoder and the mean over positions alone."""
    from seqmodel.hparam.infer import EmbedHparams
    from seqmodel.infer.embed import Embedder

    def bare(model: object, ids: object) -> None:
        model.members[0].task.encoder(ids, None).mean(1)

    for name, *both in of_intervals(folder, args, bare, "npz", EmbedHparams, Embedder):
        yield name, ratio(*both, args.rounds, "bare forward", 0.95)


def of_intervals(
    folder: Path,
    args: argparse.Namespace,
    forward: Callable[[object, object], None],
    suffix: str,
    hparams_class: type,
    computing: Callable[[object, object], object],
) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """Name of a model, the bare forward over all windows, and the verb over the same."""
    import torch

    from seqmodel.infer.command import parts_of, run
    from seqmodel.infer.inputs import IntervalsOf, Reading, with_index

    torch.set_num_threads(args.threads)
    fasta, bed = genome(folder, args.n)
    for name, hparams in {k: x for k, x in MODELS.items() if k in args.models}.items():
        model, checkpoint = trained(folder / name, fasta, bed, hparams, args.threads, args.device)
        lines, contigs, store = opened(fasta, bed, model)
        source = IntervalsOf(store, contigs, lines, Reading(model.alphabet, LENGTH))
        batches = [ids.to(args.device) for ids in ids_of(source)]
        number = iter(range(10**6))

        @torch.no_grad()
        def bare(batches=batches, model=model) -> None:
            for ids in batches:
                forward(model, ids)
            finish(args.device)

        def verb(
            checkpoint=checkpoint,
            model=model,
            number=number,
            lines=lines,
            contigs=contigs,
            store=store,
        ) -> None:
            out = checkpoint.parent / f"{next(number)}.{suffix}"
            given = {"checkpoints": [checkpoint], "fasta": [fasta], "intervals": bed, "out": [out]}
            hparams = hparams_class(**given)
            parts = parts_of(suffix, hparams)
            source = IntervalsOf(store, contigs, lines, Reading(model.alphabet, LENGTH))
            run(parts, with_index(source.chunks()), computing(model, hparams))

        yield name, bare, verb


def variants(folder: Path, args: argparse.Namespace) -> Figures:
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
        apply(Parts([str(out)], {}), source.blocks(8192), effects)

    for name, n_alts in (("demo", 1), ("demo", 3), ("masked", 3)):
        task = {"task": "masked", "seq_len": LENGTH} if name == "masked" else {}
        hparams = MODELS["demo"] | task
        where = folder / f"{name}{n_alts}"
        model, _ = trained(where, fasta, bed, hparams, args.threads, args.device)
        source = VcfFile(str(snvs(folder, fasta, args.n // 4, n_alts)))
        n_windows = args.n // 4 * 2 * (1 if name == "masked" else 1 + n_alts)
        ids = torch.randint(0, 4, (64, LENGTH), dtype=torch.uint8, device=args.device)

        @torch.no_grad()
        def bare(model=model, ids=ids, n_batches=-(-n_windows // 64)) -> None:
            for _ in range(n_batches):
                model.network.each(ids)
            finish(args.device)

        peer = "one forward a site and strand" if name == "masked" else "(1 + ALTs) forwards"
        of = lambda m=model, s=source: verb(m, s, "tsv")  # noqa: E731
        yield f"{name}, {n_alts} ALT", ratio(bare, of, args.rounds, peer, 0.9)
    yield from variants_of_nothing(snvs(folder, fasta, 5 * args.n, 1, 1000), verb, args)


def variants_of_nothing(vcf: Path, verb: Callable[..., None], args: argparse.Namespace) -> Figures:
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
        more = {"ours_cpu": cpu}
        yield f"null encoder to {suffix}", against_bar(clock, bar, "variants/s") | more


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


def ism(folder: Path, args: argparse.Namespace) -> Figures:
    """Mutagenesis of one sequence, against 3 L forwards; by windows, against whole sequences."""
    import torch

    from seqmodel.infer.ism import Scores, is_local, mutagenesis

    try:
        from tangermeme.saturation_mutagenesis import saturation_mutagenesis
    except ImportError as e:
        print(f"ism: without tangermeme ({e}): pip install tangermeme", file=sys.stderr)
        saturation_mutagenesis = None

    torch.set_num_threads(args.threads)
    fasta, bed = genome(folder, 1000)
    models = {**MODELS, "reach 37": REACH_37}
    for name in [x for x in models if x in args.models]:
        where, hparams = folder / name, models[name]
        model, _ = trained(where, fasta, bed, hparams, args.threads, args.device)
        length = model.seq_len
        ids = torch.randint(0, 4, (1, length), dtype=torch.uint8, device=args.device)
        scores = Scores(model.network, [1])
        module = model.module("NAL", model.targets.names[1])
        one_hot = torch.nn.functional.one_hot(ids.long().cpu(), 4).float().mT.contiguous()

        @torch.no_grad()
        def bare(model=model, ids=ids, n=-(-3 * length // 64)) -> None:
            batch = ids.repeat(64, 1)
            for _ in range(n):
                model.network.each(batch)
            finish(args.device)

        def plain(scores=scores, ids=ids) -> None:
            mutagenesis(scores, ids, None, 64, local=False)
            finish(args.device)

        def by_windows(scores=scores, ids=ids) -> None:
            mutagenesis(scores, ids, None, 64)
            finish(args.device)

        def peer(fast: bool, module=module, x=one_hot) -> None:
            saturation_mutagenesis(
                module, x, hypothetical=True, batch_size=64, fast=fast, device=args.device
            )
            finish(args.device)

        yield f"{name}, plain", ratio(bare, plain, args.rounds, "3 L forwards", 0.95)
        if saturation_mutagenesis is not None:
            found = ratio(lambda p=peer: p(False), plain, args.rounds, "tangermeme", 1.0)
            yield f"{name}, plain", found
        if is_local(scores, length, 64):
            bar = 5.0 if name == "reach 37" else None
            yield f"{name}, by windows", ratio(plain, by_windows, args.rounds, "plain", bar)
            if saturation_mutagenesis is None:
                continue
            found = ratio(lambda p=peer: p(True), by_windows, args.rounds, "fast tangermeme", None)
            yield f"{name}, by windows", found


def memory(folder: Path, args: argparse.Namespace) -> Figures:
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
        print(f"{n:,} inputs: {peaks[n]:.0f} MB, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    few, many = peaks.values()
    yield f"of {args.many:,}", line(many, "10,000 inputs", few, "MB", few / many, 0.95)


def start(folder: Path, args: argparse.Namespace) -> Figures:
    """Seconds of a command that finds its work done, and of --help."""
    fasta, bed = genome(folder, 1000)
    _, checkpoint = trained(folder / "m", fasta, bed, {"encoder": "cnn", **NULL}, args.threads)
    words = [f"--checkpoints={checkpoint}", f"--fasta={fasta}", f"--intervals={bed}"]
    words += [f"--out={folder / 'o.tsv'}", "--chunk_rows=1", "--accelerator=cpu"]
    seconds("predict", *words)
    yield "done, 1,000 parts", against_bar(seconds("predict", *words), 5, "s")
    from seqmodel.cli.verbs import VERBS

    for verb, entry in VERBS.items():
        if entry.target.startswith("cli.infer:"):
            best = min(seconds(verb, "--help") for _ in range(args.rounds))
            yield f"{verb} --help", against_bar(best, 0.3, "s")


CASES: dict[str, Callable[[Path, argparse.Namespace], Figures]] = {
    "predict": predict,
    "embed": embed,
    "variants": variants,
    "ism": ism,
    "memory": memory,
    "start": start,
}
NULL = {"n_dims": 4, "n_layers": 1, "seq_len": LENGTH}
PEAK = """
import sys
from seqmodel.cli.verbs import main
code = main(sys.argv[1:])
# not ru_maxrss, which is that of the parent where the parent is larger
print(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")).split()[1])
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


def finish(device: str) -> None:
    """Waits for what a card was asked to do."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def card(device: str) -> str:
    """The name of the card, or of what else computes."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def trained(
    folder: Path, fasta: Path, bed: Path, hparams: dict, n_threads: int, device: str = "cpu"
) -> tuple:
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
    return run.load("last", device=device), path


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


def ratio(
    peer: Callable[[], None],
    mine: Callable[[], None],
    rounds: int,
    name: str,
    bar: float | None,
) -> dict:
    """Seconds of both, in turns, and what part of the peer's speed is reached."""
    clock: dict[str, list[float]] = {"peer": [], "mine": []}
    cpu: dict[str, list[float]] = {"peer": [], "mine": []}
    for _ in range(rounds + 1):  # the first one warms up
        for side, run in (("peer", peer), ("mine", mine)):
            begin, begin_cpu = time.monotonic(), time.process_time()
            run()
            clock[side].append(time.monotonic() - begin)
            cpu[side].append(time.process_time() - begin_cpu)

    def median_ratio(x: dict[str, list[float]]) -> float:
        pairs = zip(x["peer"][1:], x["mine"][1:], strict=True)
        return statistics.median(a / b for a, b in pairs)

    theirs, ours = (statistics.median(clock[x][1:]) for x in ("peer", "mine"))
    found = line(ours, name, theirs, "s", median_ratio(clock), bar)
    return found | {"cpu_ratio": round(median_ratio(cpu), 3)}


def against_bar(ours: float, bar: float, unit: str) -> dict:
    """A figure without a peer, beside what it should be."""
    return line(ours, "the bar", bar, unit, bar / ours if unit == "s" else ours / bar, 1)


def line(
    ours: float, peer: str, peer_value: float, unit: str, ratio: float, bar: float | None
) -> dict:
    """What one JSON line says; a ratio above 1: ours is better."""
    values = {"ours": round(ours, 3), "peer": peer, "peer_value": round(peer_value, 3)}
    return {**values, "unit": unit, "ratio": round(ratio, 3), "bar": bar}


def seconds(*words: str) -> float:
    """How long a command takes, start included."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-m", "seqmodel", *words], cwd=ROOT, check=True, **QUIET)
    return round(time.monotonic() - begin, 2)


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
