"""This host, or one behind SSH, by the same few operations.

The operations themselves are the functions of agent.py and launch.py. LocalInterface calls them;
SshInterface has them called there, by the OpenSSH program with the user's own configuration, agent,
jump hosts and ControlMaster. One call is one connection.

    call(operation, ...)   a function of agent.py or launch.py: its result, its failure as JobError
    run(args)              a command, its exit code and output
    read(paths)            head and tail of many files
    snapshot(root, names)  the same for all replicates below a folder, and what schedulers say
    pull(remote, local)    a tree from there
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seqmodel.errors import BusyError, ConnectionLost, JobError, MissingError
from seqmodel.files import read_bytes, write_file
from seqmodel.job import agent, launch
from seqmodel.job.launch import TIMEOUT_S
from seqmodel.record.run_files import Damaged

Done = namedtuple("Done", ["code", "out", "err"])
Done.__doc__ = "Exit code, standard output (bytes) and standard error (text) of a command."
Snapshot = namedtuple("Snapshot", ["root", "files", "outputs", "now", "damaged"])
Snapshot.__doc__ = """What was below a folder at one moment.

    root: the folder, absolute.
    files: {folder relative to root: {name: bytes}}; a large file is its head, agent.CUT and its
        tail. A folder without any of the names is there, and empty.
    outputs: {name: result}, of the operations that were asked for.
    now: seconds since 1970 on that host.
    damaged: {folder: why}, of folders in which one of the names is no regular file.
    """

_ERRORS = {"missing": MissingError, "busy": BusyError, "damaged": Damaged}
# Any shell reads it: it holds no single quote and no exclamation mark. On standard input follow the
# length of the program, the program, and the request.
_START = (
    "import sys; sys.version_info < (3, 6) and "
    'sys.exit("python3 is " + sys.version.split()[0]); '
    "f = sys.stdin.buffer; exec(f.read(int(f.readline())))"
)


class Interface:
    """A host."""

    name = ""
    is_local = False

    def __init__(self) -> None:
        self.n_connections = 0

    def call(
        self, operation: Callable[..., object], *, timeout: float | None = None, **arguments: object
    ) -> Any:
        """The result of a function of agent.py or launch.py on that host.

        Args:
            operation: the function.
            timeout: seconds for an answer from another host.
            arguments: of the function.

        Raises:
            JobError: it was not done; MissingError, BusyError and Damaged say what is in the way.
        """
        raise NotImplementedError

    def pull(self, remote: str, local: str, *, exclude: Sequence[str] = ()) -> None:
        """Copies the tree `remote` to the folder `local`, without names that match `exclude`.

        The copy notes the time there, since the clock here may differ: a run that had given signs
        of life when it was copied is not lost.
        """
        now = self.call(agent.clock)
        self._copy(remote, local, [*exclude, agent.PULLED])
        write_file(os.path.join(local, agent.PULLED), f"{now:.0f}", JobError)

    def _copy(self, remote: str, local: str, exclude: Sequence[str]) -> None:
        raise NotImplementedError

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
        code, out, err = self.call(
            launch.run, timeout=timeout + 10, args=list(args), cwd=cwd, data=data, limit_s=timeout
        )
        return Done(code, out, err.decode("utf-8", "replace"))

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The content of those of `paths` that are there; of large files head and tail."""
        return self.call(agent.read, paths=list(paths))

    def snapshot(
        self,
        root: str,
        names: Sequence[str],
        asked: Mapping[str, tuple[Callable[..., object], dict[str, Any]]] | None = None,
        *,
        whole: Sequence[str] = (),
    ) -> Snapshot:
        """The files `names` of `root` itself, or of all `version_*` folders one or two below.

        Args:
            root: the folder.
            names: file names.
            asked: {name: (operation, arguments)}, done before the files are read.
            whole: those of `names` of which large ones are read whole too.

        Raises:
            JobError: there is no such folder.
        """
        calls = {
            name: [operation.__module__, operation.__name__, arguments]
            for name, (operation, arguments) in (asked or {}).items()
        }
        return Snapshot(
            **self.call(
                agent.snapshot, timeout=120, root=root, names=list(names), whole=list(whole),
                asked=calls,
            )
        )  # fmt: skip


class LocalInterface(Interface):
    """This host."""

    name = "local"
    is_local = True

    def __repr__(self) -> str:
        return "LocalInterface()"

    def call(
        self, operation: Callable[..., object], *, timeout: float | None = None, **arguments: object
    ) -> Any:
        """See Interface.call."""
        try:
            return agent.answer(operation.__module__, operation.__name__, arguments)
        except agent.Failure as e:
            raise _error("this host", *e.args) from e

    def _copy(self, remote: str, local: str, exclude: Sequence[str]) -> None:
        _copy_tree(remote, local, exclude)


class SshInterface(Interface):
    """A host behind SSH, by the OpenSSH program and the user's ~/.ssh/config.

    Clusters ask for a second factor, so by default no connection is opened: the operations go over
    the user's own master connection, and where there is none the error says the command that opens
    it. A lost connection is an error that says so, and nothing is tried a second time behind the
    caller's back. The host needs `python3` of version 3.6 or later.

    Args:
        host: a host name or alias, as for `ssh host`.
        open_master: open a master connection when there is none (in BatchMode: it asks nothing).
        config: another file than ~/.ssh/config.
        persist_s: how long a master that was opened here lives when idle.
        timeout_s: the least time for each operation.
    """

    def __init__(
        self,
        host: str,
        *,
        open_master: bool = False,
        config: str | None = None,
        persist_s: int = 600,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__()
        if (
            not host
            or host.startswith("-")
            or any(c.isspace() or not c.isprintable() for c in host)
        ):
            raise JobError(f"{host!r} is no host name; give what you type after ssh")
        self.host, self.name = host, host
        self.open_master, self.config = open_master, config
        self.persist_s, self.timeout_s = persist_s, timeout_s
        self._control: list[str] | None = None

    def __repr__(self) -> str:
        return f"SshInterface({self.host!r})"

    def call(
        self, operation: Callable[..., object], *, timeout: float | None = None, **arguments: object
    ) -> Any:
        """See Interface.call.

        Raises:
            ConnectionLost: the connection ended or did not answer in time; how far it came is open.
            JobError: there is no connection, and nothing was sent; or the operation failed.
        """
        self._need_master()
        self.n_connections += 1
        timeout = max(timeout or 0, self.timeout_s)
        mark = os.urandom(8).hex()
        args = [*self._ssh(), "-T", "-o", "ProxyCommand=/bin/false", self.host]
        args.append(f"python3 -I -S -c '{_START}' {mark}")
        request = agent.pack([operation.__module__, operation.__name__, arguments])
        data = b"%d\n%s%s" % (len(_program()), _program(), request)
        open_end = (
            "the operation may or may not have been done there: look with status, then repeat"
        )
        try:
            done = _run(args, data, timeout, what=self.host)
        except _Late as e:
            raise ConnectionLost(
                f"{self.host} did not answer within {timeout:g} s; {open_end}"
            ) from e
        # what is before the mark was printed at login
        before, found, out = done.out.partition(f"\n{mark}\n".encode())
        if not found and done.code != 255:
            said = _last_line(done.err) or _last_line(before.decode("utf-8", "replace"))
            raise JobError(
                f"nothing runs on {self.host} (exit code {done.code}: {said[:200] or 'no word'}); "
                "nothing was done there; seqmodel needs `python3` there, version 3.6 or later"
            )
        try:
            answer = agent.unpack(out)
        except ValueError as e:
            said = _last_line(done.err) or str(e)
            raise ConnectionLost(
                f"the connection to {self.host} was lost ({said}); {open_end}"
            ) from e
        if "failure" in answer:
            raise _error(self.host, *answer["failure"])
        return answer["answer"]

    def _copy(self, remote: str, local: str, exclude: Sequence[str]) -> None:
        """By rsync if both hosts have it, else by tar."""
        os.makedirs(local, exist_ok=True)
        if not self._rsync(remote, local, exclude):
            data = self.call(agent.tree, timeout=3600, path=remote, exclude=list(exclude))
            _untar(data, local)

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
            b"", 3600, what="rsync",
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
            raise MissingError(f"{remote}: no such folder on {self.host}")
        raise ConnectionLost(
            f"copying {remote} from {self.host}: {_last_line(done.err)}; repeat it"
        )

    def _ssh(self) -> list[str]:
        command = ["ssh", *(["-F", self.config] if self.config else [])]
        command += ["-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ConnectTimeout=15"]
        if self._control is None:
            shown = _run([*command, "-G", self.host], b"", 15, what="ssh -G")
            has_path = "\ncontrolpath " in shown.out.decode("utf-8", "replace")
            # ssh has no ControlPath of its own: without one in the configuration, ours
            self._control = [] if has_path else ["-o", "ControlPath=~/.ssh/seqmodel-%C"]
        return command + self._control

    def _need_master(self) -> None:
        check = _run([*self._ssh(), "-O", "check", self.host], b"", 15, what="ssh -O check")
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


@functools.cache
def _program() -> bytes:
    """The text of agent.py and launch.py as one program, which does one request."""
    texts = []
    for module in (agent, launch):
        texts.append(read_bytes(str(module.__file__), JobError))
        texts.append(f"sys.modules[{module.__name__!r}] = sys.modules['__main__']".encode())
    return b"\n".join([*texts, b"main()"])


def _error(where: str, kind: str, text: str, advice: str = "") -> JobError:
    return _ERRORS.get(kind, JobError)(f"{text} on {where}{'; ' if advice else ''}{advice}")


def _untar(data: bytes, folder: str) -> None:
    """Unpacks a tar.gz, without FIFOs, devices and what would lie outside of the folder."""
    import io
    import tarfile

    def inside(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, path)
        except tarfile.FilterError:
            return None

    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            tar.extractall(folder, filter=inside)
    except OSError as e:
        raise JobError(f"cannot write below {folder}: {e.strerror or e}") from e


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


def _run(args: list[str], data: bytes, timeout: float, what: str) -> Done:
    try:
        done = subprocess.run(args, input=data, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as e:
        raise _Late(f"{what}: no answer within {timeout:g} s") from e
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise JobError(f"cannot start {args[0]!r}: {reason}") from e
    return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
