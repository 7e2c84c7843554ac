"""What training frees stays with the process, until training ends."""

import os
import subprocess
import sys

CODE = """
import numpy as np
from seqmodel.training.allocator import kept_memory

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 >> 20

def use(n_mb):
    before = resident()
    x = np.ones(n_mb << 20, np.uint8)
    del x
    return resident() - before

outside = use(100)
with kept_memory() as kept:
    within = use(100)
    again = use(100)
    held = resident()
given_back = held - resident()
print(kept, outside, within, again, given_back, use(100))
"""


def told(**env):
    run = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **env},
    )
    kept, *sizes = run.stdout.split()
    return kept == "True", *map(int, sizes)


def test_freed_memory_is_kept_within_and_given_back_after():
    kept, outside, within, again, given_back, later = told()
    assert kept
    assert outside < 5
    assert within > 90
    assert again < 5  # the same pages again
    assert given_back > 90
    assert later < 5


def test_what_the_user_has_set_stands():
    kept, _, within, *_ = told(MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept
    assert within < 5
