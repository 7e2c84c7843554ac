"""Three models as one: k-mers and motifs against counting by hand, and what is never read."""

import gzip
import math
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from seqmodel.dataset.seq.alphabet import DNA

PAIRS = str.maketrans("ACGT", "TGCA")
SMALL = {"n_dims": 4, "n_decoder_dims": 4, "max_epochs": 1, "warmup_steps": 0, "precision": "32"}
WHICH = "prom/prom_core_tata"
MEME = """MEME version 4

MOTIF MA1 one
letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0
 0.7 0.1 0.1 0.1
 0.0 1.0 0.0 0.0
 0.25 0.25 0.25 0.25
URL http://example.org

MOTIF MA2 two
letter-probability matrix: alength= 4 w= 2 nsites= 20 E= 0
 0.0 0.0 1.0 0.0
 0.0 0.0 0.0 1.0
"""


def reverse(text):
    return text.translate(PAIRS)[::-1]


def letters(n, seed=0):
    return "".join(random.Random(seed).choices("ACGT", k=n))


def codes(*texts):
    return np.stack([DNA.encode(x) for x in texts])


def test_words_are_those_of_either_strand_without_the_gaps():
    import kmers

    text = letters(40)
    for mask in kmers.MASKS:
        kept = [i for i, x in enumerate(mask) if x == "1"]
        found = kmers.words(codes(text), mask)[0]
        assert len(found) == 40 - len(mask) + 1
        for i, word in enumerate(found):
            window = text[i : i + len(mask)]
            both = ["".join(x[k] for k in kept) for x in (window, reverse(window))]
            numbers = [sum("ACGT".index(c) * 4**k for k, c in enumerate(x[::-1])) for x in both]
            assert word == min(numbers)


def test_masks_fit_both_strands():
    import kmers

    assert all(mask == mask[::-1] and mask[0] == "1" for mask in kmers.MASKS)
    assert len(set(kmers.MASKS)) == len(kmers.MASKS)
    found = kmers.presence(codes(letters(60), reverse(letters(60))))
    assert (found[0] != found[1]).nnz == 0
    assert found[0].nnz > 0.9 * sum(60 - len(x) + 1 for x in kmers.MASKS[4:])


def test_a_word_with_an_unknown_letter_is_none():
    import kmers

    found = kmers.words(codes("ACGTNACGT"), "111")[0]
    assert [x == kmers.NO_WORD for x in found] == [False, False, True, True, True, False, False]


def test_abundance_is_the_count_in_the_genome():
    import kmers

    genome = letters(3000, seed=1) + "NNN" + letters(500, seed=2)
    texts = [letters(80, seed=3), genome[500:580], genome[2960:3040]]
    [found] = kmers.abundance([codes(*texts)], DNA.encode(genome), [4, 9])
    for text, row in zip(texts, found, strict=True):
        for k, [mean, largest, smallest, upper, middle] in zip(
            (4, 9), row.reshape(2, 5), strict=True
        ):
            known = [genome[i : i + k] for i in range(len(genome) - k + 1)]
            counts = []
            for i in range(len(text) - k + 1):
                word = text[i : i + k]
                both = () if "N" in word else (word, reverse(word))
                counts.append(sum(x in both for x in known))
            logs = np.log1p(counts)
            expected = [logs.mean(), logs.max(), logs.min(), np.quantile(logs, 0.75)]
            np.testing.assert_allclose([mean, largest, smallest, upper], expected, rtol=1e-6)
            assert middle == pytest.approx(logs[30:-30].mean())


def test_composition_counts_words_of_one_strand():
    import kmers

    texts = [letters(50), letters(50, seed=5)]
    found = kmers.composition(codes(*texts), (1, 2))
    for text, row in zip(texts, found, strict=True):
        assert list(row[:4]) == [text.count(x) for x in "ACGT"]
        at = 4 + "ACGT".index("G") + 4 * "ACGT".index("C")  # the first letter counts least
        assert row[at] == sum(text[i : i + 2] == "GC" for i in range(49))
        assert row[4:].sum() == 49


def test_motifs_fit_best_where_they_stand_on_either_strand(tmp_path):
    import motifs

    path = tmp_path / "two.meme"
    path.write_text(MEME)
    [one, two] = motifs.read_meme(path)
    assert one.tolist() == pytest.approx(np.array([[0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0.25] * 4]))
    text = "TTTTTTGTTTT"
    ahead, back = motifs.scan(codes(text, reverse(text)), [one, two])
    np.testing.assert_allclose(ahead, back, rtol=1e-5)
    odds = [math.log(1.01 / 1.04 / p) for p in (0.3, 0.2)]  # G, then T
    assert ahead[1] == pytest.approx(sum(odds), rel=1e-5)


@pytest.fixture
def more_data(data):
    folder = data / "human_chr20_b37"
    folder.mkdir()
    text = gzip.compress((">20\n" + letters(5000, seed=6) + "\n").encode())
    (folder / "20.fa.gz.part00").write_bytes(text[:500])
    (folder / "20.fa.gz.part01").write_bytes(text[500:])
    (data / "motifs").mkdir()
    (data / "motifs" / "JASPAR2024_CORE_vertebrates.meme.gz").write_bytes(
        gzip.compress(MEME.encode())
    )
    return data


def start(monkeypatch, data, out, *args):
    import gue
    import stack

    monkeypatch.setitem(gue.HPARAMS, WHICH, gue.HPARAMS[WHICH] | SMALL)
    monkeypatch.setattr(stack, "N_HELD_OUT", 24)
    argv = ["stack.py", WHICH, "--data", str(data), "--out", str(out), "--seeds", "0", *args]
    monkeypatch.setattr(sys, "argv", argv)
    stack.main()


def test_chromosome_20_is_read_from_its_parts(more_data):
    import stack

    expected = DNA.encode(letters(5000, seed=6))
    assert np.array_equal(stack.chromosome(more_data), expected)


def test_no_chromosome_is_told(data):
    import stack

    with pytest.raises(SystemExit, match="no human_chr20_b37/20.fa.gz.part"):
        stack.chromosome(data)


@pytest.mark.slow
def test_the_row_tells_the_stack_and_the_score_of_each_part(
    more_data, tmp_path, monkeypatch, capsys
):
    start(monkeypatch, more_data, tmp_path)
    told = [x.split()[1] for x in capsys.readouterr().out.splitlines() if x.startswith("0 ")]
    assert told == ["network", "k-mers", "trees", "stack"]
    text = (tmp_path / "stack" / "prom_prom_core_tata" / "rows.md").read_text()
    assert "network + k-mers + trees | train 37 / dev 40 / test 40" in text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--dev", "--held_out"])
def test_choosing_reads_no_test(more_data, tmp_path, monkeypatch, capsys, how):
    (more_data / "gue" / WHICH / "test.csv.gz").unlink()
    start(monkeypatch, more_data, tmp_path, how)
    assert "0 stack mcc=" in capsys.readouterr().out


def test_rows_held_out_are_not_trained_on(data, tmp_path, monkeypatch):
    import gue
    import stack

    monkeypatch.setattr(stack, "N_HELD_OUT", 12)
    before = gue.dev_hparams(data, WHICH, tmp_path)
    after = stack.hold_out(before, tmp_path)
    rows = [Path(after[f"{x}_files"][0]).read_text().splitlines()[1:] for x in ("train", "valid")]
    assert len(rows[1]) == 12
    both = sorted(rows[0] + rows[1])
    assert both == sorted(Path(before["train_files"][0]).read_text().splitlines()[1:])
