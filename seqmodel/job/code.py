"""The code that a job runs, as it was when the job was made: one archive, named by its content.

It holds the package as it lies here (the commit and whatever was changed since, both recorded
beside it), whether a checkout or installed, and the user's plugins with the modules of the working
directory that they import. A node unpacks it; nothing there needs git. Jobs that were made of one
state of the code share one archive.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from seqmodel.errors import JobError

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(PACKAGE)
_SKIPPED = frozenset(("__pycache__", ".git", ".venv", "node_modules"))


class Code:
    """An archive of code.

    Attributes:
        digest: sixteen hex digits of the SHA-256 of all names and contents.
        record: what `code_state` says of the checkout.
    """

    def __init__(self, files: dict[str, bytes], record: dict[str, Any]) -> None:
        self.files, self.record = files, record
        self.digest = _digest((n, len(data), [data]) for n, data in sorted(files.items()))

    def archive(self) -> bytes:
        """The tar.gz."""
        from seqmodel.job.packed import tar_files

        return tar_files(self.files)


_kept: dict[tuple[Any, ...], Code] = {}


def current_code(plugins: Iterable[str] = (), cwd: str | None = None) -> Code:
    """The code as it is now; what was read before is used again while no file changed.

    Args:
        plugins: modules of the user's, below `cwd`.
        cwd: the working directory in which they are found.

    Raises:
        JobError: a file cannot be read.
    """
    try:
        paths = _code_files(plugins, cwd)
        git = _git_folder()
        marks = [_mark(path) for path in (*paths.values(), f"{git}/HEAD", f"{git}/index")]
        key = (tuple(paths), tuple(marks))
        if key not in _kept:
            files = {name: _content(path) for name, path in sorted(paths.items())}
            _kept[key] = Code(files, code_state(ROOT))
    except OSError as e:
        raise JobError(f"cannot read the code to copy: {e.filename}: {e.strerror}") from e
    return _kept[key]


def code_record(plugins: Iterable[str] = ()) -> tuple[dict[str, Any], str]:
    """What a run notes of its code: `code_state` and the digest of `Code`; and the diff.

    The diff is what the code has beside its commit, for `git apply`; the modules of the user stand
    in it as new files. Other files of theirs are hashed piece by piece, however large.

    Raises:
        JobError: a file cannot be read.
    """
    record = code_state(ROOT)
    diff = record.pop("diff", "")
    try:
        paths = sorted(_code_files(plugins).items())
        digest = _digest((name, os.stat(path).st_size, _pieces(path)) for name, path in paths)
        for name, path in paths:
            if name.endswith(".py") and not name.startswith("seqmodel/"):
                diff += _as_new(name, _content(path))
    except OSError as e:
        raise JobError(f"cannot read the code: {e.filename}: {e.strerror}") from e
    return {**record, "digest": digest}, diff


def _digest(files: Iterable[tuple[str, int, Iterable[bytes]]]) -> str:
    """Sixteen hex digits of names, sizes and contents."""
    from hashlib import sha256

    hashed = sha256()
    for name, size, pieces in files:
        hashed.update(f"{name}\0{size}\0".encode())
        for piece in pieces:
            hashed.update(piece)
    return hashed.hexdigest()[:16]


def _pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def _as_new(name: str, data: bytes) -> str:
    from difflib import unified_diff

    # splitlines would also cut at the form feeds that some sources have
    lines = [f"{line}\n" for line in data.decode("utf-8", "replace").split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    text = "".join(unified_diff([], [line for line in lines if line], "/dev/null", f"b/{name}"))
    return text if not text or text.endswith("\n") else f"{text}\n\\ No newline at end of file\n"


def _code_files(plugins: Iterable[str], cwd: str | None = None) -> dict[str, str]:
    return {**dict(_package_files()), **plugin_files(plugins, cwd or os.getcwd())}


def plugin_files(plugins: Iterable[str], cwd: str) -> dict[str, str]:
    """The files of plugins, and of the modules below `cwd` that they import or name as targets.

    Modules that do not lie below `cwd` are installed there or here, not copied.
    """
    found: dict[str, str] = {}
    waiting, seen = list(plugins), set()
    while waiting:
        top = waiting.pop().split(".")[0]
        if top in seen or top == "seqmodel":
            continue
        seen.add(top)
        for name, path in _module_files(top, cwd):
            found[name] = path
            if name.endswith(".py"):
                waiting += _named_modules(_content(path))
    return found


def _module_files(top: str, cwd: str) -> Iterator[tuple[str, str]]:
    if os.path.isfile(f"{cwd}/{top}.py"):
        yield f"{top}.py", f"{cwd}/{top}.py"
    elif os.path.isfile(f"{cwd}/{top}/__init__.py"):
        yield from _tree(f"{cwd}/{top}", top)


def _named_modules(source: bytes) -> list[str]:
    """Modules that a source imports, or names in texts like "my_module:Object"."""
    import ast

    names: list[str] = []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return names  # the import has failed before, or will on the node
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            module = node.value.split(":")[0]
            if all(part.isidentifier() for part in module.split(".")):
                names.append(module)
    return names


def _package_files() -> Iterator[tuple[str, str]]:
    return _tree(PACKAGE, "seqmodel")


def _tree(folder: str, name: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.name in _SKIPPED or entry.name.endswith((".pyc", ".part")):
                continue
            if entry.is_dir():
                yield from _tree(entry.path, f"{name}/{entry.name}")
            elif entry.is_file():
                yield f"{name}/{entry.name}", entry.path


def _git_folder() -> str:
    """Where git keeps its state of this checkout; `.git` of a worktree is a file that names it."""
    git = f"{ROOT}/.git"
    if os.path.isfile(git):
        with open(git, encoding="utf-8", errors="surrogateescape") as file:
            git = os.path.join(ROOT, file.read().removeprefix("gitdir:").strip())
    return git


def code_state(root: str) -> dict[str, Any]:
    """Commit, and the diff since (new files of the package too); no commit if it was installed.

    Returns:
        `path`, `commit`, `changed`, `diff`; and `problem`, a line, where git could not tell: then
        what is not known is None.
    """
    state: dict[str, Any] = {"path": root, "commit": None}
    if not os.path.exists(f"{root}/.git"):
        return state
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        diff = _git(root, "diff", "HEAD", "--binary")
        new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "seqmodel")
        for name in new.split("\0")[:-1]:
            diff += _git(root, "diff", "--no-index", "--binary", "--", os.devnull, name)
    except _GitFailed as e:
        return {**state, "changed": None, "problem": f"git: {e}"}
    return {**state, "commit": commit, "changed": bool(diff), "diff": diff}


class _GitFailed(Exception):
    """What git said."""


def _git(root: str, *args: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", root, *args], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise _GitFailed(str(e)) from e
    # 1 is how a comparison of two files says that they differ
    if done.returncode == 0 or (done.returncode == 1 and "--no-index" in args):
        return done.stdout.decode("utf-8", "replace")
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise _GitFailed(said[0] if said else f"exit code {done.returncode}")


def _mark(path: str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
