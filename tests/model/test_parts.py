"""Parts of the encoders and decoders against formulas written another way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from seqmodel.errors import HparamError
from seqmodel.hparam.model import BinnedHparams, PooledHparams, ProfileHparams
from seqmodel.model.cnn import PaddedBatchNorm, PaddedMaxPool
from seqmodel.model.conv import SameConv
from seqmodel.model.decoder import BinnedDecoder, PooledDecoder, ProfileDecoder
from seqmodel.model.hyena import HyenaFilter, fast_length, long_conv


@settings(max_examples=40, deadline=None)
@given(seq_len=st.integers(1, 30), both=st.booleans(), seed=st.integers(0, 100))
def test_long_convolution_is_the_sum_that_defines_it(seq_len, both, seed):
    torch.manual_seed(seed)
    x, after, before = torch.randn(3, 2, seq_len, 3)
    after, before = after[0], before[0] if both else None
    expected = torch.zeros_like(x)
    for i in range(seq_len):
        for j in range(seq_len):
            if j <= i:
                expected[:, i] += after[i - j] * x[:, j]
            elif both:
                expected[:, i] += before[j - i] * x[:, j]
    torch.testing.assert_close(long_conv(x, after, before), expected, rtol=1e-4, atol=1e-4)


@given(n=st.integers(1, 300_000))
def test_fast_lengths_are_long_enough_and_smooth(n):
    length = fast_length(n)
    assert n <= length < 1.34 * n + 1
    for factor in (2, 3, 5):
        while length % factor == 0:
            length //= factor
    assert length == 1


def test_a_hyena_filter_does_not_depend_on_the_length_and_keeps_the_scale():
    torch.manual_seed(0)
    long_filter = HyenaFilter(64, 500)
    torch.testing.assert_close(long_filter(2000)[:100], long_filter(100))
    nn.init.zeros_(long_filter.last.weight)
    at = torch.arange(4000)[:, None]
    scale = (1 - torch.exp(-2 * long_filter.rate)).sqrt()
    decay = torch.exp(-at * long_filter.rate) * scale
    torch.testing.assert_close(decay.square().sum(0), torch.ones(64))
    falls_to = decay[500, -1] / decay[0, -1]
    torch.testing.assert_close(falls_to, torch.tensor(0.01))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dilation", [1, 3])
def test_convolution_is_the_sum_that_defines_it(causal, dilation):
    torch.manual_seed(0)
    conv = SameConv(3, 4, 5, dilation=dilation, causal=causal)
    x = torch.randn(2, 20, 3)
    out = conv(x)
    for i in (0, 7, 19):
        expected = conv.bias.expand(2, 4).clone()
        for k in range(5):
            j = i + (k - (4 if causal else 2)) * dilation
            if 0 <= j < 20:
                expected += x[:, j] @ conv.weight[:, :, k].T
        torch.testing.assert_close(out[:, i], expected)


def test_statistics_of_a_padded_batch_are_those_of_its_letters():
    x = torch.randn(3, 10, 4) * 3 + 1
    pad = torch.arange(10)[None] >= torch.tensor([[10], [6], [1]])
    padded, plain = PaddedBatchNorm(4).train(), nn.BatchNorm1d(4).train()
    other = torch.where(pad[:, :, None], 100.0, x)
    expected = plain(x[~pad])
    torch.testing.assert_close(padded(other, pad)[~pad], expected)
    torch.testing.assert_close(padded.running_var, plain.running_var)
    torch.testing.assert_close(padded.eval()(x, pad)[~pad], plain.eval()(x[~pad]))


def test_pooling_ignores_padding_and_keeps_a_short_last_bin():
    x = torch.arange(7.0).view(1, 7, 1) - 10
    pad = torch.arange(7)[None] >= 4
    assert PaddedMaxPool(3)(x).flatten().tolist() == [-8.0, -5.0, -4.0]
    assert PaddedMaxPool(3)(x, pad).flatten().tolist() == [-8.0, -7.0, 0.0]


@pytest.mark.parametrize("pool", ["mean", "max", "attention", "first"])
@pytest.mark.parametrize("padded", [False, True])
def test_pooled_is_the_formula_over_the_letters(pool, padded):
    torch.manual_seed(0)
    decoder = PooledDecoder(PooledHparams(pool=pool), 5, 2)
    x, length = torch.randn(3, 8, 5), [8, 5, 1] if padded else [8, 8, 8]
    pad = torch.arange(8)[None] >= torch.tensor(length)[:, None] if padded else None
    for row, n in enumerate(length):
        letters = x[row, :n]
        if pool == "mean":
            expected = letters.mean(0)
        elif pool == "max":
            expected = letters.max(0).values
        elif pool == "first":
            expected = letters[0]
        else:
            scores = letters @ decoder.score.weight[0] + decoder.score.bias
            expected = (scores.exp() / scores.exp().sum()) @ letters
        torch.testing.assert_close(decoder.pooled(x, pad)[row], expected)
        torch.testing.assert_close(decoder(x, pad)[row], decoder.head(expected))


def test_a_hidden_layer_and_dropout_of_the_decoder():
    hparams = PooledHparams(n_decoder_dims=7, decoder_dropout=0.5)
    head = PooledDecoder(hparams, 5, 2).head
    assert [type(layer) for layer in head] == [nn.Dropout, nn.Linear, nn.GELU, nn.Linear]
    assert (head[0].p, head[1].out_features) == (0.5, 7)


def test_profile_bins_are_means_of_positions_without_the_ends():
    decoder = ProfileDecoder(ProfileHparams(bin_positions=4, crop_bins=2), 3, 2)
    x = torch.randn(2, 32, 3)
    out = decoder(x)
    assert out.shape == (2, 4, 2)
    torch.testing.assert_close(out[:, 1], decoder.head(x[:, 12:16].mean(1)))
    pad = torch.arange(32)[None] >= torch.tensor([[32], [18]])
    assert decoder.out_pad(pad).tolist() == [[False] * 4, [False, False, True, True]]


@pytest.mark.parametrize("seq_len", [30, 16])
def test_profile_bins_that_do_not_fit_are_refused(seq_len):
    decoder = ProfileDecoder(ProfileHparams(bin_positions=4, crop_bins=2), 3, 2)
    with pytest.raises(HparamError, match=f"{seq_len} positions of the encoder"):
        decoder(torch.randn(2, seq_len, 3))


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("padded", [False, True])
def test_bins_are_the_formula_over_their_letters(pool, padded):
    decoder = BinnedDecoder(BinnedHparams(n_bins=3, bin_pool=pool), 5, 2)
    x = torch.randn(2, 11, 5)
    pad = torch.arange(11) >= torch.tensor([[9], [3]]) if padded else None
    bins = decoder.binned(x, pad)
    assert decoder(x, pad).shape == (2, 2)
    for row in range(2):
        n = 11 if pad is None else int((~pad[row]).sum())
        for i in range(3):
            # bin i of b over L positions: from floor(i L / b) to ceil((i + 1) L / b)
            part = x[row, 11 * i // 3 : min(-(-11 * (i + 1) // 3), n)]
            empty = len(part) == 0
            expected = part.mean(0) if pool == "mean" else part.amax(0) if not empty else None
            expected = torch.zeros(5) if empty else expected
            torch.testing.assert_close(bins[row, :, i], expected)


def test_as_many_bins_as_positions_keep_each_position():
    decoder = BinnedDecoder(BinnedHparams(n_bins=7), 5, 2)
    x = torch.randn(2, 7, 5)
    torch.testing.assert_close(decoder.binned(x), x.mT)
    with pytest.raises(HparamError, match="--n_bins=7, but the encoder returns 6 positions"):
        decoder(x[:, :6])
