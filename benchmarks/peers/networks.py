"""The networks of the peers in plain PyTorch, of the same layers as those of seqmodel."""

import math

import torch
from torch import nn


class Block(nn.Module):
    """x + out(gelu(conv(gelu(norm(x)))))."""

    def __init__(self, n_dims: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(n_dims)
        self.conv = nn.Conv1d(n_dims, n_dims, kernel_size, dilation=dilation, padding="same")
        self.out = nn.Linear(n_dims, n_dims)
        self.gelu = nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block applied to x [N, L, C]."""
        branch = self.conv(self.gelu(self.norm(x)).transpose(1, 2)).transpose(1, 2)
        return x + self.out(self.gelu(branch))


class DilatedConv(nn.Module):
    """Residual dilated convolutions of one-hot rows: [N, L, 4] -> [N, L, n_dims]."""

    def __init__(self, n_dims: int, n_layers: int, kernel_size: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(4, n_dims, 15, padding="same")
        self.blocks = nn.Sequential(*(Block(n_dims, kernel_size, 2**i) for i in range(n_layers)))
        self.norm = nn.LayerNorm(n_dims)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The encoding of each position."""
        return self.norm(self.blocks(self.first(x.transpose(1, 2)).transpose(1, 2)))


class Transformer(nn.Module):
    """PyTorch's transformer with norms first and sine positions: ids [N, L] -> [N, n_classes]."""

    def __init__(self, n_dims: int, n_layers: int, n_heads: int, n_ff: int, n_classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, n_dims)
        self.register_buffer("positions", sine_positions(512, n_dims), persistent=False)
        layer = nn.TransformerEncoderLayer(
            n_dims, n_heads, n_ff, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            layer, n_layers, nn.LayerNorm(n_dims), enable_nested_tensor=False
        )
        self.head = nn.Linear(n_dims, n_classes)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """The logits."""
        x = self.embed(ids) + self.positions[: ids.shape[1]]
        return self.head(self.blocks(x).mean(1))


def sine_positions(length: int, n_dims: int) -> torch.Tensor:
    """Vaswani et al. 2017, [L, n_dims]."""
    rates = torch.exp(torch.arange(0, n_dims, 2) * (-math.log(10000.0) / n_dims))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def load_encoder(encoder: nn.Module, checkpoint: str) -> None:
    """Fills an encoder with the tensors of a checkpoint of seqmodel, which have the same order."""
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    theirs = [x for name, x in saved.items() if name.startswith("encoder.")]
    encoder.load_state_dict(dict(zip(encoder.state_dict(), theirs, strict=True)))


def groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters of AdamW: matrices and kernels decay, biases and norms do not."""
    found = list(model.parameters())
    return [
        {"params": [p for p in found if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in found if p.ndim < 2], "weight_decay": 0.0},
    ]


def n_weights(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
