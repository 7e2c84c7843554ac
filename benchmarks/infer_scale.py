"""What applying a model does with millions of inputs, with large records, and when it is killed.

    python benchmarks/infer_scale.py [CASE ...] [--parts 16] [--kills 10] [--n_snvs 100000] ...

    snvs      every SNV of a stretch of the demo's test contig, by the model of the demo: in one
              process, and in --parts parts that are killed --kills times at random moments
    null      the same for --n_null SNVs of a synthetic genome, by a model that costs nothing
    vcf       a VCF of --vcf_mb megabytes, of 3,000 samples, and one of long INFO fields; the
              records that come out are those that went in, byte for byte but for what is added
    laws      --n_laws random variants of nine kinds: their scores on the reverse complement of the
              genome, with the variants lifted, and after `bcftools norm -m-`
    memory    peak memory of --few against --many inputs of predict and of variants

A child process does the work of each figure, with one thread by default. Prints one JSON line a
figure: clock seconds, CPU seconds, peak memory in MB. Nothing has a limit in time; a file that is
not what it must be is an error, exit code 1. Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from infer import MODELS, ROOT, trained

DEMO = ROOT / "data/demo"
CONTIG = "chr07"
LENGTH = 200
LINE_BASES = 1_000_000
HEAD = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"

# a verb in a process of its own; ru_maxrss would be that of the parent where the parent is larger
VERB = """
import json, os, sys
from seqmodel.cli.verbs import main
code = main(sys.argv[2:])
lines = dict(x.split(":", 1) for x in open("/proc/self/status"))
with open(sys.argv[1], "w") as file:
    json.dump({"mb": int(lines["VmHWM"].split()[0]) // 1024, "cpu_s": sum(os.times()[:2])}, file)
sys.exit(code)
"""
NET = """
import torch

class Middle(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.5, 1.0, 0.25]))

    def forward(self, x):
        at = (x.shape[1] - 1) // 2
        return (x[:, at - 1 : at + 2].float() @ self.weight)[:, None]
"""


def main() -> None:
    """Runs the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--parts", type=int, default=16)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--chunk_rows", type=int, default=500, help="records in a part of snvs")
    parser.add_argument("--n_snvs", type=int, default=100_000)
    parser.add_argument("--n_null", type=int, default=10_000_000)
    parser.add_argument("--vcf_mb", type=int, default=1000)
    parser.add_argument("--n_laws", type=int, default=20_000)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=10_000_000)
    parser.add_argument("--inputs", nargs="*", choices=list(INPUTS), help="of memory; all if unset")
    parser.add_argument("--folder", type=Path, help="for the files; a temporary one by default")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ["PYTHONPATH"] = str(ROOT)
    for name in args.cases or CASES:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for figure in CASES[name](Path(folder), args):
                print(json.dumps({"case": name, **figure}), flush=True)


def snvs(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """All three SNVs at each position of a stretch, by a model like that of the demo."""
    from seqmodel.dataset.seq.alphabet import DNA
    from seqmodel.dataset.seq.store import SequenceStore

    fasta = DEMO / "umaydis.fa.gz"
    hparams = {**MODELS["demo"], "class_names": ["intergenic", "coding"]}
    _, checkpoint = trained(folder / "demo", fasta, DEMO / "windows.bed", hparams, args.threads)
    store = SequenceStore.open([str(fasta)], DNA, quiet=True)
    text = store.text(CONTIG)
    at = text.rindex("N", 0, len(text) // 2) + 1  # bases alone from here on
    text = text[at : at + -(-args.n_snvs // 3)]
    vcf = write_snvs(folder / "in.vcf", CONTIG, text, 3, at)
    words = [f"--checkpoints={checkpoint}", f"--fasta={fasta}", f"--variants={vcf}"]
    words += [f"--chunk_rows={args.chunk_rows}", f"--n_threads={args.threads}"]
    yield from whole_and_killed(folder, words, args, n=3 * len(text))


def null(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """SNVs by a model that costs nothing: what reading, cutting and writing costs."""
    text = synthetic(folder / "g.fa", args.n_null + 2 * LENGTH)
    vcf = write_snvs(folder / "in.vcf", "a", text[LENGTH:-LENGTH], 1, LENGTH)
    words = [*null_model(folder), f"--fasta={folder / 'g.fa'}", f"--variants={vcf}"]
    yield from whole_and_killed(folder, words, args, n=args.n_null)


def whole_and_killed(
    folder: Path, words: list[str], args: argparse.Namespace, n: int
) -> Iterator[dict]:
    """The verb variants in one process, then in parts that are killed, and whether both agree."""
    names = ("out.vcf", "out.tsv")
    one, many = (folder / x for x in ("one", "many"))
    figures = {}
    for where in (one, many):
        where.mkdir()
        outs = [str(where / x) for x in names]
        command = ["variants", *words, "--out", *outs]
        if where == one:
            figures[where] = figure = work(command)
            yield {"n": n, "parts": 1, **figure, "per_s": round(n / figure["s"])}
            continue
        seconds = figures[one]["s"] / args.parts
        figure = in_parts(command, args.parts, args.kills, seconds, args.seed)
        work(["merge", f"{outs[0]}.parts"])
        left = sorted(x.name for x in where.rglob("*") if x.is_file() and x.name not in names)
        yield {"n": n, "parts": args.parts, **figure, "left": left}
    for name in names:
        demand(filecmp.cmp(one / name, many / name, shallow=False), f"{name} differs")
    demand(left == ["apply.json", "end.json"], f"files are left behind: {left}")
    yield {"n": n, "equal": True, "mb_out": sum((one / x).stat().st_size for x in names) >> 20}


def in_parts(command: list[str], n_parts: int, n_kills: int, seconds: float, seed: int) -> dict:
    """Makes the parts one after the other, each killed and started again at random moments."""
    rng = np.random.default_rng(seed)
    kills = np.bincount(rng.integers(0, n_parts, n_kills), minlength=n_parts)
    begin, n_killed, peak, most = time.monotonic(), 0, 0, 2 + seconds
    for k in range(1, n_parts + 1):
        wanted = int(kills[:k].sum())
        part = [*command, f"--part={k}/{n_parts}"]
        while n_killed < wanted:
            child = start(part, Path(command[-1]).parents[1] / "killed.json")
            moment = rng.uniform(0, most)
            try:
                child.wait(moment)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                n_killed += 1
                continue
            most = max(0.1, moment / 2)  # it had come to its end: earlier next time
        figure = work(part)
        peak, most = max(peak, figure["mb"]), 2 + seconds
    return {"killed": n_killed, "s": round(time.monotonic() - begin, 1), "mb": peak}


def vcf(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """A large VCF: its memory, and that all records stay as they were."""
    text = synthetic(folder / "g.fa", 2_000_000)
    model = null_model(folder)
    for kind in ("samples", "info"):
        source, out = folder / f"{kind}.vcf", folder / f"{kind}.out.vcf"
        n = write_large(source, text, args.vcf_mb * 1_000_000, kind)
        words = [*model, f"--fasta={folder / 'g.fa'}", f"--variants={source}"]
        figure = work(["variants", *words, "--out", str(out), str(folder / f"{kind}.tsv")])
        n_same = n_same_records(source, out)
        demand(n_same == n, f"{kind}: {n_same} of {n} records are as they were")
        size = source.stat().st_size
        yield {"kind": kind, "records": n, "mb_in": size // 1_000_000, **figure, "same": n_same}
        for path in (source, out):
            path.unlink()


def laws(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """Scores do not depend on the strand of the genome, nor on how a variant is written."""
    from pysam import bcftools

    text = synthetic(folder / "g.fa", max(20_000, 10 * args.n_laws))
    (folder / "rc.fa").write_text(f">a\n{turned(text)}\n")
    (folder / "g.bed").write_text(f"a\t0\t{LENGTH}\t0\na\t{LENGTH}\t{2 * LENGTH}\t1\n")
    hparams = {"encoder": "cnn", "n_dims": 16, "n_layers": 2, "seq_len": LENGTH}
    _, checkpoint = trained(folder / "m", folder / "g.fa", folder / "g.bed", hparams, args.threads)
    found = sorted(random_variants(text, args.n_laws))
    lifted = [
        (len(text) - at - len(ref), turned(ref), list(map(turned, alts))) for at, ref, alts in found
    ]
    tables = {}
    for name, variants in (("g", found), ("rc", lifted)):
        vcf, fasta = write_variants(folder / f"{name}.vcf", variants, len(text)), f"{name}.fa"
        tables[name] = scores(folder, checkpoint, folder / fasta, vcf)
    here, there = (x["score"] for x in tables.values())
    same_length = np.array([len(r) == len(a) for _, r, alts in found for a in alts])
    unequal = int((here != there)[same_length].sum())
    demand(unequal == 0, f"{unequal} substitutions have another score on the other strand")
    most, sd = float(np.abs(here - there).max()), float(here.std())
    demand(most <= 1e-6, f"scores of the other strand differ by {most}")
    yield {"law": "reverse complement", "alleles": len(here), "sd": sd, "most": most}
    split = folder / "split.vcf"
    norm = ("-m-", "-f", str(folder / "g.fa"), "-o", str(split), str(folder / "g.vcf"))
    bcftools.norm(*norm, catch_stdout=False)
    other = scores(folder, checkpoint, folder / "g.fa", split)
    here, there = (sorted(zip(x["id"], x["score"], strict=True)) for x in (tables["g"], other))
    demand([x[0] for x in here] == [x[0] for x in there], "bcftools norm has lost alleles")
    most = max(abs(a[1] - b[1]) for a, b in zip(here, there, strict=True))
    demand(most <= 1e-6, f"bcftools norm changes scores by {most}")
    yield {"law": "bcftools norm", "alleles": len(here), "sd": sd, "most": most}


def scores(folder: Path, checkpoint: Path, fasta: Path, vcf: Path) -> dict[str, np.ndarray]:
    """The first score of each allele, and the ID of its record."""
    out = folder / f"{vcf.stem}.tsv"
    words = [f"--checkpoints={checkpoint}", f"--fasta={fasta}", f"--variants={vcf}"]
    work(["variants", *words, f"--out={out}"])
    rows = [x.split("\t") for x in out.read_text().splitlines()]
    at = next(i for i, x in enumerate(rows[0]) if x.endswith("_diff"))
    demand({x[5] for x in rows[1:]} <= {"ok", "padded"}, f"{out}: alleles are not scored")
    ids = [x.split("\t")[2] for x in vcf.read_text().splitlines() if x[0] != "#"]
    return {
        "id": np.array([int(ids[int(x[0])]) for x in rows[1:]]),
        "score": np.array([float(x[at]) for x in rows[1:]]),
    }


def random_variants(text: str, n: int) -> Iterator[tuple[int, str, list[str]]]:
    """(position from 0, REF, ALT alleles), of nine kinds in turn, also at the ends."""
    rng = np.random.default_rng(3)

    def bases(n: int) -> str:
        return "".join(rng.choice(list("ACGT"), n))

    for i in range(n):
        at = int(rng.integers(0, len(text) - 100))
        at = {0: i % 5, 1: len(text) - 10 - i % 5}.get(i // 9 % 100, at)
        few = int(rng.integers(2, 9))
        one, some, unit = text[at], text[at : at + few], text[at + 1 : at + 1 + few // 3 + 1]
        snv = OTHERS[one][i % 3]
        cases = (
            (one, [snv]),
            (some, [OTHERS[some[0]][0] + bases(few - 2) + OTHERS[some[-1]][1]]),
            (one, [one + bases(few)]),
            (some, [one]),
            (some, [snv + bases(few // 2)]),
            (text[at : at + 90], [one]),
            (one, [one + bases(250)]),
            (one, [one + unit * 3]),  # repeats what follows
            (some, [OTHERS[one][0] + some[1:], one, some + bases(2)]),
        )
        ref, alts = cases[i % 9]
        yield at, ref, [x for x in dict.fromkeys(alts) if x != ref]


def write_variants(path: Path, variants: list, length: int) -> Path:
    """A VCF of variants; their numbers are the IDs."""
    head = f"##fileformat=VCFv4.2\n##contig=<ID=a,length={length}>\n{HEAD}\n"
    lines = [
        f"a\t{at + 1}\t{i}\t{ref}\t{','.join(alts)}\t.\t.\t.\n"
        for i, (at, ref, alts) in enumerate(variants)
    ]
    path.write_text(head + "".join(lines))
    return path


def turned(text: str) -> str:
    """The reverse complement."""
    return text[::-1].translate(COMPLEMENT)


def memory(folder: Path, args: argparse.Namespace) -> Iterator[dict]:
    """Peak memory for few and for many inputs; the genome is the same for both."""
    fasta = folder / "g.fa"
    text = synthetic(fasta, args.many + 2 * LENGTH)
    common = [*null_model(folder), f"--fasta={fasta}"]
    for what in args.inputs or INPUTS:
        figures = {}
        for n in (args.few, args.many):
            source = folder / f"{what}.{n}"
            words = inputs(source, what, text, n, common)
            verb = "variants" if what in ("variants", "csv") else "predict"
            out = folder / "out.tsv"
            figures[n] = work([verb, *words, f"--out={out}", "--overwrite=true"])
            with out.open("rb") as file:
                n_rows = sum(1 for _ in file) - 1
            wanted = n if what != "tiles" else (len(text) - LENGTH) // max(1, args.many // n) + 1
            demand(n_rows == wanted, f"{what}: {n_rows} rows of {wanted} inputs")
            yield {"inputs": what, "n": n_rows, **figures[n]}
            for path in folder.glob(f"{what}.*"):
                path.unlink()
        few, many = (x["mb"] for x in figures.values())
        yield {"inputs": what, "ratio": round(many / few, 3), "bar": 1.05}


def inputs(source: Path, what: str, text: str, n: int, common: list[str]) -> list[str]:
    """Writes n inputs of a kind, and gives the words that name them."""
    path = Path(f"{source}.{INPUTS[what]}")
    step = max(1, (len(text) - 2 * LENGTH) // n)
    places = range(LENGTH, LENGTH + n * step, step)
    if what == "tiles":
        return [*common, "--tiles", f"--stride={step}"]
    if what == "variants":
        write_snvs(path, "a", text[LENGTH:-LENGTH], 1, LENGTH, step)
        return [*common, f"--variants={path}"]
    with path.open("w") as file:
        if what in ("table", "csv"):
            file.write("sequence\n" if what == "table" else "contig,pos,ref,alt\n")
        for i in places:
            if what == "intervals":
                file.write(f"a\t{i}\t{i + LENGTH}\n")
            elif what == "csv":
                file.write(f"a,{i + 1},{text[i]},{OTHERS[text[i]][0]}\n")
            else:
                file.write(f">r{i}\n" * (what == "records") + f"{text[i : i + 20]}\n")
    named = {"intervals": [*common, "--intervals"], "csv": [*common, "--variants"]}
    named |= {"records": [*common[:-1], "--fasta"], "table": [*common[:-1], "--table"]}
    words = [*named[what][:-1], f"{named[what][-1]}={path}"]
    return [*words, "--sequence_column=sequence"] if what == "table" else words


COMPLEMENT = str.maketrans("ACGT", "TGCA")
INPUTS = {"tiles": "", "intervals": "bed", "records": "fa", "table": "csv"}
INPUTS |= {"variants": "vcf", "csv": "csv"}
OTHERS = {x: "ACGT".replace(x, "") for x in "ACGT"}
CASES: dict[str, Callable[[Path, argparse.Namespace], Iterator[dict]]] = {
    "snvs": snvs,
    "null": null,
    "vcf": vcf,
    "laws": laws,
    "memory": memory,
}


def start(command: list[str], report: Path) -> subprocess.Popen:
    """A verb in a process of its own."""
    words = [sys.executable, "-c", VERB, str(report), *command]
    with report.with_suffix(".err").open("w") as err:
        return subprocess.Popen(words, stderr=err)


def work(command: list[str]) -> dict:
    """Runs a verb to its end: clock and CPU seconds, peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        begin = time.monotonic()
        code = start(command, report).wait()
        seconds = time.monotonic() - begin
        error = report.with_suffix(".err").read_text()
        demand(code == 0, f"{' '.join(command)}: exit {code}\n{error}")
        figure = json.loads(report.read_text())
    return {"s": round(seconds, 1), "cpu_s": round(figure["cpu_s"], 1), "mb": figure["mb"]}


def demand(is_true: bool, message: str) -> None:
    """Ends with exit code 1 unless it is true."""
    if not is_true:
        raise SystemExit(message)


def null_model(folder: Path) -> list[str]:
    """The words that name a model that reads three letters and costs nothing."""
    import seqmodel

    (folder / "middle.py").write_text(NET)
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(folder)])  # of the children
    try:
        from middle import Middle

        model = seqmodel.wrap(
            Middle(), layout="NL", letters="ACGTN", seq_len=LENGTH, targets=["x"], batch_size=1024
        )
        model.save(folder / "null.ckpt", plugin="middle:Middle")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("middle", None)
    return [f"--checkpoints={folder / 'null.ckpt'}", "--plugins=middle"]


def synthetic(path: Path, n: int) -> str:
    """A genome of one contig `a` of random bases."""
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)
    text = letters[np.random.default_rng(0).integers(0, 4, n)].tobytes().decode()
    path.write_text(f">a\n{text}\n")
    return text


def write_snvs(path: Path, contig: str, text: str, n_alts: int, at: int = 0, step: int = 1) -> Path:
    """A VCF of SNVs at each `step`-th base of a stretch that starts at `at` (from 0)."""
    with path.open("w") as file:
        file.write(f"##fileformat=VCFv4.2\n##contig=<ID={contig}>\n{HEAD}\n")
        alts = {x: ",".join(y[:n_alts]) for x, y in OTHERS.items()}
        for i in range(0, len(text), step):
            ref = text[i]
            file.write(f"{contig}\t{at + i + 1}\t.\t{ref}\t{alts[ref]}\t.\t.\t.\n")
    return path


def write_large(path: Path, text: str, n_bytes: int, kind: str) -> int:
    """A VCF of at least `n_bytes` bytes whose records are long; how many there are."""
    rng = np.random.default_rng(1)
    names = [f"s{i}" for i in range(3000)] if kind == "samples" else []
    fields = [
        f"{g}:{d}:{q}" for g in ("0/0", "0|1", "1/1", "./.") for d in (3, 31) for q in (9, 99)
    ]
    with path.open("w") as file:
        head = "\t".join([HEAD, *(["FORMAT", *names] if names else [])])
        file.write(f"##fileformat=VCFv4.2\n##contig=<ID=a,length={len(text)}>\n{head}\n")
        n = 0
        while file.tell() < n_bytes:
            pos = LENGTH + n
            start = f"a\t{pos + 1}\trs{n}\t{text[pos]}\t{OTHERS[text[pos]][n % 3]}\t{n % 90}\tPASS"
            if names:
                chosen = "\t".join([fields[i] for i in rng.integers(0, len(fields), len(names))])
                file.write(f"{start}\tDP={n}\tGT:DP:GQ\t{chosen}\n")
            else:
                csq = ",".join(f"T|gene{i}|transcript{i * n % 977}|c.{i}A>T" for i in range(400))
                file.write(f"{start}\tDP={n};CSQ={csq}\n")
            n += 1
    return n


def n_same_records(source: Path, out: Path) -> int:
    """How many records of `out` are those of `source`, in order, but for what INFO has more."""
    with source.open("rb") as before, out.open("rb") as after:
        records = [filter(lambda x: not x.startswith(b"#"), x) for x in (before, after)]
        n = 0
        for old, new in zip(*records, strict=True):
            at = new.index(b";SM_STATUS=")
            end = new.find(b"\t", at)
            n += new[:at] + (b"\n" if end < 0 else new[end:]) == old
    return n


if __name__ == "__main__":
    main()
