"""Which hyperparameters a given run has: called by seqmodel/run.py and by Job. Light.

    run = resolve(["--task=masked", "--fasta=a.fa", "--lr=1e-3"])      # or a dict
    run.values.lr, run.canonical(), run.to_args(), run.hparams("encoder")
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.canonical import canonical_str
from seqmodel.hparam.config import read_config
from seqmodel.hparam.convert import changed_hparams, parse_args, parse_dict, to_args
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


class Run:
    """The hyperparameters of one run: the parser that has just its own, and their values.

    Attributes:
        parser: all hyperparameters that the run's choices have.
        values: a value for each of them.
        classes: role ("task", "encoder", ...) to the Hparams class that was chosen for it.
    """

    def __init__(
        self, parser: HparamParser, values: Namespace, classes: dict[str, type[Hparams]]
    ) -> None:
        self.parser, self.values, self.classes = parser, values, classes

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


def resolve(given: Sequence[str] | Mapping[str, object]) -> Run:
    """The run that a command line (list of words) or a dict of values describes, checked.

    Raises:
        HparamError: an unknown name, a bad value, a missing or an impossible choice.
    """
    parser, classes, config = _parser_for(given, complete=True)
    if isinstance(given, Mapping):
        values = parse_dict(parser, {**config, **given})
    else:
        values, _ = parse_args(parser, given, below=config)
    values.config = None
    _fill_choices(values, classes)
    for name in ("always", *ROLES):
        for cls in _always(known_hparams()) if name == "always" else [classes[name]]:
            cls.checks(values)
    return Run(parser, values, classes)


def run_parser(given: Sequence[str] | Mapping[str, object]) -> HparamParser:
    """The combined parser for the choices made in `given`, as far as they were made."""
    return _parser_for(given, complete=False)[0]


def help_text(argv: Sequence[str]) -> str:
    """The help for the choices on a command line: just their hyperparameters, by class."""
    argv = [word for word in argv if word not in ("--help", "-h")]
    parser, classes, _ = _parser_for(argv, complete=False)
    known = known_hparams(_selected(argv)[0]["plugins"])
    lines = [parser.format_help().rstrip(), "", "choices:"]
    for role, options in _options(known).items():
        chosen = classes[role].name if role in classes else "none yet"
        lines.append(f"  --{role}={'|'.join(sorted(options))}  (here: {chosen})")
    return "\n".join(lines) + "\n"


def _parser_for(
    given: Sequence[str] | Mapping[str, object], *, complete: bool
) -> tuple[HparamParser, dict[str, type[Hparams]], dict[str, Any]]:
    selected, config = _selected(given)
    known = known_hparams(selected["plugins"])
    classes = _chosen(selected, known, complete=complete)
    parser = HparamParser(prog="seqmodel run")
    for cls in [*_always(known), *classes.values()]:
        parser.add_class(cls)
    for role, cls in classes.items():
        parser.set_default(role, _default_choice(role, cls, classes))
    own = {name: value for name, value in config.items() if name in parser.declared}
    _refuse_unknown(config, own, given, parser, known)
    return parser, classes, own


def _selected(
    given: Sequence[str] | Mapping[str, object],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The choices that stand in `given` and in its config file, and that file's content."""
    parser = HparamParser()
    for cls in _always(known_hparams()):
        parser.add_class(cls)
    names = (*ROLES, "plugins", "config")
    if isinstance(given, Mapping):
        own = {name: given[name] for name in names if name in given}
    else:
        # other names are not known yet: only the choices are read here
        few = [w for w in _words(given) if w[2:].split("=")[0] in names]
        namespace, _ = parser.parse_known_args(few, Namespace())
        own = {n: getattr(namespace, n) for n in namespace.__dict__.pop(GIVEN, set())}
    path = parser.hparam("config").value(own.get("config"))
    config = read_config(path) if path else {}
    merged = {**{n: v for n, v in config.items() if n in names}, **own}
    return vars(parse_dict(parser, merged)), config


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


def _options(known: list[type[Hparams]]) -> dict[str, dict[str, type[Hparams]]]:
    by_name = {cls.__name__: cls for cls in known if cls.__module__.startswith("seqmodel.")}
    return {role: choices(by_name[kind], known) for role, kind in ROLES.items()}


def _chosen(
    selected: dict[str, Any], known: list[type[Hparams]], *, complete: bool
) -> dict[str, type[Hparams]]:
    """The class for each role: as chosen, else the usual one of the task."""
    classes: dict[str, type[Hparams]] = {}
    for role, options in _options(known).items():
        word = selected[role]
        if word is None and "task" in classes:
            word = classes["task"].usual.get(role)
        if word is None:
            if complete:
                raise HparamError(f"--{role} is not set; choose one of {', '.join(sorted(options))}")
            continue
        if word not in options:
            hint = did_you_mean(word, list(options))
            raise HparamError(
                f"--{role}: no {role} {word!r}; choose one of {', '.join(sorted(options))}{hint}"
            )
        classes[role] = options[word]
    return classes


def _default_choice(
    role: str, cls: type[Hparams], classes: dict[str, type[Hparams]]
) -> str | None:
    """The default of a choice: the task's usual one, so that naming it changes no name of a run."""
    from seqmodel.hparam.trainer import RunHparams

    task = classes.get("task")
    usual = task.usual.get(role) if task else None
    return usual or RunHparams.default_hparams().declared[role].default


def _fill_choices(values: Namespace, classes: dict[str, type[Hparams]]) -> None:
    for role, cls in classes.items():
        setattr(values, role, cls.name)


def _refuse_unknown(
    config: Mapping[str, Any],
    own: Mapping[str, Any],
    given: Sequence[str] | Mapping[str, object],
    parser: HparamParser,
    known: list[type[Hparams]],
) -> None:
    """Tells a name that another choice would have from one that nobody has."""
    elsewhere = _homes(known)
    for name in config:
        if name not in own and name not in elsewhere:
            parser.hparam(name)
        if name not in own:
            warnings.warn(
                f"{name!r} in the config file has no effect: it belongs to {elsewhere[name]}",
                stacklevel=2,
            )
    names = list(given) if isinstance(given, Mapping) else [w[2:] for w in _words(given)]
    for name in (str(n).split("=")[0] for n in names):
        if name not in parser.declared and name in elsewhere:
            raise HparamError(
                f"{name!r} has no effect in this run: it belongs to {elsewhere[name]}; "
                "leave it out or make that choice"
            )


def _homes(known: list[type[Hparams]]) -> dict[str, str]:
    homes = {}
    for cls in known:
        for name, hparam in cls.default_hparams().declared.items():
            if hparam.owner is cls:
                homes[name] = cls.__name__
    return homes
