"""A digest of all definitions: what a stored hyperparameter means depends on them. Light."""

from __future__ import annotations

import json

from seqmodel.hparam.hparams import Hparam
from seqmodel.hparam.registry import known_hparams


def definitions() -> dict[str, list[object]]:
    """Every hyperparameter by name: type, default, and whether it names a run.

    Help texts and the order and names of classes may change without a step of VERSION.
    """
    found: dict[str, Hparam] = {}
    for cls in known_hparams():
        found |= cls.default_hparams().declared
    return {
        name: [h.type.described, h.texts(h.default), h.is_list, h.tracked]
        for name, h in sorted(found.items())
    }


def definitions_digest() -> str:
    """The SHA-256 of `definitions`, 64 hex digits."""
    from hashlib import sha256

    return sha256(json.dumps(definitions()).encode()).hexdigest()
