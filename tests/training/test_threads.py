"""The threads of a run: no more than its CPUs, and no spinning beside other processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed

from seqmodel.training import threads, waiting
from seqmodel.training.threads import VARIABLE, n_cpus, set_threads

ROOT = Path(__file__).parents[2]
SETTERS = (VARIABLE, "MKL_NUM_THREADS", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host of 64 CPUs on which torch chose 64 threads; returns the setter of each limit."""
    for name in (*SETTERS, *waiting._USERS):
        monkeypatch.delenv(name, raising=False)
    chosen = [64]
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "_OWN_CGROUP", tmp_path / "cgroup")

    def limit(affinity=64, cgroup=None, **variables):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for path, text in (cgroup or {}).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)

    limit()
    return limit


JOB = {"cgroup": "0::/slurm/job_7/step_0\n"}
V1 = {"cgroup": "9:pids:/\n3:cpu,cpuacct:/job_7\n0::/\n", "cpu,cpuacct/cpu.cfs_quota_us": "-1"}
LIMITS = {
    "nothing": ({}, 64),
    "affinity": ({"affinity": 2}, 2),
    "cpus-per-task without binding": ({"SLURM_CPUS_PER_TASK": "2"}, 2),
    "cpus-per-task that are not bound to": ({"SLURM_CPUS_PER_TASK": "8", "affinity": 2}, 2),
    "no quota": ({"cgroup": JOB | {"slurm/job_7/cpu.max": "max 100000\n"}}, 64),
    "the quota of a parent": (
        {"cgroup": JOB | {"slurm/cpu.max": "400000 100000\n", "cpu.max": "max 100000\n"}},
        4,
    ),
    "the quota of a container": ({"cgroup": JOB | {"cpu.max": "250000 100000\n"}}, 3),
    "half a CPU": ({"cgroup": JOB | {"cpu.max": "50000 100000\n"}}, 1),
    "version 1": (
        {
            "cgroup": V1
            | {"cpu,cpuacct/job_7/cpu.cfs_quota_us": "200000\n"}
            | {"cpu,cpuacct/job_7/cpu.cfs_period_us": "100000\n"}
        },
        2,
    ),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_process_takes_no_more_threads_than_cpus(host, limit):
    given, expected = LIMITS[limit]
    host(**given)
    assert n_cpus() == expected
    set_threads(None)
    assert torch.get_num_threads() == expected


def test_what_the_user_sets_wins(host):
    host(affinity=2, SLURM_CPUS_PER_TASK="2", OMP_NUM_THREADS="64")
    set_threads(None)
    assert torch.get_num_threads() == 64
    set_threads(5)
    assert torch.get_num_threads() == 5


RANKS = {  # 4 ranks on a node of 64 CPUs
    "started by Lightning": ({}, False, 16),
    "started by Lightning in a job": ({"SLURM_CPUS_PER_TASK": "8"}, False, 2),
    "srun binds them": ({"affinity": 2, "SLURM_CPUS_ON_NODE": "8"}, True, 2),
    "srun does not": ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "8"}, True, 2),
    "srun shares the job": ({"affinity": 8, "SLURM_CPUS_ON_NODE": "8"}, True, 2),
    "another launcher": ({}, True, 16),
}


@pytest.mark.parametrize("case", RANKS)
def test_ranks_of_a_host_share_its_cpus(host, case):
    given, bound, expected = RANKS[case]
    host(**given)
    set_threads(None, 4, bound=bound)
    assert torch.get_num_threads() == expected
    _set_num_threads_if_needed(4)  # by Lightning when it starts the ranks
    assert torch.get_num_threads() == expected
    assert os.environ.pop(VARIABLE) == str(expected)  # for the ranks that this one starts


def test_lightning_does_not_replace_the_number_that_is_given(host):
    set_threads(5, 4)
    _set_num_threads_if_needed(4)
    assert torch.get_num_threads() == 5
    del os.environ[VARIABLE]


def program(code, **env):
    """What fresh Python code prints, with these variables alone of those of OpenMP."""
    kept = {k: v for k, v in os.environ.items() if k not in (*SETTERS, *waiting._USERS)}
    words = [sys.executable, "-c", code]
    return subprocess.run(words, env=kept | env, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_fresh_process_follows_affinity_slurm_and_the_user():
    code = """
import os
os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:{}]))
from seqmodel.training.threads import set_threads
import torch
set_threads(None)
print(torch.get_num_threads())
"""
    assert program(code.format(1)) == "1\n"
    assert program(code.format(2), SLURM_CPUS_PER_TASK="1") == "1\n"
    assert program(code.format(1), OMP_NUM_THREADS="2") == "2\n"


WAITS = """
import os, threading, time, torch
from seqmodel.training import waiting

n_cpus = len(os.sched_getaffinity(0))
torch.set_num_threads(max(2, n_cpus))
x = torch.ones(1 << 20)
rate, total = 0, 0

def played():
    global total
    total += rate
    return {"1": total}

def cpu_ms():  # of operations and of the waiting after them
    start = time.process_time()
    for _ in range(10):
        x.add_(1)
        time.sleep(0.05)
    return (time.process_time() - start) * 1000

def until(n):
    end = time.monotonic() + 60
    while len(os.listdir("/proc/self/task")) != n and time.monotonic() < end:
        time.sleep(0.01)
    assert time.monotonic() < end

waiting._delays, waiting._EVERY_S = played, 0.01
cpu_ms()
before = len(os.listdir("/proc/self/task"))
with waiting.considerate_waits() as works:
    alone = cpu_ms()
    rate = 5_000_000
    until(before + (3 if works else 0))
    contended = cpu_ms()
    rate = 0
    until(before + (1 if works else 0))
    after = cpu_ms()
    rate = 5_000_000
    until(before + (3 if works else 0))
until(before)
print(works == (n_cpus > 1), contended < min(alone, after) / 2 or not works)
print(alone, contended, after)
"""


@pytest.mark.slow
def test_threads_that_wait_sleep_at_once_while_others_need_the_cpus():
    text = program(WAITS)
    assert text.startswith("True True\n"), text


def test_a_wait_that_the_user_sets_is_left(host, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(waiting, "_libgomp", lambda: SimpleNamespace(omp_get_num_procs=lambda: 2))
    with waiting.considerate_waits() as works:
        assert works
    for name in waiting._USERS:
        with monkeypatch.context() as patch:
            patch.setenv(name, "ACTIVE")
            with waiting.considerate_waits() as works:
                assert not works


@pytest.mark.slow
def test_the_benchmark_of_a_contended_host_ends_well():
    words = [sys.executable, str(ROOT / "benchmarks/contended.py"), "--settings", "torch"]
    words += ["--busy", "0", "1", "--rounds=1", "--seconds=0.1", "--n_dims=4"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(x) for x in done.stdout.splitlines()]
    names = ["torch_0", "torch_1"]
    assert [x["case"] for x in lines] == [f"contended_{x}" for x in names]
    assert all(x["ours"] > 0 and x["share"] > 0 for x in lines)
