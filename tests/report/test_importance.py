import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.report.content import as_json, memory_bytes, thinned
from seqmodel.report.importance import importances, omega_squared


def test_omega_squared_is_that_of_the_textbook():
    """Sums of squares worked out by hand: 3 groups of 3, between 54, within 6."""
    values = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    scores = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert omega_squared(values, scores) == pytest.approx((54 - 2 * 1) / (60 + 1))


def test_what_decides_is_first_and_what_does_not_is_near_zero():
    rng = random.Random(0)
    points = []
    for _ in range(300):
        h = {"lr": rng.uniform(0, 1), "n_layers": rng.randint(1, 4), "encoder": rng.choice("ab")}
        points.append((h, 3 * h["lr"] + 0.1 * rng.gauss(0, 1)))
    found = importances(points, ["encoder", "lr", "n_layers"])
    assert found[0]["name"] == "lr"
    assert found[0]["share"] > 0.8
    assert all(item["share"] < 0.05 for item in found[1:])


def test_chance_explains_nothing_on_average():
    rng = random.Random(1)
    shares = []
    for _ in range(200):
        values = [rng.randrange(5) for _ in range(40)]
        shares.append(omega_squared(values, [rng.gauss(0, 1) for _ in values]))
    assert statistics.mean(shares) < 0.05


def test_it_is_not_told_from_too_few():
    assert omega_squared([1, 2, 3], [1, 2, 3]) is None
    assert omega_squared([1, 2, 3, 4], [1, 2, 3, 4]) is None
    assert omega_squared([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert omega_squared([1, 1, 2, 2], [5, 5, 5, 5]) == 0


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=500), st.integers(5, 60))
def test_a_thinned_curve_keeps_its_ends_and_its_best(ys, n):
    curve = [(float(i), y) for i, y in enumerate(ys)]
    xs, kept = thinned(curve, n, "min")
    assert len(xs) <= max(n, 5)
    assert (xs[0], xs[-1]) == (0.0, len(ys) - 1)
    assert min(kept) == pytest.approx(min(ys), rel=1e-4)


def test_memory_is_read_as_slurm_reads_it():
    assert memory_bytes("4G") == 4 * 2**30
    assert memory_bytes("4000") == 4000 * 2**20
    assert memory_bytes("all") is None


@given(st.text())
def test_json_in_the_page_never_ends_its_element(text):
    import json

    made = as_json({"x": text})
    assert not set("<>&") & set(made)
    assert json.loads(made) == {"x": text}
