"""The files that a run reads: hyperparameters whose type is a path. Light."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Mapping

from seqmodel.errors import HparamError
from seqmodel.files import problem
from seqmodel.hparam.parser import Hparam
from seqmodel.hparam.value import FILE


def files_to_read(declared: Mapping[str, Hparam], values: Namespace) -> list[tuple[str, str]]:
    """Return flag and path of each file that `values` name for reading, in order of `declared`."""
    found = []
    for name, hparam in declared.items():
        if hparam.type.path_kind == FILE:
            value = getattr(values, name)
            paths = value if isinstance(value, list) else [value] if value else []
            found += [(f"--{name}", path) for path in paths]
    return found


def check_files(files: Iterable[tuple[str, str]]) -> None:
    """Refuse pairs (flag, path) whose path is not a readable file.

    Raises:
        HparamError: a path is refused; the message names the first one.
    """
    for flag, path in files:
        if not os.path.isfile(path) or not os.access(path, os.R_OK):
            where = "" if os.path.isabs(path) else f" (looked in {os.getcwd()})"
            what = "no such file" if not os.path.exists(path) else problem(path)
            raise HparamError(f"{flag}: {path}: {what}{where}")
