"""`seqmodel run ...` and the other verbs. Light: a verb imports what it needs when it runs."""

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
    """A verb: the `module:function` that takes the words after it, its usage, and its summary."""

    target: str
    usage: str
    summary: str


VERBS = {
    "run": Verb(
        "run:main",
        "--task=...",
        "Train or test a model. `python seqmodel/run.py` is the same command.",
    ),
    "train": Verb(
        "cli.train:train",
        "my.csv [--fasta=genome.fa] [--name=value ...]",
        "Train and test a model on one file. Options that are not given are guessed and printed.",
    ),
    "init": Verb(
        "cli.init:init",
        "[TASK] [-o config.toml] [--table=my.csv] [--name=value ...]",
        "Write a config file with comments, for a task or for a file of yours.",
    ),
    "submit": Verb(
        "cli.jobs:submit",
        "--host=cedar --slurm_account=a --task=masked ...",
        "Submit a run, or a verb in parts (--verb), as jobs on this host or a cluster.",
    ),
    "status": Verb(
        "cli.jobs:status",
        "[FOLDER ...] [--json] [--watch]",
        "Show the states of runs.",
    ),
    "logs": Verb(
        "cli.jobs:logs", "FOLDER ... [--follow]", "Show the last lines of the logs of jobs."
    ),
    "cancel": Verb("cli.jobs:cancel", "FOLDER ...", "Cancel jobs that are waiting or running."),
    "resume": Verb(
        "cli.jobs:resume",
        "FOLDER ... [--slurm_time_min=600]",
        "Resume runs that timed out, failed or were refused by the scheduler.",
    ),
    "pull": Verb(
        "cli.jobs:pull",
        "FOLDER ... --host=cedar --to=pulled",
        "Copy results from a cluster to this host.",
    ),
    "prune": Verb(
        "cli.jobs:prune",
        "FOLDER ...",
        "Remove half-made folders of submissions that were interrupted.",
    ),
    "data": Verb(
        "cli.data:data",
        "describe --dataset=... [--check] [--json]",
        "Describe the data of a run.",
    ),
    "audit": Verb(
        "cli.audit:audit",
        "--run=FOLDER | --dataset=... [--fail_on=duplicates,overlap] [--json]",
        "Audit a test score: duplicates, similar rows, baselines, confidence intervals.",
    ),
    "search": Verb("cli.runs:search", "FILE.toml", "Submit or resume a search."),
    "results": Verb(
        "cli.runs:results",
        "[FOLDER] [--where lr=0.001] [--sort=best] [--grouped] [--compare A B]",
        "Show a table of runs, or compare two runs.",
    ),
    "report": Verb(
        "cli.runs:report", "[FOLDER] -o report.html", "Write an HTML report of a folder of runs."
    ),
    "advise": Verb(
        "cli.runs:advise",
        "[FOLDER]",
        "Show how much time, memory and CPUs to request, based on finished runs.",
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
        "Calibrate the probabilities of a classifier on its valid split.",
    ),
    "variants": Verb(
        "cli.infer:variants",
        "--checkpoints=best.ckpt --variants=in.vcf.gz --fasta=genome.fa --out=out.vcf.gz",
        "Score variants: compare the predictions for ALT and REF.",
    ),
    "embed": Verb(
        "cli.infer:embed",
        "--checkpoints=best.ckpt --fasta=sequences.fa --out=embeddings.npz",
        "Write embeddings of sequences, pooled or for each position.",
    ),
    "attribute": Verb(
        "cli.infer:attribute",
        "--checkpoints=best.ckpt --fasta=genome.fa --intervals=peaks.bed --out=explained --plot=3",
        "Compute the contribution of each base or residue to a prediction.",
    ),
    "motifs": Verb(
        "cli.infer:motifs",
        "--checkpoints=best.ckpt --fasta=genome.fa --intervals=peaks.bed --out=filters.meme",
        "Write the motifs that the filters of the first layer recognize.",
    ),
    "export": Verb(
        "cli.infer:export",
        "--checkpoints=best.ckpt --to=my_model --to=my_model.onnx",
        "Export a model as a folder to publish, as ONNX, or for torch.export.",
    ),
    "merge": Verb(
        "cli.infer:merge",
        "OUT.parts [--json]",
        "Join the parts of an output that several processes computed.",
    ),
    "describe": Verb(
        "cli.infer:describe",
        "best.ckpt [--json]",
        "Describe a checkpoint: targets, alphabet, data, hyperparameters.",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name) and return the exit code."""
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
        print(
            f"seqmodel: no verb {verb!r}; choose one of {', '.join(VERBS)}{hint}", file=sys.stderr
        )
        return 2
    # the name of a folder may not be valid UTF-8
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = show_warning
    try:
        code = _call(verb, argv[1:])
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has closed the pipe
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
    if name not in ("run", "train", "data", "audit"):  # these print their own usage
        from seqmodel.hparam.help import asked_help

        if asked_help(argv) is not None:
            print(f"{verb.summary}\n\n  seqmodel {name} {verb.usage}")
    module, function = verb.target.split(":")
    return int(getattr(import_module(f"seqmodel.{module}"), function)(argv))


def _help() -> str:
    lines = [f"seqmodel {VERSION}: deep models of biological sequences", ""]
    lines += [f"  seqmodel {name:9}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join([*lines, "", "`seqmodel VERB --help` shows the options of a verb."])


if __name__ == "__main__":
    sys.exit(main())
