"""A search over SSH on a real Slurm: how often it connects, and how often sbatch is called."""

import os

import pytest
from cluster.slurm import Slurm
from cluster.sshd import HOST, Sshd
from programs import need
from search_helpers import BASE, FAKE

from seqmodel.job import SlurmJob, SshInterface, search
from seqmodel.job.search.space import log_uniform

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """A Slurm, and an sshd whose sessions find it."""
    for program in ("slurmctld", "slurmd", "munged", "sbatch", "faketime", "sshd", "ssh"):
        need(program)
    with Slurm() as slurm:
        conf = {"SLURM_CONF": str(slurm.conf)}
        before = os.environ.get("SLURM_CONF")
        os.environ |= conf
        try:
            with Sshd(env=conf) as sshd:
                sshd.open_master()
                yield sshd
        finally:
            os.environ.pop("SLURM_CONF")
            if before is not None:
                os.environ["SLURM_CONF"] = before


def test_a_search_of_a_hundred_points_is_three_connections_and_one_sbatch(cluster, workdir):
    interface = SshInterface(HOST, config=str(cluster.config), timeout_s=60)
    job = SlurmJob(
        interface,
        workdir=str(workdir),
        python=FAKE,
        stage_code=False,
        stage_data=False,
        slurm_mem="50M",
        slurm_time_min=10,
        requeue=False,
        n_at_once=16,
    )
    found = search.random(job, BASE, {"lr": log_uniform(1e-4, 1)}, n=100)
    assert found.counts == {"new": 100, "again": 0}
    assert interface.n_connections <= 3
    assert job.n_calls["sbatch"] == 1
    states = found.wait(timeout_s=300, every_s=2)
    assert {s.state for s in states} == {"complete"}
    before = interface.n_connections
    table = found.results()
    assert len(table) == 100
    assert all(r.best("valid_loss") is not None for r in table)
    assert interface.n_connections - before <= 2
    assert search.random(job, BASE, {"lr": log_uniform(1e-4, 1)}, n=100).counts == {
        "complete": 100,
        "new": 0,
        "again": 0,
    }
