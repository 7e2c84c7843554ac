"""Many submits, cancels, time limits, requeues, kills and restarts against a real Slurm, seeded.

    python tests/job/soak.py --n_submits=200 --minutes=10 --seed=1

Three classes of job (ShellJob, SlurmJob, a user's subclass) share one folder. The runs take no time
(soak_run.py) and the clock of slurmctld is ten times as fast. What must hold at the end:

- nothing was cancelled that was not asked for: by the log of slurmctld, and by the runs themselves;
- no folder ever had two writers: by a mark that each run takes exclusively;
- each state is the one that slurmctld, or the run of a ShellJob, says, and each requeue is noted.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from cluster.slurm import Slurm  # noqa: E402

from seqmodel.errors import JobError  # noqa: E402
from seqmodel.job import ShellJob, SlurmJob  # noqa: E402

PYTHON = str(Path(__file__).parent / "soak_python")
RUN = {"task": "masked", "fasta": "a.fa", "seq_len": 8}


class MySlurm(SlurmJob):
    """A user's own class."""


class Cluster(Slurm):
    """A Slurm that forgets no job while a soak lasts."""

    def _write_files(self):
        super()._write_files()
        text = self.conf.read_text().replace("MinJobAge=6000", "MinJobAge=600000")
        self.conf.write_text(text)


class Soak:
    """Acts at random, and keeps what it asked for.

    Attributes:
        asked: (folder, submission) of what it asked to be cancelled, or killed a canceller of.
        did: how often it did what.
        wrong: what must not be, a line each.
    """

    def __init__(self, slurm, seed, n_submits, seconds):
        self.slurm, self.draw = slurm, random.Random(seed)
        self.n_submits, self.end = n_submits, time.monotonic() + seconds
        self.asked, self.did, self.wrong = set(), Counter(), []
        shared = {"python": PYTHON, "heartbeat_s": 1, "grace_s": 20, "stage_code": False}
        shared |= {"stage_data": False}
        limits = {"slurm_mem": "20M", "slurm_time_min": 1, "slurm_signal_s": 10, "max_requeues": 2}
        self.shell = ShellJob(**shared, n_at_once=4)
        self.jobs = [self.shell, SlurmJob(**shared, **limits), MySlurm(**shared, **limits)]
        self.restart = None

    def run(self):
        actions = [
            (self.submit, 10), (self.killed_submit, 2), (self.cancel, 4), (self.killed_cancel, 1),
            (self.resume, 3), (self.look, 1), (self.restart_controller, 0.6),
        ]  # fmt: skip
        functions, weights = zip(*actions, strict=True)
        while self.did["submits"] < self.n_submits and time.monotonic() < self.end:
            action = self.draw.choices(functions, weights)[0]
            try:
                action()
            except JobError as e:
                # slurmctld is away, or the state has changed since it was looked at
                self.did[f"refusals of {action.__name__}"] += 1
                self.check_refusal(action.__name__, str(e))
        self.drain()
        self.check()

    # ---- what it does

    def submit(self):
        job, runs = self.drawn()
        self.did["submits"] += 1
        self.did["runs"] += len(runs)
        job.submit_all(runs)

    def drawn(self):
        """A class of job, and one to four runs."""
        job = self.draw.choice(self.jobs)
        runs = []
        for _ in range(self.draw.choice((1, 1, 2, 4))):
            words = ("ok", "raise", "wait", f"count_{self.draw.randint(1, 90)}")
            run = {**RUN, "seed": self.draw.randrange(10**6)}
            run["monitor"] = self.draw.choices(words, (3, 1, 3, 5))[0]
            runs.append(run)
        if job is not self.shell:
            requeue = self.draw.random() < 0.6
            runs = [{**run, "requeue": requeue} for run in runs]
        return job, runs

    def killed_submit(self):
        job, runs = self.drawn()
        self.did["submits"] += 1
        self.did["submitters killed"] += self.killed(lambda: job.submit_all(runs), 0.6)

    def killed(self, function, seconds):
        """Whether a process that does this was killed before it had done it."""
        child = os.fork()
        if child == 0:
            os.setsid()
            with suppress(BaseException):
                function()
            os._exit(0)
        time.sleep(self.draw.uniform(0, seconds))
        with suppress(ProcessLookupError):
            # half of the time with the programs that it had started
            (os.killpg if self.draw.random() < 0.5 else os.kill)(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])

    def states(self):
        return self.draw.choice(self.jobs).status()

    def chosen(self, condition, n):
        found = [s for s in self.states() if condition(s)]
        return self.draw.sample(found, min(n, len(found)))

    def replicates(self, statuses):
        by_folder = {r.path: r for job in self.jobs[:1] for r in job.find(job.find_root())}
        return [by_folder[s.folder] for s in statuses]

    def cancel(self):
        chosen = self.chosen(
            lambda s: s.queued or s.state == "running", self.draw.choice((1, 1, 3))
        )
        self.asked |= {(s.folder, s.record.submission) for s in chosen}
        self.did["cancels"] += len(chosen)
        self.draw.choice(self.jobs).cancel(self.replicates(chosen))

    def killed_cancel(self):
        chosen = self.chosen(lambda s: s.queued or s.state == "running", 2)
        self.asked |= {(s.folder, s.record.submission) for s in chosen}
        job, replicates = self.draw.choice(self.jobs), self.replicates(chosen)
        self.did["cancellers killed"] += self.killed(lambda: job.cancel(replicates), 0.4)

    def resume(self):
        def over(s):
            again = s.state in ("timeout", "error") and not s.alive
            return again or (s.reason == "not submitted" and not s.queued)

        chosen = self.chosen(over, 3)
        self.did["resumes"] += len(chosen)
        self.draw.choice(self.jobs).resume(self.replicates(chosen))

    def look(self):
        self.did["looks"] += 1
        self.states()

    def restart_controller(self):
        """It is away for a moment, while the other things go on."""
        if self.restart is not None:
            self.restart.join()
        self.did["restarts of slurmctld"] += 1
        self.slurm.stop_controller()
        pause = self.draw.uniform(0, 2)

        def start():
            time.sleep(pause)
            self.slurm.start_controller()

        self.restart = threading.Thread(target=start)
        self.restart.start()

    def check_refusal(self, action, text):
        known = (
            "not cancelled on", "another process is submitting", "cancel it first", "signs of life",
            "complete; submit() makes another", "sbatch refused the job", "by its token",
            "half-made", "cut off",
        )  # fmt: skip
        if "\n" in text or not any(word in text for word in known):
            self.wrong.append(f"{action}: {text}")

    def drain(self):
        """Ends what waits for ever, and waits until nothing runs."""
        if self.restart is not None:
            self.restart.join()
        end = time.monotonic() + 240
        while time.monotonic() < end:
            found = self.states()
            left = [s for s in found if not s.is_final and (s.queued or s.state == "running")]
            if not left and not any(s.alive for s in found):
                return
            waits = [s for s in left if "monitor=wait" in s.folder and s.state == "running"]
            if waits:
                self.asked |= {(s.folder, s.record.submission) for s in waits}
                try:
                    self.draw.choice(self.jobs).cancel(self.replicates(waits))
                except JobError as e:
                    self.check_refusal("drain", str(e))
            time.sleep(1)
        self.wrong += [f"did not end: {s.folder} {s.state} {s.reason} {s.job}" for s in left]

    # ---- what must hold

    def check(self):
        found = self.shell.status()
        self.did["replicates"] = len(found)
        self.states_found = Counter((s.state, s.reason) for s in found)
        # the id of each submission, by its token: whoever noted it, slurmctld has the name
        names = {name.rpartition(".")[2]: job for job, (_, name) in self.slurm.states().items()}
        arrays = {token: job.split("_")[0] for token, job in names.items()}
        self.known = {}  # id to (folder, submission)
        for status in found:
            for submission, token, index in tokens(status.folder):
                if token in arrays:
                    one = names[token] if "_" not in names[token] else f"{arrays[token]}_{index}"
                    self.known[one] = (status.folder, submission)
        self.check_log()
        kinds = Counter()
        for status in found:
            if status.reason == "half-made":
                kinds["half-made"] += 1
                continue
            kinds[status.record.made["class"].rpartition(":")[2]] += 1
            self.check_writers(status)
            self.check_state(status)
        self.did |= {f"of {name}": n for name, n in kinds.items()}

    def check_log(self):
        """slurmctld killed what it was asked to, and put back what the files say."""
        text = (self.slurm.base / "log/ctld.log").read_text()
        killed = set(re.findall(r"REQUEST_KILL_JOB JobId=(\d+(?:_\d+)?)(?![\d_])", text))
        self.did["kills by slurmctld"] = len(killed)
        for job in killed:
            if job not in self.known:
                self.wrong.append(f"killed, and no run of ours: {job}")
            elif self.known[job] not in self.asked:
                self.wrong.append(f"killed without being asked for: {job} {self.known[job]}")
        self.again = Counter(re.findall(r"equeu\w+ (?:of )?JobId=(\d+(?:_\d+)?)", text))
        self.did["requeues in the log"] = sum(self.again.values())
        self.did["time limits in the log"] = len(
            re.findall(r"Time limit exhausted for JobId", text)
        )

    def check_writers(self, status):
        rows = lines(f"{status.folder}/writes")
        events = lines(f"{status.folder}/events")
        if any(row[2] == "two" for row in rows):
            self.wrong.append(f"two writers: {status.folder}")
        words = Counter(row[1] for row in events)
        self.did["requeues"] += words["requeue"]
        ids = [job for job, (folder, _) in self.known.items() if folder == status.folder]
        refused = sum(row[1:3] == ["note", "text=the"] for row in events)
        told, said = words["requeue"] - refused, sum(self.again[job] for job in ids)
        # one that is cancelled at the moment at which it asks is not put back
        if not said <= told <= said + (words["cancel"] + words["cancelling"] > 0):
            self.wrong.append(f"requeues that the files do not tell, or Slurm: {status.folder}")
        if words["start"] > words["submitting"] + words["requeue"]:
            self.wrong.append(f"started more often than asked for: {status.folder}")
        if sum(row[2] == "start" for row in rows) > words["run"]:
            self.wrong.append(f"more runs than attempts: {status.folder}")
        # a run that ended itself says how: none was stopped that nobody stopped
        was_asked = any(folder == status.folder for folder, _ in self.asked)
        stopped = any(row[2:] == ["end", "143"] for row in rows)
        if stopped and not was_asked and status.record.kind == "shell":
            self.wrong.append(f"stopped without being asked for: {status.folder}")

    def check_state(self, status):
        """The state is what the scheduler, or the run itself, says."""
        if status.state == "created" and not status.queued:
            if lines(f"{status.folder}/writes"):
                self.wrong.append(f"has run, and is told as created: {status.folder}")
            return
        key = (status.folder, status.record.submission)
        if status.reason == "cancelled" and key not in self.asked:
            self.wrong.append(f"cancelled without being asked for: {key}")
        ends = [row[3] for row in lines(f"{status.folder}/writes") if row[2] == "end"]
        # one that was cancelled as it ended well may not have had the time to say so
        complete = "0" in ends and not (status.reason == "cancelled" and key in self.asked)
        if complete != (status.state == "complete"):
            self.wrong.append(f"{status.state} {status.reason}, but ended with {ends}: {key}")
        if status.record.kind == "slurm":
            job = next((job for job, known in self.known.items() if known == key), "")
            said = self.slurm_states().get(job, "")
            # Slurm may know nothing more of an element that was cancelled before it ran
            gone = not said and status.reason == "cancelled" and key in self.asked
            never_ran = not lines(f"{status.folder}/writes")
            if said not in EXPECTED.get((status.state, status.reason), ()) and not (
                gone and never_ran
            ):
                self.wrong.append(
                    f"{status.state} {status.reason}, Slurm says {said!r}: {key} {job}"
                )

    def slurm_states(self):
        if not hasattr(self, "_slurm_states"):
            self._slurm_states = {job: state for job, (state, _) in self.slurm.states().items()}
        return self._slurm_states


# what slurmctld says of a job in each state; a job that finds itself cancelled, superseded or
# complete before it begins ends well
EXPECTED = {
    ("complete", ""): ("COMPLETED", "CANCELLED", "TIMEOUT"),
    ("error", "exception"): ("FAILED",),
    ("error", "cancelled"): ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT"),
    ("timeout", "stopped with its state saved"): ("FAILED", "TIMEOUT"),
    ("timeout", "no progress"): ("FAILED", "TIMEOUT"),
    ("timeout", "stopped before the run started"): ("FAILED", "TIMEOUT"),
    ("timeout", "time limit"): ("TIMEOUT",),
}


def lines(path):
    """The words of each line; none where there is no file."""
    try:
        return [line.split(" ") for line in Path(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


def tokens(folder):
    """(submission, token, index) of each submission of a replicate."""
    for row in lines(f"{folder}/events"):
        if row[1] == "submitting":
            fields = dict(word.partition("=")[::2] for word in row[2:])
            yield int(fields["submission"]), fields["token"], fields.get("index", "0")


def soak(seed, n_submits, minutes):
    """Runs one in the working directory; returns it."""
    Path("a.fa").write_text(">c1\n" + "ACGT" * 50 + "\n")
    with Cluster() as slurm:
        old = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(slurm.conf)
        try:
            found = Soak(slurm, seed, n_submits, 60 * minutes)
            found.run()
        finally:
            shutil.copy(slurm.base / "log/ctld.log", ".")
            if old is None:
                del os.environ["SLURM_CONF"]
            else:
                os.environ["SLURM_CONF"] = old
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n_submits", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=6, help="of submitting; ends after it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where the runs are kept; a temporary one unless given")
    args = parser.parse_args()
    folder = args.folder or tempfile.mkdtemp(prefix="soak")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    began = time.monotonic()
    found = soak(args.seed, args.n_submits, args.minutes)
    print(f"seed {args.seed}, {time.monotonic() - began:.0f} s, runs in {folder}")
    print(json.dumps(dict(found.did), indent=1))
    for (state, reason), n in sorted(found.states_found.items()):
        print(f"{n:5}  {state}  {reason}")
    print("\n".join(found.wrong) or "nothing was wrong")
    return bool(found.wrong)


if __name__ == "__main__":
    sys.exit(main())
