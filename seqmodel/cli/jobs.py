"""The verbs submit, status, logs, cancel, resume, pull and prune of the command line."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from seqmodel.cli.given import (
    given,
    interface_of,
    needed,
    parser_of,
    refuse_unclear,
    show_help,
)
from seqmodel.errors import ConnectionLost, HparamError, JobError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.help import asked_help
from seqmodel.hparam.hparams import Hparams
from seqmodel.hparam.job import ShellHparams, SlurmHparams, SubmitHparams, WhereHparams
from seqmodel.hparam.parser import HparamParser, find
from seqmodel.hparam.resolve import read_given
from seqmodel.hparam.synonyms import hint
from seqmodel.hparam.value import OUTPUT, integer, path, str2bool
from seqmodel.hparam.verb import PARTED
from seqmodel.hparam.words import Words, read_words, refuse_stray
from seqmodel.job import seeds
from seqmodel.job.job import Job
from seqmodel.job.kinds import base_class, classes, refuse_login_node
from seqmodel.job.making import known_settings
from seqmodel.job.os_interface import Interface
from seqmodel.job.prune import OLDER_THAN_MIN
from seqmodel.job.prune import prune as prune_folders
from seqmodel.job.replicate import RECORD, Replicate
from seqmodel.job.state import Status
from seqmodel.job.status_table import COLUMNS, StatusTable, read_hparams, read_status
from seqmodel.terminal import plain, plain_line, plain_log


class ShowHparams(Hparams):
    """Options of status and logs."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add(
            "--json", type=str2bool, default=False, help="Print one JSON object for each replicate."
        )
        add(
            "--watch",
            type=str2bool,
            default=False,
            help="Refresh the table until all runs have ended (status).",
        )
        add(
            "--every_s",
            type=integer(1),
            default=10,
            help="Number of seconds between two refreshes of --watch.",
        )
        add(
            "--stdout",
            type=str2bool,
            default=False,
            help="Show standard output instead of standard error (logs).",
        )
        add(
            "--follow",
            type=str2bool,
            default=False,
            help="Print new lines until the job ends (logs).",
        )
        add(
            "--n_lines",
            type=integer(1),
            default=40,
            help="Number of lines to show from the end (logs).",
        )


class PullHparams(Hparams):
    """Options of pull."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add(
            "--to",
            type=path(OUTPUT),
            default="pulled",
            help="Folder on this host to which the results are copied.",
        )
        add("--checkpoints", type=str2bool, default=True, help="Copy the checkpoints too.")


class PruneHparams(Hparams):
    """Options of prune."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        parser.add_argument(
            "--older_than_min",
            type=integer(0),
            default=OLDER_THAN_MIN,
            help="Number of minutes without a write after which a half-made folder is removed. A "
            "younger one may belong to a submission in progress.",
        )


def submit(argv: Sequence[str]) -> int:
    """Submit a run, or replicates that were created."""
    if asked_help(argv) is not None:
        show_help(argv, SubmitHparams, WhereHparams, ShellHparams, SlurmHparams)
        print("Add the options of the run (seqmodel run --help), or those of --verb (its --help).")
        return 0
    own, job_parser = parser_of(WhereHparams, SubmitHparams), parser_of(ShellHparams, SlurmHparams)
    takes = {**own.takes(), **job_parser.takes()}
    words = read_words(argv, takes)  # hyperparameters of the run are unknown here
    chosen = parse_dict(own, {n: v for n, v in words.values.items() if n in own.declared})
    settings = {n: v for n, v in words.values.items() if n in job_parser.declared}
    if not words.unknown:
        refuse_unclear(words, "submit")
    SubmitHparams.checks(chosen)
    if chosen.verb:
        return _submit_verb(chosen, settings, argv, takes)
    if words.free and not words.unknown:
        return _submit_created(chosen, words, settings)
    job = _new_job(chosen, settings)
    words = read_given(argv, takes, job.header)
    hparams = {n: v for n, v in (words.values | words.unknown).items() if n not in takes}
    if words.free:
        raise HparamError(
            f"stray word {words.free[0]!r}: a replicate that was created has its hyperparameters; "
            "give folders and job options only, or --name=value for those of a new run"
        )
    if hparams.get("table") and (guessed := job.resolve(hparams).guessed):
        print(plain(str(guessed)), file=sys.stderr)
        hparams = {**guessed.values, **{n: v for n, v in hparams.items() if n != "table"}}
    if chosen.dry_run:
        return _show_script(job, hparams)
    n, runs = chosen.n_replicates or chosen.n_new, [hparams]
    if n:
        runs = seeds.replicates(
            job, n, hparams, new=not chosen.n_replicates, same_seed=chosen.same_seed
        )
    made = job.create_all(runs) if chosen.create else job.submit_all(runs)
    _show_made(job, made, chosen)
    for replicate in made if not chosen.same_seed else ():
        if replicate.version:
            print(
                f"version_{replicate.version} repeats a run with its seed, so a complete one has "
                "the same result; for replicates with other seeds use --n_replicates or --n_new",
                file=sys.stderr,
            )
            break
    if not made:
        print(f"nothing to submit: {n} replicates exist already")
    # elsewhere it would need a separate connection; a single process asks for nothing
    elif job.interface.is_local and (len(made) > 1 or job.kind == "slurm"):
        from seqmodel.job.results.advise import submit_line

        advice = submit_line(job, runs)
        if advice:
            print(advice, file=sys.stderr)
    return 0


def _submit_verb(
    chosen: Namespace, settings: dict[str, Any], argv: Sequence[str], takes: dict[str, str]
) -> int:
    parser = PARTED[chosen.verb].default_hparams()
    words = read_words(argv, {**parser.takes(), **takes})
    for name in words.unknown:
        parser.hparam(name)
    refuse_stray(words.free, parser.declared)
    hparams = {n: v for n, v in words.values.items() if n in parser.declared}
    hparams |= {"verb": chosen.verb, "n_parts": chosen.n_parts}
    job = _new_job(chosen, settings)
    if chosen.dry_run:
        return _show_script(job, hparams)
    made = job.create_all([hparams]) if chosen.create else job.submit_all([hparams])
    _show_made(job, made, chosen)
    return 0


def _show_script(job: Job, hparams: dict[str, Any]) -> int:
    print(job.script(**hparams), end="")
    if job.code is not None:
        print("".join(f"# {line}\n" for line in job.code.listing()), end="")
    return 0


def _show_made(job: Job, made: Sequence[Replicate], chosen: Namespace) -> None:
    for replicate in made:
        state = "created" if chosen.create else replicate.reason or "submitted"
        print(plain_line(f"{replicate.job or '-'}  {state}  {replicate.path}"))
    for name in job.code.withheld() if job.code else ():
        print(f"not copied with the code: {plain_line(name)}", file=sys.stderr)
    if job.code and "problem" in job.code.record:
        problem = job.code.record["problem"]
        no_commit = f"the record has the digest of the code but no commit: {problem}"
        print(plain_line(no_commit), file=sys.stderr)


def _submit_created(chosen: Namespace, words: Words, settings: dict[str, Any]) -> int:
    where = WhereHparams.default_hparams().declared
    for name in words.values:
        if name not in where and name not in settings:
            raise HparamError(
                f"--{name} has no effect: a replicate that was created has its hyperparameters; "
                "give folders and job options only, or the hyperparameters of a new run"
            )
    groups = _found(chosen, words.free)
    known = known_settings([job for job, _ in groups], settings)
    for (job, replicates), changed in zip(groups, known, strict=True):
        for replicate, s in zip(replicates, _states(job, replicates), strict=True):
            if s.queued or s.state in ("running", "complete"):
                what = "queued" if s.queued else s.state
                print(plain_line(f"{s.job or '-'}  {what} already  {replicate.path}"))
                continue
            job.submit(replicate, **changed)
            print(plain_line(f"{replicate.job or '-'}  submitted  {replicate.path}"))
    return 0


def status(argv: Sequence[str]) -> int:
    """Show the states of runs."""
    chosen, folders = given(argv, WhereHparams, ShowHparams)
    if chosen is None:
        return 0
    while True:
        tables = [_status(chosen, folder) for folder in folders or ["out"]]
        found = StatusTable(s for table in tables for s in table)
        if chosen.watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        _show(found, as_json=chosen.json)
        for problem in dict.fromkeys(table.problem for table in tables if table.problem):
            print(problem, file=sys.stderr)
        if not chosen.watch or all(s.is_final for s in found):
            return 0
        time.sleep(chosen.every_s)


def logs(argv: Sequence[str]) -> int:
    """Show the last lines of the logs of jobs."""
    chosen, folders = given(argv, WhereHparams, ShowHparams)
    if chosen is None:
        return 0
    name = "stdout" if chosen.stdout else "stderr"
    groups = _found(chosen, needed(folders, "logs"))
    n = sum(len(replicates) for _, replicates in groups)
    for job, replicates in groups:
        for replicate in replicates:
            if n > 1:
                print(plain_line(f"==> {replicate.path} <=="))
            try:
                text = job.logs(replicate, name=name, n_lines=chosen.n_lines)
            except ConnectionLost:
                raise
            except JobError as e:
                if n == 1:
                    raise
                print(plain(str(e)))
                continue
            print(plain_log(text), end="")
            while chosen.follow:
                final = job.status([replicate])[0].is_final
                new = job.logs(replicate, name=name, n_lines=1000)
                print(plain_log(_after(text, new)), end="", flush=True)
                text = new
                if final:
                    break
                time.sleep(2)
    return 0


def cancel(argv: Sequence[str]) -> int:
    """Cancel jobs that are waiting or running."""
    chosen, folders = given(argv, WhereHparams)
    if chosen is None:
        return 0
    failed, n = [], 0
    for job, replicates in _found(chosen, needed(folders, "cancel")):
        active = [
            replicate
            for replicate, s in zip(replicates, _states(job, replicates), strict=True)
            if s.alive or (not s.is_final and (s.queued or s.state == "running"))
        ]
        n += len(active)
        try:
            job.cancel(active)
        except JobError as e:  # the other jobs are cancelled anyway
            failed.append(e)
            active = list(e.replicates)
        for replicate in active:
            print(plain_line(f"cancelled  {replicate.path}"))
    if failed:
        raise failed[0]
    if not n:
        print("nothing to cancel: no job is waiting or running there")
    return 0


def resume(argv: Sequence[str]) -> int:
    """Resume runs that timed out, failed or were refused by the scheduler."""
    if asked_help(argv) is not None:
        show_help(argv, WhereHparams, ShellHparams, SlurmHparams)
        return 0
    own, job_parser = parser_of(WhereHparams), parser_of(ShellHparams, SlurmHparams)
    words = read_words(argv, {**own.takes(), **job_parser.takes()})
    for name in words.unknown:
        find({**own.declared, **job_parser.declared}, name)
    refuse_unclear(words, "resume")
    settings = {n: v for n, v in words.values.items() if n in job_parser.declared}
    chosen = parse_dict(own, {n: v for n, v in words.values.items() if n in own.declared})
    groups = _found(chosen, needed(words.free, "resume"))
    known = known_settings([job for job, _ in groups], settings)
    alive: list[tuple[Job, Status]] = []
    n = n_created = 0
    for (job, replicates), changed in zip(groups, known, strict=True):
        wanted = []
        for replicate, s in zip(replicates, _states(job, replicates), strict=True):
            if s.can_resume:
                wanted.append(replicate)
            elif s.state in ("timeout", "error"):
                alive.append((job, s))
            n_created += s.state == "created" and not s.queued and not s.can_resume
        n += len(wanted)
        for replicate in job.resume(wanted, **changed) if wanted else []:
            print(plain_line(f"{replicate.job or '-'}  resumed  {replicate.path}"))
    for job, s in alive:
        job.refuse_resume(s)
    if not n:
        created = f"; {n_created} only created: `seqmodel submit` submits them" if n_created else ""
        print(f"nothing to resume: no run timed out, failed or was refused there{created}")
    return 0


def pull(argv: Sequence[str]) -> int:
    """Copy results to this host."""
    chosen, folders = given(argv, WhereHparams, PullHparams)
    if chosen is None:
        return 0
    interface = interface_of(chosen)
    for folder in needed(folders, "pull"):
        name = os.path.basename(folder.rstrip("/"))
        target = chosen.to if len(folders) == 1 else os.path.join(chosen.to, name)
        interface.pull(
            folder, os.path.abspath(target), exclude=[] if chosen.checkpoints else ["*.ckpt"]
        )
        print(plain_line(target))
    return 0


def prune(argv: Sequence[str]) -> int:
    """Remove half-made folders of submissions that were interrupted."""
    chosen, folders = given(argv, WhereHparams, PruneHparams)
    if chosen is None:
        return 0
    for folder in needed(folders, "prune", "out"):
        pruned = prune_folders(interface_of(chosen), folder, chosen.older_than_min)
        for removed in pruned.removed:
            print(plain_line(f"removed  {removed}"))
        for kept, reason in pruned.kept.items():
            print(plain_line(f"kept     {kept}: {reason}"))
        if not pruned.removed and not pruned.kept:
            print(plain_line(f"nothing to remove: no half-made folder below {folder}"))
    return 0


def _new_job(chosen: Namespace, settings: dict[str, Any]) -> Job:
    kind = chosen.scheduler
    if kind is None:
        slurm = set(SlurmHparams.default_hparams().declared)
        shell = set(ShellHparams.default_hparams().declared)
        kind = "slurm" if set(settings) & (slurm - shell) else "shell"
    cls, parser = _kind(kind)
    for name in settings:
        if name not in parser.declared:
            raise HparamError(
                f"{name!r} has no effect on jobs of the {kind}; leave it out"
                f"{hint(name, parser.declared)}"
            )
    interface = interface_of(chosen)
    if chosen.scheduler is None and kind == "shell" and not chosen.dry_run:
        choices = "--scheduler=slurm (a job in its queue) or --scheduler=shell (a process there)"
        refuse_login_node(interface, choices)
    return cls(interface, **settings)


def _kind(name: str) -> tuple[type[Job], HparamParser]:
    if name == "slurm":
        from seqmodel.job.slurm import SlurmJob

        return SlurmJob, SlurmHparams.default_hparams()
    from seqmodel.job.shell import ShellJob

    return ShellJob, ShellHparams.default_hparams()


def _jobs_of(
    chosen: Namespace, interface: Interface, statuses: Sequence[Status]
) -> list[tuple[Job, list[Status]]]:
    """Return the replicates by the class of the job that created them, from their records.

    A replicate whose record is damaged or missing gets that state; a half-made one is left out.
    """
    whole = [s for s in statuses if s.state != "damaged" and s.reason != "half-made"]
    default = base_class(chosen.scheduler) if chosen.scheduler else None
    known = classes(interface, whole, default)
    groups: dict[tuple[type[Job], str], list[Status]] = {}
    for status in whole:
        if status.folder in known:
            root = status.folder.rsplit("/", 2)[0]
            groups.setdefault((known[status.folder], root), []).append(status)
    return [(cls(interface, job_out_dir=root), found) for (cls, root), found in groups.items()]


def _status(chosen: Namespace, folder: str) -> StatusTable:
    """Return the states of a folder; ask the scheduler if it is known and a state is not final."""
    interface = interface_of(chosen)
    found = read_status(interface, folder, None)
    by_folder, problem = {s.folder: s for s in found}, ""
    for job, active in _jobs_of(chosen, interface, [s for s in found if not s.is_final]):
        if _is_here(job, interface):
            wanted = {s.folder for s in active}
            scheduler = job.scheduler()
            fresh = read_status(interface, folder, scheduler)
            by_folder |= {s.folder: s for s in fresh if s.folder in wanted}
            problem = problem or scheduler.problem
    return StatusTable(read_hparams(interface, list(by_folder.values())), problem)


def _is_here(job: Job, interface: Interface) -> bool:
    """Return whether the scheduler's programs exist here; a copied folder may be on any host."""
    import shutil

    return not interface.is_local or job.kind != "slurm" or bool(shutil.which("squeue"))


def _found(chosen: Namespace, folders: list[str]) -> list[tuple[Job, list[Replicate]]]:
    """Return the replicates in each folder with the job that created them; report damaged ones."""
    interface = interface_of(chosen)
    found = []
    for folder in folders:
        statuses = read_status(interface, folder, None)
        if not statuses:
            raise JobError(
                f"{folder}: no replicates there; give a folder that contains version_<n>"
            )
        groups = _jobs_of(chosen, interface, statuses)
        wrong = [s for s in statuses if s.state == "damaged"]
        if not groups and wrong:
            raise JobError(f"{wrong[0].folder}: damaged: {wrong[0].reason}")
        if not groups:
            raise JobError(f"{statuses[0].folder}: no {RECORD} there; give --scheduler")
        for s in wrong:
            left_out = f"left out, because it is damaged: {s.folder}: {s.reason}"
            print(plain_line(left_out), file=sys.stderr)
        found += [(job, [_replicate(interface, s) for s in group]) for job, group in groups]
    return found


def _replicate(interface: Interface, status: Status) -> Replicate:
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(interface, root, f"{name}/{version}", status.job)


def _states(job: Job, replicates: list[Replicate]) -> list[Status]:
    by_path = {s.folder: s for s in job.status(replicates)}
    return [by_path[replicate.path] for replicate in replicates]


def _show(found: StatusTable, *, as_json: bool) -> None:
    if as_json:
        import json

        for status in found:
            print(json.dumps(status.to_dict()))
        return
    if sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            pass
        else:
            table = Table(*COLUMNS)
            for row in found.rows():
                table.add_row(*(Text(cell) for cell in row))
            Console().print(table)
            return
    print(found.text())


def _after(old: str, new: str) -> str:
    """Return the part of `new` after the end of `old`."""
    tail = old[-2000:]
    at = new.rfind(tail) if tail else -1
    return new[at + len(tail) :] if at >= 0 else new
