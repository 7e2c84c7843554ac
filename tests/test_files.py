"""The one opener: what is no file that can be read ends as one line of the caller's error."""

import ast
import bz2
import gzip
import importlib
import lzma
import os
import signal
import socket
from pathlib import Path

import hypothesis.strategies as st
import pysam
import pytest
from hypothesis import given

from seqmodel import files
from seqmodel.errors import LabelError, SequenceError

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
        (bz2.compress(b"a\n"), "x: is packed with bzip2; unpack it"),
        (lzma.compress(b"a\n"), "x: is packed with xz; unpack it"),
        (b"PK\3\4.....", "x: is packed with zip; unpack it"),
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
    for at in range(10, len(whole), 37):
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
    for x in files.FORMATS:
        module, name = x.reader.split(":")
        assert callable(getattr(importlib.import_module(module), name)), x


# what opens a file by its path
OPENERS = {
    "open",
    "os.open",
    "os.fdopen",
    "io.open",
    "io.FileIO",
    "gzip.open",
    "gzip.GzipFile",
    "bz2.open",
    "lzma.open",
    "zipfile.ZipFile",
    "zipfile.is_zipfile",
    "tarfile.open",
    "np.load",
    "np.loadtxt",
    "np.genfromtxt",
    "np.fromfile",
    "np.memmap",
    "h5py.File",
    "loadmat",
    "parquet.read_table",
    "parquet.read_schema",
    "parquet.ParquetFile",
    "pybigtools.open",
    "pyBigWig.open",
    "torch.load",
}
METHODS = {"read_text", "read_bytes", "open"}
# modules that read what seqmodel itself wrote (stores, caches), or modules of Python
OWN = {f"dataset/seq/{x}.py" for x in ("store", "store_build", "source", "checksum")}
OWN |= {"dataset/label/array_cache.py"}
OWN |= {"hparam/plugin_files.py"}
# functions that read what seqmodel itself wrote, in modules that also read what users give
OWN_FUNCTIONS = {("dataset/array_data.py", "_mapped_codes"), ("record/checkpoint.py", "save")}


def opened_in(module):
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
            if name in OPENERS or (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in METHODS
                and name != "SequenceStore.open"
            ):
                found.append((function, name))
        for child in ast.iter_child_nodes(node):
            visit(child, function, inside)

    visit(ast.parse(module.read_text()), "", False)
    return found


def modules():
    return [
        *(PACKAGE / "dataset").rglob("*.py"),
        *(PACKAGE / "hparam").glob("*.py"),
        PACKAGE / "record/checkpoint.py",
        PACKAGE / "job/search/file.py",
    ]


def test_every_path_is_opened_in_one_place():
    wrong = []
    for path in modules():
        name = str(path.relative_to(PACKAGE))
        if name not in OWN:
            calls = opened_in(path)
            wrong += [(name, *x) for x in calls if (name, x[0]) not in OWN_FUNCTIONS]
    assert wrong == []


def test_every_module_that_opens_files_is_in_the_table_of_formats():
    known = {x.reader.split(":")[0] for x in files.FORMATS}
    for path in modules():
        name = "seqmodel." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "seqmodel.files":
                uses = {x.name for x in node.names} - {"problem", "sha256_of", "CORRECT_IT"}
                assert not uses or name in known, f"{name} reads a format that has no line"
