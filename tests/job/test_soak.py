import pytest
from job import soak as module
from programs import need

pytestmark = pytest.mark.slow


def test_a_short_soak_on_a_real_slurm(tmp_path, monkeypatch):
    """The two-minute version of soak.py, which takes other seeds, sizes and times by flags."""
    for program in ("slurmctld", "slurmd", "munged", "sbatch", "faketime"):
        need(program)
    monkeypatch.chdir(tmp_path)
    found = module.soak(seed=7, n_submits=60, minutes=0.8)
    assert found.wrong == []
    assert found.did["cancels"] > 0
    assert found.did["kills by slurmctld"] > 0
    assert found.states_found["complete", ""] > 0
