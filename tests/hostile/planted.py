"""Faults that are planted on purpose, to see that the fuzzer finds each; prints its verdicts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from hostile import cases  # noqa: E402
from hostile.kinds import KINDS  # noqa: E402

GOOD = cases.End(0, "a" * 64, "{}", "", [])


def _traceback() -> int:
    raise RecursionError("too deep")


def _two_lines() -> int:
    print("LabelError: one\nand another", file=sys.stderr)
    return 2


def _no_line() -> int:
    return 2


def _other_values() -> int:
    print("{}")
    return 0


def _no_json() -> int:
    print('{"a": NaN}')
    return 0


def _left_file() -> int:
    Path("x.fa.tmp").touch()
    return _refused()


def _left_in_tmp() -> int:
    tempfile.mkstemp()
    return _refused()


def _left_process() -> int:
    subprocess.Popen(["sleep", "60"], start_new_session=True)
    return _refused()


def _waits() -> int:
    sys.stdin.read()
    return 0


def _computes() -> int:
    while True:
        pass


def _is_killed() -> int:
    os.kill(os.getpid(), 11)
    time.sleep(9)
    return 0


def _reads_all() -> int:
    """As a reader that ignores modes would: root may, unless it gives that up."""
    try:
        Path("x").read_bytes()
    except PermissionError:
        return _refused()
    return 0


def _refused() -> int:
    print("warning: something\nLabelError: one line", file=sys.stderr)
    return 2


FAULTS = [
    value for name, value in list(globals().items()) if name.startswith("_") and callable(value)
]


def main() -> None:
    """Prints what was found of each fault as JSON."""
    cases.MOST_S = 2
    cases.become_subreaper()
    kind = next(x for x in KINDS if x.name == "FASTA, gzip")
    case = cases.Case(0, kind, 0, "cut", False)
    found = {}
    for fault in FAULTS:
        folder = tempfile.mkdtemp()  # a TemporaryDirectory would be removed by the child
        place = Path(folder, "case")
        place.mkdir()
        (place / "x").touch(mode=0)
        cases._called = lambda argv, values, fault=fault: fault()
        end = cases.run(place, ["data", "describe", "--json"], unprivileged=True)
        shutil.rmtree(folder)
        verdict = cases.judge(case, end, GOOD)
        found[fault.__name__] = f"{verdict.word} {verdict.why}".strip()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
