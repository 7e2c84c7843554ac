"""What a run prints at its end: test scores, the most frequent mistakes, and what to do next."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seqmodel.terminal import plain_line, text_table
from seqmodel.training.opening import short_name
from seqmodel.training.progress import number

if TYPE_CHECKING:
    from seqmodel.training.build import Parts

MOST_CLASSES, MOST_MISTAKES = 10, 10
MOST_TARGETS, SHOWN_TARGETS = 10, 4  # with more targets, show this many from each end
RECORD_TASKS = ("masked", "causal")  # tasks that predict each position


class Beside(NamedTuple):
    """Values to show beside the test scores.

    Attributes:
        lines: Lines to print below the scores.
        intervals: Ends of the 95 % interval of each score; keys are names without the split.
        others: Scores of trivial baselines, {baseline: {score: value}}.
    """

    lines: Sequence[str] = ()
    intervals: Mapping[str, tuple[float, float]] = {}
    others: Mapping[str, Mapping[str, float]] = {}


def score_table(metrics: Mapping[str, float], beside: Beside) -> list[str]:
    """Return a table of test scores: one row per score, with the interval and each baseline."""
    names = [x for x in metrics if x.startswith("test_") and "/" not in x]
    head = ["", "model"]
    head += ["95 % interval"] if beside.intervals else []
    rows = [[*head, *beside.others]]
    for name in names:
        score = name.removeprefix("test_")
        row = [name, number(name, metrics[name]) if score != "loss" else f"{metrics[name]:.4f}"]
        if beside.intervals:
            ends = beside.intervals.get(score)
            row.append(f"{number(name, ends[0])} to {number(name, ends[1])}" if ends else "")
        row += [number(name, other.get(score)) for other in beside.others.values()]
        rows.append(row)
    return text_table(rows, right=True).splitlines() if len(rows) > 1 else []


def target_table(metrics: Mapping[str, float]) -> list[str]:
    """Return the test scores of several targets; of many, only the lowest and the highest."""
    found: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        score, slash, target = name.removeprefix("test_").partition("/")
        if slash and name.startswith("test_"):
            found.setdefault(target, {})[score] = value
    if not found:
        return []
    scores = list(dict.fromkeys(x for row in found.values() for x in row))
    by = next((x for x in ("auroc", "pearson") if x in scores), scores[0])
    order = sorted(found, key=lambda x: (found[x].get(by) != found[x].get(by), found[x].get(by, 0)))
    head = f"{len(found)} targets"
    if len(order) > MOST_TARGETS:
        head, order = f"of {head}", [*order[:SHOWN_TARGETS], "...", *order[-SHOWN_TARGETS:]]
    else:
        order = list(found)
    rows = [[head, *scores]]
    for x in order:
        values = found.get(x, {})
        rows.append([short_name(x), *(number(s, values.get(s)) for s in scores)])
    return text_table(rows, right=True).splitlines()


def mistakes(names: Sequence[str], counts: Sequence[Sequence[int]]) -> list[str]:
    """Return a confusion matrix or, for more than ten classes, the most frequent mistakes.

    Args:
        names: Names of the classes.
        counts: Numbers of items; rows are true classes, columns are predicted classes.
    """
    shown = [short_name(x) for x in names]
    if len(names) <= MOST_CLASSES:
        rows = [["true, predicted:", *shown]]
        rows += [[name, *(f"{n:,}" for n in row)] for name, row in zip(shown, counts, strict=True)]
        return text_table(rows, right=True).splitlines()
    table = np.array(counts)
    wrong = table - np.diag(np.diag(table))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_MISTAKES]
    pairs = [divmod(int(i), len(names)) for i in order]
    rows = [["true class", "predicted", "items", "of"]]
    rows += [
        [shown[a], shown[b], f"{wrong[a, b]:,}", f"{table[a].sum():,}"]
        for a, b in pairs
        if wrong[a, b]
    ]
    if len(rows) == 1:
        return [f"no item of the {len(names)} classes was classified wrong"]
    return ["the most frequent mistakes:", *text_table(rows).splitlines()]


def next_commands(parts: Parts, values: Any, folder: Path, checkpoint: Path | None) -> list[str]:
    """Return commands to type next, with the paths of this run."""
    found = []
    if checkpoint is not None:
        given = _inputs(parts, values)
        model = ["--checkpoints", str(checkpoint)]
        model += ["--plugins", *values.plugins] if values.plugins else []
        if given and values.task not in RECORD_TASKS:
            found.append(["predict", *model, *given, f"--out={folder / 'predictions.tsv'}"])
        elif given:
            found.append(["embed", *model, *given, f"--out={folder / 'embeddings.npz'}"])
        if variant := _variant(parts, values):
            out = f"--out={folder / 'variants.tsv'}"
            found.append(
                ["variants", *model, "--fasta", *values.fasta, f"--variant={variant}", out]
            )
        elif given and values.task in ("classify", "multilabel", "regress"):
            names = parts.data.targets.names
            target = names[1] if values.task == "classify" else names[0]
            out = f"--out={folder / 'explained'}"
            found.append(["attribute", *model, *given, f"--target={target}", "--plot=3", out])
    if {"train", "test"} <= set(parts.data.splits):
        found.append(["audit", f"--run={folder}"])
    found.append(["report", str(folder.parent.parent if _is_version(folder) else folder)])
    program = ["seqmodel"] if shutil.which("seqmodel") else ["python", "-m", "seqmodel"]
    return [plain_line("  " + shlex.join([*program, *words])) for words in found[:3]]


def _is_version(folder: Path) -> bool:
    return folder.name.startswith("version_") and folder.name[8:].isdecimal()


def _inputs(parts: Parts, values: Any) -> list[str]:
    """Return options of a verb that reads the test data, or else the other splits."""
    split = next(x for x in ("test", "valid", "train") if x in parts.data.splits)
    files = parts.data.files_of(split)
    fasta = ["--fasta", *(getattr(values, "fasta", None) or ())]
    if values.dataset == "table":
        return ["--table", files[0], f"--sequence_column={values.sequence_column}"]
    if values.dataset == "records":
        return fasta
    if values.dataset == "fasta":
        contigs = sorted(_contigs(parts, split))
        return [*fasta, "--tiles", "--contigs", *contigs] if len(contigs) <= 3 else []
    if values.dataset in ("bed", "peaks", "tracks") and len(files) == 1:
        return [*fasta, "--intervals", files[0]]
    return []


def _contigs(parts: Parts, split: str) -> Iterator[str]:
    chosen = parts.data.readers[split].intervals
    for i in np.unique(chosen.contig).tolist():
        yield chosen.contigs.names[i]


def _variant(parts: Parts, values: Any) -> str | None:
    """Return a substitution in the middle of an item, or None for data without coordinates."""
    split = next(x for x in ("test", "valid", "train") if x in parts.data.splits)
    reader = parts.data.readers[split]
    letters = parts.data.alphabet.letters
    if not getattr(values, "fasta", None) or reader.left_aligned or set(letters) != set("ACGT"):
        return None
    chosen = reader.intervals
    for i in range(min(len(chosen), 100)):
        at = int(chosen.start[i] + chosen.length[i] // 2)
        contig = int(chosen.contig[i])
        code = int(reader.codes.data[reader.codes.offsets[contig] + at])
        if code < len(letters):
            ref = letters[code]
            alt = letters[(code + 1) % len(letters)]
            return f"{chosen.contigs.names[contig]}:{at + 1}:{ref}:{alt}"
    return None
