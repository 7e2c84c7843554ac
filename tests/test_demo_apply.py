"""The demo's variants have the consequence that they are said to have."""

import re
from pathlib import Path

import demo_apply as apply
import demo_baselines as baselines
import numpy as np
import pysam
import pytest

ROOT = Path(__file__).resolve().parents[1]
COMPLEMENT = str.maketrans("ACGT", "TGCA")
STOPS = {"TAA", "TAG", "TGA"}
STOP = re.compile("(?=TAA|TAG|TGA)")


@pytest.fixture(scope="module")
def genome():
    return baselines.read_genome(ROOT / "data/demo/umaydis.fa.gz")


@pytest.fixture(scope="module")
def text(genome):
    return "".join(np.array(list("ACGTN"))[genome["chr07"]])


@pytest.fixture(scope="module")
def windows(genome):
    return apply.read_coding(ROOT / "data/demo/windows.bed", genome, "chr07")


def codons(gene, frame):
    return [gene[i : i + 3] for i in range(frame, len(gene) - 2, 3)]


def along_gene(text, window):
    ahead = text[window.start : window.end]
    return ahead if window.strand == "+" else ahead[::-1].translate(COMPLEMENT)


def test_windows_are_those_with_one_frame_without_a_stop_codon(windows, text):
    found = set()
    for line in (ROOT / "data/demo/windows.bed").read_text().splitlines():
        contig, start, end, label, _, strand = line.split("\t")
        if contig == "chr07" and label == "coding":
            gene = along_gene(text, apply.Coding(contig, int(start), int(end), strand, None, 0))
            is_open = [not STOPS & set(codons(gene, frame)) for frame in range(3)]
            if sum(is_open) == 1:
                found.add((int(start), is_open.index(True)))
    assert len(found) > 500
    assert {(w.start, w.frame) for w in windows} == found


@pytest.mark.parametrize("strand", ["+", "-"])
def test_snvs_change_the_codon_of_the_gene_as_their_kind_says(windows, text, strand):
    seen = set()
    for window in [w for w in windows if w.strand == strand][:150]:
        ahead = along_gene(text, window)
        before = codons(ahead, window.frame)
        variant = apply.snvs(window, int(3 + window.start % 190))
        at = variant.pos - 1
        assert text[at] == variant.ref
        assert {variant.ref, *variant.alts} == set("ACGT")
        for alt, kind in zip(variant.alts, variant.kinds, strict=True):
            gene = along_gene(text[:at] + alt + text[at + 1 :], window)
            changes = zip(before, codons(gene, window.frame), strict=True)
            ((old, new),) = [(x, y) for x, y in changes if x != y]
            place = next(i for i in range(3) if old[i] != new[i])
            begins = [{m.start() for m in STOP.finditer(x)} for x in (ahead, gene)]
            other = "stop_out_of_frame" if begins[1] - begins[0] else f"codon_{place + 1}"
            assert kind == ("stop" if new in STOPS else other)
            seen.add(kind)
    assert seen == {"codon_1", "codon_2", "codon_3", "stop", "stop_out_of_frame"}


def test_the_file_of_variants_fits_the_genome(windows, genome, text, tmp_path):
    variants = apply.draw(windows, genome["chr07"], 200, seed=3)
    assert variants == apply.draw(windows, genome["chr07"], 200, seed=3)
    apply.write_vcf(tmp_path / "v.vcf", variants)
    kinds = set()
    with pysam.VariantFile(str(tmp_path / "v.vcf")) as file:
        records = list(file)
    assert len(records) == 300
    assert [r.pos for r in records] == sorted(r.pos for r in records)
    for record in records:
        assert text[record.start : record.stop] == record.ref
        assert len(record.info["KIND"]) == len(record.alts)
        kinds |= set(record.info["KIND"])
        for alt, kind in zip(record.alts, record.info["KIND"], strict=True):
            n = abs(len(alt) - len(record.ref))
            expected = {"in_frame"} if n % 3 == 0 else {"frameshift"}
            assert n <= apply.MAX_INDEL
            assert (kind in expected) == (n > 0)
    assert kinds == set(apply.KINDS)


def test_summary_gives_means_by_kind():
    rows = apply.summary(["stop", "codon_1", "stop"], np.array([-3.0, 0.5, 1.0]))
    assert rows == [(apply.KINDS["codon_1"], 1, 0.5, 0.5), (apply.KINDS["stop"], 2, -1.0, 2.0)]
