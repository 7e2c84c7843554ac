"""A run is resumed on the data on which it was trained so far, or is refused."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from seqmodel.dataset.data import changed_files, digest_of
from seqmodel.dataset.seq import source
from seqmodel.record import checkpoint
from seqmodel.run import main

FAST = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1", "--batch_size=8")
FAST += ("--progress=none", "--accelerator=cpu", "--max_epochs=1")
GENOME = "--fasta=g.fa --valid_contigs=b"
BED = "--fasta=g.fa --intervals=g.bed --fold_json=folds.json --contig_aliases=aliases.txt"
RUNS = {
    "fasta": f"--task=masked {GENOME} --seq_len=64 --blacklist=black.bed",
    "bed": f"--task=classify --dataset=bed {BED}",
    "table": "--task=classify --dataset=table --train_files=train.csv --valid_files=valid.csv",
    "records": "--task=classify --dataset=records --fasta=r.fa --train_files=r.csv",
    "peaks": f"--task=multilabel --dataset=peaks {GENOME} --peaks=p.bed --bin_len=64 --seq_len=64",
    "tracks": f"--task=profile --dataset=tracks {GENOME} --tracks=t.bw --seq_len=64 --bin_len=8 "
    "--bin_positions=8",
    "arrays": "--task=multilabel --dataset=arrays --train_files=a.npz",
    "h5": "--task=multilabel --dataset=arrays --train_files=a.h5",
}
RUNS = {name: words.split() for name, words in RUNS.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with data of every kind."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    write_data(seed=0)
    return tmp_path / "work"


def write_data(seed):
    """Data of one size, whatever the seed."""
    import h5py
    import pybigtools

    rng = np.random.default_rng(seed)
    contigs = {name: "".join(rng.choice(list("ACGT"), 1024)) for name in "abc"}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    starts = rng.permutation(np.arange(0, 960, 64))
    rows = [f"{c}\t{s}\t{s + 64}\t{s // 64 % 2}\n" for c in "abc" for s in starts]
    Path("g.bed").write_text("".join(rows))
    Path("p.bed").write_text("".join(rows[::2]))
    Path("black.bed").write_text(f"a\t{500 + seed}\t600\n")
    Path("folds.json").write_text(json.dumps({"valid": ["bc"[seed % 2]]}))
    Path("aliases.txt").write_text(f"a\tchr{seed}\n")
    for name in ("train", "valid", "r"):
        lines = [f"{contigs['a'][s : s + 40]},{s // 64 % 2}\n" for s in starts]
        if name == "r":
            lines = [f"n{i},{(i + seed) % 2}\n" for i in range(len(starts))]
        Path(f"{name}.csv").write_text("sequence,label\n" + "".join(lines))
    records = [f">n{i}\n{contigs['b'][s : s + 40]}\n" for i, s in enumerate(starts)]
    Path("r.fa").write_text("".join(records))
    file = pybigtools.open("t.bw", "w")
    values = [(c, s, s + 16, float(rng.integers(9))) for c in "abc" for s in range(0, 1024, 16)]
    file.write(dict.fromkeys(contigs, 1024), iter(values))
    x = np.eye(4, dtype=np.uint8)[rng.integers(4, size=(40, 20))]
    y = rng.integers(2, size=(40, 2)).astype(np.uint8)
    np.savez("a.npz", x=x, y=y)
    with h5py.File("a.h5", "w") as file:
        file["x"], file["y"] = x, y


def listing(folder):
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in Path(folder).rglob("*")}


RESUME = ("--resume_from_checkpoint=run/checkpoints/last.ckpt", "--max_epochs=2")
CHANGES = [
    ("fasta", "g.fa", "fasta"),
    ("fasta", "black.bed", "blacklist"),
    ("bed", "g.fa", "fasta"),
    ("bed", "g.bed", "intervals"),
    ("bed", "folds.json", "fold_json"),
    ("bed", "aliases.txt", "contig_aliases"),
    ("table", "train.csv", "train_files"),
    ("table", "valid.csv", "valid_files"),
    ("records", "r.fa", "fasta"),
    ("records", "r.csv", "train_files"),
    ("peaks", "p.bed", "peaks"),
    ("tracks", "t.bw", "tracks"),
    ("arrays", "a.npz", "train_files"),
    ("h5", "a.h5", "train_files"),
]


@pytest.mark.parametrize(("kind", "name", "option"), CHANGES, ids=lambda x: str(x))
def test_a_file_of_the_same_size_that_has_changed_is_refused(folder, capsys, kind, name, option):
    assert main([*RUNS[kind], *FAST, "--default_root_dir=run"]) == 0
    old = Path(name).read_bytes()
    shutil.copytree(".", "../kept")
    write_data(seed=1)
    changed = Path(name).read_bytes()
    assert changed != old
    for path in Path("../kept").iterdir():  # all but this one as they were
        if path.is_file() and path.name != name:
            shutil.copy2(path, path.name)
    before = listing("run")
    capsys.readouterr()
    assert main(RESUME) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("RunError: ")
    assert f"{name} (--{option}) has changed: {len(changed)} bytes, SHA-256 " in line
    assert "--allow_changed_data" in line
    assert listing("run") == before


def test_fewer_or_other_rows_are_refused_and_with_leave_recorded(folder, capsys):
    assert main([*RUNS["table"], *FAST, "--default_root_dir=run"]) == 0
    old = digest_of("train.csv")
    rows = Path("train.csv").read_text().splitlines(keepends=True)
    Path("train.csv").write_text("".join(rows[: len(rows) // 2]))
    assert main(RESUME) == 2
    assert "train.csv (--train_files) has changed" in capsys.readouterr().err
    assert main([*RESUME, "--allow_changed_data"]) == 0
    assert "train.csv (--train_files) has changed: " in capsys.readouterr().out
    record = json.loads(Path("run/hparams.json").read_text())
    assert record["_run"]["data"]["train.csv"] == old
    (resumed,) = record["_run"]["resumed"]
    assert resumed["data"]["train.csv"] == digest_of("train.csv")
    assert resumed["changed_data"][0].startswith("train.csv (--train_files) has changed")
    stored = checkpoint.load("run/checkpoints/last.ckpt")["seqmodel"]["data"]
    assert stored["train.csv"] == digest_of("train.csv")
    # the run now continues on these data, and on no others
    assert main([RESUME[0], "--max_epochs=3"]) == 0
    Path("train.csv").write_text("".join(rows[: len(rows) // 2 + 1]))
    assert main([RESUME[0], "--max_epochs=4"]) == 2  # leave was given once


def test_leave_to_change_the_data_is_not_taken_from_a_record(folder):
    assert main([*RUNS["table"], *FAST, "--default_root_dir=run"]) == 0
    rows = Path("valid.csv").read_text().splitlines(keepends=True)
    Path("valid.csv").write_text("".join(reversed(rows[1:])).join((rows[0], "")))
    assert main([*RESUME, "--allow_changed_data", "--default_root_dir=else"]) == 0
    record = json.loads(Path("else/hparams.json").read_text())
    assert record["allow_changed_data"] is False
    assert record["_run"]["changed_data"]
    assert "--allow_changed_data=True" in record["_run"]["command"]


@pytest.mark.parametrize(
    "kind", [pytest.param(x, marks=[pytest.mark.slow] * (x != "table")) for x in RUNS]
)
def test_files_that_were_moved_are_the_same_data(folder, capsys, monkeypatch, kind):
    """The same contents below another folder: given by absolute paths, and from another cwd."""
    assert main([*RUNS[kind], *FAST, "--default_root_dir=run"]) == 0
    last = Path("run/checkpoints/last.ckpt").resolve()
    Path("run").rename("../run")
    folder.rename(folder.parent / "moved")
    (folder.parent / "empty").mkdir()
    last = last.parents[3] / "run/checkpoints/last.ckpt"
    monkeypatch.chdir(folder.parent / "moved")
    capsys.readouterr()
    assert main([f"--resume_from_checkpoint={last}", "--max_epochs=2"]) == 0
    monkeypatch.chdir(folder.parent / "empty")
    options = [x.split("=") for x in RUNS[kind]]
    given = [
        f"{n}={folder.parent / 'moved' / v}" for n, v in options if Path("../moved", v).exists()
    ]
    assert given
    resume = [f"--resume_from_checkpoint={last}", "--max_epochs=3"]
    assert main([*resume, *given]) == 0
    assert capsys.readouterr().err == ""
    assert checkpoint.load(last)["epoch"] == 2


def test_another_number_of_files_is_another_run(folder, capsys):
    assert main([*RUNS["table"], *FAST, "--default_root_dir=run"]) == 0
    assert main([*RESUME, "--train_files", "train.csv", "r.csv"]) == 2
    assert "train_files was ['train.csv'] and is now ['train.csv', 'r.csv']" in (
        capsys.readouterr().err
    )


def test_files_are_compared_by_what_they_are_for():
    one, two = {"size": 1, "sha256": "1" * 64}, {"size": 1, "sha256": "2" * 64}
    files = {"fasta": ["x/g.fa", "y/g.fa"], "fold_json": []}
    before = {"/old/x/g.fa": one, "/old/y/g.fa": two}
    now = {"/new/x/g.fa": one, "/new/y/g.fa": two}
    assert changed_files(files, before, files, now) == []
    turned = {"fasta": ["y/g.fa", "x/g.fa"]}
    assert len(changed_files(files, before, turned, now)) == 2
    other = {"fasta": ["/elsewhere/a.fa", "/elsewhere/b.fa"]}
    digests = {"/elsewhere/a.fa": one, "/elsewhere/b.fa": one}
    (line,) = changed_files(files, before, other, digests)
    assert line.startswith("/elsewhere/b.fa (--fasta) has changed: 1 bytes, SHA-256 111111111111, ")
    # what an earlier version did not note cannot be compared
    assert changed_files(files, {}, files, now) == []


def test_large_files_are_not_digested_again_where_their_content_is_known(folder, monkeypatch):
    """Stores and cached arrays know the digests of their sources."""
    for name in ("g.fa", "t.bw", "a.npz"):
        os.utime(name, (1e9, 1e9))
    monkeypatch.setattr(source, "_RESOLUTION_NS", -1_000_000_000)  # all times are settled
    for kind in ("tracks", "arrays"):
        assert main([*RUNS[kind], *FAST, f"--default_root_dir={kind}"]) == 0
    source._known.clear()
    read = []
    seen = source.files.sha256_of
    monkeypatch.setattr(source.files, "sha256_of", lambda p, e: read.append(p) or seen(p, e))
    monkeypatch.setattr("seqmodel.dataset.data.sha256_of", source.files.sha256_of)
    for kind in ("tracks", "arrays"):
        last = f"--resume_from_checkpoint={kind}/checkpoints/last.ckpt"
        assert main([last, "--max_epochs=2"]) == 0
    assert read == []
