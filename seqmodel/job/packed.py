"""What goes from machine to machine in one piece: archives in memory, and a folder's state.

Beside os_interface.py, whose operations are one connection each. Large files are read head and tail
only. Standard library only.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from seqmodel.errors import ConnectionLost, JobError
from seqmodel.record.run_files import NO_FILE, read_regular

# a file up to this size is read whole; of a larger one the first and the last so many bytes
WHOLE_BYTES = 48 * 1024
HEAD_BYTES = 8 * 1024
TAIL_BYTES = 16 * 1024
CUT = b"\n...\n"
PRIVATE_FOLDER = 0o700


class Snapshot:
    """What stood below a folder at one moment.

    Attributes:
        root: the folder, absolute.
        files: {folder relative to root: {name: bytes}}; a large file is its head, a line that is
            cut, and its tail. A folder without any of the names is there, and empty.
        outputs: {name: bytes}, of the commands.
        now: seconds since 1970 on that machine.
        damaged: {folder: why}, of folders in which one of the names is no regular file.
    """

    def __init__(
        self,
        root: str,
        files: dict[str, dict[str, bytes]],
        outputs: dict[str, bytes],
        now: float,
        damaged: Mapping[str, str] | None = None,
    ) -> None:
        self.root, self.files, self.outputs, self.now = root, files, outputs, now
        self.damaged = damaged or {}


def replicate_folders(root: str) -> list[str]:
    """The `version_*` folders: `root` itself as ".", or those one or two levels below, sorted."""
    if os.path.basename(root).startswith("version_"):
        return ["."]
    own = _versions(root)
    if own:
        return own
    found = []
    for name in sorted(os.listdir(root)):
        if not name.startswith("."):
            found += [f"{name}/{version}" for version in _versions(f"{root}/{name}")]
    return found


def _versions(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if _is_version(e.name) and _is_folder(e)]
    except OSError:
        return []
    return sorted(names, key=_number)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_version(name: str) -> bool:
    # a copy, as `version_0.bak`, has the events and the job of another
    return name.startswith("version_") and name[8:].isdecimal()


def _number(name: str) -> tuple[int, str]:
    digits = name.removeprefix("version_")
    return (int(digits) if digits.isdecimal() else 1 << 60, name)


def tar_files(
    files: Mapping[str, bytes],
    links: Mapping[str, str] | None = None,
    *,
    private: Sequence[str] = (),
) -> bytes:
    """A tar.gz of `links` (name to target) and then of `files`, in their order.

    Files and folders whose names begin with one of `private` are for their owner alone.
    """
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w:gz", compresslevel=3, format=tarfile.PAX_FORMAT
    ) as tar:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
        kept = [name for name in files if name.startswith(tuple(private))]
        for folder in dict.fromkeys(parent for name in kept for parent in _parents(name)):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, PRIVATE_FOLDER
            tar.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode_of(name, name.startswith(tuple(private)))
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def mode_of(name: str, is_private: bool) -> int:
    """The mode of a file that is written: scripts can be run, private ones are the owner's."""
    mode = 0o755 if name.endswith(".sh") else 0o644
    return mode & 0o700 if is_private else mode


def _parents(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def tar_tree(folder: str) -> bytes:
    """A tar.gz of what is in `folder`."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as tar:
        tar.add(folder, arcname=".")
    return buffer.getvalue()


def untar_tree(data: bytes, folder: str) -> None:
    """Unpacks a tar.gz into `folder`, without FIFOs, devices and what would lie outside of it.

    Raises:
        ConnectionLost: it was cut off.
        JobError: it cannot be written.
    """
    import io
    import tarfile

    def inside(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, path)
        except tarfile.FilterError:
            return None

    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            tar.extractall(folder, filter=inside)
    except (tarfile.TarError, EOFError, zlib.error) as e:
        raise ConnectionLost(f"the copy was cut off ({e}); repeat it") from e
    except OSError as e:
        raise JobError(f"cannot write below {folder}: {e.strerror or e}") from e


def untar(data: bytes) -> dict[str, bytes]:
    """The files of a gzipped tar that came from a machine, by name.

    Raises:
        ConnectionLost: it was cut off.
    """
    import io
    import tarfile

    members = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|gz") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None:
                    members[member.name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as e:
        raise ConnectionLost(f"the answer was cut off ({e}); repeat it") from e
    return members


def joined(members: Mapping[str, bytes], name: str) -> bytes | None:
    """A file, or its head and tail with a cut between them; None if it was not there."""
    if name in members:
        return members[name]
    if f"{name}.head" not in members:
        return None
    return members[f"{name}.head"] + CUT + members.get(f"{name}.tail", b"")


def unpack_snapshot(members: Mapping[str, bytes], names: Sequence[str]) -> Snapshot:
    """The snapshot of what the script SNAPSHOT printed, for files of these names."""
    root = members["./root"].decode("utf-8", "surrogateescape")
    folders = members["./folders"].decode("utf-8", "surrogateescape").split("\0")[:-1]
    folders = [folder.removeprefix("./") for folder in folders]
    folders = [f for f in folders if f == "." or _is_version(f.rsplit("/", 1)[-1])]
    shallow = [f for f in folders if "/" not in f]
    folders = sorted(
        shallow or folders, key=lambda f: (f.split("/")[:-1], _number(f.split("/")[-1]))
    )
    files: dict[str, dict[str, bytes]] = {}
    for folder in folders:
        read = {name: joined(members, _member(folder, name)) for name in names}
        files[folder] = {name: data for name, data in read.items() if data is not None}
    outputs = {m[9:]: data for m, data in members.items() if m.startswith("./output.")}
    damaged: dict[str, str] = {}
    for line in members["./special"].decode("utf-8", "surrogateescape").split("\0")[:-1]:
        folder, _, name = line[4:].rpartition("/")
        damaged.setdefault(folder or ".", f"{name}: {NO_FILE.get(line[0], NO_FILE['c'])}")
    return Snapshot(root, files, outputs, float(members["./now"]), damaged)


def _member(folder: str, name: str) -> str:
    return f"./tree/{name}" if folder == "." else f"./tree/{folder}/{name}"


def read_file(path: str) -> bytes | None:
    """A file, of a large one head and tail; None if there is none.

    Raises:
        Damaged: it is no regular file, or cannot be read.
    """
    return read_regular(path, _head_and_tail)


def _head_and_tail(file: Any, size: int) -> bytes:
    # without buffering: one read for the many small files
    data = file.read(WHOLE_BYTES + 1)
    if len(data) <= WHOLE_BYTES:
        return data
    file.seek(max(size - TAIL_BYTES, HEAD_BYTES))
    return data[:HEAD_BYTES] + CUT + file.read(TAIL_BYTES)


# A large file goes as .head and .tail, in a folder beside; tar gives every file its length, so that
# no content can pass for another file.
_TMP = """
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
"""
READ = (
    _TMP
    + f"""
i=0
while IFS= read -r -d '' path; do
    if [ -f "$path" ]; then
        if [ "$(wc -c < "$path")" -le {WHOLE_BYTES} ]; then cp -L -- "$path" "$tmp/$i"
        else head -c {HEAD_BYTES} < "$path" > "$tmp/$i.head"; tail -c {TAIL_BYTES} < "$path" > "$tmp/$i.tail"; fi
    fi
    i=$((i + 1))
done
tar -czf - -C "$tmp" .
"""  # noqa: E501
)
SNAPSHOT = (
    _TMP
    + f"""
cd -- @ROOT@ 2>/dev/null || exit 3
printf %s "$PWD" > $tmp/root
date +%s > $tmp/now
@RUNS@
case ${{PWD##*/}} in
    version_*) printf '.\\0' > $tmp/folders; depth=1 ;;
    *) find . -mindepth 1 -maxdepth 2 -name '.?*' -prune -o -type d -name 'version_*' -print0 > $tmp/folders
       depth=3 ;;
esac
mkdir $tmp/tree
find . -mindepth 1 -maxdepth $depth -name '.?*' -prune -o -type f \\( @NAMES@ \\) -size -{WHOLE_BYTES // 1024}k -print0 > $tmp/small
find . -mindepth 1 -maxdepth $depth -name '.?*' -prune -o -type f \\( @NAMES@ \\) -size +{WHOLE_BYTES // 1024 - 1}k -print0 > $tmp/large
find . -mindepth 1 -maxdepth $depth -name '.?*' -prune -o -type l \\( @NAMES@ \\) -xtype f -print0 >> $tmp/large
find . -mindepth 1 -maxdepth $depth -name '.?*' -prune -o \\( @NAMES@ \\) \\( ! -xtype f -o ! -readable \\) -printf '%Y %p\\0' > $tmp/special
while IFS= read -r -d '' f; do
    mkdir -p -- "$tmp/tree/${{f%/*}}"
    if [ "$(wc -c < "$f")" -le {WHOLE_BYTES} ]; then cp -L -- "$f" "$tmp/tree/$f"; continue; fi
    head -c {HEAD_BYTES} < "$f" > "$tmp/tree/$f.head"; tail -c {TAIL_BYTES} < "$f" > "$tmp/tree/$f.tail"
done < $tmp/large
tar --transform='s,^\\./,./tree/,' --no-recursion --null -T $tmp/small -cf $tmp/small.tar 2>/dev/null
rm $tmp/small $tmp/large
tar -cf $tmp/rest.tar --exclude=./small.tar --exclude=./rest.tar -C $tmp . 2>/dev/null
tar -Af $tmp/small.tar $tmp/rest.tar
gzip -1 < $tmp/small.tar
"""  # noqa: E501
)
