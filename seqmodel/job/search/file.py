"""A search defined in TOML, for `seqmodel search FILE.toml`; see docs/search.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from seqmodel.errors import JobError
from seqmodel.files import CORRECT_IT, read_text, reading
from seqmodel.hparam.value import did_you_mean
from seqmodel.job.search.space import Range, choice, integer, log_uniform, uniform

KINDS = ("grid", "random", "list", "adaptive")
_TOP = ("kind", "name", "folder", "n", "seed", "n_replicates", "retry", "job", "base", "space")
_ADAPTIVE = ("sampler", "pruner", "n_at_once", "metric")
_JOB = ("kind", "host", "ssh_config", "open_master")
_TEXTS = ("name", "folder", "retry", "sampler", "pruner", "metric")
_COUNTS = ("n", "n_replicates", "n_at_once")
_TABLES = ("job", "base", "space")
_RANGES: dict[str, Any] = {"uniform": uniform, "log_uniform": log_uniform, "integer": integer}


def run_file(
    path: str,
    *,
    dry_run: bool = False,
    cancel_left: bool = False,
    where: Mapping[str, Any] | None = None,
) -> str:
    """Submit or resume the search of a file; return a text for the user.

    Args:
        path: Path of the file.
        dry_run: Submit nothing.
        cancel_left: Cancel the jobs of points that are no longer in the search.
        where: Host, ssh_config and open_master, which override those in the file.

    Raises:
        JobError: The file cannot be read, or has an unknown entry.
        HparamError: A point is invalid; nothing was submitted.
    """
    given = read_file(path)
    from seqmodel.job.search import fixed

    kind = given["kind"]
    base, job = given.get("base", {}), make_job({**given.get("job", {}), **(where or {})})
    options: dict[str, Any] = {name: given[name] for name in ("name", "folder") if name in given}
    if kind == "adaptive":
        from seqmodel.job.search.adaptive import adaptive

        options |= {name: given[name] for name in ("seed", *_ADAPTIVE) if name in given}
        if dry_run:
            raise JobError(
                "--dry_run cannot be used with an adaptive search, because later "
                "trials depend on earlier results; remove it"
            )
        return repr(adaptive(job, base, space_of(given), n=given.get("n", 50), **options))
    options |= {n: given[n] for n in ("n_replicates", "retry") if n in given}
    options["dry_run"] = dry_run
    if kind == "grid":
        found = fixed.grid(job, base, space_of(given), **options)
    elif kind == "list":
        found = fixed.from_list(job, base, given.get("points", []), **options)
    else:
        n, seed = given.get("n", 10), given.get("seed", 0)
        found = fixed.random(job, base, space_of(given), n=n, seed=seed, **options)
    text = found.text()
    if cancel_left and not dry_run:
        text += f"\n{found.cancel_left()} runs that are no longer in the search were cancelled"
    return text


def read_file(path: str) -> dict[str, Any]:
    """Read the file and check its names; the default name of the search is the name of the file.

    Raises:
        JobError: The file is missing, is not TOML, or has an unknown entry.
    """
    import tomllib

    text = read_text(path, JobError)
    with reading(path, JobError, "TOML", empty=True, advice=CORRECT_IT):
        given = tomllib.loads(text)
    kind = given.setdefault("kind", "grid")
    if kind not in KINDS:
        raise JobError(f"{path}: unknown kind {kind!r}: use one of {', '.join(KINDS)}")
    known = [*_TOP, *(_ADAPTIVE if kind == "adaptive" else ()), *(["points"] * (kind == "list"))]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise JobError(f"{path}: unknown entry {name!r} in a {kind} search{hint}")
    _check_types(given, path)
    given.setdefault("name", os.path.splitext(os.path.basename(path))[0])
    return given


def _check_types(given: Mapping[str, Any], path: str) -> None:
    points = given.get("points", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise JobError(f"{path}: points must be a list of tables, [[points]], got {points!r}")
    wanted: list[tuple[tuple[str, ...], Any, str]] = [(_TEXTS, str, "text")]
    wanted += [(_TABLES, dict, "a table, [job]")]
    wanted += [(_COUNTS, int, "a whole number of at least 1"), (("seed",), int, "a whole number")]
    for names, kind, described in wanted:
        for name in names:
            value = given.get(name)
            right = isinstance(value, kind) and not isinstance(value, bool)
            if value is not None and not (right and (name not in _COUNTS or value > 0)):
                raise JobError(f"{path}: {name} must be {described}, got {value!r}")
    for name in ("kind", "host", "ssh_config"):
        value = given.get("job", {}).get(name)
        if value is not None and not isinstance(value, str):
            raise JobError(f"{path}: [job] {name} must be text, got {value!r}")


def make_job(given: Mapping[str, Any]) -> Any:
    """Return the job of a [job] table: kind `shell` or `slurm`, host, and settings of the job."""
    from seqmodel.job.kinds import refuse_login_node
    from seqmodel.job.os_interface import LocalInterface, SshInterface
    from seqmodel.job.shell import ShellJob
    from seqmodel.job.slurm import SlurmJob

    kinds = {"shell": ShellJob, "slurm": SlurmJob}
    kind = given.get("kind", "shell")
    if kind not in kinds:
        raise JobError(f"[job] unknown kind {kind!r}: use one of {', '.join(kinds)}")
    interface: Any = LocalInterface()
    if given.get("host"):
        more = {"config": given.get("ssh_config"), "open_master": given.get("open_master", False)}
        interface = SshInterface(given["host"], **more)
    settings = {name: value for name, value in given.items() if name not in _JOB}
    if "kind" not in given:
        choices = 'kind = "slurm" (jobs in its queue) or kind = "shell" (processes there) in [job]'
        refuse_login_node(interface, choices)
    made: Any = kinds[kind]
    return made(interface, **settings)


def space_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the [space] table: lists of values, or tables like {log_uniform = [1e-5, 1e-2]}."""
    return {name: _range(name, value) for name, value in given.get("space", {}).items()}


def _range(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    conditions = value.get("when", {})
    if not isinstance(conditions, Mapping):
        raise JobError(f"[space] {name}: write when = {{other = value}}, got {conditions!r}")
    log = value.get("log", False)
    kinds = [key for key in value if key not in ("when", "log")]
    if len(kinds) != 1 or kinds[0] not in (*_RANGES, "choice"):
        raise JobError(
            f"[space] {name}: use choice, {', '.join(_RANGES)}; got {', '.join(kinds) or 'none'}"
        )
    bounds = value[kinds[0]]
    if kinds[0] == "choice" and not isinstance(bounds, list):
        raise JobError(f"[space] {name}: write choice = [values], got {bounds!r}")
    if kinds[0] == "choice":
        found: Range = choice(bounds)
    elif not isinstance(bounds, list) or len(bounds) != 2:
        raise JobError(f"[space] {name}: write {kinds[0]} = [lowest, highest], got {bounds!r}")
    elif kinds[0] == "integer":
        found = integer(*bounds, log=log)
    else:
        found = _RANGES[kinds[0]](*bounds)
    return found.when(**conditions)
