"""The words of a verb: its options, and the folders without a name. Light.

hparam/words.py reads the words. This module has the help and the error messages of all verbs.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.help import asked_help, page
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import HparamParser
from seqmodel.hparam.words import Words, read_words
from seqmodel.job.os_interface import Interface, LocalInterface, SshInterface

FOLDERS = (
    "Write folders and files first, or after --, because a list takes all words up to the next\n"
    "option. Write options as --name=value or --name value."
)


def parser_of(*classes: type[Hparams]) -> HparamParser:
    """Return a parser with all options that these classes define."""
    parser = HparamParser(prog="seqmodel")
    for cls in classes:
        parser.add_class(cls)
    return parser


def show_help(argv: Sequence[str], *classes: type[Hparams]) -> None:
    """Print the options of a verb that --help in `argv` asks for; the first class is its own."""
    print(f"\n{page(parser_of(*classes).declared, asked_help(argv) or '', classes[0].__name__)}")
    print(FOLDERS)


def given(argv: Sequence[str], *classes: type[Hparams]) -> tuple[Namespace | None, list[str]]:
    """Return the options of a verb and its words without a name; None if it printed help instead.

    Raises:
        HparamError: an unknown name or a bad value.
    """
    if asked_help(argv) is not None:
        show_help(argv, *reversed(classes))
        return None, []
    parser = parser_of(*classes)
    words = read_words(argv, parser.takes())
    for name in words.unknown:
        parser.hparam(name)
    return parse_dict(parser, words.values), words.free


def refuse_unclear(words: Words, verb: str) -> None:
    """Refuse several words after the name of a list if they could also be folders.

    Raises:
        HparamError: there is such a list.
    """
    for name in words.in_words:
        raise HparamError(
            f"{verb}: the words after --{name} could be its values or folders; write "
            f"--{name}=value for each value"
        )


def needed(folders: list[str], verb: str, example: str = "out/<run>/version_0") -> list[str]:
    """Return `folders`, which must not be empty.

    Raises:
        JobError: there is none.
    """
    if not folders:
        raise JobError(f"{verb} needs a folder: seqmodel {verb} {example}")
    return folders


def only(words: list[str], verb: str, default: str | None = None) -> str:
    """Return the one word without a name that a verb takes.

    Raises:
        JobError: there are several, or there is none and no default.
    """
    if len(words) > 1 or (default is None and not words):
        what = "one folder" if default else "one file"
        raise JobError(f"{verb} takes {what}, got {' '.join(map(repr, words)) or 'none'}")
    return words[0] if words else str(default)


def interface_of(chosen: Namespace) -> Interface:
    """Return the host that --host names, or this one."""
    if not chosen.host:
        return LocalInterface()
    return SshInterface(chosen.host, open_master=chosen.open_master, config=chosen.ssh_config)
