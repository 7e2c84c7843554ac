"""The cases of benchmarks/infer_scale.py at small sizes, and what they are made for."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from variant_cases import letter, other, write_fasta

import seqmodel
from seqmodel.infer import vcf
from seqmodel.infer.vcf import VcfFile

ROOT = Path(__file__).parents[2]
SIZES = {  # null is snvs with the model of vcf and memory
    "snvs": ["--n_snvs=90", "--chunk_rows=4", "--parts=2", "--kills=1"],
    "vcf": ["--vcf_mb=2"],
    "laws": ["--n_laws=180"],
    "memory": ["--few=100", "--many=3000", "--inputs", "tiles", "variants"],
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SIZES)
def test_each_case_of_the_benchmark_ends_well(tmp_path, case):
    words = [sys.executable, str(ROOT / "benchmarks/infer_scale.py"), case, *SIZES[case]]
    done = subprocess.run(
        [*words, f"--folder={tmp_path}"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = [json.loads(x) for x in done.stdout.splitlines()]
    assert {x["case"] for x in figures} == {case}
    assert not list(tmp_path.iterdir())
    if case == "snvs":
        assert figures[1]["killed"] == 1
        assert figures[-1]["equal"]
    if case == "laws":
        assert all(x["most"] < 1e-6 < x["sd"] for x in figures)


def large_vcf(path, n):
    """Records of chr1 with 200 bytes of INFO each, two thirds of which have another REF."""
    with path.open("w") as file:
        file.write("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
        for pos in range(50, 50 + n):
            ref = letter("chr1", pos)
            ref, alt = (ref, other(ref)) if pos % 3 == 0 else (other(ref), ref)
            file.write(f"chr1\t{pos}\t.\t{ref}\t{alt}\t.\t.\tX={'x' * 200}\n")
    return path


def test_a_block_of_long_records_has_fewer(tmp_path, monkeypatch):
    source = VcfFile(str(large_vcf(tmp_path / "a.vcf", 100)))
    (whole,) = source.blocks(1000)
    monkeypatch.setattr(vcf, "_MOST_BYTES", 1000)
    blocks = list(source.blocks(1000))
    assert max(map(len, blocks)) < 6
    assert [x for block in blocks for x in block.lines] == whole.lines
    assert [x.number for x in blocks] == np.cumsum([0, *map(len, blocks)])[:-1].tolist()
    assert [len(x) for x in source.blocks(2)] == [2] * 50


@pytest.mark.parametrize("most", [1000, 1 << 24])
def test_the_first_records_are_judged_however_long_they_are(trained, tmp_path, monkeypatch, most):
    monkeypatch.setattr(vcf, "_MOST_BYTES", most)
    fasta, path = write_fasta(tmp_path / "g.fa"), large_vcf(tmp_path / "a.vcf", 600)
    model = seqmodel.load(trained.best("regress"))
    with pytest.raises(seqmodel.errors.VariantError, match="400 of the first 600 records") as e:
        model.variants(path, fasta).table()
    assert str(e.value).count("has REF") == 3
    table = model.variants(path, fasta, ref_mismatch="swap", background=5).table()
    assert len(table) == 600
    assert table["value_diff_quantile"].notna().all()
