"""Shared code of the verbs: the model, the stamp of their parts, progress on a terminal.

parts = parts_of("predict", hparams, digests)
if not parts.is_done():                # a command that is repeated loads no model
    model = model_of(hparams)
return run(parts, chunks, compute, n_rows)
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from seqmodel import VERSION
from seqmodel.errors import HparamError
from seqmodel.files import sha256_of
from seqmodel.hparam.header import CONFIG
from seqmodel.hparam.infer import ApplyHparams, ExportHparams, part_of
from seqmodel.hparam.paths import files_to_read
from seqmodel.infer.formats import Rows
from seqmodel.infer.model import Model, device_of, load
from seqmodel.infer.parts import Parts, apply
from seqmodel.training.host import check_number
from seqmodel.training.threads import set_threads
from seqmodel.training.waiting import considerate_waits

_CHUNK_ROWS, _CHUNK_LETTERS = 8192, 1 << 24
_DEVICES = {"auto": None, "cpu": "cpu", "gpu": "cuda", "mps": "mps"}


def model_of(hparams: ApplyHparams | ExportHparams) -> Model:
    """Load the model or the ensemble of a command on its device.

    Raises:
        CheckpointError, HparamError: See `load`.
    """
    set_threads(hparams.n_threads)
    return load(
        hparams.checkpoints,
        device=_DEVICES[hparams.accelerator],
        seq_len=hparams.seq_len,
        plugins=hparams.plugins or None,
        trust_plugins=hparams.trust_plugins,
        ensemble_of=hparams.ensemble_of,
        precision=hparams.precision,
    )


def parts_of(verb: str, hparams: ApplyHparams, digests: Mapping[str, str] | None = None) -> Parts:
    """Return the parts of a command, stamped with everything that determines their content.

    Args:
        verb: Name of the verb.
        hparams: Hyperparameters of the verb.
        digests: SHA-256 of input files by path, if already known.

    Raises:
        RunError: The outputs exist, or another command started them.
        HparamError: This host does not have the threads or the device.
    """
    check_number("n_threads", hparams.n_threads)
    device_of(_DEVICES[hparams.accelerator])  # before a folder of parts is made
    stamp = stamp_of(verb, hparams, digests or {})
    part = part_of(hparams.part)
    return Parts(hparams.out, stamp, part=part, overwrite=hparams.overwrite)


def stamp_of(verb: str, hparams: ApplyHparams, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return version, verb, SHA-256 of each input file, and the options that change the output."""
    declared = type(hparams).default_hparams().declared
    files: dict[str, str] = {}
    counts: dict[str, int] = {}
    for flag, path in files_to_read(declared, hparams.hparams):
        counts[flag] = number = counts.get(flag, 0) + 1
        files[f"{flag} {number}"] = digests.get(path) or sha256_of(path, HparamError)
        if path.endswith(".safetensors"):  # an exported model has more files beside it
            config = os.path.join(os.path.dirname(path), CONFIG)
            files[f"{flag} {number} {CONFIG}"] = sha256_of(config, HparamError)
    flags = {x[2:] for x in counts}
    left_out = {*type(hparams).not_in_stamp, *flags}
    options = {x: getattr(hparams, x) for x in declared if x not in left_out}
    return {"version": VERSION, "verb": verb, "files": files, "options": options}


def chunk_rows_of(hparams: ApplyHparams, seq_len: int | None) -> int:
    """Return the number of inputs in a part; it depends on the options and the window length."""
    return hparams.chunk_rows or max(1, min(_CHUNK_ROWS, _CHUNK_LETTERS // (seq_len or 1024)))


def run(
    parts: Parts,
    chunks: Iterable[Any],
    compute: Callable[[Any], Rows],
    n_rows: int | None = None,
) -> dict[str, int] | None:
    """Make the missing parts and join them, with a progress bar on a terminal.

    Args:
        parts: Parts to write.
        chunks: Inputs, `chunk_rows` at a time; at least one chunk, which may be empty.
        compute: Function that turns a chunk into Rows.
        n_rows: Number of all inputs, if known.

    Returns:
        Counts by status, or None if parts of other processes are missing.
    """
    gc.freeze()  # existing objects stay: collecting garbage in all of torch costs as much as a part
    try:
        with considerate_waits():
            return apply(parts, shown(chunks, n_rows), compute)
    finally:
        gc.unfreeze()


def shown(chunks: Iterable[Sized], n_rows: int | None) -> Iterator[Any]:
    """Yield the chunks, with a progress bar on a terminal."""
    from tqdm import tqdm

    with tqdm(
        total=n_rows, unit=" inputs", unit_scale=True, disable=not sys.stderr.isatty()
    ) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk))
