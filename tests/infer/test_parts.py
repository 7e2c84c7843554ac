"""Parts: however the work was cut, ended and begun again, the file is the same."""

import csv
import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from seqmodel.dataset.seq.store_build import lock
from seqmodel.errors import RunError
from seqmodel.infer.formats import Rows
from seqmodel.infer.parts import Parts, apply, merge

SUFFIXES = ("tsv", "csv", "tsv.gz", "parquet", "npz", "h5")
STAMP = {"version": "0", "options": {"batch_size": 8, "to": "x"}}

PROGRAM = """
import sys, time
sys.path.insert(0, {here!r})
from test_parts import rows_of, chunks
from seqmodel.infer.parts import Parts, apply
parts = Parts({outs!r}, {stamp!r}, part={part!r})
apply(parts, chunks({n}, 7), lambda x: (time.sleep(0.01), rows_of(x))[1])
"""

# ends itself while it joins, after as many pieces as it is told
KILLED = """
import os, signal, sys
import numpy as np
sys.path.insert(0, {here!r})
from test_parts import STAMP, chunks, rows_of
from seqmodel.infer.formats import Track
from seqmodel.infer.parts import Parts, apply

class Killed(Parts):
    def _pieces(self, n_chunks, member):
        for number, piece in enumerate(super()._pieces(n_chunks, member), 1):
            yield piece
            if number == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)

def compute(numbers):
    rows, at = rows_of(numbers), np.array(numbers)
    size = np.array([1000])
    values = rows.columns["score"]
    rows.tracks = {{"out.bw": Track(["a"], size, at * 0, at * 3, at * 3 + 2, values)}}
    names = "#CHROM POS ID REF ALT QUAL FILTER INFO".replace(" ", "\\t")
    head = f"##fileformat=VCFv4.2\\n##contig=<ID=a>\\n{{names}}\\n".encode()
    lines = "".join(f"a\\t{{i + 1}}\\t.\\tA\\tC\\t.\\t.\\t.\\n" for i in numbers)
    rows.vcf = head, lines.encode()
    return rows

apply(Killed(["out.{suffix}"], STAMP), chunks(100, 7), compute)
"""


def rows_of(numbers):
    numbers = np.array(numbers, dtype=np.int64)
    values = (numbers.astype(np.float32) / 7).astype(np.float32)
    names = [f'a "{i}"\t,{"é" * (i % 3)}' for i in numbers.tolist()]
    columns = {"index": numbers, "name": names, "score": values}
    arrays = {"score": values[:, None], "name": np.array(names, dtype=str)}
    return Rows(columns, arrays, {"ok": len(numbers)})


def chunks(n, size):
    yield range(min(n, size))
    for i in range(size, n, size):
        yield range(i, min(i + size, n))


def made(folder, n=100, stamp=STAMP, part=(1, 1), **options):
    outs = [str(folder / f"out.{x}") for x in SUFFIXES]
    parts = Parts(outs, stamp, part=part, **options)
    return outs, apply(parts, chunks(n, 7), rows_of)


def contents(outs):
    return [Path(x).read_bytes() for x in outs]


@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_every_format_says_the_same(tmp_path, n):
    outs, counts = made(tmp_path, n)
    wanted = rows_of(range(n))
    tables = [
        pd.read_csv(outs[0], sep="\t"),
        pd.read_csv(outs[1]),
        pd.read_csv(outs[2], sep="\t"),
        pd.read_parquet(outs[3]),
    ]
    assert counts == {"n": n, "ok": n} or (n == 0 and counts["n"] == 0)
    for table in tables:
        assert list(table.columns) == ["index", "name", "score"]
        assert table["index"].tolist() == list(range(n))
        assert [str(x) for x in table["name"]] == wanted.columns["name"]
        assert np.array_equal(table["score"].astype(np.float32), wanted.columns["score"])
    with np.load(outs[4]) as archive, h5py.File(outs[5]) as store:
        assert np.array_equal(archive["score"], wanted.arrays["score"])
        assert np.array_equal(archive["name"], wanted.arrays["name"])
        assert np.array_equal(store["score"][:], wanted.arrays["score"])
        assert [x.decode() for x in store["name"][:]] == wanted.columns["name"]


def test_texts_are_quoted_as_csv_readers_expect(tmp_path):
    outs, _ = made(tmp_path, 5)
    with gzip.open(outs[2], "rt", newline="") as file:
        rows = list(csv.reader(io.StringIO(file.read()), delimiter="\t"))
    assert [x[1] for x in rows[1:]] == rows_of(range(5)).columns["name"]


@pytest.mark.parametrize("n_parts", [2, 3, 16])
def test_parts_of_several_processes_join_to_the_same_bytes(tmp_path, n_parts):
    whole, _ = made(tmp_path / "whole")
    results = [made(tmp_path / "parts", part=(k, n_parts)) for k in range(n_parts, 0, -1)]
    assert [counts is None for _, counts in results] == [True] * (n_parts - 1) + [False]
    assert contents(results[0][0]) == contents(whole)


def test_merge_joins_what_others_made(tmp_path):
    whole, _ = made(tmp_path / "whole")
    outs, counts = made(tmp_path / "parts", part=(1, 2))
    assert counts is None
    with pytest.raises(RunError, match="7 of 15 parts are missing"):
        merge(f"{outs[0]}.parts")
    stamp = {**STAMP}
    parts = Parts(outs, stamp, part=(2, 2))
    for i, chunk in enumerate(chunks(100, 7)):
        if parts.wants(i):
            parts.put(i, rows_of(chunk))
    assert merge(f"{outs[0]}.parts") == {"n": 100, "ok": 100}
    assert contents(outs) == contents(whole)


@pytest.mark.slow
def test_killed_at_any_moment_the_file_is_the_same(tmp_path):
    whole, _ = made(tmp_path / "whole", 300)
    outs = [str(tmp_path / "killed" / f"out.{x}") for x in SUFFIXES]
    os.makedirs(tmp_path / "killed")
    rng = np.random.default_rng(0)
    here = os.path.dirname(os.path.abspath(__file__))
    program = PROGRAM.format(here=here, outs=outs, stamp=STAMP, part=(1, 1), n=300)
    n_killed = 0
    for _ in range(40):
        child = subprocess.Popen([sys.executable, "-c", program])
        before = n_there = len(os.listdir(f"{outs[0]}.parts")) if n_killed else 0
        wanted = before + int(rng.integers(1, 5))
        while child.poll() is None and n_there < wanted:
            time.sleep(0.005)
            if os.path.isdir(f"{outs[0]}.parts"):
                n_there = len(os.listdir(f"{outs[0]}.parts"))
        if child.poll() is not None:
            break
        time.sleep(float(rng.uniform(0, 0.02)))
        child.kill()
        child.wait()
        n_killed += 1
    assert child.wait() == 0
    assert n_killed >= 8
    assert contents(outs) == contents(whole)


def test_two_processes_at_once_make_one_file(tmp_path):
    whole, _ = made(tmp_path / "whole", 300)
    outs = [str(tmp_path / "two" / f"out.{x}") for x in SUFFIXES]
    os.makedirs(tmp_path / "two")
    here = os.path.dirname(os.path.abspath(__file__))
    program = PROGRAM.format(here=here, outs=outs, stamp=STAMP, part=(1, 1), n=300)
    children = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [x.wait() for x in children] == [0, 0, 0]
    assert contents(outs) == contents(whole)


def test_the_same_command_again_finds_its_work_done(tmp_path):
    outs, counts = made(tmp_path)
    before = [os.stat(x).st_mtime_ns for x in outs]
    assert made(tmp_path)[1] == counts
    assert [os.stat(x).st_mtime_ns for x in outs] == before


def test_an_output_that_was_deleted_is_made_again(tmp_path):
    outs, _ = made(tmp_path)
    before = contents(outs)
    os.unlink(outs[0])
    assert made(tmp_path)[1] == {"n": 100, "ok": 100}
    assert contents(outs) == before


def test_other_options_are_refused_by_name(tmp_path):
    made(tmp_path, part=(1, 2))
    other = {**STAMP, "options": {"batch_size": 16, "to": "x"}}
    with pytest.raises(RunError, match="started with options batch_size 8, now 16"):
        made(tmp_path, stamp=other)
    _, counts = made(tmp_path, stamp=other, overwrite=True)
    assert counts == {"n": 100, "ok": 100}


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "out.tsv").write_text("mine")
    with pytest.raises(RunError, match=r"out\.tsv exists already"):
        made(tmp_path)
    assert (tmp_path / "out.tsv").read_text() == "mine"
    assert not (tmp_path / "out.tsv.parts").exists()
    outs, _ = made(tmp_path, overwrite=True)
    assert pd.read_csv(outs[0], sep="\t").shape == (100, 3)


def test_a_damaged_part_is_named(tmp_path):
    outs, _ = made(tmp_path, part=(1, 2))
    part = Path(f"{outs[0]}.parts/00000002.part")
    raw = bytearray(part.read_bytes())
    raw[60] ^= 1
    part.write_bytes(raw)
    with pytest.raises(RunError, match=r"00000002\.part: cannot be read as part .*; delete it"):
        made(tmp_path, part=(2, 2))


def test_a_suffix_without_format_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"out\.xlsx: unknown suffix; choose one of \.tsv"):
        Parts([str(tmp_path / "out.xlsx")], STAMP)


def test_what_killed_processes_left_is_removed(tmp_path):
    out = tmp_path / "out.tsv"
    parts = Parts([str(out)], STAMP)
    folder = tmp_path / "out.tsv.parts"
    left = [folder / ".00000003.part.7.ab.part", tmp_path / ".out.tsv.7.cd.part"]
    for path in left:
        path.write_text("half")
    apply(parts, chunks(30, 7), rows_of)
    assert not any(x.exists() for x in left)
    whole = out.read_bytes()
    # killed while the parts were removed, after the output was there
    late = folder / "00000001.part"
    late.write_text("x")
    assert apply(Parts([str(out)], STAMP), chunks(30, 7), rows_of) == {"n": 30, "ok": 30}
    assert out.read_bytes() == whole
    assert sorted(x.name for x in folder.iterdir()) == ["apply.json", "end.json"]


def test_a_part_that_another_process_has_joined_meanwhile_is_no_error(tmp_path):
    class Late(Parts):
        """Its parts are joined by another process while it writes one of them."""

        def put(self, chunk, rows):
            apply(Parts(self.outs, STAMP), chunks(30, 7), rows_of)
            raise RunError("what it wrote aside was removed")

    out = str(tmp_path / "out.tsv")
    assert apply(Late([out], STAMP), chunks(30, 7), rows_of) == {"n": 30, "ok": 30}


def test_of_many_that_want_the_lock_one_has_it(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(50):
            with lock(str(tmp_path / "join")):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0002)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["tsv", "parquet", "h5", "bw", "bcf", "vcf.gz"])
def test_a_process_killed_while_it_joins_leaves_nothing_behind(tmp_path, suffix):
    program = KILLED.format(here=os.path.dirname(os.path.abspath(__file__)), suffix=suffix)
    run = [sys.executable, "-c", program]
    assert subprocess.run([*run, "0"], cwd=tmp_path, check=False).returncode == 0
    whole = {x.name: x.read_bytes() for x in tmp_path.iterdir() if x.is_file()}
    for path in tmp_path.glob(f"out.{suffix}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for n_pieces in (1, 4, 9):
        done = subprocess.run([*run, str(n_pieces)], cwd=tmp_path, check=False)
        assert done.returncode == -signal.SIGKILL
    assert subprocess.run([*run, "0"], cwd=tmp_path, check=False).returncode == 0
    assert {x.name: x.read_bytes() for x in tmp_path.iterdir() if x.is_file()} == whole
