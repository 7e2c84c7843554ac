"""Array formats: .npz, .h5, and .h5ad for one vector per row.

`.h5ad` follows anndata's on-disk specification 0.1.0 (dense X, data frames obs and var). The
package anndata is not needed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seqmodel.errors import RunError
from seqmodel.extras import optional
from seqmodel.files import writing

Pieces = Callable[[], Iterator[bytes]]
_CONSTANT = "constant "  # prefix of an array that belongs to all rows
_SIZES = "sizes "  # prefix of an array of sizes [n] that becomes offsets [n + 1]
MATRICES = ("embeddings", "predictions")
"""Arrays that become X, the first that is there."""


class ArrayFormat:
    """Arrays in .npz or .h5."""

    name = ""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """Return the arrays as .npz bytes."""
        buffer = io.BytesIO()
        constants = {f"{_CONSTANT}{name}": x for name, x in rows.constants.items()}
        sizes = {f"{_SIZES}{name}": x for name, x in rows.sizes.items()}
        both = {**rows.arrays, **constants, **sizes}
        np.savez(buffer, **both)
        return buffer.getvalue()

    def join(self, pieces: Pieces, out: str) -> None:
        """Concatenate each array along its first axis into one file."""
        shapes, dtypes = self.shapes(pieces)
        with writing(out, RunError) as file:
            if self.kind == "npz":
                self._npz(pieces, file, shapes, dtypes)
                return
            names = {own_name(x).replace("/", "|"): x for x in shapes}  # a slash makes a group
            with h5py_module().File(file, "w") as store:
                self.fill(pieces, store, names, shapes, dtypes)

    def shapes(self, pieces: Pieces) -> tuple[dict[str, tuple[int, ...]], dict[str, np.dtype[Any]]]:
        """Return the shape and type of each whole array."""
        shapes: dict[str, tuple[int, ...]] = {}
        dtypes: dict[str, np.dtype] = {}
        for piece in pieces():
            for name, x in arrays_of(piece).items():
                if name.startswith(_CONSTANT):
                    shapes[name], dtypes[name] = x.shape, x.dtype
                    continue
                none = 1 if name.startswith(_SIZES) else 0
                before = shapes.get(name, (none, *x.shape[1:]))
                shapes[name] = (before[0] + len(x), *x.shape[1:])
                dtypes[name] = np.promote_types(dtypes.get(name, x.dtype), x.dtype)
        return shapes, dtypes

    def constant(self, pieces: Pieces, name: str) -> np.ndarray | None:
        """Return an array that belongs to all rows, if present."""
        return arrays_of(next(pieces())).get(f"{_CONSTANT}{name}")

    def _npz(self, pieces: Pieces, file: Any, shapes: dict, dtypes: dict) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, shape in shapes.items():
                info = zipfile.ZipInfo(f"{own_name(name)}.npy", (1980, 1, 1, 0, 0, 0))
                with archive.open(info, "w", force_zip64=True) as member:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(dtypes[name]),
                        "fortran_order": False,
                        "shape": shape,
                    }
                    np.lib.format.write_array_header_2_0(member, header)
                    for x in _blocks(name, pieces()):
                        part = x.astype(dtypes[name], copy=False)
                        member.write(np.ascontiguousarray(part).tobytes())

    def fill(
        self, pieces: Pieces, store: Any, names: Mapping[str, str], shapes: dict, dtypes: dict
    ) -> None:
        """Write arrays into an HDF5 group; `names` maps names in the group to names here."""
        for own, name in names.items():
            is_text = dtypes[name].kind == "U"
            dtype = h5py_module().string_dtype() if is_text else dtypes[name]
            dataset = store.create_dataset(own, shapes[name], dtype=dtype, track_times=False)
            at = 0
            for x in _blocks(name, pieces()):
                dataset[at : at + len(x)] = x.astype(object) if is_text else x
                at += len(x)


def own_name(name: str) -> str:
    """Return the name of an array without the prefix of its kind."""
    return name.removeprefix(_CONSTANT).removeprefix(_SIZES)


class AnnDataFormat:
    """Write an array [n, C] as X and the other columns as obs."""

    name = ""

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """Return the arrays as .npz bytes.

        Raises:
            RunError: No array has one vector per row.
        """
        matrix = next((rows.arrays[x] for x in MATRICES if x in rows.arrays), None)
        if matrix is None or matrix.ndim != 2:
            raise RunError(f"{self.name}: .h5ad holds one vector per row; choose .npz or .h5")
        return ArrayFormat("h5").piece(rows, first=first)

    def join(self, pieces: Pieces, out: str) -> None:
        """Write all rows into one file."""
        with writing(out, RunError) as file, h5py_module().File(file, "w") as store:
            _mark(store, "anndata", "0.1.0")
            self._fill(ArrayFormat("h5"), pieces, store)

    def _fill(self, arrays: ArrayFormat, pieces: Pieces, store: Any) -> None:
        shapes, dtypes = arrays.shapes(pieces)
        matrix = next(x for x in MATRICES if x in shapes)
        arrays.fill(pieces, store, {"X": matrix}, shapes, dtypes)
        _mark(store["X"], "array", "0.2.0")
        n, n_columns = shapes[matrix]
        columns = [x for x in shapes if shapes[x] == (n,) and " " not in x and x != "index"]
        obs = _frame(store, "obs", n, columns)
        arrays.fill(pieces, obs, {x.replace("/", "|"): x for x in columns}, shapes, dtypes)
        for name in columns:
            is_text = dtypes[name].kind == "U"
            _mark(obs[name.replace("/", "|")], "string-array" if is_text else "array", "0.2.0")
        _frame(store, "var", n_columns, [], arrays.constant(pieces, "targets"))
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _mark(store.create_group(name), "dict", "0.1.0")


def _frame(
    store: Any, name: str, n: int, columns: Sequence[str], index: np.ndarray | None = None
) -> Any:
    """Write a data frame without columns; its index is the numbers from 0, or names."""
    group = store.create_group(name)
    _mark(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    text = h5py_module().string_dtype()
    own = [x.replace("/", "|") for x in columns]
    group.attrs.create("column-order", own, shape=(len(own),), dtype=text)
    names = np.arange(n).astype(str) if index is None or len(index) != n else index
    group.create_dataset("_index", data=names.astype(object), dtype=text, track_times=False)
    _mark(group["_index"], "string-array", "0.2.0")
    return group


def _mark(item: Any, kind: str, version: str) -> None:
    item.attrs["encoding-type"], item.attrs["encoding-version"] = kind, version


def _blocks(name: str, pieces: Iterator[bytes]) -> Iterator[np.ndarray]:
    """Yield the pieces of an array: one piece if it belongs to all rows; sizes become offsets."""
    blocks = (arrays_of(x)[name] for x in pieces)
    if name.startswith(_CONSTANT):
        yield next(blocks)
    elif name.startswith(_SIZES):
        end = np.zeros(1, dtype=np.int64)
        yield end
        for block in blocks:
            offsets = end[-1] + np.cumsum(block, dtype=np.int64)
            yield offsets
            end = np.append(end, offsets)[-1:]
    else:
        yield from blocks


def arrays_of(piece: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a piece, by name."""
    with np.load(io.BytesIO(piece)) as archive:
        return dict(archive)


def h5py_module() -> Any:
    """The package h5py.

    Raises:
        RunError: it is missing.
    """
    return optional("h5py", "HDF5", "hdf5", RunError)
