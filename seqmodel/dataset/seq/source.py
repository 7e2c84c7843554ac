"""Source files of stores and cached arrays, and whether they have changed since they were read.

Size, times and inode of a source are recorded with its digest. The digest decides if one of these
differs, or if the source was written so recently that its times may not show a later change. The
new times are then recorded beside the cached file, so that the next check needs no digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seqmodel import files
from seqmodel.errors import SequenceError
from seqmodel.files import open_binary, write_file

_RESOLUTION_NS = 2_000_000_000
"""Times of a file may be this coarse: two changes within it need not differ in them."""
_MOST_NOTED = 16
DAMAGED = (ValueError, TypeError, KeyError, OverflowError, RecursionError)
"""What reading plain JSON of an unexpected form raises."""


@dataclass(frozen=True)
class Stamp:
    """Size, times and inode of a file, and the time at which they were read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    seen_ns: int

    @classmethod
    def of(cls, path: str) -> Stamp:
        """Return the current stamp of a file."""
        now = time.time_ns()
        x = os.stat(path)
        return cls(x.st_size, x.st_mtime_ns, x.st_ctime_ns, x.st_ino, now)

    def is_file(self, other: Stamp) -> bool:
        """Return whether both stamps show the same unchanged file."""
        return self._key() == other._key()

    def is_settled(self) -> bool:
        """Return whether the times would show any later change."""
        return max(self.mtime_ns, self.ctime_ns) + _RESOLUTION_NS < self.seen_ns

    def _key(self) -> tuple[int, ...]:
        return self.size, self.mtime_ns, self.ctime_ns, self.inode


@dataclass(frozen=True)
class Source:
    """Record of a source file at the time of reading."""

    path: str
    sha256: str
    stamp: Stamp

    @classmethod
    def read(cls, path: str) -> Source:
        """Compute the digest of a file."""
        stamp = Stamp.of(path)
        found = cls(os.path.abspath(path), sha256_of(path), stamp)
        found.remember(path)
        return found

    def remember(self, path: str) -> None:
        """Remember for `known_sha256` that `path` has this content."""
        if self.stamp.is_settled():
            _known[os.path.realpath(path)] = self

    @classmethod
    def from_dict(cls, x: dict[str, Any]) -> Source:
        """Return the source from the output of `to_dict`."""
        names = ("size", "mtime_ns", "ctime_ns", "inode", "seen_ns")
        return cls(str(x["path"]), str(x["sha256"]), Stamp(*(int(x[name]) for name in names)))

    def to_dict(self) -> dict[str, Any]:
        """Return the source as plain JSON types."""
        return {"path": self.path, "sha256": self.sha256} | vars(self.stamp)


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return files.sha256_of(path, SequenceError)


def known_sha256(path: str) -> str | None:
    """Return the digest of a file if this process has it and the stamp is unchanged, else None.

    Stores and cached arrays record the digests of their sources, so large files are not read again.
    """
    found = _known.get(os.path.realpath(path))
    with contextlib.suppress(OSError):
        if found is not None and found.stamp.is_file(Stamp.of(path)):
            return found.sha256
    return None


_known: dict[str, Source] = {}


def look_same(target: str, sources: Sequence[Source], paths: Sequence[str]) -> bool:
    """Return whether stamps show that `paths` are the unchanged `sources` of `target`."""
    if len(sources) != len(paths):
        return False
    now = [Stamp.of(x) for x in paths]
    seen = [[x.stamp for x in sources], *_read_note(target, sources)]
    same = any(
        all(a.is_settled() and a.is_file(b) for a, b in zip(stamps, now, strict=True))
        for stamps in seen
    )
    for source, path, stamp in zip(sources, paths, now, strict=True) if same else ():
        Source(path, source.sha256, stamp).remember(path)
    return same


def read_again(sources: Sequence[Source], paths: Sequence[str]) -> list[Source] | None:
    """Read `paths` again; return None if their content differs from `sources`."""
    if [x.stamp.size for x in sources] != [os.path.getsize(x) for x in paths]:
        return None
    now = [Source.read(x) for x in paths]
    return now if [x.sha256 for x in now] == [x.sha256 for x in sources] else None


def user_cache() -> str:
    """Return the folder for cached files: $XDG_CACHE_HOME/seqmodel or ~/.cache/seqmodel."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "seqmodel")


def digest8(text: str) -> str:
    """Return an 8-digit hexadecimal digest of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _notes(target: str) -> list[str]:
    """Return where the note about `target` may be: beside it or in the user's cache."""
    name = f"{os.path.basename(target)}.{digest8(target)}.stat"
    return [f"{target}.stat", os.path.join(user_cache(), name)]


def _read_note(target: str, sources: Sequence[Source]) -> list[list[Stamp]]:
    """Read the stamps with which these sources were found unchanged."""
    found: list[list[Stamp]] = []
    for path in _notes(target):
        with contextlib.suppress(*DAMAGED), open_binary(path, SequenceError) as f:
            found_note = json.loads(f.read(1 << 20))
            if found_note["sha256"] == [x.sha256 for x in sources]:
                found += [[Stamp(*map(int, x)) for x in stamps] for stamps in found_note["seen"]]
    return [x for x in found if len(x) == len(sources)]


def note(target: str, sources: Sequence[Source]) -> None:
    """Record that `sources` belong to `target`, with their current stamps."""
    if not all(x.stamp.is_settled() for x in sources):
        return
    kept = [*_read_note(target, sources), [x.stamp for x in sources]][-_MOST_NOTED:]
    seen = [[list(vars(x).values()) for x in part] for part in kept]
    text = json.dumps({"sha256": [x.sha256 for x in sources], "seen": seen})
    for path in _notes(target):
        with contextlib.suppress(SequenceError):
            return write_file(path, text, SequenceError, parents=True)
