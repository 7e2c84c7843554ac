"""The demo's fine-tuning beside processes that keep the CPUs busy; one JSON line each.

    python benchmarks/contended.py [--settings ours torch passive one] [--busy 0 1 2 4]
        [--rounds 2] [--seconds 4] [--n_dims 48]

Each setting trains in a fresh process, because OpenMP reads its environment once, when torch loads
it. That process starts and ends the busy ones (a Python loop each) and counts batches and CPU time
while they run. Settings: `torch` is torch's default, in which a thread that waits spins for long;
`ours` is what a run does (seqmodel/training/waiting.py); with `passive` a thread waits asleep, with
`spin=N` it spins N times; `one` has one thread. The settings take turns (A B, B A); values are
medians over the rounds.

`ours` is batches a second in the setting, `peer_value` those that the process is due: the rate of
torch's default alone x share, where share = CPU time received / (CPUs x wall time). `fair` is the
rate over that of an equal share of the CPUs, 2 / (2 + busy) of it for two threads on two CPUs:
a process that spins receives CPU time and does nothing with it, which `share` does not show.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {  # environment of the process
    "torch": {},
    "ours": {},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one": {"OMP_NUM_THREADS": "1"},
}
PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_")  # of this process' own environment: not passed on
BUSY = "import os\nwhile os.getppid() == {}:\n    for _ in range(100000): pass"
WARM_UP = 20  # batches until the memory of a step has found its place
SETTLE_S = 0.5  # after the number of busy processes has changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4, help="time of each measurement")
    parser.add_argument("--n_dims", type=int, default=48, help="width of the model")
    parser.add_argument("--train", metavar="SETTING", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args)
        return
    busy = [0] + [n for n in args.busy if n]
    found: dict[tuple[str, int], list[dict]] = {}
    settings = ["torch"] + [x for x in args.settings if x != "torch"]
    for i in range(args.rounds):
        for setting in reversed(settings) if i % 2 else settings:
            for line in measured(setting, busy, args):
                found.setdefault((setting, line["busy"]), []).append(line)
    alone = middle(found["torch", 0], "rate")
    for (setting, n), lines in sorted(found.items(), key=lambda x: settings.index(x[0][0])):
        tell(setting, n, lines, alone)


def measured(setting: str, busy: list[int], args: argparse.Namespace) -> list[dict]:
    """What a fresh process with this setting measures."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES)}
    if setting.startswith("spin="):
        environment["GOMP_SPINCOUNT"] = setting.removeprefix("spin=")
    else:
        environment |= SETTINGS[setting]
    words = [f"--train={setting}", "--busy", *map(str, busy)]
    words += [f"--seconds={args.seconds}", f"--n_dims={args.n_dims}"]
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]


def tell(setting: str, busy: int, lines: list[dict], alone: float) -> None:
    """Prints the medians of one setting beside one number of busy processes."""
    rate, share = middle(lines, "rate"), middle(lines, "share")
    n_cpus, n_threads = lines[0]["cpus"], lines[0]["threads"]
    due = alone * share
    fair = alone * min(1, n_cpus / (n_cpus + busy))
    print(
        json.dumps(
            {"case": f"contended_{setting}_{busy}", "ours": round(rate, 2), "peer": "share"}
            | {"peer_value": round(due, 2), "unit": "batches/s", "ratio": round(rate / due, 3)}
            | {"fair": round(rate / fair, 3), "share": round(share, 3)}
            | {"rates": [x["rate"] for x in lines], "busy": busy}
            | {"threads": n_threads, "cpus": n_cpus}
        ),
        flush=True,
    )


def middle(lines: list[dict], name: str) -> float:
    return statistics.median(x[name] for x in lines)


def train(args: argparse.Namespace) -> None:
    """Trains in this process and prints a line for each number of busy processes."""
    sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
    import torch
    from demo import CLASSIFY, CONTIGS, ENCODER

    from seqmodel.hparam.resolve import resolve
    from seqmodel.training.allocator import kept_memory
    from seqmodel.training.build import build
    from seqmodel.training.stopping import StopOnSignal
    from seqmodel.training.trainer import RunData, make_trainer
    from seqmodel.training.waiting import considerate_waits

    waits = considerate_waits if args.train == "ours" else nullcontext
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        given = {"n_dims": args.n_dims, "max_epochs": 1000, "check_val_every_n_epoch": 1000}
        given |= {"progress": "none", "accelerator": "cpu"}
        given |= {"class_names": CLASSIFY["class_names"].split()}
        run = resolve({**CLASSIFY, **ENCODER, **CONTIGS, **given})
        parts = build(run)
        trainer = make_trainer(run, Path(folder), parts, {}, StopOnSignal())
        meter = Meter(args.busy, args.seconds, torch.get_num_threads())
        trainer.callbacks.append(meter.callback())
        try:
            with kept_memory(), waits():
                trainer.fit(parts.task, datamodule=RunData(parts.data, run))
        finally:
            meter.start(0)
    for line in meter.lines:
        print(json.dumps(line))


class Meter:
    """Counts batches and CPU time beside one number of busy processes after another."""

    def __init__(self, busy: list[int], seconds: float, n_threads: int) -> None:
        self.left, self.seconds, self.n_threads = list(busy), seconds, n_threads
        self.processes: list[subprocess.Popen] = []
        self.lines: list[dict] = []
        self.begun: tuple[float, float, int] | None = None
        self.from_s = float("inf")

    def callback(self) -> object:
        """The Callback that looks at the clock after each batch."""
        from pytorch_lightning import Callback

        class AfterBatch(Callback):
            def on_train_batch_end(_, trainer, *args):
                if trainer.global_step >= WARM_UP:
                    trainer.should_stop = not self.look(trainer.global_step)

        return AfterBatch()

    def look(self, n_batches: int) -> bool:
        """Begins or ends a measurement if it is time; False after the last one."""
        now = time.perf_counter()
        if self.from_s == float("inf"):
            self.start(self.left[0])
        elif self.begun is None and now >= self.from_s:
            self.begun = (now, time.process_time(), n_batches)
        elif self.begun is not None and now >= self.begun[0] + self.seconds:
            self.end(now, n_batches)
        return bool(self.left)

    def end(self, now: float, n_batches: int) -> None:
        """Keeps the line of a measurement and starts the next number of busy processes."""
        wall, cpu = now - self.begun[0], time.process_time() - self.begun[1]
        n_cpus = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        )
        rate = (n_batches - self.begun[2]) / wall
        line = {"busy": self.left.pop(0), "rate": round(rate, 3)}
        line |= {"share": round(cpu / (n_cpus * wall), 4), "threads": self.n_threads}
        self.lines.append(line | {"cpus": n_cpus})
        self.begun = None
        self.start(self.left[0] if self.left else 0)

    def start(self, n: int) -> None:
        """Starts or ends busy processes until there are n."""
        while len(self.processes) > n:
            last = self.processes.pop()
            last.kill()
            last.wait()
        code = BUSY.format(os.getpid())
        while len(self.processes) < n:
            self.processes.append(subprocess.Popen([sys.executable, "-c", code]))
        self.from_s = time.perf_counter() + SETTLE_S


if __name__ == "__main__":
    main()
