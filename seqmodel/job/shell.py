"""ShellJob: jobs of a machine without a scheduler, so many at once; they survive the notebook."""

from __future__ import annotations

import itertools
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from seqmodel.errors import JobError
from seqmodel.files import read_bytes
from seqmodel.hparam.job import ShellHparams
from seqmodel.job import worker
from seqmodel.job.events import Record
from seqmodel.job.job import Job
from seqmodel.job.os_interface import Interface, LocalInterface, quote_home
from seqmodel.job.replicate import KEPT, Place, Replicate, write_files
from seqmodel.job.state import CLAIM_S, Seen, Status
from seqmodel.job.status_table import Scheduler


class ShellJob(Job):
    """Jobs as detached processes of this machine, or of one behind SSH.

    `n_at_once` run at once, the others wait their turn; a queue is of one machine and job_out_dir.
    """

    kind = "shell"
    hparams_class = ShellHparams
    template: ClassVar[str] = "template_shell.sh"

    def _launch(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        place: Place,
        files: Mapping[str, bytes],
    ) -> None:
        entries: list[tuple[str, list[str]]] = []
        for replicate, k in zip(replicates, submissions, strict=True):
            token = os.urandom(6).hex()
            script = f"{replicate.path}/{replicate.script_name}"
            # first come, first served, also of one moment
            name = f"{time.time_ns():020}-{len(entries):06}-{token}"
            entries.append((name, [script, str(k), token]))
        limit = self._settings({}).n_at_once
        if isinstance(self.interface, LocalInterface):
            write_files(self.interface, place.root, files)
            claim_s = claim_seconds(self._settings({}))
            for replicate, k, (name, _) in zip(replicates, submissions, entries, strict=True):
                _claim(replicate, k, name[-12:], claim_s)
            worker.add(self._queue(place.root, os.uname().nodename), limit, entries)
            for replicate, k in zip(replicates, submissions, strict=True):
                _append(replicate, f"submitted submission={k} job=shell")
        else:
            self._launch_there(replicates, submissions, place, files, entries, limit)
        for replicate in replicates:
            replicate.job = "shell"

    def _queue(self, root: str, host: str) -> str:
        return f"{root}/{KEPT}/queue/{host}"

    def _launch_there(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        place: Place,
        files: Mapping[str, bytes],
        entries: Sequence[tuple[str, list[str]]],
        limit: int,
    ) -> None:
        batch = f"{KEPT}/submitted/{os.urandom(6).hex()}"
        texts = "".join("\n".join([name, *args]) + "\0" for name, args in entries)
        more = {
            f"{batch}/folders": claims(replicates, submissions, [n[-12:] for n, _ in entries]),
            f"{batch}/entries": texts.encode("utf-8", "surrogateescape"),
            f"{KEPT}/code/worker.py": read_bytes(worker.__file__, JobError),
        }
        text = claim_text(self._settings({})) + _ADD.replace("@BATCH@", batch)
        text = text.replace("@LIMIT@", str(limit)).replace("@KEPT@", KEPT)
        out = write_files(self.interface, place.root, {**files, **more}, then=text).decode()
        if out.splitlines()[-1:] != ["added"]:
            raise JobError(f"{out.strip() or 'nothing was submitted'} on {self.interface.name}")

    def _scheduler(self) -> Scheduler:
        return _Processes(self)

    def _cancel(self, chosen: Sequence[Status], scheduler: Scheduler, why: str) -> dict[str, str]:
        words = ""
        for status in chosen:  # SIGTERM, and SIGKILL 10 s later
            record = status.record
            words += f"{status.folder}\0{record.token}\0{record.node if status.alive else ''}\0"
        return cancel_by(_CANCEL, words, self.interface, why)


# Takes submit.<k> of each replicate, which one submitter gets; without all, none is kept.
# One whose taker was killed before he noted it is given up: the next is submit.<k>.1, and so on.
_CLAIM = """
claim() { # claim FILE, lines: folder submission token index
    local folder k token index name n claimed=() ok=1
    set -C
    while read -r folder k token index; do
        name=$folder/submit.$k n=0
        while ! { : > "$name"; } 2>/dev/null; do
            if ! left_by_the_dead "$folder" "$k" "$name"; then
                printf 'somebody else is submitting %s' "$folder"
                ok=0
                break 2
            fi
            n=$((n + 1)) name=$folder/submit.$k.$n
        done
        claimed+=("$name")
    done < "$1"
    set +C
    if [ $ok = 0 ]; then
        if [ ${#claimed[@]} != 0 ]; then rm -f -- "${claimed[@]}"; fi
        return 1
    fi
    note_each "$1" 'submitting submission=$k token=$token index=$index'
}
left_by_the_dead() { # whether a claim is old, and its event was never written
    local since
    since=$(stat -c %Y -- "$3" 2>/dev/null || stat -f %m -- "$3" 2>/dev/null) || return 1
    [ "$(($(date +%s) - since))" -gt @CLAIM_S@ ] &&
        ! grep -q "^[0-9]* submitting submission=$2 " "$1/events"
}
note_each() { # note_each FILE EVENT: appends an event to each replicate
    local folder k token index line now
    now=$(date +%s)
    while read -r folder k token index; do
        line=${2//'$k'/$k} line=${line//'$token'/$token} line=${line//'$index'/$index}
        printf '%s %s\\n' "$now" "$line" >> "$folder/events"
    done < "$1"
}
"""
_ADD = """
claim @BATCH@/folders || exit 0
queue=$PWD/@KEPT@/queue/$(uname -n)
mkdir -p -- "$queue"
python3 -I -S "$PWD/@KEPT@/code/worker.py" add "$queue" @LIMIT@ < @BATCH@/entries || exit 1
note_each @BATCH@/folders 'submitted submission=$k job=shell'
echo added
"""
# Entries are named after the tokens that stand in events; a process is found by its arguments.
# The intent comes first, so that a job that starts meanwhile ends.
_CANCEL = """
pids=()
gone() { # whether the last attempt has ended by itself since its state was read
    local pid
    pid=$(awk '$2 == "start" {l = $0} $2 == "end" {l = ""} END {print l}' "$1/events")
    pid=${pid##* pid=} pid=${pid%% *}
    [ -z "$pid" ] || ! kill -0 "$pid" 2> /dev/null
}
while IFS= read -r -d '' folder && IFS= read -r -d '' token && IFS= read -r -d '' node; do
    note "$folder" "cancelling$text"
    found='' why=''
    if [ -n "$token" ]; then
        rm -f -- "${folder%/*/*}"/.seqmodel/queue/*/waiting/*"-$token" 2> "$errors" ||
            why=$(tail -n 1 "$errors")
        found=$(ps -A -ww -o pgid= -o args= |
            awk -v t="$token" '$NF == t && $2 ~ /bash$/ {print $1}' | sort -u)
    fi
    for pid in $found; do # each leads a group of its own
        if kill -TERM -- "-$pid" 2> "$errors"; then pids+=("$pid")
        elif ps -A -o pgid= | grep -qx " *$pid"; then
            why="process $pid: $(sed 's/.* - //' "$errors")"
        fi
    done
    if [ -z "$found" ] && [ -n "$node" ]; then
        if [ "$node" != "$(uname -n)" ]; then why="it runs on $node: cancel it there"
        elif ! gone "$folder"; then why="it runs outside of the queue: end it by its process"; fi
    fi
    if [ -n "$why" ]; then fail "$folder" "$why"
    else note "$folder" "cancel$text"; fi
done
if [ ${#pids[@]} != 0 ]; then
    (sleep 10; for pid in "${pids[@]}"; do kill -KILL -- "-$pid"; done) >/dev/null 2>&1 </dev/null &
fi
"""
_NOTE = """
errors=$(mktemp) || exit 1
trap 'rm -f -- "$errors"' EXIT
note() { printf '%s %s\\n' "$(date +%s)" "$2" >> "$1/events" || exit 1; }
fail() {
    note "$1" "cancel_failed text=$2"
    printf '%s\\0%s\\0' "$1" "$2"
}
"""


def cancel_by(program: str, words: str, interface: Interface, why: str) -> dict[str, str]:
    """Runs a program of bash that ends jobs; the folders of those that it could not end, and why.

    Raises:
        JobError: it could not be run to its end.
    """
    text = f" text={' '.join(why.split())}" if why else ""
    program = f"text={shlex.quote(text)}\n{_NOTE}{program}exit 0\n"
    done = interface.script(program, words.encode("utf-8", "surrogateescape"))
    if done.code != 0:
        raise JobError(f"cannot cancel on {interface.name}: {done.err.strip()[-300:]}")
    told = done.out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return dict(zip(told[::2], (" ".join(why.split()) for why in told[1::2]), strict=True))


def claim_seconds(settings: Any) -> int:
    """Seconds after which a claim without its event is that of a submitter who was killed."""
    return min(settings.grace_s, CLAIM_S)


def claim_text(settings: Any) -> str:
    """The functions of bash that take replicates for a submitter, and note it."""
    return _CLAIM.replace("@CLAIM_S@", str(claim_seconds(settings)))


def claims(
    replicates: Sequence[Replicate], submissions: Sequence[int], tokens: Sequence[str]
) -> bytes:
    """The lines that `claim` reads: folder, submission, token and place in the submission."""
    lines = [
        f"{replicate.folder} {k} {token} {i}\n"
        for i, (replicate, k, token) in enumerate(zip(replicates, submissions, tokens, strict=True))
    ]
    return "".join(lines).encode()


def _claim(replicate: Replicate, k: int, token: str, claim_s: float) -> None:
    path = f"{replicate.path}/submit.{k}"
    for n in itertools.count(1):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
            break
        except FileExistsError as e:
            if not _left_by_the_dead(replicate, path, k, claim_s):
                raise JobError(f"somebody else is submitting {replicate.path}") from e
            path = f"{replicate.path}/submit.{k}.{n}"
    _append(replicate, f"submitting submission={k} token={token}")


def _left_by_the_dead(replicate: Replicate, path: str, k: int, claim_s: float) -> bool:
    """Whether a claim is old and was never followed by its event: its submitter was killed."""
    try:
        age = time.time() - os.stat(path).st_mtime
        with open(f"{replicate.path}/events", encoding="utf-8") as file:
            begun = f" submitting submission={k} " in file.read()
    except OSError:
        return False
    return age > claim_s and not begun


def _append(replicate: Replicate, line: str) -> None:
    with open(f"{replicate.path}/events", "a", encoding="utf-8") as file:
        file.write(f"{int(time.time())} {line}\n")


class _Processes(Scheduler):
    """What waits in the queue, and which processes there are."""

    kind = "shell"

    def __init__(self, job: ShellJob) -> None:
        root = quote_home(job.find_root())
        queue = f"{root}/{KEPT}/queue/$(uname -n)"
        wake = f'python3 -I -S {root}/{KEPT}/code/worker.py wake "$queue"'
        if job.interface.is_local:
            wake = ":"
            worker.wake(job._queue(job.find_root(), os.uname().nodename))
        self.commands = {
            # an entry whose submitter was killed while writing it is none
            "processes": f"uname -n; queue={queue}; {wake}; "
            "ls \"$queue/waiting\" | sed '/\\.part$/d'; ps -A -ww -o args="
        }
        self.text, self.node = "", ""

    def begin(self, outputs: Mapping[str, bytes]) -> None:
        """Keeps what was printed."""
        self.text = outputs["processes"].decode("utf-8", "replace")
        self.node = self.text.partition("\n")[0]

    def seen(self, record: Record) -> Seen | None:
        """Whether the process is there, if it was started on this machine."""
        if record.running:
            if record.token in self.text:
                return Seen("RUNNING", "")
            # of another machine, or too young to have been among the processes
            if record.node != self.node or record.started_at > time.time() - 5:
                return None
            return Seen("GONE", "")
        return Seen("PENDING", "waits its turn") if record.token in self.text else None

    def found(self, record: Record) -> str:
        """An entry whose submitter did not live to say so."""
        return "shell" if record.token and record.token in self.text else ""
