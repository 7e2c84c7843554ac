"""Rows that are one sequence, against sets of text."""

import numpy as np
import pytest
from leak_cases import gue, reverse, rows_of, texts_of

from seqmodel.dataset.seq.alphabet import PROTEIN
from seqmodel.trust.duplicates import duplicates, match, within


@pytest.mark.parametrize(
    ("name", "n_train", "n_test", "n_dev", "n_test_in_dev"),
    [
        ("prom/prom_core_tata", 57, (16, 1), (8, 8), 2),
        ("prom/prom_300_tata", 56, (6, 0), (14, 14), 0),
        ("tf/4", 3789, (0, 0), (358, 346), 0),
    ],
)
def test_duplicates_of_published_sets(name, n_train, n_test, n_dev, n_test_in_dev):
    """Counts that were made with another program."""
    rows = {x: rows_of(texts, truth=labels) for x, (texts, labels) in gue(name).items()}
    assert within(rows["train"])["same"] == n_train
    test = duplicates(rows["train"], rows["test"])
    assert (test["same"], test["other_label"], test["reverse_complement"]) == (*n_test, 0)
    dev = duplicates(rows["train"], rows["dev"])
    assert (dev["same"], dev["same_distinct"]) == n_dev
    assert duplicates(rows["dev"], rows["test"])["same"] == n_test_in_dev


def test_against_sets_of_text():
    rng = np.random.default_rng(0)
    train, test = texts_of(rng, 400, 0, 5, "ACGTN"), texts_of(rng, 300, 0, 5, "ACGTN")
    labels, own = rng.integers(0, 2, 400), rng.integers(0, 2, 300)
    known, seen = set(train), {}
    for x, y in zip(train, labels, strict=True):
        seen.setdefault(x, set()).add(y)
    a = rows_of(train, truth=labels, names=[f"r{i}" for i in range(400)])
    b = rows_of(test, truth=own, names=[f"r{i}" for i in range(390, 690)])
    found = duplicates(a, b)
    same = [x in known for x in test]
    assert found["rows"] == 300
    assert found["same"] == sum(same) > 0
    assert found["same_distinct"] == len(known & set(test))
    other = [x in seen and seen[x] != {y} for x, y in zip(test, own, strict=True)]
    assert found["other_label"] == sum(other) > 0
    backward = [x not in known and reverse(x) in known for x in test]
    assert found["reverse_complement"] == sum(backward) > 0
    assert found["same_name"] == 10
    assert found["unknown_letters"] == sum("N" in x for x in test)
    matches = match(a, b)
    assert matches.any.tolist() == [x or y for x, y in zip(same, backward, strict=True)]
    assert all(train[j] == test[i] for i, j in enumerate(matches.same) if j >= 0)
    assert matches.same.tolist() == [train.index(x) if x in known else -1 for x in test]
    inside = within(a)
    assert inside["same"] == 400 - len(known)
    assert inside["other_label"] == sum(seen[x] != {y} for x, y in zip(train, labels, strict=True))
    assert inside["reverse_complement"] == sum(
        x != reverse(x) and reverse(x) in known for x in train
    )
    assert inside["same_name"] == 0


def test_a_missing_label_is_no_other_label():
    train = rows_of(["ACGT", "ACGT", "GGTT"], truth=np.array([[1, np.nan], [1, 2], [0, 0]]))
    test = rows_of(["ACGT", "ACGT", "GGTT"], truth=np.array([[1, np.nan], [np.nan, 3], [0, 0.0]]))
    found = match(train, test)
    assert found.other_label is not None
    assert found.other_label.tolist() == [False, True, False]


def test_without_labels_names_and_complement():
    found = duplicates(rows_of(["ACD", "ACD"], PROTEIN), rows_of(["ACD", "CA"], PROTEIN))
    unset = ("other_label", "reverse_complement", "same_name")
    assert [found[x] for x in unset] == [None] * 3
    assert (found["same"], found["same_distinct"]) == (1, 1)


def test_a_file_with_itself_and_with_none():
    rows = rows_of(["NNNN", "ACGT", "acgt", "TTTT"], truth=np.array([0, 1, 1, 0]))
    found = duplicates(rows, rows)
    assert (found["same"], found["same_distinct"], found["other_label"]) == (4, 3, 0)
    assert found["unknown_letters"] == 1
    assert duplicates(rows, rows.select(np.array([], dtype=int)))["same"] == 0
    assert duplicates(rows.select(np.array([], dtype=int)), rows)["same"] == 0
    assert found["examples"][1]["train_row"] == 1


def test_a_sequence_that_is_its_reverse_complement_counts_once():
    found = duplicates(rows_of(["ACGT"]), rows_of(["ACGT", "CCCC"]))
    assert (found["same"], found["reverse_complement"]) == (1, 0)
    assert within(rows_of(["ACGT", "AACC"]))["reverse_complement"] == 0
    assert within(rows_of(["AACC", "GGTT"]))["reverse_complement"] == 2
