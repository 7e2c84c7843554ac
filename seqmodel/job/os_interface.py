"""This machine, or one behind SSH, by the same few operations.

The only code of the job side that touches a file system or starts a program. LocalInterface works
on this machine; SshInterface works through the OpenSSH program with the user's own configuration,
agent, jump hosts and ControlMaster. One operation is one connection: a script for `bash -s` on its
standard input, with the data that it needs behind it.

    run(args)              a command, its exit code and output
    script(text, payload)  a bash script of ours, which reads the payload from its standard input
    read(paths)            head and tail of many files
    snapshot(root, names)  the same for all replicates below a folder, and the output of commands
    write(path, data)      a file, whole or not at all
    list_dir(path), make_dir(path)
    push(local, remote), pull(remote, local)     a tree there, and back
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import namedtuple
from collections.abc import Mapping, Sequence
from contextlib import suppress

from seqmodel.errors import ConnectionLost, JobError
from seqmodel.files import write_file
from seqmodel.job.packed import (
    READ,
    SNAPSHOT,
    Snapshot,
    joined,
    read_file,
    replicate_folders,
    tar_tree,
    unpack_snapshot,
    untar,
    untar_tree,
)
from seqmodel.record.run_files import Damaged

TIMEOUT_S = 60.0

Done = namedtuple("Done", ["code", "out", "err"])
Done.__doc__ = "Exit code, standard output (bytes) and standard error (text) of a command."


class LocalInterface:
    """This machine."""

    name = "local"
    is_local = True

    def __init__(self) -> None:
        self.n_connections = 0

    def __repr__(self) -> str:
        return "LocalInterface()"

    def run(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        data: bytes = b"",
        timeout: float = TIMEOUT_S,
    ) -> Done:
        """Runs a program with arguments (no shell) and waits for it.

        Raises:
            JobError: it cannot be started, or did not end within `timeout` seconds.
        """
        return _run(list(args), data, timeout, cwd, what=f"{args[0]} on this machine")

    def script(self, text: str, payload: bytes = b"", *, timeout: float = TIMEOUT_S) -> Done:
        """Runs a bash script that reads `payload` from its standard input.

        Raises:
            JobError: bash is missing, or the script did not end within `timeout` seconds.
        """
        mark = os.urandom(8).hex()
        data = framed(text, payload, mark)
        done = _run(["bash", "-s"], data, timeout, None, what="a script")
        return _behind(mark, done, "this machine")

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The content of those of `paths` that are there; of large files head and tail."""
        found = {}
        for path in paths:
            with suppress(Damaged):
                data = read_file(path)
                if data is not None:
                    found[path] = data
        return found

    def snapshot(
        self, root: str, names: Sequence[str], commands: Mapping[str, str] | None = None
    ) -> Snapshot:
        """The files `names` of `root` itself, or of all `version_*` folders one or two below.

        Raises:
            JobError: there is no such folder.
        """
        import time

        root = os.path.abspath(os.path.expanduser(root))
        if not os.path.isdir(root):
            raise JobError(f"{root}: no such folder on this machine; give a folder of runs")
        # first, so that a job that ended meanwhile has its last word in the files
        outputs = {name: self.script(text).out for name, text in (commands or {}).items()}
        files: dict[str, dict[str, bytes]] = {}
        damaged: dict[str, str] = {}
        try:
            folders = replicate_folders(root)
        except OSError as e:
            raise JobError(f"cannot list {root}: {e.strerror}") from e
        for folder in folders:
            files[folder] = {}
            for name in names:
                try:
                    data = read_file(f"{root}/{folder}/{name}")
                except Damaged as e:
                    damaged.setdefault(folder, str(e))
                    continue
                if data is not None:
                    files[folder][name] = data
        return Snapshot(root, files, outputs, time.time(), damaged)

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Writes a file so that it is either as before or whole; makes its folder.

        Raises:
            JobError: it cannot be written.
        """
        write_file(path, data, JobError, mode=mode, parents=True)

    def list_dir(self, path: str) -> list[str]:
        """The names in a folder, sorted; none if there is no such folder."""
        try:
            return sorted(os.listdir(path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as e:
            raise JobError(f"cannot list {path}: {e.strerror}") from e

    def make_dir(self, path: str) -> bool:
        """Makes the folder, and its parents; False if it was there: only one caller gets True."""
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            os.mkdir(path)
        except FileExistsError:
            return False
        except OSError as e:
            raise JobError(f"cannot make {path}: {e.strerror}") from e
        return True

    def push(self, local: str, remote: str) -> None:
        """Copies the tree `local` to the folder `remote`."""
        _copy_tree(local, remote)

    def pull(self, remote: str, local: str, *, exclude: Sequence[str] = ()) -> None:
        """Copies the tree `remote` to the folder `local`, without names that match `exclude`."""
        _copy_tree(remote, local, exclude)


class SshInterface:
    """A machine behind SSH, by the OpenSSH program and the user's ~/.ssh/config.

    Clusters ask for a second factor, so by default no connection is opened: the operations go over
    the user's own master connection, and where there is none the error says the command that opens
    it. A lost connection is an error that says so, and nothing is tried a second time behind the
    caller's back.

    Args:
        host: a host name or alias, as for `ssh host`.
        open_master: open a master connection when there is none (in BatchMode: it asks nothing).
        config: another file than ~/.ssh/config.
        persist_s: how long a master that was opened here lives when idle.
        timeout_s: for each operation, unless it says otherwise.
    """

    is_local = False

    def __init__(
        self,
        host: str,
        *,
        open_master: bool = False,
        config: str | None = None,
        persist_s: int = 600,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        if (
            not host
            or host.startswith("-")
            or any(c.isspace() or not c.isprintable() for c in host)
        ):
            raise JobError(f"{host!r} is no host name; give what you type after ssh")
        self.host, self.name = host, host
        self.open_master, self.config = open_master, config
        self.persist_s, self.timeout_s = persist_s, timeout_s
        self.n_connections = 0
        self._control: list[str] | None = None

    def __repr__(self) -> str:
        return f"SshInterface({self.host!r})"

    def run(
        self,
        args: Sequence[str],
        *,
        cwd: str | None = None,
        data: bytes = b"",
        timeout: float | None = None,
    ) -> Done:
        """Runs a program with arguments there and waits for it; see LocalInterface.run."""
        text = f"cd -- {shlex.quote(cwd)} || exit 1\n" if cwd else ""
        return self.script(text + shlex.join(args), data, timeout=timeout)

    def script(self, text: str, payload: bytes = b"", *, timeout: float | None = None) -> Done:
        """Runs a bash script there that reads `payload` from its standard input.

        Raises:
            ConnectionLost: the connection ended or did not answer in time; how far it came is open.
            JobError: there is no connection; nothing was sent.
        """
        self._need_master()
        self.n_connections += 1
        timeout = timeout or self.timeout_s
        mark = os.urandom(8).hex()
        args = [*self._ssh(), "-T", "-o", "ProxyCommand=/bin/false", self.host, "bash -s"]
        try:
            done = _run(args, framed(text, payload, mark), timeout, None, what=self.host)
        except _Late as e:
            raise ConnectionLost(
                f"{self.host} did not answer within {timeout:g} s; the operation may or may not "
                "have been done there: look with status, then repeat"
            ) from e
        if done.code == 255:
            raise ConnectionLost(
                f"the connection to {self.host} was lost ({_last_line(done.err)}); the operation "
                "may or may not have been done there: look with status, then repeat"
            )
        return _behind(mark, done, self.host)

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The content of those of `paths` that are there; of large files head and tail."""
        names = "\0".join(paths).encode() + b"\0"
        done = self._ok(self.script(READ, names), "read files")
        members = untar(done.out)
        numbered = {i: joined(members, f"./{i}") for i in range(len(paths))}
        return {paths[i]: data for i, data in numbered.items() if data is not None}

    def snapshot(
        self, root: str, names: Sequence[str], commands: Mapping[str, str] | None = None
    ) -> Snapshot:
        """As LocalInterface.snapshot, in one connection."""
        wanted = " -o ".join(f"-name {shlex.quote(name)}" for name in names)
        runs = "\n".join(
            f"{{ {text}\n}} > $tmp/output.{name} 2>/dev/null </dev/null"
            for name, text in (commands or {}).items()
        )
        fields = {"ROOT": quote_home(root), "NAMES": wanted, "RUNS": runs}
        text = SNAPSHOT
        for field, value in fields.items():
            text = text.replace(f"@{field}@", value)
        done = self.script(text, timeout=max(self.timeout_s, 120))
        if done.code == 3:
            raise JobError(f"{root}: no such folder on {self.host}; give a folder of runs")
        self._ok(done, f"read {root}")
        return unpack_snapshot(untar(done.out), names)

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Writes a file there so that it is either as before or whole; makes its folder."""
        text = (
            f'p={quote_home(path)}; mkdir -p -- "$(dirname -- "$p")" && '
            f'head -c {len(data)} > "$p.$$.part" && [ "$(wc -c < "$p.$$.part")" -eq {len(data)} ] '
            f'&& chmod {mode:o} "$p.$$.part" && mv -f -- "$p.$$.part" "$p" '
            '|| { rm -f -- "$p.$$.part"; exit 1; }'
        )
        self._ok(self.script(text, data), f"write {path}")

    def list_dir(self, path: str) -> list[str]:
        """The names in a folder there, sorted; none if there is no such folder."""
        text = f"cd -- {quote_home(path)} 2>/dev/null || exit 0\n"
        text += "find . -mindepth 1 -maxdepth 1 -print0"
        out = self._ok(self.script(text), f"list {path}").out
        return sorted(name[2:].decode("utf-8", "surrogateescape") for name in out.split(b"\0")[:-1])

    def make_dir(self, path: str) -> bool:
        """Makes the folder there, and its parents; False if it was there."""
        text = (
            f'p={quote_home(path)}; mkdir -p -- "$(dirname -- "$p")" || exit 1\n'
            'mkdir -- "$p" 2>/dev/null && exit 0; [ -e "$p" ] && exit 17; mkdir -- "$p"'
        )
        done = self.script(text)
        return done.code != 17 and bool(self._ok(done, f"make {path}"))

    def push(self, local: str, remote: str) -> None:
        """Copies the tree `local` to the folder `remote` there, as one tar stream."""
        text = f'p={quote_home(remote)}; mkdir -p -- "$p" && tar -xzf - -C "$p"'
        self._ok(self.script(text, tar_tree(local), timeout=3600), f"copy {local} to {remote}")

    def pull(self, remote: str, local: str, *, exclude: Sequence[str] = ()) -> None:
        """Copies the tree `remote` from there to `local`: by rsync if both have it, else by tar."""
        os.makedirs(local, exist_ok=True)
        if self._rsync(remote, local, exclude):
            return
        skip = " ".join(f"--exclude={shlex.quote(pattern)}" for pattern in exclude)
        text = f"cd -- {quote_home(remote)} && tar -czf - {skip} ."
        done = self._ok(self.script(text, timeout=3600), f"copy {remote}")
        untar_tree(done.out, local)

    def _rsync(self, remote: str, local: str, exclude: Sequence[str]) -> bool:
        import shutil

        if shutil.which("rsync") is None:
            return False
        self._need_master()
        self.n_connections += 1
        shell = shlex.join([*self._ssh(), "-o", "ProxyCommand=/bin/false"])
        remote = remote.removeprefix("~/")  # rsync starts in the home folder, and expands nothing
        done = _run(
            ["rsync", "-rltp", "-s", "--partial-dir=.part", *(f"--exclude={p}" for p in exclude),
             "-e", shell, f"{self.host}:{remote.rstrip('/')}/", f"{local.rstrip('/')}/"],
            b"", 3600, None, what="rsync",
        )  # fmt: skip
        if done.code == 0:
            return True
        if done.code in (12, 127) and "not found" in done.err:
            return False
        if "is your shell clean" in done.err or "protocol version mismatch" in done.err:
            raise JobError(
                f"{self.host} prints text at login, and rsync reads it as data: remove it from "
                "~/.bashrc there, or print it in interactive shells only, below a line "
                "`[[ $- == *i* ]] || return`; nothing was copied"
            )
        if "No such file" in done.err:
            raise JobError(f"{remote}: no such folder on {self.host}")
        raise ConnectionLost(
            f"copying {remote} from {self.host}: {_last_line(done.err)}; repeat it"
        )

    def _ok(self, done: Done, what: str) -> Done:
        if done.code != 0:
            raise JobError(f"cannot {what} on {self.host}: {_last_line(done.err) or done.code}")
        return done

    def _ssh(self) -> list[str]:
        command = ["ssh", *(["-F", self.config] if self.config else [])]
        command += ["-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ConnectTimeout=15"]
        if self._control is None:
            shown = _run([*command, "-G", self.host], b"", 15, None, what="ssh -G")
            has_path = "\ncontrolpath " in shown.out.decode("utf-8", "replace")
            # ssh has no ControlPath of its own: without one in the configuration, ours
            self._control = [] if has_path else ["-o", "ControlPath=~/.ssh/seqmodel-%C"]
        return command + self._control

    def _need_master(self) -> None:
        check = _run([*self._ssh(), "-O", "check", self.host], b"", 15, None, what="ssh -O check")
        if check.code == 0:
            return
        config = ["-F", self.config] if self.config else []
        command = ["ssh", *config, *(self._control or [])]
        if not self.open_master:
            by_hand = shlex.join([*command, "-fNM", "-o", "ControlPersist=8h", self.host])
            raise JobError(
                f"no open connection to {self.host}, and seqmodel opens none by itself; run once: "
                f"{by_hand.replace(chr(39) + '~', '~')}"
            )
        opened = self._open([*command, "-o", "BatchMode=yes", "-fNM"])
        if opened.code != 0:
            raise JobError(
                f"cannot connect to {self.host} without being asked: {_last_line(opened.err)}; "
                f"try `ssh {self.host} true`, and open the connection by hand where it asks"
            )

    def _open(self, command: list[str]) -> Done:
        import tempfile

        command += ["-o", f"ControlPersist={self.persist_s}", "-o", "ConnectTimeout=15", self.host]
        with tempfile.TemporaryFile() as err:  # the master keeps it: a pipe would never end
            try:
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=err,
                    timeout=self.timeout_s,
                    start_new_session=True,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return Done(255, b"", f"no answer within {self.timeout_s:g} s")
            err.seek(0)
            return Done(code, b"", err.read().decode("utf-8", "replace"))


Interface = LocalInterface | SshInterface


def framed(text: str, payload: bytes, mark: str) -> bytes:
    """What goes to `bash -s`: the script as one command that is read whole, then its data.

    It first prints `mark` on both outputs: what is before it was printed at login.
    """
    begin = f"printf '%s\\n' {mark}; printf '%s\\n' {mark} >&2"
    script = f"main() {{\n:\n{text}\n}}\n{begin}; export LC_ALL=C; main; exit $?\n"
    return script.encode("utf-8", "surrogateescape") + payload


def _behind(mark: str, done: Done, where: str) -> Done:
    """The outputs without what the start files of a shell there printed before our script.

    Raises:
        JobError: the script did not begin.
    """
    line = f"{mark}\n"
    before, found, out = done.out.partition(line.encode())
    if not found:
        told = _last_line(done.err) or _last_line(before.decode("utf-8", "replace"))
        told = told[:200] or "it said nothing"
        raise JobError(
            f"no script runs on {where} (exit code {done.code}: {told}); "
            "nothing was done there; bash must start there by `bash -s`"
        )
    return Done(done.code, out, done.err.partition(line)[2] if line in done.err else done.err)


def quote_home(path: str) -> str:
    """`path` for a shell, with a leading `~/` as the home folder there."""
    if path == "~":
        return '"$HOME"'
    if path.startswith("~/"):
        return f'"$HOME"/{shlex.quote(path[2:])}'
    return shlex.quote(path)


def _copy_tree(source: str, target: str, exclude: Sequence[str] = ()) -> None:
    import shutil

    if not os.path.isdir(source):
        raise JobError(f"{source}: no such folder")
    patterns = shutil.ignore_patterns(*exclude)

    def ignore(folder: str, names: list[str]) -> set[str]:
        # rsync leaves out FIFOs, sockets and devices too
        special = {n for n in names if not _is_copied(os.path.join(folder, n))}
        return {*patterns(folder, names), *special}

    try:
        shutil.copytree(source, target, symlinks=True, ignore=ignore, dirs_exist_ok=True)
    except (OSError, shutil.Error) as e:
        raise JobError(f"cannot copy {source} to {target}: {e}") from e


def _is_copied(path: str) -> bool:
    return os.path.islink(path) or os.path.isdir(path) or os.path.isfile(path)


class _Late(JobError):
    pass


def _run(args: list[str], data: bytes, timeout: float, cwd: str | None, what: str) -> Done:
    try:
        done = subprocess.run(
            args, input=data, capture_output=True, timeout=timeout, cwd=cwd, check=False
        )
    except subprocess.TimeoutExpired as e:
        raise _Late(f"{what}: no answer within {timeout:g} s") from e
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise JobError(f"cannot start {args[0]!r}: {reason}") from e
    return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def here(path: str) -> str:
    """`path` absolute, on this machine."""
    return os.path.abspath(os.path.expanduser(path))
