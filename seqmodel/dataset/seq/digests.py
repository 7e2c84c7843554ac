"""64-bit digests of whole sequences, to detect training sequences of a model without its data.

A digest is 8 bytes of BLAKE2b of the symbols in upper case, with N for unknown ones. Of the
sequence and its reverse complement, the one that is first in byte order is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from seqmodel.dataset.seq.alphabet import Alphabet

MOST_ROWS = 2_000_000


def digests(rows: Iterable[np.ndarray], alphabet: Alphabet) -> np.ndarray:
    """Return the digest of each row of ids, int64; reverse complements have the same digest."""
    letters, other = _tables(alphabet)
    found = []
    for row in rows:
        ids = row.tobytes()
        text = ids.translate(letters)
        if other is not None:
            text = min(text, ids[::-1].translate(other))
        found.append(blake2b(text, digest_size=8).digest())
    return np.frombuffer(b"".join(found), dtype="<i8").astype(np.int64, copy=False)


def _tables(alphabet: Alphabet) -> tuple[bytes, bytes | None]:
    """Return the byte of each id and its complement; multi-character symbols use their ids."""
    table = np.arange(256, dtype=np.uint8)
    if alphabet.is_single:
        table[:] = ord(alphabet.ambiguous[:1] or ".")
        table[: alphabet.n_letters] = [ord(x.upper()) for x in alphabet.letters]
    if alphabet.complement_table is None:
        return table.tobytes(), None
    other = table.copy()
    other[: alphabet.n_tokens] = table[alphabet.complement_table]
    return table.tobytes(), other.tobytes()
