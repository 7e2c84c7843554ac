"""SlurmJob: jobs of a Slurm cluster, from a login node or over SSH; many at once as job arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.job import SlurmHparams
from seqmodel.hparam.resolve import Run
from seqmodel.job.events import Record
from seqmodel.job.job import Job
from seqmodel.job.replicate import KEPT, Place, Replicate, write_files
from seqmodel.job.shell import cancel_by, claim_text, claims
from seqmodel.job.state import ABSENT, Seen, Status
from seqmodel.job.status_table import Scheduler

MAX_ARRAY = 1001  # Slurm's own default, where it does not say another
_MEMORY = re.compile(r"\d+[KMGT]?")
_TOKEN = re.compile(r"\.([0-9a-f]{12})$")  # in the names of jobs that were submitted here
_BY_HAND = re.compile(r"_version_\d+\.sh$")  # the name that sbatch gives to a script


class SlurmJob(Job):
    """Jobs under Slurm, on this machine or on one behind SSH.

    Attributes:
        n_calls: how often Slurm's programs were started: sbatch, squeue, sacct, scancel, scontrol.
    """

    kind = "slurm"
    hparams_class = SlurmHparams
    template: ClassVar[str] = "template_slurm.sh"
    _asks_arrays: ClassVar[bool] = True

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.n_calls = dict.fromkeys(("sbatch", "squeue", "sacct", "scancel", "scontrol"), 0)
        super().__init__(*args, **settings)

    def _settings(self, own: Mapping[str, Any]) -> Any:
        settings = super()._settings(own)
        if not _MEMORY.fullmatch(settings.slurm_mem):
            raise HparamError(
                f"--slurm_mem (SlurmHparams): must be a number with K, M, G or T, got "
                f"{settings.slurm_mem!r}"
            )
        if settings.slurm_signal_s >= 60 * settings.slurm_time_min:
            raise HparamError(
                f"--slurm_signal_s is {settings.slurm_signal_s} s, and the time limit "
                f"{settings.slurm_time_min} min: nothing would be trained; lower the first"
            )
        for name in ("job_out_dir", "workdir"):
            if "\\" in (getattr(settings, name) or ""):
                raise HparamError(
                    f"--{name}: {getattr(settings, name)!r} has a backslash, with which Slurm does "
                    "not find a job's files; use another folder"
                )
        return settings

    def _more_fields(self, run: Run, settings: Any) -> dict[str, Any]:
        shape = (run.values.num_nodes, run.values.devices)
        return {
            "directives": directives(settings, *shape),
            "requeue": settings.requeue,
            "max_requeues": settings.max_requeues,
            "shape": list(shape),
        }

    def _changed_fields(
        self, fields: Mapping[str, Any], settings: Any, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        changed = super()._changed_fields(fields, settings, given)
        return {**changed, "directives": directives(settings, *fields["shape"])}

    def _launch(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        place: Place,
        files: Mapping[str, bytes],
    ) -> None:
        files, text = dict(files), claim_text(self._settings({})) + _SUBMIT
        links: dict[str, str] = {}
        batches: dict[str, list[Replicate]] = {}
        for chosen, k in self._batches(replicates, submissions, files, place.max_array):
            token = os.urandom(6).hex()
            batches[token] = chosen
            more, linked = self._batch(token, chosen, k, files)
            files |= more
            links |= linked
            text += f"submit {token}\n"
            self.n_calls["sbatch"] += 1
        text += "why\n"
        self.n_calls["squeue"] += 1
        out = write_files(self.interface, place.root, files, links, then=text, timeout=300)
        _take_up(out.decode("utf-8", "replace"), batches, self.interface.name)

    def _batches(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        files: Mapping[str, bytes],
        max_array: int,
    ) -> list[tuple[list[Replicate], int]]:
        """Replicates that ask for the same go together, in arrays that the cluster takes."""
        groups: dict[tuple[str, int], list[Replicate]] = {}
        for replicate, k in zip(replicates, submissions, strict=True):
            script = files[f"{replicate.folder}/{replicate.script_name}"].decode("utf-8", "replace")
            groups.setdefault((_header(script), k), []).append(replicate)
        size = max_array or MAX_ARRAY
        return [
            (group[i : i + size], k)
            for (_, k), group in groups.items()
            for i in range(0, len(group), size)
        ]

    def _batch(
        self, token: str, chosen: Sequence[Replicate], k: int, files: Mapping[str, bytes]
    ) -> tuple[dict[str, bytes], dict[str, str]]:
        """The files and links of one call of sbatch."""
        folder = f"{KEPT}/submitted/{token}"
        links: dict[str, str] = {}
        for i, replicate in enumerate(chosen):
            there = f"../../../{replicate.folder}"
            # arrays need one pattern for all, so the links have numbers
            links[f"{folder}/{i}.out"] = f"{there}/stdout"
            links[f"{folder}/{i}.err"] = f"{there}/stderr"
            links[f"{folder}/{i}.sh"] = f"{there}/{replicate.script_name}"
        name = chosen[0].canonical[:80] if len(chosen) == 1 else "seqmodel"
        args = ["--parsable", f"--job-name={name}.{token}"]
        # Slurm expands % in paths, in the working directory too
        where = f"{chosen[0].root}/{folder}".replace("%", "%%")
        name = "0" if len(chosen) == 1 else "%a"
        args += [f"--output={where}/{name}.out", f"--error={where}/{name}.err"]
        if len(chosen) == 1:
            args += ["./0.sh", str(k)]
        else:
            throttle = self._settings({}).slurm_at_once
            limit = f"%{throttle}" if throttle else ""
            args += [f"--array=0-{len(chosen) - 1}{limit}", "./batch.sh", str(k)]
        first = files[f"{chosen[0].folder}/{chosen[0].script_name}"].decode("utf-8", "replace")
        batch = f'#!/bin/bash\n{_header(first)}\nexec bash "./$SLURM_ARRAY_TASK_ID.sh" "$1"\n'
        return {
            f"{folder}/folders": claims(chosen, [k] * len(chosen), [token] * len(chosen)),
            f"{folder}/args": "".join(f"{arg}\0" for arg in args).encode(),
            f"{folder}/batch.sh": batch.encode(),
        }, links

    def _scheduler(self) -> Scheduler:
        return _Queue(self)

    def _cancel(self, chosen: Sequence[Status], scheduler: Scheduler, why: str) -> dict[str, str]:
        words = ""
        for status in chosen:
            job_id = scheduler.id_of(status.record)
            # a job that no queue knows is not ended by ours
            is_outside = status.alive and scheduler.seen(status.record) == ABSENT
            outside = status.record.node or "another machine" if is_outside else ""
            words += f"{status.folder}\0{job_id}\0{outside}\0"
        self.n_calls["scancel"] += 1
        return cancel_by(_CANCEL, words, self.interface, why)


def directives(settings: Any, n_nodes: int, devices: int) -> str:
    """The #SBATCH lines; their values are single words (SlurmHparams refuses others)."""
    options = {
        "--account": settings.slurm_account,
        "--partition": settings.slurm_partition,
        "--time": settings.slurm_time_min,
        "--nodes": n_nodes,
        "--ntasks-per-node": devices,
        "--cpus-per-task": settings.slurm_cpus,
        "--mem": settings.slurm_mem,
        "--gpus-per-node": settings.slurm_gpus,
        "--signal": f"B:USR1@{settings.slurm_signal_s}" if settings.slurm_signal_s else None,
        "--open-mode": "append",
    }
    lines = [f"#SBATCH {name}={value}" for name, value in options.items() if value is not None]
    lines.append("#SBATCH --requeue" if settings.requeue else "#SBATCH --no-requeue")
    lines += [f"#SBATCH {option}" for option in settings.slurm_options]
    return "\n".join(lines)


def _header(script: str) -> str:
    return "\n".join(line for line in script.splitlines() if line.startswith("#SBATCH"))


def _take_up(out: str, batches: Mapping[str, Sequence[Replicate]], name: str) -> None:
    """Sets the ids that sbatch gave; says what it refused."""
    refused = []
    for line in out.splitlines():
        what, _, rest = line.partition(" ")
        token, _, rest = rest.partition(" ")
        chosen = batches.get(token, ())
        if what == "job":
            for i, replicate in enumerate(chosen):
                replicate.job = rest if len(chosen) == 1 else f"{rest}_{i}"
        elif what == "why":
            for replicate in chosen:
                replicate.reason = rest  # type: ignore[attr-defined]
        elif chosen:
            refused.append((chosen[0], len(chosen), what, rest.strip()))
    if refused:
        replicate, n, what, why = refused[0]
        many = f" and {n - 1} more" if n > 1 else ""
        if what == "late":
            raise JobError(
                f"sbatch on {name}: {why}; whether {replicate.path}{many} was queued is "
                "found by its token: seqmodel status tells. Do not submit it a second time"
            )
        raise JobError(
            f"sbatch refused the job on {name}: {why}. Kept, not queued: {replicate.path}{many}. "
            "Fix the setting and resume it"
        )


_SUBMIT = """
for name in ${!SLURM@} ${!SBATCH@}; do
    if [ "$name" != SLURM_CONF ]; then unset "$name"; fi
done
tokens=()
id_in() { # id_in FILE...: the id, among whatever else sbatch printed; nothing if several could be
    sed -n -E 's/\\r$//
        s/^([0-9]+)(;[^ ;]*)?$/\\1/p
        s/^(.* )?Submitted batch job ([0-9]+)( .*)?$/\\2/p' "$@" |
        sort -u | awk '{id = $0} END {if (NR == 1) print id}'
}
id_by_token() { # id_by_token TOKEN: of a job that is in the queue
    timeout 30 squeue -h -t all -u "$(id -un)" -o '%F|%j' 2> /dev/null |
        awk -F '|' -v t=".$1" 'substr($0, length($0) - length(t) + 1) == t {id = $1} END {print id}'
}
submit() { # submit TOKEN
    local dir=$PWD/.seqmodel/submitted/$1 args=() arg id code
    if ! claim "$dir/folders" > "$dir/claim"; then
        printf 'busy %s %s\\n' "$1" "$(<"$dir/claim")"
        return
    fi
    while IFS= read -r -d '' arg; do args+=("$arg"); done < "$dir/args"
    (cd -- "$dir" && timeout 100 sbatch "${args[@]}" > sbatch.out 2> sbatch.err < /dev/null)
    code=$? id=''
    if [ $code = 0 ]; then id=$(id_in "$dir/sbatch.out" "$dir/sbatch.err"); fi
    if [ -z "$id" ] && [ $code != 124 ]; then id=$(id_by_token "$1"); fi
    case $id in
        [0-9]*)
            printf %s "$id" > "$dir/job"
            # an element of an array is told by its place
            if grep -q -- '--array=' "$dir/args"; then
                note_each "$dir/folders" 'submitted submission=$k job='"$id"'_$index'
            else note_each "$dir/folders" 'submitted submission=$k job='"$id"; fi
            printf 'job %s %s\\n' "$1" "$id"
            tokens+=("$1") ;;
        *)
            local why folder k rest
            why=$(tr '\\n' ' ' < "$dir/sbatch.err")
            why=${why#sbatch: error: }
            # it may have been queued all the same: submit.<k> stays taken
            if [ $code = 124 ]; then printf 'late %s no answer in time\\n' "$1"; return; fi
            if [ $code = 0 ]; then printf 'late %s no id of a job\\n' "$1"; return; fi
            if grep -qiE 'timed? ?out|zero bytes|communication|transport' "$dir/sbatch.err"; then
                printf 'late %s %s\\n' "$1" "$why"
                return
            fi
            why=${why:-exit code $code, without a reason}
            note_each "$dir/folders" "refused text=$why"
            while read -r folder k rest; do
                rm -f -- "$folder/submit.$k" "$folder/submit.$k".*
            done < "$dir/folders"
            printf 'refused %s %s\\n' "$1" "$why" ;;
    esac
}
why() { # what the scheduler says of those that were queued just now
    local name rest token
    if [ ${#tokens[@]} = 0 ]; then return; fi
    timeout 30 squeue -h -u "$(id -un)" -o '%j|%T %r' 2>/dev/null |
    while IFS='|' read -r name rest; do
        token=${name##*.}
        case " ${tokens[*]} " in *" $token "*) printf 'why %s %s\\n' "$token" "$rest" ;; esac
    done
}
"""
# The intent comes first, so that a job that starts meanwhile ends; it holds once scancel took it.
_CANCEL = """
folders=() jobs=() outside=() all=() left='' why=''
while IFS= read -r -d '' folder && IFS= read -r -d '' job && IFS= read -r -d '' where; do
    folders+=("$folder") jobs+=("$job") outside+=("$where")
    if [ -n "$job" ]; then all+=("$job"); fi
    note "$folder" "cancelling$text"
done
if [ ${#all[@]} != 0 ] && ! timeout 60 scancel "${all[@]}" 2> "$errors" < /dev/null; then
    why=$(tr '\\n' ' ' < "$errors")
    why=${why#scancel: error: } why=${why:-no answer in 60 s}
    # one that has ended meanwhile is no failure; without an answer none is confirmed
    left=$(timeout 25 squeue -h -r -u "$(id -un)" -t PD,R,S,CF -o %i) ||
        left=${all[*]}
fi
for i in "${!folders[@]}"; do
    if [ -n "${outside[i]}" ]; then
        fail "${folders[i]}" "it runs on ${outside[i]} outside of the queue: end it there"
    elif [ -n "${jobs[i]}" ] && case " ${left//[!0-9_]/ } " in
        *" ${jobs[i]} "*) ;; *) false ;; esac
    then fail "${folders[i]}" "scancel: $why"
    else note "${folders[i]}" "cancel$text"; fi
done
"""
_SQUEUE = """
timeout 25 squeue -h -r -t all -u "$(id -un)" -o '%A|%F|%K|%T|%r|%j' && echo answered
"""
_SACCT = """
timeout 25 sacct -n -P -X -S now-14days -o JobIDRaw,JobID,State 2>/dev/null && echo answered
"""


class _Queue(Scheduler):
    """What squeue says, and sacct of jobs that squeue does not know any more."""

    kind = "slurm"

    def __init__(self, job: SlurmJob) -> None:
        self.job = job
        self.commands = {"squeue": _SQUEUE}
        self.answered = False
        self.by_id: dict[str, tuple[Seen, str]] = {}  # with the name of the job
        self.by_token: dict[tuple[str, str], str] = {}
        self._accounts: dict[str, Seen] | None = None

    def begin(self, outputs: Mapping[str, bytes]) -> None:
        """Reads what squeue printed."""
        self.job.n_calls["squeue"] += 1
        lines = outputs["squeue"].decode("utf-8", "replace").splitlines()
        self.answered = lines[-1:] == ["answered"]
        for line in lines[:-1]:
            raw, array, index, state, reason, name = (line.split("|", 5) + [""] * 6)[:6]
            seen = Seen(state, "" if reason == "None" else reason)
            job_id, place = (f"{array}_{index}", index) if index.isdecimal() else (raw, "0")
            self.by_id[job_id] = (seen, name)
            # the raw id of one element is that of the whole array, which is no run's
            if raw != array:
                self.by_id[raw] = (seen, name)
            self.by_token[name.rpartition(".")[2], place] = job_id

    def seen(self, record: Record) -> Seen | None:
        """The word of squeue, else of sacct; None where neither answered."""
        if not self.answered:
            return None
        job_id = self.id_of(record)
        if job_id in self.by_id:
            return self.by_id[job_id][0]
        if record.job and (record.running or record.waiting):
            return self._account().get(record.job, ABSENT)
        return ABSENT

    def found(self, record: Record) -> str:
        """The job of a submission whose id nobody noted."""
        return self.by_token.get((record.token, record.index or "0"), "")

    def id_of(self, record: Record) -> str:
        """The id under which squeue lists the job of this record, else the one that sbatch gave.

        It is "" where squeue lists the job of somebody else under that one.
        """
        if self._is_listed(record):
            return record.job
        return self.found(record) or ("" if record.submitted_job in self.by_id else
                                      record.submitted_job)  # fmt: skip

    def _is_listed(self, record: Record) -> bool:
        """Whether the recorded id is of this run: ids come again, process ids look the same."""
        if record.job not in self.by_id:
            return False
        name = self.by_id[record.job][1]
        token = _TOKEN.search(name)
        if token is not None:
            return token[1] == record.token
        return record.job == record.submitted_job or _BY_HAND.search(name) is not None

    def _account(self) -> dict[str, Seen]:
        if self._accounts is None:
            self._accounts = {}
            self.job.n_calls["sacct"] += 1
            out = self.job.interface.script(_SACCT).out.decode("utf-8", "replace").splitlines()
            for line in out[:-1] if out[-1:] == ["answered"] else []:
                raw, job_id, state = [*line.split("|"), "", "", ""][:3]
                seen = Seen(state.split(" ")[0], "")  # "CANCELLED by 1000"
                self._accounts[job_id] = seen
                if raw != job_id.split("_")[0]:
                    self._accounts[raw] = seen
        return self._accounts
