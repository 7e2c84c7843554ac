"""Containment, against sets of text and against planted copies."""

import numpy as np
import pytest
from leak_cases import gue, kmers, repeats, reverse, rows_of, shuffled, substituted, texts_of

from seqmodel.dataset.seq.alphabet import PROTEIN, RNA
from seqmodel.trust.similarity import Containment


def brute(train, test, k, max_rows, **how):
    """Containment and nearest row, by definition."""
    out = repeats(train, k, max_rows, **how)
    sets = [kmers(x, k, **how) - out for x in train]
    share, nearest = [], []
    for text in test:
        own = kmers(text, k, **how) - out
        found = [len(own & x) / len(own) if own else 0 for x in sets]
        share.append(max(found))
        nearest.append(found.index(max(found)) if max(found) else -1)
    return share, nearest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prom/prom_core_tata", [6.0, 4.4, 4.1]),
        ("prom/prom_300_tata", [8.2, 3.6, 2.6]),
        ("tf/4", [8.9, 3.5, 1.2]),
    ],
)
def test_published_sets(name, expected):
    """Shares of similar rows that were made with another program."""
    data = gue(name)
    train, test = rows_of(data["train"][0]), rows_of(data["test"][0])
    index = Containment(train)
    share, nearest = index.of(test)
    report = index.report(test, share, nearest)
    assert [round(100 * x, 1) for x in report["share_at"].values()] == expected
    few = np.random.default_rng(0).choice(len(train), 200, replace=False)
    few = np.union1d(few, nearest[np.argsort(-share)[:20]])
    texts = [data["train"][0][i] for i in few]
    own = data["test"][0][:200]
    a, b = Containment(rows_of(texts)).of(rows_of(own))
    assert (a.tolist(), b.tolist()) == brute(texts, own, 16, 2000)


@pytest.mark.parametrize(
    ("alphabet", "k", "canonical"), [(None, 16, True), (RNA, 16, True), (PROTEIN, 6, False)]
)
def test_against_brute_force(alphabet, k, canonical):
    rng = np.random.default_rng(1)
    more = {} if alphabet is None else {"alphabet": alphabet}
    letters = "ACGT" if alphabet is None else "".join(alphabet.letters)
    base = texts_of(rng, 20, 60, 90, letters)
    train = texts_of(rng, 150, 0, 80, letters) + [x[10:] for x in base] + [x[:50] for x in base]
    train += [base[0][:k] + x for x in texts_of(rng, 10, 20, 30, letters)]
    test = texts_of(rng, 140, k, 80, letters) + [x[5:] for x in base] + [x[:40] for x in base]
    test += [base[0][:k], "".join(base)]
    index = Containment(rows_of(train, **more), max_rows=9)
    assert index.k == k
    share, nearest = index.of(rows_of(test, **more))
    expected = brute(train, test, k, 9, canonical=canonical, letters=letters)
    assert (share.tolist(), nearest.tolist()) == expected
    assert index.describe()["repeats_left_out"] == 1


def test_planted_copies_are_found_and_shuffled_rows_are_not():
    rng = np.random.default_rng(2)
    train = texts_of(rng, 1000, 200)
    chosen = [train[i] for i in rng.choice(1000, 200, replace=False)]
    index = Containment(rows_of(train))

    def recall(texts, least):
        return (index.of(rows_of(texts))[0] >= least).mean()

    assert recall(chosen, 0.8) == 1
    assert recall([reverse(x) for x in chosen], 0.8) == 1
    assert recall([substituted(rng, x, 0.05) for x in chosen], 0.2) >= 0.95
    assert (
        recall([x[40:] + y for x, y in zip(chosen, texts_of(rng, 200, 40), strict=True)], 0.5) == 1
    )
    assert recall([shuffled(rng, x) for x in chosen], 0.2) == 0


def test_planted_copies_in_a_part_of_the_kmers():
    rng = np.random.default_rng(3)
    train = texts_of(rng, 1000, 200)
    whole, part = Containment(rows_of(train)), Containment(rows_of(train), max_kmers=60_000)
    assert part.describe()["kept_one_in"] == 4
    more = zip(train, texts_of(rng, 1000, 50), strict=True)
    test = rows_of([x[rng.integers(0, 150) :] + y for x, y in more])
    (exact, row), (near, other) = whole.of(test), part.of(test)
    assert (row == other).mean() > 0.99
    assert abs(exact - near).mean() < 0.06
    assert abs((exact - near).mean()) < 0.01


def test_rows_without_kmers():
    train = rows_of(["ACG", "ACGTT", "N" * 40, "ACGTACCA" * 3], names=list("abcd"))
    test = rows_of(["CGT", "ACG", "AC", "", "N" * 40, "ACGTACCA" * 3], names=list("uvwxyz"))
    index = Containment(train)
    share, nearest = index.of(test)
    assert share.tolist() == [1, 1, 0, 0, 0, 1]
    assert nearest.tolist() == [0, 0, -1, -1, -1, 3]
    report = index.report(test, share, nearest)
    assert report["without_kmers"] == 5
    assert [(x["name"], x["train_name"]) for x in report["worst"]] == [
        *zip("uvz", "aad", strict=True)
    ]
    none = test.select(np.array([], dtype=int))
    assert Containment(none).of(test)[0].tolist() == [0] * 6
    assert index.of(none)[0].tolist() == []
