"""Fully sharded data parallelism (`--strategy=fsdp`) with PyTorch's `fully_shard`.

Each rank keeps a part of every weight, gradient and optimiser state, and gathers the weights of a
block when it computes the block. Lightning's own FSDPStrategy is not used: it refuses CPUs, cannot
clip gradients by their norm, and reads checkpoints with an unrestricted unpickler. A checkpoint is
that of a run without sharding, so every verb reads it, and a run can resume with another strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric.utilities.optimizer import _optimizers_to_device
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from seqmodel.errors import HparamError

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from seqmodel.hparam.resolve import Run

STEPS = ("training_step", "validation_step", "test_step")


class ShardedStrategy(DDPStrategy):
    """Processes as for ddp, but each block of the encoder and the rest of the task are sharded."""

    strategy_name = "fsdp"

    def setup(self, trainer: Trainer) -> None:
        """Shard the task before its optimiser is built; an evaluation alone needs no shards."""
        assert self.accelerator is not None
        assert self.model is not None
        fitting = trainer.state.fn == TrainerFn.FITTING
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        if not isinstance(self.model, FSDPModule):
            _as_on_first_rank(self.model)
            if fitting:
                _shard(self.model)
        if fitting:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()
        if fitting:
            _optimizers_to_device(self.optimizers, self.root_device)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Compute a loss with the buffers of the first rank, as DDP does."""
        self._share_buffers()
        return super().training_step(*args, **kwargs)

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate a batch with the buffers of the first rank."""
        self._share_buffers()
        return super().validation_step(*args, **kwargs)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return whole weights; all ranks must call this together."""
        return tree_map(_whole, super().lightning_module_state_dict())

    def optimizer_state(self, optimizer: Optimizer | LightningOptimizer) -> dict[str, Any]:
        """Return the whole state of an optimiser; all ranks must call this together."""
        inner = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return tree_map(_whole, inner.state_dict())

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Restore the shards of this rank from whole states."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state = {
                i: {name: _shard_of(x, parameters[i]) for name, x in values.items()}
                for i, values in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})

    def teardown(self) -> None:
        """End without moving the shards to the CPU: the same task is tested after training."""
        assert self.accelerator is not None
        assert self.cluster_environment is not None
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.cluster_environment.teardown()
        self.checkpoint_io.teardown()

    def _share_buffers(self) -> None:
        assert self.model is not None
        for x in self.model.buffers():
            torch.distributed.broadcast(x, 0)


def check_sharded(run: Run) -> None:
    """Check that a run with --strategy=fsdp uses nothing that needs whole weights.

    Raises:
        HparamError: A setting does not work with shards.
    """
    v = run.values
    if v.mode != "train":
        return
    settings = {
        "compile": v.compile,
        "ema_decay": v.ema_decay,
        "swa_start_prop": v.swa_start_prop is not None,
        "optimiser=adafactor": v.optimiser == "adafactor",
    }
    used = [f"--{name}" for name, is_set in settings.items() if is_set]
    if used:
        raise HparamError(
            f"--strategy=fsdp shards every weight, and {used[0]} needs whole weights; leave it "
            "out, or set --strategy=ddp"
        )


def as_shards(module: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `weights` sharded like the weights of `module`; unchanged if it is not sharded."""
    own = module.state_dict()
    return {name: _shard_of(x, own.get(name)) for name, x in weights.items()}


def _shard(task: nn.Module) -> None:
    for block in getattr(task.encoder, "blocks", ()):
        fully_shard(block)
    fully_shard(task)
    for name in STEPS:
        register_fsdp_forward_method(task, name)


def _as_on_first_rank(module: nn.Module) -> None:
    for x in (*module.parameters(), *module.buffers()):
        torch.distributed.broadcast(x.detach(), 0)


def _whole(x: Any) -> Any:
    return x.full_tensor() if isinstance(x, DTensor) else x


def _shard_of(x: Any, like: Any) -> Any:
    """Return the shard of a whole tensor of the shape of `like`; other values are unchanged."""
    if isinstance(like, DTensor) and isinstance(x, Tensor) and x.shape == like.shape:
        return distribute_tensor(x.to(like.device), like.device_mesh, like.placements)
    return x
