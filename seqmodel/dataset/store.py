"""Sequence stores: FASTA files as one memory-mapped file of uint8 codes.

Built at first use (store_build.py), beside the source or in a cache folder; later uses, workers
and ranks map the same pages. Layout of a `.seqstore` file, numbers little-endian:

    0       8 bytes "SEQSTORE", then uint64: format, offset of the index, its length
    4096    codes of all contigs, one after the other (ids of the alphabet)
            64 or more zeros, then the edges of soft-masked runs, int64, sorted: start, end, ...
            index, JSON: alphabet, sources (size, mtime, SHA-256), names, lengths, edges

Positions in `data` count from the start of the file, so there is always room before the first
code and after the last one for reading in whole words.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from seqmodel.dataset.alphabet import ALPHABETS, DNA, Alphabet
from seqmodel.dataset.store_build import (
    FORMAT,
    HEADER_BYTES,
    MAGIC,
    build_store,
    lock,
    remove_stale,
)
from seqmodel.errors import SequenceError

SUFFIX = ".seqstore"


class SequenceStore:
    """Contigs of one or more FASTA files, memory-mapped and read-only.

    Attributes:
        path: the store file.
        alphabet: what the codes mean.
        names: names of the contigs, in the order of the files.
        lengths: their lengths, int64.
        offsets: position of the first code of each in `data`, int64.
        data: the mapped file, uint8; code i of contig c is `data[offsets[c] + i]`.
        sources: what was read: dicts of path, size, mtime_ns, sha256.
    """

    def __init__(self, path: str, alphabet: Alphabet | None = None) -> None:
        self.path = os.path.abspath(path)
        index = _read_index(self.path)
        if index is None:
            raise SequenceError(f"{path}: no whole sequence store; delete it to build it anew")
        self.alphabet = alphabet or Alphabet.from_dict(index["alphabet"])
        self.names: list[str] = index["names"]
        self.lengths = np.array(index["lengths"], dtype=np.int64)
        self.offsets = HEADER_BYTES + np.cumsum(self.lengths) - self.lengths
        self.sources: list[dict] = index["sources"]
        self._edges_at, self._n_edges = index["edges_at"], index["n_edges"]
        # A plain ndarray over the map: np.memmap's own indexing costs a microsecond a call.
        self.data = np.asarray(np.memmap(self.path, dtype=np.uint8, mode="r"))

    @classmethod
    def open(
        cls,
        paths: str | os.PathLike | Sequence[str | os.PathLike],
        alphabet: Alphabet = DNA,
        cache_dir: str | None = None,
        *,
        quiet: bool = False,
    ) -> SequenceStore:
        """The store of `paths`, built if there is none or if a source has changed.

        Args:
            paths: one or more FASTA files (plain, gzip, bgzip).
            alphabet: letters of the sequences; others are an error.
            cache_dir: folder for the store; default beside the first file, else the user's cache.
            quiet: no progress on stderr.

        Raises:
            SequenceError: a file is missing or malformed, or no folder can be written.
        """
        files = [os.fspath(x) for x in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        _check_files(files, alphabet)
        targets = _targets(files, alphabet, cache_dir)
        for target in targets:
            if is_current(target, files, alphabet):
                return cls(target, alphabet)
        target = next((x for x in targets if is_writable(os.path.dirname(x))), None)
        if target is None:
            folders = ", ".join(os.path.dirname(x) for x in targets)
            raise SequenceError(
                f"{files[0]}: no folder for its store can be written ({folders}); set --cache_dir"
            )
        with lock(target):
            if not is_current(target, files, alphabet):  # else another process built it
                remove_stale(target)
                build_store(target, files, alphabet, quiet=quiet)
        return cls(target, alphabet)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "alphabet": self.alphabet, "sources": self.sources}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["path"], state["alphabet"])
        if [x["sha256"] for x in self.sources] != [x["sha256"] for x in state["sources"]]:
            raise SequenceError(
                f"{self.path}: was rebuilt from other sources meanwhile; start again"
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_letters(self) -> int:
        """Sum of the lengths of all contigs."""
        return int(self.lengths.sum())

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """Number of the contig `name`.

        Raises:
            SequenceError: there is none.
        """
        if name not in self._numbers:
            shown = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
            raise SequenceError(f"no contig {name!r} in {self.sources[0]['path']}; it has {shown}")
        return self._numbers[name]

    def __getitem__(self, where: tuple[str, slice]) -> np.ndarray:
        """Codes of `store[contig, start:end]`, a copy, uint8 [end - start]; clipped as a str is."""
        name, part = where
        contig = self.number(name)
        start, end, step = part.indices(int(self.lengths[contig]))
        at = int(self.offsets[contig])
        return self.data[at + start : at + max(start, end) : step].copy()

    def text(self, name: str, start: int = 0, end: int | None = None) -> str:
        """Letters of a contig in upper case; letters that are not known come as one (N)."""
        return self.alphabet.decode(self[name, start:end])

    @cached_property
    def edges(self) -> np.ndarray:
        """Sorted positions in `data` where soft mask begins and ends in turn, int64."""
        raw = self.data[self._edges_at : self._edges_at + 8 * self._n_edges]
        return raw.view("<i8")

    def soft_mask(self, name: str, start: int = 0, end: int | None = None) -> np.ndarray:
        """Where a contig is in lower case, bool [end - start]."""
        contig = self.number(name)
        start, end, _ = slice(start, end).indices(int(self.lengths[contig]))
        positions = self.offsets[contig] + np.arange(start, end)
        return np.searchsorted(self.edges, positions, side="right") % 2 == 1

    def digests(self) -> dict[str, dict[str, object]]:
        """Size and SHA-256 of each source, by path."""
        return {x["path"]: {"size": x["size"], "sha256": x["sha256"]} for x in self.sources}


def _read_index(path: str) -> dict | None:
    """The index of a store, or None if there is no whole store of this format."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as f:
        head = f.read(32)
        if head[:8] == MAGIC:
            version, index_at, n_bytes = np.frombuffer(head[8:], dtype="<u8").tolist()
            if version == FORMAT and os.fstat(f.fileno()).st_size == index_at + n_bytes:
                f.seek(index_at)
                return json.loads(f.read())
    return None


def is_current(target: str, files: list[str], alphabet: Alphabet) -> bool:
    """Whether `target` is the store of `files` as they are now.

    By size and time first. A file of the same size and another time (a copy, a touch) is digested
    once; the answer is noted beside the store, so that the next one need not digest it again.
    """
    index = _read_index(target)
    if index is None or _codes(index["alphabet"]) != _codes(alphabet.to_dict()):
        return False
    if len(index["sources"]) != len(files):
        return False
    now = [[x.st_size, x.st_mtime_ns] for x in map(os.stat, files)]
    if [[x["size"], x["mtime_ns"]] for x in index["sources"]] == now:
        return True
    digests = [x["sha256"] for x in index["sources"]]
    if [x["size"] for x in index["sources"]] != [size for size, _ in now]:
        return False
    if _read_note(target) == {"files": now, "sha256": digests}:
        return True
    if digests != [_sha256(x) for x in files]:
        return False
    _write_note(target, {"files": now, "sha256": digests})
    return True


def _codes(alphabet: dict) -> list:
    return [alphabet["letters"], alphabet["ambiguous"]]


def _sha256(path: str) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _read_note(target: str) -> dict | None:
    with contextlib.suppress(OSError, ValueError), open(f"{target}.stat") as f:
        return json.load(f)
    return None


def _write_note(target: str, note: dict) -> None:
    temporary = f"{target}.stat.{os.getpid()}"
    with contextlib.suppress(OSError):
        with open(temporary, "w") as f:
            json.dump(note, f)
        os.replace(temporary, f"{target}.stat")


def _check_files(files: list[str], alphabet: Alphabet) -> None:
    if not files:
        raise SequenceError("no sequence file was given; set --fasta")
    if not alphabet.is_single:
        raise SequenceError(f"alphabet {alphabet.name!r}: files need letters of one character each")
    for path in files:
        if not os.path.isfile(path):
            raise SequenceError(f"{path}: no such file")
        if not os.access(path, os.R_OK):
            raise SequenceError(f"{path}: may not be read; ask its owner or copy it")
    real = [os.path.realpath(x) for x in files]
    twice = next((x for i, x in enumerate(real) if x in real[:i]), None)
    if twice is not None:
        raise SequenceError(f"{twice}: is given twice")


def _targets(files: list[str], alphabet: Alphabet, cache_dir: str | None) -> list[str]:
    """Where the store of `files` may be, in the order of preference."""
    real = [os.path.realpath(x) for x in files]
    many = _digest8("\0".join(real[1:])) if len(real) > 1 else ""
    known = ALPHABETS.get(alphabet.name)
    same = known is not None and _codes(known.to_dict()) == _codes(alphabet.to_dict())
    letters = alphabet.name if same else _digest8(json.dumps(_codes(alphabet.to_dict())))
    end = f"{f'.and{len(real) - 1}.{many}' if many else ''}.{letters}{SUFFIX}"
    cached = f"{os.path.basename(real[0])}.{_digest8(real[0])}{end}"
    if cache_dir is not None:
        os.makedirs(cache_dir, exist_ok=True)
        return [os.path.join(os.path.abspath(cache_dir), cached)]
    return [real[0] + end, os.path.join(user_cache(), cached)]


def user_cache() -> str:
    """The folder for what can be made again: $XDG_CACHE_HOME/seqmodel or ~/.cache/seqmodel."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "seqmodel")


def _digest8(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def is_writable(folder: str) -> bool:
    """Whether files can be made in a folder, which is made if need be."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)
