"""k-mers of many sequences at once, against sets of text."""

from collections import Counter

import numpy as np
import pytest
from leak_cases import kmers, repeats, sequences_of, texts_of

from seqmodel.dataset.seq import kmers as module
from seqmodel.dataset.seq.alphabet import DNA, PROTEIN, RNA, alphabet_from_name
from seqmodel.dataset.seq.kmers import KmerIndex, KmerReader, default_k, longest_k
from seqmodel.errors import SequenceError


def shared_of(index, x):
    """{(row, other): k-mers that both have} and the number of k-mers of each row."""
    pairs, size = {}, np.zeros(len(x), dtype=int)
    for first, n, found in index.pairs(x):
        size[first : first + len(n)] = n
        columns = (found.row.tolist(), found.other.tolist(), found.shared.tolist())
        pairs |= {(a, b): c for a, b, c in zip(*columns, strict=True)}
    return pairs, size.tolist()


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7, 12, 16])
def test_distinct_kmers_of_each_row(k, monkeypatch):
    monkeypatch.setattr(module, "_LETTERS", 100)
    rng = np.random.default_rng(k)
    texts = ["", "ACG", *texts_of(rng, 60, 0, 40, "ACGTN"), "N" * 30, ""]
    found = KmerReader(DNA, k).counts(sequences_of(texts))
    assert found.tolist() == [len(kmers(x, k)) for x in texts]


@pytest.mark.parametrize(
    ("alphabet", "k", "canonical"),
    [
        (DNA, 4, True),
        (RNA, 3, True),
        (PROTEIN, 2, False),
        (alphabet_from_name("letters:XYZ"), 3, 0),
    ],
)
def test_shared_kmers_of_all_pairs(alphabet, k, canonical, monkeypatch):
    monkeypatch.setattr(module, "_LETTERS", 200)
    monkeypatch.setattr(module, "_HITS", 30)
    rng = np.random.default_rng(0)
    letters = "".join(alphabet.letters)
    train, test = texts_of(rng, 50, 0, 60, letters), texts_of(rng, 40, 0, 60, letters)
    how = {"canonical": canonical, "letters": letters}
    out = repeats(train, k, 9, **how)
    sets = [[kmers(x, k, **how) - out for x in part] for part in (train, test)]
    index = KmerIndex(sequences_of(train, alphabet), k, max_rows=9)
    pairs, size = shared_of(index, sequences_of(test, alphabet))
    assert size == [len(x) for x in sets[1]]
    assert len(index.repeats) == len(out) > 0
    assert index.sizes(len(train)).tolist() == [len(x) for x in sets[0]]
    expected = {
        (i, j): len(a & b) for i, a in enumerate(sets[1]) for j, b in enumerate(sets[0]) if a & b
    }
    assert pairs == expected


def test_k_by_the_alphabet():
    assert [default_k(x) for x in (DNA, RNA, PROTEIN)] == [16, 16, 6]
    assert default_k(alphabet_from_name("letters:AB")) == 32
    for n in range(1, 60):
        letters = "".join(map(chr, range(33, 33 + n))).upper()
        alphabet = alphabet_from_name("letters:" + "".join(dict.fromkeys(letters)))
        k, n = longest_k(alphabet), max(2, alphabet.n_letters)
        assert n**k <= 2**32 < n ** (k + 1)


def test_k_that_32_bits_do_not_hold():
    with pytest.raises(
        SequenceError, match="k=17: k-mers of the alphabet 'dna' have length 1 to 16"
    ):
        KmerReader(DNA, 17)


def test_a_part_of_the_kmers_is_the_same_part_everywhere():
    rng = np.random.default_rng(0)
    texts = texts_of(rng, 300, 200)
    whole = sequences_of(texts)
    index = KmerIndex(whole, max_kmers=len(texts) * 185 // 4)
    assert index.reader.scale == 4
    kept = index.reader.counts(whole)
    assert 0.24 < kept.sum() / KmerReader(DNA).counts(whole).sum() < 0.26
    pairs, size = shared_of(index, whole)
    assert size == kept.tolist()
    assert all(pairs[i, i] == n for i, n in enumerate(size))


def test_a_repeat_is_in_more_rows_than_allowed():
    texts = ["ACGTTGCAAT"] * 5 + ["GGATCCAATG"] * 6
    index = KmerIndex(sequences_of(texts), 10, max_rows=5)
    assert len(index.repeats) == 1
    pairs, size = shared_of(index, sequences_of(texts))
    assert Counter(size) == {1: 5, 0: 6}
    assert set(pairs) == {(i, j) for i in range(5) for j in range(5)}
