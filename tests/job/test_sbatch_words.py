"""What clusters print around the id of a job: played by wrappers of the real sbatch."""

import os
from pathlib import Path

import pytest
from job_helpers import RUN, events, play, wait_final, wait_for
from programs import need

from seqmodel.errors import JobError

pytestmark = pytest.mark.slow

REAL = 'out=$("SBATCH" "$@") || exit\nid=${out%%;*}\n'
WORDS = {
    "info before": "echo 'sbatch: info: your job is charged to x'; echo $id",
    "info after": "echo $id; echo 'Estimated cost: 3 units, 12 h'",
    "plain words": 'echo "Submitted batch job $id"',
    "words of a cluster": 'echo "Submitted batch job $id on cluster c1"',
    "cluster": 'echo "$id;c1"',
    "on stderr": "echo 'no limit is set' >&2; echo $id >&2",
    "carriage return": "printf '%s\\r\\n' $id",
    "several numbers": "echo 123456789; echo $id",
    "nothing": ":",
    "other words": 'echo "your job has been queued"',
    "a failure after all": "echo 'sbatch: error: logger failed' >&2; exit 1",
}


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Plays a program in the place of sbatch; the real one is SBATCH."""

    def played(text):
        play(tmp_path / "bin/sbatch", text.replace("SBATCH", need("sbatch")))
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    return played


def queued(slurm, replicate):
    text = Path(replicate.path, "events").read_text().split("submitting")[1]
    token = text.partition("token=")[2].split()[0]
    return sorted(job for job, (_, name) in slurm.states().items() if name.endswith(f".{token}"))


@pytest.mark.parametrize("words", WORDS)
def test_the_id_is_found_wherever_it_stands(slurm_job, slurm, sbatch, words):
    sbatch(REAL + WORDS[words])
    replicate = slurm_job.submit(**RUN)
    assert [replicate.job] == queued(slurm, replicate)
    assert events(replicate).count("refused") == 0
    assert wait_final(slurm_job, [replicate])[0].state == "complete"
    assert events(replicate).count("start") == 1


def test_the_id_of_an_array_is_found_by_its_token(slurm_job, slurm, sbatch):
    sbatch(REAL + WORDS["nothing"])
    made = slurm_job.submit_all([{**RUN, "seed": i} for i in range(3)])
    assert [r.job for r in made] == queued(slurm, made[0])
    assert {s.state for s in wait_final(slurm_job, made)} == {"complete"}


def test_without_an_id_and_without_the_queue_nothing_is_called_refused(
    slurm_job, slurm, sbatch, tmp_path, monkeypatch
):
    sbatch(REAL.replace('"$@"', '--begin=now+10hours "$@"') + WORDS["other words"])
    play(tmp_path / "bin/squeue", "exit 1\n")
    with pytest.raises(JobError, match="no id of a job.*Perhaps queued: .*by its token") as error:
        slurm_job.submit(**RUN)
    replicate = error.value.replicates[0]
    assert Path(replicate.path, "submit.0").exists()
    assert "refused" not in events(replicate)
    (tmp_path / "bin/squeue").unlink()
    found = slurm_job.status([replicate])[0]
    assert (found.state, found.queued, [found.job]) == ("created", True, queued(slurm, replicate))
    slurm_job.submit(replicate)
    assert slurm_job.n_calls["sbatch"] == 1
    slurm_job.cancel([replicate])
    wait_for(lambda: slurm.states()[found.job][0] == "CANCELLED")


def test_an_answer_that_came_too_late_does_not_make_two_writers(slurm_job, slurm, sbatch, tmp_path):
    """The controller took the job although sbatch says that it timed out; the queue is slow too."""
    sbatch(REAL + "echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2; exit 1")
    play(tmp_path / "bin/squeue", "exit 1\n")
    with pytest.raises(JobError, match="Socket timed out.*Perhaps queued: .*by its token") as error:
        slurm_job.submit(**RUN, monitor="count_5")
    replicate = error.value.replicates[0]
    (tmp_path / "bin/squeue").unlink()
    assert wait_final(slurm_job, [replicate])[0].state == "complete"
    assert events(replicate).count("start") == 1


def test_a_refusal_is_one_still_and_says_why(slurm_job, slurm, sbatch):
    sbatch("echo 'sbatch: info: welcome'; echo 'sbatch: error: Invalid account' >&2; exit 1")
    with pytest.raises(JobError, match="refused the job on local: Invalid account. Kept"):
        slurm_job.submit(**RUN)
    sbatch("exit 3")
    with pytest.raises(JobError, match="refused the job on local: exit code 3, without a reason"):
        slurm_job.submit(**RUN)
    reasons = {"refused: Invalid account", "refused: exit code 3, without a reason"}
    assert {s.reason for s in slurm_job.status()} == reasons
