"""Formats of files that a verb names itself: what they hold goes by the name of the file."""

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
    """The array that has the name of the file, as `arr_0` in .npz: what TF-MoDISco reads."""

    def __init__(self) -> None:
        super().__init__("npz")

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """The array as .npz."""
        buffer = io.BytesIO()
        np.savez(buffer, arr_0=rows.arrays[self.name])
        return buffer.getvalue()


class LinesFormat:
    """The text that has the name of the file."""

    name = ""

    def __init__(self, packed: bool) -> None:
        self.packed = packed

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """The text; its first line, that names columns, is in the first part alone."""
        raw = rows.lines[self.name].encode("utf-8", "surrogateescape")
        return gzip.compress(raw, 6, mtime=0) if self.packed and raw else raw

    def join(self, pieces: Pieces, out: str) -> None:
        """All texts in one file."""
        with writing(out, RunError) as file:
            for piece in pieces():
                file.write(piece)


class SummaryFormat:
    """One JSON object for all rows.

    `left_out` is a list and joined, numbers named `n_*` are added up, of `largest_*` and
    `smallest_*` the largest and smallest is taken; all else is the same in each part.
    """

    name = ""

    def piece(self, rows: Any, *, first: bool) -> bytes:
        """The object of these rows."""
        return json.dumps(rows.summary).encode()

    def join(self, pieces: Pieces, out: str) -> None:
        """That of all rows."""
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
