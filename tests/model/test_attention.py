"""Attention against torch.nn with copied weights, and against formulas written another way."""

import cmath

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seqmodel.hparam.model import TransformerHparams
from seqmodel.model.attention import Rotary, SelfAttention, full_attention, window_attention
from seqmodel.model.transformer import TransformerBlock

N, L, C, H = 3, 17, 24, 4


def copied_attention(causal=False):
    theirs = nn.MultiheadAttention(C, H, batch_first=True)
    ours = SelfAttention(C, H, rotary=False, causal=causal)
    nn.init.normal_(theirs.in_proj_bias)
    ours.qkv.weight.data.copy_(theirs.in_proj_weight)
    ours.qkv.bias.data.copy_(theirs.in_proj_bias)
    ours.out.load_state_dict(theirs.out_proj.state_dict())
    return ours, theirs


def test_attention_is_that_of_torch_with_and_without_padding():
    torch.manual_seed(0)
    ours, theirs = copied_attention()
    x = torch.randn(N, L, C)
    pad = torch.arange(L)[None] >= torch.tensor([[L], [9], [1]])
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])
    expected = theirs(x, x, x, key_padding_mask=pad, need_weights=False)[0]
    torch.testing.assert_close(ours(x, pad)[~pad], expected[~pad])


def test_causal_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = copied_attention(causal=True)
    x = torch.randn(N, L, C)
    future = torch.ones(L, L, dtype=torch.bool).triu(1)
    expected = theirs(x, x, x, attn_mask=future, need_weights=False)[0]
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("padded", [False, True])
def test_block_and_its_gradients_are_those_of_torch(padded):
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(
        C, H, 40, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    hparams = TransformerHparams(n_dims=C, n_heads=H, n_ff=40, rotary=False, dropout=0.0)
    ours = TransformerBlock(hparams)
    pairs = {
        "attention.qkv.weight": theirs.self_attn.in_proj_weight,
        "attention.qkv.bias": theirs.self_attn.in_proj_bias,
        "attention.out.weight": theirs.self_attn.out_proj.weight,
        "attention.out.bias": theirs.self_attn.out_proj.bias,
        "attention_norm.weight": theirs.norm1.weight,
        "attention_norm.bias": theirs.norm1.bias,
        "feed_forward_norm.weight": theirs.norm2.weight,
        "feed_forward_norm.bias": theirs.norm2.bias,
        "feed_forward.hidden.weight": theirs.linear1.weight,
        "feed_forward.hidden.bias": theirs.linear1.bias,
        "feed_forward.out.weight": theirs.linear2.weight,
        "feed_forward.out.bias": theirs.linear2.bias,
    }
    with torch.no_grad():
        for parameter in pairs.values():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    ours.load_state_dict({name: value.detach().clone() for name, value in pairs.items()})
    x = torch.randn(N, L, C)
    pad = torch.arange(L)[None] >= torch.tensor([[L], [9], [5]]) if padded else None
    keep = torch.ones(N, L, dtype=torch.bool) if pad is None else ~pad
    a, b = ours(x, pad)[keep], theirs(x, src_key_padding_mask=pad)[keep]
    torch.testing.assert_close(a, b)
    weight = torch.randn_like(a)
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    mine = dict(ours.named_parameters())
    for name, parameter in pairs.items():
        torch.testing.assert_close(mine[name].grad, parameter.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("base", [10000.0, 100.0])
def test_rotary_turns_each_pair_as_the_formula_says(base):
    n_dims = 6
    x = torch.randn(2, 11, 3, n_dims)
    out = Rotary(n_dims, base)(x)
    for m in range(11):
        for i in range(n_dims // 2):
            turn = cmath.exp(1j * m * base ** (-2 * i / n_dims))
            pair = x[:, m, :, 2 * i].numpy() + 1j * x[:, m, :, 2 * i + 1].numpy()
            expected = pair * turn
            torch.testing.assert_close(
                out[:, m, :, 2 * i].numpy(), expected.real.astype("float32"), rtol=1e-5, atol=1e-5
            )
            torch.testing.assert_close(
                out[:, m, :, 2 * i + 1].numpy(),
                expected.imag.astype("float32"),
                rtol=1e-5,
                atol=1e-5,
            )


def test_rotary_products_depend_on_the_distance_alone():
    rotary = Rotary(8)
    q, k = torch.randn(8), torch.randn(8)
    turned_q = rotary(q.expand(1, 40, 8))[0]
    turned_k = rotary(k.expand(1, 40, 8))[0]
    products = turned_q @ turned_k.T
    for distance in (-7, 0, 3):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert not torch.allclose(products[0, 0], products[0, 3])


def test_rotary_is_the_same_in_other_number_formats():
    x = torch.randn(2, 300, 4, 8)
    exact = Rotary(8)(x)
    torch.testing.assert_close(Rotary(8)(x.double()).float(), exact)
    torch.testing.assert_close(Rotary(8)(x.bfloat16()).float(), exact, atol=0.05, rtol=0.05)


def test_rotary_table_made_while_validating_serves_training():
    rotary, x = Rotary(4), torch.randn(1, 5, 1, 4, requires_grad=True)
    with torch.inference_mode():
        rotary(x)
    rotary(x).sum().backward()
    assert x.grad is not None


@settings(max_examples=60, deadline=None)
@given(
    seq_len=st.integers(1, 40),
    window=st.integers(1, 12),
    causal=st.booleans(),
    length=st.integers(1, 40),
    seed=st.integers(0, 3),
)
def test_window_attention_is_full_attention_under_a_band(seq_len, window, causal, length, seed):
    torch.manual_seed(seed)
    q, k, v = torch.randn(3, 2, 2, seq_len, 4)
    pad = torch.zeros(2, seq_len, dtype=torch.bool)
    pad[1, length:] = True
    at = torch.arange(seq_len)
    band = (at[:, None] - at[None, :]).abs() <= window
    if causal:
        band = band & (at[None, :] <= at[:, None])
    mask = band[None, None] & ~pad[:, None, None, :]
    scores = (q @ k.transpose(-1, -2) / 2.0).masked_fill(~mask, -torch.inf)
    expected = scores.softmax(-1).nan_to_num() @ v
    out = window_attention(q, k, v, window, causal=causal, pad=pad)
    keep = ~pad[:, None, :, None].expand_as(out)
    torch.testing.assert_close(out[keep], expected[keep])
    assert out.isfinite().all()


def test_a_window_as_wide_as_the_sequence_is_full_attention():
    q, k, v = torch.randn(3, 2, 2, 13, 4)
    torch.testing.assert_close(window_attention(q, k, v, 13), full_attention(q, k, v))
