"""Describe a run before it trains: its data, device and model, and what is monitored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqmodel.terminal import plain_line, text_table
from seqmodel.training.host import precision_of
from seqmodel.training.trainer import monitored

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seqmodel.dataset.data import Data
    from seqmodel.hparam.resolve import Run
    from seqmodel.model.encoder import Encoder
    from seqmodel.training.build import Parts

MOST_CLASSES = 6  # most classes whose counts are shown
NAME_WIDTH, WIDTH = 16, 100
WHERE = 12  # column in which the text of a line begins


def opening(
    run: Run, parts: Parts, trainer: Trainer, folder: Path, notes: Sequence[str]
) -> list[str]:
    """Return the lines, of at most 100 characters unless they contain paths.

    Args:
        run: Run to describe.
        parts: Data and task of the run.
        trainer: Trainer of the run.
        folder: Run folder; the null device for a trial.
        notes: Notes about the code and the data.
    """
    is_trial = run.values.fast_dev_run
    where = "none; this is a trial (--fast_dev_run)" if is_trial else str(folder)
    found = [entry("run folder", where), *notes]
    found += _data(parts.data)
    found.append(entry("device", _device(trainer)))
    found.append(entry("encoder", _encoder(run, parts)))
    n = sum(p.numel() for p in parts.task.parameters() if p.requires_grad)
    found.append(entry("model", f"{n:,} trained parameters, with the decoder"))
    if run.values.mode == "train":
        found += _goal(run, parts)
    return found


def entry(name: str, text: str) -> str:
    """Format a line of the opening or the end of a run."""
    return f"{name + ':':{WHERE - 1}} {plain_line(text)}"


def _data(data: Data) -> Iterator[str]:
    """Yield a table with one row per split and the number of items of each class."""
    counts = {split: class_counts(data, split) for split in data.splits}
    total = sum(x for x in counts.values() if x is not None)
    order = np.argsort(-np.asarray(total), kind="stable") if np.ndim(total) else np.arange(0)
    n_shown = len(order) if len(order) <= MOST_CLASSES else MOST_CLASSES - 1
    chosen = np.sort(order[:n_shown])
    names = [short_name(data.targets.names[i]) for i in chosen.tolist()]
    names = [f"class {x}" if x.isdecimal() else x for x in names]
    if len(order) > n_shown:
        names.append(f"{len(order) - n_shown} others")
    unit = unit_of(data.alphabet.letters)
    rows = [["data", "items", unit, *names]]
    for split in data.splits:
        n, count = len(data.readers[split]), counts[split]
        cells = ["" for _ in names]
        if count is not None:
            cells = [f"{x:,}" for x in count[chosen].tolist()]
            if len(order) > n_shown:
                cells.append(f"{int(count.sum() - count[chosen].sum()):,}")
        length = int(data.readers[split].intervals.length.sum(dtype=np.int64))
        rows.append([split, f"{n:,}", f"{length:,}", *cells])
    yield from text_table(rows, right=True).splitlines()
    if data.targets.kind in ("multilabel", "real", "track"):
        kind = {"multilabel": "label", "real": "number", "track": "track"}[data.targets.kind]
        kind += "s" * (data.targets.n > 1)
        few = ", ".join(map(short_name, data.targets.names[:4]))
        more = f" and {data.targets.n - 4} more" if data.targets.n > 4 else ""
        yield entry("targets", f"{data.targets.n} {kind}: {few}{more}")


def class_counts(data: Data, split: str) -> np.ndarray | None:
    """Return the number of items of each class in a split, int64 [C], or None without classes."""
    target: Any = data.readers[split].target
    if data.targets.kind != "class" or not isinstance(target, np.ndarray):
        return None
    return np.bincount(target, minlength=data.targets.n)


def unit_of(letters: Sequence[str]) -> str:
    """Return the unit of the length of a sequence."""
    if {"A", "C", "G"} <= set(letters) and len(letters) == 4:
        return "bp"
    return "residues" if {*"ACDEFGHIKLMNPQRSTVWY"} <= set(letters) else "symbols"


def _device(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    n = trainer.world_size
    n_threads = torch.get_num_threads()
    threads = f", {n_threads} thread{'s' * (n_threads > 1)}" if device.type == "cpu" else ""
    words = {"32": "32-bit floats", "64": "64-bit floats"}
    precision = precision_of(trainer)
    tf32 = torch.get_float32_matmul_precision() != "highest" and device.type == "cuda"
    used = words.get(precision, precision) + (", TF32 products" if tf32 else "")
    return f"{f'{n} x ' if n > 1 else ''}{name}{threads}; {used}"


def _encoder(run: Run, parts: Parts) -> str:
    encoder = parts.task.encoder
    n = sum(p.numel() for p in encoder.parameters())
    frozen = sum(p.numel() for p in encoder.parameters() if not p.requires_grad)
    fixed = f" ({frozen:,} of them frozen)" if frozen else ""
    unit = unit_of(parts.data.alphabet.letters)
    return f"{run.values.encoder}, {n:,} parameters{fixed}; an output sees {_sees(encoder, unit)}"


def _sees(encoder: Encoder, unit: str) -> str:
    if encoder.reach is None:
        return "everything before it" if encoder.causal else "the whole sequence"
    if encoder.causal:
        return f"{encoder.reach + encoder.stride:,} {unit}, none after it"
    return f"{2 * encoder.reach + encoder.stride:,} {unit}"


def _goal(run: Run, parts: Parts) -> Iterator[str]:
    """Yield lines that show what is monitored and when training ends."""
    v = run.values
    has_valid = "valid" in parts.data.splits
    if has_valid:
        name, mode = monitored(run, parts.task)
        best = "lowest" if mode == "min" else "highest"
        yield entry("monitored", f"{name}; the {best} makes best.ckpt and is marked *")
    else:
        yield entry("monitored", "nothing, as there is no valid split; the last weights are kept")
    ends = [f"{v.max_epochs} epochs"] if (v.max_epochs or -1) > 0 else []
    ends += [f"{v.max_steps:,} steps"] if v.max_steps > 0 else []
    ends += [f"{v.max_time} (max_time)"] if v.max_time else []
    if v.patience and has_valid:
        ends.append(f"{v.patience} validations without a better value")
    yield entry("ends after", ", or ".join(ends) or "no limit")


def short_name(name: str) -> str:
    """Return the name of a class or a target, cut to the width of a column."""
    name = plain_line(name)
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 3]}..."


def listed(paths: Sequence[str], most: int = 3) -> str:
    """Return the names of at most `most` files and the number of the others."""
    names = ", ".join(os.path.basename(x) for x in paths[:most])
    return names + (f" and {len(paths) - most} more" if len(paths) > most else "")
