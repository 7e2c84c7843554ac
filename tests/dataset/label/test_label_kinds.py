"""The kind of labels: from the task, as given, or as the values look; classes that cannot be."""

import warnings

import numpy as np
import pytest

from seqmodel.dataset.array_data import ArrayData
from seqmodel.dataset.build import build_data
from seqmodel.dataset.table_data import TableData
from seqmodel.errors import LabelError
from seqmodel.hparam.dataset import ArraysHparams, TableHparams
from seqmodel.hparam.resolve import resolve, resolve_data

RNG = np.random.default_rng(0)
NAN = float("nan")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def arrays(labels, **given):
    labels = np.asarray(labels)
    onehot = np.eye(4, dtype=np.float32)[RNG.integers(0, 4, (len(labels), 8))]
    np.savez("x.npz", x=onehot, y=labels)
    return ArrayData(ArraysHparams(train_files=["x.npz"], **given))


def table(texts, valid=(), **given):
    for name, rows in (("train", texts), ("valid", valid)):
        lines = "".join(f"ACGT{'ACGT'[i % 4]},{x}\n" for i, x in enumerate(rows))
        with open(f"{name}.csv", "w") as f:
            f.write(f"sequence,label\n{lines}")
    files = {"train_files": ["train.csv"]} | ({"valid_files": ["valid.csv"]} if valid else {})
    return TableData(TableHparams(**files, **given))


@pytest.mark.parametrize(
    ("labels", "kind", "expected"),
    [
        ([3, 0, 120], "real", [[3], [0], [120]]),
        ([3.5, NAN, 120], "real", [[3.5], [NAN], [120]]),
        ([[0, 1], [1, NAN]], "multilabel", [[0, 1], [1, NAN]]),
        ([0, 1, 1], "multilabel", [[0], [1], [1]]),
        ([[0, 1], [1, 0]], "real", [[0, 1], [1, 0]]),
        ([0.0, 2.0, 1.0], "class", [0, 2, 1]),
        ([[0], [2], [1]], "class", [0, 2, 1]),
        ([True, False], "class", [1, 0]),
    ],
)
def test_arrays_have_the_kind_that_is_asked_for(labels, kind, expected):
    data = arrays(labels, label_kind=kind)
    (batch,) = data.loader("train", train=False)
    np.testing.assert_array_equal(batch["target"], np.array(expected))
    assert data.targets.kind == kind
    n = np.max(expected) + 1 if kind == "class" else len(expected[0])
    assert data.targets.n == n


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        ([[0, 1], [1, 0]], "class", r"labels of shape \[2, 2\], but a class is one number"),
        ([0, 1.5], "class", r"the label at \[1\] is 1.5, but a class is a whole number from 0 on"),
        ([0, NAN], "class", r"the label at \[1\] is nan, but a class is a whole number"),
        ([0, -1], "class", r"the label at \[1\] is -1, but a class is a whole number"),
        ([[0, 1], [1, 3]], "multilabel", r"the label at \[1, 1\] is 3, but a label is 0 or 1 or"),
    ],
)
def test_labels_of_another_kind_are_refused(labels, kind, message):
    with pytest.raises(LabelError, match=f"x.npz: {message}"):
        arrays(labels, label_kind=kind)


@pytest.mark.parametrize(
    ("task", "kind"), [("classify", "class"), ("multilabel", "multilabel"), ("regress", "real")]
)
@pytest.mark.parametrize("dataset", ["arrays", "table"])
def test_the_task_says_which_kind(task, kind, dataset):
    table([0, 1, 1, 0])
    arrays([0, 1, 1, 0])
    file = "train.csv" if dataset == "table" else "x.npz"
    data = [f"--dataset={dataset}", f"--train_files={file}"]
    run = resolve([f"--task={task}", "--encoder=cnn", *data])
    assert run.values.label_kind == kind
    assert build_data(run).targets.kind == kind
    # what is given is taken, and the words that a run is recorded as give it again
    given = resolve([f"--task={task}", "--encoder=cnn", *data, "--label_kind=real"])
    assert given.values.label_kind == "real"
    assert resolve(run.to_args()).values == run.values
    # the names of runs are those from before
    assert ("label_kind" in run.canonical()) == (dataset == "table" and kind != "class")
    assert resolve_data(data).values.label_kind == ("class" if dataset == "table" else None)


def test_a_wrong_column_is_no_class():
    with pytest.raises(LabelError, match=r"class 45000, which implies 45001 classes for 40 rows"):
        table([*range(39), 45_000])
    with pytest.raises(
        LabelError, match=r"which implies 1500 classes for 1500 rows; check --label_c"
    ):
        table(range(1500))
    with pytest.raises(LabelError, match="which implies 45001 classes for 2 rows"):
        arrays([0, 45_000], label_kind="class")


def test_classes_from_1_on_are_refused():
    with pytest.raises(LabelError, match="the labels are 1 to 3, but .* --class_names 1 2 3$"):
        table([1, 2, 3, 1])
    assert table([1, 2, 3, 1], class_names=["1", "2", "3"]).targets.n == 3
    with pytest.raises(LabelError, match="the labels are 1 to 2"):
        arrays([1, 2, 2])


def test_a_class_without_rows_is_reported():
    with pytest.warns(UserWarning, match="^no row has class 1, 3$"):
        table([0, 2, 4])
    message = "valid split: 2 of 3 rows have a class that no training row has: 2"
    with pytest.warns(UserWarning, match=message):
        table([0, 1], [2, 0, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table([0, 1, 2], [0, 0])
