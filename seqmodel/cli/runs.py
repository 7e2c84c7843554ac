"""`seqmodel results | report | search | advise | watch`: their options. Light.

seqmodel/cli/verbs.py calls each function with the words after the verb; it returns the exit code.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seqmodel.cli.given import given, interface_of, only
from seqmodel.errors import JobError
from seqmodel.heavy import heavy_imports
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.job import HostHparams
from seqmodel.hparam.parser import HparamParser
from seqmodel.hparam.value import OUTPUT, integer, number, path, str2bool
from seqmodel.terminal import plain, plain_line

if TYPE_CHECKING:
    from seqmodel.job.results.table import Results


class ResultsHparams(Hparams):
    """Options of results."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add(
            "--where",
            nargs="*",
            help="Conditions that runs must meet, such as state=complete 'lr<1e-3'. If unset: all "
            "runs.",
        )
        add(
            "--sort",
            help="Column by which runs are sorted; scores from best to worst. If unset: by folder.",
        )
        add(
            "--grouped",
            type=str2bool,
            default=False,
            help="Show the mean over replicates with its 95 % interval, the standard deviation "
            "and n.",
        )
        add(
            "--compare",
            type=path(),
            nargs="*",
            help="Two run folders: show their test scores and whether one is better than the "
            "other. If unset: no comparison.",
        )
        add(
            "--format",
            choices=["table", "csv", "tsv", "md", "tex", "json"],
            default="table",
            help="Format of the printed table.",
        )
        add(
            "--out",
            type=path(OUTPUT),
            help="File to write: .csv .tsv .md .tex .json .parquet. If unset: the table is "
            "printed.",
        )


class ReportHparams(Hparams):
    """Options of report."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        parser.add_argument(
            "--out",
            type=path(OUTPUT),
            default="report.html",
            help="HTML file to write. -o is the short form.",
        )


class AdviseHparams(Hparams):
    """Options of advise."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add(
            "--runs",
            type=integer(0),
            default=0,
            help="Number of runs to submit, whose total cost is shown. 0: not shown.",
        )
        add(
            "--where",
            nargs="*",
            help="Conditions that the runs to learn from must meet, such as encoder=cnn. If "
            "unset: all runs.",
        )
        add(
            "--at_once",
            type=integer(0),
            help="Number of runs at the same time, for which the total time is shown. If unset: "
            "not shown.",
        )


class WatchHparams(Hparams):
    """Options of watch."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        seconds = number(0, 1e6, open_lo=True, open_hi=True)
        parser.add_argument(
            "--every", type=seconds, default=5, help="Number of seconds between two refreshes."
        )
        parser.add_argument(
            "--once", type=str2bool, default=False, help="Show the page once and exit."
        )


class SearchHparams(Hparams):
    """Options of search."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add(
            "--dry_run",
            type=str2bool,
            default=False,
            help="Print what would be submitted, but submit nothing.",
        )
        add(
            "--cancel_left",
            type=str2bool,
            default=False,
            help="Cancel the jobs of points that are no longer in the search.",
        )


def _found(chosen: Namespace, folder: str) -> Results:
    from seqmodel.job.results.table import results

    return results(folder, interface_of(chosen)) if chosen.host else results(folder)


def results(argv: Sequence[str]) -> int:
    """Show one row for each replicate, or means over replicates."""
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
    """Show whether one of two runs is better than the other."""
    if len(chosen.compare) != 2 or words:
        got = " ".join(map(repr, [*chosen.compare, *words]))
        raise JobError(f"--compare takes two run folders, got {got}")
    given = {"--host": chosen.host, "--where": chosen.where, "--sort": chosen.sort}
    given["--grouped"] = chosen.grouped
    for name in [name for name, value in given.items() if value]:
        raise JobError(f"{name} has no effect with --compare; leave it out")
    from seqmodel.job.results.text import as_text, write

    with heavy_imports(freeze=True):
        from seqmodel.trust.compare import compare

    found = compare(*chosen.compare)
    if chosen.out:
        write(found.rows(), chosen.out)
        return 0
    text = str(found) if chosen.format == "table" else as_text(found.rows(), chosen.format)
    print(plain(text.rstrip("\n")))
    return 0


def report(argv: Sequence[str]) -> int:
    """Write an HTML report of a folder of runs."""
    short = [f"--out{word[2:]}" if word.partition("=")[0] == "-o" else word for word in argv]
    chosen, words = given(short, HostHparams, ReportHparams)
    if chosen is None:
        return 0
    folder = only(words, "report", "out")
    from seqmodel.report.page import write_report

    written = write_report(folder, chosen.out, _found(chosen, folder) if chosen.host else None)
    print(plain_line(written))
    return 0


def advise(argv: Sequence[str]) -> int:
    """Show which resources to request, based on finished runs."""
    chosen, words = given(argv, HostHparams, AdviseHparams)
    if chosen is None:
        return 0
    from seqmodel.job.results.advise import advise as advice

    found = _found(chosen, only(words, "advise", "out")).where(*chosen.where)
    print(plain(advice(found).text(chosen.runs, chosen.at_once)))
    return 0


def watch(argv: Sequence[str]) -> int:
    """Show a live page of all runs, until Ctrl-C."""
    chosen, words = given(argv, HostHparams, WatchHparams)
    if chosen is None:
        return 0
    folder = only(words, "watch", "out")
    from seqmodel.report.watch import watch as show

    show(lambda: _found(chosen, folder), every_s=chosen.every, once=chosen.once)
    return 0


def search(argv: Sequence[str]) -> int:
    """Submit or resume a search; docs/search.md describes the file."""
    chosen, words = given(argv, HostHparams, SearchHparams)
    if chosen is None:
        return 0
    from seqmodel.job.search.file import run_file

    file = only(words, "search")
    names = ("host", "ssh_config", "open_master")
    where = {name: getattr(chosen, name) for name in names if getattr(chosen, name)}
    done = run_file(file, dry_run=chosen.dry_run, cancel_left=chosen.cancel_left, where=where)
    print(plain(str(done)))
    return 0
