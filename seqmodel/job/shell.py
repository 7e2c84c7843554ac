"""ShellJob: jobs of a host without a scheduler, up to N at once; they survive the notebook."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from seqmodel.errors import JobError
from seqmodel.files import read_bytes
from seqmodel.hparam.job import ShellHparams
from seqmodel.job import launch, worker
from seqmodel.job.agent import KEPT
from seqmodel.job.events import Record
from seqmodel.job.job import Job
from seqmodel.job.replicate import Place, Replicate
from seqmodel.job.state import CLAIM_S, Seen, Status
from seqmodel.job.status_table import Scheduler


class ShellJob(Job):
    """Jobs as detached processes of this host, or of a host behind SSH.

    Up to `n_at_once` jobs run at the same time. Each host and job_out_dir has its own queue.
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
        tokens = [os.urandom(6).hex() for _ in replicates]
        entries = []
        claimed = claims(replicates, submissions, tokens)
        for replicate, (_, k, token, i) in zip(replicates, claimed, strict=True):
            # first come, first served, also within one second
            name = f"{time.time_ns():020}-{i:06}-{token}"
            script = f"{replicate.path}/{replicate.script_name}"
            entries.append((name, [script, str(k), token]))
        settings = self._settings({})
        if not self.interface.is_local:
            program = read_bytes(worker.__file__, JobError)
            files = {**files, f"{KEPT}/code/worker.py": program}
        self.interface.call(
            launch.submit_processes,
            timeout=300,
            root=place.root,
            files=dict(files),
            claims=claimed,
            entries=entries,
            limit=settings.n_at_once or 1,
            claim_s=claim_seconds(settings),
            program=self.program(place.root),
        )
        for replicate in replicates:
            replicate.job = "shell"

    def program(self, root: str) -> str:
        """Return the path of worker.py on the host."""
        return worker.__file__ if self.interface.is_local else f"{root}/{KEPT}/code/worker.py"

    def scheduler(self) -> Scheduler:
        """Return the object that knows the processes and the queue."""
        return _Processes(self)

    def _cancel(self, chosen: Sequence[Status], scheduler: Scheduler, why: str) -> dict[str, str]:
        words = [(s.folder, s.record.token, s.record.node if s.alive else "") for s in chosen]
        return self.interface.call(launch.cancel_processes, chosen=words, why=why)


def claim_seconds(settings: Namespace) -> int:
    """Return the age in seconds at which a claim without its event counts as abandoned."""
    return min(settings.grace_s, CLAIM_S)


def claims(
    replicates: Sequence[Replicate], submissions: Sequence[int], tokens: Sequence[str]
) -> list[tuple[str, int, str, int]]:
    """Return the arguments of `launch.claim`: folder, submission, token, position in it."""
    return [
        (replicate.folder, k, token, i)
        for i, (replicate, k, token) in enumerate(zip(replicates, submissions, tokens, strict=True))
    ]


class _Processes(Scheduler):
    """The entries waiting in the queue, and the existing processes."""

    kind = "shell"

    def __init__(self, job: ShellJob) -> None:
        root = job.find_root()
        arguments = {"root": root, "program": job.program(root)}
        self.asked = {"processes": (launch.processes, arguments)}
        self.text, self.node = "", ""

    def begin(self, outputs: Mapping[str, Any]) -> None:
        """Keep the answers."""
        self.node, self.text = outputs["processes"]

    def seen(self, record: Record) -> Seen | None:
        """Return whether the process exists, if it was started on this host."""
        if record.running:
            if record.token in self.text:
                return Seen("RUNNING", "")
            # from another host, or started after the processes were listed
            if record.node != self.node or record.started_at > time.time() - 5:
                return None
            return Seen("GONE", "")
        return Seen("PENDING", "waits its turn") if record.token in self.text else None

    def found(self, record: Record) -> str:
        """Return an entry whose submitter was killed before it recorded the submission."""
        return "shell" if record.token and record.token in self.text else ""
