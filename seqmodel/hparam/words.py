"""The one reader of command lines: words in, values by name out. Light.

    --name=value    --name value    if a name is repeated, the last value applies
    --flag          --flag False    --flag=False       (booleans)
    --names a b     --names=a --names=b                (lists: all words up to the next name)
    --names=        --names                            (an empty list)
    --              the words that follow are not names
    --optimizer     another spelling of a name (SPELLINGS), also in dicts and config files

The word after a name is its value unless it starts with `--`; `-5` and `-x` are values too. A
boolean takes the next word only if it is a truth value: in `--json out`, `out` is a separate word.
"""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

from seqmodel.errors import HparamError
from seqmodel.hparam.synonyms import hint
from seqmodel.hparam.value import str2bool

Value = TypeVar("Value")

BOOL, LIST, VALUE = "bool", "list", "value"
SPELLINGS = {"optimizer": "optimiser"}


class Words(NamedTuple):
    """The content of a command line.

    Attributes:
        values: declared names, each with its text (a list of texts for lists), unchecked.
        unknown: other names, each with all words that follow it.
        free: the words that do not belong to a name.
        in_words: the lists with several values as separate words after one name.
    """

    values: dict[str, Any]
    unknown: dict[str, list[str]]
    free: list[str]
    in_words: list[str]


def one_spelling(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return `values` by their declared names: other spellings of a name are replaced.

    Raises:
        HparamError: a name occurs in both spellings.
    """
    for other, name in SPELLINGS.items():
        if other in values and name in values:
            raise HparamError(
                f"{other!r} and {name!r} are the same hyperparameter; give one of them"
            )
    return {SPELLINGS.get(name, name): value for name, value in values.items()}


def read_words(argv: Sequence[str], takes: Mapping[str, str]) -> Words:
    """Read a command line.

    Args:
        argv: the words, without the program's name.
        takes: what follows each declared name: BOOL, LIST or VALUE.

    Raises:
        HparamError: a value is missing, or a name occurs in two spellings.
    """
    found = Words({}, {}, [], [])
    typed = {}
    words = list(argv)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            found.free.extend(words[at:])
            break
        if not word.startswith("--"):
            if word[:1] == "-" and word != "-":  # a misspelt name, not a value
                found.unknown.setdefault(word, [])
            else:
                found.free.append(word)
            continue
        name, equals, text = word[2:].partition("=")
        typed[name] = word
        name = SPELLINGS.get(name, name)
        end = at
        while not equals and end < len(words) and not words[end].startswith("--"):
            end += 1
        at += _take(found, name, takes.get(name), [text] if equals else words[at:end], bool(equals))
    one_spelling(typed)
    return found


def _take(found: Words, name: str, kind: str | None, behind: list[str], equals: bool) -> int:
    """Record the value of a name; return the number of separate words that it took."""
    used = behind
    if kind is None:
        found.unknown[name] = found.unknown.get(name, []) + behind
    elif kind == LIST:
        before = found.values.get(name, [])
        # a single empty text is not an item: --names= is the empty list
        found.values[name] = [*before, *(behind if behind != [""] else [])]
        if len(behind) > 1:
            found.in_words.append(name)
    elif kind == BOOL and not equals:
        used = behind[:1] if behind and _is_bool(behind[0]) else []
        found.values[name] = used[0] if used else "True"
    elif behind:
        used = behind[:1]
        found.values[name] = used[0]
    else:
        raise HparamError(f"--{name}: a value is missing; write --{name}=value")
    return 0 if equals else len(used)


def refuse_stray(free: Sequence[str], names: Iterable[str]) -> None:
    """Refuse words that do not belong to a name.

    Raises:
        HparamError: there is one; the message suggests one of `names`.
    """
    for word in free:
        _stray(word, names)


def _stray(word: str, names: Iterable[str]) -> NoReturn:
    advice = hint(word.split("=")[0], list(names), "--")
    raise HparamError(f"stray word {word!r} on the command line; write --name=value{advice}")


def _is_bool(word: str) -> bool:
    try:
        str2bool(word)
    except ArgumentTypeError:
        return False
    return True
