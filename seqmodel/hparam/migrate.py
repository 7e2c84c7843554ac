"""Hyperparameters of earlier versions, migrated to this one step by step. Light.

A step belongs to the version that requires it: a name or a default changed, or a value has a new
meaning. Each step takes the flat hyperparameters of a checkpoint or a run folder of the previous
version and returns those of its own version. The steps for weights are in checkpoint.py.

    Step("0.2.0", "n_ff is a multiple of n_dims", lambda h: {**h, "n_ff": h["n_ff"] // h["n_dims"]})
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seqmodel.errors import CheckpointError


class Step(NamedTuple):
    """A change that a version made, and the function that migrates stored values."""

    version: str
    what: str
    change: Callable[[dict[str, Any]], dict[str, Any]]


HPARAM_STEPS: tuple[Step, ...] = ()


def migrated(stored: dict[str, Any], version: object, steps: Sequence[Step]) -> dict[str, Any]:
    """Return `stored`, of `version`, after all later steps, oldest first; `stored` is unchanged."""
    for step in sorted(steps, key=lambda s: version_tuple(s.version)):
        if version_tuple(version) < version_tuple(step.version):
            stored = step.change(dict(stored))
    return stored


def version_tuple(version: object) -> tuple[int, ...]:
    """Return `1.12.0` as (1, 12, 0); text after the third number is ignored.

    Raises:
        CheckpointError: the text does not start with a version.
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(version))
    if found is None:
        raise CheckpointError(f"{version!r} is not a version of seqmodel, such as 0.1.0")
    return tuple(int(number) for number in found.groups())
