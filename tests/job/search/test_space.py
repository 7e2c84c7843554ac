import itertools
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.errors import HparamError
from seqmodel.job.search.space import Space, choice, integer, log_uniform, random_number, uniform

values = st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True)
spaces = st.dictionaries(st.sampled_from("abcde"), values, max_size=4)


@given(spaces)
def test_a_grid_has_exactly_the_product(space):
    points = [tuple(sorted(p.items())) for p in Space(space, {}).grid()]
    names = sorted(space)
    wanted = [
        tuple(zip(names, v, strict=True)) for v in itertools.product(*(space[n] for n in names))
    ]
    assert sorted(points) == sorted(wanted)
    assert len(set(points)) == len(points)


@given(values, values)
def test_a_condition_holds_for_just_its_points(first, second):
    space = {"b": choice(second).when(a=first[0]), "a": first}
    points = list(Space(space, {}).grid())
    assert len(points) == len(first) - 1 + len(second)
    assert all(("b" in p) == (p["a"] == first[0]) for p in points)


@given(st.integers(0, 10**6), st.integers(0, 20), st.integers(0, 20))
def test_the_first_points_do_not_depend_on_n_nor_on_what_else_is_searched(seed, n, more):
    space = {"lr": log_uniform(1e-5, 1), "n": integer(1, 9), "w": choice(list("xyz"))}
    few = list(Space(space, {}).random(n, seed))
    assert list(Space(space, {}).random(n + more, seed))[:n] == few
    alone = list(Space({"n": integer(1, 9)}, {}).random(n, seed))
    assert [p["n"] for p in few] == [p["n"] for p in alone]


@given(st.integers(0, 10**6))
def test_draws_lie_within_their_bounds(seed):
    space = {"a": uniform(-1, 0.3), "b": log_uniform(1e-7, 1e-7), "c": integer(1, 3, log=True)}
    for point in Space(space, {}).random(20, seed):
        assert -1 <= point["a"] <= 0.3
        assert point["b"] == 1e-7
        assert point["c"] in (1, 2, 3)


def test_what_is_searched_wins_over_the_base():
    space = {"b": choice([7]).when(a=2), "a": [2, 3]}
    assert list(Space(space, {"a": 1, "b": 0}).grid()) == [{"a": 2, "b": 7}, {"a": 3}]


def test_draws_are_even():
    us = [random_number(0, i, "x") for i in range(4000)]
    assert abs(sum(us) / 4000 - 0.5) < 0.02
    found = [integer(1, 4).draw(u) for u in us]
    assert all(abs(found.count(k) - 1000) < 120 for k in (1, 2, 3, 4))
    logs = [math.log10(log_uniform(1e-4, 1).draw(u)) for u in us]
    assert abs(sum(logs) / 4000 + 2) < 0.06


def test_draws_are_the_same_in_every_process_and_for_ever():
    """The literals were written down when the rule was made."""
    code = (
        "from seqmodel.job.search.space import *\n"
        "s = {'lr': log_uniform(1e-5, 1e-2), 'n': integer(1, 100), 'e': choice(list('abcd'))}\n"
        "print(list(Space(s, {}).random(2, 7)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(GOLDEN)


GOLDEN = [
    {"lr": 0.0001105, "n": 61, "e": "b"},
    {"lr": 2.0157e-05, "n": 98, "e": "b"},
]


@pytest.mark.parametrize(
    ("space", "base", "match"),
    [
        ({"a": 3}, {}, "needs a list of values or a range"),
        ({"a": []}, {}, "no values"),
        ({"a": choice([1]).when(b=2)}, {}, "neither fixed nor searched"),
        ({"a": choice([1]).when(b=2), "b": choice([2]).when(a=1)}, {}, "form a circle"),
    ],
)
def test_a_space_that_makes_no_sense_is_one_line(space, base, match):
    with pytest.raises(HparamError, match=match):
        list(Space(space, base).grid())


def test_a_grid_of_a_range_and_bad_bounds_are_refused():
    with pytest.raises(HparamError, match="a grid needs a list of values for 'lr'"):
        list(Space({"lr": log_uniform(1e-3, 1)}, {}).grid())
    with pytest.raises(HparamError, match="must be above 0"):
        log_uniform(0, 1)
    with pytest.raises(HparamError, match="the lower one first"):
        uniform(2, 1)
