"""Intervals: values of scikit-learn and scipy, coverage by simulation, AUROC against DeLong."""

from functools import partial
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from seqmodel.trust.metrics import OF_KIND, prepare
from seqmodel.trust.student import mean_interval, t_quantile
from seqmodel.trust.uncertainty import (
    by_containment,
    clean,
    compared,
    groups_of,
    interval,
    intervals,
    paired,
)

normal = NormalDist()


def class_rows(n=400, n_classes=3, seed=0, digits=2):
    """Classes and probabilities, rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    logits = rng.normal(size=(n, n_classes)) + np.eye(n_classes)[truth]
    outputs = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), digits)
    return truth, outputs / outputs.sum(1, keepdims=True)


def ece_by_hand(y, p, n_bins=10):
    total = 0.0
    for b in range(n_bins):
        low, high = b / n_bins, (b + 1) / n_bins
        inside = (p > low) & (p <= high) if b else (p <= high)
        if inside.any():
            total += inside.mean() * abs(y[inside].mean() - p[inside].mean())
    return total


def oracle(name, truth, p):
    """What scikit-learn says of probabilities of classes."""
    n, one_hot, predicted = p.shape[1], np.eye(p.shape[1])[truth], p.argmax(1)
    binary = n == 2
    return {
        "accuracy": lambda: sk.accuracy_score(truth, predicted),
        "f1": lambda: sk.f1_score(truth, predicted, average="binary" if binary else "macro"),
        "mcc": lambda: sk.matthews_corrcoef(truth, predicted),
        "auroc": lambda: (
            sk.roc_auc_score(truth, p[:, 1])
            if binary
            else np.mean([sk.roc_auc_score(one_hot[:, c], p[:, c]) for c in range(n)])
        ),
        "auprc": lambda: (
            sk.average_precision_score(truth, p[:, 1])
            if binary
            else np.mean([sk.average_precision_score(one_hot[:, c], p[:, c]) for c in range(n)])
        ),
        "log_loss": lambda: sk.log_loss(truth, np.clip(p, 1e-12, 1)),
        "brier": lambda: (
            sk.brier_score_loss(truth, p[:, 1]) if binary else np.square(p - one_hot).sum(1).mean()
        ),
        "ece": lambda: (
            ece_by_hand(truth, p[:, 1])
            if binary
            else ece_by_hand((predicted == truth).astype(float), p.max(1))
        ),
    }[name]()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", OF_KIND["class"])
def test_values_of_classes_are_those_of_scikit_learn(name, n_classes):
    truth, outputs = class_rows(n_classes=n_classes)
    assert interval(name, truth, outputs, draws=2).value == pytest.approx(
        oracle(name, truth, outputs), abs=1e-9
    )


@pytest.mark.parametrize("name", OF_KIND["class"] + OF_KIND["real"])
def test_a_draw_has_the_value_of_the_rows_that_it_repeats(name):
    rng = np.random.default_rng(3)
    group = np.sort(rng.integers(0, 20, 150))
    truth, outputs = class_rows(150, 3, seed=3)
    if name in OF_KIND["real"]:
        truth, outputs = np.round(outputs[:, 0], 1)[:, None], outputs[:, 1:2]
    weights = rng.integers(0, 3, (4, 20)).astype(float)
    found = prepare(name, truth, outputs, group)(weights)
    for value, of_groups in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(150), of_groups[group].astype(int))
        assert value == pytest.approx(interval(name, truth[rows], outputs[rows], draws=2).value)


def test_values_of_numbers_are_those_of_scipy_and_missing_ones_touch_nothing():
    rng = np.random.default_rng(1)
    truth = np.round(rng.normal(size=(90, 2)), 1)
    outputs = np.round(truth + rng.normal(size=(90, 2)), 1)
    truth[::7, 0] = np.nan
    found = intervals("real", truth, outputs, draws=5)
    columns = [(y[~np.isnan(y)], p[~np.isnan(y)]) for y, p in zip(truth.T, outputs.T, strict=True)]
    wanted = {
        "mse": np.mean([np.square(y - p).mean() for y, p in columns]),
        "pearson": np.mean([stats.pearsonr(y, p).statistic for y, p in columns]),
        "spearman": np.mean([stats.spearmanr(y, p).statistic for y, p in columns]),
    }
    assert {name: x.value for name, x in found.items()} == pytest.approx(wanted)


def test_values_of_labels_are_means_over_the_targets_that_are_defined():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 2, (80, 3)).astype(float)
    truth[:, 2] = 0  # AUROC is not defined
    truth[:10, 1] = np.nan
    p = rng.random((80, 3))
    found = intervals("multilabel", truth, p, draws=5)
    auroc = [sk.roc_auc_score(truth[:, 0], p[:, 0]), sk.roc_auc_score(truth[10:, 1], p[10:, 1])]
    assert found["auroc"].value == pytest.approx(np.mean(auroc))
    brier = np.mean([np.nanmean(np.square(truth[:, t] - p[:, t])) for t in range(3)])
    assert found["brier"].value == pytest.approx(brier)


# ---- coverage


def drawn(metric, n, per_group, seed):
    """Rows of a known distribution in groups: their true metric, truth, outputs, groups."""
    rng = np.random.default_rng([17, seed])

    def noise():  # standard normal, of which half is common to a group
        common = np.repeat(rng.normal(size=n // per_group), per_group)
        shared = 0.5 if per_group > 1 else 0.0
        return np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=n)

    groups = np.repeat(np.arange(n // per_group), per_group) if per_group > 1 else None
    if metric == "pearson":
        x = noise()
        return 0.6, 0.6 * x + 0.8 * noise(), x, groups
    y = np.repeat(rng.random(n // per_group) < 0.4, per_group).astype(int)
    score = noise() + 1.2 * y
    if metric == "auroc":
        return normal.cdf(1.2 / np.sqrt(2)), y, score, groups
    tp, fp = 0.4 * (1 - normal.cdf(0.7 - 1.2)), 0.6 * (1 - normal.cdf(0.7))
    fn, tn = 0.4 - tp, 0.6 - fp
    mcc = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return mcc, y, (score > 0.7).astype(float), groups


def coverage(metric, n, per_group, n_simulations):
    hits = 0
    for seed in range(n_simulations):
        true, y, p, groups = drawn(metric, n, per_group, seed)
        found = interval(metric, y, p, groups, seed=seed)
        hits += found.low <= true <= found.high
    return hits / n_simulations


CASES = [(200, 1), (250, 5)]


@pytest.mark.parametrize("metric", ["auroc", "mcc", "pearson"])
@pytest.mark.parametrize(("n", "per_group"), CASES)
def test_intervals_hold_the_true_value_in_95_of_100(metric, n, per_group):
    # a fixed seed; a coverage in [.93, .97] lies within these ends but for 1 in 1,000
    n_simulations = 400
    low = stats.binom.ppf(0.0005, n_simulations, 0.93) / n_simulations
    high = stats.binom.ppf(0.9995, n_simulations, 0.97) / n_simulations
    assert low <= coverage(metric, n, per_group, n_simulations) <= high


def test_without_groups_rows_of_groups_give_intervals_that_are_too_short():
    missed = 0
    for seed in range(200):
        true, y, p, _ = drawn("auroc", 250, 5, seed)
        found = interval("auroc", y, p, draws=300, seed=seed)
        missed += not found.low <= true <= found.high
    assert missed > 200 * 0.1


def delong(y, p):
    """Variance of AUROC by DeLong et al. 1988, from all pairs."""
    up, down = p[y == 1], p[y == 0]
    wins = (up[:, None] > down).astype(float) + 0.5 * (up[:, None] == down)
    return wins.mean(1).var(ddof=1) / len(up) + wins.mean(0).var(ddof=1) / len(down)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_auroc_is_delongs(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random(1500) < 0.3).astype(int)
    p = np.round(rng.normal(size=1500) + y, 1)
    found = interval("auroc", y, p, draws=20_000)
    half = 1.959964 * np.sqrt(delong(y, p))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)
    assert found.low == pytest.approx(found.value - half, abs=0.1 * half)


def test_the_paired_difference_is_shorter_than_what_two_intervals_leave():
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    y = (x + rng.normal(size=600) > 0).astype(int)
    a, b = x + 0.3 * rng.normal(size=600), x + 0.45 * rng.normal(size=600)
    found = paired("auroc", y, a, b)
    assert found.value == pytest.approx(sk.roc_auc_score(y, a) - sk.roc_auc_score(y, b))
    assert found.low < found.value < found.high
    single = interval("auroc", y, a)
    assert found.high - found.low < 0.8 * (single.high - single.low)
    assert paired("auroc", y, a, a)[:] == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["ece", "mcc", "auprc"])
def test_both_and_their_difference_are_those_of_single_calls(name):
    truth, a = class_rows(60, 3, seed=1)
    b = class_rows(60, 3, seed=2)[1]
    found = compared(name, truth, a, b, seed=3)
    wanted = interval(name, truth, a, seed=3), interval(name, truth, b, seed=3)
    assert found == (*wanted, paired(name, truth, a, b, seed=3))


def test_paired_differences_hold_the_true_difference():
    def hit(seed):
        rng = np.random.default_rng([5, seed])
        y = (rng.random(150) < 0.5).astype(int)
        x = rng.normal(size=150)
        a, b = x + 1.2 * y, 0.6 * x + 0.8 * rng.normal(size=150) + 0.8 * y
        true = normal.cdf(1.2 / np.sqrt(2)) - normal.cdf(0.8 / np.sqrt(2))
        found = paired("auroc", y, a, b, draws=500, seed=seed)
        return found.low <= true <= found.high

    hits = sum(map(hit, range(300)))
    assert stats.binom.ppf(0.0005, 300, 0.93) <= hits <= stats.binom.ppf(0.9995, 300, 0.97)


# ---- what is undefined


def test_intervals_are_the_same_each_time_and_follow_the_seed():
    truth, outputs = class_rows()
    again = partial(interval, "mcc", truth, outputs)
    assert again(seed=4) == again(seed=4) != again(seed=5)


@pytest.mark.parametrize("name", ["mcc", "auroc", "auprc"])
def test_scores_of_one_class_are_nan(name):
    _, outputs = class_rows(50, 2)
    assert np.isnan(interval(name, np.zeros(50, dtype=int), outputs)).all()


def test_a_constant_prediction_has_mcc_0_and_no_correlation():
    truth, _ = class_rows(50, 2)
    assert interval("mcc", truth, np.tile([0.9, 0.1], (50, 1)))[:] == (0, 0, 0)
    assert np.isnan(interval("pearson", np.arange(50.0), np.full(50, 0.1))).all()


def test_outputs_that_are_nan_give_nan():
    truth, outputs = class_rows(50, 2)
    outputs[3] = np.nan
    found = intervals("class", truth, outputs, draws=10)
    assert all(np.isnan(x.value) for x in found.values())


def test_one_group_and_no_rows_have_no_interval():
    truth, outputs = class_rows(20, 2)
    found = interval("accuracy", truth, outputs, np.zeros(20))
    assert found.value >= 0
    assert np.isnan(found[1:]).all()
    assert np.isnan(interval("accuracy", truth[:0], outputs[:0])).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval("auc", [0, 1], [0.1, 0.2]), "no metric 'auc'; choose one of accuracy"),
        (lambda: interval("auroc", [0, 1], [0.1]), "2 truths, 1 outputs"),
        (lambda: interval("auroc", [0, 1], [0.1, 0.2], ["a"]), "1 groups for 2 rows"),
        (lambda: interval("mcc", np.eye(2), np.eye(2)), "scores of classes"),
    ],
)
def test_what_does_not_go_together_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- groups and bands


def test_groups_are_contigs_or_blocks_or_components_or_rows():
    def sets(found):
        group, what = found
        return what, sorted(np.flatnonzero(group == g).tolist() for g in set(group.tolist()))

    apart = 1_000_000 * np.arange(21)
    places = np.append(apart, [999_999, 5]), np.array(["a"] * 22 + ["b"])
    what, found = sets(groups_of(places[1], places[0]))
    assert what == "blocks of 1 Mb"
    assert len(found) == 22
    assert [0, 21] in found
    assert sets(groups_of(np.arange(25), np.zeros(25)))[0] == "contigs"
    near = 60_000 * np.arange(60)  # four blocks of 1 Mb, 36 of 100 kb
    assert sets(groups_of(np.zeros(60), near))[0] == "blocks of 100 kb"
    assert len(sets(groups_of(np.zeros(60), near))[1]) == 36
    assert sets(groups_of(np.zeros(3), np.arange(3))) == ("blocks of 10 kb", [[0, 1, 2]])
    assert groups_of(None, components=[3, 3, 1])[1] == "components"
    assert groups_of(None) == (None, "rows")


def test_each_row_is_in_one_band_of_containment():
    truth, outputs = class_rows(12, 2)
    containment = np.array([0, 0.1, 0.2, 0.49, 0.5, 0.8, 1.0, np.nan, 0, 0.79, 0.19, 0.3])
    found = by_containment("accuracy", truth, outputs, containment, draws=10)
    assert [x["band"] for x in found] == ["none", "< 0.2", "0.2-0.5", "0.5-0.8", ">= 0.8"]
    assert [x["n"] for x in found] == [2, 2, 3, 2, 2]
    inside = (containment >= 0.2) & (containment < 0.5)
    right = (outputs.argmax(1) == truth)[inside].mean()
    assert found[2]["value"] == pytest.approx(right)
    dirty = containment >= 0.2
    assert clean("accuracy", truth, outputs, dirty, draws=10)["n"] == 5
    nothing = clean("accuracy", truth, outputs, dirty | True, draws=10)
    assert nothing == {"n": 0, "value": None, "low": None, "high": None}


# ---- Student's t


@pytest.mark.parametrize("n_free", [1, 2, 3, 4, 5, 10, 29, 30, 99, 400, 401, 5000])
@pytest.mark.parametrize("p", [0.025, 0.5, 0.9, 0.975, 0.999])
def test_quantiles_of_t_are_those_of_scipy(n_free, p):
    assert t_quantile(p, n_free) == pytest.approx(stats.t.ppf(p, n_free), rel=5e-5, abs=1e-9)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = [0.71, 0.74, 0.69, 0.75]
    wanted = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(wanted)
    assert mean_interval([0.5]) is None
