"""The record of a search, on the driver's host: which points it has, and who is at it.

    search.json    base, space, points by canonical name, points that left
    lock           held by the driver that submits; its death releases it

Both lie in `<folder>/<name>/`.
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
    """The folder of a search; made when something is written."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        self.name = os.path.basename(self.path)
        if not self.name or any(c in self.name for c in "\n\0"):
            raise JobError(f"{path!r} is no name for a search")

    def read(self) -> dict[str, Any]:
        """What was saved last; nothing for a new search.

        Raises:
            JobError: it is damaged, or of a newer seqmodel.
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
                raise ValueError("points or left have another type")
            if not all(isinstance(name, str) for name in left):
                raise ValueError("left is not a list of names")
        except (Damaged, ValueError, KeyError, TypeError) as e:
            raise JobError(f"{path}: no record of a search ({e}); move it away") from e
        if schema > SCHEMA:
            raise JobError(f"{path}: written by a newer seqmodel; update to read it")
        return record

    def left(self, names: Iterable[str]) -> list[str]:
        """Points of earlier calls that are not among `names`."""
        record, now = self.read(), set(names)
        before = [*record.get("points", {}), *record.get("left", [])]
        return [name for name in dict.fromkeys(before) if name not in now]

    def save(self, record: dict[str, Any], renamed: Iterable[str] = ()) -> None:
        """Writes the record whole; points that it has no more stay listed as left.

        `renamed` are names that earlier versions gave to its points.
        """
        left = self.left([*record["points"], *renamed])
        made = self.read().get("made") or time.strftime("%Y-%m-%dT%H:%M:%S%z")
        record = {"schema": SCHEMA, "made": made, **record, "left": left}
        self.write("search.json", json.dumps(record, indent=1, default=str) + "\n")

    def write(self, name: str, text: str) -> None:
        """Writes one file of the record so that it is as before or whole."""
        path = f"{self.path}/{name}"
        advice = "nothing was submitted"
        write_file(path, text, JobError, durable=True, parents=True, advice=advice)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the search: one driver at a time; the system frees it at its death.

        Raises:
            JobError: another process holds it.
        """
        import fcntl

        try:
            os.makedirs(self.path, exist_ok=True)
            # a file handed to no child: a detached worker must not hold the lock
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
                            f"another process is working on the search {self.path}; "
                            "wait for it, or end it"
                        ) from e
                time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)
