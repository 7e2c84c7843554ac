"""Create replicates, and start, query and end their jobs, on the host that has them.

This is the second half of the code that runs on the host of the jobs. agent.py describes how it
gets there and the rules for both files.
"""

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import time

from seqmodel.job.agent import (
    KEPT,
    Failure,
    absolute,
    append,
    discard,
    leave_parent,
    read_regular,
    remove_leftovers,
    unwritten,
    versions,
    write_files,
)

TIMEOUT_S = 60.0
SBATCH_S = 100


# ---- programs


def run(args, data=b"", cwd=None, limit_s=TIMEOUT_S):
    """Run a program; return its exit code, standard output and standard error, as bytes."""
    try:
        done = subprocess.run(
            args, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=absolute(cwd) if cwd else None, timeout=limit_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise Failure("late", f"{args[0]}: no answer within {limit_s:g} s") from e
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise Failure("failed", f"cannot start {args[0]!r}: {reason}") from e
    return [done.returncode, done.stdout, done.stderr]


def has_program(name):
    """Return whether PATH contains a program."""
    return shutil.which(name) is not None


def _lines(args, limit_s=60):
    """Return the lines that a program printed; None if it failed or did not answer."""
    try:
        code, out, _ = run(args, limit_s=limit_s)
    except Failure:
        return None
    return os.fsdecode(out).splitlines() if code == 0 else None


def squeue(form, *flags):
    """Return the lines of squeue about this user's jobs; None if it did not answer."""
    return _lines(["squeue", "-h", "-u", str(os.geteuid()), "-o", form, *flags], 25)


def states():
    """Return all queued jobs of this user; each element of an array has its own entry."""
    return squeue("%A|%F|%K|%T|%r|%j", "-r", "-t", "all")


def account():
    """Return the lines of sacct for the last two weeks; None if sacct is missing."""
    form = "--format=JobIDRaw,JobID,State"
    return _lines(["sacct", "-n", "-P", "-X", "-S", "now-14days", form], 25)


def array_size():
    """Return MaxArraySize of the cluster; 0 if it is unknown."""
    lines = _lines(["scontrol", "show", "config"], 30) or []
    words = [line.split() for line in lines if line.startswith("MaxArraySize")]
    return int(words[0][2]) if words and words[0][2].isdecimal() else 0


# ---- new replicates


def place(job_out_dir, workdir):
    """Return the working directory and job_out_dir as absolute paths."""
    start = absolute(workdir)
    return [start, absolute(job_out_dir, start)]


def reserve(job_out_dir, workdir, names, marks, accept, needed, files, code, ask_arrays):
    """Reserve a new version_<n> for each replicate, for all or none; see the class Place.

    Args:
        job_out_dir: Path of the folder, relative to workdir.
        workdir: Path of the working directory.
        names: For each replicate, the possible names of its parent folder: first the name for a
            new folder, then the names of earlier versions.
        marks: Identity of each replicate.
        accept: Names whose identity may differ.
        needed: (kind, path) of what must exist; see _is_there for the kinds.
        files: Data files that must exist.
        code: Digest of the code.
        ask_arrays: Ask Slurm for the maximum size of an array.
    """
    start, root = place(job_out_dir, workdir)
    if not os.path.isdir(start):
        raise Failure("missing", f"workdir {workdir}: no such folder")
    lacking = [[kind, path] for kind, path in needed if not _is_there(absolute(path, start), kind)]
    missing = [path for path in files if not os.path.isfile(os.path.join(start, path))]
    has_code = os.path.exists(f"{root}/{KEPT}/code/{code}.tar.gz")
    moved, taken, n_next = [], [], {}
    try:
        if not lacking and not missing:
            there = [_first_there(root, each) for each in names]
            wanted = {name: mark for name, mark in zip(there, marks) if name not in accept}
            moved = [name for name in wanted if _is_moved(f"{root}/{name}", wanted[name])]
            if not moved:
                # after an error it still lists the reserved folders
                taken.extend([name, _next(f"{root}/{name}", n_next)] for name in there)
    except OSError as e:
        for name, n in taken:
            shutil.rmtree(f"{root}/{name}/version_{n}", ignore_errors=True)
        for each in names:
            leave_parent(f"{root}/{_first_there(root, each)}")
        text = f"cannot make {e.filename or root}: {e.strerror}"
        raise Failure("failed", text, "nothing was submitted") from e
    return {
        "root": root, "workdir": start, "taken": taken, "missing": missing, "moved": moved,
        "lacking": lacking[0] if lacking else [], "has_code": has_code,
        "max_array": array_size() if ask_arrays and taken else 0,
    }  # fmt: skip


def _first_there(root, names):
    return next((name for name in names if os.path.isdir(f"{root}/{name}")), names[0])


def _is_there(path, kind):
    """Return whether a path is a program (x), file (f), folder (d), or new or in parts (n)."""
    if kind == "n":
        return os.path.exists(f"{path}.parts/apply.json") or not os.path.exists(path)
    if kind == "d":
        return os.path.isdir(path)
    return os.path.isfile(path) and (kind == "f" or os.access(path, os.X_OK))


def _is_moved(parent, mark):
    """Return whether the replicates there have another identity; a new folder gets `mark`."""
    os.makedirs(parent, exist_ok=True)
    path = f"{parent}/identity"
    try:
        with open(path, "x", encoding="ascii") as file:
            try:
                file.write(mark)
                file.flush()
            except OSError:
                os.unlink(path)
                raise
        return False
    except FileExistsError:
        try:
            found = read_regular(path)
        except Failure as e:
            raise Failure("damaged", f"{path}: {e.text}", "move the folder away") from e
        return bool(found) and found != mark.encode()  # empty: another process is writing it


def _next(parent, known):
    """Create the folder of the next free number; `known` caches the next candidates."""
    n = known.get(parent)
    if n is None:
        n = max((int(name[8:]) for name in versions(parent)), default=-1) + 1
    while True:
        known[parent] = n + 1
        try:
            os.mkdir(f"{parent}/version_{n}")
            return n
        except FileExistsError:
            n += 1


# ---- submitting


def claim(root, claims, claim_s):
    """Create submit.<k> of each replicate, which only one submitter can do; keep all or none.

    If a submitter was killed before it recorded its claim, the next name is submit.<k>.1, etc.

    Args:
        root: Absolute path of job_out_dir.
        claims: (folder, submission, token, position in the submission).
        claim_s: Time after which a claim without its event is dropped, in seconds.
    """
    taken = []
    try:
        for folder, k, _, _ in claims:
            first = path = f"{root}/{folder}/submit.{k}"
            while not _is_made(path):
                if not _left_by_the_dead(path, k, claim_s):
                    raise Failure("busy", f"another process is submitting {root}/{folder}")
                path = f"{first}.{int(path[len(first) + 1 :] or 0) + 1}"
            taken.append(path)
        for folder, k, token, i in claims:
            append(f"{root}/{folder}", f"submitting submission={k} token={token} index={i}")
    except (OSError, Failure):
        for mine in taken:
            os.unlink(mine)
        raise


def _is_made(path):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        return True
    except FileExistsError:
        return False


def _left_by_the_dead(path, k, claim_s):
    """Return whether a claim is old and has no event, because its submitter was killed."""
    try:
        events = read_regular(f"{os.path.dirname(path)}/events") or b""
        return time.time() - os.stat(path).st_mtime > claim_s and not re.search(
            rb"^[0-9]* submitting submission=%d " % k, events, re.M
        )
    except (OSError, Failure):
        return False


def submit_processes(root, files, claims, entries, limit, claim_s, program):
    """Write files and put jobs into the queue of this host.

    Args:
        root: Absolute path of job_out_dir.
        files: See write_files.
        claims: See claim.
        entries: (name, arguments of bash) for each of `claims`.
        limit: Maximum number of jobs that run at once.
        claim_s: See claim.
        program: Path of worker.py on this host.
    """
    write_files(root, files)
    for folder in ("", "/waiting"):
        remove_leftovers(_queue(root) + folder)
    try:
        claim(root, claims, claim_s)
        _worker(program)["add"](_queue(root), limit, entries)
    except OSError as e:
        discard(root, files)
        raise unwritten(e, e.filename or root) from e
    for folder, k, _, _ in claims:
        with contextlib.suppress(OSError):  # the job can still be found by its token
            append(f"{root}/{folder}", f"submitted submission={k} job=shell")


def processes(root, program):
    """Return the name of this host, the entries waiting in its queue, and all processes."""
    queue = _queue(root)
    found = []
    if os.path.exists(program):
        try:
            _worker(program)["wake"](queue)
        except OSError:
            pass  # a queue of another user can be read
        # an entry whose submitter was killed while writing it does not count
        found = _worker(program)["names"](queue, "waiting")
    # after the entries: a job that starts meanwhile is then in one of the two lists
    found += _lines(["ps", "-A", "-ww", "-o", "args="]) or []
    return [os.uname()[1], "\n".join(found)]


def _queue(root):
    return f"{root}/{KEPT}/queue/{os.uname()[1]}"


_workers = {}  # type: dict


def _worker(program):
    """Return the names in worker.py, a separate file because a worker outlives this call."""
    if program not in _workers:
        with open(program, encoding="utf-8") as file:
            code = compile(file.read(), program, "exec")
        _workers[program] = {"__name__": "worker", "__file__": program}
        exec(code, _workers[program])
    return _workers[program]


def submit_batches(root, files, links, batches, claim_s):
    """Write files and call sbatch for each batch.

    Args:
        root: Absolute path of job_out_dir.
        files: See write_files.
        links: See write_files.
        batches: {token: (claims, arguments of sbatch)}; see claim.
        claim_s: See claim.

    Returns:
        (word, token, text): `job` and the id; `busy`, `late` or `refused` and the reason; `why` and
        what the scheduler reports about a job that was just queued.
    """
    write_files(root, files, links)
    answers = []
    for token, (claims, args) in batches.items():
        try:
            answers.append(_submit(absolute(root), token, claims, args, claim_s))
        except (Failure, OSError) as e:
            mine = [f"{folder}/events" for folder, _, _, _ in claims]
            mine.append(f"{KEPT}/submitted/{token}/batch.sh")
            discard(root, [name for name in mine if name in files])
            failure = e if isinstance(e, Failure) else unwritten(e, e.filename or root)
            answers.append([failure.kind, token, failure.text])
    queued = {token for word, token, _ in answers if word == "job"}
    for line in (squeue("%j|%T %r") or []) if queued else []:
        name, _, text = line.partition("|")
        if name.rpartition(".")[2] in queued:
            answers.append(["why", name.rpartition(".")[2], text])
    return answers


def _submit(root, token, claims, args, claim_s):
    folder = f"{root}/{KEPT}/submitted/{token}"
    with open(f"{folder}/folders", "w", errors="surrogateescape") as file:
        file.writelines(" ".join(map(str, words)) + "\n" for words in claims)
    with open(f"{folder}/args", "w", errors="surrogateescape") as file:
        file.writelines(f"{arg}\0" for arg in args)
    claim(root, claims, claim_s)
    code, said, error = _sbatch(folder, args)
    job = _id_in(said) if code == 0 else ""
    if not job and code is not None:
        job = _id_by_token(token)
    if job:
        with contextlib.suppress(OSError):  # without these lines, the job is found by its token
            with open(f"{folder}/job", "w", encoding="ascii") as file:
                file.write(job)
            is_array = any(arg.startswith("--array=") for arg in args)
            for name, k, _, i in claims:  # an element of an array is found by its position
                element = f"{job}_{i}" if is_array else job
                append(f"{root}/{name}", f"submitted submission={k} job={element}")
        return ["job", token, job]
    # the job may have been queued nevertheless: keep submit.<k>
    if not code:
        return ["late", token, "no answer in time" if code is None else "no id of a job"]
    if re.search("timed? ?out|zero bytes|communication|transport", error, re.I):
        return ["late", token, error]
    error = error or f"exit code {code}, without a reason"
    for name, k, _, _ in claims:
        with contextlib.suppress(OSError):
            append(f"{root}/{name}", f"refused text={error}")
        path = f"{root}/{name}/submit.{k}"
        for taken in [path, *glob.glob(f"{glob.escape(path)}.*")]:
            os.unlink(taken)
    return ["refused", token, error]


def _sbatch(folder, args):
    """Run sbatch; return its exit code (None: no answer in time), its output and its error."""
    environment = {
        name: value for name, value in os.environ.items()
        if not name.startswith(("SLURM", "SBATCH")) or name == "SLURM_CONF"
    }  # fmt: skip
    with open(f"{folder}/sbatch.out", "w+b") as out, open(f"{folder}/sbatch.err", "w+b") as err:
        try:
            code = subprocess.call(
                ["sbatch", *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder,
                env=environment, timeout=SBATCH_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            code = None
        except OSError as e:
            code = 127
            err.write(f"sbatch: {e.strerror}".encode())
        out.seek(0)
        err.seek(0)
        said, error = os.fsdecode(out.read()), os.fsdecode(err.read())
    return code, f"{said}\n{error}", _one_line(error, "sbatch: error: ")


def _one_line(text, prefix):
    text = " ".join(text.split())
    return text[len(prefix) :] if text.startswith(prefix) else text


def _id_in(text):
    """Return the job id in the output of sbatch; "" if it is ambiguous."""
    found = re.findall(r"^(\d+)(?:;[^ ;\r\n]*)?\r?$", text, re.M | re.A)
    found += re.findall(r"^(?:.* )?Submitted batch job (\d+)(?: .*)?\r?$", text, re.M | re.A)
    return found[0] if len(set(found)) == 1 else ""


def _id_by_token(token):
    """Return the id of a queued job."""
    lines = [line.partition("|") for line in squeue("%F|%j", "-t", "all") or []]
    return next((job for job, _, name in lines if name.endswith(f".{token}")), "")


# ---- cancelling
# The intent is recorded first, so that a job that starts meanwhile ends.


def cancel_processes(chosen, why):
    """End jobs of the queue of this host by SIGTERM, and by SIGKILL 10 s later.

    Args:
        chosen: (folder, token, host on which the job is alive or "").
        why: Reason to record.

    Returns:
        {folder: why the job could not be ended}.
    """
    failed, ended = {}, []
    for folder, token, node in chosen:
        append(folder, f"cancelling{_reason(why)}")
        # before the search for processes: an entry that starts meanwhile has a process
        problem = _leave_queue(folder, token) if token else ""
        found = _groups(token) if token else []
        for group in found:  # the job is the leader of each group
            why_not = _end(group)
            problem = why_not or problem
            if not why_not:
                ended.append(str(group))
        if not found and node and node != os.uname()[1]:
            problem = f"it runs on {node}: cancel it there"
        elif not found and node and not _is_gone(folder):
            problem = "it runs outside of the queue: end its process"
        _conclude(folder, why, problem, failed)
    if ended:
        text = f"sleep 10; for group in {' '.join(ended)}; do kill -KILL -- -$group; done"
        subprocess.call(["sh", "-c", f"({text}) > /dev/null 2>&1 < /dev/null &"])
    return failed


def _end(group):
    """End a process group; return why it failed, or "" if the group has ended."""
    try:
        os.killpg(group, signal.SIGTERM)
    except OSError as e:
        groups = [line.strip() for line in _lines(["ps", "-A", "-o", "pgid="]) or []]
        return f"process {group}: {e.strerror}" if str(group) in groups else ""
    return ""


def _reason(why):
    return f" text={' '.join(why.split())}" if why else ""


def _conclude(folder, why, problem, failed):
    if problem:
        failed[folder] = " ".join(problem.split())
    append(folder, f"cancel_failed text={failed[folder]}" if problem else f"cancel{_reason(why)}")


def _leave_queue(folder, token):
    root = os.path.dirname(os.path.dirname(folder))
    try:
        for entry in glob.glob(f"{glob.escape(root)}/{KEPT}/queue/*/waiting/*-{token}"):
            os.unlink(entry)
    except FileNotFoundError:
        return ""  # its worker has already done it
    except OSError as e:
        return f"{e.filename}: {e.strerror}"
    return ""


def _groups(token):
    """Return the process groups of bash processes whose script has this token as last argument."""
    lines = _lines(["ps", "-A", "-ww", "-o", "pgid=", "-o", "args="]) or []
    rows = [words for words in map(str.split, lines) if len(words) > 2 and words[-1] == token]
    return sorted({int(words[0]) for words in rows if words[1].endswith("bash")})


def _is_gone(folder):
    """Return whether the last attempt has ended by itself since its state was read."""
    pid = ""
    for line in os.fsdecode(read_regular(f"{folder}/events") or b"").splitlines():
        words = line.split()
        if words[1:2] in (["start"], ["end"]):
            pid = next((w[4:] for w in words if w.startswith("pid=") and words[1] == "start"), "")
    try:
        os.kill(int(pid), 0)
    except (OSError, ValueError):
        return True
    return False


def cancel_batches(chosen, why):
    """End Slurm jobs.

    Args:
        chosen: (folder, job id or "", host on which the job runs outside of the queue or "").
        why: Reason to record.

    Returns:
        {folder: why the job could not be ended}.
    """
    failed, problem, left = {}, "", []
    for folder, _, _ in chosen:
        append(folder, f"cancelling{_reason(why)}")
    jobs = [job for _, job, _ in chosen if job]
    if jobs:
        problem = _scancel(jobs)
    if problem:
        # a job that has ended meanwhile is not a failure; without an answer none is confirmed
        left = squeue("%i", "-r", "-t", "PD,R,S,CF")
        left = jobs if left is None else [line.strip() for line in left]
    for folder, job, outside in chosen:
        text = f"scancel: {problem}" if job in left else ""
        if outside:
            text = f"it runs on {outside} outside of the queue: end it there"
        _conclude(folder, why, text, failed)
    return failed


def _scancel(jobs):
    """Run scancel; return why it failed, or ""."""
    try:
        code, _, error = run(["scancel", *jobs])
    except Failure as e:
        return e.text
    text = _one_line(os.fsdecode(error), "scancel: error: ")
    return text or f"exit code {code}" if code else ""
