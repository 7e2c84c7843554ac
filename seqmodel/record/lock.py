"""One writer per run folder: the file `lock` in it names the writing process. Light.

This works even without flock (NFS, Lustre): a lock is a file that is linked into place as a whole,
which succeeds for only one process, and its heartbeat is its modification time. A killed process
and a dead node leave the file behind; the next start takes it over. See docs/decisions/run-lock.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from seqmodel.errors import RunError
from seqmodel.files import create, write_file
from seqmodel.terminal import plain_line

LOCK = "lock"
BEAT_S = 10.0  # seconds between two heartbeats
DEAD_S = 120.0  # a process on another host counts as dead after this silence
MOST_BYTES = 1 << 16
WAIT_S = 180.0  # a job waits this long for the previous attempt


class FolderLock:
    """The lock of a run folder, held from `take` to `release`; not enforced before `take`."""

    def __init__(self) -> None:
        self.token = os.urandom(8).hex()
        self._path: Path | None = None
        self._text = ""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def take(self, folder: Path) -> None:
        """Make this process the only writer of the existing `folder`.

        A job waits for the previous attempt, which may be ending or dead on another host.

        Raises:
            RunError: Another process writes there, or no file can be created there.
        """
        path = folder / LOCK
        self._text = json.dumps({**_this_process(folder), "token": self.token})
        end = time.monotonic() + (WAIT_S if in_job() else 0.0)
        is_shown = False
        try:
            while not self._try_to_take(path):
                if time.monotonic() >= end:
                    refuse_if_held(folder)
                    continue  # it was released just now
                if not is_shown:
                    print(plain_line(f"waiting for {_holder_text(path)} to end"), file=sys.stderr)
                    is_shown = True
                time.sleep(1.0)
        except OSError as e:
            raise RunError(f"cannot write the lock {path}: {e.strerror}") from e
        self._path = path
        self._thread = threading.Thread(target=self._beat, daemon=True, name="seqmodel-lock")
        self._thread.start()

    def check(self) -> None:
        """Check that this process still holds the folder; call it before each write.

        Raises:
            RunError: Another process took over the folder, or it is gone.
        """
        if self._path is None:
            return
        try:
            if self._is_own(self._path):
                return
            by = _holder_text(self._path)
        except OSError as e:
            raise RunError(f"the run folder {self._path.parent} is gone: {e.strerror}") from e
        raise RunError(
            f"{self._path.parent} was taken over by {by}, because this process sent no "
            f"heartbeat for {DEAD_S:.0f} s (was it suspended?); it stops and writes nothing more"
        )

    def is_own(self) -> bool:
        """Return whether `check` passes."""
        try:
            self.check()
        except RunError:
            return False
        return True

    def release(self) -> None:
        """Release the folder if this process still holds it."""
        path, self._path = self._path, None
        if path is None:
            return
        self._ended.set()
        if self._thread is not None:
            self._thread.join(30.0)  # it would create the file again
        with suppress(OSError):
            if _token(_read(path)) == self.token:
                path.unlink()

    def _try_to_take(self, path: Path) -> bool:
        holders = _holders(path)
        if not holders:
            return create(path, self._text)
        if _lives(*holders[-1]):
            return False
        # the claim is named after what it replaces, so only one process can create it
        claim = _claim(path, holders[-1][0])
        if not create(claim, self._text):
            return False
        if _token(_read(path)) != _token(holders[0][0]):  # it was replaced after it was read
            claim.unlink()
            return False
        write_file(path, self._text, RunError)
        for holder, _ in holders:
            _claim(path, holder).unlink(missing_ok=True)
        return True

    def _is_own(self, path: Path) -> bool:
        try:
            found = _read(path)
        except OSError:
            return True  # the file system is temporarily unavailable; the next write will fail
        if found is None:  # removed by hand
            return create(path, self._text)
        return _token(found) == self.token

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            path = self._path
            with suppress(OSError):
                if path is None or not self._is_own(path):
                    return
                os.utime(path)  # without times: by the clock of the file system


def refuse_if_held(folder: Path) -> None:
    """Check the lock of `folder` without changing it.

    Raises:
        RunError: Another process writes there.
    """
    holders = _holders(folder / LOCK)
    if holders and _lives(*holders[-1]):
        raise RunError(
            f"{folder} is being written by {_holder_text(folder / LOCK)}; a run folder has one "
            "writer: wait until it ends, stop it, or choose another --default_root_dir"
        )


def in_job() -> bool:
    """Return whether node.sh started this process, which then waits for a lock."""
    return bool(os.environ.get("SEQMODEL_JOB_PID"))


def _job() -> str:
    env = os.environ
    if env.get("SLURM_ARRAY_JOB_ID") and env.get("SLURM_ARRAY_TASK_ID"):
        return f"{env['SLURM_ARRAY_JOB_ID']}_{env['SLURM_ARRAY_TASK_ID']}"
    return env.get("SLURM_JOB_ID") or env.get("SEQMODEL_JOB_PID") or ""


def _this_process(folder: Path) -> dict[str, Any]:
    return {
        "host": os.uname().nodename,
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _start_of(os.getpid()),
        "job": _job(),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "folder": str(folder.resolve()),
    }


def _holder_text(path: Path) -> str:
    """Describe the process that holds `path`, for messages."""
    holders = _holders(path)
    if not holders or "pid" not in holders[-1][0]:
        return "another process"
    holder, _ = holders[-1]
    job = f" (job {holder['job']})" if holder.get("job") else ""
    return f"process {holder['pid']} on {holder.get('host')}{job}, since {holder.get('since')}"


def _holders(path: Path) -> list[tuple[dict[str, Any], Path]]:
    """Return the record at `path` and those of its successive claimants, each with its path.

    The last one is that of the holder.
    """
    found: list[tuple[dict[str, Any], Path]] = []
    at = path
    while (record := _read(at)) is not None:
        found.append((record, at))
        at = _claim(path, record)
    return found


def _claim(path: Path, holder: Mapping[str, Any]) -> Path:
    return path.with_name(f"{path.name}.{_token(holder)}.next")


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a lock; None if there is none. A damaged one has only its token."""
    try:
        with _open(path) as file:
            data = file.read(MOST_BYTES) or b""  # None for a terminal or pipe without input
    except FileNotFoundError as e:
        if os.path.islink(path):  # a link to nothing: no lock could be made in its place
            raise _unreadable(path, e) from e
        return None
    except OSError as e:
        raise _unreadable(path, e) from e
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        record = json.loads(data)
        if record["token"].isalnum() and record["folder"] and isinstance(record["pid"], int):
            return dict(record)
    return {"token": sha256(data).hexdigest()[:16]}


def _token(holder: Mapping[str, Any] | None) -> str:
    return str(holder["token"]) if holder else ""


def _lives(holder: Mapping[str, Any], at: Path) -> bool:
    """Return whether the process in the record at `at` may still write."""
    if holder.get("machine") != _machine():
        return _silent_s(at) <= DEAD_S
    with suppress(OSError):
        if not os.path.samefile(holder["folder"], at.parent):
            return False  # the folder is a copy of the folder that is written
    return _start_of(holder["pid"]) in ("unknown", holder.get("started"))


def _silent_s(at: Path) -> float:
    """Return the seconds since the last heartbeat, by the clock of the file system."""
    probe = at.with_name(f"{LOCK}.{os.urandom(8).hex()}.part")
    try:
        create(probe, ".")
        return _mtime(probe) - _mtime(at)
    finally:
        probe.unlink(missing_ok=True)


def _mtime(path: Path) -> float:
    try:
        with _open(path) as file:
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return 0.0
    except OSError as e:
        raise _unreadable(path, e) from e


def _unreadable(path: Path, e: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be read ({e.strerror}); if no run writes into this folder, remove it"
    )


def _open(path: Path) -> BinaryIO:
    # opening queries an NFS server again, unlike stat; a FIFO must not block
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")


def _machine() -> str:
    """Return an identifier of the host and container in which a process id is valid."""
    parts = [os.uname().nodename]
    with suppress(OSError):  # only Linux has these files
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _start_of(pid: int) -> str | None:
    """Return the start time of a process, in units of this host; None if it is dead."""
    hidden = None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        hidden = "unknown"  # it lives, but some hosts hide the processes of other users
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        on_linux = Path("/proc/self/stat").exists()
        return hidden if on_linux else _start_by_ps(pid) or hidden


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    state, _, start = done.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else start.strip()
