"""Fine-tuning of a part of an encoder: frozen blocks and LoRA adapters."""

from __future__ import annotations

from torch import nn

from seqmodel.errors import HparamError
from seqmodel.extras import optional
from seqmodel.model.encoder import Encoder


def freeze(encoder: Encoder, n_layers: int) -> None:
    """Freeze the embedding and the first `n_layers` blocks; 0 freezes nothing.

    Raises:
        HparamError: The encoder has fewer blocks.
    """
    encoder.require_blocks(f"--freeze_layers={n_layers}", n_layers)
    for name, parameter in encoder.named_parameters() if n_layers else ():
        if encoder.depth(name) <= n_layers:
            parameter.requires_grad_(False)


def add_lora(encoder: Encoder, rank: int, alpha: float) -> None:
    """Add low-rank adapters (Hu et al. 2022) to all linear layers and freeze all other weights.

    Raises:
        HparamError: peft is missing, or the encoder has no linear layer.
    """
    peft = optional("peft", "--lora_rank", "lora", HparamError)
    names = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        raise HparamError(
            f"--lora_rank={rank}: {type(encoder).__name__} has no linear layers to adapt; use "
            "--encoder=transformer, hyena, dilated_conv or hf"
        )
    # peft itself freezes all weights outside the adapters
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=names,
        bias="none",
    )
    peft.inject_adapter_in_model(config, encoder)
