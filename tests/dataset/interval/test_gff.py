"""GFF3 and GTF by the rules of their specifications; each test names the rule.

GFF3: https://github.com/The-Sequence-Ontology/Specifications/blob/master/gff3.md (1.26)
GTF:  https://mblab.wustl.edu/GTF22.html (2.2)
"""

import gzip

import pytest

from seqmodel.dataset.interval.file import read_intervals
from seqmodel.dataset.interval.gff import read_gff
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.errors import IntervalError

CONTIGS = Contigs(["ctg123", "chr 1", "chr1"], [10_000, 500, 10_000])


def gff3(*attributes, start="##gff-version 3\n"):
    lines = (f"chr1\t.\tgene\t{11 + i}\t{20 + i}\t.\t+\t.\t{x}\n" for i, x in enumerate(attributes))
    return start + "".join(lines)


def gtf(*attributes):
    return gff3(*attributes, start="#!genome-build GRCh38\n")


@pytest.fixture
def read(tmp_path):
    def read(text, column=None, feature=None, name="x.gff3", **more):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_intervals(path, CONTIGS, column, feature, **more)

    return read


# -- GFF3 ------------------------------------------------------------------------------------------

# the canonical gene of the specification, with its tabs
CANONICAL = """##gff-version 3.1.26
##sequence-region ctg123 1 1497228
ctg123	.	gene	1000	9000	.	+	.	ID=gene00001;Name=EDEN
ctg123	.	exon	1050	1500	.	+	.	ID=exon00002;Parent=mRNA00001,mRNA00002
###
ctg123	.	CDS	3301	3902	.	+	0	ID=cds00003;Parent=mRNA00003;Name=edenprotein.3
ctg123	.	CDS	5000	5500	.	-	1	ID=cds00003;Parent=mRNA00003;Name=edenprotein.3
ctg123	.	CDS	7000	7600	.	?	2	ID=cds00003;Parent=mRNA00003;Name=edenprotein.3
"""


def test_start_and_end_are_1_based_and_closed(read):
    found = read(CANONICAL, "Name", "gene")
    assert list(map(str, found.intervals)) == ["ctg123:999-9000(+)"]
    assert found.texts == ["EDEN"]


def test_each_line_of_a_discontinuous_feature_is_an_interval(read):
    found = read(CANONICAL, "ID", "CDS")
    assert found.intervals.start.tolist() == [3300, 4999, 6999]
    assert found.texts == ["cds00003"] * 3
    assert found.lines.tolist() == [6, 7, 8]


def test_strand_is_plus_minus_dot_or_question_mark(read):
    assert read(CANONICAL, None, "CDS").intervals.strand.tolist() == [1, -1, 0]
    with pytest.raises(IntervalError, match=r"x.gff3 line 1: strand 'x' is not one of \+ - \. \?"):
        read("chr1\t.\tgene\t1\t2\t.\tx\t.\tID=a\n")


def test_phase_is_0_1_2_or_a_dot(read):
    assert read(CANONICAL, "phase", "CDS").texts == ["0", "1", "2"]
    with pytest.raises(IntervalError, match="x.gff3 line 1: phase '3' is not one of 0 1 2"):
        read("chr1\t.\tCDS\t1\t2\t.\t+\t3\tID=a\n")


def test_multiple_values_are_separated_by_commas(read):
    assert read(CANONICAL, "Parent", "exon").texts == ["mRNA00001,mRNA00002"]


def test_attribute_names_are_case_sensitive(read):
    with pytest.raises(IntervalError, match="x.gff3 line 4: no attribute 'parent'"):
        read(CANONICAL, "parent", "exon")


def test_reserved_characters_are_percent_encoded_in_values_and_keys(read):
    text = gff3("fam=a%2Cb%3B%3D%26%09%25;x%3Dy=1", "fam=a%2cb;x%3Dy=2")
    assert read(text, "fam").texts == ["a,b;=&\t%", "a,b"]
    assert read(text, "x=y").texts == ["1", "2"]


def test_what_is_encoded_may_be_utf_8_or_latin_1(read):
    assert read(gff3("n=caf%C3%A9", "n=caf%E9", "n=50% of", "n=é"), "n").texts == [
        "café",
        "café",
        "50% of",
        "é",
    ]


def test_plus_does_not_encode_a_space(read):
    assert read(gff3("n=a+b"), "n").texts == ["a+b"]


def test_quotes_are_part_of_the_value(read):
    assert read(gff3('n="a b";m=5" end'), "n").texts == ['"a b"']
    assert read(gff3('n="a b";m=5" end'), "m").texts == ['5" end']


def test_spaces_are_allowed_and_fields_split_at_tabs_only(read):
    assert read(gff3("Note=a long note; ID=g 1 ;"), "Note").texts == ["a long note"]
    assert read(gff3("Note=a long note; ID=g 1 ;"), "ID").texts == ["g 1"]


def test_the_columns_before_attributes_are_percent_encoded_too(read):
    found = read("##gff-version 3\nchr%201\t.\tmy%3Btype\t1\t2\t.\t+\t.\tID=a\n", None, "my;type")
    assert list(map(str, found.intervals)) == ["chr 1:0-2(+)"]


def test_undefined_fields_are_dots(read):
    found = read("chr1\t.\tgene\t1\t2\t.\t.\t.\t.\n", "score")
    assert found.texts == ["."]
    with pytest.raises(IntervalError, match="line 1: no attribute 'ID'"):
        read("chr1\t.\tgene\t1\t2\t.\t.\t.\t.\n", "ID")


@pytest.mark.parametrize("end", ["##FASTA\n>chr1\nACGT\n", ">chr1\nACGT\n"])
def test_sequences_end_the_features(read, end):
    assert len(read(gff3("ID=a") + end).intervals) == 1


def test_blank_lines_comments_and_directives_are_left_out(read):
    text = "##gff-version 3\n\n# x\n###\n" + gff3("ID=a", start="") + "  \n#end"
    assert read(text, "ID").lines.tolist() == [5]


def test_a_hash_in_a_line_is_no_comment(read):
    assert read(gff3("n=a # b"), "n").texts == ["a # b"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("ID=a;b c", "attribute 'b c' is not key=value"),
        ('gene_id "a"; x "b";', "attribute 'gene_id \"a\"' is not key=value"),
        ("ID=a;=b", "attribute '=b' is not key=value"),
        ("ID=a;ID=b", "attribute 'ID' occurs twice"),
        ("ID=a\tx=b", "10 columns, but GFF and GTF have 9"),
    ],
)
def test_attributes_that_are_not_gff3_are_named(read, attributes, message):
    with pytest.raises(IntervalError, match=f"x.gff3 line 3: {message}") as e:
        read(gff3("ID=x", attributes), "ID")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("9" * 30, "start 9+ is larger than any contig"),
        ("1_0", "start '1_0' is not a whole number"),
        ("0", "start -1 is negative"),
        ("1.0", "start '1.0' is not a whole number"),
    ],
)
def test_a_wrong_start_is_named(read, start, message):
    with pytest.raises(IntervalError, match=f"x.gff3 line 1: {message}"):
        read(f"chr1\t.\tgene\t{start}\t20\t.\t+\t.\tID=a\n")


# -- GTF -------------------------------------------------------------------------------------------


def test_a_semicolon_in_quotes_is_part_of_the_value(read):
    text = gtf('gene_id "g"; fam "CYCD1;1";', 'gene_id "g"; fam "CYCD1;2";', 'fam "CYCD2;1"')
    assert read(text, "fam", name="x.gtf").texts == ["CYCD1;1", "CYCD1;2", "CYCD2;1"]


def test_values_in_quotes_may_be_empty_and_numbers_need_no_quotes(read):
    text = gtf('gene_id ""; exon_number 3; level 2')
    assert read(text, "gene_id", name="x.gtf").texts == [""]
    assert read(text, "exon_number", name="x.gtf").texts == ["3"]
    assert read(text, "level", name="x.gtf").texts == ["2"]


def test_a_key_may_stand_several_times(read):
    text = gtf('gene_id "g"; tag "basic"; tag "CCDS";')
    assert read(text, "tag", name="x.gtf").texts == ["basic,CCDS"]


def test_a_key_in_a_value_is_not_a_key(read):
    text = gtf('note "x; fam 7"; fam "8";')
    assert read(text, "fam", name="x.gtf").texts == ["8"]


def test_percent_is_a_character_and_a_backslash_keeps_a_quote(read):
    text = gtf(r'note "50%2C \"end\"; x"; fam "8";')
    assert read(text, "note", name="x.gtf").texts == ['50%2C "end"; x']
    assert read(text, "fam", name="x.gtf").texts == ["8"]


def test_a_comment_may_end_a_line(read):
    for comment in ("# a; comment", " # gene_id 3;", "\t# a comment"):
        text = gtf(f'gene_id "a#1";{comment}')
        assert read(text, "gene_id", name="x.gtf").texts == ["a#1"]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('gene_id "a; fam "b";', "is a quote not closed"),
        ('gene_id "a', "is a quote not closed"),
        ("ID=a;fam=b", "attribute 'ID=a;fam=b' is not key \"value\";"),
        ('gene_id "a"b;', "is not key"),
        ("gene_id", "is not key"),
    ],
)
def test_attributes_that_are_not_gtf_are_named(read, attributes, message):
    with pytest.raises(IntervalError, match=f"x.gtf line 3: .*{message}") as e:
        read(gtf('fam "x"', attributes), "fam", name="x.gtf")
    assert "\n" not in str(e.value)


# -- which of them ---------------------------------------------------------------------------------


def test_a_gff_file_is_what_its_version_or_its_attributes_say(read):
    for start in ("##gff-version 3\n", "##gff-version   3.1.26\n", ""):
        assert read(gff3("n=a%2Cb", start=start), "n", name="x.gff").texts == ["a,b"]
    for start in ("##gff-version 2\n", ""):
        assert read(gff3('n "a%2Cb";', start=start), "n", name="x.gff").texts == ["a%2Cb"]
    dots = "chr1\t.\tgene\t1\t2\t.\t.\t.\t.\n" + gff3("n=a%2Cb", start="").replace("gene", "x")
    assert read(dots, "n", "x", name="x.gff").texts == ["a,b"]


def test_gzip_and_the_names_of_columns(tmp_path):
    path = tmp_path / "x.gff3.gz"
    path.write_bytes(gzip.compress(CANONICAL.encode()))
    assert read_gff(path, CONTIGS, "type", "gene").texts == ["gene"]
    with pytest.raises(IntervalError, match="line 3: 9 columns, but column 10 is requested"):
        read_gff(path, CONTIGS, 10)


def test_the_strand_may_be_an_attribute_or_none(read):
    text = gff3("ID=a;s=-", "ID=b;s=.")
    assert read(text, strand="none").intervals.strand.tolist() == [0, 0]
    assert read(text, strand="s").intervals.strand.tolist() == [-1, 0]
    assert read(text, strand="7").intervals.strand.tolist() == [1, 1]
