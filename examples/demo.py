"""Models of part of a real genome: trained, put beside baselines, applied: `make demo`.

    python examples/demo.py            a few minutes on two cores
    python examples/demo.py --quick    a few steps of each stage: does it run

Each stage is one command line, printed before it runs. Settings were chosen on the validation
contig, but for the width of the model: it was lowered for the time that the demo takes, after both
widths had been scored on the test contig (the wider one was a little better).
"""

import argparse
import csv
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import demo_apply as apply
import demo_baselines as baselines
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FASTA = "data/demo/umaydis.fa.gz"
WINDOWS = "data/demo/windows.bed"

# Every chosen letter is hidden (none is left or replaced), so that the test loss can be compared
# with Markov chains, which do not see the letter either.
PRETRAIN = {
    "task": "masked",
    "dataset": "fasta",
    "fasta": FASTA,
    "seq_len": 256,
    "rc_prob": 0.5,
    "mask_prop": 0.15,
    "random_prop": 0,
    "keep_prop": 0,
    "batch_size": 16,
    "lr": 2e-3,
    "schedule": "cosine",
    "warmup_steps": 50,
    "max_epochs": 1,
}
ENCODER = {"encoder": "dilated_conv", "n_dims": 48, "n_layers": 6, "kernel_size": 3, "dropout": 0}
# Windows are read along the strand in the BED file: that of the gene, a random one elsewhere.
CLASSIFY = {
    "task": "classify",
    "dataset": "bed",
    "fasta": FASTA,
    "intervals": WINDOWS,
    "class_names": "intergenic coding",
    "batch_size": 32,
    "lr": 2e-3,
    "schedule": "cosine",
    "warmup_steps": 50,
    "max_epochs": 2,
}
CONTIGS = {"valid_contigs": "chr06", "test_contigs": "chr07"}
# A fraction of an epoch: enough to see which settings learn.
SMALL = {"limit_train_batches": 60, "max_epochs": 2, "n_dims": 24, "n_threads": 1}
QUICK = {
    "max_epochs": 1,
    "warmup_steps": 0,
    "limit_train_batches": 4,
    "limit_val_batches": 2,
    "limit_test_batches": 2,
}
# Of the test contig: coding windows in which variants are made, and of which logos are drawn.
N_VARIANT_WINDOWS, N_LOGOS = 600, 3


def main() -> int:
    """Runs all stages and prints the table; 1 if a stage failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="where runs are kept")
    parser.add_argument("--quick", action="store_true", help="a few steps of each stage")
    args = parser.parse_args()
    start = time.monotonic()
    out = next_folder(args.out)
    change = QUICK if args.quick else {}

    say("1. Baselines on the same windows (GC content; 4-mer counts, logistic regression)")
    genome = baselines.read_genome(ROOT / FASTA)
    windows = {s: baselines.read_windows(ROOT / WINDOWS, genome, s) for s in baselines.SPLITS}
    print("   " + ", ".join(f"{s} {len(w.coding):,} windows" for s, w in windows.items()))
    scores = baselines.label_baselines(windows)

    pretrain = {**PRETRAIN, **ENCODER, **CONTIGS, **change}
    classify = {**CLASSIFY, **CONTIGS, **change}
    encoder = {"load_encoder_from_checkpoint": out / "pretrain/checkpoints/best.ckpt"}
    say("2. Pre-training: hidden bases are predicted from both sides, without any label")
    masked = run(pretrain, out / "pretrain")
    say("3. Fine-tuning of the pre-trained encoder: coding or intergenic")
    tuned = run({**classify, **encoder}, out / "finetune")
    say("4. The same from scratch")
    scratch = run({**classify, **ENCODER}, out / "scratch")

    say("5. Markov chains on the bases that were hidden from the masked model")
    markov = markov_entropies(genome, pretrain)
    scores["trained from scratch"] = test_scores(scratch)
    scores["pre-trained, then fine-tuned"] = test_scores(tuned)
    say("6. A search: two small runs as jobs of this machine, and a page about all runs")
    report = small_search({**classify, **ENCODER, **SMALL, **change}, out)
    contig = CONTIGS["test_contigs"]
    coding = apply.read_coding(ROOT / WINDOWS, genome, contig)
    model = out / "finetune/checkpoints/best.ckpt"
    say("7. Variants inside coding windows of the test contig, scored by the fine-tuned model")
    n_windows = 40 if args.quick else N_VARIANT_WINDOWS
    score_variants(coding, genome[contig], model, out, n_windows)
    say(f"8. Which bases matter: logos of {N_LOGOS} coding windows of the test contig")
    step = len(coding) // N_LOGOS
    logos = draw_logos(coding[step // 2 :: step][:N_LOGOS], model, out)
    say("9. What the test score of the fine-tuned model is worth: leaks, baselines, intervals")
    call(["-m", "seqmodel", "audit", f"--run={out / 'finetune'}"])
    print_tables(scores, markov, masked, time.monotonic() - start)
    print(f"runs: {out}   (each with hparams.json, metrics.csv, checkpoints/)")
    print(f"a page about them all:\n{report}")
    print(f"a page with logos:\n{logos}")
    return 0


def small_search(base: dict[str, object], out: Path) -> str:
    """Runs a grid of two, both at once, and writes the report of all runs of the demo."""
    from seqmodel.job import ShellJob, search
    from seqmodel.job.results.text import table
    from seqmodel.report import write_report

    words = {"class_names": str(base["class_names"]).split()}
    job = ShellJob(n_at_once=2, workdir=str(ROOT), job_out_dir=str(ROOT / out / "search"))
    space = {"lr": [5e-4, 5e-3]}
    found = search.grid(job, {**base, **words}, space, folder=str(ROOT / out / "searches"))
    if any(status.state != "complete" for status in found.wait(timeout_s=1800)):
        sys.exit(f"demo: a run of the search failed\n{found.status()}")
    columns = ("lr", "best", "test_auroc", "elapsed_s")
    rows = found.results().sort_by("best").rows()
    print(table([{name: row[name] for name in columns} for row in rows]))
    return write_report(str(ROOT / out), str(ROOT / out / "report.html"))


def run(hparams: dict[str, object], folder: Path) -> dict[str, float]:
    """Runs seqmodel/run.py as a user would, and returns the test values of its metrics.csv."""
    command = ["seqmodel/run.py"]
    for name, value in {**hparams, "default_root_dir": folder}.items():
        words = str(value).split() if name == "class_names" else [str(value)]
        command += [f"--{name}={words[0]}"] if len(words) == 1 else [f"--{name}", *words]
    call(command)
    with open(ROOT / folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {n: float(v) for row in rows for n, v in row.items() if n.startswith("test_") and v}


def call(command: list[str]) -> None:
    """Prints a command of Python, runs it, and prints the time and the processor time it took."""
    print("   python " + " \\\n       ".join(quoted_lines(command)), flush=True)
    start, before = time.monotonic(), os.times()
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"demo: the command above failed (exit code {done.returncode})")
    after = os.times()
    busy = sum(after[2:4]) - sum(before[2:4])  # user and system time of children
    print(f"   {time.monotonic() - start:.0f} s, {busy:.0f} s of processor time", flush=True)


def score_variants(
    coding: list[apply.Coding], genome: np.ndarray, model: Path, out: Path, n_windows: int
) -> None:
    """Scores variants in coding windows, and prints the strongest and what each kind does."""
    variants = apply.draw(coding, genome, n_windows, seed=0)
    apply.write_vcf(ROOT / out / "variants.vcf", variants)
    command = ["-m", "seqmodel", "variants", f"--checkpoints={model}", f"--fasta={FASTA}"]
    command += [f"--variants={out / 'variants.vcf'}", "--out", str(out / "scored.vcf")]
    call([*command, str(out / "scored.tsv")])
    with open(ROOT / out / "scored.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    kinds = [kind for variant in variants for kind in variant.kinds]
    effects = np.array([float(row["coding_logit_diff"]) for row in rows])
    print(f"   {len(rows):,} ALT alleles of {len(variants):,} records; the strongest:")
    for i in np.argsort(-np.abs(effects))[:5]:
        name = "{contig}:{pos} {ref}>{alt}".format(**rows[i])
        print(f"     {name:25} {apply.KINDS[kinds[i]]:44} {effects[i]:+.2f}")
    print(f"   Change of the log-odds of coding{'':27}n    mean  mean of |.|")
    for text, n, mean, size in apply.summary(kinds, effects):
        print(f"     {text:44} {n:10,}  {mean:+6.2f}  {size:6.2f}")
    print(
        "   Each kind is known from the windows alone. The model learned to separate coding from\n"
        "   intergenic windows; these numbers do not say which variants do harm."
    )
    print(f"   scores: {out / 'scored.tsv'}\n   in INFO of each record: {out / 'scored.vcf'}")


def draw_logos(windows: list[apply.Coding], model: Path, out: Path) -> str:
    """Writes contributions of the bases of some windows; the path of the page with logos."""
    apply.write_bed(ROOT / out / "explained.windows.bed", windows)
    command = ["-m", "seqmodel", "attribute", f"--checkpoints={model}", f"--fasta={FASTA}"]
    command += [f"--intervals={out / 'explained.windows.bed'}", "--target=coding"]
    call([*command, f"--plot={len(windows)}", f"--out={out / 'explained'}"])
    return str(ROOT / out / "explained.html")


def quoted_lines(command: list[str]) -> list[str]:
    """The command for a shell, in lines of at most 90 characters."""
    lines = [""]
    for word in map(shlex.quote, command):
        if len(lines[-1]) + len(word) > 88:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines


def hidden_positions(hparams: dict[str, object]) -> np.ndarray:
    """Positions on the test contig whose bases the masked model had to predict when tested."""
    from seqmodel.dataset.build import build_data
    from seqmodel.hparam.resolve import resolve
    from seqmodel.task.masked import EVALUATION_STREAM, corrupt

    resolved = resolve([f"--{name}={value}" for name, value in hparams.items()])
    data = build_data(resolved)
    starts = data.readers["test"].intervals.start
    n_batches = resolved.values.limit_test_batches
    positions = []
    for i, batch in enumerate(data.loader("test", train=False)):
        if n_batches is not None and i == n_batches:
            break
        task = resolved.hparams("task")
        index = batch["index"]
        _, chosen = corrupt(batch["tokens"], index, data.alphabet, task, EVALUATION_STREAM)
        row, column = chosen.nonzero(as_tuple=True)
        positions.append(starts[index[row].numpy()] + column.numpy())
    return np.concatenate(positions)


def markov_entropies(genome: dict[str, np.ndarray], hparams: dict[str, object]) -> dict[str, float]:
    """Nats a letter under chains estimated on the training contigs, at the hidden positions."""
    train = [genome[contig] for contig in baselines.SPLITS["train"]]
    test = [(genome[hparams["test_contigs"]], hidden_positions(hparams))]
    print(f"   {len(test[0][1]):,} bases of {hparams['test_contigs']}")
    return {
        "Markov chain, order 0": baselines.markov_entropy(train, test, 0),
        "Markov chain, order 5": baselines.markov_entropy(train, test, 5),
        "3 bases on either side": baselines.markov_entropy(train, test, 3, 3),
    }


def test_scores(metrics: dict[str, float]) -> baselines.Scores:
    """The test scores that a run logged."""
    return baselines.Scores(metrics["test_auroc"], metrics["test_mcc"], metrics["test_accuracy"])


def print_tables(
    scores: dict[str, baselines.Scores],
    markov: dict[str, float],
    masked: dict[str, float],
    seconds: float,
) -> None:
    """What came out, flattering or not."""
    print(f"\nCoding or intergenic, test contig chr07{'':14} AUROC     MCC  accuracy")
    for name, s in scores.items():
        print(f"  {name:50} {s.auroc:.4f}  {s.mcc:.4f}    {s.accuracy:.4f}")
    print(f"\nHidden bases of chr07{'':31}nats a base")
    for name, nats in markov.items():
        print(f"  {name:50} {nats:.4f}")
    print(f"  {'masked model':50} {masked['test_loss']:.4f}")
    print(
        "  A chain of order k knows the k true bases before; the masked model sees both sides,\n"
        "  with 15 % of the bases hidden, so the chain on either side is the nearer comparison."
    )
    print(f"\n{seconds / 60:.1f} minutes")


def next_folder(parent: Path) -> Path:
    """The first `version_<n>` below `parent` that is free; earlier demos stay."""
    n = 0
    while (ROOT / parent / f"version_{n}").exists():
        n += 1
    return parent / f"version_{n}"


def say(text: str) -> None:
    """Prints the head of a stage."""
    print(f"\n{text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
