"""Hparam, one declared hyperparameter, and the parser that holds definitions and defaults. Light.

words.py reads command lines, and help.py writes the help.
"""

from __future__ import annotations

import argparse
import builtins
import keyword
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from seqmodel.errors import HparamError
from seqmodel.hparam.synonyms import hint
from seqmodel.hparam.value import (
    FILE,
    ValueType,
    choice,
    optional,
    str2bool,
    value_type,
)
from seqmodel.hparam.words import BOOL, LIST, SPELLINGS, VALUE, read_words

Owner = type[Any]  # a subclass of Hparams (hparams.py, which imports this module)

PLACE, SPLIT, TARGET, READING = "place", "split", "target", "reading"
GROUPS = (PLACE, SPLIT, TARGET, READING)
"""The subject of a hyperparameter of a dataset.

    place: paths of data files; of type path()
    split: the role of the parts of these files: splits, names of tracks
    target: the meaning of a target value, which must not change for a trained model
    reading: how items are found and read, by rules that also suit other files

A model that is applied to other data keeps its `target` and `reading` values. It keeps its `place`
and `split` values only if none of them is given.
"""
SOURCE = (PLACE, SPLIT)


class Hparam:
    """One declared hyperparameter: its name, type, default, help and the class that defines it.

    `group` is the subject of a hyperparameter of a dataset (one of GROUPS), None for others.
    """

    __slots__ = ("default", "group", "help", "inherited", "is_list", "name", "owner", "type")

    def __init__(
        self,
        name: str,
        type: ValueType,
        default: Any,
        help: str,
        is_list: bool,
        owner: Owner,
        inherited: bool = True,
        group: str | None = None,
    ) -> None:
        self.name, self.type, self.help = name, type, help
        self.default, self.is_list, self.owner, self.group = default, is_list, owner, group
        self.inherited = inherited  # False: never set by a checkpoint or a record

    @property
    def tracked(self) -> bool:
        """Whether it changes what is learned, and therefore names the run."""
        return self.owner.tracked

    @property
    def takes(self) -> str:
        """What follows its name on a command line: BOOL, LIST or VALUE."""
        if self.is_list:
            return LIST
        return BOOL if getattr(self.type, "inner", self.type) is str2bool else VALUE

    def described(self) -> str:
        """Return the help text, what a value must be, and the default."""
        kind, default = self.type.described, " ".join(self.texts(self.default))
        if self.type.path_kind or kind.startswith(("text", "True")):  # the metavar says it
            kind = ""
        elif self.help.endswith("."):
            kind = f" {kind[0].upper()}{kind[1:]}"
        else:
            kind = f"; {kind}"
        end = f" (default: {default})" if default else "." if kind else ""
        return f"{self.help}{kind}{end}"

    def value(self, raw: object) -> Any:
        """Return the value that `raw` denotes (one text or Python value; a list for lists).

        Raises:
            HparamError: `raw` has another type, or is outside its bounds or choices.
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
        """Return the texts, one for each occurrence on a command line, that give `value` back."""
        if self.is_list:
            return [self.type.text(item) for item in value] or [""]
        return [self.type.text(value)]


class HparamParser(argparse.ArgumentParser):
    """An ArgumentParser in which every argument is a hyperparameter with an owner.

    Messages that argparse would print before it exits are raised as HparamError.
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
        self._owner: Owner | None = None
        self._group: argparse._ActionsContainer = self

    def add_argument(self, *flags: str, **kwargs: Any) -> argparse.Action:
        """Declare one hyperparameter (`--name`, type, default, choices, nargs, help, group).

        inherited=False means that a file must not set it, because its value means "run this" or
        "trust this": the user must give it again if a checkpoint or the record of a run has it.
        `group` is the subject of a hyperparameter of a dataset.
        """
        return self._declare(_hparam(self._owner, flags, **kwargs), self._group)

    def add_argument_group(self, *args: Any, **kwargs: Any) -> _Group:
        """Return a group of its own in `format_help`; its arguments are hyperparameters."""
        group = _Group(self, *args, **kwargs)
        self._action_groups.append(group)
        return group

    def add_mutually_exclusive_group(self, **kwargs: Any) -> NoReturn:
        """Refuse such a group: hyperparameters have none."""
        raise HparamError(_NO_EXCLUSIVE)

    def add_subparsers(self, **kwargs: Any) -> NoReturn:
        """Refuse subparsers: the choices of a run select its hyperparameters."""
        raise HparamError("add_subparsers is not supported; declare a class for each choice")

    def add_class(self, cls: Owner) -> None:
        """Add what `cls` and its bases define, except what is declared already.

        Raises:
            HparamError: a name is defined by two classes, or a definition is wrong.
        """
        for owner in cls.defining():
            if any(h.owner is owner for h in self.declared.values()):
                continue
            self._owner, self._group = owner, self._new_group(owner)
            try:
                with _naming(owner):
                    owner.__dict__["add_hparams"].__get__(None, owner)(self)
            finally:
                self._owner, self._group = None, self
        for hparam in self.declared.values():
            if issubclass(cls, hparam.owner) and hasattr(cls, hparam.name):
                raise HparamError(
                    f"{_qualified(hparam.owner)}: no hyperparameter can have the name "
                    f"{hparam.name!r}: {cls.__name__} has an attribute of that name; rename it"
                )

    def add_parser(self, other: HparamParser) -> None:
        """Add all declarations of another parser. A name that two classes define is an error."""
        for owner in dict.fromkeys(h.owner for h in other.declared.values()):
            group = self._new_group(owner)
            for hparam in other.declared.values():
                if hparam.owner is owner and self._known_owner(hparam.name) is not owner:
                    self._declare(hparam, group)

    def set_defaults(self, **values: Any) -> None:
        """Change defaults of declared hyperparameters.

        Raises:
            HparamError: a name is not declared, or a value does not have its type.
        """
        for name, value in values.items():
            old = self.hparam(name)
            new = Hparam(
                name, old.type, old.value(value), old.help, old.is_list, old.owner, old.inherited,
                old.group,
            )  # fmt: skip
            self.declared[name] = new
            super().set_defaults(**{name: new.default})
            for action in self._actions:
                if action.dest == name:
                    action.help = new.described().replace("%", "%%")

    def parse_known_args(  # type: ignore[override]  # no generic Namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return the values of a command line (words.py reads it), and the unknown words."""
        words = read_words(sys.argv[1:] if args is None else args, self.takes())
        values = {h.name: h.value(h.default) for h in self.declared.values()}
        values |= vars(namespace) if namespace else {}
        values |= {name: self.hparam(name).value(raw) for name, raw in words.values.items()}
        return argparse.Namespace(**values), [*words.unknown, *words.free]

    def takes(self) -> dict[str, str]:
        """Return what follows each name on a command line, for words.read_words."""
        return {name: hparam.takes for name, hparam in self.declared.items()}

    def hparam(self, name: str) -> Hparam:
        """Return the declared hyperparameter of that name.

        Raises:
            HparamError: there is none; the message suggests a known name.
        """
        return find(self.declared, name)

    def error(self, message: str) -> NoReturn:
        """Raise HparamError instead of exiting."""
        raise HparamError(message.removeprefix("argument "))

    def _new_group(self, owner: Owner) -> _Group:
        summary = (owner.__doc__ or "").strip().split("\n")[0].replace("%", "%%")
        note = "" if owner.tracked else " (does not name the run)"
        return self.add_argument_group(owner.__name__, summary + note)

    def _known_owner(self, name: str) -> Owner | None:
        return self.declared[name].owner if name in self.declared else None

    def _declare(self, hparam: Hparam, group: argparse._ActionsContainer) -> argparse.Action:
        first = self._known_owner(hparam.name)
        if first is not None:
            advice = "rename one, or define it in a common base class"
            if hparam.owner is not first and issubclass(hparam.owner, first):
                advice = "the base class already defines it"
            raise HparamError(
                f"hyperparameter {hparam.name!r} is defined by both {_qualified(first)} and "
                f"{_qualified(hparam.owner)}; {advice}"
            )
        self.declared[hparam.name] = hparam
        nargs = {LIST: "+", BOOL: "?", VALUE: None}[hparam.takes]  # for the help
        return argparse._ActionsContainer.add_argument(
            group,
            f"--{hparam.name}",
            dest=hparam.name,
            default=hparam.default,
            help=hparam.described().replace("%", "%%"),
            metavar=hparam.type.metavar,
            nargs=nargs,
        )


class _Group(argparse._ArgumentGroup):
    """A group of `format_help` whose arguments are hyperparameters too."""

    def __init__(self, parser: HparamParser, *args: Any, **kwargs: Any) -> None:
        super().__init__(parser, *args, **kwargs)
        self._parser = parser

    def add_argument(self, *flags: str, **kwargs: Any) -> argparse.Action:
        return self._parser._declare(_hparam(self._parser._owner, flags, **kwargs), self)

    def add_argument_group(self, *args: Any, **kwargs: Any) -> _Group:
        return self._parser.add_argument_group(*args, **kwargs)

    def set_defaults(self, **values: Any) -> None:
        self._parser.set_defaults(**values)

    def add_mutually_exclusive_group(self, **kwargs: Any) -> NoReturn:
        raise HparamError(_NO_EXCLUSIVE)


_NO_EXCLUSIVE = (
    "add_mutually_exclusive_group is not supported; declare one hyperparameter with choices, or "
    "refuse what does not go together in `check`"
)


def find(declared: Mapping[str, Hparam], name: str) -> Hparam:
    """Return the hyperparameter of that name.

    Raises:
        HparamError: there is none; the message suggests a synonym or the most similar name.
    """
    if name not in declared:
        advice = hint(name, declared) or "; --help=all lists those that exist"
        raise HparamError(f"no hyperparameter {name!r}{advice}")
    return declared[name]


class _HelpFormatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


@contextmanager
def _naming(owner: Owner) -> Iterator[None]:
    """Add the name of the class to any error in its add_hparams."""
    try:
        yield
    except Exception as e:
        if isinstance(e, HparamError) and owner.__name__ in str(e):
            raise
        what = "" if isinstance(e, HparamError) else f"{type(e).__name__}: "
        message = " ".join(str(e).split())
        raise HparamError(f"{_qualified(owner)}.add_hparams: {what}{message}") from e


def _hparam(
    owner: Owner | None,
    flags: tuple[str, ...],
    help: str | None = None,
    type: object = None,
    default: Any = None,
    choices: list[Any] | tuple[Any, ...] | None = None,
    nargs: str | None = None,
    inherited: bool = True,
    group: str | None = None,
    **other: Any,
) -> Hparam:
    where = f"{_qualified(owner) if owner else 'parser'}: {' '.join(map(str, flags))}"
    if owner is None:
        raise HparamError(f"{where}: only the add_hparams of an Hparams class declares arguments")
    name = _name(where, flags)
    if not isinstance(help, str) or not help.strip():
        raise HparamError(f"{where}: a help text is required")
    if other:
        raise HparamError(
            f"{where}: {', '.join(other)} is not supported; a switch is type=str2bool with "
            "default=False"
        )
    if nargs not in (None, "*", "+"):
        raise HparamError(f"{where}: nargs={nargs!r} is not supported, only '*' for lists")
    if group not in (None, *GROUPS):
        raise HparamError(f"{where}: group={group!r} is not one of {', '.join(GROUPS)}")
    is_list = nargs is not None
    if is_list and not isinstance(default, (list, tuple, builtins.type(None))):
        raise HparamError(f"{where}: the default of a list must be a list, got {default!r}")
    try:
        kind = value_type(type)
        if group == PLACE and kind.path_kind != FILE:
            raise TypeError(f"group={group!r} is for paths of files: declare type=path()")
        if choices is not None:
            kind = choice(kind, [kind(c) for c in choices])
    except (TypeError, argparse.ArgumentTypeError) as e:
        raise HparamError(f"{where}: {e}") from e
    if is_list:
        default = list(default or [])
    elif default is None:
        kind = optional(kind)
    hparam = Hparam(name, kind, default, help.strip(), is_list, owner, inherited, group)
    hparam.default = hparam.value(default)
    return hparam


def _name(where: str, flags: tuple[str, ...]) -> str:
    """Return the name that one flag declares."""
    flag = flags[0] if len(flags) == 1 and isinstance(flags[0], str) else ""
    if not flag.startswith("--") or not flag[2:].isidentifier():
        raise HparamError(f"{where}: declare one flag of the form --name")
    name = flag[2:]
    # keys of a config file that start with _ are its record; Job takes names as keyword arguments
    if name in ("hparams", "help", *SPELLINGS) or name.startswith("_") or keyword.iskeyword(name):
        raise HparamError(f"{where}: no hyperparameter can have the name {name!r}; rename it")
    return name


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"
