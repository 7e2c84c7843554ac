import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmodel.dataset.batch.sampler import SMALL, Sampler, balanced_weights, permutation_at
from seqmodel.errors import SamplerError


@pytest.mark.parametrize("n", [1, 2, 3, 100, SMALL, SMALL + 1, 65600, 100003, 2**17, 1000003])
def test_a_permutation_has_every_item_once(n):
    found = permutation_at(np.arange(n), n, 3, 1)
    assert np.array_equal(np.sort(found), np.arange(n))


@pytest.mark.parametrize("n", [50, 200000])
def test_permutations_are_without_pattern(n):
    first = permutation_at(np.arange(n), n, 0, 0)
    for words in ((0, 1), (1, 0)):
        other = permutation_at(np.arange(n), n, *words)
        assert (first == other).mean() < 0.2
        assert abs(np.corrcoef(first, other)[0, 1]) < 5 / n**0.5
    assert abs(np.corrcoef(first, np.arange(n))[0, 1]) < 5 / n**0.5
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 5 / n**0.5


def test_items_meet_every_position_evenly():
    n, n_epochs = (
        70000,
        60,
    )  # above SMALL: chi-square of where 100 items go, in 10 bins of the epoch
    where = np.stack([permutation_at(np.arange(100) * 700, n, 7, e) for e in range(n_epochs)])
    counts = np.bincount((where.ravel() * 10) // n, minlength=10)
    expected = 100 * n_epochs / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # p = 0.001 at 9 degrees of freedom


def test_a_small_order_is_a_fair_shuffle():
    found = {tuple(permutation_at(np.arange(3), 3, 0, e).tolist()) for e in range(100)}
    assert len(found) == 6


def ranks_of(n, batch_size, world_size, *, train, epoch=0, seed=0):
    ranks = [
        Sampler(n, batch_size, seed=seed, train=train, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    for x in ranks:
        x.set_epoch(epoch)
    return ranks


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 8), st.integers(0, 3))
def test_ranks_train_on_everything_in_equal_counts(n, batch_size, world_size, epoch):
    if n < world_size:
        return
    ranks = ranks_of(n, batch_size, world_size, train=True, epoch=epoch)
    parts = [x.samples(0, x.n_samples) for x in ranks]
    assert len({x.n_samples for x in ranks}) == len({len(x) for x in ranks}) == 1
    index = np.concatenate([x.index for x in parts])
    assert sorted(index.tolist()) == list(range(len(index)))
    assert n <= len(index) < n + world_size
    item = np.concatenate([x.item for x in parts])
    assert set(item.tolist()) == set(range(n))


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 8))
def test_ranks_evaluate_everything_once_in_equal_numbers_of_batches(n, batch_size, world_size):
    if n < world_size:
        return
    ranks = ranks_of(n, batch_size, world_size, train=False)
    item = np.concatenate([x.samples(0, x.n_samples).item for x in ranks])
    assert sorted(item.tolist()) == list(range(n))
    if batch_size > 1:
        assert len({len(x) for x in ranks}) == 1
    for x in ranks:
        sizes = np.diff(x.bounds(np.arange(len(x) + 1)))
        assert sizes.min() >= 1
        assert sizes.max() <= batch_size
        assert sizes.sum() == x.n_samples


@settings(max_examples=40)
@given(
    st.integers(8, 200),
    st.sampled_from([(1, 12), (2, 6), (3, 4), (4, 3), (6, 2)]),
    st.integers(0, 2),
)
def test_global_batches_do_not_depend_on_the_number_of_ranks(n, shape, epoch):
    """With one global batch size, every global batch has the same samples, keys and items."""
    world_size, batch_size = shape

    def batches(world_size, batch_size):
        found = {}
        for x in ranks_of(n, batch_size, world_size, train=True, epoch=epoch, seed=5):
            bounds = x.bounds(np.arange(len(x) + 1)).tolist()
            for b in range(len(x)):
                part = x.samples(bounds[b], bounds[b + 1])
                rows = zip(part.index.tolist(), part.item.tolist(), part.key.tolist(), strict=True)
                found.setdefault(b, []).extend(x for x in rows if x[0] < n)
        return {b: sorted(x) for b, x in found.items()}

    assert batches(world_size, batch_size) == batches(1, 12)


def test_epochs_and_seeds_differ_and_come_again():
    def order(seed, epoch):
        x = Sampler(100, 10, seed=seed)
        x.set_epoch(epoch)
        return x.samples(0, 100)

    for other in (order(0, 1), order(1, 0)):
        assert not np.array_equal(order(0, 0).item, other.item)
        assert not set(order(0, 0).key.tolist()) & set(other.key.tolist())
    assert all(np.array_equal(a, b) for a, b in zip(order(3, 4), order(3, 4), strict=True))


def test_evaluation_knows_no_epochs():
    x = Sampler(10, 3, train=False)
    before = x.samples(0, 10)
    x.set_epoch(5)
    assert all(np.array_equal(a, b) for a, b in zip(before, x.samples(0, 10), strict=True))
    assert before.item.tolist() == list(range(10))


def test_too_many_ranks_are_refused():
    with pytest.raises(SamplerError, match="8 ranks but 5 items: every rank needs at least one"):
        Sampler(5, 2, world_size=8)
    with pytest.raises(SamplerError, match="rank 2 is not one of the 2 ranks"):
        Sampler(5, 2, rank=2, world_size=2)


def test_weights_are_the_frequencies_with_which_items_are_drawn():
    weights = np.array([1.0, 0, 3, 6] * 5000)
    x = Sampler(len(weights), 64, weights=weights)
    drawn = x.samples(0, x.n_samples)
    counts = np.bincount(drawn.item % 4, minlength=4) / len(weights)
    assert np.abs(counts - [0.1, 0, 0.3, 0.6]).max() < 0.01
    parts = [
        Sampler(len(weights), 32, weights=weights, rank=r, world_size=2).samples(0, 10000)
        for r in (0, 1)
    ]
    order = np.argsort(np.concatenate([p.index for p in parts]))
    assert np.array_equal(np.concatenate([p.item for p in parts])[order], drawn.item)
    whole = Sampler(len(weights), 64, weights=weights, train=False)
    assert np.array_equal(whole.samples(0, 20).item, np.arange(20))


def test_balanced_weights_draw_every_class_equally_often():
    classes = np.repeat([0, 1, 2], [9000, 900, 100])
    x = Sampler(10000, 10, weights=balanced_weights(classes))
    counts = np.bincount(classes[x.samples(0, 10000).item])
    assert np.abs(counts / 10000 - 1 / 3).max() < 0.03


@pytest.mark.parametrize("weights", [[1.0, -1], [0.0, 0], [1, float("nan")]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(SamplerError, match="weights of samples must be numbers >= 0"):
        Sampler(2, 1, weights=np.array(weights))
