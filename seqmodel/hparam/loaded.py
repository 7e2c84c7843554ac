"""Hyperparameters that a run must share with the checkpoint that it resumes or loads. Light."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.header import read_header
from seqmodel.hparam.parser import PLACE, TARGET, HparamParser


def check_resumed(parser: HparamParser, values: Namespace) -> None:
    """Refuse to resume a run with other hyperparameters, except max_epochs and max_steps.

    Raises:
        HparamError: the message names the first difference.
    """
    old = read_header(values.resume_from_checkpoint)["hparams"]
    for name, hparam in parser.declared.items():
        if not (hparam.tracked and hparam.inherited):
            continue
        if name in old and name not in ("max_epochs", "max_steps"):
            before, now = hparam.value(old[name]), getattr(values, name)
            if hparam.group == PLACE and _n_files(before) == _n_files(now):
                continue  # files may be moved: training/build.py compares their content
            if before != now:
                raise HparamError(
                    f"--resume_from_checkpoint resumes a run, but {name} was {before!r} and is now "
                    f"{now!r}; leave it out, or start a new run with --load_checkpoint_path"
                )


def _n_files(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value is not None)


def check_same_targets(parser: HparamParser, values: Namespace, header: Mapping[str, Any]) -> None:
    """Refuse targets whose meaning differs from those that a loaded model predicts.

    Raises:
        HparamError: the message names the first difference.
    """
    for name, hparam in parser.declared.items():
        if hparam.group == TARGET and name in header:
            before, now = hparam.value(header[name]), getattr(values, name)
            if before != now:
                raise HparamError(
                    f"--{name} was {before!r} when {values.load_checkpoint_path} was trained and "
                    f"is now {now!r}, but its model predicts other targets; leave it out, or start "
                    "a new model from its encoder with --load_encoder_from_checkpoint"
                )
