"""The one way to open a file and the one way to write one. Light.

Every reader opens files through this module, so any problem with a file becomes a one-line error of
the caller's class: a folder, FIFO or device in its place, no permission, damaged or truncated
compression, another encoding, or any exception of a third-party reader. `formats.py` lists every
format of input files.

    open_binary    bytes as stored on the disk
    open_unpacked  bytes of a plain, gzip or bgzip file
    lines          lines of text of a plain, gzip or bgzip file
    read_text      the whole text of a small file
    read_bytes     all bytes of a small file
    reading        a block in which another library reads the file by its path

Every writer also writes through this module: a concurrent reader sees either the old content or the
whole new content, and an error or a signal leaves no temporary file.

    write_file     the whole content at once
    writing        a block that writes the content piece by piece
    create         create a file if it does not exist; only one of several processes creates it
    append         add to the end

Exceptions: `job/worker.py`, `job/agent.py` and `job/launch.py`, which run on other hosts without
this package; memory-mapped stores and arrays; unnamed scratch files; and anything that is not a
file on a disk (/proc, locks).
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from seqmodel.errors import SeqmodelError

Path = str | os.PathLike
Error = Callable[[str], SeqmodelError]
"""An error class, or a function that makes an error from a message."""

BUFFER_BYTES = 1 << 18
COPY_AGAIN = "it is damaged or has another format; copy or download it again"
CORRECT_IT = "correct the file"
UNCHANGED = "nothing was changed"
_STALE_S = 86400.0
_LIVE_S = 60.0  # a process in a container with this host's name may have a PID that is free here
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
BGZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_OTHER_PACKING = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}
_OTHER_TEXT = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\0\0\xfe\xff": "UTF-32"}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def problem(path: Path) -> str | None:
    """Return why `path` cannot be read as a file, or None if it can. Never blocks."""
    try:
        os.close(_descriptor(path))
    except ValueError as e:  # also a NUL in the path itself
        return str(e)
    except OSError as e:
        return (e.strerror or str(e)).lower()
    return None


def check(path: Path, error: Error, *, empty: bool = True) -> None:
    """Check that `path` is a readable regular file.

    Args:
        path: Path of the file.
        error: Class of the error.
        empty: Whether a file of 0 bytes is accepted.

    Raises:
        error: The file is missing, not a regular file, not readable or empty.
    """
    open_binary(path, error, empty=empty).close()


def open_binary(
    path: Path,
    error: Error,
    seen: Callable[[memoryview], None] | None = None,
    *,
    empty: bool = True,
) -> io.BufferedReader:
    """Open a regular file and yield its raw bytes.

    Args:
        path: Path of the file.
        error: Class of the error, including errors while reading.
        seen: Function called with all bytes read from the disk, in order.
        empty: Whether a file of 0 bytes is accepted.

    Raises:
        error: See `check`.
    """
    try:
        descriptor = _descriptor(path)
    except ValueError as e:
        raise error(f"{_shown(path)}: {e}; give a regular file") from e
    except OSError as e:
        raise error(f"{_shown(path)}: cannot be read ({e.strerror or e})") from e
    if not empty and not os.fstat(descriptor).st_size:
        os.close(descriptor)
        raise error(f"{_shown(path)}: is empty (0 bytes); copy or download it again")
    return io.BufferedReader(_Disk(descriptor, path, error, seen), BUFFER_BYTES)


def open_unpacked(path: Path, error: Error) -> io.BufferedReader:
    """Open a plain, gzip or bgzip file and yield its content; the first bytes decide the format.

    Raises:
        error: See `check`; also if the compression is damaged or truncated, here or while reading.
    """
    file = open_binary(path, error)
    try:
        return unpacked(file, path, error)
    except BaseException:
        file.close()
        raise


def unpacked(file: io.BufferedReader, path: Path, error: Error) -> io.BufferedReader:
    """Return a file of `open_binary`, decompressed if it is gzip or bgzip.

    Raises:
        error: A bgzip file lacks its end block, or the file has another compression.
    """
    head = file.peek(64)
    if head[:2] == _GZIP:
        if _is_bgzip(head):
            _check_bgzip_end(path, error)
        return io.BufferedReader(_Gzip(file, path, error), BUFFER_BYTES)
    for magic, name in _OTHER_PACKING.items():
        if head.startswith(magic):
            raise error(
                f"{_shown(path)}: is compressed with {name}; decompress it, or use gzip instead"
            )
    return file


def lines(path: Path, error: Error) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text file, plain or gzip, with their ends (\n, \r\n or \r).

    Raises:
        error: See `open_unpacked`; also if the text has another encoding or NUL bytes. The message
            has the line number.
    """
    number = 0
    with open_unpacked(path, error) as file:
        for found in file:
            if number and b"\r" not in found and b"\0" not in found and found.isascii():
                number += 1  # most lines
                yield found.decode("ascii")
                continue
            raw = _without_bom(found, path, error) if number == 0 else found
            # old Mac line ends, but not the other ones that str.splitlines knows
            parts = raw.splitlines(keepends=True) if b"\r" in raw or not raw else (raw,)
            for part in parts:
                number += 1
                yield text_of(part, lambda n=number: f"{_shown(path)} line {n}", error)  # type: ignore[misc]  # bound now


def text_of(raw: bytes, where: Callable[[], str], error: Error) -> str:
    """Decode bytes, which must be UTF-8 without NUL; `where()` describes their origin.

    Raises:
        error: The bytes are not UTF-8 or have a NUL.
    """
    if b"\0" in raw:
        raise error(f"{where()}: has a NUL byte; the file is damaged or not UTF-8 text")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise error(
            f"{where()}: byte 0x{raw[e.start]:02x} is not UTF-8; save the file as UTF-8, for "
            "example with: iconv -f LATIN1 -t UTF-8"
        ) from e


def read_text(path: Path, error: Error) -> str:
    """Return the whole text of a small file, read with `lines`."""
    return "".join(lines(path, error))


def read_bytes(path: Path, error: Error) -> bytes:
    """Return all bytes of a small file, read with `open_binary`."""
    with open_binary(path, error) as file:
        return file.read()


def sha256_of(path: Path, error: Error) -> str:
    """Return the SHA-256 of a file in hex."""
    import hashlib

    with open_binary(path, error) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(
    path: Path, error: Error, kind: str, *, empty: bool = False, advice: str = COPY_AGAIN
) -> Iterator[None]:
    """Run a block in which another library reads `path`; its exceptions become one-line errors.

    Keep the block small: bugs inside it would be reported as faults of the file.

    Args:
        path: Path of the file.
        error: Class of the error.
        kind: Expected format, such as "npz file".
        empty: Whether a file of 0 bytes is accepted.
        advice: What the user should do; the end of the message.

    Raises:
        error: See `check`; also if the library raised anything but ImportError.
    """
    check(path, error, empty=empty)
    try:
        yield
    except (SeqmodelError, ImportError):
        raise
    except BaseException as e:
        # a panic in a Rust library is a BaseException whose class cannot be imported
        if not isinstance(e, Exception) and type(e).__name__ != "PanicException":
            raise
        raise error(f"{_shown(path)}: cannot be read as {kind} ({_reason(e)}); {advice}") from e


@contextmanager
def writing(
    path: Path,
    error: Error,
    *,
    mode: int | None = None,
    durable: bool = False,
    parents: bool = False,
    advice: str = UNCHANGED,
) -> Iterator[IO[bytes]]:
    """Yield a new file that replaces `path` as a whole when the block ends.

    A symbolic link at `path` is replaced, not followed.

    Args:
        path: Path of the file.
        error: Class of the error.
        mode: Permissions before the umask applies. If unset: the permissions of the replaced file,
            otherwise those of any new file.
        durable: Whether the content must survive a power failure, so the call waits for the disk.
        parents: Whether to create missing parent folders.
        advice: What the user should do about an error; the end of the message.

    Raises:
        error: The disk is full, permission is denied, a folder has this path, or another system
            error occurs inside the block.
    """
    aside = aside_of(path)
    try:
        if parents:
            os.makedirs(os.path.dirname(aside), exist_ok=True)
        if mode is None:
            mode = os.stat(path).st_mode & 0o777 if os.path.isfile(path) else 0o666
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(aside, flags, mode), "r+b") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as e:
        raise error(f"cannot write {_shown(path)}: {_reason(e)}; {advice}") from e
    finally:
        with suppress(OSError):
            os.unlink(aside)


def write_file(path: Path, content: str | bytes | memoryview, error: Error, **options: Any) -> None:
    """Write a whole file with `writing`; text is encoded as UTF-8."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    with writing(path, error, **options) as file:
        file.write(content)


def create(path: Path, text: str) -> bool:
    """Create the whole file `path` if it does not exist; return whether this process created it.

    Raises:
        OSError: The file cannot be created.
    """
    aside = aside_of(path)
    try:
        with open(aside, "x", encoding="utf-8") as file:
            file.write(text)
        os.link(aside, path)
        return True
    except FileExistsError:
        # NFS may report this for its own link after a lost reply
        return os.stat(aside).st_nlink > 1
    except OSError:
        return _create_exclusively(path, text)  # a file system without hard links
    finally:
        with suppress(OSError):
            os.unlink(aside)


def _create_exclusively(path: Path, text: str) -> bool:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
        return True
    except FileExistsError:
        return False


def append(path: Path, text: str, error: Error) -> None:
    """Append `text` to a file, all of it or nothing.

    Raises:
        error: The disk is full, or another system error occurred.
    """
    content = text.encode("utf-8", "surrogateescape")
    try:
        with open(path, "ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                if file.write(content) != len(content):
                    raise OSError("the disk is full")
            except OSError:
                file.truncate(size)
                raise
    except OSError as e:
        raise error(f"cannot write {_shown(path)}: {_reason(e)}; {UNCHANGED}") from e


def aside_of(path: Path) -> str:
    """Return the temporary path of new content for `path`; see `remove_stale`."""
    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    who = f"{os.uname().nodename}.{os.getpid()}.{os.urandom(4).hex()}"
    return os.path.join(folder, f".{name}.{who}.part")


def remove_stale(path: Path, after_s: float = _STALE_S) -> None:
    """Remove the temporary files that killed writers of `path` left behind.

    A writer counts as killed if it ran on this host and is gone, or if its file is `after_s` old.
    """
    import glob
    import time

    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    for entry in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.*.part")):
        with suppress(OSError):
            age = time.time() - os.path.getmtime(entry)
            if age > (min(after_s, _LIVE_S) if _is_of_dead(entry) else after_s):
                os.unlink(entry)


def _is_of_dead(aside: str) -> bool:
    """Return whether the writer of this temporary file ran on this host and is gone."""
    before, _, pid = aside.rsplit(".", 2)[0].rpartition(".")
    if not before.endswith(f".{os.uname().nodename}") or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def remove_parts(folder: Path) -> None:
    """Remove temporary files of killed writers from a folder that only the caller writes to."""
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        if name.endswith(".part"):
            with suppress(OSError):
                os.unlink(os.path.join(folder, name))


def _descriptor(path: Path) -> int:
    """Open a regular file without blocking and return its descriptor.

    Raises:
        ValueError: The path is not a regular file.
        OSError: The file is missing or cannot be opened.
    """
    _check_regular(os.stat(path).st_mode)  # first: opening a device can have effects
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    try:
        _check_regular(os.fstat(descriptor).st_mode)  # it may have been replaced in between
    except ValueError:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"is {_KINDS.get(stat.S_IFMT(mode), 'not a regular file')}")


class _Disk(io.RawIOBase):
    """A raw file that raises errors of the caller's class."""

    def __init__(
        self,
        descriptor: int,
        path: Path,
        error: Error,
        seen: Callable[[memoryview], None] | None,
    ) -> None:
        self._file = io.FileIO(descriptor, "rb")
        self._path, self._error, self._seen = path, error, seen

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seen is None

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any Buffer
        try:
            n = self._file.readinto(buffer)
        except OSError as e:
            raise self._error(f"{_shown(self._path)}: cannot be read ({e.strerror})") from e
        if self._seen is not None:
            self._seen(memoryview(buffer)[:n])
        return n

    def close(self) -> None:
        self._file.close()
        super().close()


class _Gzip(io.RawIOBase):
    """The content of a gzip file; damage raises an error of the caller's class."""

    def __init__(self, file: io.BufferedReader, path: Path, error: Error) -> None:
        import gzip  # this module is read at each start

        self._packed, self._file = file, gzip.GzipFile(fileobj=file)
        self._path, self._error = path, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any Buffer
        try:
            return self._file.readinto(buffer)
        except (EOFError, zlib.error, OSError) as e:  # BadGzipFile is an OSError
            raise self._error(
                f"{_shown(self._path)}: truncated or damaged gzip ({e}); copy or download it again"
            ) from e

    def close(self) -> None:
        self._file.close()
        self._packed.close()
        super().close()


def _is_bgzip(head: bytes) -> bool:
    """Whether a gzip header has the extra field BC (SAM specification, section 4.1)."""
    if len(head) < 12 or not head[3] & 4:
        return False
    extra = head[12 : 12 + int.from_bytes(head[10:12], "little")]
    while len(extra) >= 4:
        if extra[:2] == b"BC":
            return True
        extra = extra[4 + int.from_bytes(extra[2:4], "little") :]
    return False


def _check_bgzip_end(path: Path, error: Error) -> None:
    """Check the end block: only its absence shows that a file was cut between two blocks."""
    with open_binary(path, error) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - len(BGZIP_END)))
        if file.read() != BGZIP_END:
            raise error(
                f"{_shown(path)}: truncated bgzip, its end block is missing; copy or download it "
                "again"
            )


def _without_bom(raw: bytes, path: Path, error: Error) -> bytes:
    for mark, name in _OTHER_TEXT.items():
        if raw.startswith(mark):
            raise error(
                f"{_shown(path)}: is in {name}; save it as UTF-8, for example with: "
                f"iconv -f {name} -t UTF-8"
            )
    return raw.removeprefix(_BOM)


def _shown(path: Path) -> str:
    return os.fsdecode(path)


def _reason(e: BaseException) -> str:
    if isinstance(e, OSError) and e.strerror:
        return e.strerror
    if isinstance(e, MemoryError):
        return "it asks for more memory than there is"
    text = " ".join(str(e).split())
    return f"{type(e).__name__}: {text[:200]}" if text else type(e).__name__
