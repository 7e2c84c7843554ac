"""Check, before the data are read, that this host supports the settings.

Lightning itself rejects most unsupported settings, but only when it creates the Trainer, after the
run folder. Therefore a Trainer without callbacks and loggers is created first.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from importlib.util import find_spec
from typing import Any

import torch
from lightning_fabric.plugins.environments import (
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from pytorch_lightning import Trainer
from pytorch_lightning.strategies import Strategy

from seqmodel.errors import HparamError, RunError
from seqmodel.extras import missing
from seqmodel.hparam.resolve import Run
from seqmodel.training.threads import n_bound

PER_CPU = 16
"""Most processes or threads per CPU; more of them would only wait for each other."""


def check_host(run: Run) -> None:
    """Check that this host has the devices, processes, loggers and precision of a run.

    Raises:
        HparamError: This host does not support a setting.
        RunError: The package of a logger is missing.
    """
    v = run.values
    _check_accelerator(v.accelerator, v.devices)
    for name in ("devices", "n_workers", "n_threads"):
        check_number(name, getattr(v, name))
    _check_nodes(v.num_nodes)
    if v.strategy == "fsdp":
        from seqmodel.training.sharded import check_sharded

        check_sharded(run)
    if not v.fast_dev_run:
        for name in v.logger:
            _check_logger(name)
    if v.compile and not _can_compile(v.accelerator):
        raise HparamError(
            "--compile=True needs a C++ compiler, and there is no g++ or clang++ on this host; "
            "install one, or set --compile=False"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the Trainer of the run warns
        try:
            bare = bare_trainer(run, logger=False, enable_checkpointing=False)
        except Exception as e:
            raise HparamError(f"Lightning refuses this run: {_one_line(e)}") from e
    if precision_of(bare) != v.precision:
        warnings.warn(
            f"--precision={v.precision} is not possible on this device; the run uses "
            f"{precision_of(bare)}",
            stacklevel=2,
        )


def precision_of(trainer: Trainer) -> str:
    """Return the precision of a Trainer as a value of --precision."""
    return str(trainer.precision).removesuffix("-true")


def bare_trainer(run: Run, **more: Any) -> Trainer:
    """Return a Trainer with `more` and the settings of `run` that need no folder and no data."""
    for name in ("pytorch_lightning", "lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    v = run.values
    return Trainer(
        accelerator=v.accelerator,
        devices=v.devices,
        num_nodes=v.num_nodes,
        strategy=_sharded() if v.strategy == "fsdp" else v.strategy,
        precision=v.precision,
        max_epochs=v.max_epochs,
        max_steps=v.max_steps,
        max_time=v.max_time,
        accumulate_grad_batches=v.accumulate_grad_batches,
        gradient_clip_val=v.gradient_clip_val or None,
        fast_dev_run=v.fast_dev_run,
        limit_train_batches=v.limit_train_batches,
        limit_test_batches=v.limit_test_batches,
        # a number of batches counts across epochs; a proportion applies to each n-th epoch
        check_val_every_n_epoch=(
            None if isinstance(v.val_check_interval, int) else v.check_val_every_n_epoch
        ),
        val_check_interval=v.val_check_interval,
        num_sanity_val_steps=v.num_sanity_val_steps,
        log_every_n_steps=v.log_every_n_steps,
        deterministic=v.deterministic or None,
        detect_anomaly=v.detect_anomaly,
        use_distributed_sampler=False,
        enable_model_summary=False,
        **more,
    )


def _sharded() -> Strategy:
    from seqmodel.training.sharded import ShardedStrategy  # only this strategy needs it

    return ShardedStrategy()


def _check_accelerator(accelerator: str, n_devices: int) -> None:
    n_gpus, has_mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    if accelerator == "gpu" and not (n_gpus or has_mps):
        why = "torch finds no GPU"
        if not torch.backends.cuda.is_built():
            why = f"torch {torch.__version__} is built without CUDA"
        raise HparamError(
            f"--accelerator=gpu: {why} on this host; set --accelerator=cpu or auto, or run it "
            "where there is a GPU"
        )
    if accelerator == "mps" and not has_mps:
        raise HparamError(
            "--accelerator=mps: torch finds no Apple GPU on this host; set --accelerator=cpu or "
            "auto"
        )
    if accelerator == "cpu" or not (n_gpus or has_mps):
        return
    n_there = 1 if has_mps and not n_gpus else n_gpus
    if n_devices > n_there:
        raise HparamError(
            f"--devices={n_devices}: this host has {n_there} GPU{'s' * (n_there > 1)}; set "
            f"--devices={n_there} or less"
        )


def check_number(name: str, value: int | None) -> None:
    """Check that a number of processes or threads does not exceed what the CPUs can run.

    Raises:
        HparamError: There are more than PER_CPU per CPU of this process.
    """
    n_cpus = n_bound()
    most = PER_CPU * n_cpus
    if value and value > most:
        raise HparamError(
            f"--{name}={value}: this process has {n_cpus} CPU{'s' * (n_cpus != 1)}, and more "
            f"than {PER_CPU} for each would only wait; set --{name}={most} or less"
        )


def _check_nodes(num_nodes: int) -> None:
    """Check that a launcher starts the processes on the other nodes."""
    launchers = (SLURMEnvironment, TorchElasticEnvironment, LSFEnvironment, MPIEnvironment)
    if num_nodes > 1 and "MASTER_ADDR" not in os.environ and not any(
        x.detect() for x in launchers
    ):  # fmt: skip
        raise HparamError(
            f"--num_nodes={num_nodes}: the run would wait for processes on other nodes, and "
            "nothing starts them; start it with srun or torchrun, or set --num_nodes=1"
        )


def _check_logger(name: str) -> None:
    modules = {
        "tensorboard": ("tensorboard", "tensorboardX"),
        "mlflow": ("mlflow", "mlflow_skinny"),
    }
    if not any(find_spec(x) for x in modules.get(name, (name,))):
        raise RunError(missing(f"--logger={name}", name, name))


def _can_compile(accelerator: str) -> bool:
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    compilers = [os.environ.get("CXX") or "g++", "clang++", "c++"]
    return on_gpu or any(shutil.which(x) for x in compilers)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
