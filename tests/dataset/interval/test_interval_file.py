import gzip

import pytest

from seqmodel.dataset.interval.file import read_aliases, read_intervals
from seqmodel.dataset.interval.interval import Contigs
from seqmodel.errors import IntervalError

CONTIGS = Contigs(["chr1", "chr2"], [1000, 500])
PEAK = "chr1\t{}\t{}\tp\t0\t.\t1\t2\t3\t{}\n"
GFF = """##gff-version 3
chr1\tx\tgene\t11\t20\t.\t+\t.\tID=g1;biotype=coding
chr1\tx\tCDS\t11\t13\t.\t+\t0\tParent=g1
chr2\tx\tgene\t1\t500\t.\t-\t.\tID=g2;biotype=rna
##FASTA
>chr1
ACGT
"""
GTF = 'chr1\tx\tgene\t11\t20\t.\t-\t.\tgene_id "g 1"; biotype "coding";\n'


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return str(path)


def test_narrowpeak_gives_the_summit_or_the_peak(tmp_path):
    text = PEAK.format(100, 200, 30) + PEAK.format(300, 400, -1)
    for name in ("x.narrowPeak", "x.narrowPeak.gz"):
        path = written(tmp_path, name, text)
        summits = read_intervals(path, CONTIGS).intervals
        assert list(map(str, summits)) == ["chr1:130-131", "chr1:350-351"]
        assert summits.anchored(20).start.tolist() == [120, 340]
        peaks = read_intervals(path, CONTIGS, summits=False).intervals
        assert list(map(str, peaks)) == ["chr1:100-200", "chr1:300-400"]


def test_a_wrong_summit_is_named(tmp_path):
    for summit, message in (
        ("100", "summit 100 .* beyond the peak"),
        ("x", "summit .column 10. 'x' is not a whole"),
        ("9" * 30, "summit .column 10. 9+ is larger than any contig"),
        ("-2", "summit -2 .* beyond the peak"),
    ):
        path = written(
            tmp_path, "x.narrowPeak", PEAK.format(0, 9, 3) + PEAK.format(100, 200, summit)
        )
        with pytest.raises(IntervalError, match=f"x.narrowPeak line 2: {message}"):
            read_intervals(path, CONTIGS)


@pytest.mark.parametrize("name", ["x.gff3", "x.gff.gz"])
def test_gff_is_read_by_feature_from_1_based_to_0_based(tmp_path, name):
    path = written(tmp_path, name, GFF)
    found = read_intervals(path, CONTIGS, "biotype", "gene")
    assert list(map(str, found.intervals)) == ["chr1:10-20(+)", "chr2:0-500(-)"]
    assert found.texts == ["coding", "rna"]
    assert found.lines.tolist() == [2, 4]
    assert len(read_intervals(path, CONTIGS).intervals) == 3
    assert read_intervals(path, CONTIGS, 3).texts == ["gene", "CDS", "gene"]


def test_gtf_has_attributes_in_quotes(tmp_path):
    path = written(tmp_path, "x.gtf", GTF)
    assert read_intervals(path, CONTIGS, "gene_id").texts == ["g 1"]
    assert read_intervals(path, CONTIGS, "biotype").texts == ["coding"]
    assert str(read_intervals(path, CONTIGS).intervals[0]) == "chr1:10-20(-)"


@pytest.mark.parametrize(
    ("text", "feature", "message"),
    [
        (GFF, "exon", "x.gff3: no line has feature 'exon'; it has CDS, gene; set --feature"),
        ("chr1\t1\t2\n", None, "x.gff3 line 1: 3 columns, but GFF and GTF have 9"),
        ("chr9\tx\tg\t1\t2\t.\t+\t.\t\n", None, "x.gff3 line 1: contig 'chr9' is not in"),
        ("chr2\tx\tg\t1\t501\t.\t+\t.\t\n", None, r"x.gff3 line 1: chr2:0-501\(\+\) ends beyond"),
        ("chr2\tx\tg\t5\t4\t.\t+\t.\t\n", None, "x.gff3 line 1: end 4 is not after start 4"),
        ("chr2\tx\tg\tx\t4\t.\t+\t.\t\n", None, "x.gff3 line 1: start 'x' is not a whole"),
    ],
)
def test_a_wrong_gff_names_line_and_value(tmp_path, text, feature, message):
    with pytest.raises(IntervalError, match=message):
        read_intervals(written(tmp_path, "x.gff3", text), CONTIGS, None, feature)


def test_a_missing_attribute_is_named(tmp_path):
    with pytest.raises(IntervalError, match="x.gff3 line 2: no attribute 'kind'"):
        read_intervals(written(tmp_path, "x.gff3", GFF), CONTIGS, "kind", "gene")


def test_aliases_make_other_names_known(tmp_path):
    path = written(tmp_path, "alias.txt", "# ucsc ensembl\nchr1\t1 NC_1\nX\tY\n2\tchr2\n")
    contigs = read_aliases(path, CONTIGS)
    bed = written(tmp_path, "x.bed", "1\t0\t5\nchr2\t0\t5\n2\t1\t2\nNC_1\t0\t3\n")
    found = read_intervals(bed, contigs).intervals
    assert [x.contig for x in found] == ["chr1", "chr2", "chr2", "chr1"]
    with pytest.raises(IntervalError, match="'1' is not in .* chr1, chr2; --contig_aliases"):
        read_intervals(bed, CONTIGS)
    for text, message in (("chr1 chr2\n", "line 1: joins"), ("chr1 x\nx chr2\n", "line 2: 'x' is")):
        with pytest.raises(IntervalError, match=message):
            read_aliases(written(tmp_path, "alias.txt", text), CONTIGS)
