import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kept_files import settle

from seqmodel.dataset.label.array_cache import MappedArray, cached_array, check_array
from seqmodel.errors import LabelError

N = 700_000


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.bw"
    path.write_bytes(b"first")
    return str(path)


def kept(source, cache_dir=None):
    """The array that is kept of a source, full of its first letter, and how often it was made."""
    made = []

    def fill(out):
        made.append(1)
        out[:] = Path(source).read_bytes()[0]
        out[0] = 7

    return cached_array([source], "k", (N,), np.int32, fill, cache_dir), len(made)


def flip(path, at):
    raw = bytearray(Path(path).read_bytes())
    raw[at] ^= 1
    Path(path).write_bytes(raw)


def test_an_array_is_made_once_and_read_by_numpy(source, monkeypatch):
    settle(monkeypatch)
    array, n = kept(source)
    assert (n, int(array[0]), int(array[1])) == (1, 7, ord("f"))
    monkeypatch.setattr("seqmodel.dataset.seq.source.sha256_of", lambda path: pytest.fail(path))
    array, n = kept(source)
    assert (n, array.shape, int(array[-1])) == (0, (N,), ord("f"))
    assert np.array_equal(np.load(array.filename), array)


def test_a_source_of_the_same_size_and_time_is_read_again(source, monkeypatch):
    settle(monkeypatch)
    kept(source)
    before = os.stat(source)
    Path(source).write_bytes(b"other")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    array, n = kept(source)
    assert (n, int(array[1])) == (1, ord("o"))


def test_a_touched_source_is_digested_once(source, monkeypatch):
    settle(monkeypatch)
    kept(source)
    subprocess.run(["touch", source], check=True)
    assert kept(source)[1] == 0
    monkeypatch.setattr("seqmodel.dataset.seq.source.sha256_of", lambda path: pytest.fail(path))
    assert kept(source)[1] == 0


def test_damage_is_found_by_check_and_when_the_source_is_looked_at(source, monkeypatch):
    settle(monkeypatch)
    array, _ = kept(source)
    path = array.filename
    assert check_array(path) == 3
    flip(path, 2**20 + 500)
    with pytest.raises(LabelError, match=r"a\.bw.*\.npy: 1 of 3 blocks of 1 MiB are damaged"):
        check_array(path)
    subprocess.run(["touch", source], check=True)
    with pytest.warns(UserWarning, match="1 of 3 blocks are damaged; computing it again"):
        array, n = kept(source)
    assert n == 1
    assert check_array(path) == 3


@pytest.mark.parametrize("damage", ["header", "end", "cut", "empty", "old", "more"])
def test_an_array_without_a_whole_header_and_end_is_made_anew(source, monkeypatch, damage):
    settle(monkeypatch)
    path = kept(source)[0].filename
    raw = Path(path).read_bytes()
    if damage == "old":  # as NumPy writes it
        np.save(path, np.zeros(N, np.int32))
    else:
        n = len(raw)
        contents = {
            "header": [raw[:i] + b"\xff" + raw[i + 1 :] for i in (0, 7, 8, 20, 40)],
            "end": [raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :] for i in range(n - 60, n)],
            "cut": [raw[:-1], raw[: n // 2], raw[:100]],
            "empty": [b""],
            "more": [raw + b"x"],
        }[damage]
        for content in contents[:-1]:
            Path(path).write_bytes(content)
            assert kept(source)[1] == 1
        Path(path).write_bytes(contents[-1])
    array, n = kept(source)
    assert (n, int(array[1])) == (1, ord("f"))
    assert check_array(path) == 3


def test_two_files_of_one_name_have_arrays_of_their_own(source, tmp_path):
    other = tmp_path / "x" / "a.bw"
    other.parent.mkdir()
    other.write_bytes(b"other")
    cache = str(tmp_path / "cache")
    assert int(kept(source, cache)[0][1]) == ord("f")
    assert int(kept(str(other), cache)[0][1]) == ord("o")
    assert kept(source, cache)[1] == 0


def test_a_pickled_array_that_was_made_anew_is_refused(source, monkeypatch):
    settle(monkeypatch)
    state = pickle.dumps(MappedArray(kept(source)[0]))
    assert len(state) < 500
    assert int(pickle.loads(state).array[1]) == ord("f")
    Path(source).write_bytes(b"other")
    kept(source)
    with pytest.raises(LabelError, match="has been computed again by another process; start again"):
        pickle.loads(state)


def test_a_source_that_changes_while_it_is_read_is_refused(source, tmp_path):
    def fill(out):
        Path(source).write_bytes(b"later")

    with pytest.raises(LabelError, match=r"a\.bw changed while it was read; try again"):
        cached_array([source], "k", (3,), np.int32, fill)
    assert os.listdir(tmp_path) == ["a.bw"]
