"""Ask git about a checkout without running any program that the checkout names.

The configuration and the attributes of a checkout can name programs: hooks, a file system monitor,
external diffs, text converters, filters, transports. All of them are switched off for each
question; the user's own configuration stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence

_OFF = (
    "core.fsmonitor=",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.untrackedCache=false",
    "diff.external=",
    "credential.helper=",
    "protocol.allow=never",
)
_DIFF = (
    "--binary",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--submodule=short",
    "--ignore-submodules=dirty",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
}
# set by a surrounding git, e.g. in a hook; they would point to another checkout
_DROPPED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF")


class GitFailed(Exception):
    """An error that git reported."""


def commit(root: str) -> str:
    """Return the current commit of the checkout at `root`."""
    return _git(root, "rev-parse", "HEAD").strip()


def tracked(root: str, *below: str) -> list[str]:
    """Return the files that git tracks in the folders `below`, relative to `root`."""
    return _names(_git(root, "ls-files", "-z", "--", *below))


def untracked(root: str, below: str) -> list[str]:
    """Return the files below `below`, relative to `root`, that git neither tracks nor ignores."""
    return _names(_git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", below))


def changes(root: str, new: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the name and the diff, for `git apply`, of each file that differs from the commit.

    Args:
        root: Path of the checkout.
        new: Untracked files, whose diff creates them.
    """
    filters = _filters_off(root)
    yield from _by_file(_git(root, "diff", "HEAD", *_DIFF, options=filters))
    for name in new:
        words = ("diff", "--no-index", *_DIFF, "--", os.devnull, name)
        yield name, _git(root, *words, options=filters)


def _names(listed: str) -> list[str]:
    return listed.split("\0")[:-1]


def _by_file(diff: str) -> Iterator[tuple[str, str]]:
    # a line of content begins with a space, +, - or \, one of a binary patch has no space
    for piece in re.split(r"(?m)^(?=diff --git )", diff):
        if piece.startswith("diff --git "):
            both = piece.split("\n", 1)[0].removeprefix("diff --git ")
            name = both[: (len(both) - 1) // 2].strip('"').removeprefix("a/")
            yield name, piece


def _filters_off(root: str) -> list[str]:
    """Return the options that switch off each filter in the configuration of the checkout.

    Raises:
        GitFailed: A filter cannot be switched off.
    """
    listed = _git(root, "config", "--local", "--includes", "-z", "--list")
    # it fails without a configuration of the worktree, or if git does not support one
    with contextlib.suppress(GitFailed):
        listed += _git(root, "config", "--worktree", "--includes", "-z", "--list")
    keys = {entry.split("\n", 1)[0] for entry in listed.split("\0")}
    names = {key.rpartition(".")[0] for key in keys if key.startswith("filter.")}
    if any("=" in name for name in names):
        raise GitFailed("the checkout configures a filter with '=' in its name; not asked further")
    values = ("clean=", "smudge=", "process=", "required=false")
    return [f"{name}.{value}" for name in sorted(names) for value in values]


def _git(root: str, *args: str, options: Sequence[str] = ()) -> str:
    import subprocess

    off = [word for option in (*_OFF, *options) for word in ("-c", option)]
    environment = {n: v for n, v in os.environ.items() if n not in _DROPPED} | _ENVIRONMENT
    try:
        done = subprocess.run(
            ["git", *off, "-C", root, *args],
            capture_output=True, stdin=subprocess.DEVNULL, env=environment, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        raise GitFailed(str(e)) from e
    # exit code 1 means that two compared files differ
    if done.returncode == 0 or (done.returncode == 1 and "--no-index" in args):
        return done.stdout.decode("utf-8", "replace")
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    raise GitFailed(said[0] if said else f"exit code {done.returncode}")
