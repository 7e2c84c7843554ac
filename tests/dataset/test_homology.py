"""Splits that keep similar sequences together, against sets of text."""

import re
from pathlib import Path

import numpy as np
import pytest
from leak_cases import gue, kmers, repeats, reverse, sequences_of, substituted, texts_of

from seqmodel.dataset import homology
from seqmodel.dataset.homology import components, split_by_homology
from seqmodel.dataset.seq.alphabet import PROTEIN
from seqmodel.dataset.split import SPLITS, split_by_digest
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.dataset.table_data import RecordsData, TableData
from seqmodel.errors import HparamError, IntervalError
from seqmodel.hparam.convert import parse_dict
from seqmodel.hparam.dataset import ArraysHparams, RecordsHparams, TableHparams
from seqmodel.hparam.genome import BedHparams, FastaHparams


def families(rng, n, n_single=200, length=100):
    """Rows of `n` families of relatives, and rows without; in no order."""
    texts = texts_of(rng, n_single, length)
    for ancestor in texts_of(rng, n, length):
        for _ in range(rng.integers(1, 6)):
            child = substituted(rng, ancestor, rng.choice([0, 0.02, 0.06, 0.1]))
            cut = int(rng.choice([0, 0, 30, 60]))
            child = child[cut:] + texts_of(rng, 1, cut * int(rng.random() < 0.6))[0]
            texts.append(reverse(child) if rng.random() < 0.5 else child)
    return [texts[i] for i in rng.permutation(len(texts))]


def similar_pairs(texts, minimum, k=16, max_rows=2000):
    """Pairs of rows that are similar, by definition."""
    out = repeats(texts, k, max_rows)
    sets = [kmers(x, k) - out for x in texts]
    return {
        (i, j)
        for i, a in enumerate(sets)
        for j, b in enumerate(sets[:i])
        if a & b and max(len(a & b) / len(a), len(a & b) / len(b)) >= minimum
    }


def linked(n, pairs):
    """The first row of the component of each row, by walking."""
    beside = {i: {i} for i in range(n)}
    for a, b in pairs:
        beside[a].add(b)
        beside[b].add(a)
    first = {}
    for i in range(n):
        todo = [] if i in first else [i]
        while todo:
            row = todo.pop()
            if row not in first:
                first[row] = i
                todo.extend(beside[row])
    return [first[i] for i in range(n)]


@pytest.mark.parametrize("minimum", [0.1, 0.2, 0.5, 1.0])
def test_components_are_those_of_the_similar_pairs(minimum):
    texts = families(np.random.default_rng(0), 60)
    pairs = similar_pairs(texts, minimum)
    found = components(sequences_of(texts), minimum)
    assert found.tolist() == linked(len(texts), pairs)
    assert len(pairs) >= 5


def test_no_similar_pair_is_in_two_splits():
    texts = families(np.random.default_rng(1), 60)
    found = split_by_homology(sequences_of(texts), 0.3, 0.2, 0.2)
    pairs = similar_pairs(texts, 0.2)
    assert all(found.split[a] == found.split[b] for a, b in pairs)
    by_digest = split_by_digest(texts, 0.3, 0.2)
    assert any(by_digest[a] != by_digest[b] for a, b in pairs)
    assert set(found.split.tolist()) == {0, 1, 2}
    alone = np.bincount(found.component)[found.component] == 1
    assert alone.sum() > 150
    assert (found.split == by_digest)[alone].all()


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_rows_does_not_matter(seed):
    texts = families(np.random.default_rng(2), 60)
    order = np.random.default_rng(seed).permutation(len(texts))
    whole = split_by_homology(sequences_of(texts), 0.3, 0.2, 0.2)
    other = split_by_homology(sequences_of([texts[i] for i in order]), 0.3, 0.2, 0.2)
    assert other.split.tolist() == whole.split[order].tolist()
    assert len(np.unique(other.component)) == len(np.unique(whole.component))


def test_a_long_chain_of_similar_rows_is_one_component():
    rng = np.random.default_rng(3)
    (text,) = texts_of(rng, 1, 60 + 299 * 20)
    chain = [text[20 * i :][:60] for i in range(300)]
    found = components(sequences_of([chain[i] for i in rng.permutation(300)]), 0.1)
    assert found.tolist() == [0] * 300


def test_repeats_tie_no_rows():
    rng = np.random.default_rng(4)
    (repeat,) = texts_of(rng, 1, 40)
    texts = [repeat + x for x in texts_of(rng, 30, 40)]
    texts += [texts[0][45:] + x for x in texts_of(rng, 3, 45)]
    n = len(texts)
    for max_rows in (29, 30):
        found = components(sequences_of(texts), 0.2, max_rows=max_rows).tolist()
        assert found == linked(n, similar_pairs(texts, 0.2, max_rows=max_rows))
    assert components(sequences_of(texts), 0.2, max_rows=30).tolist() == [0] * n


def test_rows_that_are_one_sequence_are_together_without_any_kmer():
    texts = ["ACGTT", "AACGT", "ACGTA", "NNNNN", "nnnnn"] + ["AACCGGTTAACCGGTTACAC"] * 4
    assert components(sequences_of(texts), 0.2, max_rows=2).tolist() == [0, 0, 2, 3, 3, *[5] * 4]


def test_a_component_larger_than_its_split_is_an_error_that_names_kmers():
    rng = np.random.default_rng(5)
    (shared,) = texts_of(rng, 1, 40)
    texts = [x + shared for x in texts_of(rng, 70, 60)] + texts_of(rng, 30, 100)
    with pytest.raises(IntervalError, match="70 of 100 rows are linked by similar rows") as e:
        split_by_homology(sequences_of(texts), 0.3, 0.3, 0.2)
    found = re.findall(r"([ACGT]{16}) \((\d+) rows\)", str(e.value))
    assert {x for x, _ in found} <= kmers(shared, 16)
    assert [n for _, n in found] == ["70"] * 3
    split_by_homology(sequences_of(texts), 0.3, 0.3, 0.3)  # now they are not similar


def test_proteins_have_shorter_kmers_and_one_strand():
    rng = np.random.default_rng(6)
    (a,) = texts_of(rng, 1, 60, letters="ACDEFGHIKLMNPQRSTVWY")
    texts = [a, a[40:] + a[:30], a[::-1], a[:5] + a[-5:]]
    assert components(sequences_of(texts, PROTEIN), 0.2).tolist() == [0, 0, 2, 3]


def test_proportions_of_a_published_set():
    texts = gue("tf/4")["train"][0][:4000]
    found = split_by_homology(sequences_of(texts), 0.1, 0.1, 0.2)
    props = np.bincount(found.split) / len(texts)
    assert props == pytest.approx([0.8, 0.1, 0.1], abs=0.03)
    sets = [kmers(x, 16) for x in texts]
    where = {}
    for i, x in enumerate(sets):
        for kmer in x:
            where.setdefault(kmer, []).append(i)
    test = np.flatnonzero(found.split == 2)
    for i in np.random.default_rng(0).choice(test, 200, replace=False):
        near = {j for kmer in sets[i] for j in where[kmer] if found.split[j] != 2}
        shared = [len(sets[i] & sets[j]) / min(len(sets[i]), len(sets[j])) for j in near]
        assert max(shared, default=0) < 0.2


def table_of(path, texts):
    path.write_text("sequence,label\n" + "".join(f"{x},{i % 2}\n" for i, x in enumerate(texts)))
    return str(path)


def test_training_files_of_a_table(tmp_path):
    texts = families(np.random.default_rng(7), 40)
    files = [table_of(tmp_path / "a.csv", texts[:150]), table_of(tmp_path / "b.csv", texts[150:])]
    hparams = TableHparams(train_files=files, valid_prop=0.3, test_prop=0.2, split_by="homology")
    data = TableData(hparams)
    expected = split_by_homology(sequences_of(texts), 0.3, 0.2, 0.2)
    n = np.bincount(expected.split).tolist()
    assert [len(data.readers[x]) for x in ("train", "valid", "test")] == n
    assert data.files_of("test") == files
    data.division.write(tmp_path / "split.tsv")
    header, *lines = (tmp_path / "split.tsv").read_text().splitlines()
    assert header == "file\tline\tsplit\tcomponent"
    rows = [x.split("\t") for x in lines]
    assert [x[:2] for x in rows[148:152]] == [
        [files[0], "150"],
        [files[0], "151"],
        [files[1], "2"],
        [files[1], "3"],
    ]
    assert [x[2] for x in rows] == [SPLITS[i] for i in expected.split]
    assert [int(x[3]) for x in rows] == expected.component.tolist()


def test_records_of_a_fasta_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = families(np.random.default_rng(8), 40)
    (tmp_path / "x.fa").write_text("".join(f">r{i}\n{x}\n" for i, x in enumerate(texts)))
    order = np.random.default_rng(9).permutation(len(texts)).tolist()
    table_of(tmp_path / "x.csv", [f"r{i}" for i in order])
    hparams = RecordsHparams(
        fasta=["x.fa"], train_files=["x.csv"], valid_prop=0.3, split_by="homology", homology_min=0.5
    )
    data = RecordsData(hparams)
    expected = split_by_homology(sequences_of([texts[i] for i in order]), 0.3, 0, 0.5)
    assert data.division.split.tolist() == expected.split.tolist()


@pytest.fixture
def genome(tmp_path, monkeypatch):
    """Contigs with relatives in each other, and labelled intervals that overlap or lie apart."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(12)
    pieces = families(rng, 30, n_single=60, length=100)
    half = len(pieces) // 2
    contigs = {"a": "".join(pieces[:half]), "b": "".join(pieces[half:])}
    (tmp_path / "g.fa").write_text("".join(f">{n}\n{x}\n" for n, x in contigs.items()))
    places = [(n, s) for n, x in contigs.items() for s in range(0, len(x) - 60, 70)]
    places += [("a", s + 25) for s in range(0, 700, 140)]
    lines = [f"{n}\t{s}\t{s + 60}\t{i % 2}\n" for i, (n, s) in enumerate(places)]
    (tmp_path / "x.bed").write_text("".join(lines))
    return contigs, places


@pytest.mark.parametrize("seq_len", [None, 100])
def test_windows_of_intervals(genome, seq_len):
    contigs, places = genome
    more = {} if seq_len is None else {"seq_len": seq_len, "incomplete": "pad"}
    split = {"valid_prop": 0.3, "test_prop": 0.2, "split_by": "homology"}
    data = BedData(BedHparams(fasta=["g.fa"], train_files=["x.bed"], **split, **more))
    left = 0 if seq_len is None else 20
    windows = [contigs[n][max(0, s - left) : s + 60 + left] for n, s in places]
    pairs = similar_pairs(windows, 0.2)
    found = data.division
    assert found.component.tolist() == linked(len(windows), pairs)
    assert all(found.split[a] == found.split[b] for a, b in pairs)
    assert {(places[a][0], places[b][0]) for a, b in pairs} >= {("a", "a"), ("b", "a")}
    n = np.bincount(found.split, minlength=3).tolist()
    assert [len(data.readers[x]) for x in SPLITS] == n
    found.write("split.tsv")
    header, first, *_ = Path("split.tsv").read_text().splitlines()
    assert header == "contig\tstart\tend\tsplit\tcomponent"
    assert first == f"a\t0\t60\t{SPLITS[found.split[0]]}\t0"


def test_windows_over_whole_contigs(genome):
    contigs, _ = genome
    split = {"valid_prop": 0.3, "split_by": "homology", "homology_min": 0.5}
    data = FastaData(FastaHparams(fasta=["g.fa"], seq_len=80, **split))
    windows = [x[s : s + 80] for x in contigs.values() for s in range(0, len(x) - 79, 80)]
    expected = split_by_homology(sequences_of(windows), 0.3, 0, 0.5)
    assert data.division.split.tolist() == expected.split.tolist()


def test_negatives_are_refused(genome):
    given = {"valid_prop": 0.3, "split_by": "homology", "negatives_per_positive": 1}
    with pytest.raises(HparamError, match="--negatives_per_positive draws from the contigs"):
        BedData(BedHparams(fasta=["g.fa"], train_files=["x.bed"], **given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split_by": "homology"}, "--split_by=homology needs --valid_prop or --test_prop"),
        ({"homology_min": 0.3}, "--homology_min has no effect without --split_by=homology"),
        ({"split_by": "homology", "split_column": "x"}, "--split_by=homology needs"),
    ],
)
def test_settings_without_effect(given, message, tmp_path):
    files = [table_of(tmp_path / "a.csv", ["ACGT"])]
    with pytest.raises(HparamError, match=message):
        TableData(TableHparams(train_files=files, **given))


@pytest.mark.parametrize("given", [{"valid_prop": 0.1, "split_by": "homology"}, {"test_prop": 0.1}])
def test_arrays_are_not_divided(given):
    values = parse_dict(ArraysHparams.default_hparams(), {"train_files": ["a.npz"], **given})
    with pytest.raises(HparamError, match="_prop has no effect with --dataset=arrays"):
        ArraysHparams.checks(values)


def test_a_large_set_in_parts_of_the_kmers(monkeypatch):
    monkeypatch.setattr(homology, "MAX_KMERS", 10_000)
    texts = families(np.random.default_rng(10), 60)
    found = components(sequences_of(texts), 0.2)
    pairs = similar_pairs(texts, 0.4)
    assert np.mean([found[a] == found[b] for a, b in pairs]) > 0.99
    order = np.random.default_rng(11).permutation(len(texts))
    other = components(sequences_of([texts[i] for i in order]), 0.2)
    assert len(np.unique(other)) == len(np.unique(found))
