"""The hyperparameters of one run, from its command line. seqmodel/run.py and Job call it. Light.

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
from seqmodel.hparam.synonyms import hint
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
# in the order of precedence of their hyperparameters
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
    """The hyperparameters of one run: a parser with exactly these, and their values.

    Attributes:
        parser: all hyperparameters of the run's choices.
        values: a value for each of them.
        classes: the Hparams class that was chosen for each role ("task", "encoder", ...).
        files: (flag, path) of the files that it reads.
        brought: the values that a checkpoint of the run sets for these hyperparameters.
        workdir: the folder from which its relative paths start; its name depends on it.
        guessed: the values that were guessed for --table; print it before the run.
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
        """Return the Hparams object from which the component of that role is built."""
        return self.classes[role](**vars(self.values))

    def changed(self) -> dict[str, Any]:
        """Return the values that differ from their defaults."""
        return changed_hparams(self.parser, self.values)

    def to_args(self) -> list[str]:
        """Return the command line that describes this run."""
        return to_args(self.parser, self.values, self.brought)

    def canonical(self) -> str:
        """Return the name of the run: the tracked values that differ from their defaults."""
        return canonical_str(self.parser, self.values, self.workdir)

    def old_names(self) -> list[str]:
        """Return the names that earlier versions gave to it, if they differ."""
        return old_names(self.parser, self.values, self.workdir)

    def tracked_values(self) -> dict[str, Any]:
        """Return the values that name it; each path has one spelling."""
        return tracked_values(self.parser, self.values, self.workdir)


def resolve(
    given: Given,
    *,
    files_here: bool = True,
    header_of: HeaderOf = read_header,
    guesses: bool | None = None,
) -> Run:
    """Return the run that a command line (list of words) or a dict of values describes, checked.

    Values of `given` override those of the config file, which override those of a checkpoint.
    With files_here=False the files are on another host: their existence is not checked, and
    `header_of` reads the header of a checkpoint there.

    Raises:
        HparamError: an unknown name, a bad value, a missing or an impossible choice.
        CheckpointError: seqmodel did not write the given checkpoint.
    """
    plan = _plan(
        given,
        complete=True,
        header_of=header_of,
        guesses=files_here if guesses is None else guesses,
    )
    values = plan.read()
    if values.table and not plan.guessed:
        raise HparamError(
            f"--table={values.table}: nothing can be guessed from a file on another host or below "
            "another working directory; give the whole command that `seqmodel train` prints there"
        )
    values.config = values.table = None
    for role, cls in plan.classes.items():
        setattr(values, role, cls.name)
    files = files_to_read(plan.parser.declared, values)
    if values.resume_from_checkpoint:  # a resumed run does not read other checkpoints again
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
    """Return the data of the run that `given` describes: no task needed, other values are kept.

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
    """Return the words of a command line with the hyperparameters of a run and other names.

    Args:
        argv: the command line.
        beside: what follows each of the other names, as for read_words.
        header_of: returns the header of a checkpoint.

    Raises:
        HparamError: a plugin or a config file cannot be read, or a value is missing.
        CheckpointError: seqmodel did not write the given checkpoint.
    """
    return _ask(argv, header_of, beside).words


def run_parser(given: Given) -> HparamParser:
    """Return the combined parser for the choices made in `given` so far."""
    return _plan(given, complete=False).parser


def choices_made(given: Given) -> tuple[list[type[Hparams]], dict[str, type[Hparams]]]:
    """Return all known classes, and by role those that `given` has chosen so far."""
    plan = _plan(given, complete=False)
    return plan.known, plan.classes


class _Plan:
    """What `given` describes: the parser, the chosen classes, and the values that it overrides.

    Attributes:
        header: the hyperparameters of the checkpoint, if one is given.
        brought: those of them that the checkpoint sets in this run.
        below: these, overridden by those of the config file.
        replaced: the given options of data that replace all data of the checkpoint.
        given: the given values by name; `stray` has the words without a name.
        guessed: the values that were guessed for --table.
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
        """Add to an error that the data of the checkpoint are not used, if so."""
        try:
            yield
        except HparamError as e:
            if not self.replaced:
                raise
            raise HparamError(
                f"{e} (--{self.replaced[0]} is given, so the files and splits of the checkpoint "
                "are not used; give all files and splits)"
            ) from e

    def read(self) -> Namespace:
        """Return all values: `given` overrides `below`, which overrides the defaults."""
        refuse_stray(self.stray, self.parser.declared)
        return parse_dict(self.parser, {**self.below, **self.given})


@lru_cache(maxsize=1)
def _always_parser() -> HparamParser:
    """Return the hyperparameters of every run, independent of its choices."""
    parser = HparamParser()
    for cls in always(known_hparams()):
        parser.add_class(cls)
    return parser


@lru_cache(maxsize=64)  # a search resolves thousands of runs with the same choices
def _parser(
    known: tuple[type[Hparams], ...], chosen: tuple[tuple[str, type[Hparams]], ...]
) -> HparamParser:
    parser = HparamParser()
    classes = dict(chosen)
    for cls in [*always(list(known)), *classes.values()]:
        parser.add_class(cls)
    for role in classes:
        parser.set_defaults(**{role: _default_choice(role, classes)})
    kind = parser.declared.get("label_kind")
    if kind is not None and kind.default is None:  # naming it changes no name of a run
        parser.set_defaults(label_kind=_label_kind(classes))
    return parser


def _label_kind(classes: Mapping[str, type[Hparams]]) -> str | None:
    """Return the kind of labels that the task predicts."""
    return getattr(classes.get("task"), "label_kind", None)


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
        _refuse_strangers(names, known)  # a misspelt choice is reported as such
        raise
    if asked.untrusted:
        warnings.warn(f"not imported: {ask_for_plugins(asked.untrusted)}", stacklevel=3)
    kind = _label_kind(classes)
    implied = {} if kind is None else {"label_kind": kind}
    below = {**implied, **inherited, **config, "plugins": asked.plugins}
    plan.below = {name: v for name, v in below.items() if name in plan.parser.declared}
    for source in held:
        refuse_withheld(source, plan.parser.declared, {*config, *names})
    if asked.header:
        plan.brought = {**inherited, **held[-1].values}
    plan.header, plan.replaced, plan.guessed = tells, replaced, guessed
    return plan


class _Asked(NamedTuple):
    """What is known of a run after its plugins are imported.

    Attributes:
        words: the given words.
        own: the choices and checkpoints in them, checked.
        config: the values of its config file; `is_record` is whether a run wrote that file.
        header: the header of its checkpoint; empty without one.
        records: the files that runs wrote.
        known: all classes that the run can choose from.
        plugins: the plugins that were imported for it.
        untrusted: the file whose plugins were not imported.
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
    # files that a run wrote are not trusted: their plugins and similar values are held back
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
    """Return known classes, the imported plugins, and the file whose plugins were not imported."""
    before = {plugin for record in records for plugin in record.plugins}
    if "plugins" in merged:
        return known_hparams(merged["plugins"], before=before), merged["plugins"], None
    source = next((record for record in records if record.plugins), None)
    if source is None or not merged.get("trust_plugins"):
        return known_hparams(), [], source
    return known_hparams(source.plugins, before=before), source.plugins, None


def _own_choices(given: Given) -> tuple[dict[str, Any], Config]:
    """Return values in `given` of hyperparameters that decide on others, and its config file."""
    declared = _always_parser().declared
    takes = {n: declared[n].takes for n in (*ROLES, *TRUST, *CHECKPOINTS)}
    # other names are not known yet, so only these are read here
    values = given if isinstance(given, Mapping) else read_words(given, takes).values
    own = {name: declared[name].value(values[name]) for name in takes if name in values}
    config = read_config(own["config"]) if own.get("config") else Config({})
    for name in takes:
        if name in config.values:
            config.values[name] = declared[name].value(config.values[name])
    return own, config


def _header(merged: Mapping[str, Any], header_of: HeaderOf) -> tuple[str, dict[str, Any]]:
    """Return the path and the header of the checkpoint with precedence; empty without one."""
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
    """Return hyperparameters that a checkpoint sets in a run, and given options that replace data.

    If files, splits or another kind of data are given, all files and splits of the checkpoint are
    left out; the second value that is returned lists the options that were given.
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
    """Return the class for each role: the chosen one, otherwise the usual one of the task."""
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
            near = did_you_mean(word, list(options))
            raise HparamError(
                f"--{role}: no {role} {word!r}; choose one of {', '.join(sorted(options))}{near}"
            )
        classes[role] = options[word]
    return classes


def _default_choice(role: str, classes: dict[str, type[Hparams]]) -> str | None:
    """Return the default of a choice: the task's usual one, so that giving it changes no name."""
    task = classes.get("task")
    usual = task.usual.get(role) if task else None
    return usual or _always_parser().declared[role].default


def _refuse_unknown(config: Mapping[str, Any], plan: _Plan) -> None:
    """Distinguish a name that another choice has from one that no choice has."""
    if plan.parser.declared.keys() >= {*config, *plan.given}:
        return
    homes = _homes(tuple(plan.known))
    for name in config:
        if name not in plan.parser.declared and name not in homes:
            plan.parser.hparam(name)
        if name not in plan.parser.declared:
            warnings.warn(
                f"{name!r} in the config file has no effect; it belongs to {homes[name]}",
                stacklevel=4,
            )
    for name in plan.given:
        if name not in plan.parser.declared and name in homes and plan.classes:
            raise HparamError(
                f"{name!r} has no effect in this run: it belongs to {homes[name]}; "
                "leave it out, or make that choice"
            )


def _refuse_strangers(names: Iterable[str], known: list[type[Hparams]]) -> None:
    homes = _homes(tuple(known))
    for name in names:
        if name not in homes:
            raise HparamError(f"no hyperparameter {name!r}{hint(name, homes)}")


@lru_cache(maxsize=8)
def _declared(known: tuple[type[Hparams], ...]) -> dict[str, Hparam]:
    """Return every hyperparameter that a run can have, by name."""
    return {n: h for cls in known for n, h in cls.default_hparams().declared.items()}


@lru_cache(maxsize=8)
def _homes(known: tuple[type[Hparams], ...]) -> dict[str, str]:
    """Return where each hyperparameter is used: the choices that have it, or `seqmodel submit`."""
    choices: dict[str, list[str]] = {}
    for role, options in role_choices(known).items():
        for word, cls in options.items():
            for name in cls.default_hparams().declared:
                choices.setdefault(name, []).append(f"--{role}={word}")
    return {name: " or ".join(choices.get(name, ["seqmodel submit"])) for name in _declared(known)}
