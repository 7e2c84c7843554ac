"""The JSON header of a checkpoint, which is readable without torch. Light.

A checkpoint is the zip file that torch writes, with one more record, `seqmodel.json`: VERSION, all
hyperparameters, and what the model reads, predicts and was trained on. A host without torch can
therefore describe a checkpoint, and no byte of a pickle is read.

Schema 2 (0.2.0) added the entries of `KNOWN`. In a file of schema 1 they are None: unknown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from seqmodel import VERSION
from seqmodel.errors import CheckpointError
from seqmodel.extras import UPDATE
from seqmodel.files import open_binary, problem, reading
from seqmodel.hparam.migrate import HPARAM_STEPS, migrated, version_tuple

HEADER = "seqmodel.json"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""Files of a folder that `seqmodel export` wrote: weights and header."""
SCHEMA = 2
MOST = 1000
"""Maximum number of contigs and of data files in a header; the checkpoint itself has all."""
MOST_BYTES = 1 << 24
MAX_DEPTH = 4  # lists within lists, in a hyperparameter

KNOWN: dict[str, type] = {
    "alphabet": dict,
    "targets": dict,
    "splits": dict,  # split -> number of items
    "seq_len": int,
    "contigs": dict,  # name -> [length, windows, start of the first, end of the last]
    "n_contigs": int,
    "data": dict,  # path -> size and sha256
}


def read_header(path: str) -> dict[str, Any]:
    """Return the checkpoint's header at `path`: `version`, `hparams` (flat, migrated), `KNOWN`.

    The header of exported weights (`.safetensors`) is config.json in the same folder.

    Raises:
        CheckpointError: the file is missing, or seqmodel or this version of it did not write it.
    """
    import zipfile

    if (why := problem(path)) is not None:
        raise CheckpointError(f"{path}: cannot be read ({why}); give the path of a .ckpt file")
    if path.endswith(".safetensors"):
        config = os.path.join(os.path.dirname(path), CONFIG)
        with open_binary(config, CheckpointError) as file:
            return parse_header(file.read(MOST_BYTES + 1), config)
    try:
        with reading(path, CheckpointError, "checkpoint"), zipfile.ZipFile(path) as archive:
            names = [x for x in archive.namelist() if x.split("/")[-1] == HEADER]
            data = b""
            if len(names) == 1:  # what the directory says of a size may be wrong: a part is read
                with archive.open(names[0]) as record:
                    data = record.read(MOST_BYTES + 1)
    except CheckpointError as e:
        raise _foreign(path) from e
    return parse_header(data, path)


def parse_header(data: bytes, path: str) -> dict[str, Any]:
    """Return the header in the record `seqmodel.json` of the checkpoint at `path`, on any host."""
    import json

    if len(data) > MOST_BYTES:
        raise CheckpointError(f"{path}: damaged, its {HEADER} has more than {MOST_BYTES:,} bytes")
    try:
        header = json.loads(data)
        version, hparams = header["version"], header["hparams"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise _foreign(path) from e
    if version_tuple(version) > version_tuple(VERSION):
        raise CheckpointError(f"{path}: written by seqmodel {version}, this is {VERSION}; {UPDATE}")
    if not isinstance(hparams, dict):
        raise CheckpointError(f"{path}: its hyperparameters are not a table; not loaded")
    return checked({**header, "hparams": migrated(hparams, version, HPARAM_STEPS)}, path)


def checked(entry: Mapping[str, Any], path: object) -> dict[str, Any]:
    """Return `entry`, with None for values its version did not record; `seq_len` if it was set.

    Raises:
        CheckpointError: a value of `KNOWN` is of another type.
    """
    found = {**dict.fromkeys(KNOWN), "seq_len": entry["hparams"].get("seq_len"), **entry}
    for name, kind in KNOWN.items():
        if type(found[name]) not in (kind, type(None)):
            raise CheckpointError(f"{path}: damaged, its {name!r} is not of type {kind.__name__}")
    for name, fits in _FITS.items():
        if found.get(name) is not None and not fits(found[name]):
            raise CheckpointError(f"{path}: damaged, its {name!r} has values of other types")
    if isinstance(found["splits"], dict):  # up to 0.1 without the number of items
        found["splits"] = {x: None if n is True else n for x, n in found["splits"].items()}
    return found


def _is_text(x: object) -> bool:
    return isinstance(x, str) and "\0" not in x


def _is_count(x: object) -> bool:
    return type(x) is int and 0 <= x < 2**63


def _is_list(x: object, fits: Callable[[Any], bool]) -> bool:
    return isinstance(x, (list, tuple)) and all(map(fits, x))


def _is_table(x: object, fits: Callable[[Any], bool]) -> bool:
    return isinstance(x, dict) and all(map(_is_text, x)) and all(map(fits, x.values()))


def _is_plain(x: object, depth: int = 0) -> bool:
    if isinstance(x, (list, tuple)):
        return depth < MAX_DEPTH and all(_is_plain(item, depth + 1) for item in x)
    return x is None or isinstance(x, (str, int, float))


def _is_alphabet(x: dict[str, Any]) -> bool:
    if not x:
        return True
    pairs, texts = x.get("complement"), ("name", "ambiguous", "unknown")
    fits = all(_is_text(x.get(name, "")) for name in texts) and "name" in x
    fits = fits and _is_list(x.get("letters"), _is_text) and bool(x["letters"])
    return fits and (pairs is None or _is_table(pairs, _is_text))


def _is_targets(x: dict[str, Any]) -> bool:
    kind, names, pairs = (x.get(name) for name in ("kind", "names", "pairs"))
    fits = (kind is None or _is_text(kind)) and (not x or "kind" in x)
    fits = fits and (names is None or _is_list(names, _is_text))
    return fits and (
        pairs is None or _is_list(pairs, lambda p: _is_list(p, _is_text) and len(p) == 2)
    )


def _is_file(x: object) -> bool:
    fits = isinstance(x, dict) and _is_count(x.get("size"))
    return fits and _is_text(x.get("sha256"))  # type: ignore[attr-defined]  # a dict


_FITS: dict[str, Callable[[Any], bool]] = {
    "version": _is_text,
    "hparams": lambda x: _is_table(x, _is_plain),
    "alphabet": _is_alphabet,
    "targets": _is_targets,
    "splits": lambda x: _is_table(x, lambda n: n is None or n is True or _is_count(n)),
    "seq_len": _is_count,
    "contigs": lambda x: _is_table(x, lambda c: _is_list(c, _is_count) and len(c) == 4),
    "n_contigs": _is_count,
    "data": lambda x: _is_table(x, _is_file),
    "plugins": lambda x: _is_table(x, lambda d: d is None or _is_text(d)),
}
"""What the values of a header are, beyond KNOWN: what reads them counts on it."""


def _foreign(path: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a checkpoint that seqmodel wrote (no whole {HEADER} inside); not loaded"
    )
