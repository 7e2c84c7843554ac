"""Sequence stores: FASTA files as one memory-mapped file of uint8 codes.

Built at first use (store_build.py), beside the source or in a cache folder; later uses, workers
and ranks map the same pages. Layout of a `.seqstore` file, numbers little-endian:

    0       8 bytes "SEQSTORE", then uint64: format, offset of the index, its length, and the
            CRC-32 of these and of the index
    4096    codes of all contigs, one after the other (ids of the alphabet)
            64 or more zeros, then the edges of soft-masked runs, int64, sorted: start, end, ...
            index, JSON: alphabet, sources (size, times, inode, SHA-256; source.py), names,
            lengths, edges, CRC-32 of each MiB from 4096 to the index

A store whose index is damaged, or of another format, is built anew. The sums of its blocks are
compared when the source or the store is a copy, and by `seqmodel data describe --check`.

Positions in `data` count from the start of the file, so there is always room before the first
code and after the last one for reading in whole words.
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
        path: the store file.
        alphabet: what the codes mean.
        names: names of the contigs, in the order of the files.
        lengths: their lengths, int64.
        offsets: position of the first code of each in `data`, int64.
        data: the mapped file, uint8; code i of contig c is `data[offsets[c] + i]`.
        sources: what was read: dicts of path, sha256, size and times.
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
        # of a link also the store beside the file that it names, which is read but never written
        known = targets if cache_dir else [*targets, _targets([*real_paths(files)], alphabet)[0]]
        target = next((x for x in known if is_current(x, files, alphabet)), None)
        target = target or _found_or_built(targets, files, alphabet, quiet)
        store = cls(target, alphabet)
        for source, path in zip(store.sources, files, strict=True):
            source["path"] = os.path.abspath(path)  # where it was built it may have had another
        return store

    def check(self) -> int:
        """Reads the whole store and its sources; the number of blocks that were compared.

        Raises:
            SequenceError: a block is damaged, or a source is not what was read.
        """
        damaged = damaged_blocks(self._checked, self._sums)
        if damaged:
            raise SequenceError(
                f"{self.path}: {len(damaged)} of {len(self._sums)} blocks of 1 MiB are damaged, "
                f"the first at byte {HEADER_BYTES + damaged[0] * BLOCK_BYTES}; delete the file, "
                "it is built anew, and do not trust results since it was last checked"
            )
        for source in self.sources:
            if not os.path.isfile(source["path"]):
                raise SequenceError(f"{source['path']}: no such file")
            if Source.read(source["path"]).sha256 != source["sha256"]:
                raise SequenceError(
                    f"{self.path}: was built from another {source['path']}; delete the store, "
                    "it is built anew"
                )
        return len(self._sums)

    @property
    def _checked(self) -> np.ndarray:
        """The bytes that have sums, uint8."""
        return self.data[HEADER_BYTES : self._edges_at + 8 * self._n_edges]

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "alphabet": self.alphabet, "sources": self.sources}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SequenceStore.__init__(self, state["path"], state["alphabet"])
        if [x["sha256"] for x in self.sources] != [x["sha256"] for x in state["sources"]]:
            raise SequenceError(
                f"{self.path}: was rebuilt from other sources meanwhile; start again"
            )
        self.sources = state["sources"]

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


def _found_or_built(targets: list[str], files: list[str], alphabet: Alphabet, quiet: bool) -> str:
    """The first of `targets` that has the content of `files`, else the one that is built."""
    writable = next((x for x in targets if is_writable(os.path.dirname(x))), None)
    for target in targets:
        if target != writable and not os.path.exists(target):
            continue
        with lock(target):  # of several processes one looks or builds
            if is_current(target, files, alphabet) or has_content(target, files, alphabet):
                return target
            if target == writable:
                build_store(target, files, alphabet, quiet=quiet)
                return target
    folders = ", ".join(os.path.dirname(x) for x in targets)
    raise SequenceError(
        f"{files[0]}: no folder for its store can be written ({folders}); set --cache_dir"
    )


def _read_index(path: str) -> dict | None:
    """The index of a store, or None if there is no whole store of this format."""
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
    """Whether what an index says fits into its file."""
    lengths, end = index["lengths"], index["edges_at"]
    return (
        len(lengths) == len(index["names"])
        and min(lengths, default=0) >= 0
        and HEADER_BYTES + sum(lengths) <= end
        and end + 8 * index["n_edges"] == index_at
    )


def is_current(target: str, files: list[str], alphabet: Alphabet) -> bool:
    """Whether `target` is the store of `files` as far as their sizes, times and inodes show it."""
    index = _index_for(target, alphabet)
    return index is not None and look_same(target, _sources(index), files)


def has_content(target: str, files: list[str], alphabet: Alphabet) -> bool:
    """Whether `target` is an undamaged store of files with this content; reads all of them."""
    index = _index_for(target, alphabet)
    found = None if index is None else read_again(_sources(index), files)
    if found is None:
        return False
    store = SequenceStore(target, alphabet)  # who copied the source may have copied the store
    damaged = damaged_blocks(store._checked, store._sums)
    if damaged:
        warnings.warn(
            f"{target}: {len(damaged)} of {len(store._sums)} blocks are damaged; it is built anew",
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
        raise SequenceError("no sequence file was given; set --fasta")
    if not alphabet.is_single:
        raise SequenceError(f"alphabet {alphabet.name!r}: files need letters of one character each")
    for path in files:
        if not os.path.isfile(path):
            raise SequenceError(f"{path}: no such file")
        if not os.access(path, os.R_OK):
            raise SequenceError(f"{path}: may not be read; ask its owner or copy it")
    real = real_paths(files)
    twice = repeated(real)
    if twice is not None:
        raise SequenceError(f"{twice}: is given twice")


def _targets(files: list[str], alphabet: Alphabet, cache_dir: str | None = None) -> list[str]:
    """Where the store of `files` may be, in the order of preference."""
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
                f"--cache_dir={cache_dir}: cannot be made ({e.strerror}); choose another folder"
            ) from e
        return [os.path.join(os.path.abspath(cache_dir), cached)]
    return [beside(files[0]) + end, os.path.join(user_cache(), cached)]


def real_paths(files: Sequence[str]) -> list[str]:
    """The files without links."""
    return [os.path.realpath(x) for x in files]


def beside(path: str) -> str:
    """The absolute path of a file; a link is not followed, the folders above it are."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def is_writable(folder: str) -> bool:
    """Whether files can be made in a folder, which is made if need be."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return os.access(folder, os.W_OK | os.X_OK)
