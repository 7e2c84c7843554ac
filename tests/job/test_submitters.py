import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, wait_for

from seqmodel.job import ShellJob, SlurmJob, status

ROOT = Path(__file__).parents[2]


def submitters(*args):
    subprocess.run(
        [sys.executable, str(Path(__file__).parent / "submitter.py"), *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_many_submitters_at_once_never_share_a_number(workdir):
    submitters("race", "16", "20")
    folders = [
        line for file in workdir.glob("folders.*") for line in file.read_text().split("\n")[:-1]
    ]
    assert len(folders) == len(set(folders)) == 320
    numbers = sorted(int(folder.rsplit("_", 1)[1]) for folder in folders)
    assert numbers == list(range(320))
    found = status("out")
    assert Counter((s.state, s.reason) for s in found) == {("created", "not submitted"): 320}
    for folder in folders:
        version = folder.rsplit("_", 1)[1]
        script = next(Path(folder).glob("*.sh"))
        assert script.name.endswith(f"_version_{version}.sh")
        assert script.read_text().endswith('job_main "$@"\n')
        assert f"version_{version}" in script.read_text()


@pytest.mark.slow
def test_submitters_killed_at_random_moments_queue_nothing_twice_in_slurm(workdir, slurm):
    submitters("killed", "100", "1", "slurm")
    job = SlurmJob(python=FAKE_PYTHON, slurm_mem="10M", heartbeat_s=1, grace_s=8)

    def told():
        found = job.status()
        reasons = {s.reason for s in found if not s.queued or s.reason.startswith("being")}
        return found if reasons <= {"half-made", "not submitted"} else None

    found = wait_for(told, 170, every=2)
    tokens = Counter(name.rpartition(".")[2] for _, name in slurm.states().values())
    ours = Path(workdir, "out/.seqmodel/submitted")
    tokens = {token: n for token, n in tokens.items() if (ours / token).exists()}
    assert set(tokens.values()) == {1}
    queued = [s for s in found if s.queued]
    assert len(queued) == len(tokens)  # each job belongs to a folder, and is found
    assert len({s.job for s in queued}) == len(queued)
    assert all(Path(s.folder, "submit.0").exists() for s in queued)
    # nothing blocks later submits: those that were created go on, and new ones are made
    left = [s.folder for s in found if s.reason == "not submitted"]
    again = [r for folder in left for r in job.find(folder)]
    time.sleep(9)  # a claim that was not noted any more is given up after grace_s
    for replicate in again:
        job.submit(replicate)
    assert all(s.state in ("created", "running", "complete") for s in job.status(again))
    n_half = sum(s.reason == "half-made" for s in found)
    assert len(job.prune(older_than_min=0)) == n_half
    assert not any(s.reason == "half-made" for s in job.status())
    new = job.submit(**RUN)
    assert job.status([new])[0].state in ("created", "running", "complete")
    slurm.call("scancel", "-u", str(os.getuid()))


@pytest.mark.slow
def test_submitters_killed_at_random_moments_start_nothing_twice_in_the_shell(workdir):
    submitters("killed", "100", "2", "shell")
    job = ShellJob(python=FAKE_PYTHON, n_at_once=4, heartbeat_s=1)
    told = {"half-made", "not submitted"}
    # as long as nobody said that the entry is in the queue it may still be put there
    found = wait_for(
        lambda: (f := job.status()) and all(s.is_final or s.reason in told for s in f) and f, 200, 1
    )
    assert {s.state for s in found} <= {"complete", "created"}
    for s in found:
        if s.reason != "half-made":
            words = [
                line.split(" ")[1] for line in Path(s.folder, "events").read_text().splitlines()
            ]
            assert words.count("start") == (s.state == "complete")
    new = job.submit(**RUN)
    wait_for(lambda: job.status([new])[0].state == "complete")
