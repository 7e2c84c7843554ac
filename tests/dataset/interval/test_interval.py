import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqmodel.dataset.interval.bed import read_bed
from seqmodel.dataset.interval.interval import Contigs, Intervals, concatenate, tiles
from seqmodel.errors import IntervalError

CONTIGS = Contigs(["a", "b", "c"], [100, 0, 37])


def bed(tmp_path, text, column=None, contigs=CONTIGS):
    path = tmp_path / "x.bed"
    path.write_bytes(text.encode())
    return read_bed(path, contigs, column)


@given(st.integers(1, 120), st.integers(1, 120))
def test_padded_tiles_cover_every_letter_and_no_tile_is_in_vain(length, stride):
    if stride > length:
        return
    found = tiles(CONTIGS, length, stride, incomplete="pad")
    for number, size in enumerate(CONTIGS.lengths.tolist()):
        covered = np.zeros(size + length, dtype=int)
        starts = found.start[found.contig == number]
        for start in starts.tolist():
            before = covered[:size].sum()
            covered[start : start + length] = 1
            assert covered[:size].sum() > before
        assert covered[:size].all()


@given(st.integers(1, 100), st.integers(1, 120))
def test_dropped_tiles_are_those_that_reach_out(length, stride):
    found = tiles(CONTIGS, length, stride)
    brute = [
        (c, s) for c in (0, 1, 2) for s in range(0, int(CONTIGS.lengths[c]) - length + 1, stride)
    ]
    assert list(zip(found.contig.tolist(), found.start.tolist(), strict=True)) == brute
    assert found.is_inside.all()


def test_tiles_longer_than_every_contig_are_refused():
    with pytest.raises(IntervalError, match=r"seq_len=101 is longer than every contig .* 100\)"):
        tiles(CONTIGS, 101)


def test_an_interval_takes_at_most_16_bytes_and_survives_selection():
    n = 1000
    x = Intervals(
        CONTIGS, np.full(n, 2), np.arange(n) % 9, 1 + np.arange(n) % 7, np.tile([1, -1], 500)
    )
    assert x.nbytes <= 16 * n
    assert tiles(CONTIGS, 10).nbytes <= 12 * len(tiles(CONTIGS, 10))
    chosen = x.select(np.array([5, 3]))
    assert list(map(str, chosen)) == ["c:5-11(-)", "c:3-7(-)"]
    assert concatenate([x.select(x.strand > 0), chosen]).strand.tolist() == [1] * 500 + [-1, -1]


def test_constant_lengths_stay_constant_when_joined():
    joined = concatenate([tiles(CONTIGS, 10), tiles(CONTIGS, 10, 3)])
    assert set(joined.length.tolist()) == {10}
    assert joined.nbytes == 12 * len(joined)
    assert set(concatenate([tiles(CONTIGS, 10), tiles(CONTIGS, 9)]).length.tolist()) == {9, 10}


@given(st.integers(0, 90), st.integers(1, 10), st.integers(1, 50), st.sampled_from([1, 0, -1]))
def test_windows_have_the_anchor_at_one_index_on_any_strand(start, length, wanted, strand):
    x = Intervals(CONTIGS, [0], [start], length, strand)
    for anchor, base in (
        ("middle", start + length // 2),
        ("five_prime", start + length - 1 if strand < 0 else start),
    ):
        window = x.anchored(wanted, anchor)
        first = int(window.start[0])
        if anchor == "middle" and wanted == length:
            assert first == start
            continue
        as_read = list(range(first, first + wanted))[:: -1 if strand < 0 else 1]
        assert as_read[wanted // 2] == base
        assert window.strand.tolist() == [strand]
        assert window.length.tolist() == [wanted]


@given(st.integers(-9, 9), st.integers(30, 60), st.booleans())
def test_widened_intervals_have_more_at_both_ends(by, length, is_constant):
    x = Intervals(CONTIGS, [0, 1], [5, 7], length if is_constant else [length, length + 1], [1, -1])
    wide = x.widened(by)
    assert (x.start - wide.start).tolist() == [by, by]
    assert (wide.end - x.end).tolist() == [by, by]
    assert wide.strand.tolist() == [1, -1]


def test_bed_with_all_that_people_write(tmp_path):
    text = (
        "track name=x\nbrowser position a:1-2\n# comment\n\n"
        "a\t0\t10\tn1\t0\t+\r\na 5 6  n2 0 .\nc\t30\t37\tn3\t.\t-"
    )
    found = bed(tmp_path, text)
    assert list(map(str, found.intervals)) == ["a:0-10(+)", "a:5-6", "c:30-37(-)"]
    assert found.lines.tolist() == [5, 6, 7]


def test_plain_and_odd_blocks_agree(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        f"a\t{s}\t{s + n}\tx{i}\t0\t{'+-.'[i % 3]}"
        for i, (s, n) in enumerate(rng.integers(1, 50, (300, 2)).tolist())
    ]
    plain = bed(tmp_path, "\n".join(rows), 4)
    odd = bed(tmp_path, "#\n" + "\n\n".join(rows) + "\n", "name")
    assert list(map(str, plain.intervals)) == list(map(str, odd.intervals))
    assert plain.texts == odd.texts
    assert [str(plain.intervals[i])[2:].split("-")[0] for i in (0, 7)] == [
        rows[i].split("\t")[1] for i in (0, 7)
    ]


def test_a_column_is_found_by_number_by_header_and_by_its_bed_name(tmp_path):
    named = "#chrom\tstart\tend\tclass\na\t0\t5\tyes\n"
    assert bed(tmp_path, named, "class").texts == ["yes"]
    assert bed(tmp_path, named.lstrip("#"), "class").texts == ["yes"]
    assert bed(tmp_path, "a\t0\t5\tyes\n", "4").texts == ["yes"]
    with pytest.raises(
        IntervalError, match="no column 'kind'; the file has chrom, start, end, class"
    ):
        bed(tmp_path, named, "kind")
    with pytest.raises(IntervalError, match="line 1: 4 columns, but column 5 is requested"):
        bed(tmp_path, "a\t0\t5\tyes\n", "5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t0\t5\na\t9\t5\n", r"x.bed line 2: end 5 is not after start 9"),
        ("a\t5\t5\n", r"x.bed line 1: end 5 is not after start 5"),
        (
            "#\n\na\t0\t101\n",
            r"x.bed line 3: a:0-101 ends beyond its contig, which has 100 letters",
        ),
        ("a\t-1\t5\n", r"x.bed line 1: start -1 is negative"),
        ("a\tx\t5\n", r"x.bed line 1: start 'x' is not a whole number"),
        ("a\t1\t5.0\n", r"x.bed line 1: end '5.0' is not a whole number"),
        ("a\t1\n", r"x.bed line 1: 2 columns, but BED needs"),
        ("a\t1\t5\nchr1\t1\t5\n", r"x.bed line 2: contig 'chr1' is not in .* a, b, c"),
        ("a\t1\t5\tn\t0\tplus\n", r"x.bed line 1: strand 'plus' is not one of"),
        ("a\t1\t5\na\t1\t5\tn\t0\t?\n", r"x.bed line 2: strand '\?' is not one of"),
        ("# nothing\n", r"x.bed has no interval"),
        ("", r"x.bed has no interval"),
    ],
)
def test_a_wrong_bed_names_file_line_and_value(tmp_path, text, message):
    with pytest.raises(IntervalError, match=message) as e:
        bed(tmp_path, text)
    assert "\n" not in str(e.value)


def test_lines_are_counted_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("seqmodel.dataset.interval.bed._BLOCK_BYTES", 20)
    text = "a\t0\t5\n" * 30 + "a\t0\t500\n"
    with pytest.raises(IntervalError, match="line 31: a:0-500 ends beyond"):
        bed(tmp_path, text)
    assert bed(tmp_path, "#\n" + "a\t0\t5\n" * 30).lines.tolist() == list(range(2, 32))


def test_200000_intervals_are_read_whole_and_in_order(tmp_path):
    contigs = Contigs([f"chr{i}" for i in range(8)], [1 << 23] * 8)
    start = np.random.default_rng(0).integers(0, (1 << 23) - 1000, 200000).tolist()
    text = "".join(f"chr{i % 8}\t{s}\t{s + 1000}\n" for i, s in enumerate(start))
    (tmp_path / "x.bed").write_text(text)
    found = read_bed(tmp_path / "x.bed", contigs).intervals
    assert found.start.tolist() == start
    assert found.contig.tolist() == [i % 8 for i in range(200000)]
