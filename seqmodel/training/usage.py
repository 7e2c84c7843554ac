"""Write usage.json, the memory and time used by a run so far, after each epoch and at the end."""

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
_UNIT = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss: bytes on macOS, KiB elsewhere


class Usage(Callback):
    """Keep `usage.json` in the run folder up to date."""

    def __init__(self, folder: Path, lock: FolderLock) -> None:
        self.path, self.lock = folder / USAGE, lock

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the usage up to this epoch."""
        self.write(trainer, module, ended=False)

    @rank_zero_only
    def on_exception(
        self, trainer: Trainer, module: LightningModule, exception: BaseException
    ) -> None:
        """Write the usage up to the exception."""
        self.write(trainer, module, ended=False)

    @rank_zero_only
    def write(self, trainer: Trainer, module: LightningModule, *, ended: bool) -> None:
        """Write the file; `ended` is true if the run is complete.

        A job compares `step` between attempts to see whether they make progress.
        """
        if not self.lock.is_own():
            return  # another process owns the file now; the next checkpoint ends this process
        values = {"schema": SCHEMA, **used(), "n_weights": _n_weights(module), "ended": ended}
        values["step"] = trainer.global_step
        write_file(self.path, json.dumps(values) + "\n", RunError)


def used() -> dict[str, Any]:
    """Return the peak memory in bytes and the wall and CPU seconds, including child processes."""
    own, others = (resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    return {
        "peak_rss_bytes": max(_peak_of_this(own), _UNIT * others.ru_maxrss),
        "peak_gpu_bytes": gpu,
        "wall_s": round(time.monotonic() - _START, 3),
        "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in (own, others)), 3),
    }


def _peak_of_this(own: resource.struct_rusage) -> int:
    """Return this process's peak memory; ru_maxrss of Linux includes the parent's at the fork."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass  # only Linux has this file
    return _UNIT * own.ru_maxrss


def _n_weights(module: LightningModule) -> int:
    return sum(p.numel() for p in module.parameters())
