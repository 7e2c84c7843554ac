"""calibration.json beside a checkpoint: what `seqmodel calibrate` found, and how it is applied.

One file holds the calibrations of all checkpoints of its folder, by their names; each has the
SHA-256 of the checkpoint, so that another one of that name is not taken for it.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from torch import Tensor

from seqmodel.errors import CheckpointError
from seqmodel.files import problem, read_text, sha256_of, write_file

NAME = "calibration.json"
SCHEMA = 1
_MOST = 1e9


class Calibration(NamedTuple):
    """What logits are multiplied with, and what is added: one number for all targets, or each."""

    scale: list[float]
    shift: list[float]

    def of(self, logits: Tensor) -> Tensor:
        """The calibrated logits, [N, T]."""
        return logits * logits.new_tensor(self.scale) + logits.new_tensor(self.shift)


def calibration_path(checkpoint: str) -> str:
    """The file beside a checkpoint."""
    return os.path.join(os.path.dirname(checkpoint), NAME)


def read_calibration(checkpoint: str, n_targets: int) -> Calibration:
    """The calibration of a checkpoint.

    Args:
        checkpoint: its path.
        n_targets: number of its targets.

    Raises:
        CheckpointError: there is none, it is of another checkpoint, or the file is damaged.
    """
    path = calibration_path(checkpoint)
    if (why := problem(path)) is not None:
        raise CheckpointError(
            f"{path}: cannot be read ({why}); write it by: seqmodel calibrate {checkpoint}"
        )
    entry = _entries(path).get(os.path.basename(checkpoint))
    fits = entry is not None and len(entry["scale"]) in (1, n_targets)
    if entry is None or not fits or entry["sha256"] != sha256_of(checkpoint, CheckpointError):
        raise CheckpointError(
            f"{path} has no calibration of {checkpoint} as it is now; write it by: seqmodel "
            f"calibrate {checkpoint}"
        )
    return Calibration(entry["scale"], entry["shift"])


def write_calibration(checkpoint: str, found: Calibration, about: dict[str, Any]) -> str:
    """Writes the calibration of a checkpoint beside it; those of others stay. Returns the path.

    Args:
        checkpoint: path of the checkpoint.
        found: its calibration.
        about: what else the file says of it.

    Raises:
        CheckpointError: the file that is there is damaged, or it cannot be written.
    """
    path = calibration_path(checkpoint)
    entries = _entries(path) if os.path.lexists(path) else {}
    sha256 = sha256_of(checkpoint, CheckpointError)
    entries[os.path.basename(checkpoint)] = {"sha256": sha256, **found._asdict(), **about}
    text = json.dumps({"schema": SCHEMA, "checkpoints": entries}, indent=1)
    write_file(path, f"{text}\n", CheckpointError)
    return path


def _entries(path: str) -> dict[str, dict[str, Any]]:
    text = read_text(path, CheckpointError)
    try:
        record = json.loads(text)
        if record["schema"] == SCHEMA and all(map(_is_whole, record["checkpoints"].values())):
            return record["checkpoints"]
        reason = "other fields, or a newer schema"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        reason = f"{type(e).__name__}: {e}"
    raise CheckpointError(
        f"{path}: is no calibration ({reason}); remove it and calibrate the checkpoint again"
    )


def _is_whole(entry: dict[str, Any]) -> bool:
    numbers = [*entry["scale"], *entry["shift"]]
    plain = all(type(x) in (int, float) and -_MOST <= x <= _MOST for x in numbers)
    fits = 0 < len(entry["scale"]) == len(entry["shift"])
    return plain and fits and isinstance(entry["sha256"], str)
