"""`seqmodel run ...` and its other verbs. Light: each verb imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from seqmodel import VERSION
from seqmodel.errors import SeqmodelError
from seqmodel.hparam.value import did_you_mean
from seqmodel.terminal import plain, show_warning


class Verb(NamedTuple):
    """A verb: the `module:function` that gets the words behind it, its usage, what it does."""

    target: str
    usage: str
    summary: str


VERBS = {
    "run": Verb("run:main", "--task=...", "Train a model, or test one: `python seqmodel/run.py`."),
    "train": Verb(
        "cli.train:train",
        "my.csv [--fasta=genome.fa] [--name=value ...]",
        "Train and test a model on one file; what you do not give is guessed and printed.",
    ),
    "submit": Verb(
        "cli.jobs:submit",
        "--host=cedar --slurm_account=a --task=masked ...",
        "Submit a run, or a verb in parts (--verb), as jobs here or on a cluster.",
    ),
    "status": Verb(
        "cli.jobs:status",
        "[FOLDER ...] [--json] [--watch]",
        "Show the states of runs, from their folders and the scheduler.",
    ),
    "logs": Verb("cli.jobs:logs", "FOLDER ... [--follow]", "Show the end of what jobs wrote."),
    "cancel": Verb("cli.jobs:cancel", "FOLDER ...", "End jobs that wait or run."),
    "resume": Verb(
        "cli.jobs:resume",
        "FOLDER ... [--slurm_time_min=600]",
        "Resume runs that timed out, failed or were refused by the scheduler.",
    ),
    "pull": Verb(
        "cli.jobs:pull",
        "FOLDER ... --host=cedar --to=pulled",
        "Copy results from a cluster to this machine.",
    ),
    "prune": Verb(
        "cli.jobs:prune",
        "FOLDER ...",
        "Remove half-made folders of submits that were cut off.",
    ),
    "data": Verb(
        "cli.data:data",
        "describe --dataset=... [--check] [--json]",
        "Describe what a run would read.",
    ),
    "audit": Verb(
        "cli.audit:audit",
        "--run=FOLDER | --dataset=... [--fail_on=duplicates,overlap] [--json]",
        "Show what a test score is worth: duplicates, similar rows, baselines, intervals.",
    ),
    "search": Verb("cli.runs:search", "FILE.toml", "Submit a search, or go on with it."),
    "results": Verb(
        "cli.runs:results",
        "[FOLDER] [--where lr=0.001] [--sort=best] [--grouped] [--compare A B]",
        "Show a table of runs, or which of two is better.",
    ),
    "report": Verb(
        "cli.runs:report", "[FOLDER] -o report.html", "Write one HTML page about a folder of runs."
    ),
    "advise": Verb(
        "cli.runs:advise",
        "[FOLDER]",
        "Show what time, memory and CPUs to ask for, from what runs took.",
    ),
    "watch": Verb("cli.runs:watch", "[FOLDER]", "Show a live page of all runs with their curves."),
    "predict": Verb(
        "cli.infer:predict",
        "--checkpoints=best.ckpt --fasta=genome.fa --intervals=peaks.bed --out=predictions.tsv",
        "Predict for sequences in FASTA files, intervals or tables.",
    ),
    "calibrate": Verb(
        "cli.calibrate:calibrate",
        "best.ckpt [--json]",
        "Fit the probabilities of a classifier to its valid split, for predict --calibrated.",
    ),
    "variants": Verb(
        "cli.infer:variants",
        "--checkpoints=best.ckpt --variants=in.vcf.gz --fasta=genome.fa --out=out.vcf.gz",
        "Score variants: what a model gives for ALT and for REF.",
    ),
    "embed": Verb(
        "cli.infer:embed",
        "--checkpoints=best.ckpt --fasta=sequences.fa --out=embeddings.npz",
        "Write what the encoder makes of sequences, pooled or by position.",
    ),
    "attribute": Verb(
        "cli.infer:attribute",
        "--checkpoints=best.ckpt --fasta=genome.fa --intervals=peaks.bed --out=explained --plot=3",
        "Show how much each letter of sequences contributes to a prediction.",
    ),
    "motifs": Verb(
        "cli.infer:motifs",
        "--checkpoints=best.ckpt --fasta=genome.fa --intervals=peaks.bed --out=filters.meme",
        "Write what the filters of the first layer read as motifs.",
    ),
    "export": Verb(
        "cli.infer:export",
        "--checkpoints=best.ckpt --to=my_model --to=my_model.onnx",
        "Write a model as a folder to publish, as ONNX, or for torch.export.",
    ),
    "merge": Verb(
        "cli.infer:merge",
        "OUT.parts [--json]",
        "Join the parts of an output that several processes computed.",
    ),
    "describe": Verb(
        "cli.infer:describe",
        "best.ckpt [--json]",
        "Show what a checkpoint has: targets, alphabet, data, hyperparameters.",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (without the program's name) and returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    verb = argv[0] if argv else "--help"
    if verb == "--version":
        print(f"seqmodel {VERSION}")
        return 0
    if verb in ("--help", "-h"):
        print(_help())
        return 0
    if verb not in VERBS:
        hint = did_you_mean(verb, list(VERBS))
        print(f"seqmodel: no verb {verb!r}; one of {', '.join(VERBS)}{hint}", file=sys.stderr)
        return 2
    # a folder may have a name that is no UTF-8
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = show_warning
    try:
        code = _call(verb, argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # by `| head`: nobody reads what is left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SeqmodelError as e:
        print(plain(f"{type(e).__name__}: {e}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _call(name: str, argv: Sequence[str]) -> int:
    verb = VERBS[name]
    if name not in ("run", "train", "data", "audit"):  # they show the help of the run
        from seqmodel.cli.given import wants_help

        if wants_help(argv):
            print(f"{verb.summary}\n\n  seqmodel {name} {verb.usage}")
    module, function = verb.target.split(":")
    return int(getattr(import_module(f"seqmodel.{module}"), function)(argv))


def _help() -> str:
    lines = [f"seqmodel {VERSION}: deep models of biological sequences", ""]
    lines += [f"  seqmodel {name:8} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([*lines, "", "`seqmodel VERB --help` tells more."])


if __name__ == "__main__":
    sys.exit(main())
