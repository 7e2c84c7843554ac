"""The record of a search on the driver's host: its points, and a lock.

    search.json    base, space, points by canonical name, removed points
    lock           held by the driver while it submits; released when it ends

Both are in `<folder>/<name>/`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from seqmodel.errors import JobError
from seqmodel.files import write_file
from seqmodel.record.run_files import Damaged, parse_object, read_regular

SCHEMA = 1
LOCK_WAIT_S = 2.0
"""A program that a killed driver was just starting holds the lock until it has become another."""


class SearchRecord:
    """The folder of a search; it is created by the first write."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.name = os.path.basename(self.path)
        if not self.name or any(c in self.name for c in "\n\0"):
            raise JobError(f"{path!r} is not a valid name of a search")

    def read(self) -> dict[str, Any]:
        """Return the saved record; empty for a new search.

        Raises:
            JobError: The record is damaged, or from a newer version of seqmodel.
        """
        path = f"{self.path}/search.json"
        try:
            data = read_regular(path)
            if data is None:
                return {}
            record = parse_object(data, "search.json")
            schema = int(record["schema"])
            points, left = record.get("points", {}), record.get("left", [])
            if not isinstance(points, dict) or not isinstance(left, list):
                raise ValueError("points or left have the wrong type")
            if not all(isinstance(name, str) for name in left):
                raise ValueError("left is not a list of names")
        except (Damaged, ValueError, KeyError, TypeError) as e:
            raise JobError(f"{path}: not a record of a search ({e}); move it away") from e
        if schema > SCHEMA:
            raise JobError(f"{path}: written by a newer seqmodel; update to read it")
        return record

    def left(self, names: Iterable[str]) -> list[str]:
        """Return points of earlier calls that are not in `names`."""
        record, now = self.read(), set(names)
        before = [*record.get("points", {}), *record.get("left", [])]
        return [name for name in dict.fromkeys(before) if name not in now]

    def save(self, record: dict[str, Any], renamed: Iterable[str] = ()) -> None:
        """Write the whole record; points that it no longer has stay listed in `left`.

        `renamed` has the names that earlier versions gave to its points.
        """
        left = self.left([*record["points"], *renamed])
        made = self.read().get("made") or time.strftime("%Y-%m-%dT%H:%M:%S%z")
        record = {"schema": SCHEMA, "made": made, **record, "left": left}
        self.write("search.json", json.dumps(record, indent=1, default=str) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the record atomically."""
        path = f"{self.path}/{name}"
        advice = "nothing was submitted"
        write_file(path, text, JobError, durable=True, parents=True, advice=advice)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the search, one driver at a time; the system frees it when it ends.

        Raises:
            JobError: Another process holds the lock.
        """
        import fcntl

        try:
            os.makedirs(self.path, exist_ok=True)
            # children do not inherit the file: a detached worker must not hold the lock
            descriptor = os.open(f"{self.path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as e:
            raise JobError(f"cannot write {self.path}: {e.strerror}") from e
        try:
            end = time.monotonic() + LOCK_WAIT_S
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as e:
                    if time.monotonic() > end:
                        raise JobError(
                            f"another process is running the search {self.path}; "
                            "wait for it, or end it"
                        ) from e
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)
