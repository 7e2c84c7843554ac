"""BED by the rules of its specification (https://samtools.github.io/hts-specs/BEDv1.pdf)."""

import gzip

import pysam
import pytest

from seqmodel.dataset.interval.bed import read_bed
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.dataset.store_data import BedData, FastaData
from seqmodel.errors import IntervalError
from seqmodel.hparam.genome import BedHparams, FastaHparams

CONTIGS = Contigs(["chr1", "chr7", "chr22"], [1_000_000, 200_000_000, 1_000_000])
BED6 = "chr7\t127471196\t127472363\tPos1\t0\t+\nchr7\t127475864\t127477031\tNeg1\t0\t-\n"
# as ENCODE's cCRE files have it
CCRE = (
    "chr1\t10033\t10250\tEH38D4327497\tEH38E2776516\tpELS\n"
    "chr1\t10385\t10713\tEH38D4327498\tEH38E2776517\tpELS\n"
    "chr1\t16097\t16381\tEH38D6144701\tEH38E3951272\tCA-CTCF\n"
)


@pytest.fixture
def read(tmp_path):
    def read(text, column=None, strand=None):
        path = tmp_path / "x.bed"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_bed(path, CONTIGS, column, strand)

    return read


def shown(bed):
    return list(map(str, bed.intervals))


EXPECTED = ["chr7:127471196-127472363(+)", "chr7:127475864-127477031(-)"]


def test_fields_are_separated_by_tabs_or_by_blanks(read):
    for text in (BED6, BED6.replace("\t", " "), BED6.replace("\t", "   ")):
        found = read(text, 4)
        assert shown(found) == EXPECTED
        assert found.texts == ["Pos1", "Neg1"]


def test_tabs_win_so_that_names_may_have_blanks(read):
    assert read(BED6.replace("Pos1", "Pos 1 x"), 4).texts == ["Pos 1 x", "Neg1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_with_any_of_three_ends(read, end):
    found = read(BED6.replace("\n", end), 4)
    assert shown(found) == EXPECTED
    assert found.texts == ["Pos1", "Neg1"]
    assert shown(read(BED6.rstrip().replace("\n", end))) == EXPECTED


def test_comments_blank_browser_and_track_lines_are_left_out(read):
    start = "browser position chr7:1-2\ntrack name=x description='a\tb'\n#comment\n \t \n\n"
    found = read(start + BED6.replace("\nchr7", "\n#x\n\nchr7"))
    assert shown(found) == EXPECTED
    assert found.lines.tolist() == [6, 9]


def test_a_hash_within_a_line_is_data(read):
    assert read(BED6.replace("Pos1", "Pos#1"), 4).texts[0] == "Pos#1"


def test_bed12_is_read_with_its_strand(read):
    text = (
        "chr22 1000 5000 cloneA 960 + 1000 5000 0 2 567,488, 0,3512\n"
        "chr22 2000 6000 cloneB 900 - 2000 6000 0 2 433,399, 0,3601\n"
    )
    for found in (read(text), read(text.replace(" ", "\t"))):
        assert shown(found) == ["chr22:1000-5000(+)", "chr22:2000-6000(-)"]


def test_files_of_fewer_than_6_columns_have_no_strand(read):
    assert shown(read("chr1\t0\t5\tx\t0\n")) == ["chr1:0-5"]


@pytest.mark.parametrize("start", ["", "#\n"])
def test_every_line_has_equally_many_fields(read, start):
    n = len(start.splitlines())
    for text in ("chr1\t1\t9\tx\t0\t+\n", "chr1\t1\t9\tx\t0\t+\nchr1\t2\t8\ty\t0\t-\n"):
        line = n + 1 + text.count("\n")
        for last in ("chr1\t1\t9", "chr1\t1\t9\tx\n", "chr1 1 9 x 0 + 7\n"):
            with pytest.raises(IntervalError, match=f"line {line}: . columns, the lines before"):
                read(start + text + last)


def test_fields_are_counted_over_blocks(read, monkeypatch):
    monkeypatch.setattr("seqmodel.dataset.interval.bed._BLOCK_BYTES", 30)
    with pytest.raises(IntervalError, match="line 21: 4 columns, the lines before have 3"):
        read("chr1\t1\t9\n" * 20 + "chr1\t1\t9\tx\n" * 20)


def test_star_is_no_strand_as_r_writes_it(read):
    text = "chr1\t0\t5\tx\t0\t*\nchr1\t0\t5\ty\t0\t+\n"
    for start in ("", "#\n"):  # read as columns, and line by line
        assert read(start + text).intervals.strand.tolist() == [0, 1]


def test_a_header_says_which_column_is_the_strand(read):
    r = "seqnames\tstart\tend\twidth\tstrand\tgene\n"
    found = read(r + "chr1\t0\t5\t5\t-\tx\nchr1\t7\t9\t2\t*\ty\n", "gene")
    assert found.intervals.strand.tolist() == [-1, 0]
    assert found.texts == ["x", "y"]
    named = "#chrom\tstart\tend\tname\tscore\tclass\n"
    assert shown(read(named + "chr1\t0\t5\tx\t1\tenhancer\n")) == ["chr1:0-5"]
    assert read(named + "chr1\t0\t5\tx\t1\t+\n").intervals.strand.tolist() == [0]
    short = "#chrom\tstart\tend\n" + BED6  # does not say what column 6 is
    assert shown(read(short)) == EXPECTED


def test_a_comment_in_prose_is_no_header(read):
    text = "# chr names are those of UCSC, strand in column six\n" + BED6
    assert shown(read(text)) == EXPECTED
    assert read("# chr start end name score strand\n" + BED6, "name").texts == ["Pos1", "Neg1"]


def test_a_header_wins_over_the_names_of_bed(read):
    with pytest.raises(
        IntervalError, match="no column 'name'; the file has chrom, start, end, kind"
    ):
        read("#chrom\tstart\tend\tkind\nchr1\t0\t5\tx\n", "name")
    with pytest.raises(IntervalError, match="several columns are named 'x'"):
        read("#chrom\tstart\tend\tx\tx\nchr1\t0\t5\ta\tb\n", "x")


def test_encodes_ccres_have_their_kind_in_column_6(read):
    found = read(CCRE, 6)
    assert shown(found) == ["chr1:10033-10250", "chr1:10385-10713", "chr1:16097-16381"]
    assert found.texts == ["pELS", "pELS", "CA-CTCF"]


@pytest.mark.parametrize("start", ["", "#\n"])
def test_any_column_or_none_may_be_the_strand(read, start):
    text = start + "chr1\t0\t5\t-\t0\tplus\n"
    with pytest.raises(IntervalError, match="strand 'plus' is not one of .* set --strand_column"):
        read(text)
    assert read(text, strand="none").intervals.strand.tolist() == [0]
    assert read(text, strand="4").intervals.strand.tolist() == [-1]
    with pytest.raises(IntervalError, match="6 columns, but the strand is column 9"):
        read(text, strand="9")
    with pytest.raises(IntervalError, match="no column 'sign'"):
        read(text, strand="sign")


def test_strand_column_is_a_hyperparameter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(">chr1\nAACCGGTTAC\n")
    (tmp_path / "x.bed").write_text("chr1\t0\t5\t-\t1\tplus\nchr1\t0\t5\t+\t0\tplus\n")
    (tmp_path / "black.bed").write_text("chr1\t8\t9\tx\ty\tHigh Signal Region\n")
    common = {"fasta": ["g.fa"], "intervals": ["x.bed"], "blacklist": ["black.bed"]}
    data = FastaData(FastaHparams(**common, strand_column="4"))
    assert data.readers["train"].intervals.strand.tolist() == [-1, 1]
    data = BedData(BedHparams(**common, strand_column="none", label_columns=["5"]))
    assert data.readers["train"].intervals.strand.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t0\t" + "9" * 30 + "\n", "line 1: end 9+ is larger than any contig"),
        ("chr1\t0\t" + "9" * 14 + "\n", "line 1: end 9+ is larger than any contig"),
        ("chr1\t1_0\t20\n", "line 1: start '1_0' is not a whole number"),
        ("chr1\t+1\t20\n", r"line 1: start '\+1' is not a whole number"),
        ("chr1\t0\t5\nchr1\t0\t5\0\n", "line 2: has a NUL byte"),
        (b"chr1\t0\t5\tx\nchr1\t0\t5\t\xfc\n", "line 2: byte 0xfc is not UTF-8"),
        ("chr1\t0\t5\n".encode("utf-16"), "x.bed: is in UTF-16"),
    ],
)
def test_a_number_or_a_text_that_cannot_be_is_named(read, text, message):
    with pytest.raises(IntervalError, match=message) as e:
        read(text, 3)
    assert "\n" not in str(e.value)


def test_bgzip_cut_between_two_blocks_is_refused(tmp_path):
    rows = "".join(f"chr1\t{i}\t{i + 9}\tname{i * i}\n" for i in range(20_000))
    plain, path = tmp_path / "x", tmp_path / "x.bed.gz"
    plain.write_text(rows)
    pysam.tabix_compress(str(plain), str(path))
    whole = path.read_bytes()
    assert len(read_bed(path, CONTIGS).intervals) == 20_000
    first = int.from_bytes(whole[16:18], "little") + 1
    assert 0 < gzip.decompress(whole[:first]).count(b"\n") < 20_000
    path.write_bytes(whole[:first])
    with pytest.raises(IntervalError, match="x.bed.gz: truncated bgzip, its end block is missing"):
        read_bed(path, CONTIGS)
