"""What a model reads of the sequences that a user gives: ids, padding, batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.dataset.seq.alphabet import DNA, PROTEIN
from seqmodel.infer.sequences import batches_of, rows_of

TEXTS = st.lists(st.text("ACGTNacgtnRy", min_size=1, max_size=12), min_size=1, max_size=20)


@given(TEXTS, st.integers(1, 8))
def test_batches_hold_each_text_once_in_order_and_then_padding(texts, batch_size):
    """By hand: A 0, C 1, G 2, T 3, padding 5, not known 6."""
    rows = rows_of(texts, DNA)
    found = list(batches_of(rows, 12, batch_size, DNA))
    assert [len(x) for x, _ in found[:-1]] == [batch_size] * (len(found) - 1)
    assert 1 <= len(found[-1][0]) <= batch_size
    ids = np.concatenate([x for x, _ in found])
    assert ids.dtype == np.uint8
    expected = [[("ACGT".find(x.upper()) + 7) % 7 for x in text] for text in texts]
    assert ids.tolist() == [x + [5] * (12 - len(x)) for x in expected]
    for x, pad in found:
        assert (pad is None) == (not (x == 5).any())
        np.testing.assert_array_equal(x == 5, np.zeros(x.shape, bool) if pad is None else pad)


def test_ids_and_one_hot_rows_are_never_in_one_batch():
    rows = [np.zeros(3, np.uint8), np.ones((2, 4), np.float32), np.ones((3, 4), np.float32)]
    found = list(batches_of(rows, 3, 8, DNA))
    assert [x.shape for x, _ in found] == [(1, 3), (2, 3, 4)]
    assert found[1][0][0, 2].tolist() == [0, 0, 0, 0]
    assert found[1][1].tolist() == [[False, False, True], [False] * 3]


@pytest.mark.parametrize("text", ["MKV", "mkv", b"MKV"])
def test_the_alphabet_is_that_of_the_model(text):
    (row,) = rows_of([text], PROTEIN)
    assert row.tolist() == [PROTEIN.letters.index(x) for x in "MKV"]
