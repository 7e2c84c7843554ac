"""A run in a fraction of a second: keeps run.py's contract (exit codes, checkpoints, signals).

What it does is said by --monitor: ok, raise, mistake, module, memory, wait, fill, preflight,
count_N (N steps of 0.1 s), stuck (waits, and makes no step), slow_end (waits, and ends once the
file may_end is there), trial_wait (the trials of a job wait until Slurm starts it again),
stuck_trial (they wait).
"""

import json
import os
import signal
import sys
import time

RUN = sys.argv[2]  # -u run.py ...


def start():
    words = sys.argv[3:]
    if words[:1] != ["after_trials"]:
        return main(words)
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(RUN))))
    from seqmodel.trials import after_trials

    return after_trials(words[1:], main, list)


def main(words):
    args = dict(word[2:].split("=", 1) for word in words)
    root, behaviour = args.get("default_root_dir"), args.get("monitor", "ok")
    is_trial = args.get("fast_dev_run") == "True" or "max_steps" in args
    waits = behaviour == "trial_wait" and not os.environ.get("SLURM_RESTART_COUNT")
    while is_trial and (waits or behaviour == "stuck_trial"):
        time.sleep(0.05)
    if args.get("fast_dev_run") == "True":
        if behaviour == "preflight":
            raise RuntimeError("shapes do not fit: 3 and 4")
        return 0
    os.makedirs(f"{root}/checkpoints", exist_ok=True)
    with open(f"{root}/argv.part", "w") as file:
        json.dump({"argv": words, "cwd": os.getcwd(), "run": RUN}, file)
    os.replace(f"{root}/argv.part", f"{root}/argv.json")
    last = f"{root}/checkpoints/last.ckpt"
    step = read(last) if "resume_from_checkpoint" in args else 0
    end = int(behaviour[6:]) if behaviour.startswith("count_") else step + 1

    stopped = []
    signal.signal(signal.SIGUSR1, lambda *_: stopped.append(75))
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(143))
    with open(f"{root}/metrics.csv", "a") as file:
        if file.tell() == 0:
            file.write("epoch,step,train_loss,valid_loss\n")
    while behaviour in ("wait", "slow_end", "stuck") or step < end:
        step += behaviour != "stuck"
        with open(f"{root}/metrics.csv", "a") as file:
            file.write(f"0,{step},{1 / (step or 1):.3f},\n")
        act(behaviour, root)
        time.sleep(0.1 if behaviour.startswith(("count", "wait", "slow", "stuck")) else 0)
        if stopped:  # at the end of a step
            while behaviour == "slow_end" and not os.path.exists(f"{root}/may_end"):
                time.sleep(0.05)
            save(last, step)
            save(f"{root}/usage.json", json.dumps({"step": step}))
            return stopped[0]
    save(last, step)
    return 0


def act(behaviour, root):
    if behaviour == "raise":
        raise ValueError("bad value 7 in\ta line")
    if behaviour == "mistake":
        print("HparamError: --lr must be above 0", file=sys.stderr)
        sys.exit(2)
    if behaviour == "module":
        import no_such_module  # noqa: F401
    if behaviour == "memory":
        kept = []
        while True:
            kept.append(bytearray(30_000_000))
            time.sleep(0.05)
    if behaviour == "fill":
        with open(f"{root}/checkpoints/big", "wb", buffering=0) as file:
            while True:
                file.write(bytes(100_000))


def read(path):
    with open(path) as file:
        return int(file.read())


def save(path, step):
    with open(f"{path}.part", "w") as file:
        file.write(str(step))
    os.replace(f"{path}.part", path)


if __name__ == "__main__":
    sys.exit(start())
