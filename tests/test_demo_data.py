"""data/demo is what its SOURCE.md says, and is derived again from its source, byte for byte."""

import gzip
import importlib.util
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "data" / "demo"
SHARED = Path(os.environ.get("SEQMODEL_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def derivation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_demo_data", DEMO / "make_demo_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def windows() -> list[tuple[str, int, int, str, str]]:
    lines = (DEMO / "windows.bed").read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    return [(c, int(a), int(b), label, strand) for c, a, b, label, _, strand in rows]


@pytest.fixture(scope="module")
def genome(derivation: ModuleType) -> dict[str, str]:
    return dict(derivation.read_fasta(DEMO / "umaydis.fa.gz"))


def test_repository_carries_less_than_three_megabytes_of_demo_data():
    # beside what is committed a run may have built its store
    kept = [path for path in DEMO.glob("*.*") if ".seqstore" not in path.name]
    assert sum(path.stat().st_size for path in kept) < 3_000_000


def test_windows_do_not_overlap_and_have_one_length(windows):
    for (contig, _, end, _, _), (next_contig, start, _, _, _) in pairwise(windows):
        assert contig != next_contig or end <= start
    assert {end - start for _, start, end, _, _ in windows} == {200}


def test_classes_are_balanced_in_every_split_and_on_both_strands(windows, derivation):
    for contigs in derivation.SPLITS.values():
        counts = Counter((label, strand) for c, _, _, label, strand in windows if c in contigs)
        assert len(counts) == 4
        for label in ("coding", "intergenic"):
            total = counts[label, "+"] + counts[label, "-"]
            assert total == sum(counts.values()) / 2
            assert 0.35 < counts[label, "+"] / total < 0.65


def test_windows_are_unambiguous_and_distinct_on_both_strands(windows, genome, derivation):
    sequences = [genome[c][a:b] for c, a, b, _, _ in windows]
    assert all(set(s) <= set("ACGT") for s in sequences)
    canonical = {min(s, s[::-1].translate(derivation.COMPLEMENT)) for s in sequences}
    assert len(canonical) == len(windows)


def test_coding_windows_read_without_stop_in_one_frame(windows, genome, derivation):
    """A check from biology: sense orientation and 0-based starts, or in-frame stops would show."""
    stops = {"TAA", "TAG", "TGA"}
    n_open = Counter()
    n_all = Counter()
    for contig, start, end, label, strand in windows:
        text = genome[contig][start:end]
        if strand == "-":
            text = text[::-1].translate(derivation.COMPLEMENT)
        frames = [{text[i : i + 3] for i in range(f, 198, 3)} for f in range(3)]
        n_open[label] += any(not frame & stops for frame in frames)
        n_all[label] += 1
    # Not all of them: the annotation and the assembly disagree in some genes.
    assert n_open["coding"] / n_all["coding"] > 0.98
    assert n_open["intergenic"] / n_all["intergenic"] < 0.4


@pytest.mark.slow
def test_derivation_from_the_source_gives_the_same_bytes(derivation, tmp_path):
    source = SHARED / "ustilago_maydis"
    if not source.is_dir():
        pytest.skip(f"no {source}; set SEQMODEL_SHARED_DATA to the folder of shared data")
    fastas = sorted(source.glob("*.fa.gz"))
    wanted = {contig for contigs in derivation.SPLITS.values() for contig in contigs}
    genome = {n: s for f in fastas for n, s in derivation.read_fasta(f) if n in wanted}
    windows = derivation.derive(genome, source / "Umaydis.gff3.gz")
    derivation.write(tmp_path, genome, windows)
    assert (tmp_path / "windows.bed").read_bytes() == (DEMO / "windows.bed").read_bytes()
    # Compressed bytes depend on the zlib at hand; what they hold does not.
    with gzip.open(tmp_path / "umaydis.fa.gz") as ours, gzip.open(DEMO / "umaydis.fa.gz") as theirs:
        assert ours.read() == theirs.read()
