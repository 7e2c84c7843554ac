"""What a checkpoint tells without torch: the JSON header beside its tensors. Light.

A checkpoint is the zip file that torch writes, with one more record, `seqmodel.json`: VERSION and
all hyperparameters. So a job can be checked on a machine that has no torch, and no byte of a
pickle is read to learn what a file is.
"""

from __future__ import annotations

from typing import Any

from seqmodel import VERSION
from seqmodel.errors import CheckpointError
from seqmodel.hparam.migrate import HPARAM_STEPS, migrated, version_tuple

HEADER = "seqmodel.json"


def read_header(path: str) -> dict[str, Any]:
    """The header of the checkpoint at `path`: `version`, `hparams` (flat, migrated), `schema`.

    Raises:
        CheckpointError: no file, not written by seqmodel, or by a newer version.
    """
    import json
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            record = next(n for n in archive.namelist() if n.split("/")[-1] == HEADER)
            header = json.loads(archive.read(record))
        version, hparams = header["version"], header["hparams"]
    except OSError as e:
        raise CheckpointError(f"{path}: {e.strerror or e}; give the path of a .ckpt file") from e
    except (zipfile.BadZipFile, StopIteration, ValueError, KeyError, TypeError) as e:
        raise CheckpointError(
            f"{path}: not a checkpoint that seqmodel wrote (no whole {HEADER} inside); not loaded"
        ) from e
    if version_tuple(version) > version_tuple(VERSION):
        raise CheckpointError(
            f"{path}: written by seqmodel {version}, this is {VERSION}; "
            "update seqmodel to read it (pip install -U seqmodel)"
        )
    if not isinstance(hparams, dict):
        raise CheckpointError(f"{path}: its hyperparameters are no table; not loaded")
    return {**header, "hparams": migrated(hparams, version, HPARAM_STEPS)}
