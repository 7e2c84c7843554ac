"""The content of a new replicate's folder: the fields of its script, its records and its code.

Job (job.py) decides where and when; this module decides what is written. Standard library only.
"""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from seqmodel.errors import CheckpointError, ConnectionLost, JobError
from seqmodel.files import read_bytes
from seqmodel.hparam.header import HEADER, MOST_BYTES, parse_header
from seqmodel.hparam.resolve import Run
from seqmodel.job import agent
from seqmodel.job.agent import KEPT
from seqmodel.job.os_interface import Interface
from seqmodel.job.replicate import SCHEMA, Place, Replicate, script_name, tracked_defaults
from seqmodel.job.verb import VerbRun, args_in

if TYPE_CHECKING:
    from seqmodel.record.code import Code

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip")
_SWITCHES = ("stage_code", "stage_data", "fast_dev_run_first", "checkpoint_check", "heartbeat_s")


def template_fields(
    run: Run, settings: Namespace, place: Place, canonical: str, n: int, code: Code
) -> dict[str, Any]:
    """Return the fields of the template of replicate `n`, except those that depend on the host."""
    folder = f"{place.root}/{canonical}/version_{n}"
    kept = f"{place.root}/{KEPT}/code"
    extra = settings.stage_paths
    _check_stage_paths(extra)
    return {
        "title": f"seqmodel: {canonical} version_{n}",
        "folder": folder,
        "script": f"{folder}/{script_name(canonical, n)}",
        "token": os.urandom(6).hex(),
        "args": args_in(run, place.workdir),
        "workdir": place.workdir,
        "code_archive": f"{kept}/{code.digest}.tar.gz",
        "data_files": [path for path in data_files(run) if path not in extra],
        "stage_paths": extra,
        "archives": [path for path in extra if path.endswith(ARCHIVES)],
        "venv": settings.venv,
        "requirements": settings.requirements,
        "wheels": settings.wheels,
        "modules": settings.modules,
        "setup": settings.setup,
        "env": settings.env,
        "node_storage": settings.node_storage,
        "node_functions": f"{kept}/{node_functions()[0]}",
        "n_nodes": run.values.num_nodes,
        "n_ranks": run.values.num_nodes * run.values.devices,
        **{name: getattr(settings, name) for name in _SWITCHES},
    }


def needs(settings: Namespace) -> list[tuple[str, str, str]]:
    """List what the settings name on the host of the job: flag, kind (x f d, see `test`), path."""
    found = []
    if settings.venv:
        found.append(("--venv", "x", f"{settings.venv.rstrip('/')}/bin/python"))
    if settings.python and ("/" in settings.python or settings.python == "~"):
        found.append(("--python", "x", settings.python))
    if settings.requirements:
        found.append(("--requirements", "f", settings.requirements))
    if settings.wheels:
        found.append(("--wheels", "d", settings.wheels))
    return found


def replicate_files(
    replicate: Replicate,
    run: Run,
    settings: Namespace,
    code: Code,
    more: Mapping[str, Any],
    script: str,
) -> dict[str, bytes]:
    """Return the files of a new replicate. `events` is last, because it completes the folder.

    Args:
        replicate: Replicate that the files belong to.
        run: Run with the hyperparameters of the replicate.
        settings: Settings of the job.
        code: Code that the job will run.
        more: `kind`, `base`, `class`, `given` and `fields` of the record.
        script: Text of the script.
    """
    tracked = run.parser.declared
    record = {
        "schema": SCHEMA,
        **more,
        "interface": replicate.interface.name,
        "canonical": replicate.canonical,
        "version": replicate.version,
        "changed": {n: v for n, v in run.changed().items() if tracked[n].tracked},
        "defaults": tracked_defaults(run),
        "settings": vars(settings),
        "code": {**code.record, "diff": bool(code.record.get("diff")), "digest": code.digest},
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "made_on": os.uname().nodename,
        "made_by": os.environ.get("USER") or str(os.getuid()),
    }
    token = more["fields"]["token"]
    contents = {
        replicate.script_name: script,
        "job.json": json.dumps(record, indent=1, default=os.fspath) + "\n",
        "stdout": "",
        "stderr": "",
        "events": f"{int(time.time())} created token={token} grace_s={settings.grace_s} "
        f"kind={more['base']} class={more['class']}\n",
    }
    if not isinstance(run, VerbRun):  # a verb is not a run, so it leaves no record of one
        contents = {"hparams.json": json.dumps(vars(run.values), indent=1) + "\n", **contents}
    return {
        f"{replicate.folder}/{name}": text.encode("utf-8", "surrogateescape")
        for name, text in contents.items()
    }


def refuse_foreign(replicate: Replicate, fields: Mapping[str, Any]) -> None:
    """Refuse to submit the job of another user again, because it runs what its record names.

    Raises:
        JobError: The folder is a copy, or belongs to another user.
    """
    if not replicate.interface.is_local:
        return
    made = str(fields.get("folder"))
    if os.path.realpath(made) != os.path.realpath(replicate.path):
        raise JobError(
            f"{replicate.path} is a copy of {made}, and its script runs what "
            "that record names; submit a new run, with --load_checkpoint_path for its weights"
        )
    owner = os.stat(f"{replicate.path}/job.json").st_uid
    if os.getuid() not in (0, owner):
        raise JobError(
            f"{replicate.path} belongs to another user (uid {owner}), and resuming it would run "
            "what its record names; submit a new run"
        )


def code_files(code: Code) -> dict[str, bytes]:
    """Return the files that keep a state of the code: the archive, its origin and its diff."""
    record = {**code.record, "diff": None, "left_out": code.withheld()}
    files = {
        f"{KEPT}/code/{code.digest}.json": (json.dumps(record, indent=1) + "\n").encode(),
        f"{KEPT}/code/{code.digest}.tar.gz": code.archive(),
    }
    if code.record.get("diff"):
        files[f"{KEPT}/code/{code.digest}.diff"] = code.record["diff"].encode()
    return files


_functions: list[tuple[str, bytes]] = []


def node_functions() -> tuple[str, bytes]:
    """Return a file name for node.sh, derived from its content, and the content."""
    if not _functions:
        from hashlib import sha256

        from seqmodel.record.code import PACKAGE

        data = read_bytes(f"{PACKAGE}/job/script/node.sh", JobError)
        _functions.append((f"node-{sha256(data).hexdigest()[:12]}.sh", data))
    return _functions[0]


def header_there(interface: Interface, path: str, workdir: str) -> dict[str, Any]:
    """Read the header of a checkpoint on the host of a job, relative to its working directory.

    Raises:
        CheckpointError: The file is missing, is no seqmodel checkpoint, or is from a newer version.
    """
    try:
        data = interface.call(
            agent.zip_member, path=path, workdir=workdir, name=HEADER, most=MOST_BYTES
        )
    except ConnectionLost:
        raise
    except JobError as e:
        raise CheckpointError(
            f"{path}: cannot read a seqmodel checkpoint there ({e}); give the path of a .ckpt file"
        ) from e
    return parse_header(data, f"{path} on {interface.name}")


def data_files(run: Run) -> list[str]:
    """List the files below workdir that the run reads; the node copies them."""
    paths = dict.fromkeys(path for _, path in run.files)
    return [path for path in paths if _is_below(path) and "\n" not in path]  # du: one line per file


def _is_below(path: str) -> bool:
    return not path.startswith(("/", "~")) and ".." not in path.split("/")


def _check_stage_paths(paths: Iterable[str]) -> None:
    for path in paths:
        if not _is_below(path):
            raise JobError(f"stage_paths: {path!r} must be a relative path below workdir")
