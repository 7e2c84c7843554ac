"""Which hyperparameters a given run has: called by seqmodel/run.py and by Job. Light.

run = resolve(["--task=masked", "--fasta=a.fa", "--lr=1e-3"])      # or a dict
run.values.lr, run.canonical(), run.to_args(), run.hparams("encoder")
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.canonical import canonical_str
from seqmodel.hparam.config import read_config
from seqmodel.hparam.convert import changed_hparams, parse_args, parse_dict, to_args
from seqmodel.hparam.dataset import check_files, files_elsewhere
from seqmodel.hparam.header import read_header
from seqmodel.hparam.hparams import GIVEN, HparamParser, Hparams
from seqmodel.hparam.known import choices, known_hparams
from seqmodel.hparam.value import did_you_mean

ROLES = {
    "task": "TaskHparams",
    "dataset": "DatasetHparams",
    "encoder": "EncoderHparams",
    "decoder": "DecoderHparams",
    "optimiser": "OptimiserHparams",
    "schedule": "ScheduleHparams",
}
ALWAYS = ("RunHparams", "TrainingHparams", "TrainerHparams")
HeaderOf = Callable[[str], dict[str, Any]]
# in the order in which they are asked for the hyperparameters they bring along
CHECKPOINTS = ("resume_from_checkpoint", "load_checkpoint_path", "load_encoder_from_checkpoint")
NOT_RESUMED = ("mode", "config", "resume_from_checkpoint", "default_root_dir", "fast_dev_run")


class Run:
    """The hyperparameters of one run: the parser that has just its own, and their values.

    Attributes:
        parser: all hyperparameters that the run's choices have.
        values: a value for each of them.
        classes: role ("task", "encoder", ...) to the Hparams class that was chosen for it.
        files: (flag, path) of the files that must be there, if that was not checked here.
    """

    def __init__(
        self,
        parser: HparamParser,
        values: Namespace,
        classes: dict[str, type[Hparams]],
        files: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.parser, self.values, self.classes, self.files = parser, values, classes, files

    def hparams(self, role: str) -> Hparams:
        """The Hparams object from which the thing in that role is built."""
        return self.classes[role](**vars(self.values))

    def changed(self) -> dict[str, Any]:
        """The values that differ from their defaults."""
        return changed_hparams(self.parser, self.values)

    def to_args(self) -> list[str]:
        """The command line that gives this run again."""
        return to_args(self.parser, self.values)

    def canonical(self) -> str:
        """The name of the run: what was set, of that which changes what is learned."""
        return canonical_str(self.parser, self.values)


def resolve(
    given: Sequence[str] | Mapping[str, object],
    *,
    files_here: bool = True,
    header_of: HeaderOf = read_header,
) -> Run:
    """The run that a command line (list of words) or a dict of values describes, checked.

    What is given wins over the config file, and that over what a checkpoint brings along.
    With files_here=False the data are on another machine: what should be there is in `files`, and
    `header_of` tells the header of a checkpoint there.

    Raises:
        HparamError: an unknown name, a bad value, a missing or an impossible choice.
        CheckpointError: a checkpoint that is named is none of ours.
    """
    plan = _plan(given, complete=True, header_of=header_of)
    values = plan.read(given)
    values.config = None
    for role, cls in plan.classes.items():
        setattr(values, role, cls.name)
    with files_elsewhere() as files:
        for cls in [*_always(plan.known), *plan.classes.values()]:
            cls.checks(values)
    if files_here:
        for flag, path in files:
            check_files(flag, [path])
    if values.resume_from_checkpoint:
        check_resumed(plan.parser, values)
    return Run(plan.parser, values, plan.classes, files)


def resolve_data(given: Sequence[str] | Mapping[str, object]) -> Run:
    """The data alone of what `given` describes: no task is needed, other values are taken along.

    Raises:
        HparamError: an unknown name, a bad value, or no dataset is chosen.
    """
    plan = _plan(given, complete=False)
    if "dataset" not in plan.classes:
        names = ", ".join(sorted(_options(plan.known)["dataset"]))
        raise HparamError(f"--dataset is not set; choose one of {names}")
    values = plan.read(given)
    plan.classes["dataset"].checks(values)
    return Run(plan.parser, values, {"dataset": plan.classes["dataset"]})


def run_parser(given: Sequence[str] | Mapping[str, object]) -> HparamParser:
    """The combined parser for the choices made in `given`, as far as they were made."""
    return _plan(given, complete=False).parser


def help_text(argv: Sequence[str]) -> str:
    """The help for the choices on a command line: just their hyperparameters, by class."""
    plan = _plan([word for word in argv if word not in ("--help", "-h")], complete=False)
    lines = [plan.parser.format_help().rstrip(), "", "choices:"]
    for role, options in _options(plan.known).items():
        chosen = plan.classes[role].name if role in plan.classes else "none yet"
        lines.append(f"  --{role}={'|'.join(sorted(options))}  (here: {chosen})")
    return "\n".join(lines) + "\n"


def check_resumed(parser: HparamParser, values: Namespace) -> None:
    """Refuses to go on with a run under other hyperparameters; more epochs or steps are no others.

    Raises:
        HparamError: naming what differs.
    """
    old = read_header(values.resume_from_checkpoint)["hparams"]
    for name, hparam in parser.declared.items():
        if hparam.tracked and name in old and name not in ("max_epochs", "max_steps"):
            before, now = hparam.value(old[name]), getattr(values, name)
            if before != now:
                raise HparamError(
                    f"--resume_from_checkpoint goes on with one run, but {name} was {before!r} and "
                    f"is now {now!r}; leave it, or start a new run with --load_checkpoint_path"
                )


class _Plan:
    """What `given` asks for: the parser, the chosen classes, and the values below what is given."""

    def __init__(self, known: list[type[Hparams]], classes: dict[str, type[Hparams]]) -> None:
        self.known, self.classes = known, classes
        self.parser = _parser(tuple(known), tuple(classes.items()))
        self.below: dict[str, Any] = {}

    def read(self, given: Sequence[str] | Mapping[str, object]) -> Namespace:
        """All values: what is given over what lies below it, over the defaults."""
        if isinstance(given, Mapping):
            return parse_dict(self.parser, {**self.below, **given})
        return parse_args(self.parser, given, below=self.below)[0]


@lru_cache(maxsize=1)
def _always_parser() -> HparamParser:
    """What every run has, whatever its choices."""
    parser = HparamParser()
    for cls in _always(known_hparams()):
        parser.add_class(cls)
    return parser


@lru_cache(maxsize=64)  # a search resolves thousands of runs with the same choices
def _parser(
    known: tuple[type[Hparams], ...], chosen: tuple[tuple[str, type[Hparams]], ...]
) -> HparamParser:
    parser = HparamParser(prog="python seqmodel/run.py")
    parser.usage = "%(prog)s --task=... --dataset=... [--name=value ...]"
    classes = dict(chosen)
    for cls in [*_always(list(known)), *classes.values()]:
        parser.add_class(cls)
    for role in classes:
        parser.set_default(role, _default_choice(role, classes))
    return parser


def _plan(
    given: Sequence[str] | Mapping[str, object],
    *,
    complete: bool,
    header_of: HeaderOf = read_header,
) -> _Plan:
    own, config = _own_choices(given)
    merged = {**config, **own}
    header = _header_hparams(merged, header_of)
    known = known_hparams(merged.get("plugins") or header.get("plugins") or ())
    inherited = _inherited(merged, header, known)
    try:
        classes = _chosen({**inherited, **merged}, known, complete=complete)
    except HparamError:
        _refuse_strangers(given, known)  # a misspelt choice is told as that
        raise
    plan = _Plan(known, classes)
    _refuse_unknown(config, given, plan)
    below = {**inherited, **config}
    plan.below = {name: v for name, v in below.items() if name in plan.parser.declared}
    return plan


def _own_choices(
    given: Sequence[str] | Mapping[str, object],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What stands in `given` of the hyperparameters that decide on others, and its config file."""
    parser = _always_parser()
    names = (*ROLES, "plugins", "config", *CHECKPOINTS)
    if isinstance(given, Mapping):
        own = {name: parser.hparam(name).value(given[name]) for name in names if name in given}
    else:
        # other names are not known yet: only these are read here
        few = [w for w in _words(given) if w[2:].split("=")[0] in names]
        namespace, _ = parser.parse_known_args(few, Namespace())
        own = {n: getattr(namespace, n) for n in namespace.__dict__.pop(GIVEN, set())}
    config = read_config(own["config"]) if own.get("config") else {}
    for name in names:
        if name in config:
            config[name] = parser.hparam(name).value(config[name])
    return own, config


def _header_hparams(merged: Mapping[str, Any], header_of: HeaderOf) -> dict[str, Any]:
    for name in CHECKPOINTS:
        if merged.get(name):
            return header_of(merged[name])["hparams"]
    return {}


def _inherited(
    merged: Mapping[str, Any], header: Mapping[str, Any], known: list[type[Hparams]]
) -> dict[str, Any]:
    """Of a checkpoint's hyperparameters those that its use brings along."""
    if not header:
        return {}
    owner = {n: h.owner for cls in known for n, h in cls.default_hparams().declared.items()}
    found = {name: value for name, value in header.items() if name in owner}
    if merged.get("resume_from_checkpoint"):
        return {n: v for n, v in found.items() if n not in NOT_RESUMED}
    if merged.get("load_checkpoint_path"):
        return {n: v for n, v in found.items() if owner[n].tracked and n not in CHECKPOINTS}
    kind = _kinds(known)["encoder"]
    return {n: v for n, v in found.items() if n == "encoder" or issubclass(owner[n], kind)}


def _words(argv: Sequence[str]) -> list[str]:
    """`--name value` written as `--name=value`; a list as one word an item."""
    words: list[str] = []
    flag = ""
    for word in argv:
        if word.startswith("--"):
            flag = "" if "=" in word else word
            words.append(word)
        elif flag and words and words[-1] == flag:
            words[-1] = f"{flag}={word}"
        elif flag:
            words.append(f"{flag}={word}")
    return words


def _always(known: list[type[Hparams]]) -> list[type[Hparams]]:
    by_name = {cls.__name__: cls for cls in known}
    return [by_name[name] for name in ALWAYS]


def _kinds(known: list[type[Hparams]]) -> dict[str, type[Hparams]]:
    by_name = {cls.__name__: cls for cls in known if cls.__module__.startswith("seqmodel.")}
    return {role: by_name[kind] for role, kind in ROLES.items()}


def _options(known: list[type[Hparams]]) -> dict[str, dict[str, type[Hparams]]]:
    return {role: choices(kind, known) for role, kind in _kinds(known).items()}


def _chosen(
    selected: Mapping[str, Any], known: list[type[Hparams]], *, complete: bool
) -> dict[str, type[Hparams]]:
    """The class for each role: as chosen, else the usual one of the task."""
    classes: dict[str, type[Hparams]] = {}
    for role, options in _options(known).items():
        word = selected.get(role, _always_parser().declared[role].default)
        if word is None and "task" in classes:
            word = classes["task"].usual.get(role)
        if word is None:
            if complete:
                raise HparamError(
                    f"--{role} is not set; choose one of {', '.join(sorted(options))}"
                )
            continue
        if word not in options:
            hint = did_you_mean(word, list(options))
            raise HparamError(
                f"--{role}: no {role} {word!r}; choose one of {', '.join(sorted(options))}{hint}"
            )
        classes[role] = options[word]
    return classes


def _default_choice(role: str, classes: dict[str, type[Hparams]]) -> str | None:
    """The default of a choice: the task's usual one, so that naming it changes no name of a run."""
    task = classes.get("task")
    usual = task.usual.get(role) if task else None
    return usual or _always_parser().declared[role].default


def _refuse_unknown(
    config: Mapping[str, Any], given: Sequence[str] | Mapping[str, object], plan: _Plan
) -> None:
    """Tells a name that another choice would have from one that nobody has."""
    homes = _homes(tuple(plan.known))
    for name in config:
        if name not in plan.parser.declared and name not in homes:
            plan.parser.hparam(name)
        if name not in plan.parser.declared:
            warnings.warn(
                f"{name!r} in the config file has no effect: it belongs to {homes[name]}",
                stacklevel=4,
            )
    for name in _names(given):
        if name not in plan.parser.declared and name in homes and plan.classes:
            raise HparamError(
                f"{name!r} has no effect in this run: it belongs to {homes[name]}; "
                "leave it out or make that choice"
            )


def _refuse_strangers(
    given: Sequence[str] | Mapping[str, object], known: list[type[Hparams]]
) -> None:
    homes = _homes(tuple(known))
    for name in _names(given):
        if name not in homes:
            raise HparamError(f"no hyperparameter {name!r}{did_you_mean(name, list(homes))}")


def _names(given: Sequence[str] | Mapping[str, object]) -> list[str]:
    names = list(given) if isinstance(given, Mapping) else [w[2:] for w in _words(given)]
    return [str(name).split("=")[0] for name in names]


@lru_cache(maxsize=8)
def _homes(known: tuple[type[Hparams], ...]) -> dict[str, str]:
    homes = {}
    for cls in known:
        for name, hparam in cls.default_hparams().declared.items():
            if hparam.owner is cls:
                homes[name] = cls.__name__
    return homes
