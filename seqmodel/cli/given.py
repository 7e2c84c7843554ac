"""What is given to a verb: its settings, and the folders without a name. Light.

hparam/words.py reads the words; here are the help and the refusals that all verbs share.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.parser import HparamParser
from seqmodel.hparam.words import Words, read_words
from seqmodel.job.os_interface import Interface, LocalInterface, SshInterface

HELP = ("--help", "-h")
FOLDERS = (
    "Words without a name (folders, a file) come first or behind --: a list takes all words up to\n"
    "the next name. Settings are written --name=value or --name value."
)


def parser_of(*classes: type[Hparams]) -> HparamParser:
    """A parser with all that these classes define."""
    parser = HparamParser(prog="seqmodel")
    for cls in classes:
        parser.add_class(cls)
    return parser


def show_help(*parsers: HparamParser) -> None:
    """Prints the settings of a verb (its first line is in the table of verbs)."""
    for parser in parsers:
        text = parser.format_help()
        print(text[text.index("\n\n") + 1 :].rstrip())
    print(f"\n{FOLDERS}")


def given(argv: Sequence[str], *classes: type[Hparams]) -> tuple[Namespace | None, list[str]]:
    """The settings of a verb and its words without a name; None if help was asked for, and shown.

    Raises:
        HparamError: an unknown name or a bad value.
    """
    parser = parser_of(*classes)
    if wants_help(argv):
        show_help(parser)
        return None, []
    words = read_words(argv, parser.takes())
    for name in words.unknown:
        parser.hparam(name)
    return parse_dict(parser, words.values), words.free


def wants_help(argv: Sequence[str]) -> bool:
    """Whether help is asked for, before what ends the names."""
    words = list(argv)
    return any(word in HELP for word in words[: words.index("--") if "--" in words else None])


def refuse_unclear(words: Words, verb: str) -> None:
    """Refuses several words behind one list where they could be folders as well.

    Raises:
        HparamError: there is such a list.
    """
    for name in words.in_words:
        raise HparamError(
            f"{verb}: the words behind --{name} could be its values or folders; write "
            f"--{name}=value for each value"
        )


def needed(folders: list[str], verb: str, example: str = "out/<run>/version_0") -> list[str]:
    """The folders, at least one.

    Raises:
        JobError: there is none.
    """
    if not folders:
        raise JobError(f"{verb} wants a folder: seqmodel {verb} {example}")
    return folders


def only(words: list[str], verb: str, default: str | None = None) -> str:
    """The one word without a name that a verb takes.

    Raises:
        JobError: there are several, or there is none and no default.
    """
    if len(words) > 1 or (default is None and not words):
        what = "one folder" if default else "one file"
        raise JobError(f"{verb} takes {what}, got {' '.join(map(repr, words)) or 'none'}")
    return words[0] if words else str(default)


def interface_of(chosen: Namespace) -> Interface:
    """The machine that --host names, or this one."""
    if not chosen.host:
        return LocalInterface()
    return SshInterface(chosen.host, open_master=chosen.open_master, config=chosen.ssh_config)
