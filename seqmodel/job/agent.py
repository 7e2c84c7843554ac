"""Operations on the files of replicates, run on the host that has the files.

This file and launch.py are the only implementation: LocalInterface calls the functions, and
SshInterface sends both files to `python3` on the other host as one program, with one request after
it. They therefore use only the syntax and standard library of Python 3.6, and nothing else of
seqmodel. Arguments and results are JSON values and bytes.
"""

import contextlib
import errno
import fnmatch
import json
import os
import re
import shutil
import stat
import sys
import time
import zlib

KEPT = ".seqmodel"
PULLED = ".pulled"  # in a copy: the time at which the copy was made, by the clock of its source
# a file up to this size is read whole; only the head and tail of a larger one are read
WHOLE_BYTES = 48 * 1024
HEAD_BYTES = 8 * 1024
TAIL_BYTES = 16 * 1024
CUT = b"\n...\n"
MAX_BYTES = 256 * 2**20  # only checkpoints are larger, and they are not read here
STALE_S = 86400
LOG_BYTES = 1 << 22  # of a log: a progress bar that returns by \r makes one line of any length
LIVE_S = 60  # a container with the name of this host may use a process id that is free here
NO_FILE = {
    stat.S_IFDIR: "a folder is in the place of the file",
    stat.S_IFIFO: "a FIFO is in the place of the file",
    stat.S_IFSOCK: "a socket is in the place of the file",
}


class Failure(Exception):
    """An operation that failed.

    Args:
        kind: `missing`, `busy`, `damaged`, `late`, or `failed` for anything else.
        text: What failed, and why.
        advice: What to do, or what was not done.
    """

    def __init__(self, kind, text, advice=""):
        super().__init__(kind, text, advice)
        self.kind, self.text, self.advice = kind, text, advice


# ---- messages: a line of JSON, followed by the bytes that it refers to


def pack(message):
    """Encode a message as bytes."""
    blobs = []

    def keep(data):
        blobs.append(data)
        return {"\0": len(data)}

    text = json.dumps(message, default=keep).encode()
    body = zlib.compress(b"\n".join([text, b"".join(blobs)]), 1)
    return b"%d\n%s" % (len(body), body)


def unpack(data):
    """Return the message at the start of `data`.

    Raises:
        ValueError: The message is incomplete.
    """
    size, _, body = data.partition(b"\n")
    if len(body) < int(size or 1):
        raise ValueError(f"{len(body)} of {size.decode()} bytes arrived")
    try:
        text, _, blobs = zlib.decompress(body[: int(size)]).partition(b"\n")
    except zlib.error as e:
        raise ValueError(str(e)) from e
    at = 0

    def fill(found):
        nonlocal at
        if list(found) != ["\0"]:
            return found
        at += found["\0"]
        return blobs[at - found["\0"] : at]

    return json.loads(text.decode(), object_hook=fill)


def answer(module, operation, arguments):
    """Call a function of these two files and return its result.

    Raises:
        Failure: The operation failed.
    """
    try:
        return getattr(sys.modules[module], operation)(**arguments)
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        raise Failure("failed", f"{where}{e.strerror or e}") from e


def main():
    """Run the request on standard input. The answer follows the mark, which is the argument."""
    out = sys.stdout.buffer
    out.write(b"\n%s\n" % os.fsencode(sys.argv[1]))
    out.flush()
    request = unpack(sys.stdin.buffer.read())
    try:
        found = {"answer": answer(*_text(request, _from_utf8))}
    except Failure as e:
        found = {"failure": list(e.args)}
    except Exception as e:
        found = {"failure": ["failed", f"{type(e).__name__}: {e}", "please report it as a bug"]}
    out.write(pack(_text(found, _to_utf8)))
    out.flush()


def _text(value, change):
    """Convert all texts in `value`: Python may read names in an encoding other than UTF-8."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): _text(item, change) for key, item in value.items()}
    return [_text(item, change) for item in value] if isinstance(value, (list, tuple)) else value


def _from_utf8(text):
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def _to_utf8(text):
    return os.fsencode(text).decode("utf-8", "surrogateescape")


# ---- files


def absolute(path, start=""):
    """Return an absolute path; `~` is the home folder, and relative paths start from `start`."""
    return os.path.abspath(os.path.join(start or os.getcwd(), os.path.expanduser(path)))


def read_regular(path, pick=None):
    """Return the content of a regular file, or None if it does not exist.

    Args:
        path: Path of the file; a link to a regular file is accepted.
        pick: Function of the open file and its size that reads a part. If unset: read everything.

    Raises:
        Failure: The path is not a regular file, is too large, or cannot be read.
    """
    name = os.path.basename(path)
    try:
        # checked before opening: a FIFO would hang, and a device may do anything
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb", buffering=0) as file:
                if pick is not None:
                    return pick(file, found.st_size)
                if found.st_size > MAX_BYTES:
                    raise Failure("damaged", f"{name} is larger than {MAX_BYTES >> 20} MB")
                return file.read(MAX_BYTES)
        what = NO_FILE.get(stat.S_IFMT(found.st_mode), "a device is in the place of the file")
    except (FileNotFoundError, NotADirectoryError):
        if not os.path.islink(path):
            return None
        what = "a link to nothing is in the place of the file"
    except OSError as e:
        what = f"the file cannot be read: {(e.strerror or '').lower()}"
        if e.errno == errno.ELOOP:
            what = "a link to itself is in the place of the file"
    raise Failure("damaged", f"{name}: {what}")


def _head_and_tail(file, size):
    # unbuffered: each of the many small files takes one read
    data = file.read(WHOLE_BYTES + 1)
    if len(data) <= WHOLE_BYTES:
        return data
    file.seek(max(size - TAIL_BYTES, HEAD_BYTES))
    return data[:HEAD_BYTES] + CUT + file.read(TAIL_BYTES)


def read(paths):
    """Return the content of the regular files in `paths`; of large files, the head and tail."""
    found = {}
    for path in paths:
        try:
            data = read_regular(path, _head_and_tail)
        except Failure:
            continue
        if data is not None:
            found[path] = data
    return found


def tail(path, n_lines):
    """Return the last lines of a regular file, at most LOG_BYTES."""

    def end(file, size):
        data, at = b"", size
        while at and len(data) < LOG_BYTES and data.count(b"\n") <= n_lines:
            step = min(at, 1 << 16)
            at -= step
            file.seek(at)
            data = file.read(step) + data
        return b"".join(data.splitlines(True)[-n_lines:] if n_lines else [])

    data = read_regular(path, end)
    if data is None:
        raise Failure("missing", f"{path}: no such file")
    return data


def list_dir(path):
    """Return the sorted names in a folder; an empty list if the folder does not exist."""
    try:
        return sorted(os.listdir(absolute(path)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def snapshot(root, names, whole, asked):
    """Read what is below a folder at one moment; see the class Snapshot.

    Args:
        root: The folder.
        names: Files of `root` itself, or of all `version_*` folders one or two levels below.
        whole: Names of the files that are read whole even if they are large.
        asked: {name: (module, function, arguments)}, called before the files are read, so that
            the files contain the last event of a job that ends meanwhile.
    """
    path = absolute(root)
    if not os.path.isdir(path):
        raise Failure("missing", f"{root}: no such folder", "give a folder of runs")
    real = os.path.realpath(path)
    if os.path.islink(path) and os.path.basename(real).startswith("version_"):
        path = real  # out/latest is a link to another run
    outputs = {name: answer(*call) for name, call in asked.items()}
    files, damaged, pulled = {}, {}, _pulled(path)
    for folder in replicate_folders(path):
        files[folder] = {}
        time_pulled = max(pulled, _pulled(f"{path}/{folder}", 1))
        if time_pulled:
            files[folder][PULLED] = b"%d" % time_pulled
        for name in names:
            pick = None if name in whole else _head_and_tail
            try:
                data = read_regular("/".join([path, folder, name]), pick)
            except Failure as e:
                damaged.setdefault(folder, e.text)
                continue
            if data is not None:
                files[folder][name] = data
    return {
        "root": path, "files": files, "outputs": outputs, "now": time.time(), "damaged": damaged,
    }  # fmt: skip


def _pulled(path, n_levels=3):
    """Return when a folder, or one above it, was copied from another host; 0 if none was."""
    found = 0
    for _ in range(n_levels):
        try:
            found = max(found, int(read_regular(f"{path}/{PULLED}") or 0))
        except (Failure, ValueError):
            pass
        path = os.path.dirname(path)
    return found


def clock():
    """Return the seconds since 1970 by the clock of this host."""
    return time.time()


def replicate_folders(root):
    """List the sorted `version_*` folders: `root` itself as ".", or those 1 or 2 levels below."""
    if os.path.basename(root).startswith("version_"):
        return ["."]
    own = versions(root)
    if own:
        return own
    found = []
    for name in sorted(os.listdir(root)):
        if not name.startswith("."):
            found += [f"{name}/{version}" for version in versions(f"{root}/{name}")]
    return found


def versions(folder):
    """List the `version_<n>` folders in a folder, by number; empty if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            # a copy such as `version_0.bak` has the events and the job of another replicate
            named = [e for e in entries if e.name.startswith("version_")]
            found = [e.name for e in named if e.name[8:].isdecimal() and _is_folder(e)]
    except OSError:
        return []
    return sorted(found, key=lambda name: (int(name[8:]), name))


def _is_folder(entry):
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def tree(path, exclude):
    """Pack a folder as tar.gz, without FIFOs, devices and names that match `exclude`."""
    import io
    import tarfile

    path = absolute(path)
    if not os.path.isdir(path):
        raise Failure("missing", f"{path}: no such folder")

    def keep(member):
        name = os.path.basename(member.name)
        is_left = any(fnmatch.fnmatch(name, pattern) for pattern in exclude)
        is_copied = member.isreg() or member.isdir() or member.issym() or member.islnk()
        return member if is_copied and not is_left else None

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as tar:
        tar.add(path, arcname=".", filter=keep)
    return buffer.getvalue()


def zip_member(path, workdir, name, most):
    """Return up to `most` bytes of the member of a zip file whose file name is `name`."""
    import zipfile

    path = absolute(path, absolute(workdir))
    if not stat.S_ISREG(os.stat(path).st_mode):  # a device has no end, and a FIFO blocks
        raise Failure("damaged", "not a regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            found = [n for n in archive.namelist() if n.split("/")[-1] == name]
            with archive.open(found[0]) as member:
                return member.read(most)
    except (zipfile.BadZipFile, IndexError, RuntimeError) as e:
        raise Failure("damaged", str(e) or type(e).__name__) from e


def write_files(root, files, links=None):
    """Write files below `root`, in their order, and make links to targets.

    A shared or existing file is replaced as a whole, even if several processes write it. If one
    file cannot be written, none is: new replicates are removed, and existing files keep their
    content. Only the owner can read what is kept beside the replicates.
    """
    new = {os.path.dirname(name) for name in files if os.path.basename(name) == "events"}
    asides, path = [], root
    try:
        root = absolute(root)
        os.makedirs(root, exist_ok=True)
        made = set()
        for name in list(files) + list(links or {}):
            _make_folder(root, os.path.dirname(name), made)
        remove_leftovers(f"{root}/{KEPT}/code")
        for name, data in files.items():
            aside = path = f"{root}/{name}"
            # `events` too: it completes a replicate
            if os.path.dirname(name) not in new or path.endswith("/events"):
                who = f"{os.uname()[1]}.{os.getpid()}.{os.urandom(4).hex()}"
                aside = f"{os.path.dirname(path)}/{who}.part"
                asides.append((aside, path))
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _mode(name))
            with open(descriptor, "wb") as file:
                file.write(data)
        for aside, path in asides:
            os.replace(aside, path)
        for link, target in (links or {}).items():
            path = f"{root}/{link}"
            os.symlink(target, path)
    except OSError as e:
        for aside, _ in asides:
            with contextlib.suppress(OSError):
                os.unlink(aside)
        discard(root, files)
        raise unwritten(e, path) from e


def unwritten(error, path):
    """Return the Failure for an OSError while `path` was written for a submission."""
    text = f"cannot write {path}: {error.strerror or error}"
    return Failure("failed", text, "nothing was submitted, and the written files were removed")


def discard(root, names):
    """Remove the new replicates and submissions to which these files belong."""
    for folder in {os.path.dirname(name) for name in names}:
        path = f"{root}/{folder}"
        if folder.startswith(f"{KEPT}/submitted/"):
            shutil.rmtree(path, ignore_errors=True)
        elif f"{folder}/events" in names:
            shutil.rmtree(path, ignore_errors=True)
            leave_parent(os.path.dirname(path))


def leave_parent(parent):
    """Remove the folder of a run that has no replicate left."""
    path = f"{parent}/identity"
    try:
        if os.listdir(parent) not in ([], ["identity"]):
            return
        mark = read_regular(path)
        if mark is not None:
            os.unlink(path)
        try:
            os.rmdir(parent)
        except OSError:  # another submitter has meanwhile taken a number
            with open(path, "xb") as file:
                file.write(mark or b"")
    except (OSError, Failure):
        pass  # the file is small


def remove_leftovers(folder):
    """Remove the `.part` files of processes that were killed while writing.

    A file is removed if its process on this host has ended, or if it is older than a day.
    """
    host = re.escape(os.uname()[1])
    mine = re.compile(rf"(?:^|\.){host}\.([0-9]+)\.[0-9a-f]+\.part$")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            path, found = f"{folder}/{name}", mine.search(name)
            if name.endswith(".part"):
                with contextlib.suppress(OSError):
                    age = time.time() - os.stat(path).st_mtime
                    is_left = found is not None and age > LIVE_S and _is_dead(int(found.group(1)))
                    if is_left or age > STALE_S:
                        os.unlink(path)


def _is_dead(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return False


def _mode(name):
    mode = 0o755 if name.endswith(".sh") else 0o644
    return mode & 0o700 if name.startswith(f"{KEPT}/") else mode


def _make_folder(root, name, made):
    if not name or name in made:
        return
    _make_folder(root, os.path.dirname(name), made)
    made.add(name)
    is_kept = f"{name}/".startswith(f"{KEPT}/")
    path = f"{root}/{name}"
    try:
        os.mkdir(path, 0o700 if is_kept else 0o777)
    except FileExistsError:
        found = os.stat(path)
        if is_kept and found.st_uid == os.getuid() and found.st_mode & 0o077:
            os.chmod(path, 0o700)  # made by an earlier version


def note(lines):
    """Append each (folder, line) to the events there; folders that are not writable are skipped."""
    for folder, line in lines:
        try:
            if os.path.exists(folder + "/events"):
                append(folder, line)
        except OSError:
            continue


def append(folder, line):
    """Append an event in one write: all of it or nothing."""
    data = os.fsencode(f"{int(time.time())} {line}\n")
    path = folder + "/events"
    with open(path, "ab", 0) as file:
        size = os.fstat(file.fileno()).st_size
        if file.write(data) != len(data):
            file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def prune(folders, older_than_min):
    """Remove the folders that hold only what a submitter writes; return (folder, result)."""
    return [[folder, _prune(folder, older_than_min)] for folder in folders]


def _prune(folder, older_than_min):
    try:
        if os.path.islink(folder):
            return "the folder cannot be opened"
        paths = [folder] + [f"{folder}/{name}" for name in os.listdir(folder)]
        times = [os.lstat(path).st_mtime for path in paths]
        why = next((why for why in map(_foreign, paths[1:]) if why), "")
        if not why and max(times) > time.time() - 60 * older_than_min:
            why = f"something was written there within the last {older_than_min} minutes"
        if not why:
            shutil.rmtree(folder)
        return why or "removed"
    except OSError as e:
        return f"it cannot be removed: {e.strerror}"


_SUBMITTED = ("*_version_*.sh", "hparams.json", "job.json", "*.part", "stdout", "stderr", "events",
              "submit.*")  # fmt: skip


def _foreign(path):
    """Return why a file is not left over from an interrupted submission; "" if it is."""
    name = os.path.basename(path)
    if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _SUBMITTED):
        return f"it holds {name}, which no submitter writes"
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return f"{name} is not a regular file"
    try:
        data = read_regular(path) or b""
    except Failure as e:
        return e.text
    if name == "events" and re.search(rb"^[0-9]* created ", data, re.M):
        return "it holds a job"
    if name == "hparams.json" and b'"_run"' in data:
        return "a run has started in it"
    return "a job wrote its output there" if name in ("stdout", "stderr") and data else ""
