"""usage.json: what a run took so far, in memory and time; written at each epoch and at the end."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from seqmodel.errors import RunError
from seqmodel.files import write_file
from seqmodel.record.lock import FolderLock

SCHEMA = 1
USAGE = "usage.json"
_START = time.monotonic()
_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes there, KiB elsewhere


class Usage(Callback):
    """Keeps `usage.json` in the run folder up to date."""

    def __init__(self, folder: Path, lock: FolderLock) -> None:
        self.path, self.lock = folder / USAGE, lock

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Writes what was used until now."""
        self.write(trainer, module, ended=False)

    @rank_zero_only
    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
        """Writes what was used when it broke off."""
        self.write(trainer, module, ended=False)

    @rank_zero_only
    def write(self, trainer: Trainer, module: LightningModule, *, ended: bool) -> None:
        """Writes the file; `ended` says that nothing of the run is left to be done.

        By `step` a job sees whether its attempts make progress.
        """
        if not self.lock.is_own():
            return  # the file is another process's now; the next checkpoint ends this one
        values = {"schema": SCHEMA, **used(), "n_weights": _n_weights(module), "ended": ended}
        values["step"] = trainer.global_step
        write_file(self.path, json.dumps(values) + "\n", RunError)


def used() -> dict[str, Any]:
    """Peak memory in bytes, and seconds of wall clock and of CPU, of this process and its own."""
    own, others = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    return {
        "peak_rss_bytes": max(_peak_of_this(own), _UNIT * others.ru_maxrss),
        "peak_gpu_bytes": gpu,
        "wall_s": round(time.monotonic() - _START, 3),
        "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in (own, others)), 3),
    }


def _peak_of_this(own: resource.struct_rusage) -> int:
    """Peak memory of this process; Linux's ru_maxrss counts what its parent had when it forked."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass  # elsewhere than on Linux there is no such file
    return _UNIT * own.ru_maxrss


def _n_weights(module: LightningModule) -> int:
    return sum(p.numel() for p in module.parameters())
