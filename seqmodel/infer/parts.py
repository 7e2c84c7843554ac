"""Outputs that are written in parts: killed and started again, or shared out, they are the same.

`OUT.parts/` beside the first output holds

    apply.json      what is computed: version, options, SHA-256 of checkpoints and inputs
    00000000.part   what `chunk_rows` inputs gave, one piece for each output (a ZIP file, stored)
    end.json        number of inputs, once one process has read them to their end

Which inputs a part has depends on the inputs alone, so any process may write any part, and two that
write the same part write the same bytes. When all are there they are joined, under a lock, and
removed; apply.json stays, so that the same command finds its work done.
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
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes at any time of day


class Parts:
    """The outputs of one command, in parts.

    Args:
        outs: paths of the outputs; their suffixes choose the formats.
        stamp: what is computed, as plain values; another stamp is refused.
        part: (k, n): this process makes every n-th part, from the k-th on; k counts from 1.
        overwrite: replace outputs that are there and were not made by this command.

    Raises:
        RunError: an output is there, or was begun with another stamp; the first difference is
            named.
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
        with lock(os.path.join(self.folder, "begin")):  # of several processes one begins
            before = _read(os.path.join(self.folder, STAMP))
            if before is None or (overwrite and before != self.stamp):
                self._begin(overwrite)
            else:
                self._compare(before)

    def is_done(self) -> bool:
        """Whether the outputs were joined, and are there."""
        end = _read(os.path.join(self.folder, END)) or {}
        return bool(end.get("joined")) and all(map(os.path.exists, self.outs))

    def wants(self, chunk: int) -> bool:
        """Whether this process is to make the part of that number (from 0), which is not there."""
        k, n = self.part
        return chunk % n == k - 1 and not os.path.exists(self._path(chunk))

    def put(self, chunk: int, rows: Rows) -> None:
        """Writes the part of that number, whole, to the disk.

        Raises:
            RunError: the disk is full, or another error of the system; nothing is lost.
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
        """Says how many parts the inputs make."""
        if _read(os.path.join(self.folder, END)) is None:
            self._write(END, {"n_chunks": n_chunks})

    def missing(self) -> list[int] | None:
        """Numbers of the parts that are not there yet; None while the inputs were not read."""
        end = _read(os.path.join(self.folder, END))
        if end is None:
            return None
        there = set(os.listdir(self.folder))
        return [i for i in range(end["n_chunks"]) if os.path.basename(self._path(i)) not in there]

    def join(self) -> dict[str, int]:
        """Makes the outputs of the parts, whole, then removes the parts; counts of inputs.

        Returns:
            Number of inputs "n", and by status.

        Raises:
            RunError: parts are missing or damaged, or an output cannot be written.
        """
        with lock(os.path.join(self.folder, "join")):
            end = _read(os.path.join(self.folder, END)) or {}
            if self.is_done():
                self._clear()  # who joined them was killed in the middle of it
                return end["counts"]
            missing = self.missing()
            if missing is None or missing:
                what = "the inputs were not read to their end"
                if missing is not None:
                    what = f"{len(missing)} of {end['n_chunks']} parts are missing"
                raise RunError(f"{self.folder}: {what}; run the command that makes them, then join")
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
        """Removes the parts, and what processes that were killed left of them or of an output."""
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
            raise RunError(
                f"{there[0]}: is there already; choose another --out, or set --overwrite"
            )
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
                    f"{self.folder}: begun with {name} {old!r}, now {new!r}; set it as it was, "
                    "choose another --out, or set --overwrite to begin anew"
                )

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_file(os.path.join(self.folder, name), json.dumps(content, indent=1) + "\n", RunError)

    def _path(self, chunk: int) -> str:
        return os.path.join(self.folder, f"{chunk:08d}.part")


def merge(folder: str) -> dict[str, int]:
    """Joins the parts in `OUT.parts`, which other processes have made; counts of inputs.

    Raises:
        RunError: it is no folder of parts, or parts are missing.
    """
    stamp = _read(os.path.join(folder, STAMP))
    if stamp is None:
        raise RunError(f"{folder}: no folder of parts, there is no {STAMP} in it")
    above = os.path.dirname(os.path.abspath(folder))
    return Parts([os.path.join(above, x) for x in stamp["outs"]], stamp).join()


def apply(parts: Parts, chunks: Iterable[Any], compute: Any) -> dict[str, int] | None:
    """Makes the parts that are missing, and joins them where all are there.

    Args:
        parts: where they are written.
        chunks: the inputs, `chunk_rows` at a time; at least one chunk, which may be empty.
        compute: makes Rows of a chunk.

    Returns:
        Counts by status, or None where parts of other processes are missing.
    """
    if not parts.is_done():
        number = -1
        for number, chunk in enumerate(chunks):
            if parts.is_done():  # by another process meanwhile
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
        if not parts.is_done():  # else another process has joined the parts, and removed all
            raise


def _read(path: str) -> Any:
    return json.loads(read_text(path, RunError)) if os.path.isfile(path) else None
