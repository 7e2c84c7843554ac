"""Turn chunks of windows into rows of predictions.

This module does not read or write files. The network runs batch by batch within a chunk, so the
rows that share a batch depend on the inputs only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch

from seqmodel.dataset.batch.window import WindowReader, plan_windows
from seqmodel.dataset.build import joined_rows
from seqmodel.dataset.seq.digests import digests
from seqmodel.errors import HparamError
from seqmodel.extras import optional
from seqmodel.infer.formats import Rows, Track
from seqmodel.infer.halving import Halving, on_host
from seqmodel.infer.inputs import STATUSES, Chunk

ADVICE = "choose .npz, .h5, .bw or .bedgraph.gz"


@dataclass(frozen=True)
class Shown:
    """Selection of values to output.

    Attributes:
        logits: Add a column with the logit of each target.
        reduce: "mean" or "max" over several windows of one input.
        tables: Some outputs hold one number for each target and row.
        arrays: Some outputs hold arrays.
        tracks: Number of the target of each track output, by its file name.
        log1p: Tracks hold log(1 + value).
    """

    logits: bool = False
    reduce: str = "mean"
    tables: bool = True
    arrays: bool = False
    tracks: Mapping[str, int] = field(default_factory=dict)
    log1p: bool = False


class Values(NamedTuple):
    """Computed values of a chunk, one row for each window; None if not selected."""

    predictions: np.ndarray
    logits: np.ndarray | None
    members: np.ndarray | None
    """Predictions of each member of an ensemble, [m, M, T ...]."""
    n_unknown: np.ndarray
    is_nan: np.ndarray


class Overlap:
    """Count inputs that overlap the training data, or that are training sequences.

    Attributes:
        n_seen: Number of inputs with a place on a contig.
        n_trained: Number of those that overlap training windows.
        n_whole: Number of inputs that are whole sequences, if the training sequences are known.
        n_same: Number of those that equal a training sequence, on either strand.
    """

    def __init__(self, model: Any) -> None:
        self.trained, self.n_seen, self.n_trained = model.trained_on.contigs, 0, 0
        self.alphabet, self.longest = model.alphabet, model.seq_len
        self.rows = reduce(joined_rows, (x.rows for x in model.members))
        self.n_whole = self.n_same = 0

    def add(self, chunk: Chunk) -> None:
        """Count the inputs of a chunk."""
        self._add_rows(chunk)
        trained = self.trained
        if not trained or not len(chunk):
            return
        names = chunk.columns.get("contig", chunk.columns.get("name"))
        if names is None:
            return
        self.n_seen += len(chunk)
        if chunk.places is None:  # whole records
            sizes = chunk.codes.lengths
            rows = zip(names, sizes, strict=True)
            self.n_trained += sum(name in trained and trained[name][0] == n for name, n in rows)
            return
        by_name: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            if name in trained:
                by_name.setdefault(name, []).append(i)
        for name, here in by_name.items():
            first, last = trained[name][2:4]
            start, end = chunk.places.start[here], chunk.places.end[here]
            size = chunk.codes.lengths[chunk.places.contig[here][:1]]
            if size == trained[name][0]:
                self.n_trained += int(((start < last) & (end > first)).sum())

    def _add_rows(self, chunk: Chunk) -> None:
        if self.rows is None or chunk.places is not None or not len(chunk):
            return
        codes = chunk.codes
        # training rejects longer ones
        at = np.flatnonzero((codes.lengths > 0) & (codes.lengths <= (self.longest or np.inf)))
        begin = codes.offsets[at].tolist()
        bounds = zip(begin, codes.lengths[at].tolist(), strict=True)
        found = digests((codes.data[i : i + n] for i, n in bounds), self.alphabet)
        self.n_whole += len(chunk)
        self.n_same += int(np.isin(found, self.rows).sum())

    def warn(self) -> None:
        """Warn if inputs overlap the training data or are training sequences."""
        if self.n_same:
            percent = 100 * self.n_same / self.n_whole
            warnings.warn(
                f"{percent:.0f} % of these sequences ({self.n_same:,} of {self.n_whole:,}) are in "
                "the training data of the model; their predictions say little about new sequences",
                stacklevel=2,
            )
        if self.n_trained:
            percent = 100 * self.n_trained / self.n_seen
            warnings.warn(
                f"{percent:.0f} % of these inputs ({self.n_trained:,} of {self.n_seen:,}) overlap "
                "the training data of the model; their predictions say little about new sequences",
                stacklevel=2,
            )


class Predictor:
    """Turn a Chunk into Rows.

    Args:
        model: Model (model.py).
        shown: Selection of values.
        batch_size: Number of windows in a batch. None means the training batch size.
        instead: Function of ids [N, L] and the mask of padding that replaces the prediction.

    Attributes:
        overlap: Counts of inputs that overlap the training data.
    """

    def __init__(
        self,
        model: Any,
        shown: Shown | None = None,
        batch_size: int | None = None,
        instead: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] | None = None,
    ) -> None:
        self.model, self.shown, self._instead = model, shown or Shown(), instead
        self.batch_size = batch_size or model.members[0].batch_size
        self.overlap = Overlap(model)
        self._halving = Halving(self.batch_size)
        self.names = list(model.targets.names or model.alphabet.letters) if instead is None else []

    def __call__(self, chunk: Chunk) -> Rows:
        """Return the rows of a chunk.

        Raises:
            HparamError: The chosen formats cannot hold the outputs of the model.
        """
        values = self._of_inputs(self._of_windows(chunk), chunk)
        self._refuse(values.predictions)
        self.overlap.add(chunk)
        words = np.array(STATUSES)[chunk.status]
        numbers = self._numbers(values, {*chunk.columns, "n_unknown", "status"})
        columns = {**chunk.columns, **_renamed(chunk.kept, {**chunk.columns, **numbers})}
        columns |= {**numbers, "n_unknown": values.n_unknown, "status": words.tolist()}
        counts = {name: int((chunk.status == i).sum()) for i, name in enumerate(STATUSES)}
        counts["nan"] = int(values.is_nan.sum())
        found = {name: n for name, n in counts.items() if n}
        if not self.shown.arrays:
            return Rows(columns, {}, found, tracks=self._tracks(chunk, values))
        arrays = {k: _array(v) for k, v in columns.items() if k not in numbers}
        arrays["predictions"] = values.predictions
        if values.logits is not None:
            arrays["logits"] = values.logits
        if values.members is not None:
            arrays["sd"] = values.members.std(1, ddof=1, dtype=np.float64).astype(np.float32)
        constants = {"targets": np.array(self.names, dtype=str)}
        return Rows(columns, arrays, found, constants, self._tracks(chunk, values))

    def warn(self) -> None:
        """Warn if inputs overlap the training data."""
        self.overlap.warn()

    def _refuse(self, predictions: np.ndarray) -> None:
        if predictions.ndim > 2 and self.shown.tables:
            raise HparamError(
                f"task {self.model.task} has one value for each position or bin, which a table "
                f"with one column for each target cannot hold; {ADVICE}"
            )

    def _numbers(self, values: Values, taken: set[str]) -> dict[str, np.ndarray]:
        """Return the columns of predictions, by name."""
        if values.predictions.ndim > 2:
            return {}
        found: dict[str, np.ndarray] = {}
        spread = None
        if values.members is not None:
            spread = values.members.std(1, ddof=1, dtype=np.float64).astype(np.float32)
        for i, target in enumerate(self.names):
            parts = {target: values.predictions}
            parts |= {f"{target}_logit": values.logits} if values.logits is not None else {}
            parts |= {f"{target}_sd": spread} if spread is not None else {}
            for name, x in parts.items():
                while name in taken or name in found:
                    name += "_prediction"
                found[name] = x[:, i]
        return found

    @torch.no_grad()
    def _of_windows(self, chunk: Chunk) -> Values:
        model, length = self.model, self.model.seq_len
        alphabet = model.alphabet
        reader = WindowReader(chunk.codes, alphabet, length)
        plan = plan_windows(
            chunk.codes.offsets, chunk.codes.lengths, chunk.contig, chunk.start, length, chunk.flip
        )
        model.network.eval()
        parts: list[Values] = []
        n = len(chunk.row)
        started: list[Callable[[], Values]] = []
        for at in range(0, n, self.batch_size):
            ids, pad = reader.read(plan.part(at, min(at + self.batch_size, n)))
            before, started = started, self._batch(ids, pad, n_of(ids, alphabet.unknown_id))
            parts += [finish() for finish in before]  # while a GPU computes the next batch
        parts += [finish() for finish in started]
        if not parts:  # zero rows need the shape of a row
            ids = np.full((1, length), alphabet.unknown_id, dtype=np.uint8)
            (empty,) = self._batch(ids, None, np.zeros(1, dtype=np.int64))
            return Values(*(None if x is None else x[:0] for x in empty()))  # type: ignore[arg-type]  # in order
        return _joined(parts)

    def _batch(
        self, ids: np.ndarray, pad: np.ndarray | None, n_unknown: np.ndarray
    ) -> list[Callable[[], Values]]:
        """Start a batch, in pieces if the device has too little memory."""

        def part(x: slice) -> Callable[[], Values]:
            return self._part(ids[x], None if pad is None else pad[x], n_unknown[x])

        return self._halving(len(ids), part)

    def _part(
        self, ids: np.ndarray, pad: np.ndarray | None, n_unknown: np.ndarray
    ) -> Callable[[], Values]:
        """Start the computation of some rows; return a function that waits for their values."""
        model = self.model
        mask = None if pad is None else torch.from_numpy(pad).to(model.device)
        x = torch.from_numpy(ids).to(model.device)
        logits = members = None
        if self._instead is not None:
            found = self._instead(x, mask)
            is_nan = found.isnan()
        else:
            each = model.network.each(x, mask)
            is_nan = each[0].isnan()
            for x in each[1:]:
                is_nan |= x.isnan()
            found = model.shown(each, mask)
            if self.shown.logits:
                logits = model.shown(each, mask, logits=True)
            if len(each) > 1:
                members = torch.stack([model.shown([x], mask) for x in each], 1)
        finish = on_host(found, logits, members, is_nan.flatten(1).any(1))

        def values() -> Values:
            *numbers, nan = finish()
            return Values(*(*numbers, n_unknown, nan))  # type: ignore[arg-type]  # in order

        return values

    def _of_inputs(self, x: Values, chunk: Chunk) -> Values:
        """Return one row per input: NaN without a window, mean or maximum of several."""
        n, row = len(chunk), chunk.row
        if len(row) == n and (row == np.arange(n)).all():
            return x
        begins = np.flatnonzero(np.diff(row, prepend=-1))
        which = row[begins]
        several = len(begins) < len(row)
        if several and x.predictions.ndim > 2:
            raise HparamError(
                f"--too_long=tile_{self.shown.reduce}: task {self.model.task} has one value for "
                "each position or bin; set --too_long=center, or give --tiles"
            )

        def of_inputs(values: np.ndarray | None) -> np.ndarray | None:
            if values is None:
                return None
            out = np.full((n, *values.shape[1:]), np.nan, dtype=values.dtype)
            out[which] = self._reduced(values, begins) if several else values
            return out

        n_unknown = np.zeros(n, dtype=np.int64)
        is_nan = np.zeros(n, dtype=bool)
        if len(begins):
            n_unknown[which] = np.add.reduceat(x.n_unknown, begins)
            is_nan[which] = np.logical_or.reduceat(x.is_nan, begins)
        rest = (of_inputs(x.predictions), of_inputs(x.logits), of_inputs(x.members))
        return Values(*rest, n_unknown, is_nan)  # type: ignore[arg-type]  # in order

    def _reduced(self, values: np.ndarray, begins: np.ndarray) -> np.ndarray:
        if self.shown.reduce == "max":
            return np.maximum.reduceat(values, begins)
        sums = np.add.reduceat(values.astype(np.float64), begins)
        counts = np.diff(begins, append=len(values))
        return (sums / counts.reshape(-1, *[1] * (values.ndim - 1))).astype(values.dtype)

    def _tracks(self, chunk: Chunk, x: Values) -> dict[str, Track]:
        if not self.shown.tracks:
            return {}
        if chunk.places is None:
            raise HparamError("tracks need coordinates; use --fasta with --intervals or --tiles")
        values, places = x.predictions, chunk.places
        partners = list(self.model.targets.partners)
        inside = chunk.status != STATUSES.index("outside")
        start, end, contig = places.start, places.end, places.contig
        if values.ndim > 2:
            start, end, contig, values = self._bins(chunk, values, partners)
        if self.shown.log1p:
            values = np.log1p(values)
        names = getattr(chunk.codes, "names", [])
        sizes = chunk.codes.lengths
        if values.ndim == 2 and len(values) == len(inside):
            start, end, contig, values = start[inside], end[inside], contig[inside], values[inside]
        start, end = np.maximum(start, 0), np.minimum(end, sizes[contig])
        return {
            out: Track(names, sizes, contig, start, end, values[:, target])
            for out, target in self.shown.tracks.items()
        }

    def _bins(
        self, chunk: Chunk, values: np.ndarray, partners: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the bins of all windows: start, end, contig and values [n bins, T]."""
        values = values[chunk.row].copy()
        flip = chunk.flip
        values[flip] = values[flip][:, ::-1][:, :, partners]
        n_bins = values.shape[1]
        length = self.model.seq_len
        width = self.model.bin_len if n_bins != length else 1
        first = chunk.start + (length - n_bins * width) // 2
        start = first[:, None] + width * np.arange(n_bins)
        contig = np.repeat(chunk.contig, n_bins)
        start = start.reshape(-1)
        return start, start + width, contig, values.reshape(-1, values.shape[2])


def n_of(ids: np.ndarray, letter: int) -> np.ndarray:
    """Count an id in each row, int64 [n]."""
    return (ids == letter).sum(axis=1, dtype=np.int64)


def as_frame(chunks: Iterable[Chunk], compute: Callable[[Chunk], Rows]) -> Any:
    """Return the rows of all chunks as a DataFrame.

    Raises:
        HparamError: pandas is not installed.
    """
    pd = optional("pandas", "a DataFrame", "report", HparamError)
    frames = [pd.DataFrame(dict(compute(chunk).columns)) for chunk in chunks]
    return pd.concat(frames, ignore_index=True)


def _joined(parts: Sequence[Values]) -> Values:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*parts, strict=True)
    return Values(*(None if x[0] is None else np.concatenate(x) for x in columns))  # type: ignore[arg-type]  # in order


def _renamed(kept: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of the input, renamed if an output column has the same name."""
    ours = {*taken, "n_unknown", "status"}
    return {f"input_{name}" if name in ours else name: x for name, x in kept.items()}


def _array(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else np.array(values, dtype=str)
