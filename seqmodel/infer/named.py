"""Formats of files that a verb names itself: the file name selects the content."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import numpy as np

from seqmodel.errors import RunError
from seqmodel.files import writing
from seqmodel.infer.arrays import ArrayFormat, Pieces


class OneArrayFormat(ArrayFormat):
    """The array with the name of the file, as `arr_0` in .npz, the input of TF-MoDISco."""

    def __init__(self) -> None:
        super().__init__("npz")

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """Return the array as .npz bytes."""
        buffer = io.BytesIO()
        np.savez(buffer, arr_0=rows.arrays[self.name])
        return buffer.getvalue()


class LinesFormat:
    """The text with the name of the file."""

    name = ""

    def __init__(self, packed: bool) -> None:
        self.packed = packed

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """Return the text; only the first part has the line of column names."""
        raw = rows.lines[self.name].encode("utf-8", "surrogateescape")
        return gzip.compress(raw, 6, mtime=0) if self.packed and raw else raw

    def join(self, pieces: Pieces, out: str) -> None:
        """Write all texts into one file."""
        with writing(out, RunError) as file:
            for piece in pieces():
                file.write(piece)


class SummaryFormat:
    """One JSON object for all rows.

    `left_out` lists are concatenated, `n_*` are summed, `largest_*` and `smallest_*` are the
    maximum and the minimum. All other values are equal in each part.
    """

    name = ""

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """Return the object of these rows."""
        return json.dumps(rows.summary).encode()

    def join(self, pieces: Pieces, out: str) -> None:
        """Write the object of all rows."""
        found: dict[str, Any] = {}
        for piece in pieces():
            for name, value in json.loads(piece).items():
                found[name] = self._joined(name, found.get(name), value)
        with writing(out, RunError) as file:
            file.write(f"{json.dumps(found, indent=1)}\n".encode())

    def _joined(self, name: str, before: Any, value: Any) -> Any:
        if before is None or value is None:
            return value if before is None else before
        if name == "left_out" or name.startswith("n_"):
            return before + value
        if name.startswith("largest_"):
            return max(before, value)
        return min(before, value) if name.startswith("smallest_") else value
