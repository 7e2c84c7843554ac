"""The code of a job at the time when the job was created: one archive, named by its content.

It holds the package in its current state (the commit and later changes are recorded beside it),
from a checkout or an installation, and the user's plugins with the modules of the working directory
that they import; code_files.py selects the files. A node unpacks it without git. Jobs that were
created from one state of the code share one archive.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from seqmodel.errors import JobError
from seqmodel.files import read_bytes
from seqmodel.hparam.plugin_files import digest_of, pieces
from seqmodel.record.code_files import (
    LIST,
    MAX_ALL,
    MAX_FILE,
    file_list,
    git_folder,
    has_secret_text,
    is_secret_name,
    mark,
    selected,
)
from seqmodel.record.git import GitFailed, changes, commit, untracked
from seqmodel.terminal import plain_line

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(PACKAGE)
N_SHOWN = 20


class Code:
    """An archive of code.

    Attributes:
        digest: Sixteen hex digits of the SHA-256 of all names and contents.
        record: Result of `code_state` for the checkout.
        left_out: Reason for each file that was left out, by name.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        record: dict[str, Any],
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self.files, self.record, self.left_out = files, record, dict(left_out or {})
        self.digest = digest_of((n, len(data), [data]) for n, data in sorted(files.items()))

    def archive(self) -> bytes:
        """Write the tar.gz, readable only for its owner, with the list of its files."""
        import io
        import tarfile

        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as tar:
            for name, data in {LIST: file_list(self.files), **self.files}.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o700 if name.endswith(".sh") else 0o600
                tar.addfile(member, io.BytesIO(data))
        return buffer.getvalue()

    def withheld(self) -> list[str]:
        """Names and reasons of omitted files that are code or tracked by git."""
        return [
            f"{name} ({reason})"
            for name, reason in self.left_out.items()
            if "neither" not in reason
        ]

    def listing(self) -> list[str]:
        """List the files that a job copies, with sizes, and the omitted files with reasons."""
        sizes = {name: len(data) for name, data in sorted(self.files.items())}
        lines = [f"code {self.digest}: {len(sizes)} files, {sum(sizes.values()):,} bytes"]
        lines += [f"  {size:>9,}  {name}" for name, size in sizes.items()]
        if self.left_out:
            lines.append(f"left out: {len(self.left_out)} files")
        by_reason = sorted(self.left_out.items(), key=lambda both: ("neither" in both[1], both[0]))
        lines += [f"  {name}  ({reason})" for name, reason in by_reason[:N_SHOWN]]
        if len(by_reason) > N_SHOWN:
            lines.append(f"  and {len(by_reason) - N_SHOWN} more")
        return [plain_line(line) for line in lines]


_kept: dict[tuple[object, ...], Code] = {}


def current_code(plugins: Iterable[str] = (), cwd: str | None = None) -> Code:
    """Return the current code; earlier results are reused until a file changes.

    Args:
        plugins: Modules of the user below `cwd`.
        cwd: Working directory that contains them.

    Raises:
        JobError: A file cannot be read, or the files are too large to copy.
    """
    try:
        found = selected(PACKAGE, plugins, cwd or os.getcwd())
        git = git_folder(ROOT)
        marks = [mark(path) for path in (*found.files.values(), f"{git}/HEAD", f"{git}/index")]
        key = (tuple(found.files), tuple(marks), tuple(found.left_out.items()))
        if key not in _kept:
            _refuse_large(found.files)
            files = {name: read_bytes(path, JobError) for name, path in sorted(found.files.items())}
            _kept[key] = Code(files, code_state(ROOT), found.left_out)
    except OSError as e:
        raise JobError(f"cannot read the code to copy: {e.filename}: {e.strerror}") from e
    return _kept[key]


def code_record(plugins: Iterable[str], folder: str) -> tuple[dict[str, Any], str]:
    """Return the record of the code of a run (`code_state` and the digest of `Code`) and the diff.

    The diff holds the changes since the commit, for `git apply`, with the user's modules as new
    files. Other files of the user are hashed piece by piece, whatever their size.

    Args:
        plugins: Modules of the user.
        folder: Path of the run folder. A job runs an unpacked archive, which is not a checkout;
            the record of its submitter is in job.json there.

    Raises:
        JobError: A file cannot be read.
    """
    record = code_state(ROOT)
    if os.path.exists(f"{ROOT}/{LIST}"):
        record |= _archive_record(folder)
    diff = record.pop("diff", "")
    try:
        paths = sorted(selected(PACKAGE, plugins, os.getcwd()).files.items())
        digest = digest_of((name, os.stat(path).st_size, pieces(path)) for name, path in paths)
        for name, path in paths:
            if name.endswith(".py") and not name.startswith("seqmodel/"):
                diff += _as_new(name, read_bytes(path, JobError))
    except OSError as e:
        raise JobError(f"cannot read the code: {e.filename}: {e.strerror}") from e
    return {**record, "digest": digest}, diff


def _archive_record(folder: str) -> dict[str, Any]:
    """Return the submitter's record of the archive that a job runs; empty if it is unreadable."""

    def read_json(path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(read_bytes(path, JobError))
        return found

    kept = f"{folder}/../../.seqmodel/code"
    try:
        code = read_json(f"{folder}/job.json")["code"]
        found = {n: code[n] for n in ("commit", "changed", "not_in_diff", "problem") if n in code}
        archive = f"{kept}/{code['digest']}"
        # the same files at another commit have another diff
        if code.get("diff") and read_json(f"{archive}.json").get("commit") == code["commit"]:
            found["diff"] = read_bytes(f"{archive}.diff", JobError).decode("utf-8", "replace")
    except (JobError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return found


def _as_new(name: str, data: bytes) -> str:
    from difflib import unified_diff

    # splitlines would also cut at the form feeds that some sources have
    lines = [f"{line}\n" for line in data.decode("utf-8", "replace").split("\n")]
    lines[-1] = lines[-1].removesuffix("\n")
    text = "".join(unified_diff([], [line for line in lines if line], "/dev/null", f"b/{name}"))
    return text if not text or text.endswith("\n") else f"{text}\n\\ No newline at end of file\n"


def code_state(root: str) -> dict[str, Any]:
    """Return the commit and the diff since then, with new sources; no commit if installed.

    Returns:
        `path`, `commit`, `changed`, `diff`; `not_in_diff`: reason for each file whose text is not
        in the diff; `problem`: one line if git failed, in which case unknown values are None.
    """
    state: dict[str, Any] = {"path": root, "commit": None}
    # an unpacked archive may lie beside the .git of another checkout
    if os.path.exists(f"{root}/{LIST}") or not os.path.exists(f"{root}/.git"):
        return state
    diff, left_out = "", {}
    try:
        head = commit(root)
        new = [name for name in untracked(root, "seqmodel") if name.endswith(".py")]
        changed = list(changes(root, new))
    except GitFailed as e:
        return {**state, "changed": None, "problem": f"git: {e}"}
    for name, text in changed:
        reason = _reason_against_diff(name, text)
        if reason:
            left_out[name] = reason
        else:
            diff += text
    state |= {"commit": head, "changed": bool(changed), "diff": diff}
    return {**state, "not_in_diff": left_out} if left_out else state


def _reason_against_diff(name: str, text: str) -> str:
    if is_secret_name(name):
        return "looks like a secret, by its name"
    if len(text) > MAX_FILE and not name.endswith(".py"):
        return f"larger than {MAX_FILE >> 20} MB"
    return "looks like a secret, by its content" if has_secret_text(text.encode()) else ""


def _refuse_large(files: Mapping[str, str]) -> None:
    sizes = {name: os.path.getsize(path) for name, path in files.items()}
    if sum(sizes.values()) > MAX_ALL:
        largest = max(sizes, key=lambda name: sizes[name])
        raise JobError(
            f"the code to copy has {sum(sizes.values()) / 1e6:.1f} MB, more than "
            f"{MAX_ALL >> 20} MB; the largest file is {largest} ({sizes[largest] / 1e6:.1f} MB): "
            "move data out of the packages that the plugins import"
        )
