"""What a host and the data can run, and the settings that reach Lightning's Trainer."""

from datetime import timedelta
from types import SimpleNamespace as Made

import numpy as np
import pytest
import torch

from seqmodel.errors import SeqmodelError
from seqmodel.hparam.trainer import RunHparams, TrainerHparams, TrainingHparams
from seqmodel.model.decoder import ProfileDecoder
from seqmodel.training import checks, host

pytestmark = pytest.mark.filterwarnings("ignore:The `srun` command")

SET = {
    "max_epochs": 3,
    "max_steps": 70,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 0.5,
    "limit_train_batches": 5,
    "limit_test_batches": 6,
    "check_val_every_n_epoch": 4,
    "val_check_interval": 0.5,
    "num_sanity_val_steps": 7,
    "log_every_n_steps": 8,
}


def values(**given):
    found = {}
    for cls in (RunHparams, TrainingHparams, TrainerHparams):
        found |= {name: x.default for name, x in cls.default_hparams().declared.items()}
    return Made(**{**found, "accelerator": "cpu", **given})


def trainer_of(**given):
    return host.bare_trainer(Made(values=values(**given)), logger=False)


def test_the_trainer_has_every_setting():
    given = {"max_time": "00:01:00:00", "detect_anomaly": True, "deterministic": True}
    before = torch.are_deterministic_algorithms_enabled()
    try:
        trainer = trainer_of(**SET, **given, enable_checkpointing=False)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(before)
    assert {name: getattr(trainer, name) for name in SET} == SET
    assert trainer._detect_anomaly
    (timer,) = [x for x in trainer.callbacks if type(x).__name__ == "Timer"]
    assert timer._duration == timedelta(hours=1).total_seconds()
    assert not trainer._accelerator_connector.use_distributed_sampler


def test_zero_clips_nothing_and_a_count_of_batches_goes_across_epochs():
    trainer = trainer_of(gradient_clip_val=0.0, val_check_interval=9)
    assert trainer.gradient_clip_val is None
    assert (trainer.check_val_every_n_epoch, trainer.val_check_interval) == (None, 9)
    assert not [x for x in trainer.callbacks if "Summary" in type(x).__name__]


@pytest.mark.parametrize(
    ("given", "n_gpus", "mps", "says"),
    [
        (("gpu", 1), 0, False, "no GPU|without CUDA"),
        (("gpu", 1), 0, True, ""),
        (("gpu", 1), 1, False, ""),
        (("mps", 1), 2, False, "no Apple GPU"),
        (("mps", 1), 0, True, ""),
        (("auto", 2), 0, True, "has 1 GPU; set --devices=1"),
        (("auto", 2), 2, False, ""),
        (("auto", 3), 2, False, "has 2 GPUs; set --devices=2"),
        (("cpu", 3), 2, False, ""),
        (("auto", 3), 0, False, ""),
    ],
)
def test_devices_that_are_not_there_are_refused(monkeypatch, given, n_gpus, mps, says):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    raises(says, host._check_accelerator, *given)


def raises(says, check, *args):
    if not says:
        return check(*args)
    with pytest.raises(SeqmodelError, match=says):
        check(*args)


@pytest.mark.parametrize("build", [True, False])
def test_why_torch_has_no_gpu_is_said(monkeypatch, build):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: build)
    says = "torch finds no GPU on this" if build else "is built without CUDA on this"
    raises(says, host._check_accelerator, "gpu", 1)


@pytest.mark.parametrize(("value", "says"), [(None, ""), (32, ""), (33, "n_workers=33.*=32 or")])
def test_as_many_processes_as_two_cpus_can_run(monkeypatch, value, says):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda pid: {0, 5}, raising=False)
    raises(says, host.check_number, "n_workers", value)


def test_several_nodes_need_what_starts_them(monkeypatch):
    for name in [x for x in host.os.environ if x.startswith(("MASTER_", "SLURM_", "TORCHE"))]:
        monkeypatch.delenv(name)
    host._check_nodes(1)
    raises("nothing starts them", host._check_nodes, 2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    host._check_nodes(2)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("MASTER_ADDR", "node1")
    host._check_nodes(2)


def test_tensorboard_comes_from_either_package(monkeypatch):
    monkeypatch.setattr(host, "find_spec", lambda name: name == "tensorboardX" or None)
    host._check_logger("tensorboard")


def test_a_gpu_or_the_compiler_of_the_environment_can_compile(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert host._can_compile("auto")
    assert not host._can_compile("cpu")
    (tmp_path / "mycc").touch(0o755)
    monkeypatch.setenv("CXX", "mycc")
    assert host._can_compile("cpu")


def test_an_error_of_lightning_is_one_line():
    assert host._one_line(ValueError("two\n  lines " + "x" * 400)) == "two lines " + "x" * 290


@pytest.mark.parametrize(
    ("given", "n_batches", "n_steps"),
    [
        ({}, 7, 70),
        ({"max_steps": 0}, 7, 0),
        ({"max_steps": 5}, 7, 5),
        ({"max_steps": 999}, 7, 70),
        ({"accumulate_grad_batches": 2}, 7, 40),
        ({"limit_train_batches": 4}, 7, 40),
        ({"limit_train_batches": 40}, 7, 70),
        ({"limit_train_batches": 0.5}, 7, 30),
        ({"limit_train_batches": 0.4}, 4, 10),
    ],
)
def test_the_steps_of_a_run_are_those_of_lightning(given, n_batches, n_steps):
    given = {"max_epochs": 10, "max_steps": -1, "accumulate_grad_batches": 1} | given
    run = Made(values=Made(**{"limit_train_batches": None, **given}))
    assert checks.whole_run_steps(run, n_batches) == n_steps


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({}, ""),
        ({"check_val_every_n_epoch": 3}, ""),
        ({"check_val_every_n_epoch": 4}, "--check_val_every_n_epoch=4"),
        ({"check_val_every_n_epoch": 4, "val_check_interval": 0.5}, "--check_val_every_n_epoch=4"),
        ({"check_val_every_n_epoch": 4, "max_steps": 2}, ""),
        ({"check_val_every_n_epoch": 4, "fast_dev_run": True}, ""),
        ({"check_val_every_n_epoch": 4, "val_check_interval": 15}, ""),
        ({"val_check_interval": 16}, "--val_check_interval=16"),
        ({"val_check_interval": 6, "limit_train_batches": 2}, ""),
        ({"val_check_interval": 7, "limit_train_batches": 2}, "--val_check_interval=7"),
    ],
)
def test_the_setting_that_prevents_validation_is_named(given, setting):
    data = Made(loader=lambda split, world_size: range(10 // world_size))
    run = Made(values=values(**{"max_epochs": 3, "devices": 2, **given}))
    assert checks._too_late_for_validation(run, Made(data=data)) == setting


BATCHES = {"train": 12, "valid": 8, "test": 4}


def parts_of(sizes, **task):
    """What a task and its data look like to the checks; the last batch of training is dropped."""
    data = Made(
        splits=tuple(sizes),
        loader=lambda split, train=True, world_size=1: range(sizes[split] // world_size - train),
    )
    return Made(data=data, task=Made(logged_names=lambda: ["valid_loss"], **task))


@pytest.mark.parametrize(
    ("name", "limit", "says"),
    [
        ("limit_train_batches", 0.19, "one of the 5 batches of the train split.* least 0.2$"),
        ("limit_train_batches", 0.2, ""),
        ("limit_val_batches", 0.24, "one of the 4 batches of the valid split.* least 0.25$"),
        ("limit_val_batches", 0.25, ""),
        ("limit_val_batches", 1, ""),
        ("limit_test_batches", 0.49, "one of the 2 batches of the test split.* least 0.5$"),
        ("limit_test_batches", 0.5, ""),
    ],
)
def test_a_proportion_leaves_each_rank_a_batch(name, limit, says):
    run = Made(values=values(devices=1, num_nodes=2, **{name: limit}))
    raises(says and f"^--{name}={limit}: .*{says}", checks.check_lengths, run, parts_of(BATCHES))


def test_only_training_needs_a_monitor_that_is_logged():
    run = Made(values=values(task="classify", monitor="banana", mode="test"))
    checks.check_monitor(run, parts_of(BATCHES))
    run.values.mode = "train"
    raises("--monitor=banana", checks.check_monitor, run, parts_of(BATCHES))
    parts = parts_of(BATCHES)
    parts.task.logged_names = lambda: None  # a task of the user's own
    checks.check_monitor(run, parts)


def test_the_schedule_is_checked_with_the_steps_of_one_rank(monkeypatch):
    seen = []
    monkeypatch.setattr(checks, "build_optimiser", lambda task, hparams, fused: seen.append(task))
    monkeypatch.setattr(checks, "schedule_curve", lambda hparams, n: seen.append(n))
    run = Made(values=values(devices=2, num_nodes=2, max_epochs=1), hparams=lambda role: role)
    parts = parts_of(BATCHES)
    checks.check_training(run, parts)
    assert seen == [parts.task, 2]


class Bins(ProfileDecoder):
    def __init__(self, size):
        torch.nn.Module.__init__(self)
        self.size, self.n_cropped = size, 0


def test_bins_of_a_resumed_run_may_differ_and_a_part_of_a_position_is_one():
    parts = parts_of({"train": 1}, decoder=Bins(2), encoder=Made(stride=4))
    parts.data.readers = {"train": Made(length=63)}
    parts.data.target_len, parts.data.hparams = 64, Made(bin_len=8)
    run = Made(values=values())
    checks.check_bins(run, parts)  # 16 positions, 8 bins
    parts.data.hparams.bin_len = 4
    raises("a bin of the model has 8 bp", checks.check_bins, run, parts)
    run.values.resume_from_checkpoint = "last.ckpt"
    checks.check_bins(run, parts)


def intervals(contig, start=(0, 8), end=(8, 16)):
    return Made(contig=np.array(contig), start=np.array(start), end=np.array(end))


@pytest.mark.parametrize(
    ("mode", "test", "digest", "says"),
    [
        ("train", intervals([5, 6]), "same", "has the content of --valid_files=v"),
        ("test", intervals([5, 6]), "same", ""),
        ("train", intervals([5, 6]), "other", ""),
        ("train", intervals([5, 7]), "same", ""),
        ("train", intervals([5, 6], start=(1, 8)), "same", ""),
        ("train", intervals([5, 6], end=(8, 15)), "same", ""),
    ],
)
def test_the_test_split_is_not_the_valid_split_in_another_file(mode, test, digest, says):
    data = Made(
        hparams=Made(valid_files=["v"], test_files=["t"]),
        digests=lambda: {"v": {"sha256": "same"}, "t": {"sha256": digest}},
        readers={"valid": Made(intervals=intervals([2, 3])), "test": Made(intervals=test)},
    )
    raises(says, checks.check_test_split, Made(values=values(mode=mode)), Made(data=data))


@pytest.mark.parametrize(("mode", "says"), [("test", ""), ("train", "the train split .* nothing")])
def test_a_test_needs_nothing_to_predict_in_other_splits(mode, says):
    data = Made(
        splits=("train", "test"),
        loader=lambda split, train=True: [] if train else [split],
        files_of=lambda split: ["x.csv"],
        readers={"train": range(3)},
    )
    task = Made(has_something_to_predict=lambda batch: batch == "test", predicts_targets=True)
    raises(says, checks.check_contents, Made(values=values(mode=mode)), Made(data=data, task=task))
