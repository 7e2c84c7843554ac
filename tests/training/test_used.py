"""The record says what a run uses where its settings leave a choice."""

from types import SimpleNamespace as Made

import torch

from seqmodel.training.used import used_settings

SPLITS = {"train": 10, "valid": 6, "test": 4}  # batches of all ranks together


def used(splits, device="cpu", monitor=None, **more):
    data = Made(
        splits=splits,
        readers={x: Made(length=64) for x in splits},
        loader=lambda split, world_size: range(SPLITS[split] // world_size),
    )
    limits = {"limit_train_batches": 0.5, "limit_val_batches": 2, "limit_test_batches": None}
    run = Made(values=Made(monitor=monitor, n_threads=None, seq_len=None, **limits, **more))
    task = Made(default_monitor="valid_loss", decoder=Made(size=4))
    trainer = Made(
        strategy=Made(root_device=torch.device(device)),
        num_devices=3,
        world_size=2,
        precision="32-true",
    )
    return used_settings(run, Made(data=data, task=task), trainer)


def test_a_run_on_gpus_names_them_and_what_each_rank_reads(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card of {device}")
    assert used(tuple(SPLITS), "cuda:1", bin_positions=None) == {
        "accelerator": "gpu",
        "device": "card of cuda:1",
        "devices": 3,
        "strategy": "SimpleNamespace",
        "precision": "32",
        "n_threads": torch.get_num_threads(),
        "seq_len": 64,
        "monitor": "valid_loss",
        "bin_positions": 4,
        "limit_train_batches": 2,
        "limit_val_batches": 2,
        "limit_test_batches": 2,
    }


def test_without_a_valid_split_nothing_is_monitored():
    found = used(("train",))
    assert found["monitor"] is None
    assert set(found) & {"limit_val_batches", "limit_test_batches", "bin_positions"} == set()
    assert found["accelerator"] == "cpu"
    assert found["device"]
    assert used(("train", "valid"), monitor="valid_auroc")["monitor"] == "valid_auroc"
