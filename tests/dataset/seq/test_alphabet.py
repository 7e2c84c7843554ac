import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import alphabets, texts

from seqmodel.dataset.seq.alphabet import DNA, PROTEIN, RNA, Alphabet, alphabet_from_name
from seqmodel.errors import SequenceError


def test_ids_of_dna_are_the_contract():
    assert DNA.encode("ACGTacgtNn").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 6, 6]
    assert (DNA.mask_id, DNA.pad_id, DNA.unknown_id, DNA.n_tokens) == (4, 5, 6, 7)
    assert DNA.complement_table.tolist() == [3, 2, 1, 0, 4, 5, 6]


@given(st.data(), alphabets)
def test_decode_of_encode_is_the_upper_case_text(data, alphabet):
    text = data.draw(texts(alphabet))
    known = "".join(alphabet.ambiguous[0] if x in alphabet.ambiguous else x for x in text.upper())
    assert alphabet.decode(alphabet.encode(text)) == known


@given(st.data(), st.sampled_from([DNA, RNA]))
def test_reverse_complement_twice_is_the_sequence(data, alphabet):
    ids = alphabet.encode(data.draw(texts(alphabet)))
    assert np.array_equal(alphabet.reverse_complement(alphabet.reverse_complement(ids)), ids)


def test_reverse_complement_is_that_of_the_letters():
    assert DNA.decode(DNA.reverse_complement(DNA.encode("AACGTN"))) == "NACGTT"
    assert RNA.decode(RNA.reverse_complement(RNA.encode("AACGUN"))) == "NACGUU"
    with pytest.raises(SequenceError, match="'protein' has no complement"):
        PROTEIN.reverse_complement(np.zeros(3, dtype=np.uint8))


@pytest.mark.parametrize(("unknown", "value"), [("uniform", 0.25), ("zeros", 0.0)])
def test_one_hot_of_an_unknown_letter_follows_the_rule(unknown, value):
    table = alphabet_from_name("dna", unknown).one_hot_table()
    assert np.array_equal(table[:4], np.eye(4))
    assert (table[[DNA.mask_id, DNA.pad_id]] == 0).all()
    assert (table[DNA.unknown_id] == value).all()


@given(alphabets)
def test_a_saved_alphabet_is_the_same(alphabet):
    assert Alphabet.from_dict(json.loads(json.dumps(alphabet.to_dict()))) == alphabet


def test_letters_may_be_words():
    codons = Alphabet("codons", ("AAA", "AAC", "A"), "N")
    assert codons.encode("aaaAACaN").tolist() == [0, 1, 2, 5]
    with pytest.raises(SequenceError, match=r"row 3, character 4: 'G' is not of"):
        codons.encode("AAAG", "row 3")


@pytest.mark.parametrize(
    ("letters", "message"),
    [
        (("A", "a"), "'A' occurs twice"),
        ((), "1 to 250 symbols"),
        (("A", " "), "visible ASCII"),
        (("A", "é"), "visible ASCII"),
    ],
)
def test_an_alphabet_that_cannot_be_is_refused(letters, message):
    with pytest.raises(SequenceError, match=message):
        Alphabet("mine", letters)


def test_a_complement_must_pair_the_letters():
    with pytest.raises(SequenceError, match="complement must pair"):
        Alphabet("mine", ("A", "B"), complement={"A": "B", "B": "B"})


def test_a_letter_outside_of_the_alphabet_is_named_with_its_place():
    with pytest.raises(
        SequenceError, match=r"train.csv line 4, character 3: 'Z' is not of .*'dna'"
    ):
        DNA.encode("ACZT", "train.csv line 4")
    with pytest.raises(SequenceError, match="character 2: 'é'"):
        DNA.encode("Aé")


def test_own_letters_and_unknown_names():
    assert alphabet_from_name("letters:01").encode("0110").tolist() == [0, 1, 1, 0]
    with pytest.raises(SequenceError, match="no alphabet 'DNA'; known are dna, rna, protein"):
        alphabet_from_name("DNA")
