"""Alignment of two rows, against the way in which they were made."""

import sys
from pathlib import Path

import numpy as np
import pytest
from leak_cases import reverse, rows_of, substituted, texts_of

from seqmodel.cli.verbs import main
from seqmodel.dataset.seq.alphabet import DNA, PROTEIN
from seqmodel.errors import HparamError
from seqmodel.trust.align import alignment
from seqmodel.trust.similarity import Containment


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize("shift", [-60, 0, 40])
def test_a_shifted_copy_with_substitutions(shift, strand):
    rng = np.random.default_rng(abs(shift))
    (whole,) = texts_of(rng, 1, 300)
    other = whole[60:260]
    copy = substituted(rng, whole, 0.05)[60 + shift :][:200]
    overlap = 200 - abs(shift)
    beside = zip(copy[max(0, -shift) :], other[max(0, shift) :], strict=False)
    n_equal = sum(a == b for a, b in beside)
    row = reverse(copy) if strand == "-" else copy
    found = alignment(DNA.encode(row), DNA.encode(other), DNA, 16)
    expected = {"strand": strand, "offset": shift, "overlap": overlap}
    assert found == expected | {"identity": pytest.approx(n_equal / overlap, abs=0.012)}


def test_a_lost_letter_is_one_column():
    (text,) = texts_of(np.random.default_rng(0), 1, 100)
    found = alignment(DNA.encode(text[:40] + text[41:]), DNA.encode(text), DNA, 16)
    assert found["offset"] == 1  # most k-mers are after the loss
    assert found["identity"] == 0.98


def test_rows_without_a_common_kmer():
    a, b = (PROTEIN.encode(x) for x in ("ACDEFGHIKL", "LKIHGFEDCA"))
    assert alignment(a, b, PROTEIN, 6) == {}
    assert alignment(a, a, PROTEIN, 6) == {"strand": "+", "offset": 0, "overlap": 10, "identity": 1}


def test_a_run_of_one_letter():
    a = DNA.encode("A" * 5000)
    assert alignment(a, a, DNA, 16)["offset"] == 0


def test_the_worst_rows_of_a_report_are_aligned():
    rng = np.random.default_rng(1)
    train = texts_of(rng, 50, 100)
    test = rows_of([train[3][20:], reverse(train[4]), *texts_of(rng, 20, 100)])
    index = Containment(rows_of(train))
    found = index.report(test, *index.of(test), align=True)["worst"]
    assert [(x["train_row"], x["strand"], x["offset"]) for x in found] == [
        (3, "+", 20),
        (4, "-", 0),
    ]
    assert [x["identity"] for x in found] == [1, 1]
    assert "strand" not in index.report(test, *index.of(test))["worst"][0]


def test_edlib_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "edlib", None)
    a = DNA.encode("ACGT" * 8)
    with pytest.raises(HparamError, match="--align needs the package edlib: pip install edlib,"):
        alignment(a, a, DNA, 16)


def test_the_verb_aligns_the_worst_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    train, test = texts_of(rng, 30, 100), texts_of(rng, 20, 100)
    test[7] = reverse(train[5][30:] + texts_of(rng, 1, 30)[0])
    for name, rows in (("train", train), ("test", test)):
        lines = [f"{x},{i % 2}\n" for i, x in enumerate(rows)]
        Path(f"{name}.csv").write_text("sequence,label\n" + "".join(lines))
    given = ("--dataset=table", "--train_files=train.csv", "--test_files=test.csv")
    assert main(["audit", *given, "--align"]) == 0
    assert (
        "training row 5, strand - at offset 30, 100.0% identity over 70" in capsys.readouterr().out
    )
