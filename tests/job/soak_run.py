"""A run of no time for soak.py: it notes its start and its end, and whether another one writes.

What it does is said by --monitor: ok, raise, wait (until it is stopped), count_N (N steps).
"""

import os
import signal
import sys
import time


def main():
    args = dict(word[2:].split("=", 1) for word in sys.argv[3:])
    root, behaviour = args["default_root_dir"], args.get("monitor", "ok")
    os.makedirs(f"{root}/checkpoints", exist_ok=True)
    stopped = []
    signal.signal(signal.SIGUSR1, lambda *_: stopped.append(75))
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(143))
    enter(root)
    code = work(root, behaviour, "resume_from_checkpoint" in args, stopped)
    note(root, f"end {code}")
    os.unlink(f"{root}/writer")
    return code


def work(root, behaviour, resumed, stopped):
    last = f"{root}/checkpoints/last.ckpt"
    step = 0
    if resumed:
        with open(last) as file:
            step = int(file.read())
    end = int(behaviour[6:]) if behaviour.startswith("count_") else step + 1
    if behaviour == "wait":
        end = float("inf")
    while step < end:
        step += 1
        with open(f"{root}/metrics.csv", "a") as file:
            if file.tell() == 0:
                file.write("epoch,step,train_loss\n")
            file.write(f"0,{step},{1 / step:.3f}\n")
        if behaviour == "raise":
            print("ValueError: bad", file=sys.stderr)
            return 1
        if behaviour != "ok":
            time.sleep(0.1)
        if stopped:
            break
    with open(f"{last}.part", "w") as file:
        file.write(str(step))
    os.replace(f"{last}.part", last)
    with open(f"{root}/usage.json", "w") as file:
        file.write(f'{{"step": {step}}}')
    return stopped[0] if stopped and step < end else 0


def enter(root):
    """Takes the mark of the one writer; one that was left by a process that was killed is taken."""
    mark = f"{root}/writer"
    mine = f"{os.getpid()} {began(os.getpid())}"
    with open(f"{mark}.{os.getpid()}", "w") as file:
        file.write(mine)
    while True:
        try:
            os.link(f"{mark}.{os.getpid()}", mark)
            break
        except FileExistsError:
            try:
                with open(mark) as file:
                    pid, _, since = file.read().partition(" ")
            except FileNotFoundError:
                continue
            if began(pid) == since:
                note(root, f"two {pid}")
            os.unlink(mark)
    os.unlink(f"{mark}.{os.getpid()}")
    note(root, "start")


def began(pid):
    """When the process began, in ticks; "" if it is gone or has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]


def note(root, text):
    with open(f"{root}/writes", "a") as file:
        file.write(f"{time.time():.3f} {os.getpid()} {text}\n")


if __name__ == "__main__":
    sys.exit(main())
