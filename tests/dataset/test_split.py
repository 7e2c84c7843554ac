import json

import pytest

from seqmodel.dataset.split import read_folds, split_by_digest, split_by_words, split_of
from seqmodel.dataset.store_data import BedData
from seqmodel.dataset.table_data import TableData
from seqmodel.errors import HparamError, IntervalError
from seqmodel.hparam.dataset import TableHparams
from seqmodel.hparam.genome import BedHparams


def test_val_valid_and_dev_are_one_word():
    assert {split_of(x) for x in ("val", "valid", "dev", "Validation", " VAL ")} == {"valid"}
    assert split_of("other") is None
    assert split_by_words(["train", "dev", "test", "val"], str).tolist() == [0, 1, 2, 1]
    with pytest.raises(
        IntervalError, match="row 1: 'tset' is not a split.* or choose another --split_column"
    ):
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


def table_with_splits(tmp_path, words):
    rows = [f"{'ACGT'[i % 4] * (i + 1)},{i % 2},{word}" for i, word in enumerate(words)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["sequence,label,split", *rows]) + "\n")
    return TableHparams(
        train_files=[str(path)], split_column="split", valid_prop=0.4, label_columns=["label"]
    )


def test_proportions_divide_the_training_rows_of_a_column(tmp_path):
    data = TableData(table_with_splits(tmp_path, ["train", "train", "test", "test"] * 10))
    n = {split: len(data.readers[split]) for split in data.splits}
    assert n["test"] == 20
    assert n["train"] + n["valid"] == 20
    assert n["valid"] == split_by_digest(
        ["ACGT"[i % 4] * (i + 1) for i in range(40) if i % 4 < 2], 0.4, 0
    ).tolist().count(1)


def test_proportions_divide_the_training_intervals_of_a_column(tmp_path):
    fasta, bed = tmp_path / "g.fa", tmp_path / "x.bed"
    fasta.write_text("".join(f">chr{i}\n{'ACGT' * 10}\n" for i in range(1, 13)))
    words = ["train", "train", "test"]
    bed.write_text(
        "#chrom\tstart\tend\tlabel\tsplit\n"
        + "".join(f"chr{i}\t{j}\t{j + 8}\t1\t{words[j]}\n" for i in range(1, 13) for j in range(3))
    )
    given = {"fasta": [str(fasta)], "intervals": [str(bed)], "label_columns": ["label"]}
    data = BedData(BedHparams(**given, split_column="split", valid_prop=0.2))
    n = {split: len(data.readers[split]) for split in data.splits}
    assert n == {"train": 22, "valid": 2, "test": 12}  # one contig of twelve is valid


def test_a_split_is_not_made_twice(tmp_path):
    with pytest.raises(
        HparamError, match="--valid_prop: column 'split' .* already has rows of the valid"
    ):
        TableData(table_with_splits(tmp_path, ["train", "dev"] * 20))


GOLDEN = [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
