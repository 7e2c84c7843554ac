"""Cost grows in proportion to what is read: operations are counted, because times vary.

Twice and four times the input: if the cost is a + b n, the second step adds twice what the first
adds, whatever a and b are. Work of n squared adds four times as much.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import run_folders

from seqmodel.dataset.interval import bed
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.seq import fasta
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.job.results.table import Results, results
from seqmodel.job.status_table import StatusTable, status
from seqmodel.report.content import content

ROOT = Path(__file__).resolve().parent.parent
MOST = 2.2


def n_operations(work):
    """How many operations of the interpreter a call takes, without those of C code."""
    n = 0

    def trace(frame, event, _):
        nonlocal n
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        n += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return n


def growth(prepare, work, n):
    """What the step from 2n to 4n adds, over what that from n to 2n adds."""
    work(prepare(n))  # what is computed once in a process is not counted
    made = [prepare(i * n) for i in (1, 2, 4)]
    counts = [n_operations(lambda: work(x)) for x in made]  # noqa: B023
    return (counts[2] - counts[1]) / (counts[1] - counts[0])


@pytest.fixture
def runs(tmp_path):
    def make(n):
        root = tmp_path / str(n)
        for i in range(0 if root.exists() else n):
            settings = {"lr": 1e-4 * (1 + i), "monitor": "valid_loss"}
            run_folders.write_run(root, n_epochs=2, level=0.5 + i / n, **settings)
        return str(root)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("read", [results, status])
def test_reading_runs_costs_as_much_as_there_are_runs(runs, read):
    assert growth(runs, read, 10) < MOST


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "work"),
    [
        (results, Results.rows),
        (results, Results.grouped),
        (results, lambda found: content(found, "out")),
        (status, StatusTable.text),
    ],
    ids=["results", "grouped", "report", "status"],
)
def test_tables_of_runs_cost_as_much_as_there_are_runs(runs, read, work):
    assert growth(lambda n: read(runs(n)), work, 25) < MOST


def test_a_store_costs_as_much_as_it_has_contigs(tmp_path, monkeypatch):
    monkeypatch.setattr(fasta, "BLOCK_BYTES", 1000)

    def write(n):
        path = tmp_path / f"{n}.fa"
        path.write_text("".join(f">c{i}\n{'ACGTacgt' * 100}\n" for i in range(n)))
        return str(path)

    def build(path):
        SequenceStore.open(path, cache_dir=f"{path}.cache", quiet=True)
        for x in Path(f"{path}.cache").iterdir():
            x.unlink()

    assert growth(write, build, 30) < MOST


def test_intervals_cost_as_much_as_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(bed, "_BLOCK_BYTES", 1000)
    contigs = Contigs(["a", "b"], np.array([10**6, 10**6]))

    def write(n):
        path = tmp_path / f"{n}.bed"
        path.write_text("".join(f"{'ab'[i % 2]}\t{i}\t{i + 50}\n" for i in range(100, 100 + n)))
        return path

    assert growth(write, lambda path: bed.read_bed(path, contigs), 800) < MOST


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "words", "names"),
    [
        ("genome", ["--genome_mb=3", "--small_mb=1", "--n_windows=2000"], 9),
        ("intervals", ["--small_mb=1", "--n_intervals", "3000"], 1),
        ("rows", ["--n_rows", "300"], 2),
        ("runs", ["--n_runs", "12"], 8),
    ],
)
def test_each_case_of_the_benchmark_ends_well(tmp_path, case, words, names):
    command = [sys.executable, str(ROOT / "benchmarks/scale.py"), case, *words, "--peers=0"]
    command.append(f"--folder={tmp_path}")
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(x) for x in done.stdout.splitlines()]
    assert len(figures) == names
    assert all(x["case"].startswith(case) and x["ours"] >= 0 for x in figures)
    assert not list(tmp_path.iterdir())
