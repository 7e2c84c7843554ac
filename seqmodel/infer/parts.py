"""Outputs in parts: a resumed command, or several processes, write the same bytes.

`OUT.parts/` beside the first output holds

    apply.json      the computation: version, options, SHA-256 of checkpoints and inputs
    00000000.part   results of `chunk_rows` inputs, one piece for each output (a stored ZIP file)
    end.json        number of inputs, written when a process has read all of them

The inputs of a part depend only on the input files, so any process may write any part, and two
processes write the same bytes. When all parts exist, they are joined under a lock and removed.
apply.json stays, so the same command finds that its work is done.
"""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from seqmodel.dataset.seq.store_build import lock
from seqmodel.errors import RunError
from seqmodel.files import read_text, reading, remove_stale, write_file
from seqmodel.infer.formats import Format, Rows, format_of

STAMP, END = "apply.json", "end.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so the bytes do not depend on it


class Parts:
    """The outputs of one command, in parts.

    Args:
        outs: Paths of the outputs; their suffixes select the formats.
        stamp: Description of the computation as plain values. Another stamp is refused.
        part: (k, n): this process makes every n-th part, starting from the k-th; k counts from 1.
        overwrite: Replace existing outputs of other commands.

    Raises:
        RunError: An output exists, or was started with another stamp. The message names the first
            difference.
    """

    def __init__(
        self,
        outs: Sequence[str],
        stamp: Mapping[str, Any],
        *,
        part: tuple[int, int] = (1, 1),
        overwrite: bool = False,
    ) -> None:
        self.outs, self.part = [os.path.abspath(x) for x in outs], part
        self.formats: list[Format] = [format_of(x) for x in outs]
        self.folder = f"{self.outs[0]}.parts"
        self.stamp = json.loads(json.dumps({**stamp, "outs": [os.path.basename(x) for x in outs]}))
        os.makedirs(self.folder, exist_ok=True)
        with lock(os.path.join(self.folder, "begin")):  # one of several processes starts
            before = _read(os.path.join(self.folder, STAMP))
            if before is None or (overwrite and before != self.stamp):
                self._begin(overwrite)
            else:
                self._compare(before)

    def is_done(self) -> bool:
        """Whether the outputs were joined and still exist."""
        end = _read(os.path.join(self.folder, END)) or {}
        return bool(end.get("joined")) and all(map(os.path.exists, self.outs))

    def wants(self, chunk: int) -> bool:
        """Whether this process should make this missing part, numbered from 0."""
        k, n = self.part
        return chunk % n == k - 1 and not os.path.exists(self._path(chunk))

    def put(self, chunk: int, rows: Rows) -> None:
        """Write the whole part to the disk.

        Raises:
            RunError: The disk is full, or another system error occurred. No other part is lost.
        """
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            counts = {"n": len(rows), **rows.counts}
            file.writestr(zipfile.ZipInfo("counts.json", _EPOCH), json.dumps(counts))
            for number, kind in enumerate(self.formats):
                piece = kind.piece(rows, first=chunk == 0)
                file.writestr(zipfile.ZipInfo(str(number), _EPOCH), piece)
        write_file(
            self._path(chunk),
            buffer.getbuffer(),
            RunError,
            durable=True,
            advice="the parts before it are kept; free space and run the same command again",
        )

    def end(self, n_chunks: int) -> None:
        """Record how many parts the inputs make."""
        if _read(os.path.join(self.folder, END)) is None:
            self._write(END, {"n_chunks": n_chunks})

    def missing(self) -> list[int] | None:
        """Return the numbers of the missing parts; None until all inputs were read."""
        end = _read(os.path.join(self.folder, END))
        if end is None:
            return None
        there = set(os.listdir(self.folder))
        return [i for i in range(end["n_chunks"]) if os.path.basename(self._path(i)) not in there]

    def join(self) -> dict[str, int]:
        """Write the whole outputs from the parts, then remove the parts.

        Returns:
            Number of inputs "n", and by status.

        Raises:
            RunError: Parts are missing or damaged, or an output cannot be written.
        """
        with lock(os.path.join(self.folder, "join")):
            end = _read(os.path.join(self.folder, END)) or {}
            if self.is_done():
                self._clear()  # the process that joined them was killed while it did
                return end["counts"]
            missing = self.missing()
            if missing is None or missing:
                what = "the inputs were not read to their end"
                if missing is not None:
                    what = f"{len(missing)} of {end['n_chunks']} parts are missing"
                raise RunError(f"{self.folder}: {what}; make the parts, then merge them")
            n_chunks = end["n_chunks"]
            counts: Counter[str] = Counter()
            for i in range(n_chunks):
                counts.update(json.loads(self._member(i, "counts.json")))
            for number, (kind, out) in enumerate(zip(self.formats, self.outs, strict=True)):
                kind.join(partial(self._pieces, n_chunks, str(number)), out)
            self._write(END, {"n_chunks": n_chunks, "joined": True, "counts": dict(counts)})
            self._clear()
            return dict(counts)

    def _clear(self) -> None:
        """Remove the parts, and leftovers of killed processes."""
        for path in glob.glob(f"{glob.escape(self.folder)}/*.part", include_hidden=True):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for out in self.outs:
            remove_stale(out, 0)

    def _pieces(self, n_chunks: int, member: str) -> Iterator[bytes]:
        for i in range(n_chunks):
            yield self._member(i, member)

    def _member(self, chunk: int, name: str) -> bytes:
        again = "delete it and run the same command again"
        with (
            reading(self._path(chunk), RunError, "part", advice=again),
            zipfile.ZipFile(self._path(chunk)) as file,
        ):
            return file.read(name)

    def _begin(self, overwrite: bool) -> None:
        there = [x for x in self.outs if os.path.exists(x)]
        if there and not overwrite:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.folder, "begin.lock"))
                os.rmdir(self.folder)  # made just now
            raise RunError(f"{there[0]} exists already; choose another --out, or set --overwrite")
        for name in os.listdir(self.folder):
            if name.endswith(".part") or name == END:
                os.unlink(os.path.join(self.folder, name))
        self._write(STAMP, self.stamp)

    def _compare(self, before: Any) -> None:
        for name in dict.fromkeys([*before, *self.stamp]):
            old, new = before.get(name), self.stamp.get(name)
            if old != new:
                inner = isinstance(old, dict) and isinstance(new, dict)
                keys = [x for x in {**old, **new} if old.get(x) != new.get(x)] if inner else []
                if keys:
                    name, old, new = f"{name} {keys[0]}", old.get(keys[0]), new.get(keys[0])
                raise RunError(
                    f"{self.folder}: started with {name} {old!r}, now {new!r}; restore it, "
                    "choose another --out, or set --overwrite to start again"
                )

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_file(os.path.join(self.folder, name), json.dumps(content, indent=1) + "\n", RunError)

    def _path(self, chunk: int) -> str:
        return os.path.join(self.folder, f"{chunk:08d}.part")


def merge(folder: str) -> dict[str, int]:
    """Join the parts in `OUT.parts` that other processes made; return counts of inputs.

    Raises:
        RunError: The folder has no parts, or parts are missing.
    """
    stamp = _read(os.path.join(folder, STAMP))
    if stamp is None:
        raise RunError(f"{folder} is not a folder of parts; it has no {STAMP}")
    above = os.path.dirname(os.path.abspath(folder))
    return Parts([os.path.join(above, x) for x in stamp["outs"]], stamp).join()


def apply(parts: Parts, chunks: Iterable[Any], compute: Any) -> dict[str, int] | None:
    """Make the missing parts, and join them if all exist.

    Args:
        parts: Parts to write.
        chunks: Inputs, `chunk_rows` at a time; at least one chunk, which may be empty.
        compute: Function that turns a chunk into Rows.

    Returns:
        Counts by status, or None if parts of other processes are missing.
    """
    if not parts.is_done():
        number = -1
        for number, chunk in enumerate(chunks):
            if parts.is_done():  # another process did it meanwhile
                break
            if parts.wants(number):
                _put(parts, number, compute(chunk))
        else:
            parts.end(number + 1)
        if not parts.is_done() and parts.missing():
            return None
    return parts.join()


def _put(parts: Parts, number: int, rows: Rows) -> None:
    try:
        parts.put(number, rows)
    except RunError:
        if not parts.is_done():  # otherwise, another process has joined and removed the parts
            raise


def _read(path: str) -> Any:
    return json.loads(read_text(path, RunError)) if os.path.isfile(path) else None
