"""Hyperparameters of earlier versions, brought to this one step by step. Light.

A step belongs to the version that made it necessary: a name that was changed, a default that
moved, a value that means something else now. Each takes the flat hyperparameters of a checkpoint
or a run folder of the version before and returns those of its own. Weights have their steps in
checkpoint.py.

    Step("0.2.0", "n_ff is a multiple of n_dims", lambda h: {**h, "n_ff": h["n_ff"] // h["n_dims"]})
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seqmodel.errors import CheckpointError


class Step(NamedTuple):
    """What a version changed, and how what was stored before becomes what it stores."""

    version: str
    what: str
    change: Callable[[dict[str, Any]], dict[str, Any]]


HPARAM_STEPS: tuple[Step, ...] = ()


def migrated(stored: dict[str, Any], version: object, steps: Sequence[Step]) -> dict[str, Any]:
    """`stored`, of `version`, after all later steps, the oldest first; `stored` is not changed."""
    for step in sorted(steps, key=lambda s: version_tuple(s.version)):
        if version_tuple(version) < version_tuple(step.version):
            stored = step.change(dict(stored))
    return stored


def version_tuple(version: object) -> tuple[int, ...]:
    """`1.12.0` as (1, 12, 0); what follows the third number is left out.

    Raises:
        CheckpointError: the text holds no version.
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(version))
    if found is None:
        raise CheckpointError(f"{version!r} is no version of seqmodel (like 0.1.0)")
    return tuple(int(number) for number in found.groups())
