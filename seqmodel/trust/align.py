"""Align two rows that share k-mers: strand, offset and identity. Needs edlib."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from seqmodel.dataset.seq.alphabet import Alphabet
from seqmodel.errors import HparamError
from seqmodel.extras import optional

_MOST_PLACES = 8  # places kept for each k-mer; a homopolymer has one at each position


def alignment(row: np.ndarray, other: np.ndarray, alphabet: Alphabet, k: int) -> dict[str, Any]:
    """Align a row with another one on the diagonal where they share most k-mers.

    Args:
        row: Ids of the row, uint8.
        other: Ids of the other row, uint8.
        alphabet: Alphabet of both rows.
        k: Length of the k-mers.

    Returns:
        `strand`: "-" if the reverse complement of the row is aligned; `offset`: position of the
        start of the row in the other row, negative if the row starts earlier; `overlap`: number of
        positions of the row that lie beside the other row; `identity`: proportion of equal columns
        in the global alignment of these parts. Empty if the rows share no k-mer.

    Raises:
        HparamError: edlib is not installed.
    """
    edlib = optional("edlib", "--align", "audit", HparamError)
    strands = {"+": row}
    if alphabet.complement is not None:
        strands["-"] = alphabet.reverse_complement(row)
    there = _places(other, k)
    votes: Counter[tuple[str, int]] = Counter()
    for strand, ids in strands.items():
        for kmer, places in _places(ids, k).items():
            found = there.get(kmer, ())
            votes.update((strand, b - a) for a in places for b in found)
    if not votes:
        return {}
    strand, offset = max(votes, key=lambda x: (votes[x], x[0] == "+", -abs(x[1])))
    begin, end = max(0, -offset), min(len(row), len(other) - offset)
    mine, theirs = strands[strand][begin:end], other[begin + offset : end + offset]
    path = edlib.align(mine.tobytes(), theirs.tobytes(), mode="NW", task="path")
    steps = _steps(path["cigar"])
    return {
        "strand": strand,
        "offset": offset,
        "overlap": end - begin,
        "identity": round(steps["="] / steps.total(), 4),
    }


def _places(ids: np.ndarray, k: int) -> dict[bytes, list[int]]:
    """Return the positions of each k-mer."""
    found: dict[bytes, list[int]] = {}
    text = ids.tobytes()
    for i in range(len(text) - k + 1):
        places = found.setdefault(text[i : i + k], [])
        if len(places) < _MOST_PLACES:
            places.append(i)
    return found


def _steps(cigar: str) -> Counter[str]:
    """Count the columns of an alignment by type: = X I D."""
    found: Counter[str] = Counter()
    number = ""
    for x in cigar:
        if x.isdigit():
            number += x
        else:
            found[x] += int(number)
            number = ""
    return found
