"""The demo's baselines against answers known beforehand."""

import math

import demo_baselines as baselines
import numpy as np
import pytest


def test_markov_entropy_of_independent_letters_is_their_shannon_entropy():
    p = np.array([0.4, 0.3, 0.2, 0.1])
    rng = np.random.default_rng(0)
    train, test = (rng.choice(4, 200_000, p=p).astype(np.uint8) for _ in range(2))
    found = baselines.markov_entropy([train], [(test, np.arange(len(test)))], 0)
    assert found == pytest.approx(-(p * np.log(p)).sum(), abs=0.005)


@pytest.mark.parametrize(("n_left", "n_right"), [(1, 0), (0, 1), (2, 2)])
def test_markov_entropy_of_a_repeat_vanishes_once_a_neighbour_is_known(n_left, n_right):
    codes = np.tile(np.arange(4, dtype=np.uint8), 5000)
    positions = np.arange(0, len(codes), 7)
    assert baselines.markov_entropy([codes], [(codes, positions)], 0) == pytest.approx(math.log(4))
    assert baselines.markov_entropy([codes], [(codes, positions)], n_left, n_right) < 0.01


def test_markov_entropy_skips_unknown_letters_and_contexts():
    codes = np.array([0, 1, 4, 2, 3, 0, 1, 2], np.uint8)
    context, letter = baselines.contexts(codes, 1, 1, np.arange(len(codes)))
    assert letter.tolist() == [3, 0, 1]
    assert context.tolist() == [2 * 4 + 0, 3 * 4 + 1, 0 * 4 + 2]


def test_kmer_counts_and_gc_content_of_a_window():
    windows = baselines.Windows(np.array([[0, 1, 1, 2, 0]], np.uint8), np.array([True]))
    counts = baselines.kmer_counts(windows, 2)[0]
    assert {i: int(n) for i, n in enumerate(counts) if n} == {1: 1, 5: 1, 6: 1, 8: 1}
    assert baselines.gc_content(windows).tolist() == [[0.6]]


def test_windows_of_the_demo_are_read_along_their_strand(tmp_path):
    (tmp_path / "w.bed").write_text(
        "chr02\t0\t4\tcoding\t0\t+\nchr02\t1\t5\tintergenic\t0\t-\nchr07\t0\t4\tcoding\t0\t+\n"
    )
    genome = {"chr02": np.array([0, 1, 1, 2, 3], np.uint8), "chr07": np.zeros(4, np.uint8)}
    windows = baselines.read_windows(tmp_path / "w.bed", genome, "train")
    assert windows.codes.tolist() == [[0, 1, 1, 2], [0, 1, 2, 2]]
    assert windows.coding.tolist() == [True, False]
