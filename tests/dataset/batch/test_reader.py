"""What training changes: strand, place, noise, weights; and targets that follow the sequence."""

import numpy as np
import pytest

from seqmodel.dataset.batch.loader import Loader
from seqmodel.dataset.batch.reader import Augment, SequenceReader
from seqmodel.dataset.batch.sampler import Sampler
from seqmodel.dataset.interval.interval import Contigs, Intervals, tiles
from seqmodel.dataset.label.array_cache import MappedArray, cached_array
from seqmodel.dataset.seq.alphabet import DNA
from seqmodel.dataset.seq.onehot import OneHot
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.dataset.track_data import Binning, TrackReader


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    letters = np.frombuffer(b"ACGTacgtN", np.uint8)
    with path.open("w") as f:
        for name, n in (("a", 4000), ("b", 999)):
            f.write(f">{name}\n{letters[rng.integers(0, 9, n)].tobytes().decode()}\n")
    return SequenceStore.open(str(path))


def batches(reader, epoch=0, n_workers=0, batch_size=16):
    sampler = Sampler(len(reader), batch_size, seed=5)
    sampler.set_epoch(epoch)
    return list(Loader(reader, sampler, n_workers))


def column(found, name):
    return np.concatenate([x[name].numpy() for x in found])


def contigs_of(store):
    return Contigs(store.names, store.lengths)


def test_jitter_moves_evenly_and_never_off_the_contig(store):
    intervals = tiles(contigs_of(store), 40, 20)
    length, jitter = 40, 7
    starts = np.arange(len(intervals))
    reader = SequenceReader(
        store, DNA, intervals, length, target=starts, augment=Augment(jitter=jitter)
    )
    found, shifts = [], []
    for epoch in range(6):
        found = batches(reader, epoch)
        for tokens, item in zip(column(found, "tokens"), column(found, "target"), strict=True):
            x = intervals[int(item)]
            wide = store[x.contig, max(x.start - jitter, 0) : x.end + jitter]
            at = [
                i
                for i in range(len(wide) - length + 1)
                if np.array_equal(wide[i : i + length], tokens)
            ]
            assert len(at) == 1
            shifts.append(at[0] + max(x.start - jitter, 0) - x.start)
    assert all("pad" not in x for x in found)
    counts = np.bincount(np.array(shifts) + jitter, minlength=2 * jitter + 1)
    assert len(counts) == 15
    assert counts.min() > 0.6 * counts.mean()


def test_random_offsets_reach_every_place_below_the_stride(store):
    contigs = Contigs(store.names, store.lengths)
    intervals = Intervals(contigs, np.zeros(50, int), np.arange(50) * 20, 40)
    reader = SequenceReader(store, DNA, intervals, 40, augment=Augment(random_offset=20))
    shifts = set()
    for epoch in range(20):
        plan = reader.plan(_samples(50, epoch))
        shifts |= set(plan.shift.tolist())
    assert shifts == set(range(20))


def _samples(n, epoch):
    sampler = Sampler(n, n)
    sampler.set_epoch(epoch)
    return sampler.samples(0, n)


def test_noise_changes_that_proportion_of_the_sequence_only(store):
    intervals = tiles(contigs_of(store), 40, 3)
    item = np.arange(len(intervals))
    plain = SequenceReader(store, DNA, intervals, 40, target=item)
    noisy = plain.with_augment(Augment(noise_prop=0.2))
    a, b = batches(plain), batches(noisy)
    assert np.array_equal(column(a, "target"), column(b, "target"))
    before, after = column(a, "tokens"), column(b, "tokens")
    known = before < 4
    assert np.array_equal(before[~known], after[~known])
    assert after.max() <= DNA.unknown_id
    # a quarter of the replaced letters come back as they were
    assert abs((before != after)[known].mean() - 0.2 * 0.75) < 0.01
    new = np.bincount(after[(before != after)], minlength=4)
    assert new.min() > 0.9 * new.mean()
    again = batches(noisy, n_workers=1, batch_size=7)
    assert np.array_equal(column(again, "tokens"), after)


def test_weights_are_those_of_the_soft_mask_also_reversed_and_beyond_the_ends(store):
    contigs = contigs_of(store)
    start = np.array([-10, 0, 100, 3970, 980, 5])
    contig = np.array([0, 0, 0, 0, 1, 1])
    for strand in (1, -1):
        intervals = Intervals(contigs, contig, start, 60, strand)
        reader = SequenceReader(store, DNA, intervals, 60, soft_mask_weight=0.25)
        sampler = Sampler(6, 6, train=False)
        batch = next(iter(Loader(reader, sampler)))
        for row, pad, x in zip(batch["weight"], batch["pad"].numpy(), intervals, strict=True):
            lower = store.soft_mask(x.contig, max(x.start, 0), x.end)
            inside = row.numpy()[~pad]
            assert np.array_equal(inside, np.where(lower, 0.25, 1)[:: strand or 1])


def test_sequences_of_one_length_bucket_are_padded_to_the_longest_of_the_batch(store):
    rng = np.random.default_rng(0)
    n = 20000
    lengths = rng.integers(1, 200, n)
    contigs = contigs_of(store)
    intervals = Intervals(contigs, np.zeros(n, int), rng.integers(0, 3000, n), lengths)
    reader = SequenceReader(
        store,
        DNA,
        intervals,
        200,
        target=np.arange(n),
        left_aligned=True,
        pads_to_batch=True,
    )
    sampler = Sampler(n, 32, seed=1, lengths=intervals.length)
    seen, n_pad, n_all = [], 0, 0
    for batch in Loader(reader, sampler):
        longest = int(lengths[batch["target"].numpy()].max())
        assert batch["tokens"].shape[1] == min(-(-longest // 8) * 8, 200)
        n_pad += int((batch["tokens"] == DNA.pad_id).sum())
        n_all += batch["tokens"].numel()
        seen += batch["target"].tolist()
    assert sorted(seen) == list(range(n))
    assert n_pad / n_all < 0.1  # in no order it is about a half
    row = batch["tokens"][0].numpy()
    x = intervals[int(batch["target"][0])]
    assert np.array_equal(row[: x.end - x.start], store[x.contig, x.start : x.end])


def test_the_order_of_length_buckets_does_not_depend_on_the_batch_size():
    lengths = np.random.default_rng(0).integers(1, 200, 20000)
    orders = []
    for batch_size, world_size in ((32, 1), (64, 1), (8, 4)):
        items = {}
        for rank in range(world_size):
            x = Sampler(20000, batch_size, lengths=lengths, rank=rank, world_size=world_size)
            part = x.samples(0, x.n_samples)
            items |= dict(zip(part.index.tolist(), part.item.tolist(), strict=True))
        orders.append([items[i] for i in range(20000)])
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize("n_tracks", [1, 4])
@pytest.mark.parametrize("jitter", [0, 6])
def test_tracks_move_turn_and_swap_strands_with_the_sequence(store, tmp_path, jitter, n_tracks):
    """Track values are made from the letters, so that what is read tells whether both agree."""
    contigs = contigs_of(store)
    inner = store.lengths[0] - 200
    intervals = Intervals(contigs, np.zeros(60, int), 100 + np.arange(60) * (inner // 60), 40)
    genome = store["a", :].astype(np.float32)
    # tracks: is A, is T, is C, is G: in a reverse complement A and T, C and G change places
    tracks = np.stack([genome == i for i in (0, 3, 1, 2)], axis=1)[:, :n_tracks].astype(np.float32)
    if n_tracks == 1:
        tracks = (genome == 0)[:, None].astype(np.float32) + (genome == 3)[:, None]
    partners = np.array([1, 0, 3, 2]) if n_tracks == 4 else np.array([0])
    bin_len, target_len = 5, 20
    binning = Binning(bin_len, "sum", None, False)
    first = intervals.start + 10
    letters = np.stack([tracks[s - jitter : s + target_len + jitter] for s in first.tolist()])
    values = letters if jitter else binning(letters).astype(np.float32)
    (tmp_path / "v").touch()
    shape, source = values.shape, str(tmp_path / "v")
    kept = cached_array([source], "k", shape, np.float32, lambda out: np.copyto(out, values))
    mapped = MappedArray(kept)
    target = TrackReader(mapped, binning, target_len, jitter, partners)
    augment = Augment(rc_prob=0.5, jitter=jitter)
    reader = SequenceReader(store, DNA, intervals, 40, target=target, augment=augment)
    for n_workers in (0, 1):
        found = batches(reader, n_workers=n_workers)
        tokens, got = column(found, "tokens"), column(found, "target")
        middle = tokens[:, 10:30]
        is_letter = [middle == i for i in (0, 3, 1, 2)][:n_tracks]
        if n_tracks == 1:
            is_letter = [(middle == 0) | (middle == 3)]
        expected = np.stack(is_letter, axis=2).reshape(len(got), 4, bin_len, n_tracks).sum(axis=2)
        assert np.array_equal(got, expected)
    assert got.dtype == np.float32


@pytest.mark.parametrize("shape", [(3, 7), (4, 8), (5,), (2, 3, 4)])
@pytest.mark.parametrize("unknown", ["uniform", "zeros"])
def test_fast_one_hot_is_the_table(shape, unknown):
    from seqmodel.dataset.seq.alphabet import PROTEIN, alphabet_from_name

    for alphabet in (alphabet_from_name("dna", unknown), PROTEIN):
        ids = np.random.default_rng(0).integers(0, alphabet.n_tokens, shape, dtype=np.uint8)
        found = OneHot(alphabet)(ids).numpy()
        assert np.array_equal(found, alphabet.one_hot_table()[ids])
        assert found.shape == (*shape, alphabet.n_letters)
