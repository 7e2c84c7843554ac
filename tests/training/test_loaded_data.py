"""Models that are applied to other data: which items are scored, on labels that are their own."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from seqmodel.run import main
from seqmodel.training.metrics_csv import read_rows

SMALL = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1", "--batch_size=8")
QUIET = ("--progress=none", "--accelerator=cpu")
FAST = (*SMALL, *QUIET, "--max_epochs=2")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a genome of three contigs, labelled intervals, and two tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    rng = np.random.default_rng(0)
    contigs = {name: "".join(rng.choice(list("ACGT"), 2048)) for name in "abc"}
    Path("g.fa").write_text("".join(f">{name}\n{seq}\n" for name, seq in contigs.items()))
    lines = [
        f"{c}\t{s}\t{s + 64}\t{i % 2}\n" for c in "abc" for i, s in enumerate(range(0, 2048, 64))
    ]
    Path("g.bed").write_text("".join(lines))
    write_table("old.csv", 140, seed=1)
    write_table("new.csv", 50, seed=2)
    return tmp_path


def write_table(path, n, seed):
    """Sequences whose labels can be learned: a and b are rich in A and in C; kind is the richer."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        rich = rng.choice(list("AC"), p=(0.3, 0.7))
        seq = "".join(rng.choice(list("ACGT"), 40, p=[0.7 if x == rich else 0.1 for x in "ACGT"]))
        a, b = int(rich == "A"), int(rich == "C")
        kind, number = ("few", "many")[b], b
        rows.append([seq, a, b, kind, number, round(a + rng.random(), 3)])
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sequence", "a", "b", "kind", "number", "value"])
        writer.writerows(rows)


def lines_of(path):
    return Path(path).read_text().splitlines()


def scores(folder):
    """The last test scores in metrics.csv."""
    row = [r for r in read_rows(Path(folder, "metrics.csv")) if r.get("test_loss")][-1]
    return {name: value for name, value in row.items() if name.startswith("test_")}


def scored(folder):
    return json.loads(Path(folder, "hparams.json").read_text())["_run"]["tested"]


TABLE = ("--dataset=table", "--train_files=old.csv", "--valid_prop=0.1", "--test_prop=0.2")
MULTI = (*TABLE, "--task=multilabel", "--label_kind=multilabel", "--label_columns", "a", "b")
TEST = ("--mode=test", "--load_checkpoint_path=run/checkpoints/last.ckpt", *QUIET)


def test_a_test_scores_the_items_that_were_given_and_says_so(folder, capsys):
    assert main([*MULTI, *FAST, "--default_root_dir=run"]) == 0
    n_old = scored("run")["n"]
    assert 0 < n_old < 140
    assert scored("run")["files"] == ["old.csv"]
    assert f"test:       {n_old} items of old.csv\n" in capsys.readouterr().out
    assert main([*TEST, "--test_files=new.csv", "--default_root_dir=new"]) == 0
    assert scored("new") == {"n": 50, "files": ["new.csv"]}
    assert "test:       50 items of new.csv\n" in capsys.readouterr().out
    curves = json.loads(Path("new/test_curves.json").read_text())
    assert curves["n"] == 50
    assert main([*TEST, "--default_root_dir=same"]) == 0
    assert scored("same") == {"n": n_old, "files": ["old.csv"]}


def test_items_of_a_part_of_the_batches_are_counted_as_such(folder):
    limit = "--limit_test_batches=2"
    assert main([*MULTI, *FAST, "--default_root_dir=run", limit]) == 0
    assert scored("run")["n"] == 16


@pytest.mark.parametrize(
    ("given", "n", "files"),
    [
        (["--intervals=g.bed", "--test_contigs=c"], 32, ["g.bed"]),
        (["--train_files=g.bed", "--test_files=c.bed"], 2, ["c.bed"]),
    ],
)
def test_intervals_that_are_scored_are_counted(folder, given, n, files):
    Path("c.bed").write_text("c\t0\t64\t1\nc\t64\t128\t0\n")
    data = ["--dataset=bed", "--task=classify", "--fasta=g.fa", *given]
    assert main([*data, *FAST, "--default_root_dir=run"]) == 0
    assert scored("run") == {"n": n, "files": files}


def test_windows_over_contigs_that_are_scored_are_counted(folder, capsys):
    data = ["--task=masked", "--fasta=g.fa", "--seq_len=64", "--test_contigs=b"]
    assert main([*data, *FAST, "--default_root_dir=run"]) == 0
    assert scored("run") == {"n": 32, "files": ["g.fa"]}
    capsys.readouterr()
    assert main([*TEST, "--fasta=g.fa", "--default_root_dir=again"]) == 2
    line = capsys.readouterr().err
    assert "needs a test split, but the data have: train; add --test" in line
    assert not Path("again").exists()


@pytest.mark.parametrize("dataset", ["table", pytest.param("bed", marks=pytest.mark.slow)])
def test_files_of_other_splits_need_no_column_that_training_alone_uses(folder, dataset):
    """Weights of samples and words for splits."""
    words = ["train", "train", "valid", "test"]
    if dataset == "bed":
        rows = [f"{x}\t{1 + i % 2}\t.\t{words[i % 4]}" for i, x in enumerate(lines_of("g.bed"))]
        Path("old.bed").write_text("\n".join(rows) + "\n")
        Path("new.bed").write_text("c\t0\t64\t1\nc\t64\t128\t0\n")
        data = ["--dataset=bed", "--fasta=g.fa", "--train_files=old.bed"]
        data += ["--weight_column=5", "--split_column=7"]
        new, n = ["--fasta=g.fa", "--test_files=new.bed"], 2
    else:
        rows = [f"{x},{1 + i % 2},{words[i % 4]}" for i, x in enumerate(lines_of("old.csv")[1:])]
        Path("with.csv").write_text("\n".join([f"{lines_of('old.csv')[0]},w,s", *rows]) + "\n")
        data = ["--dataset=table", "--train_files=with.csv", "--label_columns=number"]
        data += ["--weight_column=w", "--split_column=s"]
        new, n = ["--test_files=new.csv"], 50
    assert main(["--task=classify", *data, *FAST, "--default_root_dir=run"]) == 0
    assert main([*TEST, *new, "--default_root_dir=new"]) == 0
    assert scored("new")["n"] == n
    # training rows for the test are joined with those of its own file
    more = [x for x in new if x.startswith("--test_files")]
    assert main(["--task=classify", *data, *more, *FAST, "--default_root_dir=both"]) == 0
    assert scored("both")["n"] == n + scored("run")["n"]


# -- the targets of the model and of the data ------------------------------------------------------

NOTED = pytest.mark.filterwarnings("default:.*in the order of the model", "default:.*taken for the")


def told(capsys):
    """The one line that a run printed as a warning or an error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def write_swapped(path, source):
    """The same rows with their columns in another order."""
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["b", "number", "a", "kind", "sequence", "value"])
        writer.writeheader()
        writer.writerows(rows)


@NOTED
@pytest.mark.parametrize("kind", ["multilabel", pytest.param("real", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", ["test", "train"])
def test_columns_in_another_order_are_put_in_that_of_the_model(folder, capsys, kind, mode):
    task = "multilabel" if kind == "multilabel" else "regress"
    columns = ["a", "b"] if kind == "multilabel" else ["a", "value"]
    args = [*TABLE, f"--task={task}", f"--label_kind={kind}", "--label_columns", *columns]
    assert main([*args, *FAST, "--default_root_dir=run"]) == 0
    assert main([*TEST, "--test_files=new.csv", "--default_root_dir=right"]) == 0
    capsys.readouterr()
    write_swapped("swapped.csv", "new.csv")
    files = [f"--{mode}_files=swapped.csv", *(["--test_files=new.csv"] if mode == "train" else [])]
    more = [f"--mode={mode}", *files, "--lr=0", "--weight_decay=0", "--default_root_dir=turned"]
    assert main([*TEST, *more, "--label_columns", *reversed(columns)]) == 0
    line = told(capsys)
    assert line.startswith(
        "warning: run/checkpoints/last.ckpt: targets are put in the order of the"
    )
    assert f"{columns[0]}, {columns[1]} (given: {columns[1]}, {columns[0]})" in line
    assert scores("turned") == scores("right")


@NOTED
def test_classes_in_another_order_are_numbered_as_the_model_does(folder, capsys):
    args = [*TABLE, "--task=classify", "--label_columns=kind", "--class_names", "few", "many"]
    assert main([*args, *FAST, "--max_epochs=8", "--lr=0.01", "--default_root_dir=run"]) == 0
    assert main([*TEST, "--test_files=new.csv", "--default_root_dir=right"]) == 0
    assert float(scores("right")["test_accuracy"]) > 0.8
    assert main([*TEST, "--test_files=new.csv", "--class_names", "many", "few"]) == 0
    assert "classes are numbered in the order of the model: few, many" in capsys.readouterr().err
    (again,) = Path("out").glob("*/version_0")
    assert scores(again) == scores("right")
    # weights of classes belong to the order in which both are given
    args = [*TEST, "--test_files=new.csv", "--class_names", "many", "few", "--class_weights=1"]
    assert main([*args, "--class_weights=2", "--default_root_dir=weighted"]) == 2
    assert "--class_weights: the targets are given in another order" in told(capsys)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--class_names", "few", "lots"], r"(missing: many; new: lots)"),
        (["--class_names", "few", "many", "lots"], r"(new: lots)"),
        (["--class_names=", "--label_columns=three"], "the data have 3 classes (0, 1, 2)"),
    ],
)
@pytest.mark.parametrize("mode", ["test", "train"])
def test_other_classes_are_refused_in_one_line(folder, capsys, given, message, mode):
    args = [*TABLE, "--task=classify", "--label_columns=kind", "--class_names", "few", "many"]
    assert main([*args, *FAST, "--max_epochs=1", "--default_root_dir=run"]) == 0
    text = lines_of("new.csv")
    rows = [f"{line},{i % 3}" for i, line in enumerate(text[1:])]
    table = "\n".join([f"{text[0]},three", *rows]) + "\n"
    if "lots" in given:
        table = table.replace("many", given[2])
    Path("new.csv").write_text(table)
    capsys.readouterr()
    args = [*TEST, f"--mode={mode}", f"--{mode}_files=new.csv", *given]
    assert main([*args, "--default_root_dir=other"]) == 2
    line = told(capsys)
    assert line.startswith(
        "CheckpointError: run/checkpoints/last.ckpt: the model predicts 2 classes"
    )
    assert message in line
    assert line.endswith("start a new model from its encoder with --load_encoder_from_checkpoint")
    assert not Path("other").exists()


@NOTED
def test_fewer_classes_than_the_model_has_are_scored(folder):
    args = [*TABLE, "--task=classify", "--label_columns=number", *FAST]
    assert main([*args, "--default_root_dir=run"]) == 0
    lines = lines_of("new.csv")
    Path("zeros.csv").write_text("\n".join(x for x in lines if x.split(",")[4] != "1") + "\n")
    assert main([*TEST, "--test_files=zeros.csv", "--default_root_dir=zeros"]) == 0
    assert scored("zeros")["n"] == len(lines) - 1 - sum(x.split(",")[4] == "1" for x in lines)


def write_peaks(names):
    """Peaks of factors at different places, a file each."""
    for k, name in enumerate("abcd"):
        lines = [f"{c}\t{s}\t{s + 50}\n" for c in "abc" for s in range(50 * k, 2000, 100 + 50 * k)]
        if name in names:
            Path(f"{name}.bed").write_text("".join(lines))
    return ["--peaks", *(f"{x}.bed" for x in names)]


PEAKS = ("--dataset=peaks", "--task=multilabel", "--fasta=g.fa", "--bin_len=50", "--seq_len=64")
PEAKS += ("--incomplete=pad",)


def test_other_factors_are_refused_by_their_names(folder, capsys):
    split = ["--valid_contigs=b", "--test_contigs=c"]
    assert main([*PEAKS, *write_peaks("abc"), *split, *FAST, "--default_root_dir=run"]) == 0
    capsys.readouterr()
    given = ["--fasta=g.fa", *split, *write_peaks("bcd")]
    assert main([*TEST, *given, "--default_root_dir=other"]) == 2
    line = told(capsys)
    assert "3 labels (a, b, c), the data have 3 labels (b, c, d) (missing: a; new: d)" in line
    assert not Path("other").exists()
    # peak files in another order are the same factors
    given = ["--fasta=g.fa", *split, *write_peaks("cab")]
    assert main([*TEST, *given, "--default_root_dir=turned"]) == 0
    assert scores("turned") == scores("run")
    # and new factors may start from the encoder
    given = [*PEAKS, *write_peaks("bcd"), *split, *FAST, "--default_root_dir=new"]
    assert main([*given, "--load_encoder_from_checkpoint=run/checkpoints/last.ckpt"]) == 0


def write_bigwigs():
    import pybigtools

    rng = np.random.default_rng(5)
    for name in "pm":
        file = pybigtools.open(f"{name}.bw", "w")
        values = [(c, s, s + 16, float(rng.integers(9))) for c in "abc" for s in range(0, 2048, 16)]
        file.write(dict.fromkeys("abc", 2048), iter(values))


@pytest.mark.filterwarnings("default:.*of the model")
def test_tracks_in_another_order_and_their_strands_are_those_of_the_model(folder, capsys):
    write_bigwigs()
    tracks = ["--dataset=tracks", "--task=profile", "--seq_len=64", "--bin_len=8"]
    tracks += ["--bin_positions=8", "--average_strands=True", "--track_strands", "+", "-"]
    data = ["--fasta=g.fa", "--valid_contigs=b", "--test_contigs=c"]
    given = [*tracks, *data, "--tracks", "p.bw", "m.bw", *FAST, "--default_root_dir=run"]
    assert main(given) == 0
    for name, more in (("turned", []), ("named", ["--track_strands", "-", "+"])):
        capsys.readouterr()
        given = [*TEST, *data, "--tracks", "m.bw", "p.bw", *more, f"--default_root_dir={name}"]
        assert main(given) == 0
        assert "targets are put in the order of the model: p, m (given: m, p)" in told(capsys)
        again, before = (
            {k: float(v) for k, v in scores(x).items() if v and "/" not in k} for x in (name, "run")
        )
        assert again == pytest.approx(before, rel=1e-5)
    given = [*TEST, *data, "--tracks", "m.bw", "p.bw", "--track_names", "x", "p"]
    assert main([*given, "--default_root_dir=other"]) == 2
    assert "(missing: m; new: x)" in told(capsys)
    assert main([*TEST, "--log1p=True", "--default_root_dir=other"]) == 2
    assert "HparamError: --log1p was False when run/checkpoints/last.ckpt was" in told(capsys)


def test_the_letters_that_are_not_known_are_the_same_input(folder, capsys):
    data = ["--task=masked", "--fasta=g.fa", "--seq_len=64", "--valid_contigs=b", "--unknown=zeros"]
    assert main([*data, *FAST, "--default_root_dir=run"]) == 0
    capsys.readouterr()
    given = [*TABLE, "--task=classify", "--label_columns=number", *QUIET]
    given += ["--load_encoder_from_checkpoint=run/checkpoints/last.ckpt"]
    assert main([*given, "--default_root_dir=other"]) == 2
    assert "trained with --unknown=zeros, but this run has --unknown=uniform" in told(capsys)


def test_a_model_of_letters_reads_data_with_any_labels(folder):
    data = ["--fasta=g.fa", "--intervals=g.bed", "--test_contigs=c"]
    args = ["--task=masked", "--dataset=bed", *data, *FAST, "--default_root_dir=run"]
    assert main(args) == 0
    given = [*TEST, "--dataset=fasta", "--fasta=g.fa", "--seq_len=64", "--test_contigs=c"]
    assert main([*given, "--default_root_dir=other"]) == 0


@NOTED
def test_arrays_are_compared_by_how_many_targets_they_have(folder, capsys):
    rng = np.random.default_rng(0)
    x = np.eye(4, dtype=np.uint8)[rng.integers(4, size=(40, 20))]
    for name, n in (("two.npz", 2), ("three.npz", 3)):
        np.savez(name, x=x, y=rng.integers(2, size=(40, n)).astype(np.uint8))
    data = ["--dataset=arrays", "--task=multilabel", "--train_files=two.npz", *FAST]
    assert main([*data, "--default_root_dir=run"]) == 0
    capsys.readouterr()
    assert main([*TEST, "--test_files=three.npz", "--default_root_dir=three"]) == 2
    assert "predicts 2 labels (0, 1), the data have 3 labels (0, 1, 2)" in told(capsys)
    assert main([*TEST, "--test_files=two.npz", "--default_root_dir=two"]) == 0
    assert scored("two") == {"n": 40, "files": ["two.npz"]}
