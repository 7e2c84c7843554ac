"""Record what a run uses if hyperparameters leave a choice or ask for what the host lacks.

The record is `_run.used` in hparams.json; it does not change the name of a run.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import torch

from seqmodel.training.checks import limited
from seqmodel.training.host import precision_of
from seqmodel.training.trainer import monitored

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seqmodel.hparam.resolve import Run
    from seqmodel.training.build import Parts


def used_settings(run: Run, parts: Parts, trainer: Trainer) -> dict[str, Any]:
    """Return {hyperparameter: value that the run uses}; `device` is the name of the hardware."""
    data, v = parts.data, run.values
    device = trainer.strategy.root_device
    found: dict[str, Any] = {
        "accelerator": {"cuda": "gpu"}.get(device.type, device.type),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.machine(),
        "devices": trainer.num_devices,
        "strategy": type(trainer.strategy).__name__,
        "precision": precision_of(trainer),
        "n_threads": torch.get_num_threads(),
        "seq_len": data.readers[data.splits[0]].length,
        "monitor": monitored(run, parts.task)[0] if "valid" in data.splits else None,
    }
    if hasattr(v, "bin_positions"):
        found["bin_positions"] = getattr(parts.task.decoder, "size", v.bin_positions)
    limits = {"train": "limit_train_batches", "valid": "limit_val_batches"}
    for split, name in {**limits, "test": "limit_test_batches"}.items():
        if split in data.splits:
            n_batches = len(data.loader(split, world_size=trainer.world_size))
            found[name] = limited(n_batches, getattr(v, name))
    return found
