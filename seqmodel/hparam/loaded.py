"""What a run must have in common with the checkpoint that it resumes or starts from. Light."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.header import read_header
from seqmodel.hparam.parser import PLACE, TARGET, HparamParser


def check_resumed(parser: HparamParser, values: Namespace) -> None:
    """Refuses to go on with a run under other hyperparameters; more epochs or steps are no others.

    Raises:
        HparamError: naming what differs.
    """
    old = read_header(values.resume_from_checkpoint)["hparams"]
    for name, hparam in parser.declared.items():
        if not (hparam.tracked and hparam.inherited):
            continue
        if name in old and name not in ("max_epochs", "max_steps"):
            before, now = hparam.value(old[name]), getattr(values, name)
            if hparam.group == PLACE and _n_files(before) == _n_files(now):
                continue  # files may be moved: what is in them is compared (training/build.py)
            if before != now:
                raise HparamError(
                    f"--resume_from_checkpoint goes on with one run, but {name} was {before!r} and "
                    f"is now {now!r}; leave it, or start a new run with --load_checkpoint_path"
                )


def _n_files(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value is not None)


def check_same_targets(parser: HparamParser, values: Namespace, header: Mapping[str, Any]) -> None:
    """Refuses targets that mean something else than those that a loaded model predicts.

    Raises:
        HparamError: naming what differs.
    """
    for name, hparam in parser.declared.items():
        if hparam.group == TARGET and name in header:
            before, now = hparam.value(header[name]), getattr(values, name)
            if before != now:
                raise HparamError(
                    f"--{name} was {before!r} when {values.load_checkpoint_path} was trained and "
                    f"is now {now!r}: its model predicts other targets; leave it, or start a new "
                    "model from its encoder with --load_encoder_from_checkpoint"
                )
