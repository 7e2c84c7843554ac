"""Items by their index, as torch's own DataLoader and samplers read them."""

import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from indexed_cases import MADE, SPLITS, items_of, write
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, WeightedRandomSampler

from seqmodel.errors import HparamError
from seqmodel.hparam.genome import FastaHparams

HERE = Path(__file__).parents[2]
CASES = [(kind, split) for kind in MADE for split in SPLITS]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data of every kind; their folder is the working folder."""
    folder = tmp_path_factory.mktemp("indexed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write(folder)
        yield {kind: make() for kind, make in MADE.items()}


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a
    )


def rows_of(batches):
    """The items of batches, one by one; those without padding have it, too."""
    for batch in batches:
        for i in range(len(batch["tokens"])):
            yield {name: x[i] for name, x in batch.items()}


@pytest.mark.parametrize(("kind", "split"), CASES)
def test_items_are_what_the_files_hold(made, kind, split):
    data = made[kind]
    expected = items_of(kind, split)
    found = list(data.dataset(split, train=False))
    assert len(found) == len(expected) > 5
    assert [data.alphabet.decode(x["tokens"].numpy()) for x in found] == [x for x, _ in expected]
    for i, (item, (text, target)) in enumerate(zip(found, expected, strict=True)):
        assert item["index"].item() == i
        assert item["tokens"].dtype == torch.uint8
        if any("-" in x for x, _ in expected):
            assert item["pad"].tolist() == [letter == "-" for letter in text]
        else:
            assert "pad" not in item
        if target is None:
            assert "target" not in item
        else:
            np.testing.assert_allclose(item["target"].numpy(), target, rtol=1e-6)


@pytest.mark.parametrize(("kind", "split"), CASES)
def test_items_are_those_of_our_own_loader(made, kind, split):
    data = made[kind]
    dataset = data.dataset(split, seed=3, train=False)
    own = list(rows_of(data.loader(split, seed=3, train=False)))
    assert len(own) == len(dataset)
    for item, row in zip(dataset, own, strict=True):
        if "pad" in item:
            row.setdefault("pad", torch.zeros_like(item["pad"]))
        # batches of like length are shorter in our loader
        assert same({k: x[: len(row["tokens"])] if x.ndim else x for k, x in item.items()}, row)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("kind", MADE)
def test_a_batch_is_its_items_one_by_one(made, kind, train):
    dataset = made[kind].dataset("train", seed=1, train=train)
    dataset.set_epoch(2)
    n = len(dataset)
    chosen = [3, 0, n - 1, -1, np.int64(-n), np.uint8(5), torch.tensor(4), 3]
    batch = dataset.__getitems__(chosen)
    assert all(same(x, dataset[i]) for x, i in zip(batch, chosen, strict=True))
    assert [int(x["index"]) for x in batch] == [3, 0, n - 1, n - 1, 0, 5, 4, 3]
    assert len({frozenset((k, x.shape) for k, x in item.items()) for item in batch}) == 1
    assert all(same(a, b) for a, b in zip(batch, dataset.__getitems__(chosen), strict=True))
    whole = dataset[chosen]
    assert all(same(a, b) for a, b in zip(rows_of([whole]), batch, strict=True))
    batch[0]["tokens"].zero_()
    assert same(batch[-1], dataset[3])  # each item has memory of its own
    assert dataset.__getitems__([]) == []
    assert {k: x.shape for k, x in dataset[[]].items()} == {
        k: (0, *x.shape[1:]) for k, x in whole.items()
    }


def test_an_index_that_is_none_is_refused(made):
    dataset = made["arrays"].dataset("valid")
    for index in (10, -11, np.int64(10), 2**70):
        with pytest.raises(
            IndexError, match=rf"index {index} is out of range for 10 items, 0 to 9"
        ):
            dataset[index]
        with pytest.raises(IndexError, match=rf"index {index} "):
            dataset.__getitems__([0, index])
        with pytest.raises(IndexError, match=rf"index {index} "):
            dataset[[0, index]]
    for index in (1.0, "1", None, slice(2)):
        with pytest.raises(TypeError):
            dataset[index]
    with pytest.raises(HparamError, match="there is no test split, only train, valid"):
        made["arrays"].dataset("test")


@pytest.mark.parametrize("kind", MADE)
def test_training_items_change_from_epoch_to_epoch_and_those_of_evaluation_do_not(made, kind):
    dataset = made[kind].dataset("train")
    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(list(dataset))
    assert all(same(a, b) for a, b in zip(epochs[0], epochs[2], strict=True))
    pairs = list(zip(epochs[0], epochs[1], strict=True))
    assert all(a["key"] != b["key"] for a, b in pairs)
    assert any(not torch.equal(a["tokens"], b["tokens"]) for a, b in pairs)
    other = made[kind].dataset("train", seed=1)
    assert all(a["key"] != b["key"] for a, b in zip(epochs[0], other, strict=True))
    plain = made[kind].dataset("train", train=False)
    before = list(plain)
    plain.set_epoch(1)
    assert all(same(a, b) for a, b in zip(before, plain, strict=True))


def test_about_half_of_the_items_are_read_as_the_reverse_complement(made):
    texts = [x for x, _ in items_of("arrays", "train")]
    dataset = made["arrays"].dataset("train")
    n_flipped = 0
    for epoch in range(20):
        dataset.set_epoch(epoch)
        for item, text in zip(dataset, texts, strict=True):
            found = made["arrays"].alphabet.decode(item["tokens"].numpy())
            reverse = text.translate(str.maketrans("ACGT", "TGCA"))[::-1]
            assert found in (text, reverse)
            n_flipped += found == reverse
    assert 0.4 < n_flipped / (20 * len(texts)) < 0.6


@pytest.mark.parametrize(
    ("kind", "n_workers", "start_method"),
    [
        *((kind, 0, None) for kind in MADE),
        *((kind, 2, "fork") for kind in MADE),
        *(pytest.param(kind, 2, "spawn", marks=pytest.mark.slow) for kind in ("tracks", "arrays")),
    ],
)
def test_a_shuffled_loader_of_torch_reads_every_item_once(made, kind, n_workers, start_method):
    dataset = made[kind].dataset("train")
    loader = DataLoader(
        dataset,
        batch_size=4,
        sampler=RandomSampler(dataset),
        num_workers=n_workers,
        multiprocessing_context=start_method,
        persistent_workers=n_workers > 0,
    )
    for epoch in (1, 2):  # workers that persist see the epoch
        dataset.set_epoch(epoch)
        rows = list(rows_of(loader))
        order = [int(x["index"]) for x in rows]
        assert order != sorted(order)
        assert sorted(order) == list(range(len(dataset)))
        assert all(same(x, dataset[i]) for x, i in zip(rows, order, strict=True))


@pytest.mark.parametrize("kind", MADE)
def test_a_loader_of_torch_may_take_whole_batches(made, kind):
    dataset = made[kind].dataset("train", seed=2)
    order = BatchSampler(range(len(dataset))[::-1], 4, drop_last=False)
    whole = list(DataLoader(dataset, batch_size=None, sampler=order))
    collated = list(DataLoader(dataset, batch_sampler=order))
    assert all(same(a, b) for a, b in zip(whole, collated, strict=True))


def test_weights_are_for_a_sampler_of_torch_and_collate_fn_gets_the_items(made):
    data = made["labelled"]
    dataset = data.dataset("train")
    sampler = WeightedRandomSampler(data.weights["train"], 3000)
    loader = DataLoader(dataset, 1000, sampler=sampler, collate_fn=list)
    counts = np.bincount([int(x["target"]) for items in loader for x in items])
    assert counts.min() > 900


def test_a_dataset_travels_without_the_genome(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    letters = np.random.default_rng(0).choice(list("ACGT"), 200_000)
    Path("big.fa").write_text(f">x\n{''.join(letters)}\n")
    data = type(made["tiles"])(FastaHparams(fasta=["big.fa"], seq_len=2000))
    dataset = data.dataset("train")
    dataset.set_epoch(4)
    sent = pickle.dumps(dataset)
    assert len(sent) < 10_000
    again = pickle.loads(sent)
    assert all(same(a, b) for a, b in zip(again, dataset, strict=True))


def test_the_loop_in_the_documents_runs(monkeypatch):
    monkeypatch.chdir(HERE.parent)
    blocks = re.findall(r"```python\n(.*?)```", Path("docs/data.md").read_text(), re.DOTALL)
    last = {}
    exec("".join(blocks).replace("num_workers=2", "num_workers=0"), last)
    assert last["x"].shape[1:] == (200, 4)
    assert last["y"].dtype == torch.int64
    assert last["epoch"] == 1
    assert sum(len(x["target"]) for x in last["loader"]) == len(last["dataset"])


PROGRAM = textwrap.dedent(
    """
    import sys, torch
    from torch import distributed
    from torch.utils.data import DataLoader, DistributedSampler
    from indexed_cases import MADE, SPLITS

    rank = int(sys.argv[1])
    place = "file://" + sys.argv[2]
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    found = {}
    for kind, make in MADE.items():
        data = make()
        for split in SPLITS:
            dataset = data.dataset(split, seed=7)
            sampler = DistributedSampler(dataset, shuffle=split == "train", seed=7)
            loader = DataLoader(dataset, batch_size=4, sampler=sampler)
            sampler.set_epoch(3)
            dataset.set_epoch(3)
            found[kind, split] = list(loader)
    ranks = [None, None]
    distributed.all_gather_object(ranks, found)
    if rank == 0:
        torch.save(ranks, "ranks.pt")
    distributed.barrier()
    distributed.destroy_process_group()
    """
)


@pytest.mark.slow
def test_two_ranks_with_the_sampler_of_torch_read_all_items(made, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    path = {"PYTHONPATH": f"{HERE}:{HERE.parent}", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    ranks = [
        subprocess.Popen(
            [sys.executable, program, str(rank), tmp_path / "store"],
            env=path | {"HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        errors = [x.communicate(timeout=300)[1] for x in ranks]
    finally:
        for x in ranks:
            x.kill()
    assert [x.returncode for x in ranks] == [0, 0], errors
    found = torch.load("ranks.pt", weights_only=True)
    for kind, split in CASES:
        dataset = made[kind].dataset(split, seed=7)
        dataset.set_epoch(3)
        parts = [list(rows_of(x[kind, split])) for x in found]
        assert len(parts[0]) == len(parts[1]) == -(-len(dataset) // 2)
        rows = {int(x["index"]): x for part in parts for x in part}
        assert sorted(rows) == list(range(len(dataset)))
        assert all(same(rows[i], x) for i, x in enumerate(dataset))
