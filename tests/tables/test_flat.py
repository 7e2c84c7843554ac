"""The decoder with a weight a position."""

import pytest
import torch

from seqmodel.errors import HparamError


def decoder(n_positions=5):
    from flat_hparams import FlatHparams
    from flat_model import FlatDecoder

    return FlatDecoder(FlatHparams(n_positions=n_positions), 3, 2)


def test_it_is_one_linear_map_of_all_positions():
    flat, x = decoder(), torch.randn(4, 5, 3)
    weight = flat.head.weight.view(2, 5, 3)
    expected = torch.einsum("tlc,nlc->nt", weight, x) + flat.head.bias
    torch.testing.assert_close(flat(x), expected)


def test_padding_changes_nothing():
    flat, x = decoder(), torch.randn(1, 5, 3)
    pad = torch.tensor([[False, False, False, True, True]])
    other = x.masked_fill(pad[:, :, None], 7.0)
    assert torch.equal(flat(x, pad), flat(other, pad))


def test_another_length_is_told_with_the_right_number():
    with pytest.raises(HparamError, match="set --n_positions=6"):
        decoder()(torch.randn(1, 6, 3))
