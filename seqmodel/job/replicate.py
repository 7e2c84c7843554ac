"""The folders of replicates: how a number is taken, and what is written before a job starts.

    <job_out_dir>/<canonical>/identity                what the replicates below share
                              version_<n>/<canonical>_version_<n>.sh     the job
                                          hparams.json    all hyperparameters (a valid --config)
                                          job.json        what was given, settings, code, defaults
                                          events          what happened, a line each
                                          stdout, stderr  of the job
                                          submit.<k>      taken by whoever submitted it, k-th time
    <job_out_dir>/.seqmodel/                          code, functions for nodes, submissions, queues

A number is taken by mkdir, which succeeds once, also on NFS and over SSH. `events` is written
last: a folder without its first line was left by a submitter that was cut off, and holds no job.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seqmodel.errors import HparamError, JobError
from seqmodel.files import write_file
from seqmodel.hparam.canonical import tracked_values
from seqmodel.hparam.resolve import Run
from seqmodel.job.os_interface import Interface, quote_home
from seqmodel.job.packed import PRIVATE_FOLDER, mode_of, tar_files
from seqmodel.record.run_files import Damaged, check_job, parse_object, read_regular

KEPT = ".seqmodel"
KINDS = {"x": "program", "f": "file", "d": "folder"}
RECORD = "job.json"
SCHEMA = 1


class Replicate:
    """One replicate: a folder on the machine of an interface.

    Attributes:
        interface: the machine.
        root: job_out_dir there, absolute.
        folder: `<canonical>/version_<n>`, relative to root.
        job: the id that the scheduler gave, once it is known.
    """

    def __init__(self, interface: Interface, root: str, folder: str, job: str = "") -> None:
        self.interface, self.root, self.folder, self.job = interface, root, folder, job

    @property
    def path(self) -> str:
        """The folder, absolute, there."""
        return f"{self.root}/{self.folder}"

    @property
    def canonical(self) -> str:
        """The name of the run."""
        return self.folder.split("/")[0]

    @property
    def version(self) -> int:
        """The number of the replicate."""
        return int(self.folder.rsplit("_", 1)[1])

    @property
    def script_name(self) -> str:
        """The file name of its script."""
        return script_name(self.canonical, self.version)

    def read_record(self) -> dict[str, Any]:
        """What job.json holds.

        Raises:
            JobError: it is missing or damaged.
        """
        path = f"{self.path}/{RECORD}"
        data = self.interface.run(["cat", path]).out
        return parse_record(data, path)

    def __repr__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"Replicate({self.path!r}{job})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replicate) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)


class Place:
    """What the other machine said when numbers were taken there.

    Attributes:
        root, workdir: absolute, there.
        taken: (canonical, n) in the order in which they were asked for.
        missing, lacking, moved: files of data that are not there; kind and path of what else is
            not; canonical names whose defaults are others.
        has_code: whether the archive is there already.
        max_array: the scheduler's MaxArraySize, if it was asked.
    """

    def __init__(self) -> None:
        self.root = self.workdir = ""
        self.taken: list[tuple[str, int]] = []
        self.missing: list[str] = []
        self.lacking: list[str] = []
        self.moved: list[str] = []
        self.has_code = False
        self.max_array = 0


def script_name(canonical: str, version: int) -> str:
    """The file name of a replicate's script."""
    return f"{canonical}_version_{version}.sh"


def identity(run: Run) -> str:
    """Digests of the defaults and of what was set: what all replicates of a folder share."""
    from hashlib import sha256

    from seqmodel.record.folder import defaults_digest

    values = sha256(json.dumps(run.tracked_values()).encode()).hexdigest()[:16]
    return f"defaults={defaults_digest(run)} values={values}"


def tracked_defaults(run: Run) -> dict[str, Any]:
    """The defaults of all hyperparameters that name a run."""
    return {n: h.default for n, h in sorted(run.parser.declared.items()) if h.tracked}


def reserve(
    interface: Interface,
    runs: Sequence[Run],
    *,
    job_out_dir: str,
    workdir: str,
    code: str,
    ask_arrays: bool = False,
    accept: Iterable[str] = (),
    needed: Sequence[tuple[str, str, str]] = (),
) -> Place:
    """Takes a new version_<n> for each run, if all can be had; in one connection.

    Args:
        interface: the machine.
        runs: what the replicates are of.
        job_out_dir: folder there, relative to workdir, or absolute, or below ~/.
        workdir: folder there.
        code: digest of the code's archive.
        ask_arrays: ask the scheduler for the largest job array.
        accept: canonical names whose defaults were looked at and are as they were.
        needed: flag, kind and path of what else must be there: `x` a program, `f` a file, `d` a
            folder; relative to workdir, or below ~/.

    Raises:
        JobError: a folder, a file of data or what is needed is missing there, or a default moved.
    """
    names = [run.canonical() for run in runs]
    wanted = dict(zip(names, map(identity, runs), strict=True))
    files = {path: flag for run in runs for flag, path in run.files}
    if interface.is_local:
        place = _reserve_here(names, wanted, files, job_out_dir, workdir, code, set(accept), needed)
        if ask_arrays:
            out = interface.script(_ARRAYS + "array_size").out.decode()
            place.max_array = int(out) if out.strip().isdecimal() else 0
    else:
        place = _reserve_there(
            interface, names, wanted, files, job_out_dir, workdir, code, ask_arrays, set(accept),
            needed,
        )  # fmt: skip
    if place.lacking:
        flag, kind, path = next(need for need in needed if list(need[1:]) == place.lacking)
        raise JobError(
            f"{flag}: {path}: no such {KINDS[kind]} on {interface.name} (relative paths start from "
            f"workdir, {place.workdir}); nothing was submitted"
        )
    if place.missing:
        path = place.missing[0]
        raise JobError(
            f"{files[path]}: {path}: no such file on {interface.name} (looked in {place.workdir}); "
            "nothing was submitted"
        )
    if place.moved:
        _compare_defaults(interface, place, dict(zip(names, runs, strict=True)))
        return reserve(
            interface, runs, job_out_dir=job_out_dir, workdir=workdir, code=code,
            ask_arrays=ask_arrays, accept={*accept, *place.moved}, needed=needed,
        )  # fmt: skip
    return place


def _reserve_here(
    names: Sequence[str],
    wanted: Mapping[str, str],
    files: Mapping[str, str],
    job_out_dir: str,
    workdir: str,
    code: str,
    accept: set[str],
    needed: Sequence[tuple[str, str, str]],
) -> Place:
    place = Place()
    place.workdir = os.path.abspath(os.path.expanduser(workdir))
    place.root = os.path.join(place.workdir, os.path.expanduser(job_out_dir))
    place.root = os.path.normpath(place.root)
    if not os.path.isdir(place.workdir):
        raise JobError(f"workdir {workdir}: no such folder on this machine")
    for _, kind, path in needed:
        if not _is_there(os.path.join(place.workdir, os.path.expanduser(path)), kind):
            place.lacking = [kind, path]
            return place
    place.missing = [p for p in files if not os.path.isfile(os.path.join(place.workdir, p))]
    place.has_code = os.path.exists(f"{place.root}/{KEPT}/code/{code}.tar.gz")
    if place.missing:
        return place
    try:
        for name, mark in wanted.items():
            if name not in accept and _identity_here(f"{place.root}/{name}", mark) != mark:
                place.moved.append(name)
        if not place.moved:
            place.taken = [(name, _next_here(f"{place.root}/{name}")) for name in names]
    except OSError as e:
        raise JobError(f"cannot make {e.filename}: {e.strerror}; nothing was submitted") from e
    return place


def _is_there(path: str, kind: str) -> bool:
    if kind == "d":
        return os.path.isdir(path)
    return os.path.isfile(path) and (kind == "f" or os.access(path, os.X_OK))


def _identity_here(parent: str, mark: str) -> str:
    os.makedirs(parent, exist_ok=True)
    path = f"{parent}/identity"
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(mark)
        return mark
    except FileExistsError:
        try:
            data = read_regular(path) or b""
        except Damaged as e:
            raise JobError(f"{path}: {e}; move the folder away") from e
        return data.decode("ascii", "replace") or mark  # empty: another one is writing it


def _next_here(parent: str) -> int:
    known = [name[8:] for name in os.listdir(parent) if name.startswith("version_")]
    n = max((int(digits) for digits in known if digits.isdecimal()), default=-1) + 1
    while True:
        try:
            os.mkdir(f"{parent}/version_{n}")
            return n
        except FileExistsError:
            n += 1


_ARRAYS = """
array_size() { timeout 30 scontrol show config | awk '/^MaxArraySize/ {print $3}'; }
"""
_RESERVE = """
cd -- @WORKDIR@ 2>/dev/null || { printf 'no %s\\0' @WORKDIR@; exit 0; }
workdir=$PWD
printf 'workdir %s\\0' "$PWD"
root=@ROOT@
case $root in /*) ;; *) root=$PWD/$root ;; esac
mkdir -p -- "$root" || exit 1
root=$(cd -- "$root" && pwd) || exit 1
printf 'root %s\\0' "$root"
if [ -e "$root/@KEPT@/code/@CODE@.tar.gz" ]; then printf 'code\\0'; fi
if [ @ARRAYS@ = 1 ]; then printf 'array %s\\0' "$(array_size)"; fi
missing=0
while IFS= read -r -d '' kind && [ -n "$kind" ] && IFS= read -r -d '' path; do
    case $path in
        '~' | '~/'*) there=$HOME${path#?} ;;
        *) there=$path ;;
    esac
    if ! [ -"$kind" "$there" ] || { [ "$kind" = x ] && [ -d "$there" ]; }; then
        printf 'lacking %s %s\\0' "$kind" "$path"; exit 0
    fi
done
while IFS= read -r -d '' path && [ -n "$path" ]; do
    if ! [ -f "$path" ]; then printf 'missing %s\\0' "$path"; missing=1; fi
done
if [ $missing = 1 ]; then exit 0; fi
cd -- "$root" || exit 1
names=() counts=() marks=()
while IFS= read -r -d '' name && IFS= read -r -d '' mark && IFS= read -r -d '' count; do
    names+=("$name") counts+=("$count")
    mkdir -p -- "$name" || exit 1
    set -C
    { printf %s "$mark" > "$name/identity"; } 2>/dev/null
    set +C
    found=$(<"$name/identity")
    if [ -n "$found" ] && [ "$found" != "$mark" ] && [ "$mark" != any ]; then
        printf 'moved %s\\0' "$name"; missing=1
    fi
done
if [ $missing = 1 ]; then exit 0; fi
for i in "${!names[@]}"; do
    name=${names[i]} n=0
    for folder in "$name"/version_*; do
        k=${folder##*_}
        case $k in *[!0-9]*) continue ;; esac
        if [ "$k" -ge "$n" ]; then n=$((k + 1)); fi
    done
    for ((k = 0; k < counts[i]; k++)); do
        until mkdir -- "$name/version_$n" 2>/dev/null; do
            if ! [ -e "$name/version_$n" ]; then mkdir -- "$name/version_$n" || exit 1; fi
            n=$((n + 1))
        done
        printf 'took %s %s\\0' "$n" "$name"
        n=$((n + 1))
    done
done
"""


def _reserve_there(
    interface: Interface,
    names: Sequence[str],
    wanted: Mapping[str, str],
    files: Mapping[str, str],
    job_out_dir: str,
    workdir: str,
    code: str,
    ask_arrays: bool,
    accept: set[str],
    needed: Sequence[tuple[str, str, str]],
) -> Place:
    counts = {name: names.count(name) for name in wanted} if len(wanted) < len(names) else {}
    words = [word for need in needed for word in need[1:]]
    words += ["", *files, ""]
    for name, mark in wanted.items():
        words += [name, "any" if name in accept else mark, str(counts.get(name, 1))]
    text = _ARRAYS + _RESERVE.replace("@WORKDIR@", quote_home(workdir)).replace(
        "@ROOT@", quote_home(job_out_dir)
    ).replace("@CODE@", code).replace("@KEPT@", KEPT).replace("@ARRAYS@", str(int(ask_arrays)))
    payload = "".join(f"{word}\0" for word in words).encode("utf-8", "surrogateescape")
    done = interface.script(text, payload)
    place = Place()
    taken: dict[str, list[int]] = {}
    for line in done.out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        what, _, rest = line.partition(" ")
        if what == "no":
            raise JobError(f"workdir {rest}: no such folder on {interface.name}")
        if what == "took":
            n, _, name = rest.partition(" ")
            taken.setdefault(name, []).append(int(n))
        elif what in ("root", "workdir"):
            setattr(place, what, rest)
        elif what in ("missing", "moved"):
            getattr(place, what).append(rest)
        elif what == "lacking":
            place.lacking = rest.split(" ", 1)
        elif what == "code":
            place.has_code = True
        elif what == "array" and rest.isdecimal():
            place.max_array = int(rest)
    if done.code != 0:
        raise JobError(f"cannot make folders on {interface.name}: {done.err.strip()[-300:]}")
    if taken:
        place.taken = [(name, taken[name].pop(0)) for name in names]
    return place


def _compare_defaults(interface: Interface, place: Place, runs: Mapping[str, Run]) -> None:
    """Refuses folders whose first replicate had other values, or other defaults.

    A hyperparameter that is new since then is none: its default is how things were before.
    """
    for name in place.moved:
        parent = f"{place.root}/{name}"
        versions = [n for n in interface.list_dir(parent) if n.startswith("version_")]
        versions.sort(key=lambda n: int(n[8:]) if n[8:].isdecimal() else 1 << 60)
        records = interface.read([f"{parent}/{version}/{RECORD}" for version in versions])
        before, wrong = None, None
        for path, data in records.items():
            try:
                before = parse_record(data, path)
                break
            except JobError as e:  # of another replicate the defaults are the same
                wrong = wrong or e
        if before is not None:
            _compare(parent, before, runs[name])
        elif wrong is not None:
            raise wrong


def _compare(parent: str, before: Mapping[str, Any], run: Run) -> None:
    now = json.loads(json.dumps(tracked_defaults(run)))
    old = before.get("defaults", {})
    moved = [
        f"{name} ({old[name]!r}, now {now[name]!r})" if name in now else f"{name} (now gone)"
        for name in old
        if name not in now or old[name] != now[name]
    ]
    if moved:
        raise JobError(
            f"{parent}: defaults moved since its first replicate: {', '.join(moved)}; set them as "
            "they were, or use another job_out_dir. Nothing was submitted"
        )
    changed = json.loads(json.dumps(run.tracked_values()))
    if _spelt_alike(before.get("changed"), run) != changed:
        raise JobError(
            f"{parent}: holds replicates of other hyperparameters ({before['changed']}); use "
            "another job_out_dir. Nothing was submitted"
        )


def _spelt_alike(values: Any, run: Run) -> Any:
    """Recorded values, with the spelling of paths that `run` has."""
    if not isinstance(values, dict) or not set(values) <= set(run.parser.declared):
        return values
    try:
        return json.loads(json.dumps(tracked_values(run.parser, values, run.workdir)))
    except HparamError:  # of another version
        return values


def parse_record(data: bytes, path: str) -> dict[str, Any]:
    """The content of a job.json.

    Raises:
        JobError: it is damaged, or of a newer seqmodel.
    """
    try:
        record = parse_object(data, os.path.basename(path))
        check_job(record)
        schema, _ = int(record["schema"]), record["kind"]
    except (Damaged, ValueError, KeyError, TypeError) as e:
        raise JobError(f"{path}: missing or no record of a job ({e})") from e
    if schema > SCHEMA:
        raise JobError(f"{path}: written by a newer seqmodel; update to read it")
    return record


def write_files(
    interface: Interface,
    root: str,
    files: Mapping[str, bytes],
    links: Mapping[str, str] | None = None,
    then: str = "",
    timeout: float = 300,
) -> bytes:
    """Writes files below `root`, in their order, then runs a script there; in one connection.

    Returns:
        What the script printed.

    Raises:
        JobError: a file could not be written, or the script failed.
    """
    links = links or {}
    if interface.is_local:
        _write_here(root, files, links)
        if not then:
            return b""
        done = interface.script(f"cd -- {quote_home(root)} || exit 1\n{then}", timeout=timeout)
    else:
        nonce = os.urandom(6).hex()
        shared = {
            name: f"{name}.{nonce}.part" for name in files if name.startswith(f"{KEPT}/code/")
        }
        named = {shared.get(name, name): d for name, d in files.items()}
        data = tar_files(named, links, private=[f"{KEPT}/"])
        moves = "".join(f"mv -f -- {part} {name} || exit 1\n" for name, part in shared.items())
        unpack = f"cd -- {quote_home(root)} && head -c {len(data)} | tar -xzmf - || exit 1\n"
        done = interface.script(unpack + moves + then, data, timeout=timeout)
    if done.code != 0:
        reason = done.err.strip().splitlines()[-1:] or [f"exit code {done.code}"]
        raise JobError(f"cannot write below {root} on {interface.name}: {reason[0]}")
    return done.out


def _write_here(root: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> None:
    made: set[str] = set()
    try:
        for name, data in files.items():
            path = f"{root}/{name}"
            parent = os.path.dirname(path)
            if parent not in made:
                _make_folder(root, parent)
                made.add(parent)
            mode = mode_of(name, name.startswith(f"{KEPT}/"))
            # whoever reads it meanwhile finds it whole or not at all, also where many write it
            shared = name.startswith(f"{KEPT}/code/")
            if shared:
                write_file(path, data, JobError, mode=mode)
                continue
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with open(descriptor, "wb", buffering=0) as file:
                file.write(data)
        for link, target in links.items():
            os.makedirs(os.path.dirname(f"{root}/{link}"), exist_ok=True)
            os.symlink(target, f"{root}/{link}")
    except OSError as e:
        raise JobError(f"cannot write {e.filename}: {e.strerror}") from e


def _make_folder(root: str, path: str) -> None:
    """Makes the folder of a file; what is kept beside the replicates is for its owner alone."""
    os.makedirs(root, exist_ok=True)
    at = root
    for part in path[len(root) + 1 :].split("/"):
        at = f"{at}/{part}"
        is_kept = at == f"{root}/{KEPT}" or at.startswith(f"{root}/{KEPT}/")
        with contextlib.suppress(FileExistsError):
            os.mkdir(at, PRIVATE_FOLDER if is_kept else 0o777)
        if is_kept and (stat := os.stat(at)).st_uid == os.getuid() and stat.st_mode & 0o077:
            os.chmod(at, PRIVATE_FOLDER)  # made by an earlier version
