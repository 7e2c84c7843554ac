"""Elements of job arrays: Slurm gives one of them the raw id of the array itself."""

from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, events, wait_final, wait_for

from seqmodel.job import SlurmJob

pytestmark = pytest.mark.slow


def metrics_of_all(job, made):
    return wait_for(lambda: (found := job.status(made)) and all(s.metrics for s in found) and found)


def raw_ids(slurm):
    """The id of each element to its raw id, as Slurm has them."""
    out = slurm.call("squeue", "-h", "-r", "-t", "all", "-o", "%i %A")
    return dict(line.split() for line in out.splitlines())


def test_each_element_is_cancelled_by_itself(slurm_job, slurm):
    made = slurm_job.submit_all([{**RUN, "monitor": "wait"}] * 3)
    found = metrics_of_all(slurm_job, made)
    array = made[0].job.split("_")[0]
    assert [s.job for s in found] == [f"{array}_{i}" for i in range(3)]
    shared = [job for job, raw in raw_ids(slurm).items() if raw == array]
    assert len(shared) == 1  # the element whose raw id is that of the array
    slurm_job.cancel([r for r in made if r.job == shared[0]])
    wait_for(lambda: slurm.states()[shared[0]][0] == "CANCELLED")
    states = {s.job: s.state for s in slurm_job.status(made)}
    assert states == {r.job: "error" if r.job == shared[0] else "running" for r in made}
    assert {slurm.states()[r.job][0] for r in made if r.job != shared[0]} == {"RUNNING"}
    slurm_job.cancel([r for r in made if r.job != shared[0]])


def test_an_element_that_an_older_version_recorded_by_its_raw_id_is_cancelled_by_itself(
    slurm_job, slurm
):
    made = slurm_job.submit_all([{**RUN, "monitor": "wait"}] * 2)
    metrics_of_all(slurm_job, made)
    array = made[0].job.split("_")[0]
    last = made[1]
    assert raw_ids(slurm)[last.job] == array
    path = Path(last.path, "events")
    text = path.read_text()
    as_before = "".join(
        line.replace(f"job={last.job}", f"job={array}") if " start " in line else line
        for line in text.splitlines(keepends=True)
    )
    assert as_before != text
    path.write_text(as_before)
    assert slurm_job.find(last.path)[0].job == last.job
    # also where nobody noted the answer of sbatch
    path.write_text("".join(x for x in as_before.splitlines(True) if " submitted " not in x))
    slurm_job.cancel([last])
    wait_for(lambda: slurm.states()[last.job][0] == "CANCELLED")
    assert slurm.states()[made[0].job][0] == "RUNNING"
    slurm_job.cancel([made[0]])


def test_each_element_goes_through_its_own_attempts(slurm, workdir):
    lengths = (25, 140, 150)
    # the last starts when the first has ended, so that their time limits are not the same
    job = SlurmJob(
        python=FAKE_PYTHON, heartbeat_s=1, slurm_mem="200M", slurm_time_min=1, slurm_signal_s=10,
        n_at_once=2,
    )  # fmt: skip
    made = job.submit_all([{**RUN, "monitor": f"count_{n}"} for n in lengths])
    found = wait_final(job, made, 240)
    assert [s.state for s in found] == ["complete"] * 3, [s.detail for s in found]
    for status, replicate, n in zip(found, made, lengths, strict=True):
        words = events(replicate)
        assert words.count("start") == words.count("requeue") + 1 == status.attempts
        assert words.count("run") == status.attempts
        assert words.count("end") == 1
        rows = Path(replicate.path, "metrics.csv").read_text().split()[1:]
        assert [row.split(",")[1] for row in rows] == [str(i) for i in range(1, n + 1)]
        assert Path(replicate.path, "checkpoints/last.ckpt").read_text() == str(n)
    assert min(s.attempts for s in found[1:]) > 1
