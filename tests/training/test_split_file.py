"""A run whose splits are made by homology keeps them, and is resumed on the same ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from leak_cases import substituted, texts_of

from seqmodel.dataset.homology import split_by_homology
from seqmodel.errors import HparamError
from seqmodel.hparam.resolve import resolve
from seqmodel.run import main
from seqmodel.trust.duplicates import sequences
from seqmodel.trust.rows import Rows

FAST = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1", "--batch_size=8")
FAST += ("--progress=none", "--accelerator=cpu", "--task=classify", "--dataset=table")
DATA = ("--train_files=x.csv", "--valid_prop=0.3", "--test_prop=0.2", "--split_by=homology")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a table of 40 families of two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    rng = np.random.default_rng(0)
    texts = texts_of(rng, 40, 60)
    texts += [substituted(rng, x, 0.05) for x in texts]
    rows = [f"{x},{i % 2}\n" for i, x in enumerate(texts)]
    Path("x.csv").write_text("sequence,label\n" + "".join(rows))
    return tmp_path


def test_a_run_writes_its_splits_and_is_resumed_on_them(folder):
    assert main([*FAST, *DATA, "--max_epochs=1", "--default_root_dir=one"]) == 0
    division = split_by_homology(sequences(Rows.of_table("x.csv")), 0.3, 0.2, 0.2)
    header, *lines = Path("one/split.tsv").read_text().splitlines()
    assert header.split("\t") == ["file", "line", "split", "component"]
    found = [x.split("\t") for x in lines]
    assert [x[0] for x in found] == ["x.csv"] * 80
    assert [int(x[1]) for x in found] == list(range(2, 82))
    names = ["train", "valid", "test"]
    assert [x[2] for x in found] == [names[i] for i in division.split]
    assert [int(x[3]) for x in found] == division.component.tolist()
    assert json.loads(Path("one/hparams.json").read_text())["_run"]["tested"]["n"] == sum(
        x[2] == "test" for x in found
    )
    kept = Path("one/split.tsv").read_bytes()
    again = ("--resume_from_checkpoint=one/checkpoints/last.ckpt", "--max_epochs=2")
    assert main([*FAST, *DATA, *again, "--default_root_dir=one"]) == 0
    assert Path("one/split.tsv").read_bytes() == kept


def test_the_split_is_part_of_the_name_of_a_run(folder):
    named = [*FAST, *DATA]
    names = {
        resolve([*named, *more]).canonical()
        for more in ((), ("--homology_min=0.2",), ("--homology_min=0.5",), ("--split_by=digest",))
    }
    assert len(names) == 3


def test_a_trial_and_a_run_by_digest_write_no_split(folder):
    assert main([*FAST, *DATA, "--fast_dev_run=true"]) == 0
    assert (
        main([*FAST, *DATA, "--split_by=digest", "--max_epochs=1", "--default_root_dir=two"]) == 0
    )
    assert not Path("two/split.tsv").exists()


def test_a_setting_without_effect_is_refused(folder):
    with pytest.raises(HparamError, match="--homology_min has no effect without"):
        resolve([*FAST, "--train_files=x.csv", "--homology_min=0.5"])
