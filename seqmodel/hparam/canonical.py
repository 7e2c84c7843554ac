"""The name of a run: what was set, as one path component that two settings never share. Light."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from seqmodel.hparam.convert import changed_hparams
from seqmodel.hparam.hparams import HparamParser

MAX_BYTES = 180
ALL_DEFAULT = "default"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_CUT = "~"  # never in escaped text, so a cut name equals no whole one


def canonical_str(parser: HparamParser, values: Namespace | Mapping[str, Any]) -> str:
    """The tracked hyperparameters that differ from their defaults: `name=value,...`, sorted.

    ASCII, safe as a path component. Values are cast to their type first, so 1 and 1.0 are one
    number where a float is wanted. Other characters than letters, digits and `_-.` become %XX of
    their UTF-8; list items are joined by `+`. Over 180 bytes the text is cut and ends in `~` and
    twelve hex digits of the SHA-256 of the whole.
    """
    pairs = []
    for name, value in sorted(changed_hparams(parser, values).items()):
        hparam = parser.declared[name]
        if hparam.tracked:
            pairs.append(f"{name}={'+'.join(escape(text) for text in hparam.texts(value))}")
    whole = ",".join(pairs) or ALL_DEFAULT
    if len(whole) <= MAX_BYTES:
        return whole
    from hashlib import sha256

    digest = sha256(whole.encode("ascii")).hexdigest()[:12]
    kept = whole[: MAX_BYTES - len(_CUT) - len(digest)]
    return f"{kept}{_CUT}{digest}"


def escape(text: str) -> str:
    """`text` with all but ASCII letters, digits, `_`, `-` and `.` as %XX of its UTF-8 bytes."""
    if _PLAIN.issuperset(text):
        return text
    return "".join(
        c if c in _PLAIN else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass"))
        for c in text
    )
