"""Baselines: the solver against scikit-learn, features against counting, and published sets."""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seqmodel.dataset.seq.alphabet import DNA, PROTEIN
from seqmodel.trust.baselines import baselines, kmer_counts, ks_of
from seqmodel.trust.linear import fit
from seqmodel.trust.rows import Rows

SHARED = Path(os.environ.get("SEQMODEL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def made(n=400, n_features=8, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, (n, n_features)) * np.arange(1, n_features + 1)
    x[:, -1] = 7  # constant
    return x, rng


def rows_of_texts(texts, truth=None, kind="class", targets=("0", "1"), alphabet=DNA, **more):
    codes = [alphabet.encode(x) if x else np.empty(0, np.uint8) for x in texts]
    offsets = np.concatenate(([0], np.cumsum([len(x) for x in codes], dtype=np.int64)))
    truth = None if truth is None else np.asarray(truth)
    kind = kind if truth is not None else None
    return Rows(
        "train", np.concatenate(codes), offsets, alphabet, truth=truth, kind=kind, targets=targets,
        **more,
    )  # fmt: skip


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_classes_are_fitted_as_by_scikit_learn(n_classes, c):
    x, rng = made()
    y = np.clip((x[:, 0] + rng.normal(0, 2, len(x))) // 2, 0, n_classes - 1).astype(int)
    ours = fit(x, y, "class", n_classes, c)
    theirs = make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-8, max_iter=2000))
    theirs.fit(x, y)
    np.testing.assert_allclose(ours(x), theirs.predict_proba(x), atol=1e-3)
    np.testing.assert_allclose(ours.weight.T, theirs[-1].coef_, atol=1e-3)
    np.testing.assert_allclose(ours.bias, theirs[-1].intercept_, atol=1e-3)


def test_labels_are_fitted_each_alone_without_those_that_are_missing():
    x, rng = made()
    y = (x[:, :3] + rng.normal(0, 5, (len(x), 3)) > x[:, :3].mean(0)).astype(float)
    y[::7, 1] = np.nan
    ours = fit(x, y, "multilabel", c=0.1)
    z = StandardScaler().fit_transform(x)
    for i in range(3):
        known = ~np.isnan(y[:, i])
        theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=2000).fit(z[known], y[known, i])
        np.testing.assert_allclose(ours(x)[:, i], theirs.predict_proba(z)[:, 1], atol=1e-3)


def test_numbers_are_fitted_as_by_ridge_without_those_that_are_missing():
    x, rng = made()
    y = x[:, :2] @ np.array([[1, 0], [2, -1]]) + rng.normal(0, 5, (len(x), 2))
    y[::5, 1] = np.nan
    ours = fit(x, y, "real", c=0.01)(x)
    z = StandardScaler().fit_transform(x)
    for i in range(2):
        known = ~np.isnan(y[:, i])
        theirs = Ridge(alpha=100).fit(z[known], y[known, i]).predict(z)
        np.testing.assert_allclose(ours[:, i], theirs, atol=1e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("alphabet", [DNA, PROTEIN])
@pytest.mark.parametrize("k", [1, 2])
def test_kmers_are_counted_as_texts_have_them(alphabet, k):
    rng = np.random.default_rng(1)
    letters = [*alphabet.letters, "N" if alphabet is DNA else "X"]
    texts = ["".join(rng.choice(letters, n)) for n in (0, 1, 2, 3, 50, 300)]
    words = [""]
    for _ in range(k):
        words = [a + b for a in words for b in alphabet.letters]
    expected = [
        [sum(text[i : i + k] == w for i in range(len(text))) for w in words] for text in texts
    ]
    assert np.array_equal(kmer_counts(rows_of_texts(texts, alphabet=alphabet), k), expected)


def test_numbers_that_do_not_vary_are_no_baseline():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(60)]
    rows = rows_of_texts(texts, rng.integers(0, 2, 60))
    assert set(baselines(rows, rows)) == {"GC", "row order", *(f"{k}-mers" for k in range(1, 6))}


def test_what_alone_tells_the_class_is_found():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    texts = ["".join(rng.choice(list("ACGT"), 20 + 5 * i)) for i in y]
    lower = rng.random(200)
    rows = rows_of_texts(texts, y, lower=lower, source=rng.integers(0, 2, 200))
    found = baselines(rows, rows)
    assert (found["length"].argmax(1) == y).all()
    for name in ("lower case", "file of origin", "row order"):
        assert (found[name].argmax(1) == y).mean() < 0.65


def test_the_nearest_row_lends_its_truth_and_without_one_it_is_the_mean():
    train = rows_of_texts(["AC", "GT", "TT", "CC"], [[1.0], [2.0], [np.nan], [6.0]], "real", ("a",))
    test = rows_of_texts(["AC", "GG", "TT"], alphabet=DNA)
    found = baselines(train, test, (np.array([1, 0, 0.5]), np.array([0, -1, 2])), kmers=())
    assert found["nearest row"].tolist() == [[1.0], [3.0], [3.0]]


@pytest.mark.parametrize(
    ("texts", "truth", "kind"),
    [
        (["ACGT"] * 10, [1] * 10, "class"),
        (["ACGT", "AC"] * 5, np.full((10, 1), 2.5), "real"),
        (["ACGT", "AC"] * 5, np.full((10, 1), np.nan), "real"),
    ],
)
def test_one_class_or_a_constant_has_no_baselines(texts, truth, kind):
    rows = rows_of_texts(texts, truth, kind, ("0", "1") if kind == "class" else ("a",))
    assert baselines(rows, rows) == {}


@pytest.mark.parametrize("texts", [["NNNN", "NN"], ["A", "C"], ["ACGTACGT", "N"]])
def test_rows_that_are_short_or_unknown_have_finite_baselines(texts):
    rows = rows_of_texts(texts * 5, [0, 1] * 5)
    for outputs in baselines(rows, rows).values():
        assert np.isfinite(outputs).all()


def test_many_targets_have_shorter_kmers():
    truth = np.zeros((1000, 919))
    rows = rows_of_texts(["ACGT"] * 1000, truth, "multilabel", tuple(map(str, range(919))))
    assert ks_of(rows) == [1, 2, 3, 4, 5]
    many = Rows("train", np.zeros(10**6, np.uint8), np.arange(10**6 + 1), DNA, targets=rows.targets)
    assert ks_of(many) == [1, 2]
    assert ks_of(rows_of_texts(["ACDE"], alphabet=PROTEIN)) == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gc", "kmers"),
    [
        ("prom/prom_core_tata", 28.3, 45.2),
        ("prom/prom_300_tata", 8.7, 40.0),
        ("tf/4", 1.6, 70.4),
    ],
)
def test_published_sets_have_the_scores_of_scikit_learn(name, gc, kmers):
    from sklearn.metrics import matthews_corrcoef

    folder = SHARED / "gue" / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}; set SEQMODEL_SHARED_DATA to the folder of shared data")
    train, test = (Rows.of_table(folder / f"{x}.csv.gz", x) for x in ("train", "test"))
    found = baselines(train, test, kmers=[5])
    for word, expected in (("GC", gc), ("5-mers", kmers)):
        score = 100 * matthews_corrcoef(test.truth, found[word].argmax(1))
        assert abs(score - expected) < 1, word
