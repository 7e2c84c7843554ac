"""FASTA files as tables: one row per record, with the fields of its header as columns.

The columns are `sequence`, `name` (the first field of the header) and one for each further field:
`key=value` is the column `key`; any other field is `field2`, `field3`, ... by its position. Fields
are separated by `|` if the first header has one, else by blanks. The first header defines the
columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from seqmodel.dataset.seq.fasta import FastaReader, Header
from seqmodel.errors import LabelError, SequenceError
from seqmodel.files import text_of

_KEY = re.compile(r"([A-Za-z_]\w*)=(.*)")


def fasta_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Iterate over the line and the columns of each record; the column names come first.

    Raises:
        LabelError: The file is not FASTA, or the fields of a header differ from the first one.
    """
    names: list[str] = []
    separator: str | None = None
    line, row, parts = 0, [""], list[bytes]()
    try:
        for event in FastaReader(path):
            if not isinstance(event, Header):
                parts.append(event.raw)
                continue
            if names:
                yield line, [_joined(parts), *row]
            text = text_of(event.raw, lambda n=event.line: f"{path} line {n}", SequenceError)  # type: ignore[misc]  # binds the current value
            if not names:
                separator = "|" if "|" in text else None
                names = list(_fields(text, separator))
                yield event.line, ["sequence", *names]
            found = _fields(text, separator)
            new = next((x for x in found if x not in names), None)
            if new is not None:
                raise LabelError(
                    f"{path} line {event.line}: the header has the field {new!r} ({found[new]!r}), "
                    f"but the first has {', '.join(names)}; give all headers the same fields"
                )
            line, row, parts = event.line, [found.get(x, "") for x in names], []
    except SequenceError as e:
        raise LabelError(str(e)) from e
    yield line, [_joined(parts), *row]


def _fields(text: str, separator: str | None) -> dict[str, str]:
    """Return the fields of a header by the names of their columns."""
    found: dict[str, str] = {}
    for number, field in enumerate(text.strip().split(separator), 1):
        key = _KEY.fullmatch(field.strip()) if number > 1 else None
        name = key[1].lower() if key else "name" if number == 1 else f"field{number}"
        found.setdefault(name, (key[2] if key else field).strip())
    return found


def _joined(parts: list[bytes]) -> str:
    return b"".join(b"".join(parts).split()).decode("latin-1")
