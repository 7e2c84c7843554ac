"""Which hyperparameters a given run has: called by seqmodel/run.py and by Job. Light.

run = resolve(["--task=masked", "--fasta=a.fa", "--lr=1e-3"])      # or a dict
run.values.lr, run.canonical(), run.to_args(), run.hparams("encoder")
"""

from __future__ import annotations

import warnings
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

from seqmodel.errors import HparamError
from seqmodel.hparam.canonical import HERE, canonical_str, old_names, tracked_values
from seqmodel.hparam.config import Config, read_config
from seqmodel.hparam.convert import changed_hparams, parse_dict, to_args
from seqmodel.hparam.header import read_header
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.loaded import check_resumed, check_same_targets
from seqmodel.hparam.parser import SOURCE, Hparam, HparamParser
from seqmodel.hparam.paths import check_files, files_to_read
from seqmodel.hparam.registry import ROLES, always, kinds, known_hparams, role_choices
from seqmodel.hparam.table import Guessed, with_guesses
from seqmodel.hparam.trust import (
    TRUST,
    Source,
    ask_for_plugins,
    refuse_withheld,
    withheld,
)
from seqmodel.hparam.value import did_you_mean
from seqmodel.hparam.words import Words, one_spelling, read_words, refuse_stray

HeaderOf = Callable[[str], dict[str, Any]]
Given = Sequence[str] | Mapping[str, object]
# in the order in which they are asked for the hyperparameters they bring along
CHECKPOINTS = ("resume_from_checkpoint", "load_checkpoint_path", "load_encoder_from_checkpoint")
NOT_RESUMED = (
    "mode",
    "config",
    "resume_from_checkpoint",
    "default_root_dir",
    "fast_dev_run",
    "allow_changed_data",
)


class Run:
    """The hyperparameters of one run: the parser that has just its own, and their values.

    Attributes:
        parser: all hyperparameters that the run's choices have.
        values: a value for each of them.
        classes: role ("task", "encoder", ...) to the Hparams class that was chosen for it.
        files: (flag, path) of the files that it reads.
        brought: what a checkpoint says of these hyperparameters, where one is named.
        workdir: where its relative paths start, and so what its name says of paths.
        guessed: what --table stands for; print it before the run.
    """

    def __init__(
        self,
        parser: HparamParser,
        values: Namespace,
        classes: dict[str, type[Hparams]],
        files: Sequence[tuple[str, str]] = (),
        brought: Mapping[str, Any] | None = None,
    ) -> None:
        self.parser, self.values, self.classes, self.files = parser, values, classes, files
        self.brought = brought or {}
        self.workdir = HERE
        self.guessed: Guessed | None = None

    def hparams(self, role: str) -> Hparams:
        """The Hparams object from which the thing in that role is built."""
        return self.classes[role](**vars(self.values))

    def changed(self) -> dict[str, Any]:
        """The values that differ from their defaults."""
        return changed_hparams(self.parser, self.values)

    def to_args(self) -> list[str]:
        """The command line that gives this run again."""
        return to_args(self.parser, self.values, self.brought)

    def canonical(self) -> str:
        """The name of the run: what was set, of that which changes what is learned."""
        return canonical_str(self.parser, self.values, self.workdir)

    def old_names(self) -> list[str]:
        """Names that earlier versions gave to it, where these are others."""
        return old_names(self.parser, self.values, self.workdir)

    def tracked_values(self) -> dict[str, Any]:
        """The values that name it, with one spelling for each path."""
        return tracked_values(self.parser, self.values, self.workdir)


def resolve(
    given: Given,
    *,
    files_here: bool = True,
    header_of: HeaderOf = read_header,
) -> Run:
    """The run that a command line (list of words) or a dict of values describes, checked.

    What is given wins over the config file, and that over what a checkpoint brings along.
    With files_here=False the files are on another machine: whether they are there is not checked,
    and `header_of` reads the header of a checkpoint there.

    Raises:
        HparamError: an unknown name, a bad value, a missing or an impossible choice.
        CheckpointError: a checkpoint that is named is none of ours.
    """
    plan = _plan(given, complete=True, header_of=header_of, guesses=files_here)
    values = plan.read()
    if values.table and not plan.guessed:
        raise HparamError(
            f"--table={values.table}: the file is on another host, where nothing can be guessed "
            "from it; give the whole command that `seqmodel train` prints on that host"
        )
    values.config = values.table = None
    for role, cls in plan.classes.items():
        setattr(values, role, cls.name)
    files = files_to_read(plan.parser.declared, values)
    if values.resume_from_checkpoint:  # a run that is resumed does not start from others again
        files = [(flag, path) for flag, path in files if flag[2:] not in CHECKPOINTS[1:]]
    if files_here:
        check_files(files)
    for cls in [*always(plan.known), *plan.classes.values()]:
        with plan.explained() if cls is plan.classes["dataset"] else nullcontext():
            cls.checks(values)
    if values.resume_from_checkpoint:
        check_resumed(plan.parser, values)
    elif values.load_checkpoint_path:
        check_same_targets(plan.parser, values, plan.header)
    run = Run(plan.parser, values, plan.classes, files, plan.brought)
    run.guessed = plan.guessed
    return run


def resolve_data(given: Given) -> Run:
    """The data alone of what `given` describes: no task is needed, other values are taken along.

    Raises:
        HparamError: an unknown name, a bad value, or no dataset is chosen.
    """
    plan = _plan(given, complete=False, guesses=True)
    if "dataset" not in plan.classes:
        names = ", ".join(sorted(role_choices(plan.known)["dataset"]))
        raise HparamError(f"--dataset is not set; choose one of {names}")
    values = plan.read()
    values.table = None
    dataset = plan.classes["dataset"]
    check_files(files_to_read(dataset.default_hparams().declared, values))
    dataset.checks(values)
    return Run(plan.parser, values, {"dataset": dataset})


def read_given(
    argv: Sequence[str], beside: Mapping[str, str], header_of: HeaderOf = read_header
) -> Words:
    """The words of a command line that has the hyperparameters of a run and other names.

    Args:
        argv: the command line.
        beside: what each of the other names takes, as for read_words.
        header_of: tells the header of a checkpoint.

    Raises:
        HparamError: a plugin or a config file cannot be read, or a value is missing.
        CheckpointError: a checkpoint that is named is none of ours.
    """
    return _ask(argv, header_of, beside).words


def run_parser(given: Given) -> HparamParser:
    """The combined parser for the choices made in `given`, as far as they were made."""
    return _plan(given, complete=False).parser


def help_text(argv: Sequence[str]) -> str:
    """The help for the choices on a command line: just their hyperparameters, by class."""
    plan = _plan([word for word in argv if word not in ("--help", "-h")], complete=False)
    lines = [plan.parser.format_help().rstrip(), "", "choices:"]
    for role, options in role_choices(plan.known).items():
        chosen = plan.classes[role].name if role in plan.classes else "none yet"
        lines.append(f"  --{role}={'|'.join(sorted(options))}  (here: {chosen})")
    return "\n".join(lines) + "\n"


class _Plan:
    """What `given` asks for: the parser, the chosen classes, and the values below what is given.

    Attributes:
        header: the hyperparameters of the checkpoint that is named.
        brought: those of them that its use brings along.
        below: these, under those of the config file.
        replaced: what was given of the data, if therefore the checkpoint's own are left out.
        given: what was given, by name, and `stray` what stood on the command line without a name.
        guessed: what --table stands for.
    """

    def __init__(
        self, known: list[type[Hparams]], classes: dict[str, type[Hparams]], words: Words
    ) -> None:
        self.known, self.classes = known, classes
        self.given, self.stray = {**words.values, **words.unknown}, words.free
        self.parser = _parser(tuple(known), tuple(classes.items()))
        self.header: Mapping[str, Any] = {}
        self.below: dict[str, Any] = {}
        self.brought: dict[str, Any] = {}
        self.replaced: list[str] = []
        self.guessed: Guessed | None = None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Says of a refusal that the data of the checkpoint are not used, where that is so."""
        try:
            yield
        except HparamError as e:
            if not self.replaced:
                raise
            raise HparamError(
                f"{e} (--{self.replaced[0]} is given, so the files and splits of the checkpoint "
                "are not used: give all of them)"
            ) from e

    def read(self) -> Namespace:
        """All values: what is given over what lies below it, over the defaults."""
        refuse_stray(self.stray, self.parser.declared)
        return parse_dict(self.parser, {**self.below, **self.given})


@lru_cache(maxsize=1)
def _always_parser() -> HparamParser:
    """What every run has, whatever its choices."""
    parser = HparamParser()
    for cls in always(known_hparams()):
        parser.add_class(cls)
    return parser


@lru_cache(maxsize=64)  # a search resolves thousands of runs with the same choices
def _parser(
    known: tuple[type[Hparams], ...], chosen: tuple[tuple[str, type[Hparams]], ...]
) -> HparamParser:
    parser = HparamParser(prog="python seqmodel/run.py")
    parser.usage = "%(prog)s --task=... --dataset=... [--name=value ...]"
    classes = dict(chosen)
    for cls in [*always(list(known)), *classes.values()]:
        parser.add_class(cls)
    for role in classes:
        parser.set_defaults(**{role: _default_choice(role, classes)})
    return parser


def _plan(
    given: Given, *, complete: bool, header_of: HeaderOf = read_header, guesses: bool = False
) -> _Plan:
    asked = _ask(given, header_of)
    words, guessed = asked.words, None
    known, config, declared = asked.known, asked.config, _declared(tuple(asked.known))
    tells = asked.header.get("hparams", {})
    if guesses:
        words, guessed = with_guesses(words, config, tells, declared)
        roles = {n: v for n, v in words.values.items() if n in ROLES}
        asked = asked._replace(own={**roles, **asked.own})
    names = {*words.values, *words.unknown}
    held = [withheld(record, declared) for record in asked.records]
    if asked.is_record:
        config = {n: v for n, v in config.items() if n not in held[0].values}
    merged = {**config, **asked.own}
    inherited, replaced = _inherited(merged, tells, declared, known, {*config, *names})
    try:
        classes = _chosen({**inherited, **merged}, known, complete=complete)
        plan = _Plan(known, classes, words)
        _refuse_unknown(config, plan)
    except HparamError as e:
        if asked.untrusted:
            raise HparamError(ask_for_plugins(asked.untrusted)) from e
        _refuse_strangers(names, known)  # a misspelt choice is told as that
        raise
    if asked.untrusted:
        warnings.warn(f"not imported: {ask_for_plugins(asked.untrusted)}", stacklevel=3)
    below = {**inherited, **config, "plugins": asked.plugins}
    plan.below = {name: v for name, v in below.items() if name in plan.parser.declared}
    for source in held:
        refuse_withheld(source, plan.parser.declared, {*config, *names})
    if asked.header:
        plan.brought = {**inherited, **held[-1].values}
    plan.header, plan.replaced, plan.guessed = tells, replaced, guessed
    return plan


class _Asked(NamedTuple):
    """What is known of a run once its plugins are imported.

    Attributes:
        words: what was given.
        own: the choices and checkpoints in it, checked.
        config: what its config file says, and `is_record` whether a run wrote that.
        header: of the checkpoint that is named.
        records: the files that runs wrote.
        known: the classes that the run can be made of.
        plugins: those that were imported for it.
        untrusted: whose plugins were not.
    """

    words: Words
    own: dict[str, Any]
    config: dict[str, Any]
    is_record: bool
    header: dict[str, Any]
    records: list[Source]
    known: list[type[Hparams]]
    plugins: list[str]
    untrusted: Source | None


def _ask(given: Given, header_of: HeaderOf, beside: Mapping[str, str] | None = None) -> _Asked:
    if isinstance(given, Mapping):
        given = one_spelling(given)
    own, file = _own_choices(given)
    # what a run wrote is not the user's word: its plugins and the like are held back
    records = [Source(own["config"], file.values, file.plugin_digests)] if file.is_record else []
    config = {n: v for n, v in file.values.items() if not (file.is_record and n in TRUST)}
    merged = {**config, **own}
    path, header = _header(merged, header_of)
    if header:
        records.append(Source(path, header["hparams"], header.get("plugins")))
    known, plugins, untrusted = _known(merged, records)
    if isinstance(given, Mapping):
        words = Words(dict(given), {}, [], [])
    else:
        takes = {name: hparam.takes for name, hparam in _declared(tuple(known)).items()}
        words = read_words(given, {**takes, **(beside or {})})
    return _Asked(words, own, config, file.is_record, header, records, known, plugins, untrusted)


def _known(
    merged: Mapping[str, Any], records: Sequence[Source]
) -> tuple[list[type[Hparams]], list[str], Source | None]:
    """The classes that a run can be made of, the plugins imported for it, and whose were not."""
    before = {plugin for record in records for plugin in record.plugins}
    if "plugins" in merged:
        return known_hparams(merged["plugins"], before=before), merged["plugins"], None
    source = next((record for record in records if record.plugins), None)
    if source is None or not merged.get("trust_plugins"):
        return known_hparams(), [], source
    return known_hparams(source.plugins, before=before), source.plugins, None


def _own_choices(given: Given) -> tuple[dict[str, Any], Config]:
    """What stands in `given` of the hyperparameters that decide on others, and its config file."""
    declared = _always_parser().declared
    takes = {n: declared[n].takes for n in (*ROLES, *TRUST, *CHECKPOINTS)}
    # other names are not known yet: only these are read here
    values = given if isinstance(given, Mapping) else read_words(given, takes).values
    own = {name: declared[name].value(values[name]) for name in takes if name in values}
    config = read_config(own["config"]) if own.get("config") else Config({})
    for name in takes:
        if name in config.values:
            config.values[name] = declared[name].value(config.values[name])
    return own, config


def _header(merged: Mapping[str, Any], header_of: HeaderOf) -> tuple[str, dict[str, Any]]:
    """The path and the header of the checkpoint that is asked first; empty without one."""
    for name in CHECKPOINTS:
        if merged.get(name):
            return merged[name], header_of(merged[name])
    return "", {}


def _inherited(
    merged: Mapping[str, Any],
    header: Mapping[str, Any],
    declared: Mapping[str, Hparam],
    known: list[type[Hparams]],
    given: Set[str],
) -> tuple[dict[str, Any], list[str]]:
    """Of a checkpoint's hyperparameters those that its use brings along.

    Where files or splits of data are given, or another kind of data, those of the checkpoint are
    left out as a whole: what was given is the second thing that is returned.
    """
    found = {n: v for n, v in header.items() if n in declared and declared[n].inherited}
    if merged.get("resume_from_checkpoint"):
        return {n: v for n, v in found.items() if n not in NOT_RESUMED}, []
    if merged.get("load_checkpoint_path"):
        found = {n: v for n, v in found.items() if declared[n].tracked and n not in CHECKPOINTS}
        replaced = [n for n in declared if n in given and declared[n].group in SOURCE]
        if merged.get("dataset") not in (None, found.get("dataset")):
            replaced.append("dataset")
        if replaced:
            found = {n: v for n, v in found.items() if declared[n].group not in SOURCE}
        return found, replaced
    kind = kinds(known)["encoder"]
    return {
        n: v for n, v in found.items() if n == "encoder" or issubclass(declared[n].owner, kind)
    }, []


def _chosen(
    selected: Mapping[str, Any], known: list[type[Hparams]], *, complete: bool
) -> dict[str, type[Hparams]]:
    """The class for each role: as chosen, else the usual one of the task."""
    classes: dict[str, type[Hparams]] = {}
    for role, options in role_choices(known).items():
        word = selected.get(role, _always_parser().declared[role].default)
        if word is None and "task" in classes:
            word = classes["task"].usual.get(role)
        if word is None:
            if complete:
                raise HparamError(
                    f"--{role} is not set; choose one of {', '.join(sorted(options))}"
                )
            continue
        if not isinstance(word, str) or word not in options:
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


def _refuse_unknown(config: Mapping[str, Any], plan: _Plan) -> None:
    """Tells a name that another choice would have from one that nobody has."""
    homes = _homes(plan.known)
    for name in config:
        if name not in plan.parser.declared and name not in homes:
            plan.parser.hparam(name)
        if name not in plan.parser.declared:
            warnings.warn(
                f"{name!r} in the config file has no effect: it belongs to {homes[name]}",
                stacklevel=4,
            )
    for name in plan.given:
        if name not in plan.parser.declared and name in homes and plan.classes:
            raise HparamError(
                f"{name!r} has no effect in this run: it belongs to {homes[name]}; "
                "leave it out or make that choice"
            )


def _refuse_strangers(names: Iterable[str], known: list[type[Hparams]]) -> None:
    homes = _homes(known)
    for name in names:
        if name not in homes:
            raise HparamError(f"no hyperparameter {name!r}{did_you_mean(name, list(homes))}")


@lru_cache(maxsize=8)
def _declared(known: tuple[type[Hparams], ...]) -> dict[str, Hparam]:
    """Every hyperparameter that some run has, by name."""
    return {n: h for cls in known for n, h in cls.default_hparams().declared.items()}


def _homes(known: Sequence[type[Hparams]]) -> dict[str, str]:
    """The class that defines each hyperparameter, by name."""
    return {name: hparam.owner.__name__ for name, hparam in _declared(tuple(known)).items()}
