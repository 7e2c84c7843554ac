"""What a run prints from its start to its end, and `out/latest`."""

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqmodel
from seqmodel.cli.verbs import main as verbs_main
from seqmodel.job.results import results
from seqmodel.job.status_table import status
from seqmodel.record.folder import link_latest
from seqmodel.run import main
from seqmodel.training.ending import Beside, mistakes, score_table, target_table
from seqmodel.training.progress import duration, number

ROOT = Path(__file__).parents[2]
ARGS = [
    *("--task=classify", "--dataset=table", "--train_files=train.csv", "--valid_files=valid.csv"),
    *("--test_files=test.csv", "--encoder=cnn", "--n_dims=4", "--n_layers=1", "--batch_size=16"),
    *("--max_epochs=3", "--accelerator=cpu", "--n_threads=1", "--patience=2"),
]
# runs of spaces as one, numbers as N
GOLDEN = """\
run folder: out/NAME/version_N
data items bp class N class N
train N N N N
valid N N N N
test N N N N
device: cpu, N thread; N-bit floats
encoder: cnn, N parameters; an output sees N bp
model: N trained parameters, with the decoder
monitored: valid_loss; the lowest makes best.ckpt and is marked *
ends after: N epochs, or N validations without a better value

epoch step train_loss valid_loss accuracy f1 mcc auroc auprc time left
N/N N N N N N N N N TIME <TIME*
N/N N N N N N N N N TIME <TIME*
N/N N N N N N N N N TIME TIME*
trained for N steps in TIME

test: N items of test.csv
weights: best.ckpt, with the lowest valid_loss (N), of epoch N, step N
model N % interval GC N-mers nearest row
test_loss N
test_accuracy N N to N N N N
test_f1 N N to N N N N
test_mcc N N to N N N N
test_auroc N N to N N N N
test_auprc N N to N N N N
true, predicted: N N
N N N
N N N
audit: mcc N | GC N, N-mers N, nearest row N | N duplicates of train, N% similar (>= N)
predictions: out/NAME/version_N/test_predictions.tsv
next:
seqmodel predict --checkpoints out/NAME/version_N/checkpoints/best.ckpt \
--table test.csv --sequence_column=sequence --out=out/NAME/version_N/predictions.tsv
seqmodel attribute --checkpoints out/NAME/version_N/checkpoints/best.ckpt \
--table test.csv --sequence_column=sequence --target=N --plot=N --out=out/NAME/version_N/explained
seqmodel audit --run=out/NAME/version_N
"""


def write_data(folder):
    rng = np.random.default_rng(0)
    for name, n in (("train", 160), ("valid", 60), ("test", 80)):
        y = rng.integers(0, 2, n)
        p = np.array([[0.4, 0.1, 0.1, 0.4], [0.1, 0.4, 0.4, 0.1]])
        texts = ["".join(rng.choice(list("ACGT"), 40, p=p[i])) for i in y]
        pd.DataFrame({"sequence": texts, "label": y}).to_csv(folder / f"{name}.csv", index=False)


def masked(text):
    """Its words, without what differs between runs."""
    text = re.sub(r"out/[^/\s]+/", "out/NAME/", text.replace("python -m seqmodel", "seqmodel"))
    text = re.sub(r"\d+:[\d:]+|\d+\.\ds\b", "TIME", text)
    text = re.sub(r"(?<!f)\d+(?:,\d{3})*(\.\d+)?", "N", text.replace("'", ""))
    return re.sub(" +", " ", text).replace("\n ", "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the data and a run, and what the run printed."""
    where = tmp_path_factory.mktemp("printed")
    write_data(where)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
        patch.setattr("seqmodel.trust.short.LEAST_S", 60.0)
        with open("printed", "w") as file:
            patch.setattr(sys, "stdout", file)
            assert main(ARGS) == 0
    return where


@pytest.fixture
def printed(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return Path("printed").read_text()


def test_a_run_says_what_it_does_from_start_to_end(printed):
    baselines = re.compile(r"GC|N-mers|nearest row")  # in the order of their scores
    found, wanted = (baselines.sub("B", x).splitlines() for x in (masked(printed), GOLDEN))
    assert found == wanted


def test_it_is_ascii_in_columns_of_at_most_80_characters(printed):
    assert printed.isascii()
    lines = printed.splitlines()
    assert all(len(x) <= 100 for x in lines if not re.search("out/|^audit", x))
    first = next(i for i, x in enumerate(lines) if x.startswith("epoch"))
    table = [x.removesuffix("*") for x in lines[first : first + 4]]
    assert len({len(x) for x in table}) == 1
    assert len(table[0]) <= 79
    ends = [m.end() for m in re.finditer(r"\S+", table[0])]
    for row in table[1:]:
        assert all(row[end - 1] != " " for end in ends)


def test_what_is_printed_is_what_the_run_had(printed):
    rows = pd.read_csv("out/latest/metrics.csv")
    table = [x.split() for x in printed.splitlines() if re.match(r" +\d/3 ", x)]
    for name, column in (("train_loss", 2), ("valid_loss", 3)):
        assert [f"{x:.4f}" for x in rows[name][:3]] == [x[column] for x in table]
    data = pd.read_csv("train.csv")
    counts = data["label"].value_counts()
    line = next(x for x in printed.splitlines() if x.startswith("train "))
    assert line.split() == ["train", "160", "6,400", str(counts[0]), str(counts[1])]
    said = pd.read_csv("out/latest/test_predictions.tsv", sep="\t")
    right = pd.crosstab(said["truth"], (said["1"] > said["0"]).astype(int))
    shown = printed.partition("true, predicted:")[2].splitlines()[1:3]
    for name, row in zip((0, 1), shown, strict=True):
        assert [int(x) for x in row.split()[1:]] == [right.get(k, {}).get(name, 0) for k in (0, 1)]


def test_a_command_that_is_printed_can_be_pasted(printed):
    words = shlex.split(printed.partition("next:\n")[2].splitlines()[0])
    assert verbs_main(words[words.index("seqmodel") + 1 :]) == 0
    assert len(pd.read_csv(Path("out/latest/predictions.tsv"), sep="\t")) == 80


def test_python_prints_the_same(folder, monkeypatch, capsys, printed):
    monkeypatch.setattr("seqmodel.trust.short.LEAST_S", 60.0)
    given = dict(x.removeprefix("--").split("=") for x in ARGS)
    run = seqmodel.train(**given, progress="bar")  # a bar comes in addition, on stderr or stdout
    said = [x for x in capsys.readouterr().out.splitlines() if not re.search(r"\d+%\|", x)]
    wanted = [masked(x) for x in printed.splitlines()]
    assert [x for x in wanted if x not in map(masked, said)] == []
    assert Path("out/latest").resolve() == run.path


def test_the_last_run_is_linked_and_counts_once(printed):
    link = Path("out/latest")
    assert link.is_symlink()
    assert not os.path.isabs(os.readlink(link))
    n = len(list(Path("out").glob("*/version_*")))
    assert len(results("out")) == len(status("out")) == n
    assert [Path(x.folder) for x in results("out/latest")] == [link.resolve()]
    assert [Path(x.folder) for x in status("out/latest")] == [link.resolve()]
    assert len(seqmodel.load("out/latest/checkpoints/best.ckpt").predict(["ACGT" * 10])) == 1


def test_no_link_replaces_a_folder_or_fails_or_comes_from_a_job(tmp_path, monkeypatch):
    runs = [tmp_path / f"a/version_{i}" for i in range(2)]
    for run in runs:
        run.mkdir(parents=True)
        link_latest(run)
        assert (tmp_path / "latest").resolve() == run
    monkeypatch.setenv("SEQMODEL_JOB_PID", "1")
    link_latest(runs[0])
    assert (tmp_path / "latest").resolve() == runs[1]
    monkeypatch.delenv("SEQMODEL_JOB_PID")
    (tmp_path / "latest").unlink()
    (tmp_path / "latest").mkdir()
    link_latest(runs[0])
    assert (tmp_path / "latest").is_dir()
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a", "latest"]
    (tmp_path / "latest").rmdir()
    monkeypatch.setattr(os, "symlink", lambda *x: (_ for _ in ()).throw(OSError("no links here")))
    link_latest(runs[0])
    assert not (tmp_path / "latest").exists()


@pytest.mark.slow
def test_a_terminal_shows_at_least_what_a_pipe_shows(folder, printed):
    master, slave = pty.openpty()
    subprocess.run(["stty", "-F", os.ttyname(slave), "cols", "80", "rows", "24"], check=True)
    command = [sys.executable, str(ROOT / "seqmodel/run.py"), *ARGS, "--audit=none"]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=folder)
    os.close(slave)
    found = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # Linux says so at the end
            break
        found += part
        if not part:
            break
    os.close(master)
    assert process.wait() == 0
    assert b"%|" in found  # the bar
    lines = re.split(r"[\r\n]+|\x1b\[[A-Z]", found.decode())
    said = [masked(x).strip() for x in lines]
    whole = [masked(x).strip() for x in printed.split("\ntest:")[0].splitlines()]
    assert [x for x in whole if x not in said] == []


def test_without_an_audit_there_are_scores_alone(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main([*ARGS, "--audit=none", "--max_epochs=1", "--progress=none"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"\ntest_mcc +-?\d\.\d+\n", text)
    assert "audit: " not in text
    assert "interval" not in text


def test_of_many_classes_the_most_frequent_mistakes_are_shown():
    counts = np.diag(np.full(12, 5))
    counts[3, 7], counts[0, 1] = 4, 2
    lines = mistakes([f"c{i}" for i in range(12)], counts.tolist())
    assert [x.split() for x in lines[2:]] == [["c3", "c7", "4", "9"], ["c0", "c1", "2", "7"]]
    assert len(mistakes(["a", "b"], [[1, 2], [3, 4]])) == 3


def test_of_many_targets_the_lowest_and_the_highest_are_shown():
    metrics = {f"test_auroc/t{i}": i / 100 for i in range(50)} | {"test_auroc": 0.5}
    names = [x.split()[0] for x in target_table(metrics)[1:]]
    assert names == ["t0", "t1", "t2", "t3", "...", "t46", "t47", "t48", "t49"]
    assert len(target_table({"test_mse/a": 1.0, "test_mse/b": float("nan")})) == 3
    assert target_table({"test_mse": 1.0}) == []
    beside = Beside((), {"mse": (0.5, 2.0)}, {"GC": {"mse": 3.0}})
    line = score_table({"test_mse": 1.0, "test_mse/a": 1.0}, beside)[1]
    assert line.split() == ["test_mse", "1.000", "0.500", "to", "2.000", "3.000"]


def test_times_and_numbers_are_short():
    shown = [duration(x) for x in (0.04, 59.9, 65, 3599.6, 7384)]
    assert shown == ["0.0s", "59.9s", "1:05", "1:00:00", "2:03:04"]
    values = {"valid_loss": 0.12345, "mcc": 0.12345, "mse": 1e-7, "loss": float("nan")}
    assert [number(*x) for x in values.items()] == ["0.1235", "0.123", "1.0e-07", "nan"]
