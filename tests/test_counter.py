"""Random bits are the same in NumPy and torch, today and tomorrow, and evenly spread."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from seqmodel import rng as counter

words = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(words, min_size=1, max_size=4), st.lists(words, min_size=1, max_size=5))
def test_numpy_and_torch_give_the_same_bits(head, column):
    ours = counter.hash64(*head, np.array(column))
    theirs = counter.torch_hash64(*head, torch.tensor(column))
    assert (ours.view(np.int64) == theirs.numpy()).all()


def test_bits_are_these_literals():
    """Resumed runs depend on them: a change needs a step of VERSION."""
    assert counter.hash64(0).item() == splitmix(0)
    assert counter.hash64(1, 2, 3).item() == 16914669369030367833
    assert counter.hash64(-1).item() == 15999695513772384452


def splitmix(word):
    """One output of SplitMix64 as in its paper, in Python's own integers."""
    z = (0x9E3779B97F4A7C15 ^ word) & (2**64 - 1)
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return z ^ (z >> 31)


def test_an_entry_depends_on_its_own_words_alone():
    key = torch.tensor([5, -7, 5])
    short, long = counter.torch_uniform(key, 10), counter.torch_uniform(key, 1000)
    assert torch.equal(short, long[:, :10])
    assert torch.equal(long[0], long[2])
    assert not torch.equal(long[0], long[1])
    assert not torch.equal(long, counter.torch_uniform(key, 1000, stream=1))


def test_numbers_are_uniform():
    numbers = counter.uniform(counter.hash64(3, np.arange(200_000)))
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    floats = counter.torch_uniform(torch.arange(400), 500).flatten()
    assert stats.kstest(floats.numpy(), "uniform").pvalue > 1e-3
    assert floats.min() >= 0
    assert floats.max() < 1


@given(st.integers(1, 2**32), words)
def test_below_stays_below(n, word):
    assert 0 <= counter.below(counter.hash64(word), n) < n


def test_below_reaches_every_value_equally():
    counts = np.bincount(counter.below(counter.hash64(np.arange(70_000)), 7), minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-3


@given(st.floats(0, 1), st.integers(0, 2**64 - 1))
def test_chance_is_the_comparison_of_uniform_numbers(prob, word):
    bits = np.array([word, (int(prob * 2**53) << 11) & (2**64 - 1)], dtype=np.uint64)
    np.testing.assert_array_equal(counter.chance(bits, prob), counter.uniform(bits) < prob)
