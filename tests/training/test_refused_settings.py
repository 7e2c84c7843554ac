"""A setting that the host or the data cannot follow is refused in one line, and nothing is made."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from seqmodel.cli.verbs import main as seqmodel
from seqmodel.hparam.resolve import resolve
from seqmodel.model.decoder import ProfileDecoder
from seqmodel.run import main
from seqmodel.training.execute import execute

ROOT = Path(__file__).parents[2]
FAST = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--batch_size=8", "--max_epochs=1")
FAST += ("--progress=none", "--audit=none")
DATA = ("--task=masked", "--fasta=g.fa", "--seq_len=64")
VALID = "--valid_contigs=b"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a small genome and its store, and a track."""
    import pybigtools

    folder = tmp_path_factory.mktemp("refused")
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 512)) for name in "abc"}
    (folder / "g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    values = [(c, s, s + 16, float(rng.integers(9))) for c in "abc" for s in range(0, 512, 16)]
    file = pybigtools.open(str(folder / "t.bw"), "w")
    file.write(dict.fromkeys("abc", 512), iter(values))
    before = os.getcwd()
    os.chdir(folder)
    main([*DATA, *FAST, VALID, "--fast_dev_run=True"])  # makes the store
    os.chdir(before)
    return folder


def listed(folder):
    """All files but what is cached beside the genome and the track."""
    return sorted(x for x in folder.rglob("*") if not x.name.startswith(("g.fa.", "t.bw.")))


def refused(data, monkeypatch, capsys, args):
    """The one line with which a run is refused that leaves nothing."""
    monkeypatch.chdir(data)
    before = listed(data)
    capsys.readouterr()
    assert main([*FAST, *args]) == 2
    printed = capsys.readouterr()
    assert listed(data) == before
    (line,) = [x for x in printed.err.splitlines() if not x.startswith(("reading", "wrote"))]
    assert printed.out == ""
    return line


HOST = {
    "--accelerator=gpu": "no GPU|built without CUDA",
    "--accelerator=mps": "no Apple GPU",
    "--accelerator=cuda": "--accelerator=gpu: torch",
    "--devices=100000": "set --devices=",
    "--n_workers=200000": "this process has .* CPU.* set --n_workers=",
    "--n_threads=100000": "set --n_threads=",
    "--num_nodes=2": "nothing starts them",
    "--max_time=banana": "DD:HH:MM:SS",
    "--max_time=00:00:00:00": "DD:HH:MM:SS",
    "--cache_dir=/proc/x": "--cache_dir=/proc/x cannot be created",
    "--cache_dir=g.fa": "--cache_dir=g.fa cannot be created",
    "--default_root_dir=g.fa/x": "--default_root_dir=g.fa/x: g.fa is not a folder",
    "--limit_train_batches=0.01": "less than one of the . batches of the train split",
    "--limit_val_batches=0.01": "less than one of the . batches of the valid split",
    "--monitor=banana": "logs no such value",
    "--lr=1e39": "at most 3.4e.38",
    "--max_steps=99999999999": "2147483647",
    "--max_steps=0": "--max_steps=0 trains nothing; set at least 1, or -1",
    "--batch_size=99999999999999999999": "2147483647",
    "--warmup_steps=40": "--warmup_steps=40 of only 2 training steps",
    "--swa_start_prop=2": "must be a number in",
}


@pytest.mark.parametrize("setting", HOST)
def test_what_this_host_cannot_do_is_refused(data, monkeypatch, capsys, setting):
    for name in ("cuda.device_count", "backends.mps.is_available", "cuda.is_available"):
        monkeypatch.setattr(f"torch.{name}", lambda: 0)
    for name in [x for x in os.environ if x.startswith(("MASTER_", "SLURM_"))]:
        monkeypatch.delenv(name)
    line = refused(data, monkeypatch, capsys, [*DATA, VALID, setting])
    assert re.search(HOST[setting], line), line


@pytest.mark.parametrize(
    "setting",
    ["--compile=True", "--ema_decay=0.9", "--swa_start_prop=0.5", "--optimiser=adafactor"],
)
def test_what_needs_whole_weights_is_refused_with_shards(data, monkeypatch, capsys, setting):
    line = refused(data, monkeypatch, capsys, [*DATA, VALID, "--strategy=fsdp", setting])
    assert f"--strategy=fsdp shards every weight, and {setting.split('=')[0]}" in line


def test_more_devices_than_gpus_are_refused(data, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    line = refused(data, monkeypatch, capsys, [*DATA, VALID, "--devices=3", "--accelerator=gpu"])
    assert line == "HparamError: --devices=3: this host has 2 GPUs; set --devices=2 or less"


def test_a_resumed_run_keeps_what_has_no_effect_in_it(data, monkeypatch, tmp_path):
    monkeypatch.chdir(data)
    folder = f"--default_root_dir={tmp_path}/r"
    assert main([*DATA, *FAST, folder]) == 0
    last = f"{tmp_path}/r/checkpoints/last.ckpt"
    run = resolve({"resume_from_checkpoint": last, "max_epochs": 2})
    run.values.patience = 2  # an earlier version took it
    with pytest.warns(match="--patience has no effect without a validation split"):
        execute(run)


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_logger_that_is_not_installed_is_refused(data, monkeypatch, capsys, name):
    monkeypatch.setattr("seqmodel.training.host.find_spec", lambda name: None)
    line = refused(data, monkeypatch, capsys, [*DATA, VALID, f"--logger={name}"])
    package = "mlflow-skinny" if name == "mlflow" else name
    assert f"--logger={name} needs the package {package}: pip install {package}, or the" in line


def test_a_compilation_without_a_compiler_is_refused(data, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(data))
    monkeypatch.delenv("CXX", raising=False)
    line = refused(data, monkeypatch, capsys, [*DATA, VALID, "--compile=True", "--accelerator=cpu"])
    assert "--compile=True needs a C++ compiler" in line


@pytest.mark.parametrize("setting", ["--patience=2", "--schedule=plateau", "--monitor=valid_loss"])
def test_what_needs_a_validation_split_is_refused_without_one(data, monkeypatch, capsys, setting):
    line = refused(data, monkeypatch, capsys, [*DATA, setting])
    assert line.startswith(f"HparamError: {setting.replace('=2', '').replace('=valid_loss', '')} ")
    assert "without a validation split; add one" in line


LATE = ["--check_val_every_n_epoch=2", "--val_check_interval=3"]
LATE += ["--val_check_interval=0.5 --check_val_every_n_epoch=2"]


@pytest.mark.parametrize("late", LATE)
def test_a_validation_after_the_end_of_the_run_is_no_validation(data, monkeypatch, capsys, late):
    args = [*DATA, VALID, *late.split(), "--limit_train_batches=1", "--max_epochs=1"]
    setting = late.split()[-1]
    line = refused(data, monkeypatch, capsys, [*args, "--patience=2"])
    assert line.endswith(
        f"--patience has no effect because {setting} is after the end of the run; lower {setting}, "
        "or leave --patience out"
    )


@pytest.mark.filterwarnings("default:the run does not validate")
def test_a_run_that_does_not_validate_says_so(data, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(data)
    args = [*DATA, *FAST, VALID, "--limit_train_batches=1", f"--default_root_dir={tmp_path}/r"]
    args.append("--monitor=valid_loss")  # what a longer run needs is no error in a shorter one
    assert main([*args, "--val_check_interval=2", "--test_contigs=a", "--train_contigs=c"]) == 0
    printed = capsys.readouterr()
    assert "the run does not validate, because --val_check_interval=2 is after the" in printed.err
    assert "the last ones, as no validation has chosen others" in printed.out


TABLE = ("--task=classify", "--dataset=table", "--train_files=t.csv")
LABELS = {
    "--class_names yes yes": "--class_names: 'yes' occurs twice; name each class once",
    "--class_names a b": "t.csv line 2: label 'yes' is none of the classes a, b; correct it or",
    "--class_names yes no --split_column=label": "or choose another --split_column",
}


@pytest.mark.parametrize("setting", LABELS)
def test_labels_that_are_not_those_of_the_data_are_refused(data, monkeypatch, capsys, setting):
    (data / "t.csv").write_text("sequence,label\nACGT,yes\nAACC,no\n")
    assert LABELS[setting] in refused(data, monkeypatch, capsys, [*TABLE, *setting.split()])


TRACKS = ("--task=profile", "--dataset=tracks", "--fasta=g.fa", "--tracks=t.bw", VALID)
BINS = {
    "--seq_len=64 --bin_len=8 --bin_positions=4": "a bin of the model has 4 bp",
    "--seq_len=64 --bin_len=8 --crop_bins=4": "after cropping",
    "--seq_len=64 --bin_len=8 --target_len=32": "the model gives 8 bins, the tracks have 4",
    "--seq_len=64 --bin_len=8 --encoder=cnn --pool_size=3": "which does not divide a bin",
    "--seq_len=64 --bin_len=7": "does not divide",
}


@pytest.mark.parametrize("setting", BINS)
def test_bins_that_do_not_fit_are_refused(data, monkeypatch, capsys, setting):
    words = setting.split()
    if "--encoder=cnn" in words:
        words += ["--kernel_size=3"]
    assert BINS[setting] in refused(data, monkeypatch, capsys, [*TRACKS, *words])


@pytest.mark.parametrize(
    ("more", "n"),
    [
        ("--crop_bins=1 --target_len=48", 8),
        ("--encoder=cnn --n_layers=1 --kernel_size=3 --pool_size=4", 2),
        ("--bin_positions=8", 8),
    ],
)
def test_the_positions_of_a_bin_follow_from_its_length(data, monkeypatch, more, n):
    monkeypatch.chdir(data)
    seen = []
    init = ProfileDecoder.__init__

    def kept(self, hparams, *rest):
        init(self, hparams, *rest)
        seen.append(self.size)

    monkeypatch.setattr(ProfileDecoder, "__init__", kept)
    args = [*TRACKS, *FAST, "--seq_len=64", "--bin_len=8", "--fast_dev_run=True"]
    assert main([*args, *more.split()]) == 0
    assert seen == [n]


@pytest.mark.parametrize("setting", ["--n_threads=100000", "--accelerator=gpu"])
def test_a_verb_refuses_what_this_host_cannot_do(tmp_path, monkeypatch, capsys, setting):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "empty", unavailable)
    (tmp_path / "x.csv").write_text("sequence\n" + "ACGT" * 16 + "\n")
    checkpoint = ROOT / "tests/archive/0.2.0/classify.ckpt"
    words = ["predict", f"--checkpoints={checkpoint}", "--table=x.csv", "--out=y.tsv"]
    assert seqmodel([*words, setting]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "this process has" in line or "device='cuda' cannot be used here: no such device" in line
    assert [x.name for x in tmp_path.iterdir()] == ["x.csv"]


def unavailable(*size, **given):
    raise RuntimeError("no such device")
