"""What a checkpoint tells without torch: the JSON header beside its tensors. Light.

A checkpoint is the zip file that torch writes, with one more record, `seqmodel.json`: VERSION and
all hyperparameters. So a job can be checked on a machine that has no torch, and no byte of a
pickle is read to learn what a file is.
"""

from __future__ import annotations

from typing import Any

from seqmodel import VERSION
from seqmodel.errors import CheckpointError
from seqmodel.files import problem, reading
from seqmodel.hparam.migrate import HPARAM_STEPS, migrated, version_tuple

HEADER = "seqmodel.json"


def read_header(path: str) -> dict[str, Any]:
    """The header of the checkpoint at `path`: `version`, `hparams` (flat, migrated), `schema`.

    Raises:
        CheckpointError: no file, not written by seqmodel, or by a newer version.
    """
    import zipfile

    if (why := problem(path)) is not None:
        raise CheckpointError(f"{path}: cannot be read ({why}); give the path of a .ckpt file")
    try:
        with reading(path, CheckpointError, "checkpoint"), zipfile.ZipFile(path) as archive:
            record = next((n for n in archive.namelist() if n.split("/")[-1] == HEADER), None)
            data = b"" if record is None else archive.read(record)
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
    return {**header, "hparams": migrated(hparams, version, HPARAM_STEPS)}


def _foreign(path: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a checkpoint that seqmodel wrote (no whole {HEADER} inside); not loaded"
    )
