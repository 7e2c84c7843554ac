"""Checkpoints of every released version are loaded without any data, and give what they gave."""

import json
from pathlib import Path

import pytest
import torch

import seqmodel
from seqmodel.errors import SequenceError

ARCHIVE = Path(__file__).parents[1] / "archive"
FILES = sorted(ARCHIVE.glob("*/*.ckpt"))
ids = [f"{path.parent.name}/{path.stem}" for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_a_model_of_every_version_gives_what_it_gave(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = json.loads((path.parent / "outputs.json").read_text())[path.stem]
    tokens = (torch.arange(128).view(2, 64) % 4).numpy()
    model = seqmodel.load(path)
    found = model.predict(tokens, logits=True).astype("float64").flatten()
    assert [*found[: len(expected) - 1], found.sum()] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert model.task == path.stem
    assert model.alphabet.name == "dna"


@pytest.mark.parametrize("path", [x for x in FILES if x.parent.name < "0.2"], ids=str)
def test_what_an_old_checkpoint_does_not_say_is_unknown(path):
    model = seqmodel.load(path)
    assert model.trained_on.contigs is None
    assert set(model.trained_on.splits) == {"train", "valid", "test"}
    assert model.seq_len == (None if path.stem in ("regress", "multilabel") else 64)
    if model.seq_len is None:
        with pytest.raises(SequenceError, match=r"seqmodel\.load\(path, seq_len="):
            model.predict(["ACGT", "ACG"])
        assert seqmodel.load(path, seq_len=64).predict(["ACGT", "ACG"]).shape[0] == 2
