"""Digests of the training sequences: predict warns of inputs that the model was trained on."""

import hashlib
import re
import warnings
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import torch

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.dataset import build
from seqmodel.dataset.seq.alphabet import alphabet_from_name
from seqmodel.dataset.seq.digests import digests
from seqmodel.errors import CheckpointError
from seqmodel.record import checkpoint

RNG = np.random.default_rng(8)
OLD, BASE, NEW = (["".join(RNG.choice(list("ACGT"), 20)) for _ in range(12)] for _ in range(3))
OLD[0] = f"{OLD[0][:9]}N{OLD[0][10:]}"
COMPLEMENT = str.maketrans("ACGTNacgtn", "TGCANtgcan")
TINY = {"task": "classify", "encoder": "cnn", "n_layers": 1, "n_dims": 4, "batch_size": 4,
        "max_epochs": 1, "accelerator": "cpu", "progress": "none", "dataset": "table"}  # fmt: skip


def rc(text):
    return text[::-1].translate(COMPLEMENT)


def digest(text):
    """8 bytes of BLAKE2b of the letters, of the strand that comes first."""
    first = min(text.upper(), rc(text.upper()))
    found = hashlib.blake2b(first.encode(), digest_size=8).digest()
    return int.from_bytes(found, "little", signed=True)


def wanted(texts):
    return sorted({digest(x) for x in texts})


def table(path, texts):
    rows = [f"{x},{i % 2}" for i, x in enumerate(texts)]
    Path(path).write_text("\n".join(["sequence,label", *rows]) + "\n")
    return path


def saved(run):
    return checkpoint.load(run.path / "checkpoints/last.ckpt")


def trained(name, texts, **options):
    files = {"train_files": [table(f"{name}.csv", texts)], "default_root_dir": name}
    return seqmodel.train(**{**TINY, **files, **options})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A model of OLD, and one of OLD whose encoder was trained on BASE."""
    folder = tmp_path_factory.mktemp("rows")
    with chdir(folder):
        base = trained("base", BASE)
        start = str(base.path / "checkpoints/last.ckpt")
        tuned = trained("tuned", OLD, load_encoder_from_checkpoint=start)
        return {"plain": trained("plain", OLD), "base": base, "tuned": tuned, "folder": folder}


def test_a_checkpoint_has_the_digests_of_its_training_sequences(runs):
    rows = saved(runs["plain"])["training_rows"]
    assert rows.dtype == torch.int64
    assert rows.tolist() == wanted(OLD)
    assert "training_rows" not in str(checkpoint.header_of(saved(runs["plain"])))


def test_the_rows_of_a_base_model_are_its_too_and_stay_when_it_is_resumed(runs):
    assert saved(runs["tuned"])["training_rows"].tolist() == wanted(OLD + BASE)
    last = str(runs["tuned"].path / "checkpoints/last.ckpt")
    with chdir(runs["folder"]):
        seqmodel.train(resume_from_checkpoint=last, max_epochs=2, progress="none")
    assert saved(runs["tuned"])["training_rows"].tolist() == wanted(OLD + BASE)


def test_contigs_of_a_base_model_are_its_too(trained_on_fasta, tmp_path, runs):
    base = seqmodel.load(trained_on_fasta)
    with chdir(tmp_path):
        options = {"encoder": "dilated_conv", "n_dims": 8}
        run = trained("x", OLD, load_encoder_from_checkpoint=str(trained_on_fasta), **options)
    own = saved(run)["seqmodel"]
    assert own["contigs"] == base.trained_on.contigs != {}
    assert own["n_contigs"] == base.trained_on.n_contigs


@pytest.fixture(scope="module", name="trained_on_fasta")
def fixture_trained_on_fasta(request):
    return request.getfixturevalue("trained").best("masked")


def test_predict_warns_of_training_sequences_of_either_strand_and_case(runs, tmp_path, capsys):
    texts = [OLD[0].lower(), rc(OLD[1]), OLD[2], OLD[3][:-1], *NEW]
    warning = r"19 % of these sequences \(3 of 16\) are in the training data of the model"
    path = runs["plain"].path / "checkpoints/last.ckpt"
    table(tmp_path / "a.csv", texts)
    (tmp_path / "a.fa").write_text("".join(f">r{i}\n{x}\n" for i, x in enumerate(texts)))
    model = seqmodel.load(path)
    for options in ({"table": tmp_path / "a.csv"}, {"fasta": tmp_path / "a.fa"}):
        with pytest.warns(UserWarning, match=warning):
            model.predict(**options)
    words = [f"--checkpoints={path}", f"--table={tmp_path / 'a.csv'}", "--accelerator=cpu"]
    for verb in ("predict", "embed", "attribute"):
        more = ["--target=0"] if verb == "attribute" else []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert main([verb, *words, *more, f"--out={tmp_path / verb}.npz"]) == 0
        assert re.search(warning, capsys.readouterr().err)
    table(tmp_path / "b.csv", NEW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(table=tmp_path / "b.csv")


def test_records_and_arrays_have_digests_too(tmp_path):
    with chdir(tmp_path):
        Path("a.fa").write_text("".join(f">r{i}\n{x}\n" for i, x in enumerate(OLD)))
        labels = "\n".join(["sequence,label", *(f"r{i},{i % 2}" for i in range(8))])
        Path("a.csv").write_text(labels + "\n")
        records = {"dataset": "records", "fasta": ["a.fa"], "train_files": ["a.csv"]}
        run = seqmodel.train(**TINY | records, default_root_dir="r")
        assert saved(run)["training_rows"].tolist() == wanted(OLD[:8])
        alphabet = alphabet_from_name("dna")
        x = alphabet.one_hot_table()[np.stack([alphabet.encode(y) for y in OLD])]
        np.savez("a.npz", x=x, y=np.arange(12) % 2)
        arrays = {"dataset": "arrays", "train_files": ["a.npz"]}
        run = seqmodel.train(**TINY | arrays, default_root_dir="a")
        assert saved(run)["training_rows"].tolist() == wanted(OLD)


def test_many_rows_and_old_files_are_unknown(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MOST_ROWS", 11)
    with chdir(tmp_path):
        run = trained("many", OLD)
        table("a.csv", OLD)
        assert "training_rows" not in saved(run)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run.load("last").predict(table="a.csv")


def test_the_bytes_of_a_checkpoint_do_not_depend_on_the_order_of_rows(runs, tmp_path):
    with chdir(tmp_path):
        rows = saved(trained("other", OLD[::-1]))["training_rows"]
    assert torch.equal(rows, saved(runs["plain"])["training_rows"])


def test_rows_that_are_no_numbers_are_one_line(runs, tmp_path):
    content = saved(runs["plain"])
    checkpoint.save({**content, "training_rows": torch.zeros(2, 2)}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt: damaged, its 'training_rows' are not"):
        seqmodel.load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("name", ["protein", "letters:XYZ"])
def test_without_a_complement_a_row_is_its_letters(name):
    alphabet = alphabet_from_name(name)
    text = "".join(alphabet.letters)
    found = digests([alphabet.encode(text)], alphabet)[0]
    raw = hashlib.blake2b(text.encode(), digest_size=8).digest()
    assert found == int.from_bytes(raw, "little", signed=True)
