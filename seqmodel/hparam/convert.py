"""Values in and out of a parser: from a dict or a command line, and back. Light."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

from seqmodel.errors import HparamError
from seqmodel.hparam.hparams import GIVEN, HparamParser
from seqmodel.hparam.value import did_you_mean


def parse_dict(parser: HparamParser, values: Mapping[str, object]) -> Namespace:
    """All values of `parser`: those of `values`, each checked and cast to its type, and defaults.

    Raises:
        HparamError: an unknown name, with the nearest known one, or a bad value.
    """
    parsed = {h.name: _copy(h.default) for h in parser.declared.values()}
    for name, raw in values.items():
        parsed[name] = parser.hparam(name).value(raw)
    return Namespace(**parsed)


def parse_args(
    parser: HparamParser, argv: Sequence[str], below: Mapping[str, object] | None = None
) -> tuple[Namespace, set[str]]:
    """All values of a command line, and the names that stood on it.

    Args:
        parser: what can be set.
        argv: `--name=value` or `--name value`, in any order.
        below: values that hold where the command line says nothing (a config file).

    Raises:
        HparamError: an unknown name, a stray word, or a bad value.
    """
    namespace = parse_dict(parser, below or {})
    namespace, rest = parser.parse_known_args(list(argv), namespace)
    for word in rest:
        if word.startswith("--"):
            parser.hparam(word[2:].split("=")[0])
        hint = did_you_mean(word.split("=")[0], [f"--{name}" for name in parser.declared])
        raise HparamError(f"stray word {word!r} on the command line; write --name=value{hint}")
    given = namespace.__dict__.pop(GIVEN, set())
    return namespace, given


def changed_hparams(parser: HparamParser, values: Namespace | Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters whose values differ from the defaults of `parser`, by name."""
    values = vars(values) if isinstance(values, Namespace) else values
    changed = {}
    for name, hparam in parser.declared.items():
        if name in values and hparam.value(values[name]) != hparam.default:
            changed[name] = hparam.value(values[name])
    return changed


def to_args(
    parser: HparamParser,
    values: Namespace | Mapping[str, Any],
    brought: Mapping[str, Any] | None = None,
) -> list[str]:
    """The command line, `--name=value` each, that gives `values` back; defaults are left out.

    Args:
        parser: what can be set.
        values: by name.
        brought: what a checkpoint that `values` name brings along: against it a default is said.
    """
    changed = changed_hparams(parser, values)
    values = vars(values) if isinstance(values, Namespace) else values
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


def _copy(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value
