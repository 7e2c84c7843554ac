"""`--table=my.csv`: options that are not given are guessed from the file and printed. Light.

seqmodel/dataset/guess/reading.py opens the file and guesses. Guessed values are used as if the user
had written them, so the run, its name and its record are those of the long command line.
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
# these are guessed again for the file, even if a checkpoint sets them
_OF_FILES = (
    "sequence_column",
    "label_columns",
    "weight_column",
    "strand_column",
    "quotes",
    "seq_len",
)


class Guessed(NamedTuple):
    """Values that were guessed for a file.

    Attributes:
        path: the file.
        values: the values that were guessed, by name.
        notes: the reasons for the guesses, as pairs (subject, text).
        words: the command line with all given and guessed values.
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
        head = f"guessed from {self.path} (options that you give are not guessed):"
        return "\n".join([head, *lines, "the whole command:", wrapped(self.words)])


def with_guesses(
    words: Words,
    config: Mapping[str, Any],
    header: Mapping[str, Any],
    declared: Mapping[str, Hparam],
) -> tuple[Words, Guessed | None]:
    """Return `words` with the values that are guessed for `--table`; unchanged without it.

    Args:
        words: the given words.
        config: the values of a config file.
        header: the hyperparameters of the checkpoint, if one is given.
        declared: every hyperparameter that a run can have.

    Raises:
        SeqmodelError: the file cannot be read, or it has several readings.
    """
    path = words.values.get(NAME) or config.get(NAME)
    if not path:
        return words, None
    path = declared[NAME].value(path)
    own = {n: v for n, v in words.values.items() if n != NAME}
    known = {n: declared[n].value(v) for n, v in {**config, **own}.items() if n in declared}
    if known.get("resume_from_checkpoint"):
        raise HparamError(f"--{NAME}={path}: a run resumes on its own data; leave the option out")
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
    """Return the values that a loaded checkpoint fixes, because its model is trained further."""
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
    """Return the words of a command line; the items of a list follow its name if possible."""
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
    """Return a command line on several lines, which can be pasted into a shell."""
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) + 1 > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)
