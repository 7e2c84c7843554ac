"""Hparams, the class that declares what can be set, and the parser that holds its defaults.

    class CnnHparams(EncoderHparams):
        '''Convolutions with pooling.'''
        name = "cnn"                                  # typed as --encoder=cnn
        target = "seqmodel.model.cnn:CnnEncoder"      # imported only when it is built

        @staticmethod
        def add_hparams(parser):
            parser.add_argument("--kernel_size", type=integer(1), default=7, help="width, in bp")

Light: standard library only. Reading values is convert.py, naming a run canonical.py.
"""

from __future__ import annotations

import argparse
import builtins
from typing import Any, ClassVar, NoReturn

from seqmodel.errors import HparamError
from seqmodel.hparam.value import (
    ValueType,
    choice,
    did_you_mean,
    optional,
    str2bool,
    value_type,
)

PLACE, SPLIT, TARGET, READING = "place", "split", "target", "reading"
GROUPS = (PLACE, SPLIT, TARGET, READING)
"""What a hyperparameter of a dataset is about.

    place: paths of files with data
    split: which parts of these files are for what: splits, names of tracks
    target: what the value of a target means; a model is applied to nothing else
    reading: how items are found and read, by rules that suit other files as well

A model that is applied to other data brings its targets and its reading along; its places and
splits only as a whole, where none of them is given.
"""
SOURCE = (PLACE, SPLIT)


class Hparam:
    """One declared hyperparameter: its name, type, default, help and the class that defines it.

    `group` says what a hyperparameter of a dataset is about (one of GROUPS); None for others.
    """

    __slots__ = ("default", "group", "help", "inherited", "is_list", "name", "owner", "type")

    def __init__(
        self,
        name: str,
        type: ValueType,
        default: Any,
        help: str,
        is_list: bool,
        owner: builtins.type[Hparams],
        inherited: bool = True,
        group: str | None = None,
    ) -> None:
        self.name, self.type, self.help = name, type, help
        self.default, self.is_list, self.owner, self.group = default, is_list, owner, group
        self.inherited = inherited  # False: never taken from a checkpoint or a record

    @property
    def tracked(self) -> bool:
        """Whether it changes what is learned, and so names the run."""
        return self.owner.tracked

    def value(self, raw: object) -> Any:
        """The value that `raw` stands for (one text or Python value; a list for lists).

        Raises:
            HparamError: `raw` is not of the type, or outside of its bounds or choices.
        """
        try:
            if not self.is_list:
                return self.type(raw)
            items = raw if isinstance(raw, (list, tuple)) else [raw]
            if items == [""]:
                return []
            if any(item in ("", None) for item in items):
                raise argparse.ArgumentTypeError(f"has an empty item: {items!r}")
            return [self.type(item) for item in items]
        except argparse.ArgumentTypeError as e:
            raise HparamError(f"--{self.name} ({self.owner.__name__}): {e}") from None

    def texts(self, value: Any) -> list[str]:
        """The texts, one for each occurrence on a command line, that give `value` back."""
        if self.is_list:
            return [self.type.text(item) for item in value] or [""]
        return [self.type.text(value)]


class HparamParser(argparse.ArgumentParser):
    """An ArgumentParser in which every argument is a hyperparameter with an owner.

    What argparse would print before it exits is raised as HparamError.
    """

    def __init__(self, prog: str | None = None, description: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            add_help=False,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )
        self.declared: dict[str, Hparam] = {}
        self._owner: type[Hparams] | None = None
        self._group: Any = self

    def add_argument(self, *flags: str, **kwargs: Any) -> argparse.Action:
        """Declares one hyperparameter (`--name`, type, default, choices, nargs, help, group).

        inherited=False says that a file must not set it: its value means "run this" or "trust
        this", so that it is given again where a checkpoint or a run's record has it. `group` is
        what a hyperparameter of a dataset is about.
        """
        return self._declare(_hparam(self._owner, flags, **kwargs))

    def add_class(self, cls: type[Hparams]) -> None:
        """Adds all that `cls` and its bases define; what is there already is not added twice.

        Raises:
            HparamError: a name is defined by two classes.
        """
        for owner in reversed(cls.__mro__):
            if "add_hparams" in owner.__dict__ and owner is not Hparams:
                if any(h.owner is owner for h in self.declared.values()):
                    continue
                self._owner, self._group = owner, self._new_group(owner)
                owner.__dict__["add_hparams"].__func__(self)
        self._owner, self._group = None, self

    def add_parser(self, other: HparamParser) -> None:
        """Adds all that another parser declares (a name of another class is an error)."""
        for owner in dict.fromkeys(h.owner for h in other.declared.values()):
            self._group = self._new_group(owner)
            for hparam in other.declared.values():
                if hparam.owner is owner and self._known_owner(hparam.name) is not owner:
                    self._declare(hparam)
        self._group = self

    def set_default(self, name: str, value: object) -> None:
        """Moves the default of one declared hyperparameter (a choice that follows another)."""
        hparam = self.declared[name]
        default = hparam.value(value)
        self.declared[name] = Hparam(
            name, hparam.type, default, hparam.help, hparam.is_list, hparam.owner,
            hparam.inherited, hparam.group,
        )  # fmt: skip
        self.set_defaults(**{name: self.declared[name].default})
        for action in self._actions:
            if action.dest == name:
                action.help = _help(self.declared[name])

    def hparam(self, name: str) -> Hparam:
        """The declared hyperparameter of that name.

        Raises:
            HparamError: there is none; the nearest known name is told.
        """
        if name not in self.declared:
            owners = ", ".join(dict.fromkeys(h.owner.__name__ for h in self.declared.values()))
            hint = did_you_mean(name, list(self.declared))
            raise HparamError(f"no hyperparameter {name!r} in {owners or 'this run'}{hint}")
        return self.declared[name]

    def error(self, message: str) -> NoReturn:
        """Raises HparamError instead of exiting."""
        raise HparamError(message.removeprefix("argument "))

    def _new_group(self, owner: type[Hparams]) -> Any:
        summary = (owner.__doc__ or "").strip().split("\n")[0].replace("%", "%%")
        note = "" if owner.tracked else " (does not name the run)"
        return self.add_argument_group(owner.__name__, summary + note)

    def _known_owner(self, name: str) -> type[Hparams] | None:
        return self.declared[name].owner if name in self.declared else None

    def _declare(self, hparam: Hparam) -> argparse.Action:
        first = self._known_owner(hparam.name)
        if first is not None:
            raise HparamError(
                f"hyperparameter {hparam.name!r} is defined by both {_qualified(first)} and "
                f"{_qualified(hparam.owner)}; rename one, or define it in a common base class"
            )
        self.declared[hparam.name] = hparam
        add = super().add_argument if self._group is self else self._group.add_argument
        options: dict[str, Any] = {"action": _SetAction, "hparam": hparam}
        if hparam.is_list:
            options |= {"action": _ListAction, "nargs": "+"}
        elif hparam.type is str2bool:
            options |= {"nargs": "?", "const": "True"}
        metavar = _metavar(hparam)
        return add(
            f"--{hparam.name}",
            dest=hparam.name,
            default=hparam.default,
            help=_help(hparam),
            metavar=metavar,
            **options,
        )


class Hparams:
    """Values of the hyperparameters that the class and its bases define.

    `SomeHparams(lr=1e-3, other=1)` keeps what the class defines, checks it, takes the defaults for
    the rest and ignores what it does not define. Values are attributes, and in `self.hparams`.

    Class attributes:
        name: what is typed to choose it, e.g. `--encoder=transformer`; None for a base class.
        target: `module:object` that is built from it, as text, so that nothing heavy is imported.
        tracked: whether its values change what is learned, and so name the run.
        usual: the choices that go with this one unless others are made, e.g. {"decoder": "pooled"}.
    """

    name: ClassVar[str | None] = None
    target: ClassVar[str | None] = None
    tracked: ClassVar[bool] = True
    usual: ClassVar[dict[str, str]] = {}

    def __init__(self, **hparams: Any) -> None:
        from seqmodel.hparam.convert import parse_dict

        parser = self.default_hparams()
        known = {name: value for name, value in hparams.items() if name in parser.declared}
        self.hparams = parse_dict(parser, known)

    @classmethod
    def default_hparams(cls) -> HparamParser:
        """A parser with all that the class and its bases define, and their defaults."""
        parser = HparamParser(prog=cls.__name__)
        parser.add_class(cls)
        return parser

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:
        """Declares the hyperparameters of this class (not those of its bases) on `parser`."""

    @classmethod
    def check(cls, values: argparse.Namespace) -> None:
        """Refuses combinations that cannot work, given all values of the run.

        Raises:
            HparamError: with what to change.
        """

    @classmethod
    def checks(cls, values: argparse.Namespace) -> None:
        """Runs `check` of the class and of each of its bases."""
        for owner in reversed(cls.__mro__):
            if "check" in owner.__dict__ and owner is not Hparams:
                owner.__dict__["check"].__func__(cls, values)

    def __getattr__(self, name: str) -> Any:
        values = self.__dict__.get("hparams")
        if values is None or not hasattr(values, name):
            raise AttributeError(f"{type(self).__name__} has no hyperparameter {name!r}")
        return getattr(values, name)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.hparams == other.hparams

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        from seqmodel.hparam.convert import changed_hparams

        changed = changed_hparams(self.default_hparams(), self.hparams)
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"


class _HelpFormatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


class _SetAction(argparse.Action):
    def __init__(self, *args: Any, hparam: Hparam, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hparam = hparam

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        setattr(namespace, self.dest, self.hparam.value(values))
        namespace.__dict__.setdefault(GIVEN, set()).add(self.dest)


class _ListAction(_SetAction):
    """The first occurrence replaces what stood there, the later ones add to it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        given = namespace.__dict__.setdefault(GIVEN, set())
        before = getattr(namespace, self.dest) if self.dest in given else []
        setattr(namespace, self.dest, before + self.hparam.value(values))
        given.add(self.dest)


GIVEN = "_given"  # in a namespace: the names that stood on the command line


def _hparam(
    owner: type[Hparams] | None,
    flags: tuple[str, ...],
    help: str | None = None,
    type: object = None,
    default: Any = None,
    choices: list[Any] | tuple[Any, ...] | None = None,
    nargs: str | None = None,
    inherited: bool = True,
    group: str | None = None,
) -> Hparam:
    where = f"{owner.__name__ if owner else 'parser'}: {flags}"
    if owner is None:
        raise TypeError(f"{where}: only the add_hparams of an Hparams class declares arguments")
    if len(flags) != 1 or not flags[0].startswith("--") or not flags[0][2:].isidentifier():
        raise TypeError(f"{where}: one flag of the form --name is wanted")
    if not help or not help.strip():
        raise TypeError(f"{where}: a help text is compulsory")
    if nargs not in (None, "*", "+"):
        raise TypeError(f"{where}: nargs={nargs!r} is not supported, only '*' for lists")
    if group not in (None, *GROUPS):
        raise TypeError(f"{where}: group={group!r} is not one of {', '.join(GROUPS)}")
    kind = value_type(type)
    if choices is not None:
        kind = choice(kind, list(choices))
    is_list = nargs is not None
    if is_list:
        default = list(default or [])
    elif default is None:
        kind = optional(kind)
    name = flags[0][2:]
    hparam = Hparam(name, kind, default, help.strip(), is_list, owner, inherited, group)
    hparam.default = hparam.value(default)
    return hparam


def _metavar(hparam: Hparam) -> str:
    described = hparam.type.described
    if "whole" in described:
        return "N"
    if "number" in described:
        return "X"
    return "BOOL" if hparam.type is str2bool else "TEXT"


def _help(hparam: Hparam) -> str:
    described = hparam.type.described
    kind = "" if described.startswith(("text", "True")) else f"; {described}"
    default = " ".join(hparam.texts(hparam.default)) or "not set"
    return f"{hparam.help}{kind} (default: {default})".replace("%", "%%")


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"
