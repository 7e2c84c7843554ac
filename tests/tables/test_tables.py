"""The published tables: what is held out stays out, and each command writes its row."""

import csv
import gzip
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


@pytest.fixture
def planted(data, tmp_path):
    """A set of GUE with rows of test in train, and what two seeds predict of it."""
    import gue
    import numpy as np

    which = "prom/prom_core_tata"
    source = data / "gue" / which
    rng = np.random.default_rng(3)
    rows = {}
    for split, n in (("train", 200), ("dev", 20), ("test", 60)):
        labels = rng.integers(2, size=n)
        p = [(0.25, 0.25, 0.25, 0.25), (0.15, 0.35, 0.35, 0.15)]
        sequences = ["".join(rng.choice(list("ACGT"), 70, p=p[y])) for y in labels]
        rows[split] = list(zip(sequences, labels.tolist(), strict=True))
    both = zip(rows["train"], rows["test"], strict=False)
    half = [(x[:45] + y[45:], label) for (x, label), (y, _) in both]
    rows["test"][:10] = half[:10]  # 30 of 55 16-mers are in a row of train
    for split, found in rows.items():
        with gzip.open(source / f"{split}.csv.gz", "wt", newline="") as f:
            csv.writer(f).writerows([("sequence", "label"), *found])
    _, [test] = gue.tests(data, which, tmp_path)
    truth = np.array([y for _, y in rows["test"]])
    right = rng.random((2, 60)) < [[0.9], [0.8]]
    outputs = [np.eye(2)[np.where(x, truth, 1 - truth)] for x in right]
    return test, outputs, truth, rows


def test_a_row_is_what_scikit_learn_says(planted):
    import numpy as np
    import row
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import matthews_corrcoef
    from sklearn.preprocessing import StandardScaler

    test, outputs, truth, rows = planted
    names = _cells(row.HEADER.splitlines()[0])
    cells = dict(zip(names, _cells(test.row(outputs, truth)), strict=True))
    each = [100 * matthews_corrcoef(truth, x.argmax(1)) for x in outputs]
    mean = np.mean(each)
    assert cells["each seed"] == ", ".join(f"{x:.2f}" for x in each)
    assert cells["mean ± sd (3 seeds)"] == f"{mean:.2f} ± {np.std(each, ddof=1):.2f}"
    unlike = [100 * matthews_corrcoef(truth[10:], x[10:].argmax(1)) for x in outputs]
    assert cells["not similar to train"].startswith(f"{np.mean(unlike):.2f} [")
    assert cells["not similar to train"].endswith("(50 of 60)")
    gc = {x: [[sum(map(s.count, "GC"))] for s, _ in rows[x]] for x in ("train", "test")}
    scaler = StandardScaler().fit(gc["train"])
    model = LogisticRegression(C=1.0).fit(
        scaler.transform(gc["train"]), [y for _, y in rows["train"]]
    )
    alone = model.predict(scaler.transform(gc["test"]))
    assert cells["GC"].startswith(f"{100 * matthews_corrcoef(truth, alone):.2f} [")
    draws = np.random.default_rng(9).integers(0, 60, (2000, 60))
    drawn = [
        np.mean([100 * matthews_corrcoef(truth[i], x[i].argmax(1)) for x in outputs]) for i in draws
    ]
    ends = [float(x) for x in cells["95 % of test rows"].strip("[]").split(", ")]
    assert ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=3)
    assert cells["less the best baseline"].endswith(")")


def test_predictions_of_other_rows_make_no_row(planted):
    test, outputs, truth, _ = planted
    with pytest.raises(ValueError, match="60 rows"):
        test.row(outputs, 1 - truth)


def test_the_error_of_a_class_is_the_mean_over_the_seeds():
    import evidence
    import numpy as np

    labels, seeds = np.array([0, 0, 1, 0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 1, 1, 1])
    said = np.array([0, 1, 1, 1, 0, 0, 0, 0])
    found = evidence.Evidence(
        labels + 2 * seeds, np.eye(2)[said][..., None], {}, np.arange(8) == 1, np.arange(8) % 5
    )
    assert found.mean(evidence.error_of(0, 2)).value == pytest.approx((50 + 25) / 2)
    assert found.mean(evidence.error_of(1, 2)).value == pytest.approx((0 + 100) / 2)
    assert found.mean(evidence.error_of(None, 2)).value == pytest.approx((100 / 3 + 40) / 2)
    n, clean = found.clean(evidence.error_of(0, 2))
    assert (n, clean.value) == (7, pytest.approx((0 + 25) / 2))


def _cells(line):
    return [x.strip() for x in line.strip("|").split("|")]


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
def test_splice_writes_a_row_a_class(data, tmp_path, monkeypatch):
    import splice

    monkeypatch.setattr(splice, "HPARAMS", splice.HPARAMS | SMALL)
    monkeypatch.setattr(splice, "N_EXAMPLES", 60)
    monkeypatch.setattr(splice, "N_FOLDS", 2)
    start(splice, monkeypatch, "--data", data, "--out", tmp_path, "--seeds", 0, 1)
    text = (tmp_path / "splice" / "splice.md").read_text()
    assert text.count("UCI splice") == 3
    start(splice, monkeypatch, "--trained", "--data", data, "--out", tmp_path, "--seeds", 0, 1)
    assert (tmp_path / "splice" / "splice.md").read_text() == text


def test_splice_counts_every_example_once(data, tmp_path, monkeypatch):
    import splice

    monkeypatch.setattr(splice, "HPARAMS", splice.HPARAMS | SMALL)
    monkeypatch.setattr(splice, "N_EXAMPLES", 60)
    monkeypatch.setattr(splice, "N_FOLDS", 2)
    folds = splice.draw(data, 0)
    for i in range(2):  # all are EI
        folder = tmp_path / f"fold_{i}_test"
        folder.mkdir()
        text = "row\ttruth\tN\tEI\tIE\n" + "0\tN\t0\t1\t0\n" * 30
        (folder / "test_predictions.tsv").write_text(text)
    found = splice.errors(tmp_path, folds)
    assert (found["N"], found["EI"], found["IE"]) == (100, 0, 100)
    n_right = sum(x == "EI" for fold in folds for x, _ in fold)
    assert found["all"] == pytest.approx(100 * (60 - n_right) / 60)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["gue", "gb1"])
def test_an_ensemble_of_one_network_is_that_network(data, tmp_path, monkeypatch, script):
    module = __import__(script)
    import ensemble

    which = {"gue": "prom/prom_core_tata", "gb1": "low_vs_high"}[script]
    small = SMALL | {"check_val_every_n_epoch": 1}  # at the end of the shorter run
    monkeypatch.setitem(module.HPARAMS, which, module.HPARAMS[which] | small)
    args = ["--data", data, "--out", tmp_path, "--seeds", 0, 1]
    start(module, monkeypatch, which, *args)
    start(ensemble, monkeypatch, f"{script}:{which}", "--members", 1, *args)
    one = (tmp_path / script / f"{which.replace('/', '_')}.md").read_text()
    [mean] = (tmp_path / "ensemble").glob("*/rows.md")
    assert mean.read_text() == one


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
