"""The trials of a job and its run in one process, which imports the heavy packages once. Light.

    run.py after_trials EVENTS NODE LINE PHASE N WORD... [PHASE N WORD... ...] -- ARG...

job/script/node.sh starts it. Each phase has N words in addition to ARG..., and the last phase is
the run. A trial is a fork of this process, which itself only imports before the run, so the run has
the bits of a fresh process. NODE/phase names the phase that has begun, and EVENTS gets the line of
each phase that has ended, then LINE, with which the run begins.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

from seqmodel.errors import RunError
from seqmodel.files import append, write_file

SIGNALS = {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}
TRY_AGAIN = 75  # the code of a run that a signal has stopped
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def after_trials(
    argv: Sequence[str], main: Callable[[Sequence[str]], int], prepare: Callable[[], object]
) -> int:
    """Run the trials, and the run if none of them fails; return the exit code of the last phase.

    Args:
        argv: Words after `after_trials`.
        main: Function that takes the words of a run and returns its exit code.
        prepare: Function that imports what all phases need.

    Raises:
        RunError: A file cannot be written.
    """
    events, node, line, *words = argv
    *trials, run = _phases(words)
    with _Forwarded() as child:
        for phase, args in trials:
            began = time.monotonic()
            write_file(f"{node}/phase", phase, RunError)
            prepare()  # later, everything is imported
            code = child.run(main, args)
            if code or child.stopped:
                return code or TRY_AGAIN
            _event(events, f"step phase={phase} seconds={int(time.monotonic() - began)}")
    shutil.rmtree(f"{node}/check", ignore_errors=True)
    write_file(f"{node}/phase", run[0], RunError)
    _event(events, line)
    return _call(main, run[1])


def _phases(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each phase and all its words."""
    found, at = [], 0
    while words[at] != "--":
        end = at + 2 + int(words[at + 1])
        found.append((words[at], words[at + 2 : end]))
        at = end
    for phase, more in found:
        yield phase, [*words[at + 1 :], *more]


def _event(path: str, text: str) -> None:
    append(path, f"{int(time.time())} {text}\n", RunError)


def _call(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
    sys.argv[1:] = words  # Lightning starts its processes for further devices with them
    return main(words)


class _Forwarded:
    """A fork of this process, which gets its signals; without a fork, a signal ends the process."""

    def __init__(self) -> None:
        self.stopped = False  # a signal was forwarded
        self._child = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Forwarded:
        self._before = {x: signal.getsignal(x) for x in SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._forward)
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if not self._child:
            raise SystemExit(TRY_AGAIN)
        self.stopped = True
        with suppress(ProcessLookupError):
            os.kill(self._child, number)

    def run(self, main: Callable[[Sequence[str]], int], words: Sequence[str]) -> int:
        """Call `main` in a fork and return its exit code, of a signal 128 and its number.

        Raises:
            SystemExit: In the fork, at its end.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        # no signal comes until the fork has the handlers of a fresh process, and this one its id
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._child = os.fork()
        if not self._child:
            self.__exit__()
            _end_with(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        if not self._child:
            raise SystemExit(_call(main, words))
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        code = os.waitstatus_to_exitcode(status)
        return 128 - code if code < 0 else code


def _end_with(parent: int) -> None:
    """Let Linux kill this process when its parent is killed, as if they were one."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
