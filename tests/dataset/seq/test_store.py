import gzip
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_files import settle, twobit_bytes
from strategies import fastas

from seqmodel.dataset.label.array_cache import cached_array
from seqmodel.dataset.seq import fasta, twobit
from seqmodel.dataset.seq.alphabet import DNA, PROTEIN, Alphabet
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.seq.store_build import header_of
from seqmodel.errors import SequenceError


def written(tmp_path, raw, name="a.fa"):
    path = tmp_path / name
    path.write_bytes(raw)
    return str(path)


def known(text):
    """The text as a store gives it back: upper case, what is not known as N."""
    return "".join(x if x in "ACGT" else "N" for x in text.upper())


@settings(deadline=None)
@given(fastas(), st.integers(1, 200), st.data())
def test_store_is_the_text_for_any_file_and_block(tmp_path_factory, given_fasta, block, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "BLOCK_BYTES", block)  # blocks end anywhere, also within a header
        path = given_fasta.write(tmp_path_factory.mktemp("store") / "a.fa")
        store = SequenceStore.open(path)
    assert store.names == list(given_fasta.contigs)
    assert (np.diff(store.edges) > 0).all()
    for name, text in given_fasta.contigs.items():
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        assert store.text(name, start, end) == known(text[start:end])
        assert store[name, start:end].tolist() == DNA.encode(text[start:end]).tolist()
        lower = [x.islower() for x in text]
        assert store.soft_mask(name).tolist() == lower
        assert store.soft_mask(name, start, end).tolist() == lower[start:end]


@settings(deadline=None, max_examples=30)
@given(fastas(min_size=1), st.data())
def test_store_gives_what_pysam_gives(tmp_path_factory, given_fasta, data):
    folder = tmp_path_factory.mktemp("pysam")
    # pysam reads evenly wrapped files only: the same sequences, wrapped
    plain = folder / "plain.fa"
    plain.write_text("".join(f">{k}\n{v}\n" for k, v in given_fasta.contigs.items()))
    store = SequenceStore.open(given_fasta.write(folder / "nasty.fa"))
    with pysam.FastaFile(str(plain)) as oracle:
        assert store.names == list(oracle.references)
        assert store.lengths.tolist() == list(oracle.lengths)
        for name in store.names:
            start = data.draw(st.integers(0, oracle.get_reference_length(name)))
            end = data.draw(st.integers(start, oracle.get_reference_length(name)))
            assert store.text(name, start, end) == known(oracle.fetch(name, start, end))


def test_bgzip_is_read_and_a_cut_one_refused(tmp_path):
    plain = written(tmp_path, b">a\n" + b"ACGTACGTNN\n" * 20000, "a.fa")
    pysam.tabix_compress(plain, str(tmp_path / "a.fa.gz"))
    packed = SequenceStore.open(str(tmp_path / "a.fa.gz"))
    assert np.array_equal(packed["a", :], SequenceStore.open(plain)["a", :])
    cut = written(tmp_path, (tmp_path / "a.fa.gz").read_bytes()[:-28], "cut.fa.gz")
    with pytest.raises(SequenceError, match=r"cut.fa.gz: truncated bgzip"):
        SequenceStore.open(cut)


@pytest.mark.parametrize("n_lost", [1, 8, 200])
def test_a_truncated_gzip_is_one_line_and_leaves_nothing(tmp_path, n_lost):
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, 5000)].tobytes()
    path = written(tmp_path, gzip.compress(b">a\n" + letters)[:-n_lost], "a.fa.gz")
    with pytest.raises(SequenceError, match=r"a.fa.gz: truncated or damaged gzip") as e:
        SequenceStore.open(path)
    assert "\n" not in str(e.value)
    assert os.listdir(tmp_path) == ["a.fa.gz"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "a.fa has no sequence"),
        (b"ACGT\n", "a.fa line 1: not FASTA"),
        (b"\n\nACGT\n>a\nAC", "a.fa line 3: not FASTA"),
        (b">\nACGT\n", "a.fa line 1: a record has no name"),
        (b"> a\nACGT\n", "a.fa line 1: a record has no name"),
        (b">a\rACGT\r", "a.fa line 1: old Mac line ends"),
        (b">a\nACGT\nAC*T\n", r"a.fa line 3 \(contig 'a'\), character 3: '\*' is not of"),
        (b">a\nACGT\r\n>b\r\nAC\xe9T\n", r"a.fa line 4 \(contig 'b'\), character 3: 'é' is not of"),
        (b">a\nA\n>b\nA\n>a\nC", r"a.fa line 5: contig 'a' occurs twice \(first line 1\)"),
        (b">a\nA>b\nC\n", "character 2: '>' is not of"),
    ],
)
def test_what_is_no_fasta_is_one_line_and_leaves_nothing(tmp_path, raw, message):
    path = written(tmp_path, raw)
    with pytest.raises(SequenceError, match=message) as e:
        SequenceStore.open(path)
    assert "\n" not in str(e.value)
    assert os.listdir(tmp_path) == ["a.fa"]


def test_one_name_in_two_files_names_both_files_and_lines(tmp_path):
    first = written(tmp_path, b">x\nAC\n>chr1\nAC\n", "first.fa")
    second = written(tmp_path, b">chr1\nAC\n", "second.fa")
    message = r"second.fa line 1: contig 'chr1' occurs twice \(first in .*first.fa line 3\)"
    with pytest.raises(SequenceError, match=message):
        SequenceStore.open([first, second])


def test_several_files_are_one_store(tmp_path):
    first = written(tmp_path, b">a\nACGT", "first.fa")
    second = written(tmp_path, gzip.compress(b">b\nTTTT"), "second.fa.gz")
    store = SequenceStore.open([first, second])
    assert [store.text(x) for x in store.names] == ["ACGT", "TTTT"]
    assert list(store.digests()) == [first, second]
    assert SequenceStore.open(first).names == ["a"]


def test_other_alphabets_have_stores_of_their_own(tmp_path):
    path = written(tmp_path, b">a\nACDE")
    assert SequenceStore.open(path, PROTEIN).text("a") == "ACDE"
    assert SequenceStore.open(path, Alphabet("dna", tuple("EDCA"))).text("a") == "ACDE"
    assert SequenceStore.open(path, Alphabet("dna", tuple("ACDE")))["a", :].tolist() == [0, 1, 2, 3]
    with pytest.raises(SequenceError, match="'D' is not of the alphabet 'dna'|'E' is not of"):
        SequenceStore.open(path, DNA)


def no_digest(path):
    pytest.fail(f"{path} was digested")


def test_an_unchanged_source_is_not_read(tmp_path, monkeypatch):
    path = written(tmp_path, b">a\nACGT")
    settle(monkeypatch)
    SequenceStore.open(path)
    monkeypatch.setattr("seqmodel.dataset.seq.source.sha256_of", no_digest)
    assert SequenceStore.open(path).text("a") == "ACGT"


def in_place(path):
    with open(path, "r+b") as f:
        f.seek(3)
        f.write(b"TTTT")


def renamed(path):
    Path(f"{path}.new").write_bytes(b">a\nTTTT")
    os.replace(f"{path}.new", path)


@pytest.mark.parametrize("change", [in_place, renamed])
def test_a_changed_source_is_noticed_whatever_its_size_and_time(tmp_path, monkeypatch, change):
    path = written(tmp_path, b">a\nACGT")
    reference = written(tmp_path, b"", "reference")
    subprocess.run(["touch", "-r", path, reference], check=True)
    settle(monkeypatch)
    assert SequenceStore.open(path).text("a") == "ACGT"
    before = os.stat(path)
    change(path)
    subprocess.run(["touch", "-r", reference, path], check=True)
    after = os.stat(path)
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    assert SequenceStore.open(path).text("a") == "TTTT"


def test_a_change_within_the_second_in_which_it_was_read_is_noticed(tmp_path, monkeypatch):
    path = written(tmp_path, b">a\nACGT")
    real = os.stat

    def coarse(path, *args, **kwargs):  # a file system that keeps whole seconds
        x = real(path, *args, **kwargs)
        if not str(path).endswith("a.fa"):
            return x
        now = x.st_ctime_ns // 10**9 * 10**9
        return SimpleNamespace(
            **{k: getattr(x, k) for k in dir(x) if k.startswith("st_")}
            | {"st_mtime_ns": 10**9, "st_ctime_ns": now}
        )

    monkeypatch.setattr("seqmodel.dataset.seq.source.os.stat", coarse)
    monkeypatch.setattr(time, "time_ns", lambda: real(path).st_ctime_ns + 10**8)
    assert SequenceStore.open(path).text("a") == "ACGT"
    in_place(path)
    assert SequenceStore.open(path).text("a") == "TTTT"


def test_a_touched_source_is_digested_once_and_not_rebuilt(tmp_path, monkeypatch):
    path = written(tmp_path, b">a\nACGT")
    store = SequenceStore.open(path)
    made = os.stat(store.path).st_ino
    os.utime(path, ns=(1, 1))
    settle(monkeypatch)
    assert os.stat(SequenceStore.open(path).path).st_ino == made
    monkeypatch.setattr("seqmodel.dataset.seq.source.sha256_of", no_digest)
    assert os.stat(SequenceStore.open(path).path).st_ino == made


def copied(tmp_path, monkeypatch, n=3_000_000):
    """A FASTA file and its store, copied as a job stages them; the store's path, its inode."""
    (tmp_path / "from").mkdir()
    rng = np.random.default_rng(1)
    letters = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, n)].tobytes()
    path = written(tmp_path / "from", b">a\n" + letters + b"\n>b\nacgt\n")
    settle(monkeypatch)
    store = SequenceStore.open(path)
    os.mkdir(tmp_path / "to")
    subprocess.run(["cp", "-RLp", "--", path, store.path, str(tmp_path / "to")], check=True)
    return str(tmp_path / "to" / "a.fa"), letters.decode()


def test_a_store_that_was_staged_with_its_source_is_checked_once(tmp_path, monkeypatch):
    path, letters = copied(tmp_path, monkeypatch)
    monkeypatch.setattr("seqmodel.dataset.seq.store.build_store", no_digest)
    store = SequenceStore.open(path)
    assert store.text("a") == letters
    assert list(store.digests()) == [path]
    monkeypatch.setattr("seqmodel.dataset.seq.source.sha256_of", no_digest)
    assert SequenceStore.open(path).path == f"{path}.dna.seqstore"


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        old = f.read(1)[0]
        f.seek(at)
        f.write(bytes([old ^ 1]))


@pytest.mark.parametrize("at", [4096, 4096 + 1_500_000, 4096 + 3_000_000])
def test_a_store_that_was_damaged_when_staged_is_built_anew(tmp_path, monkeypatch, at):
    path, letters = copied(tmp_path, monkeypatch)
    flip(f"{path}.dna.seqstore", at)
    with pytest.warns(UserWarning, match=r"seqstore: 1 of 3 blocks are damaged; rebuilding it"):
        store = SequenceStore.open(path)
    assert store.text("a") == letters
    assert store.text("b") == "ACGT"
    assert store.check() == 3


def test_check_finds_any_flipped_bit(tmp_path, monkeypatch):
    path = written(tmp_path, b">a\n" + b"ACGTacgt" * 300_000)
    settle(monkeypatch)
    store = SequenceStore.open(path)
    size = os.path.getsize(store.path)
    assert store.check() == 7
    raw = Path(store.path).read_bytes()
    for at in np.random.default_rng(0).integers(4096, size, 40).tolist():
        flip(store.path, at)
        if at < store._edges_at + 8 * store._n_edges:
            first = 4096 + (at - 4096) // 2**20 * 2**20
            with pytest.raises(SequenceError, match=f"1 of 7 blocks .* at byte {first}; delete"):
                store.check()
        else:
            assert SequenceStore.open(path).check() == 7  # a damaged index is built anew
        Path(store.path).write_bytes(raw)


def test_check_compares_the_source(tmp_path):
    path = written(tmp_path, b">a\nACGT")
    store = SequenceStore.open(path)
    in_place(path)
    with pytest.raises(SequenceError, match=r"was built from another .*a\.fa; delete the store"):
        store.check()


def test_a_damaged_store_is_built_anew(tmp_path, monkeypatch):
    path = written(tmp_path, b">a\nACGT\n>b\nacgt")
    settle(monkeypatch)
    store = Path(SequenceStore.open(path).path)
    raw = store.read_bytes()
    index = raw.index(b'{"alphabet"')
    longer = raw[index:].replace(b'"lengths": [4, 4]', b'"lengths": [4, 9999]')
    damaged = [raw[:-1], b"something else", b"", raw[:index] + longer]
    damaged += [raw[:i] + bytes([raw[i] ^ 4]) + raw[i + 1 :] for i in (*range(40), index, -2)]
    damaged.append(header_of(index, longer) + raw[40:index] + longer)
    damaged.append(header_of(index, b"[" * 10**5) + raw[40:index] + b"[" * 10**5)
    for content in damaged:
        store.write_bytes(content)
        assert SequenceStore.open(path).text("a") == "ACGT"
        assert store.read_bytes() == raw or len(store.read_bytes()) == len(raw)


@pytest.mark.parametrize(
    "note", [b"", b"{", b"null", b"[" * 10**5, b'{"sha256": 1, "seen": 2}', b"\xff", b"NaN"]
)
def test_a_damaged_note_is_of_no_account(tmp_path, monkeypatch, note):
    path = written(tmp_path, b">a\nACGT")
    store = SequenceStore.open(path)
    Path(f"{store.path}.stat").write_bytes(note)
    os.utime(path, ns=(1, 1))
    settle(monkeypatch)
    assert SequenceStore.open(path).text("a") == "ACGT"


def test_a_pickled_store_travels_as_its_path(tmp_path):
    path = written(tmp_path, b">a\n" + b"ACGT" * 100000)
    store = SequenceStore.open(path)
    state = pickle.dumps(store)
    assert len(state) < 5000
    assert pickle.loads(state).text("a", 3, 6) == "TAC"
    written(tmp_path, b">a\nTTTT")
    SequenceStore.open(path)
    with pytest.raises(SequenceError, match="has been rebuilt from other sources"):
        pickle.loads(state)


def test_a_read_only_folder_sends_the_store_to_the_cache(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    path = written(folder, b">a\nACGT")
    real = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda p, mode: real(p, mode) and not (str(p) == str(folder) and mode & os.W_OK),
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = SequenceStore.open(path)
    assert store.path.startswith(str(tmp_path / "cache" / "seqmodel"))
    assert os.listdir(folder) == ["a.fa"]
    assert store.text("a") == "ACGT"


def test_the_store_of_a_link_is_beside_the_link(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settle(monkeypatch)
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    shared.mkdir(), mine.mkdir()
    written(shared, b">a\nACGT\n")
    link = mine / "b.fa"
    link.symlink_to(shared / "a.fa")
    assert SequenceStore.open(str(link)).path == f"{link}.dna.seqstore"
    array = cached_array([str(link)], "k", (2,), np.uint8, lambda out: out.fill(7))
    assert Path(array.filename).parent == mine
    assert [x.name for x in shared.iterdir()] == ["a.fa"]
    # what is there already is read
    os.unlink(f"{link}.dna.seqstore")
    there = SequenceStore.open(str(shared / "a.fa")).path
    assert SequenceStore.open(str(link)).path == there


def test_cache_dir_is_where_the_store_goes(tmp_path):
    path = written(tmp_path, b">a\nACGT")
    store = SequenceStore.open(path, cache_dir=str(tmp_path / "here" / "there"))
    assert os.path.dirname(store.path) == str(tmp_path / "here" / "there")
    assert sorted(os.listdir(tmp_path)) == ["a.fa", "here"]


PROGRAM = """
import resource, sys
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.seq.store_build import header_of
from seqmodel.errors import SequenceError
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    store = SequenceStore.open(sys.argv[1], quiet=True)
    # not ru_maxrss, which a process inherits from the one that forked it
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(store.text("a", 0, 8), status["VmHWM"].split()[0])
except SequenceError as e:
    print(e)
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = written(tmp_path, b">a\n" + b"ACGTacgt\n" * 100000)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path, "200000"], capture_output=True, text=True, check=True
    )
    assert "a.fa.dna.seqstore: File too large; free some space there" in done.stdout
    assert "--cache_dir" in done.stdout
    assert done.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == ["a.fa"]


def test_processes_that_start_at_once_do_no_harm(tmp_path):
    path = written(tmp_path, b">a\n" + b"ACGTACGT\n" * 200000)
    command = [sys.executable, "-c", PROGRAM, path]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [x.communicate()[0].split()[0] for x in started] == ["ACGTACGT"] * 4
    left = {x.removesuffix(".stat") for x in os.listdir(tmp_path)}
    assert left == {"a.fa", "a.fa.dna.seqstore"}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_genome(tmp_path):
    used = []
    for n in (100, 400):  # MB on a single line, all of it alternating soft mask
        path = tmp_path / f"{n}.fa"
        with path.open("wb") as f:
            f.write(b">a\n")
            for _ in range(n):
                f.write(b"ACGTacgt" * 125000)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True
        )
        used.append(int(done.stdout.split()[1]) / 1024)
    assert max(used) < 300  # MB of the whole process
    assert used[1] < used[0] + 20


def test_the_store_may_be_read_by_others(tmp_path):
    store = SequenceStore.open(written(tmp_path, b">a\nACGT"))
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o666 & ~_umask()


def _umask():
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "x"), "w") as f:
        return 0o666 & ~stat.S_IMODE(os.fstat(f.fileno()).st_mode)


def test_missing_files_and_contigs_are_named(tmp_path):
    with pytest.raises(SequenceError, match=r"nowhere.fa: no such file"):
        SequenceStore.open(str(tmp_path / "nowhere.fa"))
    path = written(tmp_path, b">a\nACGT")
    with pytest.raises(SequenceError, match=r"a.fa is given twice"):
        SequenceStore.open([path, path])
    with pytest.raises(SequenceError, match=r"no contig 'b' in .*a.fa; it has a"):
        SequenceStore.open(path).text("b")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.text("ACGTacgtNn", max_size=60), min_size=1, max_size=4),
    st.sampled_from("<>"),
    st.integers(1, 20),
)
def test_2bit_gives_what_the_same_fasta_gives(tmp_path_factory, texts, order, block):
    folder = tmp_path_factory.mktemp("twobit")
    contigs = {f"c{i}": text for i, text in enumerate(texts)}
    (folder / "a.2bit").write_bytes(twobit_bytes(contigs, order))
    (folder / "a.fa").write_text("".join(f">{k}\n{v}\n" for k, v in contigs.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twobit, "BLOCK_BYTES", 4 * block)
        found = SequenceStore.open(folder / "a.2bit")
    expected = SequenceStore.open(folder / "a.fa")
    assert found.names == expected.names
    for name in found.names:
        assert np.array_equal(found[name, :], expected[name, :])
        assert np.array_equal(found.soft_mask(name), expected.soft_mask(name))


def test_a_truncated_2bit_is_one_line_and_leaves_nothing(tmp_path):
    raw = twobit_bytes({"a": "ACGTNNacgt" * 30, "b": "TTTT"})
    for n in (5, 20, 60, len(raw) - 1):
        path = written(tmp_path, raw[:n], "a.2bit")
        with pytest.raises(SequenceError, match=r"a.2bit: truncated or damaged 2bit") as e:
            SequenceStore.open(path)
        assert "\n" not in str(e.value)
        assert os.listdir(tmp_path) == ["a.2bit"]
