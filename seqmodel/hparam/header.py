"""What a checkpoint says without torch: the JSON header beside its tensors. Light.

A checkpoint is the zip file that torch writes, with one more record, `seqmodel.json`: VERSION, all
hyperparameters, and what the model reads, predicts and was trained on. So a checkpoint can be
described on a machine that has no torch, and no byte of a pickle is read for it.

Schema 2 (0.2.0) added what `KNOWN` lists. A file of schema 1 has None there: unknown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from seqmodel import VERSION
from seqmodel.errors import CheckpointError
from seqmodel.files import problem, read_bytes, reading
from seqmodel.hparam.migrate import HPARAM_STEPS, migrated, version_tuple

HEADER = "seqmodel.json"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
"""A folder that `seqmodel export` wrote has the header beside the weights."""
SCHEMA = 2
MOST = 1000
"""Contigs and data files that a header lists; the entry in the checkpoint has the rest."""
MOST_BYTES = 1 << 26

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
    """The header of the checkpoint at `path`: `version`, `hparams` (flat, migrated), `KNOWN`.

    Of exported weights, `.safetensors`, it is config.json beside them.

    Raises:
        CheckpointError: no file, not written by seqmodel, or by a newer version.
    """
    import zipfile

    if (why := problem(path)) is not None:
        raise CheckpointError(f"{path}: cannot be read ({why}); give the path of a .ckpt file")
    if path.endswith(".safetensors"):
        config = os.path.join(os.path.dirname(path), CONFIG)
        return parse_header(read_bytes(config, CheckpointError), config)
    try:
        with reading(path, CheckpointError, "checkpoint"), zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            record = next((x for x in infos if x.filename.split("/")[-1] == HEADER), None)
            fits = record is not None and record.file_size <= MOST_BYTES
            data = archive.read(record) if record is not None and fits else b""
    except CheckpointError as e:
        raise _foreign(path) from e
    return parse_header(data, path)


def parse_header(data: bytes, path: str) -> dict[str, Any]:
    """The same from the record `seqmodel.json` of a checkpoint that lies at `path`, anywhere."""
    import json

    try:
        header = json.loads(data)
        version, hparams = header["version"], header["hparams"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise _foreign(path) from e
    if version_tuple(version) > version_tuple(VERSION):
        raise CheckpointError(
            f"{path}: written by seqmodel {version}, this is {VERSION}; "
            "update seqmodel to read it (pip install -U seqmodel)"
        )
    if not isinstance(hparams, dict):
        raise CheckpointError(f"{path}: its hyperparameters are no table; not loaded")
    return checked({**header, "hparams": migrated(hparams, version, HPARAM_STEPS)}, path)


def checked(entry: Mapping[str, Any], path: object) -> dict[str, Any]:
    """`entry`, with None for what its version did not keep; `seq_len` as far as it was set.

    Raises:
        CheckpointError: a value of `KNOWN` is of another type.
    """
    found = {**dict.fromkeys(KNOWN), "seq_len": entry["hparams"].get("seq_len"), **entry}
    for name, kind in KNOWN.items():
        if type(found[name]) not in (kind, type(None)):
            raise CheckpointError(f"{path}: damaged, its {name!r} is no {kind.__name__}")
    if isinstance(found["splits"], dict):  # up to 0.1 without the number of items
        found["splits"] = {x: None if n is True else n for x, n in found["splits"].items()}
    return found


def _foreign(path: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a checkpoint that seqmodel wrote (no whole {HEADER} inside); not loaded"
    )
