"""Config files: hyperparameters by their flat names, as TOML or JSON. Light.

The hparams.json of a run folder is a config file: its keys that start with `_` are the record of
the run, not hyperparameters.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from seqmodel.errors import HparamError
from seqmodel.files import CORRECT_IT, read_text, reading
from seqmodel.hparam.words import one_spelling

RECORD = "hparams.json"


class Config(NamedTuple):
    """The content of a config file.

    Attributes:
        values: its hyperparameters, unchecked.
        is_record: whether a run wrote it (the hparams.json of a run folder), not its user.
        plugin_digests: the digests of its plugins that the run recorded.
    """

    values: dict[str, Any]
    is_record: bool = False
    plugin_digests: object = None


def read_config(path: str) -> Config:
    """Return the hyperparameters in the file at `path`, unchecked.

    Raises:
        HparamError: the file is missing, is neither TOML nor JSON, or is not flat.
    """
    text = read_text(path, _error)
    with reading(path, _error, "TOML or JSON", empty=True, advice=CORRECT_IT):
        values = _parse(path, text)
    if not isinstance(values, dict):
        raise HparamError(f"--config {path}: must contain names and values, got a {_kind(values)}")
    record = values.get("_run", {})
    is_record = "_run" in values or os.path.basename(path) == RECORD
    values = one_spelling({n: value for n, value in values.items() if not n.startswith("_")})
    for name, value in values.items():
        if isinstance(value, dict):
            raise HparamError(
                f"--config {path}: {name!r} is a table; names are flat: write them at the top level"
            )
    return Config(values, is_record, _plugin_digests(record))


def _plugin_digests(record: object) -> object:
    code = record.get("code") if isinstance(record, dict) else None
    return code.get("plugins") if isinstance(code, dict) else None


def _error(message: str) -> HparamError:
    return HparamError(f"--config {message}")


def _parse(path: str, text: str) -> Any:
    if path.endswith(".json") or (not path.endswith(".toml") and text.lstrip()[:1] == "{"):
        import json

        return json.loads(text)
    import tomllib

    return tomllib.loads(text)


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else type(value).__name__
