"""What usage.json says of memory is of the run, not of the program that started it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = "from seqmodel.training.usage import used; print(used()['peak_rss_bytes'])"


def peak():
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True,
        preexec_fn=lambda: None,  # so that it is started by a fork, as a shell does
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.slow
def test_the_memory_of_a_parent_does_not_count():
    alone = peak()
    ballast = bytearray(700_000_000)
    ballast[::4096] = bytes([1]) * len(ballast[::4096])
    assert peak() < alone + 200_000_000
