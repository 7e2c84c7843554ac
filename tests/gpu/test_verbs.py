"""Verbs that apply a model give on the device what they give on the CPU."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import seqmodel
from seqmodel.cli.verbs import main

FOLDER = Path(__file__).parents[1] / "archive/0.2.0"
TEXTS = ["ACGT" * 16, "TTGACA" * 10, "GATTACA" * 9, "ACGTN" * 12]


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("genome")
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 2000))
    (folder / "g.fa").write_text(f">a\n{letters}\n")
    header = "##fileformat=VCFv4.2\n##contig=<ID=a,length=2000>\n"
    lines = [header + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for at in range(100, 1900, 90):
        ref = letters[at]
        lines.append(f"a\t{at + 1}\t.\t{ref}\t{'ACGT'.replace(ref, '')[at % 3]}\t.\t.\t.")
        lines.append(f"a\t{at + 11}\t.\t{letters[at + 10]}\t{letters[at + 10]}GG\t.\t.\t.")
    (folder / "v.vcf").write_text("\n".join(lines) + "\n")
    return folder


def table(verb, out, accelerator, *words):
    assert main([verb, f"--accelerator={accelerator}", f"--out={out}", *map(str, words)]) == 0
    with out.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def assert_same(rows, expected, at_least):
    """Numbers to four digits; everything else letter by letter."""
    assert len(rows) == len(expected) >= at_least
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, text in row.items():
            if text != other[name]:
                assert math.isclose(float(text), float(other[name]), rel_tol=1e-3, abs_tol=1e-4)


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_predict_is_that_of_the_cpu(task, genome, accelerator, tmp_path):
    words = [f"--checkpoints={FOLDER / task}.ckpt", f"--fasta={genome / 'g.fa'}", "--tiles"]
    mine, cpu = (
        table("predict", tmp_path / f"{x}.tsv", x, *words, "--stride=8", "--batch_size=16")
        for x in (accelerator, "auto" if accelerator == "cpu" else "cpu")
    )
    assert_same(mine, cpu, 240)


@pytest.mark.parametrize("task", ["classify", "regress", "profile", "masked", "causal"])
def test_variants_are_those_of_the_cpu(task, genome, accelerator, tmp_path):
    pytest.importorskip("pysam", reason="reads VCF")
    words = [f"--checkpoints={FOLDER / task}.ckpt", f"--fasta={genome / 'g.fa'}"]
    words += [f"--variants={genome / 'v.vcf'}"]
    mine, cpu = (
        table("variants", tmp_path / f"{x}.tsv", x, *words)
        for x in (accelerator, "auto" if accelerator == "cpu" else "cpu")
    )
    assert_same(mine, cpu, 40)
    assert sum(row["status"] == "ok" for row in mine) >= 20


@pytest.mark.parametrize("pool", ["mean", "max", "first"])
def test_embeddings_are_those_of_the_cpu(pool, device):
    path = FOLDER / "masked.ckpt"
    expected = seqmodel.load(path, device="cpu").embed(TEXTS, pool)
    found = seqmodel.load(path, device=device).embed(TEXTS, pool)
    np.testing.assert_allclose(found, expected, 1e-3, 1e-4)


@pytest.mark.parametrize("method", ["ism", "gradient", "integrated_gradients"])
def test_attributions_are_those_of_the_cpu(method, device):
    path, texts = FOLDER / "regress.ckpt", [text[:60] for text in TEXTS]
    expected = seqmodel.load(path, device="cpu").attribute(texts, method=method).scores
    found = seqmodel.load(path, device=device).attribute(texts, method=method).scores
    np.testing.assert_allclose(found, expected, 2e-3, 1e-4)


def test_a_batch_that_does_not_fit_the_device_is_halved(device, monkeypatch):
    """On a card its memory is limited; elsewhere a network that refuses large batches."""
    path = FOLDER / "regress.ckpt"
    rows = ["".join(x) for x in np.random.default_rng(1).choice(list("ACGT"), (2000, 64))]
    expected = seqmodel.load(path, device="cpu").predict(rows, batch_size=50)
    model = seqmodel.load(path, device=device)
    each = model.network.each
    if device.type == "cuda":
        torch.cuda.empty_cache()
        room = torch.cuda.memory_allocated() + (64 << 20)
        monkeypatch.setattr(
            model.network, "each", lambda x, pad=None: (_ballast(x, device), each(x, pad))[1]
        )
        torch.cuda.set_per_process_memory_fraction(room / torch.cuda.mem_get_info()[1])
    else:

        def refusing(x, pad=None):
            if len(x) > 300:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return each(x, pad)

        monkeypatch.setattr(model.network, "each", refusing)
    try:
        with pytest.warns(UserWarning, match="does not fit into memory"):
            found = model.predict(rows, batch_size=2000)
    finally:
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(found, expected, 1e-3, 1e-4)


def _ballast(x, device):
    """100 KB a row for a moment: 300 rows fit into 64 MB, 2,000 do not."""
    torch.empty(len(x) * 100_000, dtype=torch.uint8, device=device)
