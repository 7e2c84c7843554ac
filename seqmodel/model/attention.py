"""Self-attention with rotary positions, over the whole sequence or a window on both sides.

Part of the transformer encoder. `torch.nn.functional.scaled_dot_product_attention` does the work,
so the probabilities are never stored. They have no dropout, which that kernel does not support.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021, RoFormer, eq. 34): rotate pairs of channels by an angle.

    Channels 2i and 2i + 1 of position m are rotated by m * base ** (-2i / D), so the dot product
    of two rotated vectors depends only on the difference of their positions.
    """

    def __init__(self, n_dims: int, base: float = 10000.0) -> None:
        super().__init__()
        if n_dims % 2:
            raise ValueError(f"rotary positions need an even number of channels, got {n_dims}")
        self.n_dims, self.base = n_dims, base
        self._turn = torch.zeros(0, n_dims // 2, 2)  # [L, D / 2, (cos, sin)]; grows; not saved

    def forward(self, x: Float[Tensor, "N L ... D"]) -> Float[Tensor, "N L ... D"]:
        """Return `x` with the channels of position i (axis 1) rotated by its angles."""
        turn = self._table(x.shape[1], x.device)
        turn = turn.view(turn.shape[0], *[1] * (x.ndim - 3), *turn.shape[1:])
        pairs = x.unflatten(-1, (-1, 2))
        if x.dtype == torch.float32 and not torch.compiler.is_compiling():
            # one complex multiplication: a fifth of the time of the real formula on CPU
            product = torch.view_as_complex(pairs) * torch.view_as_complex(turn)
            return torch.view_as_real(product).flatten(-2)
        (a, b), (cos, sin) = pairs.float().unbind(-1), turn.unbind(-1)
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], -1)
        return turned.flatten(-2).to(x.dtype)

    def _table(self, n: int, device: torch.device) -> Tensor:
        if self._turn.shape[0] < n or self._turn.device != device:
            # training may reuse a table of the validation: it must not be an inference tensor
            with torch.inference_mode(False):
                self._turn = rotary_table(n, self.n_dims, self.base).to(device)
        return self._turn[:n]


def rotary_table(n: int, n_dims: int, base: float) -> Float[Tensor, "L D 2"]:
    """Return cosine and sine of the angle of each position and pair of channels."""
    # float64, then float32: at position 100,000 a float32 angle would be off by 0.004
    i = torch.arange(0, n_dims, 2, dtype=torch.float64)
    angle = torch.arange(n, dtype=torch.float64)[:, None] * base ** (-i / n_dims)
    return torch.stack([angle.cos(), angle.sin()], -1).float()


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection for query, key and value.

    Args:
        n_dims: Number of input and output channels.
        n_heads: Number of heads, a divisor of `n_dims`.
        rotary: Whether to use rotary positions. False means no positions at all.
        rotary_base: Base of the wavelengths of the rotary positions.
        causal: Whether a position attends only to itself and earlier positions.
        window: Number of visible positions on each side. None means all.
    """

    def __init__(
        self,
        n_dims: int,
        n_heads: int,
        *,
        rotary: bool = True,
        rotary_base: float = 10000.0,
        causal: bool = False,
        window: int | None = None,
    ) -> None:
        super().__init__()
        if n_dims % n_heads:
            raise ValueError(f"{n_heads} heads do not divide {n_dims} channels")
        self.n_heads, self.causal, self.window = n_heads, causal, window
        self.qkv = nn.Linear(n_dims, 3 * n_dims)
        self.rotary = Rotary(n_dims // n_heads, rotary_base) if rotary else None
        self.out = nn.Linear(n_dims, n_dims)

    def forward(
        self, x: Float[Tensor, "N L C"], pad: Bool[Tensor, "N L"] | None = None
    ) -> Float[Tensor, "N L C"]:
        """Return the attention output of each position; no position attends to padding."""
        qkv_NL3HD = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))
        # split, not indexed: the gradient is one copy instead of a sum of zero-filled tensors
        qk, v = qkv_NL3HD.split([2, 1], 2)
        if self.rotary is not None:
            qk = self.rotary(qk)
        q, k, v = (t.transpose(1, 2) for t in (*qk.unbind(2), v.squeeze(2)))
        if self.window is not None and self.window + 1 < x.shape[1]:
            gathered = window_attention(q, k, v, self.window, causal=self.causal, pad=pad)
        else:
            gathered = full_attention(q, k, v, causal=self.causal, pad=pad)
        return self.out(gathered.transpose(1, 2).flatten(2))


def full_attention(
    q: Float[Tensor, "N H L D"],
    k: Float[Tensor, "N H L D"],
    v: Float[Tensor, "N H L D"],
    *,
    causal: bool = False,
    pad: Bool[Tensor, "N L"] | None = None,
) -> Float[Tensor, "N H L D"]:
    """Let every position attend to all (or all earlier) positions that are not padding."""
    # padding is at the end, so real positions of a causal model never see it
    if pad is None or causal:
        return scaled_dot_product_attention(q, k, v, is_causal=causal)
    return scaled_dot_product_attention(q, k, v, attn_mask=~pad[:, None, None, :])


def window_attention(
    q: Float[Tensor, "N H L D"],
    k: Float[Tensor, "N H L D"],
    v: Float[Tensor, "N H L D"],
    window: int,
    *,
    causal: bool = False,
    pad: Bool[Tensor, "N L"] | None = None,
) -> Float[Tensor, "N H L D"]:
    """Attend to positions at most `window` away, in time and memory linear in L.

    The sequence is cut into blocks as long as the window. A block attends to itself and its
    neighbours under a band mask (Beltagy et al. 2020, Longformer, sliding windows).
    """
    n, n_heads, seq_len, n_dims = q.shape
    size = max(window, 1)
    n_blocks = -(-seq_len // size)
    side = 1 if causal else 2
    known = q.new_ones(1, seq_len, dtype=torch.bool) if pad is None else ~pad
    q = _blocks(q, size, n_blocks, 0, 0)
    k, v = (_blocks(t, size, n_blocks, 1, side - 1) for t in (k, v))
    known = _blocks(known[:, None, :, None], size, n_blocks, 1, side - 1)[:, 0, :, :, 0]
    mask = _band(size, window, side, causal, q.device)[None, None] & known[:, :, None, :]
    # a row without any key would be NaN in some kernels: let it see itself
    mask = mask | ~mask.any(-1, keepdim=True)
    mask = mask.expand(n, -1, -1, -1).flatten(0, 1)[:, None]
    q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in (q, k, v))
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = out.unflatten(0, (n, n_blocks)).transpose(1, 2).reshape(n, n_heads, -1, n_dims)
    return out[:, :, :seq_len]


def _blocks(x: Tensor, size: int, n_blocks: int, before: int, after: int) -> Tensor:
    """Cut [N, H, L, D] into zero-padded blocks [N, H, B, (before + 1 + after) * size, D]."""
    right = n_blocks * size - x.shape[2] + after * size
    x = nn.functional.pad(x, (0, 0, before * size, right))
    return x.unfold(2, (before + 1 + after) * size, size).transpose(-1, -2)


def _band(size: int, window: int, side: int, causal: bool, device: torch.device) -> Tensor:
    query = torch.arange(size, device=device)[:, None]
    key = torch.arange(-size, size * side, device=device)[None, :]
    band = (query - key).abs() <= window
    return band & (key <= query) if causal else band
