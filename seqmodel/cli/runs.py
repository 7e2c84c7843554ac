"""`seqmodel results | report | search | advise | watch`: their arguments. Light.

Each is called by seqmodel/cli/verbs.py with the words behind the verb, and returns the exit code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from seqmodel.errors import HparamError
from seqmodel.terminal import plain


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise HparamError(f"{self.prog}: {message}")


def _parsed(parser: _Parser, argv: Sequence[str]) -> argparse.Namespace | None:
    """The arguments; None if help was asked for, and shown."""
    try:
        return parser.parse_args(list(argv))
    except SystemExit:
        return None


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or more, got {text!r}")
    return value


def _folder(parser: _Parser) -> None:
    parser.add_argument("folder", nargs="?", default="out", help="folder of runs (default: out)")
    parser.add_argument("--host", help="look there over SSH, by the name you type after ssh")


def _results(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    from seqmodel.job.results.table import results

    if not args.host:
        return results(args.folder)
    from seqmodel.job.os_interface import SshInterface

    return results(args.folder, SshInterface(args.host))


def results_verb(argv: Sequence[str]) -> int:
    """`seqmodel results [FOLDER]`."""
    parser = _Parser("seqmodel results", description="One row a replicate, or means over them.")
    _folder(parser)
    add = parser.add_argument
    add("--where", nargs="*", default=[], help="conditions: state=complete 'lr<1e-3'")
    add("--sort", help="a column; the best first for scores")
    add("--grouped", action="store_true", help="mean, standard deviation and n over replicates")
    add("--format", choices=["table", "csv", "tsv", "md", "tex", "json"], default="table")
    add("--out", help="write to this file: .csv .tsv .md .tex .json .parquet")
    args = _parsed(parser, argv)
    if args is None:
        return 0
    from seqmodel.job.results.text import as_text, shown, table

    found = _results(args).where(*args.where)
    if args.sort:
        found = found.sort_by(args.sort)
    if args.out:
        found.write(args.out, grouped=args.grouped)
        return 0
    rows = found.grouped() if args.grouped else found.rows()
    text = table(shown(rows)) if args.format == "table" else as_text(rows, args.format)
    print(plain(text.replace("\r\n", "\n").rstrip("\n")))
    return 0


def report_verb(argv: Sequence[str]) -> int:
    """`seqmodel report [FOLDER] [-o report.html]`."""
    parser = _Parser("seqmodel report", description="One HTML page about a folder of runs.")
    _folder(parser)
    parser.add_argument("-o", "--out", default="report.html", help="file (default: report.html)")
    args = _parsed(parser, argv)
    if args is None:
        return 0
    from seqmodel.report.page import write_report

    print(write_report(args.folder, args.out, _results(args)))
    return 0


def advise_verb(argv: Sequence[str]) -> int:
    """`seqmodel advise [FOLDER]`."""
    parser = _Parser("seqmodel advise", description="What to ask for, from what runs took.")
    _folder(parser)
    parser.add_argument("--runs", type=_count, default=0, help="runs to be submitted: their cost")
    parser.add_argument("--where", nargs="*", default=[], help="of these runs: encoder=cnn")
    parser.add_argument("--at_once", type=_count, help="runs at once: how long it would take")
    args = _parsed(parser, argv)
    if args is None:
        return 0
    from seqmodel.job.results.advise import advise

    print(plain(advise(_results(args).where(*args.where)).text(args.runs, args.at_once)))
    return 0


def watch_verb(argv: Sequence[str]) -> int:
    """`seqmodel watch [FOLDER]`."""
    parser = _Parser("seqmodel watch", description="A live page of all runs, until Ctrl-C.")
    _folder(parser)
    parser.add_argument("--every", type=_positive, default=5.0, help="seconds between two looks")
    parser.add_argument("--once", action="store_true", help="look once and end")
    args = _parsed(parser, argv)
    if args is None:
        return 0
    from seqmodel.report.watch import watch

    watch(lambda: _results(args), every_s=args.every, once=args.once)
    return 0


def search_verb(argv: Sequence[str]) -> int:
    """`seqmodel search FILE.toml`."""
    parser = _Parser("seqmodel search", description="Submits, or goes on with, a search.")
    parser.add_argument("file", help="the search, in TOML; see docs/search.md")
    parser.add_argument("--dry_run", action="store_true", help="say what would be submitted")
    parser.add_argument(
        "--cancel_left", action="store_true", help="end points that left the search"
    )
    args = _parsed(parser, argv)
    if args is None:
        return 0
    from seqmodel.job.search.file import run_file

    print(plain(str(run_file(args.file, dry_run=args.dry_run, cancel_left=args.cancel_left))))
    return 0
