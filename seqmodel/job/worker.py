"""The queue of ShellJob on one host: starts waiting scripts, up to N at once. Needs no other file.

    python worker.py work QUEUE LOCK     start what waits until nothing does

Sent to hosts that have no seqmodel; runs on Python 3.6. An entry is a file in QUEUE/waiting,
first come first served, whose lines are the arguments of bash. A worker holds a lock that its death
releases. It looks once more after it let the lock go, and whoever enqueues looks for the lock after
the entry is there: so no entry waits without a worker.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time

POLL_S = 0.05
_workers = []  # type: list[subprocess.Popen[bytes]]  # of this process, to be reaped by it


def add(queue, limit, entries):
    """Enqueues (name, arguments) pairs and starts a worker if none holds the lock."""
    for folder in ("waiting", "running"):
        os.makedirs(os.path.join(queue, folder), exist_ok=True)
    if read_limit(queue) != limit:
        write({os.path.join(queue, "limit"): str(limit)})
    waiting = {os.path.join(queue, "waiting", name): "\n".join(args) for name, args in entries}
    write(waiting)
    try:
        wake(queue)
    except OSError:
        for path in waiting:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise


def wake(queue):
    """Starts a worker if something waits and none works."""
    if not names(queue, "waiting"):
        return
    lock = locked(queue)
    if lock is None:
        return
    try:
        # the worker is born with the lock
        with open(os.path.join(queue, "worker.log"), "ab") as log:
            _workers[:] = [worker for worker in _workers if worker.poll() is None]
            worker = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    os.path.abspath(__file__),
                    "work",
                    queue,
                    str(lock),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=clean_environment(),
                pass_fds=[lock],
                start_new_session=True,
            )
            _workers.append(worker)
    finally:
        os.close(lock)


def work(queue, lock):
    """Starts what waits, at most `limit` at once, until nothing waits and nothing runs."""
    children = {}
    while True:
        strangers = alive(queue, children)
        while True:
            reap(queue, children)
            for name in names(queue, "waiting"):
                if len(children) + len(strangers) >= read_limit(queue):
                    break
                start(queue, name, children)
            if not children and not strangers and not names(queue, "waiting"):
                break
            time.sleep(POLL_S)
            if strangers:
                strangers = alive(queue, children)
        os.close(lock)
        if not names(queue, "waiting"):
            return
        lock = locked(queue)
        if lock is None:
            return  # another worker has it


def locked(queue):
    """The lock, as a file descriptor; None if a worker holds it."""
    lock = os.open(os.path.join(queue, "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def start(queue, name, children):
    """Takes an entry (only one can rename it) and starts its script."""
    entry = os.path.join(queue, "running", name)
    try:
        os.rename(os.path.join(queue, "waiting", name), entry)
        with open(entry) as file:
            args = file.read().split("\n")
    except OSError:
        return  # cancelled meanwhile
    folder = os.path.dirname(args[0])
    try:
        with open(os.path.join(folder, "stdout"), "ab") as out, open(
            os.path.join(folder, "stderr"), "ab"
        ) as err:
            child = subprocess.Popen(
                ["bash", *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                start_new_session=True,
            )
    except OSError as e:
        print(folder, e, file=sys.stderr)
        os.unlink(entry)
        return
    children[name] = (child, folder, args[1])


def reap(queue, children):
    """Forgets the scripts that ended; for one that was killed a line is left."""
    for name, (child, folder, submission) in list(children.items()):
        code = child.poll()
        if code is None:
            continue
        del children[name]
        if code < 0:
            try:
                with open(os.path.join(folder, "events"), "a") as file:
                    end = f"end code={128 - code} phase=killed submission={submission}"
                    file.write(f"{int(time.time())} {end}\n")
            except OSError as e:
                print(folder, e, file=sys.stderr)
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(queue, "running", name))


def alive(queue, children):
    """Entries of an earlier worker whose scripts still run; the others are removed."""
    left = [name for name in names(queue, "running") if name not in children]
    if not left:
        return []
    shown = subprocess.run(["ps", "-A", "-ww", "-o", "args="], stdout=subprocess.PIPE).stdout
    shown = shown.decode("utf-8", "replace")
    found = []
    for name in left:
        if name.split("-")[-1] in shown:  # the token is the last argument of the script
            found.append(name)
        else:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(queue, "running", name))
    return found


def names(queue, folder):
    """The entries there, the first first."""
    try:
        return sorted(n for n in os.listdir(os.path.join(queue, folder)) if not n.endswith(".part"))
    except OSError:
        return []


def read_limit(queue):
    """How many may run at once, as set by the last submitter."""
    try:
        with open(os.path.join(queue, "limit")) as file:
            return max(1, int(file.read()))
    except (OSError, ValueError):
        return 1


def write(texts):
    """Writes files whole, all of {path: text} or none."""
    who = f"{os.uname()[1]}.{os.getpid()}.{os.urandom(4).hex()}"
    asides = {path: f"{path}.{who}.part" for path in texts}
    try:
        for path, aside in asides.items():
            with open(aside, "w") as file:
                file.write(texts[path])
        for path, aside in asides.items():
            os.rename(aside, path)
    except OSError:
        for aside in asides.values():
            with contextlib.suppress(OSError):
                os.unlink(aside)
        raise


def clean_environment():
    """The environment without what a surrounding Slurm job left in it."""
    kept = ("SLURM_CONF",)
    return {n: v for n, v in os.environ.items() if not n.startswith("SLURM") or n in kept}


if __name__ == "__main__":
    work(sys.argv[2], int(sys.argv[3]))
