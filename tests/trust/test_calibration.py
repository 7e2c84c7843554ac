"""Calibration: fits against scikit-learn, the verb and what predict makes of its file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import CheckpointError, HparamError, RunError
from seqmodel.training.curves import curves, reliability
from seqmodel.trust.calibration import applied, calibrate, platt, temperature
from seqmodel.trust.uncertainty import interval


def logits_of(n=4000, n_classes=3, scale=2.5, seed=0):
    """Classes drawn from the softmax of logits, and these logits `scale` times too large."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=(n, n_classes))
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    truth = (p.cumsum(1) < rng.random(n)[:, None]).sum(1)
    return scale * z, truth


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_the_temperature_is_the_factor_of_the_logits_and_takes_away_the_error():
    logits, truth = logits_of(20_000)
    found = temperature(logits, truth)
    assert 1 / found.scale[0] == pytest.approx(2.5, rel=0.05)
    before = interval("ece", truth, softmax(logits), draws=200)
    after = interval("ece", truth, softmax(applied(found, logits)), draws=200)
    assert before.low > 0.1
    assert after.value < 0.02


def test_the_temperature_of_two_classes_is_the_slope_of_a_logistic_regression():
    logits, truth = logits_of(800, 2)
    x = (logits[:, 1] - logits[:, 0])[:, None]
    oracle = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10).fit(x, truth)
    assert temperature(logits, truth).scale[0] == pytest.approx(oracle.coef_[0, 0], rel=1e-4)


def test_platts_scale_and_shift_are_those_of_scikit_learn():
    from sklearn.calibration import _SigmoidCalibration

    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 2)) * [1, 40] + [3, -7]
    y = (rng.random((500, 2)) < 1 / (1 + np.exp(-(x - [3, -7]) / [1, 20] + [1, 0]))).astype(float)
    y[::5, 1] = np.nan
    found = platt(x, y)
    for t in range(2):
        known = ~np.isnan(y[:, t])
        oracle = _SigmoidCalibration().fit(x[known, t], y[known, t])
        assert found.scale[t] == pytest.approx(-oracle.a_, rel=1e-3)
        assert found.shift[t] == pytest.approx(-oracle.b_, rel=1e-3, abs=1e-3)


def test_labels_that_are_all_alike_are_left_as_they_are_and_separable_ones_end():
    x = np.linspace(-3, 3, 40)[:, None]
    assert platt(x, np.ones((40, 1))) == ([1.0], [0.0])
    assert platt(np.ones((40, 1)), np.arange(40)[:, None] % 2) == ([1.0], [0.0])
    apart = platt(x, (x > 0).astype(float))
    assert 0 < apart.scale[0] < 100
    all_right = temperature(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1]))
    assert all_right.scale[0] == pytest.approx(1000)


def test_a_reliability_table_is_scikit_learns():
    rng = np.random.default_rng(2)
    p = np.round(rng.beta(0.5, 0.8, 700), 2)
    y = rng.random(700) < p**1.5
    observed, predicted = calibration_curve(y, p, n_bins=10)
    found = reliability(y, p)
    np.testing.assert_allclose(found["observed"], observed)
    np.testing.assert_allclose(found["predicted"], predicted)
    kept = curves("class", ["no", "yes"], np.stack([1 - p, p], 1), y.astype(int))["reliability"]
    assert kept["yes"]["n"] == found["n"].tolist()


def test_the_interval_of_the_calibration_error_holds_that_of_a_model_that_is_too_sure():
    # probability p where p ** 2 / (p ** 2 + (1 - p) ** 2) is said; the error of a large sample
    def drawn(n, seed):
        rng = np.random.default_rng([3, seed])
        p = rng.random(n)
        said = p**2 / (p**2 + (1 - p) ** 2)
        return (rng.random(n) < p).astype(int), np.stack([1 - said, said], 1)

    true = interval("ece", *drawn(1_000_000, 10_000), draws=2).value
    found = [interval("ece", *drawn(500, seed), draws=300, seed=seed) for seed in range(200)]
    assert sum(x.low <= true <= x.high for x in found) >= 0.88 * 200


# ---- the verb


def write_tables(folder):
    """A class and two labels that follow from the share of A, with noise, in three tables."""
    for seed, split in enumerate(("train", "valid", "test")):
        rng = np.random.default_rng(seed)
        lines = ["sequence,label,one,two"]
        for _ in range(120):
            share = rng.random()
            sequence = "".join(rng.choice(["A", "C"], 24, p=[share, 1 - share]))
            one, two = int(rng.random() < share), int(rng.random() < share**2)
            lines.append(f"{sequence},{'ab'[one]},{one},{two}")
        Path(folder, f"{split}.csv").write_text("\n".join(lines) + "\n")


COMMON = {
    "dataset": "table",
    "encoder": "cnn",
    "n_layers": 1,
    "n_dims": 8,
    "batch_size": 32,
    "max_epochs": 15,
    "lr": 0.02,
    "accelerator": "cpu",
    "progress": "none",
    **{f"{s}_files": [f"{s}.csv"] for s in ("train", "valid", "test")},
}
LABELS = {"task": "multilabel", "label_kind": "multilabel", "label_columns": ["one", "two"]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_tables(folder)
        seqmodel.train(**COMMON, task="classify", class_names=["a", "b"], default_root_dir="c")
        seqmodel.train(**COMMON, **LABELS, default_root_dir="m")
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    folder = shutil.copytree(trained, tmp_path / "runs")
    monkeypatch.chdir(folder)
    return folder


BEST = "checkpoints/best.ckpt"
SEQUENCES = ["ACACACACACACACACACACACAC", "AAAAAAAAAAAAAAAAAAAAAAAA", "CCCCCCCCCCCCCCCCCCACCCCC"]


@pytest.mark.filterwarnings("ignore:calibrated on")
@pytest.mark.filterwarnings("ignore:.*in the training data of the model")
@pytest.mark.parametrize(("run", "method"), [("c", "temperature"), ("m", "platt")])
def test_predictions_are_those_of_the_calibrated_logits(here, run, method, capsys):
    assert main(["calibrate", f"{run}/{BEST}", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["method"], about["n"], about["files"]) == (method, 120, ["valid.csv"])
    assert about["after"]["log_loss"]["value"] < about["before"]["log_loss"]["value"]
    model = seqmodel.load(f"{run}/{BEST}")
    z = model.predict(SEQUENCES, logits=True) * about["scale"] + about["shift"]
    wanted = softmax(z) if run == "c" else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(model.predict(SEQUENCES, calibrated=True), wanted, rtol=1e-5)
    assert not np.allclose(model.predict(SEQUENCES), wanted, atol=1e-3)
    # the verb
    Path("s.csv").write_text("\n".join(["sequence", *SEQUENCES]) + "\n")
    words = [f"--checkpoints={run}/{BEST}", "--table=s.csv", "--out=p.tsv"]
    assert main(["predict", *words, "--calibrated"]) == 0
    lines = [line.split("\t") for line in Path("p.tsv").read_text().splitlines()]
    columns = [i for i, name in enumerate(lines[0]) if name in model.targets.names]
    rows = np.array([[row[i] for i in columns] for row in lines[1:]], dtype=float)
    np.testing.assert_allclose(rows, wanted, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:calibrated on")
def test_only_the_valid_split_is_read(here):
    found = calibrate(f"c/{BEST}").about
    write = Path("test.csv").read_text().replace(",a,", ",b,")
    Path("test.csv").write_text(write + Path("train.csv").read_text().partition("\n")[2])
    assert calibrate(run="c").about["scale"] == found["scale"]
    lines = Path("valid.csv").read_text().splitlines()
    Path("valid.csv").write_text("\n".join(lines[:60]) + "\n")
    assert calibrate(run="c").about["scale"] != found["scale"]


@pytest.mark.filterwarnings("ignore:calibrated on")
def test_calibrations_of_one_folder_do_not_touch_each_other(here):
    calibrate(f"c/{BEST}")
    shutil.copy(f"c/{BEST}", "c/checkpoints/other.ckpt")
    with pytest.raises(
        CheckpointError, match=r"has no calibration of the current c/checkpoints/other.ckpt"
    ):
        seqmodel.load("c/checkpoints/other.ckpt").calibrated()
    calibrate("c/checkpoints/other.ckpt")
    both = seqmodel.load([f"c/{BEST}", "c/checkpoints/other.ckpt"])
    one = seqmodel.load(f"c/{BEST}")
    wanted = one.predict(SEQUENCES, calibrated=True)
    np.testing.assert_allclose(both.predict(SEQUENCES, calibrated=True), wanted, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:calibrated on")
def test_a_checkpoint_that_was_replaced_is_not_calibrated(here):
    calibrate(f"c/{BEST}")
    shutil.copy("c/checkpoints/last.ckpt", "keep.ckpt")
    shutil.copy("m/checkpoints/best.ckpt", f"c/{BEST}")
    with pytest.raises(CheckpointError, match="has no calibration of the current"):
        seqmodel.load(f"c/{BEST}").calibrated()


def test_what_cannot_be_calibrated_is_one_line(here, capsys):
    words = [f"--checkpoints=c/{BEST}", "--table=test.csv", "--out=p.tsv", "--calibrated"]
    assert main(["predict", *words]) == 2
    told = capsys.readouterr().err
    assert "calibration.json: cannot be read" in told
    assert "to write it, run: seqmodel calibrate c/checkpoints/best.ckpt" in told
    assert told.count("\n") == 1
    with pytest.raises(RunError, match="the data have no valid split, only train, test"):
        calibrate(f"c/{BEST}", train_files=["train.csv"], test_files=["test.csv"], dataset="table")
    with pytest.raises(HparamError, match="takes one checkpoint"):
        calibrate()
    assert main(["calibrate"]) == 2
    Path("c/checkpoints/calibration.json").write_text('{"schema": 1, "checkpoints": {"a": {}}}')
    with pytest.raises(CheckpointError, match=r"is not a calibration .* remove it"):
        seqmodel.load(f"c/{BEST}").predict(SEQUENCES, calibrated=True)


def test_other_tasks_are_refused(here):
    seqmodel.train(
        task="masked",
        dataset="table",
        train_files=["train.csv"],
        label_kind="multilabel",
        label_columns=["one", "two"],
        encoder="dilated_conv",
        n_layers=1,
        n_dims=8,
        max_epochs=1,
        accelerator="cpu",
        progress="none",
        default_root_dir="l",
    )
    with pytest.raises(HparamError, match="a model of the task masked cannot be calibrated"):
        calibrate("l/checkpoints/last.ckpt")
