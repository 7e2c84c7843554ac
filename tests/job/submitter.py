"""Submitters for test_submitters.py, in a process of their own so that they can fork and be killed.

python submitter.py race N_PROCESSES N_EACH       submits the same run, prints the folders
python submitter.py killed N SEED shell|slurm     N submitters, each killed at a random moment
"""

import os
import random
import signal
import sys
import time

from seqmodel.job import ShellJob, SlurmJob

RUN = {"task": "masked", "fasta": "a.fa", "seq_len": 8}
PYTHON = f"{os.path.dirname(os.path.abspath(__file__))}/fake_python"


def race(n_processes, n_each):
    job = ShellJob(python=PYTHON)
    for _ in range(n_processes):
        if os.fork() == 0:
            with open(f"folders.{os.getpid()}", "w") as file:
                for _ in range(n_each):
                    file.write(job.create(**RUN).path + "\n")
            os._exit(0)
    for _ in range(n_processes):
        assert os.wait()[1] == 0


def killed(n, seed, kind):
    draw = random.Random(seed)
    if kind == "shell":
        job = ShellJob(python=PYTHON, n_at_once=4, heartbeat_s=1, grace_s=8)
    else:
        job = SlurmJob(
            python=PYTHON,
            slurm_mem="10M",
            slurm_options=["--begin=now+10hours"],
            heartbeat_s=1,
            grace_s=8,
        )
    start = time.perf_counter()
    job.submit(**RUN)  # what a whole one takes
    whole = time.perf_counter() - start
    for i in range(n):
        child = os.fork()
        if child == 0:
            os.setsid()
            job.submit(**RUN, seed=1 + i % 5)
            os._exit(0)
        time.sleep(draw.uniform(0, whole * 1.2))
        # half of the time with the programs that it had started
        try:
            os.killpg(child, signal.SIGKILL) if i % 2 else os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    if sys.argv[1] == "race":
        race(int(sys.argv[2]), int(sys.argv[3]))
    else:
        killed(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
