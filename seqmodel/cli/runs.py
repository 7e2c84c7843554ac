"""`seqmodel results | report | search | advise | watch`: their settings. Light.

Each is called by seqmodel/cli/verbs.py with the words behind the verb, and returns the exit code.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqmodel.cli.given import given, interface_of, only
from seqmodel.errors import JobError
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.job import HostHparams
from seqmodel.hparam.parser import HparamParser
from seqmodel.hparam.value import OUTPUT, integer, number, path, str2bool
from seqmodel.terminal import plain

if TYPE_CHECKING:
    from seqmodel.job.results.table import Results


class ResultsHparams(Hparams):
    """What results shows or writes."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--where", nargs="*", help="conditions: state=complete 'lr<1e-3'")
        add("--sort", help="a column; the best first for scores")
        add(
            "--grouped",
            type=str2bool,
            default=False,
            help="mean with its 95 % interval, standard deviation and n over replicates",
        )
        add(
            "--compare",
            type=path(),
            nargs="*",
            help="two run folders: their test scores, and whether one is better than the other",
        )
        add(
            "--format",
            choices=["table", "csv", "tsv", "md", "tex", "json"],
            default="table",
            help="what is printed",
        )
        add(
            "--out", type=path(OUTPUT), help="write to this file: .csv .tsv .md .tex .json .parquet"
        )


class ReportHparams(Hparams):
    """Where report writes its page."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        parser.add_argument(
            "--out", type=path(OUTPUT), default="report.html", help="file; -o is short for it"
        )


class AdviseHparams(Hparams):
    """What advise looks at."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--runs", type=integer(0), default=0, help="runs to be submitted: their cost")
        add("--where", nargs="*", help="conditions for the runs to learn from: encoder=cnn")
        add("--at_once", type=integer(0), help="runs at once: how long it would take")


class WatchHparams(Hparams):
    """How watch looks."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        seconds = number(0, 1e6, open_lo=True, open_hi=True)
        parser.add_argument("--every", type=seconds, default=5, help="seconds between two looks")
        parser.add_argument("--once", type=str2bool, default=False, help="look once and end")


class SearchHparams(Hparams):
    """What search does."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--dry_run", type=str2bool, default=False, help="say what would be submitted")
        add(
            "--cancel_left",
            type=str2bool,
            default=False,
            help="end points that left the search",
        )


def _found(chosen: Namespace, folder: str) -> Results:
    from seqmodel.job.results.table import results

    return results(folder, interface_of(chosen)) if chosen.host else results(folder)


def results(argv: Sequence[str]) -> int:
    """Shows one row a replicate, or means over them."""
    chosen, words = given(argv, HostHparams, ResultsHparams)
    if chosen is None:
        return 0
    from seqmodel.job.results.looks import warning_of
    from seqmodel.job.results.text import as_text, shown, table

    if chosen.compare:
        return _compare(chosen, words)
    found = _found(chosen, only(words, "results", "out")).where(*chosen.where)
    if chosen.sort:
        found = found.sort_by(chosen.sort)
    if chosen.out:
        found.write(chosen.out, grouped=chosen.grouped)
        return 0
    rows = found.grouped() if chosen.grouped else found.rows()
    text = table(shown(rows)) if chosen.format == "table" else as_text(rows, chosen.format)
    print(plain(text.replace("\r\n", "\n").rstrip("\n")))
    if warning := warning_of(found, chosen.sort):
        print(warning, file=sys.stderr)
    return 0


def _compare(chosen: Namespace, words: Sequence[str]) -> int:
    """Shows whether one of two runs is better."""
    if len(chosen.compare) != 2 or words:
        got = " ".join(map(repr, [*chosen.compare, *words]))
        raise JobError(f"--compare takes two run folders, got {got}")
    given = {"--host": chosen.host, "--where": chosen.where, "--sort": chosen.sort}
    given["--grouped"] = chosen.grouped
    for name in [name for name, value in given.items() if value]:
        raise JobError(f"{name} has no effect on --compare; leave it out")
    from seqmodel.job.results.text import as_text, write
    from seqmodel.trust.compare import compare

    found = compare(*chosen.compare)
    if chosen.out:
        write(found.rows(), chosen.out)
        return 0
    text = str(found) if chosen.format == "table" else as_text(found.rows(), chosen.format)
    print(plain(text.rstrip("\n")))
    return 0


def report(argv: Sequence[str]) -> int:
    """Writes one HTML page about a folder of runs."""
    short = [f"--out{word[2:]}" if word.partition("=")[0] == "-o" else word for word in argv]
    chosen, words = given(short, HostHparams, ReportHparams)
    if chosen is None:
        return 0
    folder = only(words, "report", "out")
    from seqmodel.report.page import write_report

    print(write_report(folder, chosen.out, _found(chosen, folder)))
    return 0


def advise(argv: Sequence[str]) -> int:
    """Says what to ask for, from what runs took."""
    chosen, words = given(argv, HostHparams, AdviseHparams)
    if chosen is None:
        return 0
    from seqmodel.job.results.advise import advise as advice

    found = _found(chosen, only(words, "advise", "out")).where(*chosen.where)
    print(plain(advice(found).text(chosen.runs, chosen.at_once)))
    return 0


def watch(argv: Sequence[str]) -> int:
    """Shows a live page of all runs, until Ctrl-C."""
    chosen, words = given(argv, HostHparams, WatchHparams)
    if chosen is None:
        return 0
    folder = only(words, "watch", "out")
    from seqmodel.report.watch import watch as show

    show(lambda: _found(chosen, folder), every_s=chosen.every, once=chosen.once)
    return 0


def search(argv: Sequence[str]) -> int:
    """Submits a search, or goes on with it; docs/search.md describes the file."""
    chosen, words = given(argv, SearchHparams)
    if chosen is None:
        return 0
    from seqmodel.job.search.file import run_file

    file = only(words, "search")
    print(plain(str(run_file(file, dry_run=chosen.dry_run, cancel_left=chosen.cancel_left))))
    return 0
