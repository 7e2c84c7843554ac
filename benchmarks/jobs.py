"""What submitting and finding jobs costs, beside submitit and beside budgets.

    python benchmarks/jobs.py [--case import ...] [--runs 5]

One JSON line a figure. The peer is `submitit` (the extra `peers`, measured in the same run: what it
does for the same thing), or a budget named by what is counted: `seconds`, `connections`,
`sbatch_calls`, `scheduler_calls`; `ratio` is peer / ours. Jobs are trivial: what is measured is
everything around them. The cases with slurm or ssh in their name bring up the cluster of the tests
on this machine, and are left out, with a line on stderr, where its programs are missing.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from seqmodel.job import ShellJob, SlurmJob, SshInterface  # noqa: E402

RUN = {"task": "masked", "fasta": "a.fa", "seq_len": 8}
FAKE_PYTHON = str(ROOT / "tests/job/fake_python")
OURS = "import seqmodel.hparam.resolve, seqmodel.job.shell, seqmodel.job.slurm"
# as installed: modules are compiled once, by the first call, which is not counted
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
BUDGETS = {"import": 60.0, "submit_100_local": 1.35, "status_1000_local": 0.3}


def say(case, ours, peer, peer_value, unit):
    """Prints one figure."""
    line = {"case": case, "ours": round(ours, 4), "peer": peer, "peer_value": round(peer_value, 4)}
    ratio = round(peer_value / ours, 2) if ours else None
    print(json.dumps({**line, "unit": unit, "ratio": ratio}), flush=True)


def has_submitit():
    found = subprocess.run(
        [sys.executable, "-c", "import submitit"], capture_output=True, check=False
    )
    if found.returncode:
        print("jobs: submitit is not installed: pip install '.[peers]'", file=sys.stderr)
    return found.returncode == 0


@contextlib.contextmanager
def workdir():
    """A working directory with a data file, and nothing else."""
    before, folder = os.getcwd(), tempfile.mkdtemp(prefix="jobs", dir="/tmp")
    Path(folder, "a.fa").write_text(">c1\nACGTACGT\n")
    os.chdir(folder)
    try:
        yield Path(folder)
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def import_ms(code, runs):
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=ENV)
        times.append((time.perf_counter() - start) * 1000)
    return times[1:]


def case_import(runs):
    names = {"bare": "pass", "ours": OURS} | (
        {"submitit": "import submitit"} if has_submitit() else {}
    )
    times = {name: [] for name in names}
    for _ in range(runs):
        for name, code in names.items():
            times[name] += import_ms(code, 1)
    above = {
        name: statistics.median(t) - statistics.median(times["bare"]) for name, t in times.items()
    }
    unit = "ms above a bare interpreter"
    say("import", above["ours"], "budget", BUDGETS["import"], unit)
    if "submitit" in above:
        say("import", above["ours"], "submitit", above["submitit"], unit)


def case_submit_100_local(runs):
    ours = statistics.median(submit_100() for _ in range(max(1, runs // 2)))
    say(
        "submit_100_local",
        ours,
        "seconds",
        BUDGETS["submit_100_local"],
        "s for 100 calls of submit",
    )
    if has_submitit():
        peer = submit_100_submitit()
        say("submit_100_local", ours, "submitit", peer, "s for 100 calls of submit")


def submit_100():
    with workdir():
        job = ShellJob(python="/bin/true", stage_code=False, stage_data=False)
        start = time.perf_counter()
        made = [job.submit(**RUN, seed=i) for i in range(100)]
        seconds = time.perf_counter() - start
        job.cancel(made)
        time.sleep(1)
    return seconds


def submit_100_submitit():
    import submitit

    with workdir() as folder, silent_errors():
        executor = submitit.LocalExecutor(folder=str(folder / "log"))
        executor.update_parameters(timeout_min=5)
        start = time.perf_counter()
        jobs = [executor.submit(int, i) for i in range(100)]
        seconds = time.perf_counter() - start
        for job in jobs:
            job.cancel()
    return seconds


@contextlib.contextmanager
def silent_errors():
    """Without the tracebacks of a hundred processes that are interrupted as they start."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def cluster():
    """The tests' Slurm behind the tests' sshd; yields the interface to its login node."""
    from cluster.slurm import Slurm
    from cluster.sshd import HOST, Sshd

    with Slurm(fast=0) as slurm, Sshd({"SLURM_CONF": str(slurm.conf)}) as sshd:
        os.environ["SLURM_CONF"] = str(slurm.conf)
        sshd.open_master()
        yield SshInterface(HOST, config=str(sshd.config), timeout_s=120)
        del os.environ["SLURM_CONF"]


def has_cluster():
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    wanted = ("slurmctld", "slurmd", "munged", "sbatch", "sshd", "ssh")
    missing = [program for program in wanted if shutil.which(program, path=path) is None]
    if missing:
        print(f"jobs: no {', '.join(missing)} here: tools/programs.sh", file=sys.stderr)
    return not missing


def case_submit_1000_slurm(runs):
    if not has_cluster():
        return
    case = "submit_1000_slurm"
    with workdir() as folder, cluster() as ssh:
        job = SlurmJob(
            ssh, workdir=str(folder), python=FAKE_PYTHON, slurm_mem="10M",
            slurm_options=["--begin=now+10hours"],
        )  # fmt: skip
        start = time.perf_counter()
        made = job.submit_all([{**RUN, "seed": i} for i in range(1000)])
        seconds = time.perf_counter() - start
        assert [bool(r.job) for r in made] == [True] * 1000
        say(case, job.n_calls["sbatch"], "sbatch_calls", 2, "calls of sbatch")
        say(case, ssh.n_connections, "connections", 3, "SSH connections")
        if has_submitit():
            say(
                case, seconds, "submitit", submit_1000_submitit(folder), "s for 1000 runs as arrays"
            )
        status_1000_ssh(job, ssh)


def submit_1000_submitit(folder):
    """On the login node itself, without SSH, which submitit has not."""
    import submitit

    executor = submitit.AutoExecutor(folder=str(folder / "log"), cluster="slurm")
    executor.update_parameters(
        timeout_min=5, mem_gb=0.01, slurm_array_parallelism=1000,
        slurm_additional_parameters={"begin": "now+10hours"},
    )  # fmt: skip
    start = time.perf_counter()
    executor.map_array(int, range(1000))
    return time.perf_counter() - start


def status_1000_ssh(job, ssh):
    before, calls = ssh.n_connections, sum(job.n_calls.values())
    start = time.perf_counter()
    found = job.status()
    seconds = time.perf_counter() - start
    assert [s.queued for s in found] == [True] * 1000
    case = "status_1000_ssh"
    say(case, ssh.n_connections - before, "connections", 1, "SSH connections")
    say(case, sum(job.n_calls.values()) - calls, "scheduler_calls", 1, "calls of squeue and sacct")
    say(case, seconds, "seconds", 3.0, "s for the states of 1000 replicates")


def case_status_1000_local(runs):
    from seqmodel.job import status

    with workdir():
        job = ShellJob(python="/bin/true")
        made = job.create_all([{**RUN, "seed": i} for i in range(1000)])
        for replicate in made:
            finish(Path(replicate.path))
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            found = status("out")
            times.append(time.perf_counter() - start)
        assert found.counts() == {"complete": 500, "error": 500}
    ours, unit = statistics.median(times), "s for the states of 1000 replicates"
    say("status_1000_local", ours, "seconds", BUDGETS["status_1000_local"], unit)


def finish(folder):
    """Writes what a run of 200 logged steps leaves; half of the runs failed."""
    now = int(time.time())
    seed = folder.parent.name.partition("seed=")[2].partition(",")[0]
    code = int(seed or 0) % 2
    rows = "".join(f"{i // 20},{i},{1 / (i + 1):.4f},{1 / (i + 2):.4f}\n" for i in range(200))
    (folder / "metrics.csv").write_text(f"epoch,step,train_loss,valid_loss\n{rows}")
    (folder / "stderr").write_text("seqmodel: attempt 1\n" + "ValueError: x\n" * code)
    with open(folder / "events", "a") as file:
        file.write(f"{now} submitting submission=0 token=ab\n{now} submitted submission=0 job=1\n")
        file.write(f"{now} start attempt=1 job=1\n{now} run\n{now + 9} end code={code} phase=run\n")


CASES = {
    "import": case_import,
    "submit_100_local": case_submit_100_local,
    "submit_1000_slurm": case_submit_1000_slurm,  # and status_1000_ssh
    "status_1000_local": case_status_1000_local,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    for case in args.case:
        CASES[case](args.runs)


if __name__ == "__main__":
    main()
