"""A driver that is killed at any moment and called again: nothing twice, nothing lost."""

import os
import random
import signal
import time

import pytest
from search_helpers import BASE, SETTINGS

from seqmodel.job import ShellJob, search

pytestmark = pytest.mark.slow

N_KILLS = 50
SPACE = {"lr": [1e-3, 1e-2], "weight_decay": [0.1, 0.2]}


def drive(i):
    # a claim that a dead submitter left is given up after grace_s
    job = ShellJob(**SETTINGS, n_at_once=4, grace_s=3, job_out_dir=f"out/{i}")
    return search.grid(job, BASE, SPACE, name=str(i))


@pytest.mark.timeout(1200)
def test_a_driver_killed_at_any_moment_neither_repeats_nor_loses_a_point(workdir):
    start = time.monotonic()
    drive("whole").wait(timeout_s=60)
    took = time.monotonic() - start
    rng = random.Random(0)
    stages = set()
    for i in range(N_KILLS):
        child = os.fork()
        if child == 0:
            try:
                drive(i)
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0, min(took, 0.5)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = drive(i)
        stages.add(tuple(sorted(n for n, count in found.counts.items() if count)))
        states = found.wait(timeout_s=120)
        assert [s.state for s in states] == ["complete"] * 4, i
    for i in range(N_KILLS):
        ran = [
            int((path / "ran").read_text().count("ran"))
            for path in workdir.glob(f"out/{i}/*/version_*")
            if (path / "ran").exists()
        ]
        assert ran == [1] * 4, i
    assert len(stages) > 1  # they were not all killed at the same point
