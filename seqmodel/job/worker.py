"""The queue of ShellJob on one host: starts waiting scripts, up to N at once. Needs no other file.

    python worker.py work QUEUE LOCK     start waiting entries until none is left

It is sent to hosts that have no seqmodel, and runs on Python 3.6. An entry is a file in
QUEUE/waiting (first come, first served), whose lines are the arguments of bash. A worker holds a
lock, which is released when the worker ends. The worker looks once more after it has released the
lock, and a submitter checks the lock after it has added an entry, so no entry waits forever.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
import time

POLL_S = 0.05
_workers = []  # type: list[subprocess.Popen[bytes]]  # children of this process, which reaps them


def add(queue, limit, entries):
    """Enqueue (name, arguments) pairs and start a worker if none holds the lock."""
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
    """Start a worker if an entry waits and no worker is running."""
    if not names(queue, "waiting"):
        return
    lock = locked(queue)
    if lock is None:
        return
    try:
        # the worker inherits the lock
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
    """Start waiting entries, at most `limit` at once, until none waits and none runs."""
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
            return  # another worker holds it


def locked(queue):
    """Acquire the lock; return its file descriptor, or None if a worker holds it."""
    lock = os.open(os.path.join(queue, "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def start(queue, name, children):
    """Take an entry (only one process can rename it) and start its script."""
    entry = os.path.join(queue, "running", name)
    try:
        os.rename(os.path.join(queue, "waiting", name), entry)
        with open(entry) as file:
            args = file.read().split("\n")
    except OSError:
        return  # it was cancelled meanwhile
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
    """Forget the scripts that have ended; for a killed script, append an event."""
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
    """Return the entries of an earlier worker whose scripts still run; remove the others."""
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
    """Return the entries in a folder of the queue, oldest first."""
    try:
        return sorted(n for n in os.listdir(os.path.join(queue, folder)) if not n.endswith(".part"))
    except OSError:
        return []


def read_limit(queue):
    """Return how many may run at once, as set by the last submitter."""
    try:
        with open(os.path.join(queue, "limit")) as file:
            return max(1, int(file.read()))
    except (OSError, ValueError):
        return 1


def write(texts):
    """Write all files of {path: text} or none, each as a whole."""
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
    """Return the environment without the variables of a surrounding Slurm job."""
    kept = ("SLURM_CONF",)
    return {n: v for n, v in os.environ.items() if not n.startswith("SLURM") or n in kept}


if __name__ == "__main__":
    work(sys.argv[2], int(sys.argv[3]))
