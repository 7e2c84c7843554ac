"""HNF4A: scores equal those of windows by hand, and the locus is in no window of the training."""

import gzip
import os
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

import seqmodel

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SEQMODEL_SHARED_DATA") or ROOT.parent / "shared" / "data")
TINY = {
    "accelerator": "cpu",
    "encoder": "cnn",
    "n_dims": 8,
    "n_layers": 1,
    "max_epochs": 1,
    "progress": "none",
    "seq_len": 60,
}


@pytest.fixture
def program(monkeypatch):
    import hnf4a

    return hnf4a


def synthetic(folder):
    """A contig with runs of letters, and an SNV and a deletion at each of some places."""
    rng = random.Random(3)
    text = "".join(rng.choice("ACGT") * rng.choice((1, 1, 2, 5)) for _ in range(900))
    genome, vcf = folder / "g.fa", folder / "in.vcf"
    genome.write_text(f">20\n{text}\n")
    lines = ["##fileformat=VCFv4.2", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for pos in range(400, 700, 2):
        ref = text[pos - 1 : pos + 1]
        for a, b in ((ref[0], "ACGT"["ACGT".index(ref[0]) - 1]), (ref, ref[0])):
            info = f"LFC={rng.gauss(0, 1):.3f};P=0.1;BC={rng.randrange(99)}"
            lines.append(f"20\t{pos}\t.\t{a}\t{b}\t.\tPASS\t{info}")
    vcf.write_text("\n".join(lines) + "\n")
    return genome, vcf


def human_slice(folder):
    source = SHARED / "demo_human_slice"
    if not source.is_dir():
        pytest.skip(f"no {source}; set SEQMODEL_SHARED_DATA to the folder of shared data")
    return source / "slice.fa.gz", source / "hnf4a_mpra_977.vcf"


def tiny_model(task, contig, genome, folder):
    """A model of a kind, trained for one epoch."""
    bed = folder / "windows.bed"
    rows = (f"{contig}\t{x}\t{x + 60}\t{x % 2}\t{x % 3 % 2}\n" for x in range(0, 1200, 20))
    bed.write_text("#contig\tstart\tend\tctcf\tpu1\n" + "".join(rows))
    more = {"dataset": "fasta", "encoder": "dilated_conv"}
    if task == "multilabel":
        more = {"dataset": "bed", "label_kind": task, "label_columns": ["ctcf", "pu1"]}
    files = {"fasta": [str(genome)], "train_files": [str(bed)], "cache_dir": str(folder / "cache")}
    return seqmodel.train(
        task=task, **TINY | more | files, default_root_dir=str(folder / task)
    ).load()


@pytest.mark.parametrize("task", ["multilabel", "masked"])
@pytest.mark.parametrize("place", [synthetic, human_slice])
def test_scores_of_variants_are_those_of_windows_cut_by_hand(place, task, program, tmp_path):
    genome, vcf = place(tmp_path)
    (contig,) = program.read_genome(genome)
    model = tiny_model(task, contig, genome, tmp_path)
    found = program.scored_by(model, genome, vcf, tmp_path / "cache")
    variants = program.read_variants(vcf)
    assert found.variants == [v for v in variants if v.is_snv or task == "multilabel"]
    assert len(found.columns) == {"multilabel": 2, "masked": 1}[task]
    assert np.ptp(found.scores, axis=0).min() > 1e-3
    assert np.abs(found.scores - found.by_hand).max() < 1e-6
    rows, lines = program.report(task, found)
    assert len(rows) == 2 * len(found.columns)
    assert all("nan" not in x and f"| {len(found.variants)} |" in x for x in rows[::2])
    assert len(lines) == {"multilabel": 2, "masked": 1}[task]


@pytest.fixture
def chromosome(program, tmp_path, monkeypatch):
    """A small chromosome 20 with peaks, some of them in the locus; the folder of the data."""
    rng = random.Random(1)
    text = "".join(rng.choice("ACGT") for _ in range(400_000))
    folder = tmp_path / "data" / program.FOLDER
    folder.mkdir(parents=True)
    whole = gzip.compress(f">20\n{text}\n".encode())
    for i in range(2):
        part = whole[i * len(whole) // 2 : (i + 1) * len(whole) // 2]
        (folder / f"20.fa.gz.part0{i}").write_bytes(part)
    for factor, step in (("ctcf", 9000), ("pu1", 6000)):
        rows = (f"20\t{x}\t{x + 100}\n" for x in range(3000, 390_000, step))
        (folder / f"{factor}_peaks_chr20.bed").write_text("".join(rows))
    monkeypatch.setattr(program, "LOCUS", (100_000, 110_000))
    monkeypatch.setattr(program, "MARGIN", 20_000)
    monkeypatch.setattr(program, "VALID_BLOCK", 20_000)
    small = {"n_dims": 4, "n_layers": 1, "max_epochs": 1, "warmup_steps": 0, "n_threads": 1}
    monkeypatch.setattr(program, "SUPERVISED", program.SUPERVISED | small)
    monkeypatch.setattr(program, "MASKED", program.MASKED | small)
    own = {"n_dims": 4, "n_layers": 1, "warmup_steps": 0, "val_check_interval": 2}
    monkeypatch.setitem(program.MASKED_ON, "cpu", {**own, "batch_size": 32, "n_threads": 1})
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["supervised", "masked"])
def test_no_window_of_the_training_touches_the_locus(name, program, chromosome, tmp_path):
    program.train(name, chromosome, tmp_path, "cpu", 5)
    header = seqmodel.load(tmp_path / name / "checkpoints" / "best.ckpt").trained_on
    for split in ("train", "valid"):
        lines = (tmp_path / f"{name}_{split}.bed").read_text().splitlines()[1:]
        rows = [tuple(map(int, x.split("\t")[1:3])) for x in lines]
        apart = [(a, b) for a, b in rows if b <= 80_000 or a >= 130_000]
        assert header.splits[split] == len(apart)
        assert split == "valid" or len(apart) < len(rows)
    assert max(program.SUPERVISED["jitter"], program.MASKED["jitter"]) < program.MARGIN


def test_validation_shares_no_letter_with_training(program):
    size, every, n = program.VALID_BLOCK, program.VALID_EVERY, 60_000_000
    is_valid = np.arange(0, n) // size % every == program.VALID_AT
    moved = program.MASKED["jitter"]
    splits = []
    for start in range(0, n - 512, 512):
        splits.append(program.split_of(start, start + 512))
        if splits[-1] == "valid":
            assert is_valid[start : start + 512].all()
        elif splits[-1] == "train":
            assert not is_valid[max(start - moved, 0) : start + 512 + moved].any()
    assert splits.count(None) < 0.001 * len(splits)


def test_windows_have_the_labels_of_the_peaks_and_negatives_none(program, chromosome, tmp_path):
    text = program.read_genome(program.genome_file(chromosome, tmp_path))["20"]
    peaks = {x: program.read_peaks(chromosome, x) for x in program.FACTORS}
    rows = program.labelled_windows(text, peaks)
    negatives = [x for x in rows if not any(x[2:])]
    n = program.NEGATIVES_PER_PEAK
    assert len(negatives) * (n + 1) == len(rows) * n
    for start, end, *labels in rows:
        near = [any(a < end and start < b for a, b in peaks[x]) for x in program.FACTORS]
        assert near == [bool(x) for x in labels]


def test_correlations_are_those_of_scipy(program):
    x, y = np.random.default_rng(0).integers(0, 9, (2, 60)).astype(float)
    assert program.spearman(x, y) == pytest.approx(spearmanr(x, y)[0])
    assert program.pearson(x, y) == pytest.approx(pearsonr(x, y)[0])


def test_rows_of_one_place_count_as_one_in_the_interval(program):
    x, y = np.random.default_rng(1).normal(size=(2, 40))
    once = program.interval(program.pearson, x, y, range(40))
    again = program.interval(
        program.pearson, x.repeat(3), y.repeat(3), [i // 3 for i in range(120)]
    )
    assert again == pytest.approx(once)
    assert once[0] < program.pearson(x, y) < once[1]
