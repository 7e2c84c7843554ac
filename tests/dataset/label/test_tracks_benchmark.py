"""The cases of benchmarks/tracks.py at small sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "benchmarks" / "tracks.py"
SMALL = ["--genome_mb=0.5", "--n_intervals=200", "--n_wide=8", "--wide_len=4096", "--rounds=1"]


def figures(tmp_path, *words):
    command = [sys.executable, str(PROGRAM), f"--folder={tmp_path}", "--seconds=0.01", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(x) for x in done.stdout.splitlines()]
    assert all(x["ours"] > 0 and x["ratio"] > 0 for x in found)
    return {(x["case"], x["peer"]): x for x in found}


@pytest.mark.slow
def test_each_case_of_the_benchmark_of_tracks_ends_well(tmp_path):
    found = figures(tmp_path, *SMALL, "--tracks", "dense", "--cases", "profile", "jitter", "wide")
    for case in ("profile", "jitter", "wide"):
        peers = {"bar", "reader", "pybigwig", "pybigwig_values"}
        mine = {peer for name, peer in found if name in (case, f"{case}_build")}
        assert mine - {"genvarloader"} == peers


@pytest.mark.slow
def test_the_memory_of_a_build_is_the_same_for_ten_times_the_genome(tmp_path):
    found = figures(tmp_path, "--tracks", "--cases", "memory", "--memory_mb=2")
    assert len(found) == 2
    x = found["memory_genome_x10", "small"]
    assert x["ours"] < x["peer_value"] + 60  # MB; the cache is larger by 144
