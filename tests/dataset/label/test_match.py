"""Targets of a model and of other data: the same, in another order, or refused."""

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.dataset.label.targets import Targets, match
from seqmodel.dataset.track_data import Binning, TrackReader
from seqmodel.errors import LabelError

NAMES = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=7, unique=True)


@given(names=NAMES, data=st.data())
def test_columns_in_any_order_become_those_of_the_model(names, data):
    given = data.draw(st.permutations(names))
    found = match(Targets("multilabel", names), Targets("multilabel", given))
    values = np.array([[ord(name) + 100 * i for name in given] for i in range(4)])
    arranged = found.arrange(values)
    assert arranged.tolist() == [[ord(name) + 100 * i for name in names] for i in range(4)]
    assert found.targets.names == tuple(names)
    assert bool(found.note) == (given != names)


@given(names=NAMES, data=st.data())
def test_class_ids_in_any_order_become_those_of_the_model(names, data):
    given = data.draw(st.permutations(names))
    found = match(Targets("class", names), Targets("class", given))
    labels = data.draw(st.lists(st.sampled_from(names), min_size=1))
    arranged = found.arrange(np.array([given.index(x) for x in labels]))
    assert [names[i] for i in arranged] == labels


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize("jitter", [0, 3])
def test_tracks_in_any_order_are_read_and_reversed_as_in_the_order_of_the_model(order, jitter):
    """Brute force: a reader of the same values, put in the order of the model beforehand."""
    names, pairs = ("p", "q", "m", "n"), (("p", "m"), ("q", "n"))
    model = Targets("track", names, pairs)
    values = np.random.default_rng(0).random((6, 8 + 2 * jitter, 4)).astype(np.float32)
    given = tuple(names[i] for i in order)
    found = match(model, Targets("track", given, pairs))
    binning = Binning(1, "sum", None, False)
    reader = TrackReader(
        SimpleNamespace(array=values[..., list(order)]), binning, 8, jitter, range(4)
    )
    plain = TrackReader(SimpleNamespace(array=values), binning, 8, jitter, [2, 3, 0, 1])
    item, shift = np.arange(6), np.array([0, 1, -1, 2, 0, -2]) * bool(jitter)
    flip = np.array([True, False] * 3)
    read = found.arrange(reader).read(item, shift, flip)
    np.testing.assert_array_equal(read, plain.read(item, shift, flip))


def test_other_targets_are_refused_with_what_is_missing_and_new():
    message = r"3 labels \(a, b, c\), the data have 3 labels \(b, c, d\) \(missing: a; new: d\)"
    with pytest.raises(LabelError, match=message):
        match(Targets("multilabel", tuple("abc")), Targets("multilabel", tuple("bcd")))
    with pytest.raises(LabelError, match=r"2 classes \(a, b\), .* \(missing: b\)"):
        match(Targets("class", ("a", "b")), Targets("class", ("a",)))
    many = tuple(f"x{i}" for i in range(40))
    with pytest.raises(LabelError, match=r"\(x0, x1, x2, x3, x4 and 35 more\)"):
        match(Targets("real", many), Targets("real", ("y",)))


@pytest.mark.parametrize(
    ("first", "second"), list(permutations([None, "class", "multilabel", "real"], 2))
)
def test_other_kinds_are_refused(first, second):
    with pytest.raises(LabelError, match=r"the model predicts .*, the data have "):
        match(Targets(first, ("a", "b")), Targets(second, ("a", "b")))


def test_classes_that_are_numbers_are_compared_by_how_many_there_are():
    model = Targets("class", tuple("012"))
    assert match(model, Targets("class", ("0", "1"))) == (model, None, "")
    with pytest.raises(LabelError, match=r"3 classes \(0, 1, 2\), the data have 4 classes"):
        match(model, Targets("class", tuple("0123")))
    named = Targets("class", ("x", "y", "z"))
    found = match(model, named)
    assert (found.targets, found.order) == (named, None)
    assert "3 classes (x, y, z) of the data are taken for the model's 0, 1, 2" in found.note
    found = match(named, Targets("class", ("0", "1")))
    assert (found.targets, found.order) == (named, None)
    assert "are taken for the model's x, y, z" in found.note
    with pytest.raises(LabelError, match="3 classes .* 2 classes"):
        match(model, Targets("class", ("x", "y")))


def test_columns_that_are_numbers_are_taken_in_their_order_and_that_is_noted():
    model, data = Targets("real", ("a", "b")), Targets("real", ("5", "6"))
    found = match(model, data)
    assert (found.targets, found.order) == (model, None)
    assert "2 numbers (5, 6) of the data are taken for the model's a, b" in found.note
    assert match(Targets("real", ("5", "6")), Targets("real", ("6", "5"))).order.tolist() == [1, 0]
    with pytest.raises(LabelError, match="2 numbers .* 3 numbers"):
        match(model, Targets("real", tuple("567")))


def test_strands_follow_the_model_or_are_refused():
    model = Targets("track", ("p", "m"), (("p", "m"),))
    found = match(model, Targets("track", ("m", "p")))
    assert found.targets.partners == [1, 0]
    assert found.note.endswith("the strands of the tracks are those of the model")
    assert match(model, Targets("track", ("m", "p"), (("m", "p"),))).targets == model
    with pytest.raises(LabelError, match=r"--track_strands: the strand pairs .* are none"):
        match(Targets("track", ("p", "m")), model)


def test_targets_are_what_was_stored():
    for targets in (Targets("track", ("p", "m"), (("p", "m"),)), Targets("real", ("a",))):
        assert Targets.from_dict(targets.to_dict()) == targets
