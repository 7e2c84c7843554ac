"""The local way of mutagenesis gives what the plain way gives, for all that has a reach."""

import warnings

import numpy as np
import pytest
import torch
from ism_cases import DECODERS, DILATED, ENCODERS, SMALL, TRACKS, network_of, padded
from model_cases import CASES, encoder_of, tokens_of

from seqmodel.hparam.model import ProfileHparams, TransformerHparams
from seqmodel.hparam.task import ClassifyHparams, ProfileTaskHparams
from seqmodel.infer.ism import Scores, has_windows, is_local, mutagenesis
from seqmodel.infer.model import Ensemble


def both_ways(network, ids, pad=None, targets=(0, 1), batch_size=64):
    scores = Scores(network, list(targets))
    return [mutagenesis(scores, ids, pad, batch_size, local=x) for x in (False, True)]


@pytest.mark.parametrize("length", [64, 67])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_local_way_is_the_plain_way(encoder, decoder, length):
    """At both ends too: all positions are there."""
    network = network_of(ENCODERS[encoder], DECODERS[decoder])
    assert has_windows(network, length)
    plain, local = both_ways(network, tokens_of(2, length))
    assert (plain - plain[:, :1, :1]).abs().max() > 1e-3
    torch.testing.assert_close(local, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_so_it_is_with_padding_and_over_both_strands(encoder, average):
    network = network_of(ENCODERS[encoder], None, ClassifyHparams(average_strands=average))
    ids, pad = padded(64)
    plain, local = both_ways(network, ids, pad, batch_size=2)
    torch.testing.assert_close(local, plain, rtol=1e-4, atol=1e-5)
    base = Scores(network, [0, 1])(ids, pad)
    assert torch.equal(plain[1, 61:], base[1].expand(3, 4, 2))  # no letter of padding is replaced


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("encoder", ["dilated_conv", "dilated_conv-rc", "cnn"])
def test_so_it_is_for_profiles(encoder, average):
    decoder = ProfileHparams(bin_positions=4, crop_bins=1)
    hparams = ProfileTaskHparams(average_strands=average)
    network = network_of(ENCODERS[encoder], decoder, hparams, TRACKS)
    plain, local = both_ways(network, tokens_of(2, 64))
    torch.testing.assert_close(local, plain, rtol=1e-4, atol=1e-5)


def test_the_scores_of_mutants_are_those_of_sequences_made_by_hand():
    network = network_of(TransformerHparams(n_layers=1, n_heads=2, **SMALL))
    ids = tokens_of(2, 20)
    found = mutagenesis(Scores(network, [1]), ids, None, 7, local=False)
    assert found.shape == (2, 20, 4, 1)
    for row, position, letter in ((0, 0, 2), (1, 19, 3), (1, 7, int(ids[1, 7]))):
        x = ids[row : row + 1].clone()
        x[0, position] = letter
        expected = network(x)[0, 1].detach()
        torch.testing.assert_close(found[row, position, letter, 0], expected, rtol=1e-5, atol=1e-6)


def test_members_of_an_ensemble_may_have_different_reaches():
    tasks = [network_of(ENCODERS[x]).tasks[0] for x in ("dilated_conv", "cnn")]
    plain, local = both_ways(Ensemble(tasks).eval(), tokens_of(2, 64))
    torch.testing.assert_close(local, plain, rtol=1e-4, atol=1e-5)


def test_a_reach_that_is_too_small_is_noticed():
    network = network_of(DILATED)
    assert is_local(Scores(network, [0]), 64, 16)
    network.tasks[0].encoder.reach = 1
    with pytest.warns(UserWarning, match="beyond the reach that the encoder declares"):
        assert not is_local(Scores(network, [0]), 64, 16)


@pytest.mark.parametrize("case", CASES)
def test_no_output_depends_on_letters_beyond_the_reach(case):
    """And the outermost that it has can change one, so that the reach is not too large."""
    encoder = encoder_of(case).eval()
    if encoder.reach is None:
        assert not case.startswith(("cnn", "dilated", "transformer-window"))
        return
    stride, reach = encoder.stride, encoder.reach
    n = 2 * reach + 4 * stride
    length = n - n % stride + stride
    x = torch.eye(4)[tokens_of(1, length).long()].requires_grad_()
    j = length // stride // 2
    encoder(x)[0, j].square().sum().backward()
    seen = x.grad[0].abs().sum(1).nonzero()[:, 0].numpy()
    first, last = j * stride - reach, (j + 1) * stride - 1 + reach
    assert first <= seen.min()
    assert seen.max() <= last
    if "causal" not in case:
        assert last - seen.max() <= stride
        assert seen.min() - first <= stride


def test_no_window_is_shorter_than_a_short_sequence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = network_of(DILATED)
        assert not is_local(Scores(network, [0]), 20, 16)
        plain = mutagenesis(Scores(network, [0]), tokens_of(1, 20), None, 16, local=False)
    assert np.isfinite(plain.numpy()).all()
