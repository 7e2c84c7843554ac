"""Windows of alleles against haplotypes that bcftools makes, and against arithmetic by hand."""

import os

import numpy as np
import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pysam import bcftools

from seqmodel.dataset.seq.alphabet import DNA
from seqmodel.errors import HparamError
from seqmodel.infer.alleles import Alleles, AlleleWindows, trim

N_VARIANTS = int(os.environ.get("SEQMODEL_TEST_N_VARIANTS", "500"))
"""Variants against bcftools; 20,000 once before a release takes a quarter of an hour."""
COMPLEMENT = str.maketrans("ACGTN-", "TGCAN-")
KINDS = ("snv", "mnv", "insertion", "deletion", "delins", "long_ref", "long_alt", "repeat", "noop")
BASES = st.sampled_from("ACGT")


class Genome:
    """Contigs in memory, as AlleleWindows reads them."""

    def __init__(self, *texts):
        self.texts = texts
        self.data = np.concatenate([DNA.encode(x) for x in texts])
        self.lengths = np.array([len(x) for x in texts], dtype=np.int64)
        self.offsets = np.cumsum(self.lengths) - self.lengths


@st.composite
def variants(draw, max_len=120, kinds=KINDS):
    """(contig as text, 0-based position, REF, ALT) of one of nine kinds; also at the ends."""
    kind = draw(st.sampled_from(kinds))
    text = draw(st.text(alphabet="ACGTACGTACGTNacgt", min_size=12, max_size=max_len))
    if kind == "repeat":
        unit = draw(st.text(alphabet="ACGT", min_size=1, max_size=3))
        at = draw(st.integers(0, len(text)))
        text = text[:at] + unit * draw(st.integers(2, 8)) + text[at:]
    at = draw(st.integers(0, len(text) - 1))
    n_ref = {"snv": 1, "insertion": 1, "noop": 2}.get(kind) or draw(
        st.integers(20, 90) if kind == "long_ref" else st.integers(2, 9)
    )
    ref = text[at : at + n_ref].upper()
    if kind in ("insertion", "long_alt", "repeat") and draw(st.booleans()):
        alt = ref + draw(st.text(alphabet="ACGT", min_size=1, max_size=80 if "long" in kind else 6))
    elif kind == "noop":
        alt = ref
    elif kind in ("deletion", "repeat", "long_ref"):
        alt = ref[:1]
    elif kind in ("snv", "mnv"):
        alt = "".join(draw(BASES) for _ in ref)
    else:
        alt = draw(st.text(alphabet="ACGT", min_size=1, max_size=12))
    return text, at, ref, alt


def alleles_of(contig, at, ref, alt):
    skipped, ref, alt = trim(ref, alt)
    as_array = lambda x: np.array([x], dtype=np.int64)  # noqa: E731
    place = as_array(contig), as_array(at + skipped), as_array(len(ref))
    return Alleles.of(*place, [DNA.encode(alt)])


def windows_of(genome, contig, at, ref, alt, length, index=None):
    """{(strand, what): text} of the REF window and both ALT windows on both strands."""
    reader = AlleleWindows(genome, DNA, length, index)
    found = {}
    for flip, strand in ((False, "+"), (True, "-")):
        alleles = reader.placed(alleles_of(contig, at, ref, alt), flip)
        start = reader.start(alleles, flip)
        tokens = reader.ref(alleles.contig, start, flip)
        found[strand, "ref"] = DNA.decode(tokens[0])
        for align in ("left", "right"):
            found[strand, align] = DNA.decode(reader.alt(alleles, tokens, flip, align)[0])
    return found


def consensus(folder, text, at, ref, alt):
    """The haplotype with the variant, by bcftools."""
    fasta = folder / "g.fa"
    fasta.write_text(f">c\n{text.upper()}\n")
    pysam.faidx(str(fasta))
    vcf = folder / "v.vcf"
    vcf.write_text(
        f"##fileformat=VCFv4.2\n##contig=<ID=c,length={len(text)}>\n"
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nc\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\t.\n"
    )
    pysam.tabix_compress(str(vcf), f"{vcf}.gz", force=True)
    pysam.tabix_index(f"{vcf}.gz", preset="vcf", force=True)
    made = bcftools.consensus("-f", str(fasta), f"{vcf}.gz", catch_stdout=True)
    return "".join(made.split("\n")[1:])


def padded(text, start, length):
    """text[start : start + length] with - beyond the ends."""
    return "".join(text[i] if 0 <= i < len(text) else "-" for i in range(start, start + length))


@pytest.mark.slow
@settings(max_examples=N_VARIANTS, deadline=None)
@given(variant=variants(), length=st.integers(1, 60), data=st.data())
def test_windows_are_parts_of_the_haplotype_that_bcftools_makes(
    tmp_path_factory, variant, length, data
):
    text, at, ref, alt = variant
    index = data.draw(st.none() | st.integers(0, length - 1))
    c = (length - 1) // 2 if index is None else index
    _, ref_short, alt_short = trim(ref, alt)
    if not ref_short and not alt_short:
        hap = text.upper()
    else:
        hap = consensus(tmp_path_factory.getbasetemp(), text, at, ref, alt)
    genome = Genome("ACGTTGCA" * 3, text)
    found = windows_of(genome, 1, at, ref, alt, length, index)
    grown = len(alt_short) - len(ref_short)
    reader = AlleleWindows(genome, DNA, length, index)
    given_alleles = alleles_of(1, at, ref, alt)
    for strand in "+-":
        alleles = reader.placed(given_alleles, strand == "-")
        pos, n_ref = int(alleles.pos[0]), int(alleles.n_ref[0])
        start = pos - c if strand == "+" else pos + n_ref - (length - c)
        expected = {"ref": padded(text.upper(), start, length)}
        # beyond the replaced bases, the haplotype is moved by what it has grown
        keeps_start = padded(hap, min(start, pos), length)
        end = max(start + length, pos + n_ref) + grown
        keeps_end = padded(hap, end - length, length)
        expected["left"], expected["right"] = keeps_start, keeps_end
        if strand == "-":
            expected["left"], expected["right"] = keeps_end, keeps_start
            expected = {k: v[::-1].translate(COMPLEMENT) for k, v in expected.items()}
        for what, window in expected.items():
            assert found[strand, what] == window, (strand, what)


@settings(max_examples=max(300, N_VARIANTS // 2), deadline=None)
@given(variant=variants().filter(lambda x: "N" not in x[2] != x[3]), length=st.integers(1, 60))
def test_the_reverse_complement_of_a_genome_has_the_same_windows(variant, length):
    text, at, ref, alt = variant
    other = text.upper()[::-1].translate(COMPLEMENT)
    turned = [x[::-1].translate(COMPLEMENT) for x in (ref, alt)]
    here = windows_of(Genome(text), 0, at, ref, alt, length)
    there = windows_of(Genome(other), 0, len(text) - at - len(ref), *turned, length)
    for what in ("ref", "left", "right"):
        assert here["+", what] == there["-", what]
        assert here["-", what] == there["+", what]


@settings(max_examples=max(300, N_VARIANTS // 2), deadline=None)
@given(variant=variants(kinds=("repeat", "insertion", "deletion")), data=st.data())
def test_how_an_indel_is_written_does_not_change_its_windows(variant, data):
    text, at, ref, alt = variant
    skipped, ref_short, alt_short = trim(ref, alt)
    unit, pos = ref_short or alt_short, at + skipped
    if (ref_short and alt_short) or not unit or "N" in unit:
        return
    upper = text.upper()
    n_right = 0  # places to the right at which the same haplotype is written
    while (end := pos + len(ref_short) + n_right) < len(upper) and upper[end] == unit[
        n_right % len(unit)
    ]:
        n_right += 1
    by = data.draw(st.integers(0, min(n_right, 20)))
    turned = "".join(unit[(by + i) % len(unit)] for i in range(len(unit)))
    moved = (turned, "") if ref_short else ("", turned)
    given_ = windows_of(Genome(text), 0, pos, ref_short, alt_short, 41)
    assert windows_of(Genome(text), 0, pos + by, *moved, 41) == given_


def test_a_snv_of_an_even_window_has_its_index_on_either_strand():
    found = windows_of(Genome("AACCGGTTAC"), 0, 4, "G", "T", 4)
    assert found["+", "ref"] == "CGGT"
    assert found["+", "left"] == found["+", "right"] == "CTGT"
    assert found["-", "ref"] == "CCGG"  # of CCGG
    assert found["-", "left"] == "CAGG"


def test_a_deletion_is_aligned_at_either_flank():
    found = windows_of(Genome("AACCTGATTACAGG"), 0, 4, "TGA", "T", 8, 3)
    assert found["+", "ref"] == "CCTGATTA"
    assert found["+", "left"] == "CCTTTACA"
    assert found["+", "right"] == "AACCTTTA"[-8:]


def test_a_window_beyond_the_contig_is_padded():
    found = windows_of(Genome("ACGT"), 0, 0, "A", "C", 5)
    assert found["+", "ref"] == "--ACG"
    assert found["-", "ref"] == "CGT--"


@pytest.mark.parametrize(
    ("ref", "alt", "wanted"),
    [
        ("A", "C", (0, "A", "C")),
        ("CAA", "CA", (1, "A", "")),
        ("CA", "CAA", (1, "", "A")),
        ("ACG", "ATG", (1, "C", "T")),
        ("A", "A", (0, "", "")),
        ("TCATCA", "TCA", (0, "TCA", "")),
    ],
)
def test_alleles_are_trimmed_at_the_end_first(ref, alt, wanted):
    assert trim(ref, alt) == wanted


def test_an_index_outside_of_the_window_is_refused():
    with pytest.raises(HparamError, match=r"--variant_index=5 .* window of 5 bp"):
        AlleleWindows(Genome("ACGT"), DNA, 5, 5)
