"""Optimisers, and the learning rate and weight decay of each parameter.

Weight decay applies to matrices and kernels only. Biases and norms do not overfit, and shrinking
them would change the scale of a layer. Embeddings of symbols are not decayed either: decay would
pull a rare symbol (and the mask) to zero at each step in which it does not occur.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from seqmodel.errors import HparamError
from seqmodel.hparam.target import resolve_target
from seqmodel.model.encoder import LetterEmbedding

if TYPE_CHECKING:
    from seqmodel.hparam.hparams import Hparams
    from seqmodel.model.encoder import Encoder

Groups = list[dict[str, Any]]


def build_optimiser(module: nn.Module, hparams: Hparams, *, fused: bool = True) -> Optimizer:
    """Build the optimiser that `hparams` describes for the trainable parameters of `module`.

    Args:
        module: A task, or any module whose `encoder` is an Encoder.
        hparams: Values of a subclass of OptimiserHparams.
        fused: Whether to update all parameters in one kernel, if the optimiser supports it.

    Raises:
        HparamError: No trainable parameter is left.
    """
    return resolve_target(hparams.target)(parameter_groups(module, hparams), hparams, fused)


def parameter_groups(module: nn.Module, hparams: Hparams) -> Groups:
    """Group parameters by depth and weight decay; each group has its `lr` and `weight_decay`."""
    if hparams.lr_layer_decay != 1:
        _encoder(module).require_blocks(f"--lr_layer_decay={hparams.lr_layer_decay}")
    undecayed = _undecayed(module)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            key = (_lr_prop(module, name, hparams.lr_layer_decay), name not in undecayed)
            groups.setdefault(key, []).append(parameter)
    if not groups:
        raise HparamError(
            "no trainable parameters are left; lower --freeze_layers, or use a decoder with weights"
        )
    return [
        {
            "params": parameters,
            "lr": hparams.lr * lr_prop,
            "weight_decay": hparams.weight_decay if decays else 0.0,
        }
        for (lr_prop, decays), parameters in groups.items()
    ]


def adamw(groups: Groups, hparams: Hparams, fused: bool) -> Optimizer:
    """Build AdamW, fused if all parameters are on a device with that kernel."""
    devices = {p.device.type for group in groups for p in group["params"]}
    return torch.optim.AdamW(
        groups,
        betas=(hparams.beta1, hparams.beta2),
        eps=hparams.adam_eps,
        fused=(fused and devices <= {"cpu", "cuda"}) or None,
    )


def sgd(groups: Groups, hparams: Hparams, fused: bool) -> Optimizer:
    """Build stochastic gradient descent with momentum."""
    return torch.optim.SGD(
        groups, lr=hparams.lr, momentum=hparams.momentum, nesterov=hparams.nesterov
    )


def adafactor(groups: Groups, hparams: Hparams, fused: bool) -> Optimizer:
    """Build PyTorch's Adafactor; the size of a step is relative to the scale of the parameter."""
    return torch.optim.Adafactor(groups, lr=hparams.lr)


def _undecayed(module: nn.Module) -> set[str]:
    names = {name for name, parameter in module.named_parameters() if parameter.ndim < 2}
    for path, child in module.named_modules():
        if isinstance(child, (LetterEmbedding, nn.Embedding)) or getattr(child, "no_decay", False):
            names |= {f"{path}.{name}" for name, _ in child.named_parameters()}
    return names


def _encoder(module: nn.Module) -> Encoder:
    return cast("Encoder", module.encoder)


def _lr_prop(module: nn.Module, name: str, layer_decay: float) -> float:
    owner, _, rest = name.partition(".")
    if owner != "encoder" or layer_decay == 1.0:
        return 1.0
    encoder = _encoder(module)
    return layer_decay ** (encoder.n_blocks + 1 - encoder.depth(rest))
