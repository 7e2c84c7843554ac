"""`seqmodel embed`: read files of sequences, write files of embeddings, in parts."""

from __future__ import annotations

import warnings

import numpy as np

from seqmodel.hparam.infer import EmbedHparams
from seqmodel.infer.command import chunk_rows_of, model_of, run
from seqmodel.infer.embedding import embedder, split
from seqmodel.infer.formats import Rows
from seqmodel.infer.inputs import Chunk, with_index
from seqmodel.infer.model import Model
from seqmodel.infer.predict import inputs_of, parts_for, store_for
from seqmodel.infer.rows import Predictor, Shown

_CHUNK_VALUES = 1 << 26  # numbers in memory if all positions are kept


class Embedder:
    """Turn a Chunk into Rows."""

    def __init__(self, model: Model, hparams: EmbedHparams) -> None:
        shown = Shown(
            reduce="max" if hparams.too_long == "tile_max" else "mean", tables=False, arrays=True
        )
        self.by_position = hparams.pool == "none"
        compute = embedder(model, hparams.pool, hparams.layer)
        self._rows = Predictor(model, shown, hparams.batch_size, compute)
        self.overlap = self._rows.overlap

    def __call__(self, chunk: Chunk) -> Rows:
        """Return the rows of a chunk: `embeddings`, or `values` of all positions and `offsets`."""
        rows = self._rows(chunk)
        values = rows.arrays["predictions"]
        arrays = {name: x for name, x in rows.arrays.items() if name != "predictions"}
        if not self.by_position:
            columns = {**rows.columns, "embedding": values}
            return Rows(columns, {**arrays, "embeddings": values}, rows.counts)
        each = split(values)
        empty = values.reshape(-1, values.shape[-1])[:0, :-1]
        sizes = np.fromiter(map(len, each), np.int64, len(each))
        arrays["values"] = np.concatenate([empty, *each])
        return Rows(rows.columns, arrays, rows.counts, sizes={"offsets": sizes})


def command(hparams: EmbedHparams) -> dict[str, int] | None:
    """Embed and write the outputs; return counts of inputs by status, None if parts are missing.

    Raises:
        SeqmodelError: The user can correct the input.
    """
    store = store_for(hparams)
    parts = parts_for("embed", hparams, store)
    if parts.is_done():
        return parts.join()
    model = model_of(hparams)
    chunk_rows = chunk_rows_of(hparams, model.seq_len)
    if hparams.pool == "none" and not hparams.chunk_rows:
        width = model.members[0].task.encoder.n_out
        chunk_rows = max(1, min(chunk_rows, _CHUNK_VALUES // (width * (model.seq_len or 1))))
    source = inputs_of(hparams, model, store, chunk_rows)
    rows_of = Embedder(model, hparams)
    counts = run(parts, with_index(source.chunks()), rows_of, source.n_rows)
    rows_of.overlap.warn()
    if counts and counts.get("nan"):
        warnings.warn(f"{counts['nan']:,} inputs have an embedding with NaN", stacklevel=2)
    return counts
