"""What a run costs before its first optimiser step, and what a trial adds.

    python benchmarks/start.py [first_step trial_and_run search_point] [--runs 5] [--steps 20]

One JSON line a figure; contestants take turns (A B, B A), values are medians over the rounds, and
`peer` is a budget in seconds or another way to do the same. The run is a small cnn on a table of
400 sequences.

first_step     from the command to the first optimiser step, beside `import pytorch_lightning` alone
               and 1.5 s more; `above` is what the command takes above that import.
               The step is observed from outside: at that step the run writes the first row of
               metrics.csv (--log_every_n_steps=1), and this program looks for it every 5 ms.
trial_and_run  a local job with fast_dev_run_first and checkpoint_check, above the same job without,
               beside what three runs of the trials by themselves take (fresh processes).
search_point   a point of a local search, a job of its own, above the same steps within a process
               that has imported everything: what a fork of a warm process would save.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from seqmodel.job import ShellJob  # noqa: E402

BUDGET_S = 1.5
# as installed: modules are compiled once, by the first call, which is not counted
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
TRIALS = {"fast_dev_run_first": True, "checkpoint_check": True}
SETTINGS = {
    "task": "classify",
    "dataset": "table",
    "train_files": ["table.csv"],
    "test_prop": 0.2,
    "encoder": "cnn",
    "log_every_n_steps": 1,
    "audit": "none",
}
# of the warm process: everything is imported, and the first step of a process is behind it
WARM = """
import json, sys, time, seqmodel
settings = json.loads(sys.argv[1])
seqmodel.train(**settings, default_root_dir="warm_0")
start = time.perf_counter()
seqmodel.train(**settings, default_root_dir="warm_1")
print(time.perf_counter() - start)
"""


def write_table(path: Path) -> None:
    draw = random.Random(1)
    rows = [f"{''.join(draw.choices('ACGT', k=100))},{i % 2}" for i in range(400)]
    path.write_text("\n".join(["sequence,label", *rows]) + "\n")


def words(settings: dict[str, object]) -> list[str]:
    values = {n: " ".join(x) if isinstance(x, list) else x for n, x in settings.items()}
    return [f"--{name}={value}" for name, value in values.items()]


def import_s() -> float:
    """Return the seconds from the command to the end of the import, without those of the exit."""
    start = time.perf_counter()
    code = "import pytorch_lightning; print('done', flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        seconds = time.perf_counter() - start
    return seconds


def first_step_s(folder: Path, n: int, settings: dict[str, object]) -> float:
    """Return the seconds from the command to the first row of metrics.csv."""
    root = folder / f"first_{n}"
    start = time.perf_counter()
    command = [sys.executable, str(ROOT / "seqmodel/run.py"), *words(settings)]
    run = subprocess.Popen(
        [*command, f"--default_root_dir={root}"], stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    found = 0.0
    while run.poll() is None:
        if not found and (root / "metrics.csv").exists():
            found = time.perf_counter() - start
        time.sleep(0.005)
    if run.returncode or not found:
        sys.exit(f"start: {' '.join(command)}: exit code {run.returncode}, or no row was seen")
    return found


def job_s(job: ShellJob, settings: dict[str, object]) -> float:
    """Return the seconds of a local job, from its first event to its last."""
    replicate = job.submit(**settings)
    while not (found := job.status([replicate])[0]).is_final:
        time.sleep(0.1)
    if found.state != "complete":
        sys.exit(f"start: {replicate.path}: {found.state} {found.reason} {found.detail}")
    # events have whole seconds; the files have their times in full
    began = Path(replicate.path, "job.json").stat().st_mtime
    return Path(replicate.path, "events").stat().st_mtime - began


def turns(runs: int, **cases: Callable[[], float]) -> dict[str, float]:
    """Return the median of each case; one round more warms the files up and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for i in range(runs + 1):
        for name in list(cases) if i % 2 else reversed(cases):
            times[name].append(cases[name]())
    return {name: statistics.median(t[1:]) for name, t in times.items()}


def say(case: str, ours: float, peer: str, value: float, unit: str, **more: float) -> None:
    line = {"case": case, "ours": round(ours, 2), "peer": peer, "peer_value": round(value, 2)}
    ratio = round(value / max(ours, 0.01), 2)
    line |= {"unit": unit, "ratio": ratio, **{n: round(x, 2) for n, x in more.items()}}
    print(json.dumps(line), flush=True)


def first_step(folder: Path, runs: int, settings: dict[str, object]) -> None:
    numbers = iter(range(runs + 1))
    found = turns(
        runs, lightning=import_s, command=lambda: first_step_s(folder, next(numbers), settings)
    )
    budget = found["lightning"] + BUDGET_S
    unit = "s from the command to the first step"
    above = found["command"] - found["lightning"]
    say(
        "first_step",
        found["command"],
        "import + 1.5 s",
        budget,
        unit,
        above=above,
        lightning=found["lightning"],
    )


def trial_and_run(folder: Path, runs: int, settings: dict[str, object]) -> None:
    job = ShellJob(python=sys.executable, stage_code=False, stage_data=False)

    def trials_by_themselves() -> float:
        start = time.perf_counter()
        few = {**settings, "limit_val_batches": 1, "limit_test_batches": 1}
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            for more in (
                ["--fast_dev_run=True"],
                ["--max_steps=2"],
                ["--max_steps=3", f"--resume_from_checkpoint={scratch}/checkpoints/last.ckpt"],
            ):
                given = [*words(settings if "dev" in more[0] else few), *more]
                root = [] if "dev" in more[0] else [f"--default_root_dir={scratch}"]
                command = [sys.executable, str(ROOT / "seqmodel/run.py"), *given, *root]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    found = turns(
        runs,
        run=lambda: job_s(job, settings),
        both=lambda: job_s(job, {**settings, **TRIALS}),
        fresh=trials_by_themselves,
    )
    above = found["both"] - found["run"]
    unit = "s of three trials in a job above the job without"
    say("trial_and_run", above, "fresh processes", found["fresh"], unit, **found)


def search_point(folder: Path, runs: int, settings: dict[str, object]) -> None:
    job = ShellJob(python=sys.executable, stage_code=False, stage_data=False)

    def warm() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            table = {"train_files": [str(folder / "table.csv")]}
            done = subprocess.run(
                [sys.executable, "-c", WARM, json.dumps({**settings, **table})],
                check=True, stdout=subprocess.PIPE, cwd=scratch, text=True,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        return float(done.stdout.splitlines()[-1])

    found = turns(runs, point=lambda: job_s(job, settings), warm=warm)
    unit = "s of a point as a job"
    say("search_point", found["point"], "steps in a warm process", found["warm"], unit)


CASES = {x.__name__: x for x in (first_step, trial_and_run, search_point)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--runs", type=int, default=5, help="rounds that count")
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of a run")
    given = parser.parse_args()
    for name in set(given.cases) - set(CASES):
        parser.error(f"no case {name!r}; choose from {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(prefix="start", dir="/tmp") as scratch:
        folder = Path(scratch)
        os.chdir(folder)
        write_table(folder / "table.csv")
        for name in given.cases or CASES:
            CASES[name](folder, given.runs, {**SETTINGS, "max_steps": given.steps})
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
