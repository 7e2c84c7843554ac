"""SlurmJob: jobs of a Slurm cluster, from a login node or over SSH; many at once as job arrays."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from seqmodel.errors import HparamError, JobError
from seqmodel.hparam.job import SlurmHparams
from seqmodel.hparam.run import Run
from seqmodel.job.job import Job
from seqmodel.job.replicate import KEPT, Place, Replicate, put
from seqmodel.job.shell import cancel_line, claim_text, claims
from seqmodel.job.state import ABSENT, Record, Seen
from seqmodel.job.status_table import Asker

MAX_ARRAY = 1001  # Slurm's own default, where it does not say another
_MEMORY = re.compile(r"\d+[KMGT]?")


class SlurmJob(Job):
    """Jobs under Slurm, on this machine or on one behind SSH.

    Attributes:
        n_calls: how often Slurm's programs were started: sbatch, squeue, sacct, scancel, scontrol.
    """

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
        out = put(self.interface, place.root, files, links, then=text, timeout=300)
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

    def _asker(self) -> Asker:
        return _Queue(self)

    def cancel(self, replicates: Sequence[Replicate], why: str = "") -> None:
        """Ends jobs that wait or run, by one scancel."""
        words, jobs = "", []
        for replicate, status in zip(replicates, self._of(replicates), strict=True):
            words += f"{replicate.path}\0"
            if status.job:
                jobs.append(status.job)
        text = f"line={shlex.quote(cancel_line(why))}\n" + _CANCEL.replace("@JOBS@", " ".join(jobs))
        self.n_calls["scancel"] += 1
        done = self.interface.script(text, words.encode("utf-8", "surrogateescape"))
        if done.code != 0:
            raise JobError(f"cannot cancel on {self.interface.name}: {done.err.strip()[-300:]}")

    def _of(self, replicates: Sequence[Replicate]) -> list[Any]:
        by_path = {status.folder: status for status in self.status(replicates)}
        return [by_path[replicate.path] for replicate in replicates]


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
            refused.append((chosen[0], len(chosen), what, rest))
    if refused:
        replicate, n, what, why = refused[0]
        many = f" and {n - 1} more" if n > 1 else ""
        if what == "late":
            raise JobError(
                f"sbatch on {name} gave no answer in time; whether {replicate.path}{many} was "
                "queued is found by its token: status tells"
            )
        raise JobError(
            f"sbatch refused the job on {name}: {why}. Kept, not queued: {replicate.path}{many}. "
            "Mend the setting and resume it"
        )


_SUBMIT = """
for name in ${!SLURM@} ${!SBATCH@}; do
    if [ "$name" != SLURM_CONF ]; then unset "$name"; fi
done
tokens=()
submit() { # submit TOKEN
    local dir=$PWD/.seqmodel/submitted/$1 args=() arg id code
    if ! claim "$dir/folders" > "$dir/claim"; then
        printf 'busy %s %s\\n' "$1" "$(<"$dir/claim")"
        return
    fi
    while IFS= read -r -d '' arg; do args+=("$arg"); done < "$dir/args"
    id=$(cd -- "$dir" && timeout 100 sbatch "${args[@]}" 2> sbatch.err < /dev/null)
    code=$? id=${id%%;*}
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
            if [ $code = 124 ]; then printf 'late %s -\\n' "$1"; return; fi
            local why folder k rest
            why=$(tr '\\n' ' ' < "$dir/sbatch.err")
            why=${why#sbatch: error: }
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
_CANCEL = """
while IFS= read -r -d '' folder; do
    printf '%s\\n' "$line" >> "$folder/events" || exit 1
done
jobs="@JOBS@"
if [ -n "$jobs" ]; then timeout 60 scancel $jobs; fi
"""
_SQUEUE = """
timeout 25 squeue -h -r -t all -u "$(id -un)" -o '%A|%F|%K|%T|%r|%j' && echo answered
"""
_SACCT = """
timeout 25 sacct -n -P -X -S now-14days -o JobIDRaw,JobID,State 2>/dev/null && echo answered
"""


class _Queue(Asker):
    """What squeue says, and sacct of jobs that squeue does not know any more."""

    def __init__(self, job: SlurmJob) -> None:
        self.job = job
        self.commands = {"squeue": _SQUEUE}
        self.answered = False
        self.by_id: dict[str, Seen] = {}
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
            ids = [raw, f"{array}_{index}"] if index.isdecimal() else [raw]
            for job_id in ids:
                self.by_id[job_id] = seen
            place = index if index.isdecimal() else "0"
            self.by_token[name.rpartition(".")[2], place] = ids[-1]

    def seen(self, record: Record) -> Seen | None:
        """The word of squeue, else of sacct; None where neither answered."""
        if not self.answered:
            return None
        if record.job in self.by_id:
            return self.by_id[record.job]
        if record.job and (record.running or record.waiting):
            return self._account().get(record.job, ABSENT)
        return ABSENT

    def found(self, record: Record) -> str:
        """The job of a submission whose id nobody noted."""
        return self.by_token.get((record.token, record.index or "0"), "")

    def _account(self) -> dict[str, Seen]:
        if self._accounts is None:
            self._accounts = {}
            self.job.n_calls["sacct"] += 1
            out = self.job.interface.script(_SACCT).out.decode("utf-8", "replace").splitlines()
            for line in out[:-1] if out[-1:] == ["answered"] else []:
                raw, job_id, state = [*line.split("|"), "", "", ""][:3]
                # "CANCELLED by 1000"
                self._accounts[raw] = self._accounts[job_id] = Seen(state.split(" ")[0], "")
        return self._accounts
