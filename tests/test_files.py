"""The one opener: what is no file that can be read ends as one line of the caller's error."""

import ast
import bz2
import gzip
import importlib
import lzma
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hypothesis.strategies as st
import pysam
import pytest
from hypothesis import given

from seqmodel import files
from seqmodel.errors import LabelError, SequenceError
from seqmodel.formats import FORMATS

PACKAGE = Path(files.__file__).parent


@pytest.fixture
def no_wait():
    """Fails instead of waiting for ever."""

    def late(*_):
        raise TimeoutError("waited for a file")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def special(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path)
    return path


SPECIAL = {
    "folder": "x: is a folder",
    "FIFO": r"x: is a pipe \(FIFO\)",
    "socket": "x: is a socket",
    "device": "x: is a device",
    "missing": r"x: cannot be read \(No such file or directory\)",
    "dangling link": r"x: cannot be read \(No such file or directory\)",
    "loop": r"x: cannot be read \(Too many levels of symbolic links\)",
}


@pytest.mark.parametrize(("kind", "message"), SPECIAL.items())
def test_what_is_no_regular_file_is_refused_without_a_wait(tmp_path, no_wait, kind, message):
    path = special(tmp_path, kind)

    def third_party():
        with files.reading(path, LabelError, "npz file"):
            raise AssertionError("not reached")

    for opened in (
        lambda: files.open_binary(path, LabelError),
        lambda: files.open_unpacked(path, LabelError),
        lambda: files.read_text(path, LabelError),
        lambda: files.sha256_of(path, LabelError),
        third_party,
    ):
        with pytest.raises(LabelError, match=message):
            opened()
    assert files.problem(path)


def test_a_path_that_no_file_can_have_is_refused():
    with pytest.raises(LabelError, match="null byte"):
        files.open_binary("a\0b", LabelError)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("a")
    assert files.problem(path) is None

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may read everything
    with pytest.raises(LabelError, match=r"x: cannot be read \(Permission denied\)"):
        files.open_binary(path, LabelError)
    assert files.problem(path) == "permission denied"


def test_an_empty_file_is_refused_where_it_matters(tmp_path):
    path = tmp_path / "x"
    path.touch()
    assert files.read_text(path, LabelError) == ""
    with pytest.raises(LabelError, match=r"x: is empty \(0 bytes\)"):
        files.check(path, LabelError, empty=False)
    with (
        pytest.raises(LabelError, match=r"x: is empty \(0 bytes\)"),
        files.reading(path, LabelError, "npz file"),
    ):
        pass


@given(raw=st.lists(st.sampled_from([b"a", b"\xc3\xa9", b"\n", b"\r\n", b"\r", b"\x0b", b"\x1c"])))
def test_lines_are_those_of_python_for_every_kind_of_end(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("x")
    text = b"".join(raw)
    (folder / "plain").write_bytes(text)
    (folder / "bom").write_bytes(b"\xef\xbb\xbf" + text)
    (folder / "gz").write_bytes(gzip.compress(text))
    with open(folder / "plain", encoding="utf-8", newline="") as f:
        expected = list(f)
    for name in ("plain", "bom", "gz"):
        assert list(files.lines(folder / name, LabelError)) == expected
        assert files.read_text(folder / name, LabelError) == text.decode()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("a\nb\n".encode("utf-16"), "x: is in UTF-16; save it as UTF-8"),
        ("a\nb\n".encode("utf-16-be"), "x line 1: has a NUL byte"),
        (b"\xfe\xff" + "a\n".encode("utf-16-be"), "x: is in UTF-16"),
        (b"a\nb\nM\xfcller\n", "x line 3: byte 0xfc is not UTF-8"),
        (b"a\rb\rM\xfcller\r", "x line 3: byte 0xfc is not UTF-8"),
        (b"a\nb\0c\n", "x line 2: has a NUL byte"),
        (bz2.compress(b"a\n"), "x: is compressed with bzip2; decompress it"),
        (lzma.compress(b"a\n"), "x: is compressed with xz; decompress it"),
        (b"PK\3\4.....", "x: is compressed with zip; decompress it"),
    ],
)
def test_text_that_is_no_utf_8_is_refused_with_its_line(tmp_path, raw, message):
    path = tmp_path / "x"
    path.write_bytes(raw)
    with pytest.raises(LabelError, match=message):
        files.read_text(path, LabelError)


def test_damaged_gzip_is_one_line_wherever_it_is_damaged(tmp_path):
    path = tmp_path / "x.gz"
    text = os.urandom(3000).hex().encode()
    whole = gzip.compress(text)
    for n in range(3, len(whole), 37):
        path.write_bytes(whole[:n])
        with pytest.raises(SequenceError, match="x.gz: truncated or damaged gzip"):
            files.read_text(path, SequenceError)
    # the last byte before the checksum may end with bits that mean nothing
    for at in (*range(10, len(whole) - 9, 37), len(whole) - 8):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(SequenceError, match="x.gz: truncated or damaged gzip"):
            files.read_text(path, SequenceError)


def test_bgzip_that_is_cut_between_two_blocks_is_refused(tmp_path):
    plain, path = tmp_path / "x", tmp_path / "x.gz"
    plain.write_bytes(os.urandom(100_000).hex().encode())
    pysam.tabix_compress(str(plain), str(path))
    whole = path.read_bytes()
    assert files.read_text(path, LabelError).encode() == plain.read_bytes()
    block = int.from_bytes(whole[16:18], "little") + 1
    assert len(gzip.decompress(whole[:block])) < 200_000  # gzip alone finds nothing wrong
    path.write_bytes(whole[:block])
    with pytest.raises(LabelError, match="x.gz: truncated bgzip, its end block is missing"):
        files.open_unpacked(path, LabelError)


def test_a_block_is_bgzip_whatever_extra_fields_stand_before(tmp_path):
    whole = gzip.compress(b"ACGT\n")
    extra = b"XX\3\0abc" + b"BC\2\0\0\0"
    path = tmp_path / "x.gz"
    path.write_bytes(
        whole[:3] + b"\4" + whole[4:10] + len(extra).to_bytes(2, "little") + extra + whole[10:]
    )
    with pytest.raises(LabelError, match="its end block is missing"):
        files.open_unpacked(path, LabelError)
    path.write_bytes(whole)
    assert files.read_text(path, LabelError) == "ACGT\n"


def test_an_error_of_the_disk_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"a" * 10)
    with files.open_binary(path, LabelError) as file:
        os.close(file.fileno())  # what is read next fails with EBADF
        with pytest.raises(LabelError, match=r"x: cannot be read \(Bad file descriptor\)"):
            file.read()
        os.open(path, os.O_RDONLY)  # takes the number again, to be closed


class PanicException(BaseException):
    """As pyo3 raises it."""


@pytest.mark.parametrize(
    "raised",
    [
        KeyError("x"),
        RecursionError("too deep"),
        OverflowError("int too large"),
        MemoryError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        OSError("Unable to open file\n(truncated)"),
        PanicException("called `Option::unwrap()` on a `None` value"),
    ],
)
def test_whatever_a_library_raises_is_one_line(tmp_path, raised):
    path = tmp_path / "x"
    path.write_bytes(b"a")
    with (
        pytest.raises(LabelError, match="x: cannot be read as npz file") as found,
        files.reading(path, LabelError, "npz file"),
    ):
        raise raised
    assert "\n" not in str(found.value)
    assert found.value.__cause__ is raised


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), ImportError("no h5py")])
def test_what_is_not_the_fault_of_the_file_passes(tmp_path, raised):
    path = tmp_path / "x"
    path.write_bytes(b"a")
    with pytest.raises(type(raised)), files.reading(path, LabelError, "npz file"):
        raise raised


def test_the_reader_of_each_format_is_there():
    for x in FORMATS:
        module, name = x.reader.split(":")
        assert callable(getattr(importlib.import_module(module), name)), x


# -- what is written -------------------------------------------------------------------------------


@given(content=st.one_of(st.binary(), st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_written_is_what_is_read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("x") / "new" / "x"
    files.write_file(path, b"before", LabelError, parents=True)
    files.write_file(path, content, LabelError)
    raw = content if isinstance(content, bytes) else content.encode()
    assert path.read_bytes() == files.read_bytes(path, LabelError) == raw
    assert os.listdir(path.parent) == ["x"]


def test_a_name_of_a_file_that_is_no_utf_8_can_be_written_in_a_file(tmp_path):
    files.write_file(tmp_path / "x", os.fsdecode(b"M\xfcller"), LabelError)
    assert (tmp_path / "x").read_bytes() == b"M\xfcller"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(28, "No space left on device"), LabelError),
        (ValueError("not ours"), ValueError),
        (SequenceError("a source"), SequenceError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_an_error_leaves_the_file_as_it_was_and_nothing_aside(tmp_path, raised, expected):
    path = tmp_path / "x"
    path.write_text("before")

    def write():
        with files.writing(path, LabelError) as file:
            file.write(b"after" * 10**5)
            raise raised

    with pytest.raises(expected) as found:
        write()
    if expected is LabelError:
        assert str(found.value).endswith("x: No space left on device; nothing was changed")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["x"]


FULL = """
import resource, sys
from seqmodel import files
from seqmodel.errors import LabelError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000,) * 2)
try:
    getattr(files, sys.argv[1])(sys.argv[2], "after" * 20_000, LabelError)
except LabelError as e:
    print(e)
"""


@pytest.mark.parametrize("writer", ["write_file", "append"])
def test_a_disk_that_is_full_leaves_the_file_as_it_was(tmp_path, writer):
    path = tmp_path / "x"
    path.write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", FULL, writer, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"cannot write {path}: ")
    assert done.stdout.endswith("; nothing was changed\n")
    assert done.stdout.count("\n") == 1
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(
    ("path", "reason"), [(".", "Is a directory"), ("a/b", "Not a directory|File exists")]
)
def test_what_cannot_be_a_file_is_one_line(tmp_path, path, reason):
    (tmp_path / "a").touch()
    with pytest.raises(LabelError, match=f"cannot write .*: ({reason}); do something"):
        files.write_file(tmp_path / path, "x", LabelError, advice="do something")
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path.parent).count(tmp_path.name) == 1
    assert not [x for x in os.listdir(tmp_path.parent) if x.endswith(".part")]


def test_a_folder_that_may_not_be_written_is_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # root may write everywhere
    with pytest.raises(LabelError, match="cannot write .*x: Permission denied; nothing was"):
        files.write_file(tmp_path / "x", "x", LabelError)


def test_permissions_are_those_of_the_file_before_or_of_a_new_one(tmp_path):
    def mode(name, before=None, **options):
        path = tmp_path / name
        if before is not None:
            path.touch()
            path.chmod(before)
        files.write_file(path, "x", LabelError, **options)
        return path.stat().st_mode & 0o777

    umask = os.umask(0o027)
    try:
        assert mode("new") == 0o640
        assert mode("private", 0o600) == 0o600
        assert mode("given", 0o600, mode=0o755) == 0o750
    finally:
        os.umask(umask)


def test_a_durable_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *x, f=real, n=name: (done.append(n), f(*x)))
    files.write_file(tmp_path / "x", "x", LabelError)
    files.write_file(tmp_path / "x", "x", LabelError, durable=True)
    assert done == ["replace", "fsync", "replace"]


WRITER = """
import itertools, sys
from seqmodel import files
from seqmodel.errors import LabelError
for i in itertools.count():
    with files.writing(sys.argv[1], LabelError) as file:
        for _ in range(50):
            file.write(b"%09d\\n" % i * 1000)
"""


def test_a_reader_and_a_kill_find_the_file_whole(tmp_path):
    path = tmp_path / "x"
    path.write_text("000000000\n" * 50_000)
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path])
        seen = set()
        while len(seen) < 4:  # the name has been given to other files meanwhile
            lines = path.read_text().splitlines()
            assert len(lines) == 50_000
            assert len(set(lines)) == 1
            seen.add(lines[0])
        writer.kill()
        writer.wait()
        assert len(set(path.read_text().splitlines())) == 1
    (tmp_path / ".x.1.aa.part").touch()
    left = [x for x in tmp_path.iterdir() if x.suffix == ".part"]
    files.remove_stale(path)
    assert all(x.exists() for x in left)  # another process may be at it
    for x in left:
        os.utime(x, (time.time() - 2 * 86400,) * 2)
    files.remove_stale(path)
    assert os.listdir(tmp_path) == ["x"]


def _create(path, number):
    return files.create(path, f"{number}" * 1000)


@pytest.mark.parametrize("links", [True, False])
def test_of_many_processes_one_makes_the_file(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for turn in range(20):
            path = tmp_path / f"{turn}"
            made = pool.starmap(_create, [(path, number) for number in range(8)])
            assert sum(made) == 1
            assert path.read_text() == f"{made.index(True)}" * 1000
    assert len(os.listdir(tmp_path)) == 20


def test_what_is_appended_comes_after_what_is_there(tmp_path):
    path = tmp_path / "x"
    for text in ("a,b\r\n", "1,\xfc\r\n"):
        files.append(path, text, LabelError)
    assert path.read_bytes() == "a,b\r\n1,\xfc\r\n".encode()
    with pytest.raises(LabelError, match="cannot write .*: Is a directory; nothing was changed"):
        files.append(tmp_path, "x", LabelError)


# -- one place -------------------------------------------------------------------------------------

# what opens a file by its path, or puts one in its place
OPENERS = {
    *("open", "os.open", "os.fdopen", "io.open", "io.FileIO"),
    *("gzip.open", "gzip.GzipFile", "bz2.open", "lzma.open"),
    *("zipfile.ZipFile", "zipfile.is_zipfile", "tarfile.open"),
    *("np.load", "np.loadtxt", "np.genfromtxt", "np.fromfile", "np.memmap", "np.save", "np.savez"),
    *("h5py.File", "loadmat", "parquet.read_table", "parquet.read_schema", "parquet.ParquetFile"),
    *("pybigtools.open", "pyBigWig.open", "torch.load", "torch.save", "json.dump"),
    *("os.replace", "os.rename", "os.renames", "os.link"),
    *("shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree", "shutil.move"),
    *("tempfile.NamedTemporaryFile", "tempfile.mkstemp", "tempfile.mkdtemp"),
    "tempfile.TemporaryDirectory",
}
METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "open", "rename", "hardlink_to"}
METHODS |= {"to_csv", "to_parquet", "to_json", "to_markdown", "to_latex"}
# (module, function): why it opens by itself
ELSEWHERE = {
    ("files.py", None): "the one place",
    ("job/worker.py", None): "runs on nodes, without this package",
    ("job/agent.py", None): "runs on other machines, without this package",
    ("job/launch.py", None): "runs on other machines, without this package",
    ("job/os_interface.py", "_copy_tree"): "whole folders",
    ("job/search/record.py", "locked"): "a lock, without content",
    ("dataset/seq/store_build.py", "lock"): "a lock, without content",
    ("record/folder.py", "link_latest"): "a link, without content",
    ("record/folder.py", "packages"): "the metadata of the installed packages",
    ("record/lock.py", "_open"): "a lock: each look asks the server anew",
    ("record/lock.py", "_machine"): "/proc",
    ("record/lock.py", "_start_of"): "/proc",
    ("training/usage.py", "_peak_of_this"): "/proc",
    ("training/threads.py", None): "/proc and /sys",
    ("training/waiting.py", "_delays"): "/proc",
    ("cli/verbs.py", "main"): "/dev/null",
    ("report/page.py", "_asset"): "files of the package",
    ("record/checkpoint.py", "_write"): "into a file that files.writing opened",
    ("dataset/seq/store.py", None): "a store, by its map",
    ("dataset/label/gathered.py", "array"): "a scratch file without a name, by its map",
    ("infer/formats.py", None): "in memory, and in files that files.writing made",
    ("infer/parts.py", "put"): "in memory",
    ("infer/arrays.py", None): "in memory, and in files that files.writing made",
    ("infer/named.py", "piece"): "in memory",
    ("training/predictions.py", "write_predictions"): "in a file that files.writing made",
    ("infer/vcf_out.py", "_bcf"): "bcftools writes it",
    ("infer/variants.py", "_here"): "a copy of stdin, without a name",
    ("dataset/label/array_cache.py", None): "a kept array, by its map",
}


def opened_in(tree):
    """(name of the function, call) of each call that opens a file outside of `reading`."""
    found = []

    def visit(node, function, inside):
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.With):
            names = [
                ast.unparse(x.context_expr.func)
                for x in node.items
                if isinstance(x.context_expr, ast.Call)
            ]
            inside = inside or "reading" in names
        if isinstance(node, ast.Call) and not inside:
            name = ast.unparse(node.func)
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            in_memory = "fileobj" in {x.arg for x in node.keywords}
            in_memory |= method.startswith("to_") and not node.args
            ours = name.split(".")[0] in ("SequenceStore", "search")
            if name in OPENERS or method in METHODS:
                found.extend([] if in_memory or ours else [(function, name)])
        for child in ast.iter_child_nodes(node):
            visit(child, function, inside)

    visit(tree, "", False)
    return found


def modules():
    return {str(p.relative_to(PACKAGE)): ast.parse(p.read_text()) for p in PACKAGE.rglob("*.py")}


def test_every_file_is_opened_and_written_in_one_place():
    calls = {(module, *x) for module, tree in modules().items() for x in opened_in(tree)}
    used = {
        x for x in ELSEWHERE for module, name, _ in calls if x in {(module, name), (module, None)}
    }
    wrong = {x for x in calls if not {x[:2], (x[0], None)} & set(ELSEWHERE)}
    assert wrong == set()
    assert set(ELSEWHERE) - used == set()


@pytest.mark.parametrize(
    "text",
    [
        "os.replace(a, b)",
        "open(path, 'w')",
        "gzip.open(path)",
        "tempfile.mkstemp()",
        "Path(x).write_text('')",
        "frame.to_csv(path)",
    ],
)
def test_a_file_that_is_opened_elsewhere_is_found(text):
    assert opened_in(ast.parse(f"def f():\n    {text}"))


READERS = {"open_binary", "open_unpacked", "unpacked", "lines", "read_text", "reading", "check"}
OWN = {f"dataset/seq/{x}.py" for x in ("store", "source")} | {"dataset/label/array_cache.py"}
OWN |= {"hparam/plugin_files.py"}
OWN |= {"dataset/interval/stream.py"}  # the formats of dataset/interval/bed.py, line by line
# what the readers of tables will read, a part of it before
OWN |= {f"dataset/guess/{x}.py" for x in ("columns", "reading", "tables")}


def test_every_module_that_opens_files_of_users_is_in_the_table_of_formats():
    known = {x.reader.split(":")[0] for x in FORMATS}
    for path, tree in modules().items():
        name = "seqmodel." + path.removesuffix(".py").replace("/", ".")
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module == "seqmodel.files"
                and path.startswith(("dataset/", "hparam/"))
                and path not in OWN
            ):
                uses = {x.name for x in node.names} & READERS
                assert not uses or name in known, f"{name} reads a format that has no line"
