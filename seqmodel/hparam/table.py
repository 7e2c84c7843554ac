"""`--table=my.csv`: what is not given is guessed from the file, and printed as a command. Light.

The guess itself opens the file: seqmodel/dataset/guess/reading.py. What it finds stands where the
user could have written it, so the run, its name and its record are those of the long command line.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from textwrap import fill
from typing import Any, NamedTuple

from seqmodel.errors import HparamError
from seqmodel.hparam.parser import PLACE, SPLIT, Hparam
from seqmodel.hparam.target import resolve_target
from seqmodel.hparam.words import LIST, Words

GUESS = "seqmodel.dataset.guess.reading:guess"
NAME = "table"
_WIDTH = 96
# of other data than those of a checkpoint that is named these are guessed anew
_OF_FILES = (
    "sequence_column",
    "label_columns",
    "weight_column",
    "strand_column",
    "quotes",
    "seq_len",
)


class Guessed(NamedTuple):
    """What was guessed for a file.

    Attributes:
        path: the file.
        values: the values that were guessed, by name.
        notes: what they were guessed from: (what, text).
        words: the command line with all that was given and guessed.
    """

    path: str
    values: dict[str, Any]
    notes: list[tuple[str, str]]
    words: list[str]

    def __str__(self) -> str:
        width = max((len(what) for what, _ in self.notes), default=0)
        behind = " " * (width + 4)
        lines = [
            fill(
                text,
                _WIDTH,
                initial_indent=f"  {what:{width}}  ",
                subsequent_indent=behind,
                break_on_hyphens=False,
                break_long_words=False,
            )
            for what, text in self.notes
        ]
        head = f"guessed from {self.path} (what you give is not guessed):"
        return "\n".join([head, *lines, "the whole command:", wrapped(self.words)])


def with_guesses(
    words: Words,
    config: Mapping[str, Any],
    header: Mapping[str, Any],
    declared: Mapping[str, Hparam],
) -> tuple[Words, Guessed | None]:
    """`words` with what the file of `--table` says; unchanged if there is no such file.

    Args:
        words: what was given.
        config: what a config file says.
        header: the hyperparameters of the checkpoint that is named.
        declared: every hyperparameter that some run has.

    Raises:
        SeqmodelError: the file cannot be read, or it is not clear what is meant.
    """
    path = words.values.get(NAME) or config.get(NAME)
    if not path:
        return words, None
    path = declared[NAME].value(path)
    own = {n: v for n, v in words.values.items() if n != NAME}
    known = {n: declared[n].value(v) for n, v in {**config, **own}.items() if n in declared}
    if known.get("resume_from_checkpoint"):
        raise HparamError(f"--{NAME}={path}: a run is resumed on its own data; leave it out")
    known = {**_brought(known, header, declared), **known}
    given = {n: declared[n].value(v) if n in declared else v for n, v in own.items()}

    def command(more: Mapping[str, Any]) -> str:
        rest = {n: v for n, v in given.items() if n not in more}
        return shlex.join(["seqmodel", "train", path, *_args({**rest, **more}, declared)])

    guess = resolve_target(GUESS)
    values, notes = guess(path, {n: v for n, v in known.items() if n != NAME}, command)
    line = ["seqmodel", "run", *_args({**values, **given}, declared)]
    line += [w for n, rest in words.unknown.items() for w in (f"--{n}", *rest)]
    return words._replace(values={**values, **own}), Guessed(path, values, notes, line)


def _brought(
    known: Mapping[str, Any], header: Mapping[str, Any], declared: Mapping[str, Hparam]
) -> dict[str, Any]:
    """What is known because the model of a checkpoint is trained further."""
    if not known.get("load_checkpoint_path"):
        return {}
    return {
        n: declared[n].value(v)
        for n, v in header.items()
        if n in declared
        and declared[n].tracked
        and declared[n].inherited
        and declared[n].group not in (PLACE, SPLIT)
        and n not in _OF_FILES
    }


def _args(values: Mapping[str, Any], declared: Mapping[str, Hparam]) -> list[str]:
    """The words of a command line, a list as words behind its name where it can be."""
    found = []
    for name, value in values.items():
        texts = declared[name].texts(value) if name in declared else [str(value)]
        is_list = name in declared and declared[name].takes == LIST
        if is_list and len(texts) > 1 and not any(x.startswith("-") for x in texts):
            found += [f"--{name}", *texts]
        else:
            found += [f"--{name}={x}" for x in texts]
    return found


def wrapped(words: list[str]) -> str:
    """A command line over several lines, to be pasted as it is into a shell."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) + 1 > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
