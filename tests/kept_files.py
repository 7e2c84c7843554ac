"""For tests of files that are kept because they take long to make: stores, cached arrays."""

import time


def settle(monkeypatch, seconds=60):
    """Lets the clock of the program, not of the file system, be later."""
    real = time.time_ns
    monkeypatch.setattr("seqmodel.dataset.source.time.time_ns", lambda: real() + seconds * 10**9)
