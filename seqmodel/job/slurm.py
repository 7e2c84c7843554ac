"""SlurmJob: jobs of a Slurm cluster, from a login node or over SSH; many at once as job arrays."""

from __future__ import annotations

import os
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from seqmodel.errors import BusyError, HparamError, JobError
from seqmodel.hparam.job import SlurmHparams
from seqmodel.hparam.resolve import Run
from seqmodel.job import launch
from seqmodel.job.agent import KEPT
from seqmodel.job.events import Record
from seqmodel.job.job import Job
from seqmodel.job.replicate import Place, Replicate
from seqmodel.job.shell import claim_seconds, claims
from seqmodel.job.state import ABSENT, Seen, Status
from seqmodel.job.status_table import Scheduler

MAX_ARRAY = 1001  # default of Slurm, if it reports no other value
_MEMORY = re.compile(r"\d+[KMGT]?")
_TOKEN = re.compile(r"\.([0-9a-f]{12})$")  # in the names of jobs submitted by seqmodel
_BY_HAND = re.compile(r"_version_\d+\.sh$")  # the name that sbatch gives to a script


class SlurmJob(Job):
    """Jobs under Slurm, on this host or on a host behind SSH.

    Attributes:
        n_calls: Number of calls of sbatch, squeue, sacct, scancel and scontrol.
    """

    kind = "slurm"
    hparams_class = SlurmHparams
    template: ClassVar[str] = "template_slurm.sh"
    _asks_arrays: ClassVar[bool] = True

    def __init__(self, *args: Any, **settings: Any) -> None:
        self.n_calls = dict.fromkeys(("sbatch", "squeue", "sacct", "scancel", "scontrol"), 0)
        super().__init__(*args, **settings)

    def _settings(self, own: Mapping[str, Any]) -> Namespace:
        settings = super()._settings(own)
        if not _MEMORY.fullmatch(settings.slurm_mem):
            raise HparamError(
                f"--slurm_mem (SlurmHparams): must be a number with K, M, G or T, got "
                f"{settings.slurm_mem!r}"
            )
        if settings.slurm_signal_s >= 60 * settings.slurm_time_min:
            raise HparamError(
                f"--slurm_signal_s is {settings.slurm_signal_s} s, but the time limit is "
                f"{settings.slurm_time_min} min: no time is left to train; lower --slurm_signal_s"
            )
        for name in ("job_out_dir", "workdir"):
            if "\\" in (getattr(settings, name) or ""):
                raise HparamError(
                    f"--{name}: {getattr(settings, name)!r} has a backslash, so Slurm could "
                    "not find the files of the job; use another folder"
                )
        return settings

    def _more_fields(self, run: Run, settings: Namespace) -> dict[str, Any]:
        shape = (run.values.num_nodes, run.values.devices)
        return {
            "directives": directives(settings, *shape),
            "requeue": settings.requeue,
            "max_requeues": settings.max_requeues,
            "shape": list(shape),
        }

    def _changed_fields(
        self, fields: Mapping[str, Any], settings: Namespace, given: Mapping[str, Any]
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
        files = dict(files)
        links: dict[str, str] = {}
        batches = {}
        chosen_by_token: dict[str, list[Replicate]] = {}
        for chosen, k in self._batches(replicates, submissions, files, place.max_array):
            token = os.urandom(6).hex()
            chosen_by_token[token] = chosen
            args, script, linked = self._batch(token, chosen, k, files)
            files[f"{KEPT}/submitted/{token}/batch.sh"] = script.encode()
            links |= linked
            batches[token] = (claims(chosen, [k] * len(chosen), [token] * len(chosen)), args)
            self.n_calls["sbatch"] += 1
        self.n_calls["squeue"] += 1
        answers = self.interface.call(
            launch.submit_batches,
            timeout=300,
            root=place.root,
            files=files,
            links=links,
            batches=batches,
            claim_s=claim_seconds(self._settings({})),
        )
        _note_ids(answers, chosen_by_token, self.interface.name)

    def _batches(
        self,
        replicates: Sequence[Replicate],
        submissions: Sequence[int],
        files: Mapping[str, bytes],
        max_array: int,
    ) -> list[tuple[list[Replicate], int]]:
        """Group replicates with equal settings into arrays that the cluster accepts."""
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
    ) -> tuple[list[str], str, dict[str, str]]:
        """Return the arguments, the script and the links of one call of sbatch."""
        folder = f"{KEPT}/submitted/{token}"
        links: dict[str, str] = {}
        for i, replicate in enumerate(chosen):
            there = f"../../../{replicate.folder}"
            # an array needs one pattern for all elements, so the links are numbered
            links[f"{folder}/{i}.out"] = f"{there}/stdout"
            links[f"{folder}/{i}.err"] = f"{there}/stderr"
            links[f"{folder}/{i}.sh"] = f"{there}/{replicate.script_name}"
        name = chosen[0].canonical[:80] if len(chosen) == 1 else "seqmodel"
        args = ["--parsable", f"--job-name={name}.{token}"]
        # Slurm expands % in paths, also in the working directory
        where = f"{chosen[0].root}/{folder}".replace("%", "%%")
        name = "0" if len(chosen) == 1 else "%a"
        args += [f"--output={where}/{name}.out", f"--error={where}/{name}.err"]
        if len(chosen) == 1:
            args += ["./0.sh", str(k)]
        else:
            throttle = self._settings({}).n_at_once
            limit = f"%{throttle}" if throttle else ""
            args += [f"--array=0-{len(chosen) - 1}{limit}", "./batch.sh", str(k)]
        first = files[f"{chosen[0].folder}/{chosen[0].script_name}"].decode("utf-8", "replace")
        batch = f'#!/bin/bash\n{_header(first)}\nexec bash "./$SLURM_ARRAY_TASK_ID.sh" "$1"\n'
        return args, batch, links

    def scheduler(self) -> Scheduler:
        """Return the object that asks squeue and sacct."""
        return _Queue(self)

    def _cancel(self, chosen: Sequence[Status], scheduler: Scheduler, why: str) -> dict[str, str]:
        words = []
        for status in chosen:
            # our queue cannot end a job that it does not know
            is_outside = status.alive and scheduler.seen(status.record) == ABSENT
            outside = status.record.node or "another host" if is_outside else ""
            words.append((status.folder, scheduler.id_of(status.record), outside))
        self.n_calls["scancel"] += 1
        return self.interface.call(launch.cancel_batches, timeout=120, chosen=words, why=why)


def directives(settings: Namespace, n_nodes: int, devices: int) -> str:
    """Return the #SBATCH lines; their values are single words (SlurmHparams refuses others)."""
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


def _note_ids(
    answers: Sequence[Sequence[str]], batches: Mapping[str, Sequence[Replicate]], name: str
) -> None:
    """Set the job ids from sbatch; raise an error for what it refused."""
    refused = []
    for word, token, text in answers:
        chosen = batches[token]
        if word == "job":
            for i, replicate in enumerate(chosen):
                replicate.job = text if len(chosen) == 1 else f"{text}_{i}"
        elif word == "why":
            for replicate in chosen:
                replicate.reason = text.removesuffix(" None")  # no reason so far
        else:
            refused.append((chosen[0], len(chosen), word, text))
    if refused:
        replicate, n, what, why = refused[0]
        many = f" and {n - 1} more" if n > 1 else ""
        if what == "busy":
            raise BusyError(f"{why} on {name}; not submitted: {replicate.path}{many}")
        if what == "failed":
            raise JobError(
                f"{why} on {name}; nothing was submitted, files removed: {replicate.path}{many}"
            )
        if what == "late":
            raise JobError(
                f"sbatch on {name}: {why}. Perhaps queued: {replicate.path}{many}. To find it "
                "by its token, run seqmodel status; do not submit it again"
            )
        raise JobError(
            f"sbatch refused the job on {name}: {why}. Kept, not queued: {replicate.path}{many}. "
            "Fix the setting, then resume it"
        )


class _Queue(Scheduler):
    """The answers of squeue, and of sacct about jobs that squeue no longer lists."""

    kind = "slurm"

    def __init__(self, job: SlurmJob) -> None:
        self.job = job
        self.asked = {"squeue": (launch.states, {})}
        self.answered = False
        self.by_id: dict[str, tuple[Seen, str]] = {}  # including the name of the job
        self.by_token: dict[tuple[str, str], str] = {}
        self._accounts: dict[str, Seen] | None = None

    def begin(self, outputs: Mapping[str, Any]) -> None:
        """Parse the output of squeue."""
        self.job.n_calls["squeue"] += 1
        self.answered = outputs["squeue"] is not None
        if not self.answered:
            self.problem = "squeue did not answer: the states come from the files"
        for line in outputs["squeue"] or ():
            raw, array, index, state, reason, name = (line.split("|", 5) + [""] * 6)[:6]
            seen = Seen(state, "" if reason == "None" else reason)
            job_id, place = (f"{array}_{index}", index) if index.isdecimal() else (raw, "0")
            self.by_id[job_id] = (seen, name)
            # the raw id of one element is the id of the whole array, which belongs to no run
            if raw != array:
                self.by_id[raw] = (seen, name)
            self.by_token[name.rpartition(".")[2], place] = job_id

    def seen(self, record: Record) -> Seen | None:
        """Return the state from squeue, else from sacct; None if neither answered."""
        if not self.answered:
            return None
        job_id = self.id_of(record)
        if job_id in self.by_id:
            return self.by_id[job_id][0]
        if record.job and (record.running or record.waiting):
            return self._account().get(record.job, ABSENT)
        return ABSENT

    def found(self, record: Record) -> str:
        """Return the job of a submission whose id was not recorded."""
        return self.by_token.get((record.token, record.index or "0"), "")

    def id_of(self, record: Record) -> str:
        """Return the id under which squeue lists the job of this record, else the id from sbatch.

        It is "" if squeue lists a job of another submission under that id.
        """
        if self._is_listed(record):
            return record.job
        return self.found(record) or ("" if record.submitted_job in self.by_id else
                                      record.submitted_job)  # fmt: skip

    def _is_listed(self, record: Record) -> bool:
        """Return whether the recorded id is of this run: ids are reused and may be process ids."""
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
            for line in self.job.interface.call(launch.account) or ():
                raw, job_id, state = [*line.split("|"), "", "", ""][:3]
                seen = Seen(state.split(" ")[0], "")  # "CANCELLED by 1000"
                self._accounts[job_id] = seen
                if raw != job_id.split("_")[0]:
                    self._accounts[raw] = seen
        return self._accounts
