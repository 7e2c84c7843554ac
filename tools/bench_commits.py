"""One commit against another: every figure of a benchmark, the two commits taking turns.

    python tools/bench_commits.py v0.1.0 [HEAD] -- train.py cnn --peers bare

Both commits are unpacked beside each other and run by this Python, in the order A B B A. A line a
case: `ours` is the later commit, `peer` the earlier one; `ratio`, the median over the rounds, is
above 1 where the later one is better. Uncommitted changes are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Runs the benchmark on both commits in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", help="the earlier commit")
    parser.add_argument("after", nargs="?", default="HEAD", help="the later commit")
    parser.add_argument("--rounds", type=int, default=4)
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:at])
    command = words[at + 1 :]
    if not command:
        parser.error("name a benchmark and its arguments after --")
    commits = [args.before, args.after]
    with tempfile.TemporaryDirectory() as folder:
        trees = [unpacked(commit, Path(folder, str(i))) for i, commit in enumerate(commits)]
        rounds: list[list[dict]] = [[], []]
        for k in range(args.rounds):
            for i in (0, 1) if k % 2 == 0 else (1, 0):
                rounds[i].append(figures(trees[i], command))
    compare(commits, rounds)


def unpacked(commit: str, folder: Path) -> Path:
    """The files of `commit`, in `folder`."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def figures(tree: Path, command: list[str]) -> dict[tuple[str, str], float]:
    """(case, unit) to the figure that the benchmark of `tree` prints of seqmodel itself."""
    done = subprocess.run(
        [sys.executable, str(tree / "benchmarks" / command[0]), *command[1:]],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
    return {(name(x), x["unit"]): x["ours"] for x in lines if x.get("ours")}


def name(line: dict) -> str:
    """The case, with its genome where a benchmark has several."""
    return " ".join(str(line[key]) for key in ("case", "genome") if key in line)


def compare(commits: list[str], rounds: list[list[dict]]) -> None:
    """Prints a line for each case that both commits have."""
    before, after = rounds
    for case, unit in after[0]:
        pairs = [
            (a[case, unit], b[case, unit])
            for a, b in zip(after, before, strict=True)
            if (case, unit) in a and (case, unit) in b
        ]
        if not pairs:
            continue
        ratios = [a / b if unit.endswith("/s") else b / a for a, b in pairs]
        line = {"case": case, "ours": statistics.median(a for a, _ in pairs), "peer": commits[0]}
        line |= {"peer_value": statistics.median(b for _, b in pairs), "unit": unit}
        line |= {"ratio": round(statistics.median(ratios), 3)}
        line |= {"ratio_min": round(min(ratios), 3), "ratio_max": round(max(ratios), 3)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
