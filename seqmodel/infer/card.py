"""Model card of an exported model: architecture, data, scores, and how to load it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqmodel.errors import SeqmodelError
from seqmodel.hparam.header import WEIGHTS
from seqmodel.record.folder import CHECKPOINTS
from seqmodel.training.metrics_csv import read_rows

_MOST = 20


def scores_of(path: str) -> dict[str, float]:
    """Return the test scores that the run logged; empty if the run is not found.

    A run scores only its best checkpoint.
    """
    file = Path(path).absolute()
    found: dict[str, float] = {}
    if file.parent.name != CHECKPOINTS or file.name != "best.ckpt":
        return found
    with contextlib.suppress(SeqmodelError, OSError, ValueError):
        for row in read_rows(file.parents[1] / "metrics.csv"):
            found |= {n: float(x) for n, x in row.items() if x and n.startswith("test_")}
    return found


def card(header: Mapping[str, Any], scores: Mapping[str, float], name: str) -> str:
    """Return the card as Markdown, with the metadata that model hubs read.

    Args:
        header: Header of the checkpoint.
        scores: Scores on the test split.
        name: Name of the model.
    """
    hparams, targets, alphabet = (
        header["hparams"],
        header["targets"] or {},
        header["alphabet"] or {},
    )
    letters = "".join(alphabet.get("letters", []))
    names = targets.get("names") or list(letters)
    plugins = list(header.get("plugins") or {})
    more = f", plugins={plugins!r}" if plugins else ""
    lines = ["---", "library_name: seqmodel", "tags:", "- biology", "- genomics", "---", ""]
    lines += [f"# {name}", ""]
    lines += [
        f"A model of the task `{hparams.get('task')}`, made with seqmodel {header['version']}.",
        "",
        "| | |",
        "|---|---|",
        f"| input | {_shown(header['seq_len'])} positions of {letters} ({alphabet.get('name')}) |",
        f"| targets | {_listed(names)} |",
        f"| encoder | {hparams.get('encoder')} |",
        f"| decoder | {hparams.get('decoder')} |",
        "",
        "## How to load it",
        "",
        "```python",
        "import seqmodel",
        "",
        f'model = seqmodel.load("{name}"{more})',
        'model.predict(["ACGT..."])',
        "```",
        "",
        f"From the command line: `seqmodel predict --checkpoints={name}/{WEIGHTS} ...`. "
        "`example.tsv` has five sequences and what the model predicts for them.",
        "",
        "## Data",
        "",
        *_data(header),
        "",
        "## Scores",
        "",
        *_scores(scores),
        "",
    ]
    return "\n".join(lines)


def _data(header: Mapping[str, Any]) -> list[str]:
    splits, contigs = header["splits"], header["contigs"]
    counts = (f"{x} {_shown(n)}" for x, n in (splits or {}).items())
    lines = [f"- Items by split: {', '.join(counts) or 'unknown'}"]
    trained = "unknown" if contigs is None else _listed(list(contigs)) or "none"
    lines.append(f"- Contigs with training windows: {trained}")
    for path, file in list((header["data"] or {}).items())[:_MOST]:
        lines.append(f"- {Path(path).name}: {file['size']:,} bytes, SHA-256 `{file['sha256']}`")
    return lines


def _scores(scores: Mapping[str, float]) -> list[str]:
    if not scores:
        return ["Not known: the run that made this model was not found beside its checkpoint."]
    rows = [f"| {name.removeprefix('test_')} | {value:.4f} |" for name, value in scores.items()]
    return ["On the test split:", "", "| score | value |", "|---|---|", *rows]


def _shown(n: int | None) -> str:
    return "unknown" if n is None else f"{n:,}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
