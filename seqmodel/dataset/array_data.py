"""One-hot sequences and labels as arrays: DeepSEA's .mat (v5 and v7.3), .h5, .npz.

They are converted to codes once, in parts, and cached as memory-mapped files (array_cache.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seqmodel.dataset.batch.reader import SequenceReader
from seqmodel.dataset.data import Data
from seqmodel.dataset.interval.interval import Contigs, Intervals
from seqmodel.dataset.label.array_cache import MappedArray, cached_array, key_of
from seqmodel.dataset.label.labels import FLOAT32_MAX, targets_of
from seqmodel.dataset.label.table import SLACK
from seqmodel.dataset.label.targets import Targets
from seqmodel.dataset.split import SPLITS, WORDS
from seqmodel.errors import HparamError, LabelError
from seqmodel.extras import missing
from seqmodel.files import COPY_AGAIN, open_binary, reading

_PART = 4096
_ANY_X = ("x", "X", "sequences", "sequence", "seq", "inputs", "input", "onehot")
_ANY_Y = ("y", "Y", "labels", "label", "targets", "target", "outputs", "output")


class MappedCodes:
    """Sequences of equal length in a mapped array with `SLACK` bytes at both ends (window.py)."""

    def __init__(self, mapped: MappedArray, n: int, length: int) -> None:
        self.mapped, self.n, self.length = mapped, n, length
        self.data = np.asarray(mapped.array)
        self.lengths = np.full(n, length, dtype=np.int64)
        self.offsets = SLACK + np.arange(n, dtype=np.int64) * length

    def __reduce__(self) -> tuple:
        return MappedCodes, (self.mapped, self.n, self.length)


class ArrayData(Data):
    """Data from arrays: one file for each split."""

    def _load(self) -> None:
        found = {}
        for split in SPLITS:
            paths = getattr(self.hparams, f"{split}_files")
            if len(paths) > 1:
                raise HparamError(f"--{split}_files needs one file of arrays, but got {len(paths)}")
            if paths:
                found[split] = self._read(split, paths[0])
        lengths = {codes.length for codes, _ in found.values()}
        if len(lengths) > 1 or self.hparams.seq_len not in (None, *lengths):
            raise LabelError(
                f"the sequences have lengths {sorted(lengths)}; all must be "
                "equal, and equal to --seq_len if it is set"
            )
        self.seq_len = lengths.pop()
        labels = [y for _, y in found.values()]
        self.targets = _targets(labels, self.hparams.label_kind)
        for split, (codes, y) in found.items():
            contigs = Contigs([], codes.lengths)
            whole = Intervals(contigs, np.arange(codes.n), np.zeros(codes.n), self.seq_len)
            self.readers[split] = SequenceReader(
                codes, self.alphabet, whole, self.seq_len, target=y
            )

    def _read(self, split: str, path: str) -> tuple[MappedCodes, np.ndarray]:
        hp = self.hparams
        is_mat = path.lower().endswith(".mat")
        arrays = _open(path, is_mat)
        x, y = _named(path, arrays, split, hp.array_names)
        letters = (hp.onehot_letters or ("AGCT" if is_mat else "ACGT")).upper()
        if sorted(letters) != sorted("".join(self.alphabet.letters)):
            raise HparamError(
                f"--onehot_letters={letters}: must be the symbols of the alphabet, "
                f"{''.join(self.alphabet.letters)}, in another order"
            )
        reversed_ = is_mat and not isinstance(x, np.ndarray)  # HDF5 reverses MATLAB's axes
        shape = tuple(reversed(x.shape)) if reversed_ else tuple(x.shape)
        n, length = _shape(path, shape, len(letters))
        n_y = 0 if not y.shape else y.shape[-1] if reversed_ else y.shape[0]
        if n_y != n or not n:
            raise LabelError(f"{path}: {n} sequences but {n_y} rows of labels")
        with reading(path, LabelError, "HDF5 file"):
            labels = np.asarray(y).T if reversed_ else np.asarray(y)
        ids = np.array([self.alphabet.letters.index(a) for a in letters], dtype=np.uint8)

        def fill(out: np.ndarray) -> None:
            codes = out[SLACK : SLACK + n * length].reshape(n, length)
            for i in range(0, n, _PART):
                with reading(path, LabelError, "HDF5 file"):
                    part = x[..., i : i + _PART].T if reversed_ else x[i : i + _PART]
                codes[i : i + _PART] = _codes(part, length, ids, self.alphabet.unknown_id)

        key = key_of(split, hp.array_names, letters, self.alphabet.to_dict())
        size = (n * length + 2 * SLACK,)
        codes = cached_array([path], key, size, np.uint8, fill, self.cache_dir)
        return MappedCodes(MappedArray(codes), n, length), _compact(path, labels, hp.label_kind)


def _shape(path: str, shape: tuple[int, ...], n_letters: int) -> tuple[int, int]:
    """Return number and length of the sequences of [n, A, L], [n, L, A] or [n, A, 1, L]."""
    inner = [x for x in shape[1:] if x != 1]
    if len(inner) != 2 or n_letters not in inner:
        raise LabelError(
            f"{path}: sequences of shape {list(shape)}; must be [n, {n_letters}, L] or "
            f"[n, L, {n_letters}]"
        )
    return shape[0], inner[1] if inner[0] == n_letters else inner[0]


def _codes(part: np.ndarray, length: int, ids: np.ndarray, unknown_id: int) -> np.ndarray:
    """Return codes uint8 [n, L] of one-hot sequences; columns without a single 1 are unknown."""
    inner = tuple(x for x in part.shape[1:] if x != 1)
    onehot = part.reshape(len(part), *inner)
    axis = 1 if inner[0] == len(ids) else 2
    known = ((onehot == 1).sum(axis=axis) == 1) & (onehot.sum(axis=axis) == 1)
    found = np.where(known, ids[np.argmax(onehot, axis=axis)], unknown_id)
    return found.reshape(len(part), length)


def _compact(path: str, labels: np.ndarray, kind: str | None) -> np.ndarray:
    """Convert labels: int64 [n] for classes, else [n, T], uint8 if all are 0 or 1, or float32.

    If `kind` is unset, whole numbers of shape [n] are classes, because no other kind has them.
    """
    if labels.dtype.kind not in "buif":
        raise LabelError(f"{path}: labels of type {labels.dtype} are not numbers")
    shape = [x for x in labels.shape[1:] if x != 1]
    if len(shape) > 1:
        raise LabelError(f"{path}: labels of shape {list(labels.shape)}; must be [n] or [n, T]")
    labels = labels.reshape(len(labels), *shape)
    infinite = np.argwhere(np.abs(labels) > FLOAT32_MAX)
    if len(infinite):
        place = infinite[0].tolist()
        raise LabelError(
            f"{path}: the label at {place} is {labels[tuple(place)]}, infinite in float32; write "
            "NaN if it is missing"
        )
    missing = np.isnan(labels) if labels.dtype.kind == "f" else np.zeros(labels.shape, bool)
    with np.errstate(invalid="ignore"):
        bits = missing | (labels == 0) | (labels == 1)
        whole = ~missing & (labels >= 0) & (labels == labels // 1)
    if kind is None:
        kind = "class" if labels.ndim == 1 and whole.all() else "real"
        kind = "multilabel" if labels.ndim == 2 and bits.all() and not missing.any() else kind
    if kind == "class":
        _check_labels(path, labels, whole, "a whole number from 0 on", "a class")
        return labels.astype(np.int64)
    labels = labels.reshape(len(labels), -1)
    if kind == "real":
        return labels.astype(np.float32)
    _check_labels(path, labels, bits.reshape(labels.shape), "0 or 1 or missing (NaN)", "a label")
    return labels.astype(np.float32 if missing.any() else np.uint8)


def _check_labels(path: str, labels: np.ndarray, good: np.ndarray, wanted: str, what: str) -> None:
    """Check that all labels are `good`.

    Raises:
        LabelError: A label is not good (the first is named), or classes have several columns.
    """
    if what == "a class" and labels.ndim > 1:
        raise LabelError(
            f"{path}: labels of shape {list(labels.shape)}, but a class is one number for each "
            "sequence; use --task=multilabel (--label_kind=multilabel) for columns of 0 and 1"
        )
    wrong = np.argwhere(~good)
    if len(wrong):
        place = wrong[0].tolist()
        raise LabelError(
            f"{path}: the label at {place} is {labels[tuple(place)]}, but {what} is {wanted}; set "
            "--label_kind (--task) to the kind of the labels"
        )


def _targets(labels: list[np.ndarray], kind: str | None) -> Targets:
    first = labels[0]
    if all(x.ndim == 1 for x in labels):
        return targets_of("class", (), (), labels)
    if any(x.ndim == 1 for x in labels):
        raise LabelError(
            "the labels of one split are classes, but those of another are not; set --label_kind"
        )
    bits = all(x.dtype == np.uint8 for x in labels)
    kind = kind or ("multilabel" if bits else "real")
    return Targets(kind, tuple(map(str, range(first.shape[1]))))


def _open(path: str, is_mat: bool) -> Mapping[str, object]:
    """Open the arrays of a file, by name."""
    with open_binary(path, LabelError, empty=False) as f:
        head = f.read(520)
    try:
        if head.startswith(b"PK"):
            with reading(path, LabelError, "npz file"), np.load(path) as arrays:
                return dict(arrays)
        if b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:520]):
            return _hdf5(path)
        if is_mat:
            from scipy.io import loadmat

            _check_mat(path)
            with reading(path, LabelError, ".mat file"):
                return loadmat(path)
    except ImportError as e:
        raise LabelError(missing(f"{path}:", e.name or "h5py", "hdf5")) from e
    raise LabelError(f"{path} is not a .mat, .h5 or .npz file")


def _hdf5(path: str) -> Mapping[str, object]:
    import h5py

    with reading(path, LabelError, "HDF5 file"):
        found = h5py.File(path, "r").items()
        return {name: x for name, x in found if isinstance(x, h5py.Dataset)}


def _check_mat(path: str) -> None:
    """Read a MATLAB 5 file in a separate process, because a damaged file may crash SciPy's reader.

    Raises:
        LabelError: The reader crashed.
    """
    program = "import sys; from scipy.io import loadmat; loadmat(sys.argv[1])"
    command = [sys.executable, "-P", "-c", program, os.path.abspath(path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode < 0:
        raise LabelError(f"{path}: cannot be read as .mat file (the reader crashed); {COPY_AGAIN}")


def _named(
    path: str, arrays: Mapping[str, object], split: str, names: list[str]
) -> tuple[Any, Any]:
    """Return the array of sequences and the array of labels."""
    words = [word for word, meant in WORDS.items() if meant == split]
    x_names = names[:1] or [y for w in words for y in _forms(w, ("xdata", "_in"), "xX")]
    y_names = names[1:] or [y for w in words for y in _forms(w, ("data", "_out"), "yY")]
    x = _first(arrays, x_names + (list(_ANY_X) if not names else []))
    y = _first(arrays, y_names + (list(_ANY_Y) if not names else []))
    if x is None or y is None:
        there = ", ".join(k for k in arrays if not k.startswith("__"))
        raise LabelError(f"{path} has the arrays {there}; choose two with --array_names")
    return arrays[x], arrays[y]


def _forms(word: str, ends: Iterable[str], letters: str) -> list[str]:
    plain = [f"{word}{end}" for end in ends]
    return plain + [y for x in letters for y in (f"{x}_{word}", f"{word}_{x}", f"{x}{word}")]


def _first(arrays: Mapping[str, object], names: list[str]) -> str | None:
    return next((x for x in names if x in arrays), None)
