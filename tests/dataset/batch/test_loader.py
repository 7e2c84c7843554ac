"""No wrong item: what a loader gives is compared with the text of the sequences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqmodel.dataset.batch.loader import Loader
from seqmodel.dataset.batch.reader import Augment, SequenceReader
from seqmodel.dataset.batch.sampler import Sampler
from seqmodel.dataset.interval.interval import Contigs, Intervals, tiles
from seqmodel.dataset.seq.alphabet import DNA, PROTEIN, Alphabet
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import SequenceError

PAIRS = str.maketrans("ACGTN-", "TGCAN-")


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    letters = np.frombuffer(b"ACGTacgtN", np.uint8)
    texts = {f"c{i}": letters[rng.integers(0, 9, 3000 + i)].tobytes().decode() for i in range(3)}
    path.write_text("".join(f">{k}\n{v}\n" for k, v in texts.items()))
    return SequenceStore.open(str(path)), {k: v.upper() for k, v in texts.items()}


def truth(texts, interval):
    """The letters of an interval on its strand; '-' where there is none."""
    text = texts[interval.contig]
    found = "".join(
        text[i] if 0 <= i < len(text) else "-" for i in range(interval.start, interval.end)
    )
    return found.translate(PAIRS)[::-1] if interval.strand == "-" else found


def reader_of(store, intervals, length, **kwargs):
    return SequenceReader(store, DNA, intervals, length, **kwargs)


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_windows_are_the_letters_on_either_strand_also_beyond_the_ends(genome, length, data):
    store, texts = genome
    contigs = Contigs(store.names, store.lengths)
    start = np.array(data.draw(st.lists(st.integers(-length - 9, 3011), min_size=1, max_size=20)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    contig, strand = rng.integers(0, 3, len(start)), rng.choice([-1, 0, 1], len(start))
    intervals = Intervals(contigs, contig, start, length, strand)
    loader = Loader(reader_of(store, intervals, length), Sampler(len(start), 7, train=False))
    rows, pads = [], []
    for batch in loader:
        rows += [DNA.decode(x) for x in batch["tokens"].numpy()]
        expected = batch["tokens"] == DNA.pad_id
        pads.append(batch.get("pad", torch.zeros_like(expected)) == expected)
        assert ("pad" in batch) == bool(expected.any())
    assert rows == [truth(texts, x) for x in intervals]
    assert all(bool(x.all()) for x in pads)


@pytest.mark.parametrize("unknown", ["", "N"])  # without unknown letters another path is taken
@pytest.mark.parametrize("letters", ["ACGT", "TGCA", "ACTG", "AB"])
def test_any_order_of_letters_is_complemented_rightly(tmp_path, letters, unknown):
    pairs = {"A": "T", "T": "A", "C": "G", "G": "C"} if len(letters) == 4 else {"A": "B", "B": "A"}
    alphabet = Alphabet("mine", tuple(letters), "N", pairs)
    text = (letters + letters[::-1] + letters[0] + unknown) * 9
    (tmp_path / "a.fa").write_text(f">a\n{text}\n")
    store = SequenceStore.open(str(tmp_path / "a.fa"), alphabet)
    whole = Intervals(Contigs(["a"], store.lengths), [0], [0], len(text), -1)
    reader = SequenceReader(store, alphabet, whole, len(text))
    batch = next(iter(Loader(reader, Sampler(1, 1))))
    expected = "".join(pairs.get(x, x) for x in reversed(text))
    assert alphabet.decode(batch["tokens"][0].numpy()) == expected


def epoch_of(loader, epoch):
    loader.set_epoch(epoch)
    return list(loader)


def same(a, b):
    return len(a) == len(b) and all(
        x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker")
@pytest.mark.parametrize(
    ("n_workers", "start_method", "world_size"),
    [
        (0, None, 1),
        (0, None, 2),
        (1, "fork", 1),
        (2, "fork", 2),
        (4, "fork", 1),
        pytest.param(2, "spawn", 1, marks=pytest.mark.slow),
        pytest.param(1, "spawn", 1, marks=pytest.mark.slow),
        pytest.param(4, "spawn", 2, marks=pytest.mark.slow),
    ],
)
def test_every_item_of_a_shuffled_epoch_is_the_true_sequence(
    genome, n_workers, start_method, world_size
):
    store, texts = genome
    intervals = tiles(Contigs(store.names, store.lengths), 61, 7, incomplete="pad")
    seen, n_flipped = [], 0
    for rank in range(world_size):
        reader = reader_of(
            store, intervals, 61, augment=Augment(rc_prob=0.5), target=np.arange(len(intervals))
        )
        sampler = Sampler(len(intervals), 16, seed=1, rank=rank, world_size=world_size)
        loader = Loader(reader, sampler, n_workers, start_method)
        batches = epoch_of(loader, 2)
        assert len(batches) == len(loader)
        for batch in batches:
            for codes, item in zip(batch["tokens"].numpy(), batch["target"].tolist(), strict=True):
                forward, found = truth(texts, intervals[item]), DNA.decode(codes)
                if found != forward:
                    assert found == forward.translate(PAIRS)[::-1]
                    n_flipped += 1
                seen.append(item)
        assert same(batches, epoch_of(Loader(reader, sampler), 2))
    assert set(seen) == set(range(len(intervals)))
    assert len(seen) < len(intervals) + world_size
    assert 0.4 < n_flipped / len(seen) < 0.6


@pytest.mark.parametrize("n_workers", [0, 2])
def test_seek_goes_on_where_an_epoch_was_left_and_touches_no_global_state(genome, n_workers):
    store, _ = genome
    reader = reader_of(
        store, tiles(Contigs(store.names, store.lengths), 50), 50, augment=Augment(rc_prob=0.5)
    )
    loader = Loader(reader, Sampler(len(reader), 8, seed=3), n_workers)
    whole = epoch_of(loader, 1)
    state = torch.get_rng_state()
    for k in (0, 1, 5, len(loader)):
        loader.seek(k)
        assert same(epoch_of(loader, 1), whole[k:])
        assert same(epoch_of(loader, 1), whole)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sample_depends_on_seed_epoch_and_index_only(genome):
    store, _ = genome
    reader = reader_of(
        store, tiles(Contigs(store.names, store.lengths), 50), 50, augment=Augment(rc_prob=0.5)
    )

    def samples(batch_size, world_size, n_workers=0):
        found = {}
        for rank in range(world_size):
            sampler = Sampler(len(reader), batch_size, seed=3, rank=rank, world_size=world_size)
            for batch in epoch_of(Loader(reader, sampler, n_workers), 4):
                for i, index in enumerate(batch["index"].tolist()):
                    found[index] = (batch["tokens"][i].tolist(), int(batch["key"][i]))
        return {i: x for i, x in found.items() if i < len(reader)}

    first = samples(8, 1)
    assert samples(5, 3) == samples(64, 2, 2) == first


def test_workers_are_sent_a_path_and_not_a_genome(genome):
    import pickle

    store, _ = genome
    reader = reader_of(store, tiles(Contigs(store.names, store.lengths), 1000), 1000)
    assert len(pickle.dumps(reader)) < 2000 < store.data.nbytes


def test_strands_need_a_complement(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nACDE\n")
    store = SequenceStore.open(str(tmp_path / "a.fa"), PROTEIN)
    whole = Intervals(Contigs(["a"], [4]), [0], [0], 4)
    with pytest.raises(SequenceError, match=r"'protein' has no complement.*rc_prob=0"):
        SequenceReader(store, PROTEIN, whole, 4, augment=Augment(rc_prob=0.1))
    minus = Intervals(Contigs(["a"], [4]), [0], [0], 4, -1)
    with pytest.raises(SequenceError, match="'protein' has no complement"):
        SequenceReader(store, PROTEIN, minus, 4)
