"""Sequence stores: FASTA files as one memory-mapped file of uint8 codes.

A store is built at first use (store_build.py), beside the source or in a cache folder. Later uses,
workers and ranks map the same pages. Layout of a `.seqstore` file, numbers little-endian:

    0       8 bytes "SEQSTORE", then uint64: format, offset of the index, its length, and the
            CRC-32 of these and of the index
    4096    concatenated codes of all contigs (ids of the alphabet)
            64 or more zeros, then the edges of soft-masked runs, int64, sorted: start, end, ...
            index, JSON: alphabet, sources (size, times, inode, SHA-256; source.py), names,
            lengths, edges, CRC-32 of each MiB from 4096 to the index

A store with a damaged index, or with another format, is rebuilt. The checksums of its blocks are
compared if the source or the store is a copy, and by `seqmodel data describe --check`.

Positions in `data` count from the start of the file, so whole words can be read before the first
code and after the last one.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from seqmodel.dataset.seq.alphabet import ALPHABETS, DNA, Alphabet
from seqmodel.dataset.seq.checksum import BLOCK_BYTES, damaged_blocks
from seqmodel.dataset.seq.source import (
    DAMAGED,
    Source,
    digest8,
    look_same,
    note,
    read_again,
    user_cache,
)
from seqmodel.dataset.seq.store_build import (
    FORMAT,
    HEADER_BYTES,
    MAGIC,
    build_store,
    header_of,
    lock,
)
from seqmodel.errors import SequenceError
from seqmodel.files import open_binary
from seqmodel.hparam.dataset import repeated

SUFFIX = ".seqstore"


class SequenceStore:
    """Contigs of one or more FASTA files, memory-mapped and read-only.

    Attributes:
        path: Path of the store file.
        alphabet: Alphabet of the codes.
        names: Names of the contigs, in the order of the files.
        lengths: Lengths of the contigs, int64.
        offsets: Position of the first code of each contig in `data`, int64.
        data: Mapped file, uint8; code i of contig c is `data[offsets[c] + i]`.
        sources: Files that were read: dicts with path, sha256, size and times.
    """

    def __init__(self, path: str, alphabet: Alphabet | None = None) -> None:
        self.path = os.path.abspath(path)
        index = _read_index(self.path)
        if index is None:
            raise SequenceError(f"{path} is not a complete sequence store; delete it to rebuild it")
        self.alphabet = alphabet or Alphabet.from_dict(index["alphabet"])
        self.names: list[str] = index["names"]
        self.lengths = np.array(index["lengths"], dtype=np.int64)
        self.offsets = HEADER_BYTES + np.cumsum(self.lengths) - self.lengths
        self.sources: list[dict] = index["sources"]
        self._edges_at, self._n_edges = index["edges_at"], index["n_edges"]
        self._sums = index["block_crc32"]
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
        """Open the store of `paths`; build it if it is missing or a source has changed.

        Args:
            paths: Paths of one or more FASTA files (plain, gzip, bgzip).
            alphabet: Alphabet of the sequences; other characters are an error.
            cache_dir: Folder for the store. Default: beside the first file, else the user's cache.
            quiet: Print no progress on stderr.

        Raises:
            SequenceError: A file is missing or malformed, or no folder is writable.
        """
        files = [os.fspath(x) for x in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
        _check_files(files, alphabet)
        targets = _targets(files, alphabet, cache_dir)
        # for a link, also the store beside its target, which is read but never written
        known = targets if cache_dir else [*targets, _targets([*real_paths(files)], alphabet)[0]]
        target = next((x for x in known if is_current(x, files, alphabet)), None)
        target = target or _found_or_built(targets, files, alphabet, quiet)
        store = cls(target, alphabet)
        for source, path in zip(store.sources, files, strict=True):
            source["path"] = os.path.abspath(
                path
            )  # the path may differ from the one at the time of building
        return store

    def check(self) -> int:
        """Read the whole store and its sources; return the number of compared blocks.

        Raises:
            SequenceError: A block is damaged, or a source has changed since the store was built.
        """
        damaged = damaged_blocks(self._checked, self._sums)
        if damaged:
            raise SequenceError(
                f"{self.path}: {len(damaged)} of {len(self._sums)} blocks of 1 MiB are damaged, "
                f"the first at byte {HEADER_BYTES + damaged[0] * BLOCK_BYTES}; delete the file, "
                "which will be rebuilt, and do not trust results since the last check"
            )
        for source in self.sources:
            if not os.path.isfile(source["path"]):
                raise SequenceError(f"{source['path']}: no such file")
            if Source.read(source["path"]).sha256 != source["sha256"]:
                raise SequenceError(
                    f"{self.path} was built from another {source['path']}; delete the store "
                    "to rebuild it"
                )
        return len(self._sums)

    @property
    def _checked(self) -> np.ndarray:
        """Return the bytes that have checksums, uint8."""
        return self.data[HEADER_BYTES : self._edges_at + 8 * self._n_edges]

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "alphabet": self.alphabet, "sources": self.sources}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SequenceStore.__init__(self, state["path"], state["alphabet"])
        if [x["sha256"] for x in self.sources] != [x["sha256"] for x in state["sources"]]:
            raise SequenceError(f"{self.path} has been rebuilt from other sources; start again")
        self.sources = state["sources"]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_letters(self) -> int:
        """Total length of all contigs."""
        return int(self.lengths.sum())

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def number(self, name: str) -> int:
        """Return the index of the contig `name`.

        Raises:
            SequenceError: No contig has this name.
        """
        if name not in self._numbers:
            shown = ", ".join(self.names[:5]) + (", ..." if len(self.names) > 5 else "")
            raise SequenceError(f"no contig {name!r} in {self.sources[0]['path']}; it has {shown}")
        return self._numbers[name]

    def __getitem__(self, where: tuple[str, slice]) -> np.ndarray:
        """Copy codes of `store[contig, start:end]`, uint8 [end - start]; clipped like a str."""
        name, part = where
        contig = self.number(name)
        start, end, step = part.indices(int(self.lengths[contig]))
        at = int(self.offsets[contig])
        return self.data[at + start : at + max(start, end) : step].copy()

    def text(self, name: str, start: int = 0, end: int | None = None) -> str:
        """Return the text of a contig in upper case; all unknown symbols become one (N)."""
        return self.alphabet.decode(self[name, start:end])

    @cached_property
    def edges(self) -> np.ndarray:
        """Sorted positions in `data` where soft-masked runs start and end in turn, int64."""
        raw = self.data[self._edges_at : self._edges_at + 8 * self._n_edges]
        return raw.view("<i8")

    def soft_mask(self, name: str, start: int = 0, end: int | None = None) -> np.ndarray:
        """Return where a contig is in lower case, bool [end - start]."""
        contig = self.number(name)
        start, end, _ = slice(start, end).indices(int(self.lengths[contig]))
        positions = self.offsets[contig] + np.arange(start, end)
        return np.searchsorted(self.edges, positions, side="right") % 2 == 1

    def digests(self) -> dict[str, dict[str, object]]:
        """Return size and SHA-256 of each source, by path."""
        return {x["path"]: {"size": x["size"], "sha256": x["sha256"]} for x in self.sources}


def _found_or_built(targets: list[str], files: list[str], alphabet: Alphabet, quiet: bool) -> str:
    """Return the first of `targets` with the content of `files`, or else build one."""
    writable = next((x for x in targets if is_writable(os.path.dirname(x))), None)
    for target in targets:
        if target != writable and not os.path.exists(target):
            continue
        with lock(target):  # one of several processes checks or builds
            if is_current(target, files, alphabet) or has_content(target, files, alphabet):
                return target
            if target == writable:
                build_store(target, files, alphabet, quiet=quiet)
                return target
    folders = ", ".join(os.path.dirname(x) for x in targets)
    raise SequenceError(
        f"{files[0]}: no folder for its store is writable ({folders}); set --cache_dir"
    )


def _read_index(path: str) -> dict | None:
    """Read the index of a store; None if there is no complete store of this format."""
    with contextlib.suppress(*DAMAGED), open_binary(path, SequenceError) as f:
        head = f.read(40)
        if head[:8] == MAGIC:
            version, index_at, n_bytes = np.frombuffer(head[8:32], dtype="<u8").tolist()
            if version == FORMAT and os.fstat(f.fileno()).st_size == index_at + n_bytes:
                f.seek(index_at)
                raw = f.read()
                if head == header_of(index_at, raw):
                    index = json.loads(raw)
                    return index if _is_sound(index, index_at) else None
    return None


def _is_sound(index: dict, index_at: int) -> bool:
    """Return whether the contents of an index fit in its file."""
    lengths, end = index["lengths"], index["edges_at"]
    return (
        len(lengths) == len(index["names"])
        and min(lengths, default=0) >= 0
        and HEADER_BYTES + sum(lengths) <= end
        and end + 8 * index["n_edges"] == index_at
    )


def is_current(target: str, files: list[str], alphabet: Alphabet) -> bool:
    """Return whether sizes, times and inodes show that `target` is the store of `files`."""
    index = _index_for(target, alphabet)
    return index is not None and look_same(target, _sources(index), files)


def has_content(target: str, files: list[str], alphabet: Alphabet) -> bool:
    """Read all files; return whether `target` is an undamaged store of their content."""
    index = _index_for(target, alphabet)
    found = None if index is None else read_again(_sources(index), files)
    if found is None:
        return False
    store = SequenceStore(target, alphabet)  # the store may have been copied with the source
    damaged = damaged_blocks(store._checked, store._sums)
    if damaged:
        warnings.warn(
            f"{target}: {len(damaged)} of {len(store._sums)} blocks are damaged; rebuilding it",
            stacklevel=2,
        )
        return False
    note(target, found)
    return True


def _index_for(target: str, alphabet: Alphabet) -> dict | None:
    index = _read_index(target)
    same = index is not None and _codes(index["alphabet"]) == _codes(alphabet.to_dict())
    return index if same else None


def _sources(index: dict) -> list[Source]:
    return [Source.from_dict(x) for x in index["sources"]]


def _codes(alphabet: dict) -> list:
    return [alphabet["letters"], alphabet["ambiguous"]]


def _check_files(files: list[str], alphabet: Alphabet) -> None:
    if not files:
        raise SequenceError("no sequence file is given; set --fasta")
    if not alphabet.is_single:
        raise SequenceError(f"alphabet {alphabet.name!r}: files need symbols of one character each")
    for path in files:
        if not os.path.isfile(path):
            raise SequenceError(f"{path}: no such file")
        if not os.access(path, os.R_OK):
            raise SequenceError(f"{path} is not readable; ask its owner for permission or copy it")
    real = real_paths(files)
    twice = repeated(real)
    if twice is not None:
        raise SequenceError(f"{twice} is given twice; remove one")


def _targets(files: list[str], alphabet: Alphabet, cache_dir: str | None = None) -> list[str]:
    """Return where the store of `files` may be, in order of preference."""
    real = real_paths(files)
    many = digest8("\0".join(real[1:])) if len(real) > 1 else ""
    known = ALPHABETS.get(alphabet.name)
    same = known is not None and _codes(known.to_dict()) == _codes(alphabet.to_dict())
    letters = alphabet.name if same else digest8(json.dumps(_codes(alphabet.to_dict())))
    end = f"{f'.and{len(real) - 1}.{many}' if many else ''}.{letters}{SUFFIX}"
    cached = f"{os.path.basename(real[0])}.{digest8(real[0])}{end}"
    if cache_dir is not None:
        try:
            os.makedirs(cache_dir, exist_ok=True)
        except OSError as e:
            raise SequenceError(
                f"--cache_dir={cache_dir} cannot be created ({e.strerror}); choose another folder"
            ) from e
        return [os.path.join(os.path.abspath(cache_dir), cached)]
    return [beside(files[0]) + end, os.path.join(user_cache(), cached)]


def real_paths(files: Sequence[str]) -> list[str]:
    """Return the paths with links resolved."""
    return [os.path.realpath(x) for x in files]


def beside(path: str) -> str:
    """Return the absolute path of a file: links of its folders are resolved, its own is not."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def is_writable(folder: str) -> bool:
    """Return whether a folder is writable; create it if it does not exist."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)
