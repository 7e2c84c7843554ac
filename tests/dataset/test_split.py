import json

import pytest

from seqmodel.dataset.split import read_folds, split_by_digest, split_by_words, split_of
from seqmodel.errors import IntervalError


def test_val_valid_and_dev_are_one_word():
    assert {split_of(x) for x in ("val", "valid", "dev", "Validation", " VAL ")} == {"valid"}
    assert split_of("other") is None
    assert split_by_words(["train", "dev", "test", "val"], str).tolist() == [0, 1, 2, 1]
    with pytest.raises(IntervalError, match="row 1: 'tset' is no split"):
        split_by_words(["train", "tset"], lambda i: f"row {i}")


def test_folds_are_read_from_json(tmp_path):
    path = tmp_path / "fold.json"
    path.write_text(json.dumps({"train": ["a"], "val": ["b"], "dev": ["d"], "test": ["c"]}))
    assert read_folds(path) == {"train": ["a"], "valid": ["b", "d"], "test": ["c"]}
    for text in ("[]", '{"train": "a"}', '{"fold": ["a"]}', "{", '{"train": [1]}'):
        path.write_text(text)
        with pytest.raises(IntervalError, match="fold.json: "):
            read_folds(path)


def test_a_digest_splits_the_same_way_everywhere():
    # golden: these must never change, or splits of old runs would leak
    names = [f"chr{i}" for i in range(1, 13)]
    assert split_by_digest(names, 0.2, 0.2).tolist() == GOLDEN
    many = split_by_digest([f"x{i}" for i in range(20000)], 0.1, 0.3)
    assert abs((many == 1).mean() - 0.1) < 0.01
    assert abs((many == 2).mean() - 0.3) < 0.01
    grown = split_by_digest([f"x{i}" for i in range(20000)], 0.1, 0.4)
    assert (grown[many == 1] == 1).all()


GOLDEN = [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
