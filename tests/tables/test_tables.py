"""The published tables: what is held out stays out, and each command writes its row."""

import csv
import json
import sys
from pathlib import Path

import pytest

SMALL = {"n_dims": 4, "n_decoder_dims": 4, "max_epochs": 1, "warmup_steps": 0, "precision": "32"}


def start(module, monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, args)])
    module.main()


def sequences(path):
    with Path(path).open(newline="") as f:
        return [x["sequence"] for x in csv.DictReader(f)]


def test_train_has_no_sequence_of_dev_or_test(data, tmp_path):
    import gue

    which = "prom/prom_core_tata"
    source = data / "gue" / which
    hparams = gue.test_hparams(data, which, tmp_path)
    train = sequences(hparams["train_files"][0])
    held = {x["sequence"] for s in ("dev", "test") for x in gue.read(source / f"{s}.csv.gz")}
    assert len(train) == 40 - 3
    assert not held & set(train)


def test_tuning_does_not_read_the_test_split(data, tmp_path):
    import gb1
    import gue

    which = "prom/prom_core_tata"
    (data / "gue" / which / "test.csv.gz").unlink()
    assert "test_files" not in gue.dev_hparams(data, which, tmp_path)
    path = gb1.dev_hparams(data, "low_vs_high", tmp_path)["train_files"][0]
    tests = {x for x, _, split in gb1.read(data, "low_vs_high") if split == "test"}
    assert len(tests) == 20
    assert not tests & set(sequences(path))


def test_the_imitation_of_low_vs_high_trains_on_nothing_above_its_cut(data, tmp_path):
    import gb1

    path = gb1.dev_hparams(data, "low_vs_high:0.8", tmp_path)["train_files"][0]
    with Path(path).open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 40
    found = {x: [float(r["target"]) for r in rows if r["split"] == x] for x in ("train", "valid")}
    assert max(found["train"]) <= 0.8 < max(found["valid"])
    assert 0.5 < min(found["valid"]) < 0.8


def test_yeast_holds_promoters_out_for_tuning_alone(data, tmp_path):
    import yeast

    assert yeast.dev_hparams(data, "", tmp_path)["valid_prop"] == 0.1
    assert not yeast.train_hparams(data, tmp_path).get("valid_prop")


def test_splice_examples_are_a_thousand_in_ten_folds_apart_from_those_for_tuning(data):
    import splice

    tuning = {x for fold in splice.draw(data, None) for x in fold}
    for seed in (0, 1):
        folds = splice.draw(data, seed)
        assert [len(x) for x in folds] == [100] * 10
        drawn = {x for fold in folds for x in fold}
        assert len(drawn) == 1000
        assert not drawn & tuning
    assert splice.draw(data, 0) != splice.draw(data, 1)


def test_mean_and_sample_standard_deviation_of_the_seeds():
    import row

    with row.Timer() as took:
        pass
    text = row.row("a", "b", "c", [1.0, 2.0, 3.0], "9", took, 2)
    assert text.startswith("| a | b | c | 2.00 ± 1.00 | 1.00, 2.00, 3.00 | 9 | 0 (0) |")
    assert text.count("|") == row.HEADER.splitlines()[0].count("|")


def test_gue_writes_a_row(data, tmp_path, monkeypatch):
    import gue

    which = "prom/prom_core_tata"
    monkeypatch.setitem(gue.HPARAMS, which, gue.HPARAMS[which] | SMALL)
    args = [which, "--data", data, "--out", tmp_path, "--seeds", 0, 1]
    start(gue, monkeypatch, *args)
    text = (tmp_path / "gue" / "prom_prom_core_tata.md").read_text()
    assert "train 37 / dev 40 / test 40" in text


@pytest.mark.slow
def test_gb1_writes_a_row(data, tmp_path, monkeypatch):
    import gb1

    monkeypatch.setitem(gb1.HPARAMS, "two_vs_rest", gb1.HPARAMS["two_vs_rest"] | SMALL)
    start(gb1, monkeypatch, "two_vs_rest", "--data", data, "--out", tmp_path, "--seeds", 0)
    assert "train 20 / valid 20 / test 20" in (tmp_path / "gb1" / "two_vs_rest.md").read_text()


@pytest.mark.slow
def test_yeast_writes_a_row_for_each_test(data, tmp_path, monkeypatch):
    import yeast

    monkeypatch.setattr(yeast, "HPARAMS", yeast.HPARAMS | SMALL)
    start(yeast, monkeypatch, "--data", data, "--out", tmp_path, "--seeds", 0)
    text = (tmp_path / "yeast" / "yeast.md").read_text()
    assert "train 61 / test 9" in text
    assert text.count("DREAM yeast") == 2


@pytest.mark.slow
def test_splice_counts_every_example_once(data, tmp_path, monkeypatch):
    import splice

    monkeypatch.setattr(splice, "HPARAMS", splice.HPARAMS | SMALL)
    monkeypatch.setattr(splice, "N_EXAMPLES", 60)
    monkeypatch.setattr(splice, "N_FOLDS", 2)
    always = "row\ttruth\tN\tEI\tIE\n" + "0\tN\t0\t1\t0\n" * 30

    def write_always(hparams, checkpoint, folder):
        folder.mkdir()
        (folder / "test_predictions.tsv").write_text(always)

    monkeypatch.setattr(splice, "test", write_always)
    found = splice.errors(data, tmp_path, seed=0)
    assert (found["N"], found["EI"], found["IE"]) == (100, 0, 100)
    n_right = sum(x == "EI" for fold in splice.draw(data, 0) for x, _ in fold)
    assert found["all"] == pytest.approx(100 * (60 - n_right) / 60)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["gue", "gb1"])
def test_an_ensemble_of_one_network_is_that_network(data, tmp_path, monkeypatch, script):
    module = __import__(script)
    import ensemble

    which = {"gue": "prom/prom_core_tata", "gb1": "low_vs_high"}[script]
    monkeypatch.setitem(module.HPARAMS, which, module.HPARAMS[which] | SMALL)
    args = ["--data", data, "--out", tmp_path, "--seeds", 0, 1]
    start(module, monkeypatch, which, *args)
    start(ensemble, monkeypatch, f"{script}:{which}", "--members", 1, *args)
    one = (tmp_path / script / f"{which.replace('/', '_')}.md").read_text()
    [mean] = (tmp_path / "ensemble").glob("*/rows.md")
    assert mean.read_text().split("|")[:-3] == one.split("|")[:-3]


@pytest.mark.slow
def test_an_ensemble_for_dev_reads_no_test_and_trains_each_network_once(
    data, tmp_path, monkeypatch, capsys
):
    import ensemble
    import gue

    which = "prom/prom_core_tata"
    (data / "gue" / which / "test.csv.gz").unlink()
    monkeypatch.setitem(gue.HPARAMS, which, gue.HPARAMS[which] | SMALL)
    args = [f"gue:{which}", "--dev", "--members", 2, "--data", data, "--out", tmp_path]
    start(ensemble, monkeypatch, *args, "--seeds", 0)
    told = capsys.readouterr().out
    train = ensemble.train
    monkeypatch.delattr(ensemble, "train")
    start(ensemble, monkeypatch, *args, "--seeds", 0)
    assert told.endswith(capsys.readouterr().out)
    monkeypatch.setattr(ensemble, "train", train, raising=False)
    monkeypatch.setitem(gue.HPARAMS, which, gue.HPARAMS[which] | {"lr": 0.5})
    start(ensemble, monkeypatch, *args, "--seeds", 0)  # other settings, other networks
    assert capsys.readouterr().out.splitlines()[-2:] != told.splitlines()[-2:]
    assert [line.split()[:2] for line in told.splitlines()[-2:]] == [["0", "1"], ["0", "2"]]


def test_the_mean_of_networks_is_scored_as_scikit_learn_scores_it():
    import ensemble
    import numpy as np
    from scipy.special import softmax
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import matthews_corrcoef, roc_auc_score

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 50, 2))
    targets = rng.integers(2, size=50)
    found = ensemble.score([softmax(x, 1) for x in logits], targets)
    mean = sum(softmax(x, 1) for x in logits) / 3
    assert found["mcc"] == pytest.approx(matthews_corrcoef(targets, mean.argmax(1)), abs=1e-6)
    assert found["auroc"] == pytest.approx(roc_auc_score(targets, mean[:, 1]), abs=1e-6)
    outputs = [x[:, :1] for x in logits]
    real = rng.normal(size=(50, 1))
    found = ensemble.score(outputs, real)
    mean = sum(outputs)[:, 0] / 3
    assert found["pearson"] == pytest.approx(pearsonr(mean, real[:, 0])[0], abs=1e-6)
    assert found["spearman"] == pytest.approx(spearmanr(mean, real[:, 0])[0], abs=1e-6)


@pytest.mark.slow
def test_tuning_tells_each_setting_once(data, tmp_path, monkeypatch):
    import tune

    settings = tmp_path / "settings.jsonl"
    settings.write_text(json.dumps({"name": "small", **SMALL}) + "\n")
    args = ["gue:prom/prom_core_tata", settings, "--data", data, "--out", tmp_path]
    for _ in range(2):
        start(tune, monkeypatch, *args)
    lines = (tmp_path / "tune" / "gue_prom_prom_core_tata" / "tried.tsv").read_text().splitlines()
    assert len(lines) == 1
    assert "valid_mcc" in lines[0]
    assert "test_" not in lines[0]
