"""The name of a run: its settings as one path component; two settings never share one. Light."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from seqmodel.hparam.convert import changed_hparams
from seqmodel.hparam.parser import Hparam, HparamParser

MAX_BYTES = 180
ALL_DEFAULT = "default"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_CUT = "~"  # never in escaped text, so a cut name equals no whole one


class Workdir(NamedTuple):
    """The working directory of a run.

    Attributes:
        path: the folder; relative paths of the run start there.
        is_here: whether it is on this host.
    """

    path: str = "."
    is_here: bool = True


HERE = Workdir()


def canonical_str(
    parser: HparamParser, values: Namespace | Mapping[str, object], workdir: Workdir = HERE
) -> str:
    """Return the tracked hyperparameters that differ from their defaults: `name=value,...`, sorted.

    The name is ASCII and safe as a path component. Values are cast to their type first, so 1 and
    1.0 are the same number if the type is float. A path becomes its file name, `-` and eight hex
    digits of the SHA-256 of `normal_path`. Characters other than ASCII letters, digits and `_-.`
    become %XX of their UTF-8; list items are joined by `+`. A text of more than 180 bytes is cut
    and ends in `~` and twelve hex digits of the SHA-256 of the whole text.
    """
    return _name(_tracked(parser, values), lambda path: _path_name(normal_path(path, workdir)))


def old_names(
    parser: HparamParser, values: Namespace | Mapping[str, Any], workdir: Workdir = HERE
) -> list[str]:
    """Return the names that versions before 0.2.0 gave to these values, if they contain a path.

    Those names contained paths as the user typed them. The result has the names for the path as it
    is typed now, relative to the working directory, and absolute.
    """
    tracked = _tracked(parser, values)
    if not any(hparam.type.path_kind for hparam, _ in tracked):
        return []
    found = [
        _name(tracked, escape),
        _name(tracked, lambda path: escape(normal_path(path, workdir))),
        _name(tracked, lambda path: escape(_full(path, workdir))),
    ]
    return list(dict.fromkeys(found))


def tracked_values(
    parser: HparamParser, values: Namespace | Mapping[str, Any], workdir: Workdir = HERE
) -> dict[str, Any]:
    """Return the values that name a run, sorted by name; each path has one spelling."""

    def one(hparam: Hparam, value: Any) -> Any:
        if isinstance(value, list):
            return [one(hparam, item) for item in value]
        return normal_path(value, workdir) if hparam.type.path_kind and value else value

    return {hparam.name: one(hparam, value) for hparam, value in _tracked(parser, values)}


def normal_path(path: str, workdir: Workdir = HERE) -> str:
    """Return one spelling of a path: relative if it is below the working directory, else absolute.

    Links are not followed, because the name must be the same on every host, but the working
    directory itself is recognized by its real path and by $PWD. `..` is resolved on this host. For
    another host, `..` and an absolute path below `~` are left unchanged.
    """
    full = _full(path, workdir)
    for base in _bases(workdir):
        if f"{full}/".startswith(f"{base}/"):
            return full[len(base) + 1 :] or "."
    return full


def _full(path: str, workdir: Workdir) -> str:
    """Return the path, absolute or below `~`, without `.` and doubled slashes."""
    if workdir.is_here:
        path = os.path.expanduser(path)
    base = "" if path == "~" or path.startswith(("/", "~/")) else _bases(workdir)[0]
    parts = f"{base}/{path}".split("/") if base else path.split("/")
    if workdir.is_here and ".." in parts:  # only the file system knows what is above a link
        n = len(parts) - parts[::-1].index("..")
        parts = [*os.path.realpath("/".join(parts[:n])).split("/"), *parts[n:]]
    return _plain(parts)


def _bases(workdir: Workdir) -> list[str]:
    """Return the spellings of the working directory."""
    if not workdir.is_here:
        at = workdir.path if workdir.path.startswith(("/", "~")) else f"~/{workdir.path}"
        return [_plain(at.split("/")).rstrip("/")]
    whole = os.path.abspath(os.path.expanduser(workdir.path))
    real, shell = os.path.realpath(whole), os.environ.get("PWD", "")
    is_same = shell.startswith("/") and os.path.realpath(shell) == real
    bases = [whole, real, shell] if is_same else [whole, real]
    return [base.rstrip("/") for base in bases]


def _plain(parts: Sequence[str]) -> str:
    kept = [part for part in parts if part not in ("", ".")]
    return "/".join(kept if kept[:1] == ["~"] else ["", *kept]) or "/"


def _tracked(
    parser: HparamParser, values: Namespace | Mapping[str, object]
) -> list[tuple[Hparam, Any]]:
    changed = sorted(changed_hparams(parser, values).items())
    found = [(parser.declared[name], value) for name, value in changed]
    return [(hparam, value) for hparam, value in found if hparam.tracked]


def _name(tracked: Iterable[tuple[Hparam, Any]], path_name: Callable[[str], str]) -> str:
    pairs = []
    for hparam, value in tracked:
        text_of = path_name if hparam.type.path_kind and value else escape
        pairs.append(f"{hparam.name}={'+'.join(map(text_of, hparam.texts(value)))}")
    whole = ",".join(pairs) or ALL_DEFAULT
    if len(whole) <= MAX_BYTES:
        return whole
    kept = whole[: MAX_BYTES - len(_CUT) - 12]
    return f"{kept}{_CUT}{_digest(whole)[:12]}"


def _path_name(path: str) -> str:
    return f"{escape(os.path.basename(path))}-{_digest(path)[:8]}"


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def escape(text: str) -> str:
    """Return `text` with all but ASCII letters, digits, `_`, `-`, `.` as %XX of its UTF-8 bytes."""
    if _PLAIN.issuperset(text):
        return text
    return "".join(
        c if c in _PLAIN else "".join(f"%{b:02X}" for b in c.encode("utf-8", "surrogatepass"))
        for c in text
    )
