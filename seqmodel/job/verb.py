"""Jobs of the verbs that apply a trained model: the input is split into parts, one job per part.

    job.submit(verb="predict", n_parts=32, checkpoints="best.ckpt", fasta="a.fa", out="a.tsv")

Job accepts a VerbRun in place of a Run; its replicates are the parts. Each runs
`seqmodel predict ... --part=k/n`, and the one that ends last joins the output of all parts
(seqmodel/infer/parts.py).
"""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from copy import copy
from hashlib import sha256
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.canonical import escape, normal_path
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.job import SubmitHparams
from seqmodel.hparam.paths import files_to_read
from seqmodel.hparam.resolve import HeaderOf, Run, resolve
from seqmodel.hparam.trust import Source
from seqmodel.hparam.verb import PARTED


class VerbRun(Run):
    """A verb and its hyperparameters.

    Args:
        verb: Name in PARTED.
        n_parts: Number of jobs.
        values: Values of all hyperparameters of the verb.
    """

    def __init__(self, verb: str, n_parts: int, values: Namespace) -> None:
        cls = PARTED[verb]
        parser = cls.default_hparams()
        super().__init__(parser, values, {}, files_to_read(parser.declared, values))
        self.verb, self.n_parts, self.cls = verb, n_parts, cls
        values.num_nodes = values.devices = 1  # the interface that a job needs of a run

    def parts(self) -> list[VerbRun]:
        """Return the verb with --part=1/n, 2/n, ..."""
        found = []
        for k in range(1, self.n_parts + 1):
            part = copy(self)
            part.values = Namespace(**{**vars(self.values), "part": f"{k}/{self.n_parts}"})
            found.append(part)
        return found

    def to_args(self) -> list[str]:
        """Return the verb and its hyperparameters as arguments."""
        return [self.verb, *super().to_args()]

    def needs(self) -> list[tuple[str, str, str]]:
        """Return the flag, kind and path of each output; see `reserve`."""
        first = self.values.out[0] + (".ohe.npz" if self.verb == "attribute" else "")
        return [] if self.values.overwrite else [("--out", "n", first)]

    def canonical(self) -> str:
        """Return the verb, the name of its first output, and a digest of what determines it."""
        digest = sha256(json.dumps(self.tracked_values()).encode("utf-8", "surrogatepass"))
        name = escape(os.path.basename(self.values.out[0]))[:120]
        return f"{self.verb}-{name}-{digest.hexdigest()[:8]}"

    def old_names(self) -> list[str]:
        """None."""
        return []

    def tracked_values(self) -> dict[str, Any]:
        """Return the verb, and the values that determine what is written and where."""
        found: dict[str, Any] = {"verb": self.verb}
        for name, hparam in self.parser.declared.items():
            value = getattr(self.values, name)
            if name != "out" and name in self.cls.not_in_stamp:
                continue
            if hparam.type.path_kind and value:
                paths = value if isinstance(value, list) else [value]
                value = [normal_path(path, self.workdir) for path in paths]
            found[name] = value
        return found


def parts_of(run: Run) -> Sequence[Run]:
    """Return the parts of a run or a verb; each is one job."""
    return run.parts() if isinstance(run, VerbRun) else [run]


def args_in(run: Run, workdir: str) -> list[str]:
    """Return the command line of a job, which runs in a copy of `workdir`.

    A verb writes into `workdir` itself; a run writes into its folder.
    """
    if not isinstance(run, VerbRun):
        return run.to_args()
    job = copy(run)
    out = [os.path.join(workdir, path) for path in run.values.out]
    job.values = Namespace(**{**vars(run.values), "out": out})
    return job.to_args()


def resolve_verb(given: Mapping[str, Any], header_of: HeaderOf) -> VerbRun:
    """Return the verb that a dict of values describes, checked as far as possible from here.

    Args:
        given: `verb`, `n_parts` and the hyperparameters of the verb.
        header_of: Function that reads the header of a checkpoint on the host of the jobs.

    Raises:
        HparamError: A name is unknown, a value is invalid, or a checkpoint needs your trust.
        CheckpointError: A checkpoint was not written by seqmodel.
    """
    own = {name: given[name] for name in ("verb", "n_parts") if name in given}
    chosen = parse_dict(SubmitHparams.default_hparams(), own)
    cls = PARTED[chosen.verb]
    if "part" in given:
        raise HparamError("'part' is set by the job itself; remove it, and set n_parts")
    values = parse_dict(
        cls.default_hparams(), {name: value for name, value in given.items() if name not in own}
    )
    cls.checks(values)
    run = VerbRun(chosen.verb, chosen.n_parts or 1, values)
    for flag, path in [*run.files, *(("--out", path) for path in values.out)]:
        if path == "-" or path.startswith("~"):
            raise HparamError(
                f"{flag}={path}: a job needs an absolute path, or a path below workdir"
            )
    values.plugins = _plugins(values, header_of)
    return run


def refuse_trials(settings: Namespace) -> None:
    """Refuse settings of a job that have no effect on a verb.

    Raises:
        HparamError: Such a setting is given.
    """
    for name in ("fast_dev_run_first", "checkpoint_check"):
        if getattr(settings, name):
            raise HparamError(f"--{name} tests a training, not a verb; remove it")


def _plugins(values: Namespace, header_of: HeaderOf) -> list[str]:
    """Return the plugins that the jobs import.

    Nothing is imported here, because the module of a network may import torch. A checkpoint with
    untrusted plugins is checked when it is loaded.
    """
    found = dict.fromkeys(values.plugins)
    for path in values.checkpoints:
        header = header_of(path)
        named = Source(path, header["hparams"]).plugins
        if values.trust_plugins and not values.plugins:
            found |= dict.fromkeys(named)
        elif not values.plugins:
            asked = {"mode": "test", "load_checkpoint_path": path}
            resolve(asked, files_here=False, header_of=header_of)
    return list(found)
