"""The folder of a run: where it lies, and the record of what was run. Light.

    <run folder>/hparams.json     all hyperparameters, and `_run`: version, code, host, packages
                 code.diff        what the code had beside its commit: changes, the user's plugins
                 metrics.csv      one row each time something was logged
                 split.tsv        split of each row, with --split_by=homology
                 usage.json       memory and time that it took, and whether it ended
                 checkpoints/     best.ckpt, last.ckpt
                 lock             while it runs: the process that writes here (folder_lock.py)

hparams.json is itself a valid --config. The folder appears once everything that can be checked
was checked, and nothing in it is overwritten by another run.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seqmodel import VERSION
from seqmodel.errors import RunError
from seqmodel.files import open_binary, read_text, remove_parts, write_file, writing
from seqmodel.hparam.resolve import Run
from seqmodel.hparam.trust import plugin_digests
from seqmodel.record.lock import FolderLock, in_job, refuse_if_held

SCHEMA = 1
RECORD = "hparams.json"
CHECKPOINTS = "checkpoints"
LATEST = "latest"
# from which the other ranks of a launch know the folder that the first one took
FOLDER_VARIABLE = "SEQMODEL_RUN_FOLDER"


def check_folder(run: Run) -> None:
    """Refuses a folder that is not free, before anything is read; changes nothing.

    Raises:
        RunError: the folder holds a run already, is being written, or cannot be made.
    """
    folder = _given_folder(run)
    if folder is None or is_other_rank():
        return
    there = next((x for x in (folder, *folder.parents) if os.path.lexists(x)), folder)
    if there.exists() and not there.is_dir():
        raise RunError(
            f"--default_root_dir={folder}: {there} is no folder; choose another --default_root_dir"
        )
    if not in_job():  # which waits for the attempt before it, in run_folder
        refuse_if_held(folder)
    _refuse_old_run(run, folder)


def run_folder(run: Run, lock: FolderLock) -> Path:
    """The folder of `run`, made if it is new: as given, of the resumed run, or the next version.

    The first rank holds `lock` from here on.

    Raises:
        RunError: the folder that was given holds a run already, is being written, or cannot be
            made.
    """
    if is_other_rank():
        return _folder_of_first_rank(run.values.default_root_dir)
    folder = _given_folder(run)
    if folder is None:
        folder = next_version(Path("out") / name_in("out", run))
        lock.take(folder)
        return _taken(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.take(folder)
        _refuse_old_run(run, folder)
        if run.values.resume_from_checkpoint:
            _take_over(Path(run.values.resume_from_checkpoint).resolve().parent.parent, folder)
    except OSError as e:
        raise RunError(f"cannot make the run folder {folder}: {e.strerror}") from e
    return _taken(folder)


def _given_folder(run: Run) -> Path | None:
    """The folder that the command line names; None for the next version."""
    values = run.values
    if values.default_root_dir:
        return Path(values.default_root_dir)
    if values.resume_from_checkpoint:
        return Path(values.resume_from_checkpoint).resolve().parent.parent
    return None


def _refuse_old_run(run: Run, folder: Path) -> None:
    if _was_run(folder / RECORD) and not run.values.resume_from_checkpoint:
        raise RunError(
            f"{folder} holds a run already; choose another --default_root_dir, or resume it with "
            f"--resume_from_checkpoint={folder / CHECKPOINTS / 'last.ckpt'}"
        )


def _take_over(before: Path, folder: Path) -> None:
    """Copies the scores and the best checkpoint of a run that is resumed in another folder."""
    import shutil

    for name in ("metrics.csv", f"{CHECKPOINTS}/best.ckpt"):
        source, target = before / name, folder / name
        if source.is_file() and not target.exists():
            with (
                open_binary(source, RunError) as old,
                writing(target, RunError, parents=True) as new,
            ):
                shutil.copyfileobj(old, new)


def _was_run(path: Path) -> bool:
    """Whether a run has begun; a job that only was made leaves its hyperparameters alone."""
    if not os.path.lexists(path):
        return False
    try:
        return "_run" in json.loads(read_text(path, RunError))
    except (RunError, ValueError, TypeError, RecursionError):
        return True  # unreadable: not ours to replace


def read_record(path: Path) -> dict[str, Any]:
    """The hparams.json of a run that has begun.

    Raises:
        RunError: it is damaged.
    """
    text = read_text(path, RunError)
    try:
        record = json.loads(text)
        run = record["_run"]
        resumed, code = run.get("resumed", []), run.get("code", {})
        if isinstance(record, dict) and isinstance(resumed, list) and isinstance(code, dict):
            return record
        reason = "it has other types"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        reason = f"{type(e).__name__}: {e}"
    raise RunError(f"{path}: is no record of a run ({reason}); restore it, or move it away")


def name_in(parent: str, run: Run) -> str:
    """The name of a run's folder below `parent`: one that an earlier version made is kept."""
    names = [run.canonical(), *run.old_names()]
    return next((name for name in names if os.path.isdir(os.path.join(parent, name))), names[0])


def next_version(parent: Path) -> Path:
    """The first free `version_<n>` below `parent`, made: mkdir gives each number out once.

    Raises:
        RunError: the folder cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        n = 0
        while True:
            try:
                (parent / f"version_{n}").mkdir()
                return parent / f"version_{n}"
            except FileExistsError:
                n += 1
    except OSError as e:
        raise RunError(f"cannot make a run folder below {parent}: {e.strerror}") from e


def link_latest(folder: Path) -> None:
    """Makes `latest`, beside the folders of runs, a link to the folder of this run.

    Only for `<root>/<name>/version_<n>`, and not in a job: of many that start at once none is the
    last. What cannot be linked is left as it is.
    """
    if not re.fullmatch(r"version_\d+", folder.name) or in_job():
        return
    root = folder.absolute().parent.parent
    link, aside = root / LATEST, root / f".{LATEST}.{os.uname().nodename}.{os.getpid()}"
    with suppress(OSError):
        if os.path.lexists(link) and not link.is_symlink():
            return
        os.symlink(os.path.join(folder.parent.name, folder.name), aside)
        try:
            os.replace(aside, link)
        except OSError:
            os.unlink(aside)


def write_record(
    folder: Path,
    run: Run,
    data: dict[str, Any],
    changed: Sequence[str] = (),
    used: dict[str, Any] | None = None,
) -> list[str]:
    """Writes hparams.json and code.diff; a resumed run adds a line to the record that is there.

    The caller holds the lock of the folder: what killed attempts left aside there is removed.

    Args:
        folder: the run folder.
        run: the run.
        data: digests of its data.
        changed: what changed in them since the resumed run began, a line each.
        used: what the run uses where a hyperparameter leaves it open.

    Returns:
        What is printed of the code and the data, a line each.
    """
    from seqmodel.record.code import code_record

    for made in (folder, folder / CHECKPOINTS):
        remove_parts(made)
    path, lines = folder / RECORD, list(changed)
    attempt = _attempt(run) | {"used": used or {}}
    attempt |= {"changed_data": list(changed), "data": data} if changed else {}
    code, diff = code_record(run.values.plugins, str(folder))
    code["plugins"] = plugin_digests(run.values.plugins)
    digest = code["digest"]
    if "problem" in code:
        lines.append(f"the commit of the code is not known, only its digest: {code['problem']}")
    if path.exists() and run.values.resume_from_checkpoint:
        record = read_record(path)
        record["_run"].setdefault("resumed", []).append({**attempt, "code": code})
        before = record["_run"].get("code", {}).get("digest", digest)
        if before != digest:
            lines.append(f"the code is not that of the run so far: {digest}, was {before}")
            write_file(folder / f"code.{digest}.diff", diff, RunError)
    else:
        if diff:
            write_file(folder / "code.diff", diff, RunError)
        record = {
            **vars(run.values),
            "allow_changed_data": False,  # allowed for this time, not for what uses the record
            "_run": {
                "schema": SCHEMA,
                "seqmodel": VERSION,
                "name": run.canonical(),
                "defaults": defaults_digest(run),
                "code": code,
                "packages": packages(),
                "data": data,
                **attempt,
            },
        }
    write_file(path, json.dumps(record, indent=1) + "\n", RunError)
    return lines


def add_to_record(folder: Path, name: str, value: object) -> None:
    """Notes something in the record of a run, under `_run`."""
    path = folder / RECORD
    record = read_record(path)
    record["_run"][name] = value
    write_file(path, json.dumps(record, indent=1) + "\n", RunError)


def defaults_digest(run: Run) -> str:
    """Twelve hex digits of all names and defaults, so that a default that moved is noticed."""
    from hashlib import sha256

    defaults = {name: h.default for name, h in sorted(run.parser.declared.items()) if h.tracked}
    return sha256(json.dumps(defaults).encode()).hexdigest()[:12]


def packages() -> dict[str, str]:
    """Every installed distribution and its version: of two with one name that which is imported."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for distribution in distributions():  # in the order of sys.path: a venv before what it extends
        found.setdefault(distribution.metadata["Name"], distribution.version)
    return {name: found[name] for name in sorted(found, key=str.lower)}


def _attempt(run: Run) -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": os.uname().nodename,
        "python": sys.version.split()[0],
        "command": [Path(sys.argv[0]).name, *run.to_args()],
        "from_checkpoint": run.values.resume_from_checkpoint,
    }


def is_other_rank() -> bool:
    """Whether this process is not the first of a launch: it finds the folder, and makes none."""
    ranks = [os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "NODE_RANK")]
    if os.environ.get("SLURM_NTASKS", "1") != "1":
        ranks.append(os.environ.get("SLURM_PROCID", "0"))
    return any(rank != "0" for rank in ranks)


def _folder_of_first_rank(given: str | None) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE) or given
    if not folder:
        raise RunError(
            "with several processes started from outside (srun, torchrun) the run folder must be "
            "one for all: give --default_root_dir"
        )
    return Path(folder)


def _taken(folder: Path) -> Path:
    os.environ[FOLDER_VARIABLE] = str(folder.resolve())
    return folder
