"""Select the files of the code that a job copies; give reasons for those left out.

The selection has the Python sources and git-tracked files of seqmodel and of the user's packages
that are imported, without large files and files that look like secrets. An unpacked archive has the
list of its files, so the code consists of the same files on a node without git.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from stat import S_ISREG

from seqmodel.errors import JobError
from seqmodel.files import read_bytes
from seqmodel.hparam.plugin_files import plugin_sources, tree
from seqmodel.record.git import GitFailed, tracked

LIST = ".seqmodel-code"  # next to the package in an unpacked archive
MAX_FILE = 1 << 20
MAX_ALL = 20 << 20
OWN_KINDS = (
    ".py",
    ".sh",
    ".css",
    ".js",
    "py.typed",
)  # of the package, if git does not list them

_SECRET_NAMES = re.compile(
    r"""
    (.*\.)?env(\..*)? | .*\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk|gpg|asc) |
    id_(rsa|dsa|ecdsa|ed25519).* | [._](netrc|npmrc|pypirc|pgpass|htpasswd|git-credentials).* |
    .*(credential|secret|passw(or)?d).* | (.*[^a-z])?(api|access|auth|bearer)?tokens?([^a-z].*)?
    """,
    re.VERBOSE,
)
_NO_SECRET_NAMES = re.compile(r".*(special|added)_tokens.*")
_SECRET_FOLDERS = frozenset((".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure"))
_SECRET_TEXTS = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY"
    rb"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    rb"|(?i:aws_secret_access_key)['\"]?\s*[=:]\s*['\"]?[A-Za-z0-9/+]{40}"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36}"
)


class Selection:
    """The files to pack.

    Attributes:
        files: Path of each file, by its name in the archive.
        left_out: Reason for each omitted file, by name, in one phrase.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.left_out: dict[str, str] = {}

    def add(self, name: str, path: str) -> None:
        """Add a file, unless there is a reason to leave it out."""
        reason = reason_against(name, path)
        if reason:
            self.left_out[name] = reason
        else:
            self.files[name] = path


def selected(package: str, plugins: Iterable[str], cwd: str) -> Selection:
    """Select the files of the package in the folder `package` and of `plugins` below `cwd`.

    Raises:
        SeqmodelError, OSError: A file cannot be read.
    """
    root = os.path.dirname(package)
    listed = _listed(root)
    found = Selection()
    if listed is not None:
        found.files = {n: f"{root}/{n}" for n in listed if os.path.isfile(f"{root}/{n}")}
        return found
    known = _tracked_of_package(root)
    for name, path in tree(package, "seqmodel"):
        if name.endswith(OWN_KINDS) if known is None else name.endswith(".py") or name in known:
            found.add(name, path)
        else:
            found.left_out[name] = "neither Python nor tracked by git"
    for name, path in _plugin_files(plugins, cwd, found.left_out):
        found.add(name, path)
    return found


def file_list(names: Iterable[str]) -> bytes:
    """Return the content of LIST."""
    return (json.dumps(sorted(names)) + "\n").encode()


_reasons: dict[tuple[object, ...], str] = {}


def reason_against(name: str, path: str) -> str:
    """Return the reason to leave out the file at `path`; "" if there is none.

    Raises:
        JobError, OSError: The file cannot be read.
    """
    found = os.lstat(path)
    if not S_ISREG(found.st_mode):  # the target of a link can change without the link
        return _reason_against(name, path)
    key = (name, path, found.st_size, found.st_mtime_ns, found.st_ino)
    if key not in _reasons:
        _reasons[key] = _reason_against(name, path)
    return _reasons[key]


def _reason_against(name: str, path: str) -> str:
    real = os.path.realpath(path)
    is_python = name.endswith(".py")
    if is_secret_name(name) or is_secret_name(os.path.relpath(real, os.path.dirname(path))):
        return "looks like a secret, by its name"
    if os.path.islink(path) and not is_python:
        return "a link"
    if not is_python and os.path.getsize(real) > MAX_FILE:
        return f"larger than {MAX_FILE >> 20} MB"
    return "looks like a secret, by its content" if _has_secret(path) else ""


def is_secret_name(name: str) -> bool:
    """Return whether the name of a file, or of a parent folder, is typical of secrets."""
    *folders, last = name.lower().split("/")
    if not _SECRET_FOLDERS.isdisjoint(folders):
        return True
    if last.endswith(".py") or _NO_SECRET_NAMES.fullmatch(last):
        return False
    return _SECRET_NAMES.fullmatch(last) is not None


def has_secret_text(data: bytes) -> bool:
    """Return whether `data` contains a private key or a cloud access key."""
    return _SECRET_TEXTS.search(data) is not None


def mark(path: str) -> tuple[int, int] | None:
    """Return size and time of a file, to detect changes; None if it does not exist."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def git_folder(root: str) -> str:
    """Return the git folder of a checkout; `.git` of a worktree is a file that names it."""
    git = f"{root}/.git"
    if os.path.isfile(git):
        text = os.fsdecode(read_bytes(git, JobError))
        git = os.path.join(root, text.removeprefix("gitdir:").strip())
    return git


_tracked: dict[tuple[str, tuple[int, int] | None], frozenset[str] | None] = {}


def _has_secret(path: str) -> bool:
    return has_secret_text(read_bytes(path, JobError))


def _tracked_of_package(root: str) -> frozenset[str] | None:
    """Return the files of the package that git tracks; None without a checkout or if git fails."""
    if not os.path.exists(f"{root}/.git"):
        return None
    key = (root, mark(f"{git_folder(root)}/index"))
    if key not in _tracked:
        try:
            _tracked[key] = frozenset(tracked(root, "seqmodel"))
        except GitFailed:
            _tracked[key] = None
    return _tracked[key]


def _plugin_files(
    plugins: Iterable[str], cwd: str, left_out: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Return the sources of plugins and the git-tracked files of their packages."""
    sources = plugin_sources(plugins, cwd)
    yield from sources.items()
    tops = sorted({name.split("/")[0] for name in sources if name.endswith("/__init__.py")})
    tops = [top for top in tops if f"{top}/__init__.py" in sources]
    others = {n: p for top in tops for n, p in tree(f"{cwd}/{top}", top) if n not in sources}
    if not others:
        return
    try:
        known = set(tracked(cwd, *tops))
    except GitFailed:
        known = set()
    for name, path in others.items():
        if name in known:
            yield name, path
        else:
            left_out[name] = "neither Python nor tracked by git"


def _listed(root: str) -> list[str] | None:
    """Return the files of an unpacked archive; None if `root` is not one."""
    try:
        listed = json.loads(read_bytes(f"{root}/{LIST}", JobError))
        return [name for name in listed if isinstance(name, str)]
    except (JobError, ValueError, TypeError):
        return None
