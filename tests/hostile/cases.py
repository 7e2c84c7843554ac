"""One case: a damaged file, a command that reads it in a child process, and a judgement."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import weakref
from pathlib import Path
from typing import NamedTuple

from hostile import mutations
from hostile.kinds import KINDS, Kind

MOST_S = 10
"""A child may compute, or do nothing, for so long."""
STARVED_S = 120
"""On a busy machine a child that is still computing has this long by the clock."""
MEMORY_BYTES = 4 << 30
SPECIAL_PROP = 0.12
HARMLESS_PROP = 0.1
_KEPT = re.compile(
    r".*\.(seqstore|npy)(\.stat)?|(out|searches)(/.*)?|r\.html|__pycache__.*|home(/.*)?|tmp"
)
_NEVER_KEPT = (".tmp", ".seqstore.lock", ".npy.lock")
_ERROR = re.compile(r"^[A-Za-z]\w*(Error|Lost): \S")
_QUIET = re.compile(
    r"^(warning: |GPU available|TPU available|HPU available|$)|Warning: |^  \w"
    r"|: the outputs are NaN, "
)


class Case(NamedTuple):
    """What is done to which file, and which command reads it."""

    number: int
    kind: Kind
    command: int
    mutation: str
    is_harmless: bool


class End(NamedTuple):
    """How a child ended."""

    code: int | None
    """Exit code; minus a signal; None if it was ended because it hung."""
    values: str
    out: str
    err: str
    left: list[str]


class Verdict(NamedTuple):
    """What became of a case: "right", "refused" or "finding", and for that why."""

    word: str
    why: str = ""


def draw(seed: int, number: int) -> tuple[Case, random.Random]:
    """Case `number` of a seed, and the generator with which its file is changed."""
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choices(KINDS, [x.weight for x in KINDS])[0]
    command = rng.randrange(len(kind.commands))
    x = rng.random()
    if x < SPECIAL_PROP:
        return Case(number, kind, command, rng.choice([*mutations.SPECIAL]), False), rng
    if x < SPECIAL_PROP + HARMLESS_PROP:
        harmless = mutations.HARMLESS
        harmless += mutations.HARMLESS_IN_TEXT if kind.is_text else ()
        harmless += mutations.PACKING if kind.packs else ()
        return Case(number, kind, command, rng.choice(harmless).__name__, True), rng
    return Case(number, kind, command, rng.choice(mutations.ANY).__name__, False), rng


def damage(case: Case, rng: random.Random, path: Path) -> None:
    """Changes the file of a case."""
    if case.mutation in mutations.SPECIAL:
        mutations.SPECIAL[case.mutation](path)
        return
    change = getattr(mutations, case.mutation)
    if change is mutations.unchanged:
        return  # its times stay as well
    raw = path.read_bytes()
    path.write_bytes(change(raw, rng))


def listing(folder: Path) -> set[str]:
    """Relative paths of all that is in a folder."""
    found = set()
    for here, folders, files in os.walk(folder):
        found |= {os.path.relpath(os.path.join(here, x), folder) for x in [*folders, *files]}
    return found


def run(folder: Path, argv: list[str], *, unprivileged: bool = False) -> End:
    """Runs a command in a forked child, in `folder`, and waits for its end."""
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    before = listing(folder)
    outputs = [folder.parent / f"{folder.name}.{x}" for x in ("out", "err", "values")]
    pid = os.fork()
    if pid == 0:
        _child(folder, argv, outputs, unprivileged)
    code = _wait(pid)
    left = _processes_left(pid)
    texts = [x.read_text(errors="replace") if x.exists() else "" for x in outputs]
    for path in outputs:
        path.unlink(missing_ok=True)
    new = listing(folder) - before
    left += sorted(x for x in new if not _KEPT.fullmatch(x) or x.endswith(_NEVER_KEPT))
    return End(code, texts[2], texts[0], texts[1], left)


def _child(folder: Path, argv: list[str], outputs: list[Path], unprivileged: bool) -> None:
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.umask(0)
        for number, path in ((1, outputs[0]), (2, outputs[1])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        values = os.open(outputs[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        read, _ = os.pipe()  # nothing comes, and no end either
        os.dup2(read, 0)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        os.environ |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        os.environ["XDG_CACHE_HOME"] = str(folder / "home" / ".cache")
        import tempfile

        tempfile.tempdir = None
        if unprivileged:
            _obey_modes()
        _limit()
        code = _called(argv, values)
        sys.stdout.flush()
        sys.stderr.flush()
        weakref.finalize._exitfunc()  # temporary folders; the whole of atexit takes 50 ms
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if 0 <= code < 256 else 1)


def _obey_modes() -> None:
    """Gives up what lets root read files whose modes forbid it (capset(2), capabilities(7))."""
    lowest = 0xFFFFFFFF & ~(1 << 1 | 1 << 2)  # DAC_OVERRIDE, DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    empty = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if os.getuid() == 0:
        libc.capget(header, empty)
        for i in range(3):
            empty[i] &= lowest
        if libc.capset(header, empty):
            raise OSError(ctypes.get_errno(), "capset")


def _limit() -> None:
    with open("/proc/self/statm") as f:
        size = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))


def _called(argv: list[str], values: int) -> int:
    from seqmodel.cli.verbs import main

    try:
        code = main(argv)
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1 if e.code else 0
    if code == 0 and argv[0] == "run":
        logged = [x.read_bytes() for x in sorted(Path("out").glob("*/metrics.csv"))]
        os.write(values, b"".join(logged))
    if code == 0 and argv[:2] == ["data", "describe"]:
        words = [x for x in argv[2:] if x not in ("--json", "--check")]
        os.write(values, values_of(words).encode())
    return code


def values_of(words: list[str]) -> str:
    """A digest of all that a run with these words would read."""
    from seqmodel.dataset.build import build_data
    from seqmodel.hparam.resolve import resolve_data

    data = build_data(resolve_data(words))
    digest = hashlib.sha256(repr(data.targets).encode())
    for split in data.splits:
        for batch in data.loader(split, train=False):
            for name, x in batch.items():
                digest.update(f"{split}{name}{tuple(x.shape)}".encode())
                digest.update(x.numpy().tobytes())
    return digest.hexdigest()


def _wait(pid: int) -> int | None:
    """Exit code of a child, or None if it neither ended nor computed for too long."""
    start = busy = time.monotonic()
    used = 0.0
    pause = 0.001
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if now - start > 1:
            ticks = _seconds(pid)
            if ticks > used:
                used, busy = ticks, now
        if used > MOST_S or now - busy > MOST_S or now - start > STARVED_S:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _seconds(pid: int) -> float:
    """Processor time of a process and of its children that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def become_subreaper() -> None:
    """Children of children that end become ours, so that none can hide."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _processes_left(group: int) -> list[str]:
    """Processes of a child's session that are still there; they are ended."""
    for _ in range(200):  # those that are just ending may do so
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        left = _children()
        if not left:
            return []
        time.sleep(0.01)
    for pid in left:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return [f"process {pid} of case {group}" for pid in left]


def _children() -> list[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return list(map(int, path.read_text().split()))


def judge(case: Case, end: End, before: End) -> Verdict:
    """Whether a case ended as it should; `before` is how the undamaged file was read."""
    if end.code is None:
        return Verdict("finding", f"took over {MOST_S} s")
    if end.left:
        return Verdict("finding", f"left behind: {', '.join(end.left[:4])}")
    if "Traceback (most" in end.err:
        return Verdict("finding", f"traceback: {end.err.strip().splitlines()[-1][:200]}")
    argv = case.kind.commands[case.command]
    if end.code in (2, 3):  # 3: a learning rate that a damaged config asks for may diverge
        lines = [x for x in end.err.splitlines() if not _QUIET.search(x)]
        told = len(lines) == 1 and _ERROR.match(lines[0])
        if not told or (end.code == 3) != lines[0].startswith("DivergedError: "):
            found = f"exit {end.code} with {len(lines)} lines on stderr: {lines[:3]}"
            return Verdict("finding", found)
        if case.is_harmless or (case.kind.must_work and case.mutation not in mutations.SPECIAL):
            return Verdict("finding", f"was refused: {lines[0][:200]}")
        return Verdict("refused")
    if end.code != 0:
        last = (end.err.strip().splitlines() or [""])[-1]
        return Verdict("finding", f"exit {end.code}: {last[:200]}")
    return _judge_success(case, argv, end, before)


def _judge_success(case: Case, argv: list[str], end: End, before: End) -> Verdict:
    kind = case.kind
    if "--json" in argv:
        try:
            for line in end.out.splitlines():
                json.loads(line, parse_constant=_refuse)
        except ValueError as e:
            return Verdict("finding", f"success with no JSON on stdout ({e})")
    # two gzip files, one after the other, are a gzip file
    whole = kind.has_sums and not (case.mutation == "double" and kind.file.endswith(".gz"))
    same = case.is_harmless or whole or kind.must_work
    if same and end.values != before.values:
        return Verdict("finding", "success with other values")
    if argv[:2] == ["data", "describe"] and len(end.values) != 64:
        return Verdict("finding", "success without values")
    shown = kind.name.startswith("run folder") and argv[0] in ("status", "results")
    if shown and "healthy" not in end.out:
        return Verdict("finding", "the healthy run beside it is not shown")
    return Verdict("right")


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


class Corpus:
    """The undamaged files of all kinds, and how each command ends with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ends: dict[tuple[str, int], End] = {}
        self._made: set[str] = set()

    def of(self, kind: Kind) -> Path:
        """Folder with the files of a kind."""
        path = self.folder / f"good {KINDS.index(kind)}"
        if kind.name not in self._made:
            path.mkdir(mode=0o777)
            _in_child(path, kind)
            self._made.add(kind.name)
        return path

    def copy(self, kind: Kind) -> Path:
        """A fresh copy of the files of a kind; the caller removes it."""
        target = self.folder / "case"
        shutil.copytree(self.of(kind), target, symlinks=True)
        return target

    def end_of(self, kind: Kind, command: int) -> End:
        """How a command ends with the undamaged files."""
        key = (kind.name, command)
        if key not in self._ends:
            folder = self.copy(kind)
            try:
                end = run(folder, kind.commands[command])
            finally:
                shutil.rmtree(folder)
            if end.code != 0 or end.left:
                raise RuntimeError(
                    f"{kind.name}: {' '.join(kind.commands[command])} ends with {end.code} on "
                    f"a good file, left {end.left}: {end.err[-2000:]}"
                )
            self._ends[key] = end
        return self._ends[key]


def _in_child(path: Path, kind: Kind) -> None:
    """Makes files in a child, so that no library begins threads in this process."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.chdir(path)
            kind.make()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError(f"{kind.name}: its good files could not be made")


def try_case(corpus: Corpus, seed: int, number: int) -> tuple[Case, Verdict, End]:
    """Runs a case."""
    case, rng = draw(seed, number)
    before = corpus.end_of(case.kind, case.command)
    folder = corpus.copy(case.kind)
    try:
        damage(case, rng, folder / case.kind.file)
        argv = case.kind.commands[case.command]
        end = run(folder, argv, unprivileged=case.mutation == "unreadable")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return case, judge(case, end, before), end
