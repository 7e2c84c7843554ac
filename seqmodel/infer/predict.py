"""`seqmodel predict`: read files of sequences, write files of predictions, in parts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import HparamError
from seqmodel.hparam.dataset import repeated
from seqmodel.hparam.header import read_header
from seqmodel.hparam.infer import TRACKS, ApplyHparams, PredictHparams
from seqmodel.infer.command import chunk_rows_of, model_of, parts_of, run
from seqmodel.infer.formats import ARRAYS, suffix_of
from seqmodel.infer.frame import Source, source_of, store_of
from seqmodel.infer.inputs import Reading, with_index
from seqmodel.infer.model import Model
from seqmodel.infer.parts import Parts
from seqmodel.infer.rows import Predictor, Shown


def command(hparams: PredictHparams) -> dict[str, int] | None:
    """Predict and write the outputs; return counts of inputs by status, None if parts are missing.

    Raises:
        SeqmodelError: The user can correct the input.
    """
    headers = [read_header(x) for x in hparams.checkpoints]
    hparams.hparams.out, tracks = outs_of(hparams.out, headers[0].get("targets"))
    store = store_for(hparams)
    parts = parts_for("predict", hparams, store)
    if parts.is_done():
        return parts.join()
    model = model_of(hparams)
    if hparams.calibrated:
        model = model.calibrated()
    source = inputs_of(hparams, model, store)
    suffixes = {suffix_of(x) for x in hparams.out}
    shown = Shown(
        logits=hparams.logits,
        reduce="max" if hparams.too_long == "tile_max" else "mean",
        tables=bool(suffixes - {*TRACKS, *ARRAYS}),
        arrays=bool(suffixes & {*ARRAYS}),
        tracks=tracks,
        log1p=hparams.scale == "log1p",
    )
    predictor = Predictor(model, shown, hparams.batch_size)
    counts = run(parts, with_index(source.chunks()), predictor, source.n_rows)
    predictor.warn()
    if counts and counts.get("nan"):
        warnings.warn(f"{counts['nan']:,} inputs have a NaN output", stacklevel=2)
    return counts


def store_for(hparams: ApplyHparams) -> SequenceStore | None:
    """Open the sequences of intervals and tiles with the model's alphabet, if any."""
    if not (hparams.intervals or hparams.tiles):
        return None
    alphabet = read_header(hparams.checkpoints[0])["alphabet"]  # None in checkpoints of 0.1
    return store_of(hparams, Alphabet.from_dict(alphabet or model_of(hparams).alphabet.to_dict()))


def parts_for(verb: str, hparams: ApplyHparams, store: SequenceStore | None) -> Parts:
    """Return the parts of a command, without reading FASTA files again if a store has them."""
    return parts_of(verb, hparams, {} if store is None else _digests(hparams.fasta, store))


def inputs_of(
    hparams: ApplyHparams, model: Model, store: SequenceStore | None, chunk_rows: int | None = None
) -> Source:
    """Open the inputs of a command as windows of the length that the model reads.

    Raises:
        HparamError: The length is unknown, or the inputs do not fit together.
    """
    if model.seq_len is None:
        raise HparamError(
            f"{hparams.checkpoints[0]} does not record the length of its sequences; set --seq_len"
        )
    chunk_rows = chunk_rows or chunk_rows_of(hparams, model.seq_len)
    how = Reading(model.alphabet, model.seq_len, hparams.too_long, chunk_rows)
    return source_of(hparams, how, store, model.members[0].anchor)


def outs_of(
    outs: Sequence[str], targets: Mapping[str, Any] | None
) -> tuple[list[str], dict[str, int]]:
    """Return the output files, and the number of the target of each track.

    A track holds one target: with several targets, `out.bw` becomes `out.<target>.bw`.

    Raises:
        HparamError: The checkpoint does not have the targets.
    """
    found: list[str] = []
    tracks: dict[str, int] = {}
    for out in outs:
        suffix = suffix_of(out)
        if suffix not in TRACKS:
            found.append(out)
            continue
        if targets is None or not targets["names"]:
            raise HparamError(f"--out={out}: no target names in the checkpoint; choose .npz or .h5")
        for i, name in enumerate(targets["names"]):
            part = "" if len(targets["names"]) == 1 else f".{quote(name, safe=' +()=,')}"
            path = f"{out[: len(out) - len(suffix)]}{part}{out[len(out) - len(suffix) :]}"
            found.append(path)
            tracks[os.path.basename(path)] = i
    twice = repeated(found)
    if twice is not None:
        raise HparamError(f"--out={twice} would be written twice; give each output once")
    return found, tracks


def _digests(fasta: Sequence[str], store: SequenceStore) -> dict[str, str]:
    by_path = store.digests()
    return {x: str(by_path[os.path.abspath(x)]["sha256"]) for x in fasta}
