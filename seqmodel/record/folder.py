"""The folder of a run: its location, and the record of the run. Light.

    <run folder>/hparams.json     all hyperparameters, and `_run`: version, code, host, packages
                 code.diff        changes since the commit, and the user's plugins
                 metrics.csv      one row each time something was logged
                 split.tsv        split of each row, with --split_by=homology
                 usage.json       memory and time of the run, and whether it ended
                 checkpoints/     best.ckpt, last.ckpt
                 lock             during a run: the process that writes here (lock.py)

hparams.json is itself a valid --config. The folder is created after all checks, and no other
run overwrites its files.
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
# through it the other ranks of a launch know the folder of the first rank
FOLDER_VARIABLE = "SEQMODEL_RUN_FOLDER"


def check_folder(run: Run) -> None:
    """Check that the folder is free before anything is read; change nothing.

    Raises:
        RunError: The folder already holds a run, is being written, or cannot be created.
    """
    folder = _given_folder(run)
    if folder is None or is_other_rank():
        return
    there = next((x for x in (folder, *folder.parents) if os.path.lexists(x)), folder)
    if there.exists() and not there.is_dir():
        raise RunError(
            f"--default_root_dir={folder}: {there} is not a folder; set another --default_root_dir"
        )
    if not in_job():  # it waits for the previous attempt, in run_folder
        refuse_if_held(folder)
    _refuse_old_run(run, folder)


def run_folder(run: Run, lock: FolderLock) -> Path:
    """Return the folder of `run`, created if new: the given, the resumed or the next version.

    The first rank holds `lock` from now on.

    Raises:
        RunError: The given folder already holds a run, is being written, or cannot be created.
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
        raise RunError(f"cannot create the run folder {folder}: {e.strerror}") from e
    return _taken(folder)


def _given_folder(run: Run) -> Path | None:
    """Return the folder that the command line names; None means the next version."""
    values = run.values
    if values.default_root_dir:
        return Path(values.default_root_dir)
    if values.resume_from_checkpoint:
        return Path(values.resume_from_checkpoint).resolve().parent.parent
    return None


def _refuse_old_run(run: Run, folder: Path) -> None:
    if _was_run(folder / RECORD) and not run.values.resume_from_checkpoint:
        raise RunError(
            f"{folder} already holds a run; choose another --default_root_dir, or resume it with "
            f"--resume_from_checkpoint={folder / CHECKPOINTS / 'last.ckpt'}"
        )


def _take_over(before: Path, folder: Path) -> None:
    """Copy the scores and the best checkpoint of a run that is resumed in another folder."""
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
    """Return whether a run has begun; a job that was only created has only hparams."""
    if not os.path.lexists(path):
        return False
    try:
        return "_run" in json.loads(read_text(path, RunError))
    except (RunError, ValueError, TypeError, RecursionError):
        return True  # unreadable, so it must not be replaced


def read_record(path: Path) -> dict[str, Any]:
    """Return the hparams.json of a run that has begun.

    Raises:
        RunError: The file is damaged.
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
    raise RunError(f"{path}: is not a record of a run ({reason}); restore it, or move it away")


def name_in(parent: str, run: Run) -> str:
    """Return the name of a run's folder below `parent`; a name from an earlier version is kept."""
    names = [run.canonical(), *run.old_names()]
    return next((name for name in names if os.path.isdir(os.path.join(parent, name))), names[0])


def next_version(parent: Path) -> Path:
    """Create the first free `version_<n>` below `parent`; mkdir succeeds once for each number.

    Raises:
        RunError: The folder cannot be created.
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
        raise RunError(f"cannot create a run folder below {parent}: {e.strerror}") from e


def link_latest(folder: Path) -> None:
    """Link `latest`, next to the run folders, to the folder of this run.

    This applies only to `<root>/<name>/version_<n>`, and not in a job, because many jobs start at
    once. If the link cannot be created, nothing changes.
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
    """Write hparams.json and code.diff; a resumed run adds a line to the existing record.

    The caller holds the lock of the folder, so temporary files of killed attempts are removed.

    Args:
        folder: Path of the run folder.
        run: The run to record.
        data: Digests of its data.
        changed: Changes of the data since the resumed run began, one line each.
        used: Values that the run uses for unset hyperparameters.

    Returns:
        Lines to print about the code and the data.
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
            "allow_changed_data": False,  # allowed only this time, not for later users
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
    """Add values to the record of a run, under `_run`."""
    path = folder / RECORD
    record = read_record(path)
    record["_run"][name] = value
    write_file(path, json.dumps(record, indent=1) + "\n", RunError)


def defaults_digest(run: Run) -> str:
    """Return a digest, 12 hex digits, of all names and defaults, to detect changed defaults."""
    from hashlib import sha256

    defaults = {name: h.default for name, h in sorted(run.parser.declared.items()) if h.tracked}
    return sha256(json.dumps(defaults).encode()).hexdigest()[:12]


def packages() -> dict[str, str]:
    """Return the version of each installed distribution; of duplicates, the imported one."""
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for distribution in distributions():  # in sys.path order: a venv first
        # only the header: the library would parse the README below it, for each field again
        header = (distribution.read_text("METADATA") or "").split("\n\n", 1)[0]
        fields = dict(re.findall(r"^(Name|Version): *(\S.*)$", header, re.MULTILINE))
        name = fields.get("Name") or distribution.metadata["Name"]
        found.setdefault(name, fields.get("Version") or distribution.version)
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
    """Return whether this process is not the first of a launch, so it must not create a folder."""
    ranks = [os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "NODE_RANK")]
    if os.environ.get("SLURM_NTASKS", "1") != "1":
        ranks.append(os.environ.get("SLURM_PROCID", "0"))
    return any(rank != "0" for rank in ranks)


def _folder_of_first_rank(given: str | None) -> Path:
    folder = os.environ.get(FOLDER_VARIABLE) or given
    if not folder:
        raise RunError(
            "processes that srun or torchrun starts need one common run folder; "
            "set --default_root_dir"
        )
    return Path(folder)


def _taken(folder: Path) -> Path:
    os.environ[FOLDER_VARIABLE] = str(folder.resolve())
    return folder
