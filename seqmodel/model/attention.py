"""Self-attention with rotary positions: the whole sequence, or a window on both sides.

Part of the transformer encoder. `torch.nn.functional.scaled_dot_product_attention` does the work,
so the probabilities are never stored; there is no dropout on them (it would cost that kernel).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Rotary(nn.Module):
    """Rotary positions (Su et al. 2021, RoFormer, eq. 34): turns pairs of channels by an angle.

    Channels 2i and 2i + 1 of position m are turned by m * base ** (-2i / D), so a dot product of
    two turned vectors depends on the difference of their positions only.
    """

    def __init__(self, n_dims: int, base: float = 10000.0) -> None:
        super().__init__()
        if n_dims % 2:
            raise ValueError(f"rotary positions turn pairs of channels, got a head of {n_dims}")
        self.n_dims, self.base = n_dims, base
        self._turn = torch.zeros(0, n_dims // 2, 2)  # [L, D / 2, (cos, sin)]; grows; not saved

    def forward(self, x: Float[Tensor, "N L ... D"]) -> Float[Tensor, "N L ... D"]:
        """`x` with the channels of position i (axis 1) turned by its angles."""
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
            # a table made while validating must serve training too: no inference tensor
            with torch.inference_mode(False):
                self._turn = rotary_table(n, self.n_dims, self.base).to(device)
        return self._turn[:n]


def rotary_table(n: int, n_dims: int, base: float) -> Float[Tensor, "L D 2"]:
    """Cosine and sine of the angle of each position and pair of channels."""
    # float64, then float32: at position 100,000 a float32 angle would be off by 0.004
    i = torch.arange(0, n_dims, 2, dtype=torch.float64)
    angle = torch.arange(n, dtype=torch.float64)[:, None] * base ** (-i / n_dims)
    return torch.stack([angle.cos(), angle.sin()], -1).float()


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection for query, key and value.

    Args:
        n_dims: channels in and out.
        n_heads: heads; divides `n_dims`.
        rotary: rotary positions (False: no positions at all).
        rotary_base: base of their wavelengths.
        causal: whether a position attends to itself and earlier ones only.
        window: positions on each side that are attended to; None for all.
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
        """What each position gathers; padded positions are attended to by none."""
        qkv_NL3HD = self.qkv(x).unflatten(-1, (3, self.n_heads, -1))
        # split, not indexed: its gradient is one copy, not zeros that are filled and added up
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
    """Attention of every position to all (or all earlier) ones that are not padding."""
    # padding is at the end: a causal model does not see it from where it matters
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
    """Attention to positions at most `window` away, in time and memory linear in L.

    The sequence is cut in blocks as long as the window; a block attends to itself and its
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
    """[N, H, L, D] in overlapping blocks [N, H, B, (before + 1 + after) * size, D], zero-padded."""
    right = n_blocks * size - x.shape[2] + after * size
    x = nn.functional.pad(x, (0, 0, before * size, right))
    return x.unfold(2, (before + 1 + after) * size, size).transpose(-1, -2)


def _band(size: int, window: int, side: int, causal: bool, device: torch.device) -> Tensor:
    query = torch.arange(size, device=device)[:, None]
    key = torch.arange(-size, size * side, device=device)[None, :]
    band = (query - key).abs() <= window
    return band & (key <= query) if causal else band
