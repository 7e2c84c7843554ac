"""Access to this host, or to a host behind SSH, through the same operations.

The operations are the functions of agent.py and launch.py. LocalInterface calls them here, and
SshInterface runs them on the other host, by the OpenSSH program with the user's own configuration,
agent, jump hosts and ControlMaster. Each call uses one connection.

    call(operation, ...)   run a function of agent.py or launch.py; a failure is a JobError
    run(args)              run a command; return its exit code and output
    read(paths)            read the heads and tails of files
    snapshot(root, names)  the same for all replicates below a folder, with schedulers' answers
    pull(remote, local)    copy a tree from the host
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
Snapshot.__doc__ = """The content of a folder at one moment.

    root: Absolute path of the folder.
    files: {folder relative to root: {name: bytes}}; a large file is represented by its head,
        agent.CUT and its tail. A folder without any of the names has an empty dict.
    outputs: {name: result} of the requested operations.
    now: Seconds since 1970 on that host.
    damaged: {folder: reason} of folders in which one of the names is not a regular file.
    """

_ERRORS = {"missing": MissingError, "busy": BusyError, "damaged": Damaged}
# Any shell can read it: it has no single quote and no exclamation mark. Standard input then has the
# length of the program, the program, and the request.
_START = (
    "import sys; sys.version_info < (3, 6) and "
    'sys.exit("python3 is " + sys.version.split()[0]); '
    "f = sys.stdin.buffer; exec(f.read(int(f.readline())))"
)


class Interface:
    """A host on which operations run."""

    name = ""
    is_local = False

    def __init__(self) -> None:
        self.n_connections = 0

    def call(
        self, operation: Callable[..., object], *, timeout: float | None = None, **arguments: object
    ) -> Any:
        """Run a function of agent.py or launch.py on the host and return its result.

        Args:
            operation: Function of agent.py or launch.py.
            timeout: Time limit for an answer from another host, in seconds.
            arguments: Arguments of the function.

        Raises:
            JobError: The operation failed; MissingError, BusyError and Damaged specify the reason.
        """
        raise NotImplementedError

    def pull(self, remote: str, local: str, *, exclude: Sequence[str] = ()) -> None:
        """Copy the tree `remote` to the folder `local`, without names that match `exclude`.

        The copy records the time of the host, because clocks may differ: a run that was alive when
        it was copied does not count as lost.
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
        """Run a program with arguments (no shell) and wait for it.

        Raises:
            JobError: The program cannot be started, or did not end within `timeout` seconds.
        """
        code, out, err = self.call(
            launch.run, timeout=timeout + 10, args=list(args), cwd=cwd, data=data, limit_s=timeout
        )
        return Done(code, out, err.decode("utf-8", "replace"))

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the content of existing files in `paths`; of large files, the head and tail."""
        return self.call(agent.read, paths=list(paths))

    def snapshot(
        self,
        root: str,
        names: Sequence[str],
        asked: Mapping[str, tuple[Callable[..., object], dict[str, Any]]] | None = None,
        *,
        whole: Sequence[str] = (),
    ) -> Snapshot:
        """Read the files `names` of `root`, or of all `version_*` folders one or two levels below.

        Args:
            root: The folder.
            names: File names.
            asked: {name: (operation, arguments)}, called before the files are read.
            whole: Subset of `names` that is read whole even if the files are large.

        Raises:
            JobError: The folder does not exist.
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
        """Call the function in this process; see Interface.call."""
        try:
            return agent.answer(operation.__module__, operation.__name__, arguments)
        except agent.Failure as e:
            raise _error("this host", *e.args) from e

    def _copy(self, remote: str, local: str, exclude: Sequence[str]) -> None:
        _copy_tree(remote, local, exclude)


class SshInterface(Interface):
    """A host behind SSH, reached by the OpenSSH program with the user's ~/.ssh/config.

    Clusters ask for a second factor, so by default no connection is opened: the operations use the
    user's own master connection. If none is open, the error shows the command that opens one. A
    lost connection is an error, and nothing is retried automatically. The host needs `python3`,
    version 3.6 or later.

    Args:
        host: Host name or alias, as in `ssh host`.
        open_master: Open a master connection if none is open (in BatchMode, without prompts).
        config: Path of a configuration file. If unset: ~/.ssh/config.
        persist_s: Idle time after which a master opened by seqmodel closes, in seconds.
        timeout_s: Minimum time limit of each operation, in seconds.
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
            raise JobError(f"{host!r} is not a host name; give the name that you type after ssh")
        self.host, self.name = host, host
        self.open_master, self.config = open_master, config
        self.persist_s, self.timeout_s = persist_s, timeout_s
        self._control: list[str] | None = None

    def __repr__(self) -> str:
        return f"SshInterface({self.host!r})"

    def call(
        self, operation: Callable[..., object], *, timeout: float | None = None, **arguments: object
    ) -> Any:
        """Run the function on the host; see Interface.call.

        Raises:
            ConnectionLost: The connection ended or timed out; the operation may be done in part.
            JobError: No connection is open, and nothing was sent; or the operation failed.
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
            "the operation may or may not have been done there: check with status, then try again"
        )
        try:
            done = _run(args, data, timeout, what=self.host)
        except _Late as e:
            raise ConnectionLost(
                f"{self.host} did not answer within {timeout:g} s; {open_end}"
            ) from e
        # text before the mark was printed at login
        before, found, out = done.out.partition(f"\n{mark}\n".encode())
        if not found and done.code != 255:
            said = _last_line(done.err) or _last_line(before.decode("utf-8", "replace"))
            raise JobError(
                f"commands fail on {self.host} (exit code {done.code}: "
                f"{said[:200] or 'no output'}); nothing was done there; seqmodel needs `python3`, "
                "version 3.6 or later, there"
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
        """Copy by rsync if both hosts have it, else by tar."""
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
        remote = remote.removeprefix("~/")  # rsync starts in the home folder and expands nothing
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
                f"{self.host} prints text at login, which rsync reads as data: remove it from "
                "~/.bashrc there, or print it in interactive shells only, below a line "
                "`[[ $- == *i* ]] || return`; nothing was copied"
            )
        if "No such file" in done.err:
            raise MissingError(f"{remote}: no such folder on {self.host}")
        raise ConnectionLost(
            f"copying {remote} from {self.host} failed: {_last_line(done.err)}; try again"
        )

    def _ssh(self) -> list[str]:
        command = ["ssh", *(["-F", self.config] if self.config else [])]
        command += ["-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ConnectTimeout=15"]
        if self._control is None:
            shown = _run([*command, "-G", self.host], b"", 15, what="ssh -G")
            has_path = "\ncontrolpath " in shown.out.decode("utf-8", "replace")
            # ssh has no default ControlPath: if the configuration sets none, use ours
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
                f"cannot connect to {self.host} without a prompt: {_last_line(opened.err)}; "
                f"try `ssh {self.host} true`, and open the connection by hand if it prompts you"
            )

    def _open(self, command: list[str]) -> Done:
        import tempfile

        command += ["-o", f"ControlPersist={self.persist_s}", "-o", "ConnectTimeout=15", self.host]
        with tempfile.TemporaryFile() as err:  # a file, because the master would keep a pipe open
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
    """Return the text of agent.py and launch.py as one program that runs one request."""
    texts = []
    for module in (agent, launch):
        texts.append(read_bytes(str(module.__file__), JobError))
        texts.append(f"sys.modules[{module.__name__!r}] = sys.modules['__main__']".encode())
    return b"\n".join([*texts, b"main()"])


def _error(where: str, kind: str, text: str, advice: str = "") -> JobError:
    return _ERRORS.get(kind, JobError)(f"{text} on {where}{'; ' if advice else ''}{advice}")


def _untar(data: bytes, folder: str) -> None:
    """Unpack a tar.gz, without FIFOs, devices and members outside of the folder."""
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
        # rsync also skips FIFOs, sockets and devices
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
