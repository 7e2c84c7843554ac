"""A digest of each definition, on which the meaning of a stored hyperparameter depends. Light."""

from __future__ import annotations

import json

from seqmodel.hparam.hparams import Hparam
from seqmodel.hparam.registry import known_hparams


def definitions() -> dict[str, list[object]]:
    """Return every hyperparameter by name: type, default, and whether it names a run.

    Help texts and the order and names of classes may change without a new VERSION.
    """
    found: dict[str, Hparam] = {}
    for cls in known_hparams():
        found |= cls.default_hparams().declared
    return {
        name: [h.type.described, h.texts(h.default), h.is_list, h.tracked]
        for name, h in sorted(found.items())
    }


def definition_digests() -> dict[str, str]:
    """Return the first 16 hex digits of the SHA-256 of each of `definitions`, by name."""
    from hashlib import sha256

    return {
        name: sha256(json.dumps(definition).encode()).hexdigest()[:16]
        for name, definition in definitions().items()
    }
