"""Removes the half-made folders that submitters left when they were cut off; nothing else.

A folder goes only if all that it holds is what a submitter writes before `events` is whole: no
run began in it, nothing was written by a job, and nobody is writing there now.
"""

from __future__ import annotations

from seqmodel.job.os_interface import Interface
from seqmodel.job.status_table import read_status

OLDER_THAN_MIN = 5  # a submitter gives a connection that writes folders no longer than this


class Pruned:
    """What prune did.

    Attributes:
        removed: paths of folders that are gone.
        kept: {path of a half-made folder: why it was left}.
    """

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.kept: dict[str, str] = {}


def prune(interface: Interface, root: str, older_than_min: int = OLDER_THAN_MIN) -> Pruned:
    """Removes half-made folders below `root`.

    Args:
        interface: the machine where they lie.
        root: a job_out_dir, or a folder in it.
        older_than_min: minutes in which nothing was written there: a submitter may be at work.

    Raises:
        JobError: there is no such folder, or the machine did not answer.
    """
    pruned = Pruned()
    half = [s.folder for s in read_status(interface, root, None) if s.reason == "half-made"]
    if not half:
        return pruned
    words = "".join(f"{folder}\0" for folder in half).encode("utf-8", "surrogateescape")
    done = interface.script(_PRUNE.replace("@MINUTES@", str(older_than_min)), words)
    told = done.out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    for folder, why in zip(told[::2], told[1::2], strict=False):
        if why == "removed":
            pruned.removed.append(folder)
        else:
            pruned.kept[folder] = why
    return pruned


_PRUNE = """
tell() { printf '%s\\0%s\\0' "$folder" "$1"; exit 0; }
one() {
    if [ -L "$folder" ] || ! cd -- "$folder" 2>/dev/null; then tell "it cannot be entered"; fi
    local name
    for name in * .[!.]*; do
        if ! [ -e "$name" ] && ! [ -L "$name" ]; then continue; fi
        case $name in
            *_version_*.sh | hparams.json | job.json | *.part) ;;
            stdout | stderr | events | submit.*) ;;
            *) tell "it holds $name, which no submitter writes" ;;
        esac
        if ! [ -f "$name" ] || [ -L "$name" ]; then tell "$name is not a regular file"; fi
    done
    if grep -q '^[0-9]* created ' events 2>/dev/null; then tell "it holds a job"; fi
    if grep -q '"_run"' hparams.json 2>/dev/null; then tell "a run began in it"; fi
    if [ -s stdout ] || [ -s stderr ]; then tell "a job wrote its output there"; fi
    if [ -n "$(find . -maxdepth 1 -mmin -@MINUTES@ | head -n 1)" ]; then
        tell "something was written there within the last @MINUTES@ minutes"
    fi
    rm -rf -- "$folder" || tell "it cannot be removed"
    tell removed
}
while IFS= read -r -d '' folder; do (one < /dev/null); done
exit 0
"""
