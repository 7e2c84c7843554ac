"""For tests of stores and cached arrays: a clock that is later, and 2bit files."""

import time

import numpy as np


def settle(monkeypatch, seconds=60):
    """Lets the clock of the program, not of the file system, be later."""
    real = time.time_ns
    monkeypatch.setattr(
        "seqmodel.dataset.seq.source.time.time_ns", lambda: real() + seconds * 10**9
    )


def twobit_bytes(contigs, order="<"):
    """A 2bit file written from the format's description alone."""

    def word(*numbers):
        return np.array(numbers, dtype=f"{order}u4").tobytes()

    def runs(text, inside):
        flags = np.array([0, *(inside(x) for x in text), 0])
        edges = np.flatnonzero(np.diff(flags))
        return word(len(edges) // 2, *edges[::2], *(edges[1::2] - edges[::2]))

    records = []
    for text in contigs.values():
        codes = ["TCAG".find(x) if x in "TCAG" else 0 for x in text.upper()]
        codes += [0] * (-len(codes) % 4)
        packed = bytes(
            a << 6 | b << 4 | c << 2 | d for a, b, c, d in np.array(codes).reshape(-1, 4).tolist()
        )
        masks = runs(text, lambda x: x in "Nn"), runs(text, str.islower)
        records.append(word(len(text)) + b"".join(masks) + word(0) + packed)
    at = 16 + sum(5 + len(name) for name in contigs)
    index = b""
    for name, record in zip(contigs, records, strict=True):
        index += bytes([len(name)]) + name.encode() + word(at)
        at += len(record)
    return word(0x1A412743, 0, len(contigs), 0) + index + b"".join(records)
