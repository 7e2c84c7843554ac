"""The content of a checkpoint, for people and programs: `seqmodel describe A.ckpt`. Light."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from seqmodel.hparam.header import KNOWN, read_header

_CHOICES = ("task", "dataset", "encoder", "decoder")
_SHOWN = 10


def described(path: str) -> dict[str, Any]:
    """Return the header of the checkpoint at `path`; None for values its version did not record.

    Raises:
        CheckpointError: the file is missing, or seqmodel or this version of it did not write it.
    """
    header = read_header(path)
    known = {name: header[name] for name in KNOWN}
    return {
        "path": os.path.abspath(path),
        "size": os.path.getsize(path),
        "version": header["version"],
        "plugins": header.get("plugins") or {},
        **known,
        "hparams": header["hparams"],
    }


def as_text(found: Mapping[str, Any]) -> str:
    """Return the lines that `seqmodel describe` prints."""
    hparams, targets, alphabet = found["hparams"], found["targets"], found["alphabet"]
    rows = {
        "checkpoint": f"{found['path']} ({found['size'] / 1e6:.1f} MB, seqmodel {found['version']})"
    }
    rows |= {name: str(hparams.get(name) or "unknown") for name in _CHOICES}
    rows["alphabet"] = _alphabet(alphabet) if alphabet else "unknown"
    rows["targets"] = _targets(targets) if targets else "unknown"
    rows["seq_len"] = "unknown" if found["seq_len"] is None else f"{found['seq_len']:,}"
    rows["items"] = _items(found["splits"])
    rows["contigs"] = _contigs(found)
    if found["plugins"]:
        rows["plugins"] = _some(list(found["plugins"]))
    lines = [f"{name:11} {text}" for name, text in rows.items()]
    if found["data"] is None:
        lines.append("data        unknown")
    for path, data in (found["data"] or {}).items():
        lines.append(f"data        {path} ({data['size']:,} bytes, SHA-256 {data['sha256'][:16]})")
    lines.append("")
    lines += [f"--{x}={_value(value)}" for x, value in hparams.items() if value not in (None, [])]
    return "\n".join(lines)


def _alphabet(alphabet: Mapping[str, Any]) -> str:
    letters = alphabet["letters"]
    is_single = all(len(x) == 1 for x in letters)
    return f"{alphabet['name']} ({('' if is_single else ' ').join(letters)})"


def _targets(targets: Mapping[str, Any]) -> str:
    return f"{targets['kind']}: {_some(targets.get('names') or [])}"


def _items(splits: Mapping[str, int | None] | None) -> str:
    if splits is None:
        return "unknown"
    counts = (f"{x} {'unknown' if n is None else f'{n:,}'}" for x, n in splits.items())
    return ", ".join(counts)


def _contigs(found: Mapping[str, Any]) -> str:
    if found["contigs"] is None:
        return "unknown"
    return f"{_some(list(found['contigs']), found['n_contigs'])} (with training windows)"


def _some(names: list[str], n: int | None = None) -> str:
    n = len(names) if n is None else n
    shown = ", ".join(map(str, names[:_SHOWN])) or "none"
    return shown + (f" and {n - _SHOWN:,} more" if n > _SHOWN else "")


def _value(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
