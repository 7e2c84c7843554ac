"""Values in and out of a parser: from a dict, a Namespace or a command line, and back. Light."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.parser import Hparam, HparamParser, find
from seqmodel.hparam.value import ValueType, value_type
from seqmodel.hparam.words import one_spelling, read_words, refuse_stray

Values = Mapping[str, object] | Namespace


def parse_dict(parser: ArgumentParser, values: Values) -> Namespace:
    """Return all values of `parser`: `values`, each checked and cast to its type, and defaults.

    Args:
        parser: an HparamParser, or any ArgumentParser: its types, choices and defaults hold.
        values: by name, in a dict or a Namespace; text is parsed as on a command line.

    Raises:
        HparamError: an unknown name (with a suggestion), a bad value or a missing value.
    """
    declared = _declared(parser)
    values = _mapping(values)
    if isinstance(parser, HparamParser):
        values = one_spelling(values)
    parsed = {h.name: _copy(h.default) for h in declared.values()}
    for name, raw in values.items():
        parsed[name] = find(declared, name).value(raw)
    for action in () if isinstance(parser, HparamParser) else parser._actions:
        if action.required and action.dest not in values:
            raise HparamError(f"{action.dest!r} is not set and has no default; set it")
    return Namespace(**parsed)


def to_dict(parser: ArgumentParser, values: Values) -> dict[str, Any]:
    """Return all values of `parser` by name, checked, with defaults: inverse of `parse_dict`."""
    return vars(parse_dict(parser, values))


def parse_args(
    parser: HparamParser, argv: Sequence[str], below: Values | None = None
) -> tuple[Namespace, set[str]]:
    """Return all values of a command line, and the names that it contains.

    Args:
        parser: what can be set.
        argv: `--name=value` or `--name value`, in any order; see words.py.
        below: values of names that the command line does not contain (a config file).

    Raises:
        HparamError: an unknown name, a stray word, or a bad value.
    """
    words = read_words(argv, parser.takes())
    for name in words.unknown:
        parser.hparam(name)
    refuse_stray(words.free, parser.declared)
    return parse_dict(parser, {**_mapping(below or {}), **words.values}), set(words.values)


def changed_hparams(parser: ArgumentParser, values: Values) -> dict[str, Any]:
    """Return the hyperparameters whose values differ from the defaults of `parser`, by name."""
    values = _mapping(values)
    changed = {}
    for name, hparam in _declared(parser).items():
        if name in values and hparam.value(values[name]) != hparam.default:
            changed[name] = hparam.value(values[name])
    return changed


def to_args(
    parser: HparamParser,
    values: Values,
    brought: Mapping[str, Any] | None = None,
) -> list[str]:
    """Return the command line of `--name=value` words that gives `values`; defaults are left out.

    Args:
        parser: what can be set.
        values: by name.
        brought: values that a checkpoint in `values` sets: a default that differs is written.
    """
    changed = changed_hparams(parser, values)
    values = _mapping(values)
    for name, other in (brought or {}).items():
        if name in values and name not in changed and values[name] != _read(parser, name, other):
            changed[name] = values[name]
    return [
        f"--{name}={text}"
        for name, hparam in parser.declared.items()
        if name in changed
        for text in hparam.texts(changed[name])
    ]


def _read(parser: HparamParser, name: str, raw: object) -> Any:
    try:
        return parser.hparam(name).value(raw)
    except HparamError:
        return HparamError  # no value at all


def _mapping(values: Values) -> Mapping[str, object]:
    return vars(values) if isinstance(values, Namespace) else values


def _copy(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _declared(parser: ArgumentParser) -> dict[str, Hparam]:
    """Return the hyperparameters of `parser`, or the arguments of another ArgumentParser."""
    if isinstance(parser, HparamParser):
        return parser.declared
    found = {}
    for action in parser._actions:
        if not isinstance(action, (argparse._HelpAction, argparse._VersionAction)):
            kind: Any = _Argument(parser, action)
            owner: Any = type(parser)
            found[action.dest] = Hparam(action.dest, kind, kind.default, "", False, owner)
    return found


class _Argument(ValueType):
    """The values of one argument of an ArgumentParser of another package."""

    def __init__(self, parser: ArgumentParser, action: argparse.Action) -> None:
        self.choices = action.choices
        n = action.nargs
        appends = isinstance(action, (argparse._AppendAction, argparse._AppendConstAction))
        self.is_list = appends or n in ("*", "+") or (isinstance(n, int) and n > 0)
        cast = parser._registry_get("type", action.type, action.type)
        self.described = f"a valid {getattr(cast, '__name__', 'value')}"
        if n == 0 and isinstance(action.const, bool):  # store_true
            cast = bool
        self.cast = value_type(cast) if cast in (int, float, bool) else cast
        default = parser.get_default(action.dest)
        self.default = self.cast(default) if isinstance(default, str) else default

    def __call__(self, raw: object) -> object:
        if raw is None or raw == self.default:  # as in argparse, it need not be one of the choices
            return self.default if raw == self.default else None
        if not self.is_list:
            return self._one(raw)
        return [self._one(item) for item in (raw if isinstance(raw, (list, tuple)) else [raw])]

    def _one(self, raw: object) -> object:
        value = raw
        if isinstance(raw, str) or isinstance(self.cast, ValueType):
            try:
                value = self.cast(raw)
            except (TypeError, ValueError):
                raise self.refuse(raw) from None
        if self.choices is not None and value not in self.choices:
            names = ", ".join(map(str, self.choices))
            raise ArgumentTypeError(f"must be one of {names}, got {raw!r}")
        return value
