"""calibration.json beside a checkpoint: the result of `seqmodel calibrate`, and its use.

One file holds the calibrations of all checkpoints in its folder, by name. Each has the SHA-256 of
its checkpoint, so a new checkpoint with the same name is not confused with the old one.
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
    """Scale and shift of the logits: one number for all targets, or one for each."""

    scale: list[float]
    shift: list[float]

    def of(self, logits: Tensor) -> Tensor:
        """Return the calibrated logits, [N, T]."""
        return logits * logits.new_tensor(self.scale) + logits.new_tensor(self.shift)


def calibration_path(checkpoint: str) -> str:
    """Return the path of calibration.json beside a checkpoint."""
    return os.path.join(os.path.dirname(checkpoint), NAME)


def read_calibration(checkpoint: str, n_targets: int) -> Calibration:
    """Read the calibration of a checkpoint.

    Args:
        checkpoint: Path of the checkpoint.
        n_targets: Number of its targets.

    Raises:
        CheckpointError: The file is missing or damaged, or it belongs to another checkpoint.
    """
    path = calibration_path(checkpoint)
    if (why := problem(path)) is not None:
        raise CheckpointError(
            f"{path}: cannot be read ({why}); to write it, run: seqmodel calibrate {checkpoint}"
        )
    entry = _entries(path).get(os.path.basename(checkpoint))
    fits = entry is not None and len(entry["scale"]) in (1, n_targets)
    if entry is None or not fits or entry["sha256"] != sha256_of(checkpoint, CheckpointError):
        raise CheckpointError(
            f"{path} has no calibration of the current {checkpoint}; to write it, run: seqmodel "
            f"calibrate {checkpoint}"
        )
    return Calibration(entry["scale"], entry["shift"])


def write_calibration(checkpoint: str, found: Calibration, about: dict[str, Any]) -> str:
    """Write the calibration of a checkpoint beside it and return the path; keep the others.

    Args:
        checkpoint: Path of the checkpoint.
        found: Calibration of the checkpoint.
        about: Other facts to record.

    Raises:
        CheckpointError: The existing file is damaged, or the file cannot be written.
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
        f"{path} is not a calibration ({reason}); remove it and calibrate the checkpoint again"
    )


def _is_whole(entry: dict[str, Any]) -> bool:
    numbers = [*entry["scale"], *entry["shift"]]
    plain = all(type(x) in (int, float) and -_MOST <= x <= _MOST for x in numbers)
    fits = 0 < len(entry["scale"]) == len(entry["shift"])
    return plain and fits and isinstance(entry["sha256"], str)
