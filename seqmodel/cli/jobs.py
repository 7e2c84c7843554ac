"""The verbs submit, status, logs, cancel, resume, pull and prune of the command line."""

from __future__ import annotations

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

from seqmodel.errors import ConnectionLost, HparamError, JobError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.hparams import HparamParser, Hparams
from seqmodel.hparam.job import ShellHparams, SlurmHparams, file_path
from seqmodel.hparam.value import did_you_mean, integer, str2bool
from seqmodel.job.job import Job, known_settings
from seqmodel.job.kinds import base_class, classes, refuse_login_node
from seqmodel.job.os_interface import Interface, LocalInterface, SshInterface
from seqmodel.job.prune import OLDER_THAN_MIN
from seqmodel.job.prune import prune as prune_folders
from seqmodel.job.replicate import RECORD, Replicate
from seqmodel.job.state import Status
from seqmodel.job.status_table import COLUMNS, StatusTable, read_status
from seqmodel.terminal import plain, plain_line, plain_log


class WhereHparams(Hparams):
    """The machine, and how jobs are started on it."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--host", help="machine behind SSH, as after ssh; this one unless set")
        add(
            "--scheduler",
            choices=["shell", "slurm"],
            help="job scheduler; if unset: slurm when a --slurm_* setting or --requeue is given, "
            "otherwise the one recorded in the run folder, or shell. submit --host=... asks for "
            "it where the host has Slurm",
        )
        add(
            "--open_master",
            type=str2bool,
            default=False,
            help="open an SSH connection where there is none; else the command for it is told",
        )
        add("--ssh_config", type=file_path, help="another file than ~/.ssh/config")


class SubmitHparams(Hparams):
    """What submit does."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--dry_run", type=str2bool, default=False, help="print the script and make nothing")
        add(
            "--create", type=str2bool, default=False, help="make the replicates; do not submit them"
        )
        add("--n_new", type=integer(1), default=1, help="new replicates of the run")
        add("--n_replicates", type=integer(1), help="top up to so many replicates without error")


class ShowHparams(Hparams):
    """What status and logs show."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--json", type=str2bool, default=False, help="print one JSON object a replicate")
        add("--watch", type=str2bool, default=False, help="show it again every few seconds")
        add("--every_s", type=integer(1), default=10, help="seconds between two looks of --watch")
        add("--stdout", type=str2bool, default=False, help="logs: standard output, not errors")
        add("--follow", type=str2bool, default=False, help="logs: go on until the job ended")
        add("--n_lines", type=integer(1), default=40, help="logs: the last so many lines")


class PullHparams(Hparams):
    """What pull copies."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        add = parser.add_argument
        add("--to", default="pulled", help="folder here")
        add("--checkpoints", type=str2bool, default=True, help="copy checkpoints too")


class PruneHparams(Hparams):
    """What prune removes."""

    tracked = False

    @staticmethod
    def add_hparams(parser: HparamParser) -> None:  # noqa: D102 (the help texts say it)
        parser.add_argument(
            "--older_than_min",
            type=integer(0),
            default=OLDER_THAN_MIN,
            help="minutes in which nothing was written to a folder: a submitter may be at work",
        )


def submit(argv: Sequence[str]) -> int:
    """Submits a run: `seqmodel submit --host=cedar --slurm_account=a --task=masked ...`."""
    words, folders = split(argv)
    own, job_parser = _parser(SubmitHparams), _parser(ShellHparams, SlurmHparams)
    if _help(argv, submit, own, job_parser):
        return 0
    chosen = parse_dict(own, {n: v for n, v in words.items() if n in own.declared})
    rest = {n: v for n, v in words.items() if n not in own.declared}
    settings = {n: v for n, v in rest.items() if n in job_parser.declared}
    hparams = {n: v for n, v in rest.items() if n not in settings}
    if folders:
        return _submit_created(chosen, folders, hparams, settings)
    job = _new_job(chosen, settings)
    if chosen.dry_run:
        print(job.script(**hparams), end="")
        if job.code is not None:
            print("".join(f"# {line}\n" for line in job.code.listing()), end="")
        return 0
    if chosen.create:
        made = job.create_all([hparams] * chosen.n_new)
    elif chosen.n_replicates:
        made = job.replicates(chosen.n_replicates, **hparams)
    else:
        made = job.submit_all([hparams] * chosen.n_new)
    for replicate in made:
        state = "created" if chosen.create else getattr(replicate, "reason", "") or "submitted"
        print(plain_line(f"{replicate.job or '-'}  {state}  {replicate.path}"))
    for name in job.code.withheld() if job.code else ():
        print(f"left out of the copied code: {plain_line(name)}", file=sys.stderr)
    if job.code and "problem" in job.code.record:
        problem = job.code.record["problem"]
        print(f"the commit of the code is not known, only its digest: {problem}", file=sys.stderr)
    if not made:
        print(f"nothing to submit: there are {chosen.n_replicates} replicates already")
    elif job.interface.is_local:  # elsewhere it would be a connection of its own
        from seqmodel.job.results.advise import submit_line

        advice = submit_line(job, [hparams] * len(made))
        if advice:
            print(advice, file=sys.stderr)
    return 0


def _submit_created(
    chosen: Namespace, folders: list[str], hparams: dict[str, Any], settings: dict[str, Any]
) -> int:
    if hparams:
        raise HparamError(
            f"{next(iter(hparams))!r}: a replicate that was created has its hyperparameters; "
            "give folders, or hyperparameters of a new run"
        )
    for job, replicates in _found(chosen, folders):
        for replicate in replicates:
            job.submit(replicate)
            print(plain_line(f"{replicate.job or '-'}  submitted  {replicate.path}"))
    return 0


def status(argv: Sequence[str]) -> int:
    """Tells the states of runs: `seqmodel status [FOLDER ...] [--json] [--watch]`."""
    chosen, folders = _chosen(argv, status, ShowHparams)
    if chosen is None:
        return 0
    while True:
        found = StatusTable(s for f in folders or ["out"] for s in _status(chosen, f))
        if chosen.watch and sys.stdout.isatty():
            print("\033[H\033[J", end="")
        _show(found, as_json=chosen.json)
        if not chosen.watch or all(s.is_final for s in found):
            return 0
        time.sleep(chosen.every_s)


def logs(argv: Sequence[str]) -> int:
    """Shows the end of what jobs wrote: `seqmodel logs FOLDER ... [--follow]`."""
    chosen, folders = _chosen(argv, logs, ShowHparams)
    if chosen is None:
        return 0
    name = "stdout" if chosen.stdout else "stderr"
    groups = _found(chosen, _needed(folders, "logs"))
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
    """Ends jobs that wait or run: `seqmodel cancel FOLDER ...`."""
    chosen, folders = _chosen(argv, cancel)
    if chosen is None:
        return 0
    failed, n = [], 0
    for job, replicates in _found(chosen, _needed(folders, "cancel")):
        active = [
            replicate
            for replicate, s in zip(replicates, _states(job, replicates), strict=True)
            if s.alive or (not s.is_final and (s.queued or s.state == "running"))
        ]
        n += len(active)
        try:
            job.cancel(active)
        except JobError as e:  # the other jobs are ended all the same
            failed.append(e)
            active = getattr(e, "replicates", [])
        for replicate in active:
            print(plain_line(f"cancelled  {replicate.path}"))
    if failed:
        raise failed[0]
    if not n:
        print("nothing to cancel: no job waits or runs there")
    return 0


def resume(argv: Sequence[str]) -> int:
    """Goes on with what timed out or failed: `seqmodel resume FOLDER [--slurm_time_min=600]`."""
    words, folders = split(argv)
    parser = _parser(ShellHparams, SlurmHparams)
    if _help(argv, resume, _parser(), parser):
        return 0
    own = _parser()
    settings = {n: v for n, v in words.items() if n in parser.declared and n not in own.declared}
    chosen = parse_dict(own, {n: v for n, v in words.items() if n not in settings})
    groups = _found(chosen, _needed(folders, "resume"))
    known = known_settings([job for job, _ in groups], settings)
    alive: list[tuple[Job, Status]] = []
    n = 0
    for (job, replicates), given in zip(groups, known, strict=True):
        wanted = []
        for replicate, s in zip(replicates, _states(job, replicates), strict=True):
            if s.state in ("timeout", "error") and s.alive:
                alive.append((job, s))
            elif s.state in ("timeout", "error"):
                wanted.append(replicate)
        n += len(wanted)
        for replicate in job.resume(wanted, **given) if wanted else []:
            print(plain_line(f"{replicate.job or '-'}  resumed  {replicate.path}"))
    for job, s in alive:
        job.refuse_resume(s)
    if not n:
        print("nothing to resume: no run timed out or failed there")
    return 0


def pull(argv: Sequence[str]) -> int:
    """Copies results here: `seqmodel pull --host=cedar FOLDER --to=pulled`."""
    chosen, folders = _chosen(argv, pull, PullHparams)
    if chosen is None:
        return 0
    interface = _interface(chosen)
    for folder in _needed(folders, "pull"):
        name = os.path.basename(folder.rstrip("/"))
        target = chosen.to if len(folders) == 1 else os.path.join(chosen.to, name)
        interface.pull(
            folder, os.path.abspath(target), exclude=[] if chosen.checkpoints else ["*.ckpt"]
        )
        print(target)
    return 0


def prune(argv: Sequence[str]) -> int:
    """Removes half-made folders of submits that were cut off: `seqmodel prune FOLDER ...`."""
    chosen, folders = _chosen(argv, prune, PruneHparams)
    if chosen is None:
        return 0
    for folder in _needed(folders, "prune", "out"):
        pruned = prune_folders(_interface(chosen), folder, chosen.older_than_min)
        for path in pruned.removed:
            print(f"removed  {path}")
        for path, reason in pruned.kept.items():
            print(f"kept     {path}: {reason}")
        if not pruned.removed and not pruned.kept:
            print(f"nothing to remove: no half-made folder below {folder}")
    return 0


def split(argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The names with their values (a list where one is repeated), and the words without a name."""
    words: dict[str, Any] = {}
    folders = []
    for word in argv:
        if not word.startswith("--") or word == "--":
            folders.append(word)
            continue
        name, given, value = word[2:].partition("=")
        value = value if given else "True"
        if name in words:
            before = words[name]
            words[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            words[name] = value
    return words, [word for word in folders if word not in ("--", "-h")]


def _parser(*classes: type[Hparams]) -> HparamParser:
    parser = HparamParser(prog="seqmodel")
    wanted: list[type[Hparams]] = [WhereHparams, *classes]
    for cls in wanted:
        parser.add_class(cls)
    return parser


def _help(argv: Sequence[str], verb: Callable[..., int], *parsers: HparamParser) -> bool:
    if "--help" not in argv and "-h" not in argv:
        return False
    print((verb.__doc__ or "").strip())
    for parser in parsers:
        text = parser.format_help()
        print(text[text.index("\n\n") + 1 :].rstrip())
    if verb is submit:
        print("\nHyperparameters of the run: see seqmodel run --help.")
    return True


def _chosen(
    argv: Sequence[str], verb: Callable[..., int], *classes: type[Hparams]
) -> tuple[Any, list[str]]:
    parser = _parser(*classes)
    if _help(argv, verb, parser):
        return None, []
    words, folders = split(argv)
    return parse_dict(parser, words), folders


def _needed(folders: list[str], verb: str, example: str = "out/<run>/version_0") -> list[str]:
    if not folders:
        raise JobError(f"{verb} wants a folder: seqmodel {verb} {example}")
    return folders


def _interface(chosen: Namespace) -> Interface:
    if not chosen.host:
        return LocalInterface()
    return SshInterface(chosen.host, open_master=chosen.open_master, config=chosen.ssh_config)


def _new_job(chosen: Namespace, settings: dict[str, Any]) -> Job:
    kind = chosen.scheduler
    if kind is None:
        slurm = set(SlurmHparams.default_hparams().declared)
        shell = set(ShellHparams.default_hparams().declared)
        kind = "slurm" if set(settings) & (slurm - shell) else "shell"
    cls, parser = _kind(kind)
    for name in settings:
        if name not in parser.declared:
            hint = did_you_mean(name, list(parser.declared))
            raise HparamError(f"{name!r} has no effect on jobs of the {kind}{hint}; leave it out")
    interface = _interface(chosen)
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
    """The replicates by the class of job that made them, from their records.

    One whose record is damaged or missing becomes so; a half-made one is left out.
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
    """States of a folder: the scheduler is asked where it is known and something is not final."""
    interface = _interface(chosen)
    found = read_status(interface, folder, None)
    by_folder = {s.folder: s for s in found}
    for job, active in _jobs_of(chosen, interface, [s for s in found if not s.is_final]):
        if _is_here(job, interface):
            wanted = {s.folder for s in active}
            told = read_status(interface, folder, job._scheduler())
            by_folder |= {s.folder: s for s in told if s.folder in wanted}
    return StatusTable(by_folder.values())


def _is_here(job: Job, interface: Interface) -> bool:
    """Whether the programs of the scheduler are: a copy of the folder may be anywhere."""
    import shutil

    return not interface.is_local or job.kind != "slurm" or bool(shutil.which("squeue"))


def _found(chosen: Namespace, folders: list[str]) -> list[tuple[Job, list[Replicate]]]:
    """The replicates in each folder, with the job that made them; damaged ones are told."""
    interface = _interface(chosen)
    found = []
    for folder in folders:
        statuses = read_status(interface, folder, None)
        if not statuses:
            raise JobError(
                f"{folder}: no replicates there; give a folder with version_<n> below it"
            )
        groups = _jobs_of(chosen, interface, statuses)
        wrong = [s for s in statuses if s.state == "damaged"]
        if not groups and wrong:
            raise JobError(f"{wrong[0].folder}: damaged: {wrong[0].reason}")
        if not groups:
            raise JobError(f"{statuses[0].folder}: no {RECORD} there; give --scheduler")
        for s in wrong:
            print(f"left out, as it is damaged: {s.folder}: {s.reason}", file=sys.stderr)
        found += [(job, [_replicate(interface, s) for s in group]) for job, group in groups]
    return found


def _replicate(interface: Interface, status: Status) -> Replicate:
    root, name, version = status.folder.rsplit("/", 2)
    return Replicate(interface, root, f"{name}/{version}", status.job)


def _states(job: Job, replicates: list[Replicate]) -> list[Any]:
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
    """What `new` has behind the end of `old`."""
    tail = old[-2000:]
    at = new.rfind(tail) if tail else -1
    return new[at + len(tail) :] if at >= 0 else new
