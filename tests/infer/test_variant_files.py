"""Variants in files that are hard to read, and a command that is killed."""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from variant_cases import HEAD, NAMES, indels, letter, other, run, snvs, write_fasta, write_vcf

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import HparamError, VariantError
from seqmodel.hparam.infer import VariantsHparams
from seqmodel.infer.records import STATUSES
from seqmodel.infer.vcf_out import info_ids

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("genome") / "g.fa")


@pytest.fixture(scope="module")
def model(trained):
    return seqmodel.load(trained.best("multilabel"))


def table_of(model, fasta, variants, **options):
    return model.variants(variants, fasta, **options).table()


def statuses(model, fasta, variants, **options):
    return table_of(model, fasta, variants, **options)["status"].tolist()


def test_alleles_that_cannot_be_scored_say_why(model, fasta):
    ref = letter("chr1", 100)
    cases = {
        ("chr1", 0, "A", "C"): "outside",
        ("chr1", 901, "A", "C"): "outside",
        ("chr1", 900, letter("chr1", 900) + "A", "C"): "outside",
        ("../../x", 100, "A", "C"): "no_contig",
        ("chr1", 100, ref, "*"): "star",
        ("chr1", 100, ref, "<INS>"): "symbolic",
        ("chr1", 100, ref, "<DEL>"): "symbolic",
        ("chr1", 100, ref, f"{ref}[chr2:30["): "breakend",
        ("chr1", 100, ref, f".{ref}"): "breakend",
        ("chr1", 100, ref, "."): "no_alt",
        ("chr1", 100, ref, "N"): "bad_letter",
        ("chr1", 100, ref, "AZ"): "bad_letter",
        ("chr1", 100, other(ref), ref): "ref_mismatch",
        ("chr1", 5, letter("chr1", 5), other(letter("chr1", 5))): "padded",
        ("chr1", 100, ref, other(ref).lower()): "ok",
    }
    table = table_of(model, fasta, list(cases))
    assert table["status"].tolist() == list(cases.values())
    scored = table["status"].isin(["ok", "padded"])
    assert (table["one_diff"].notna() == scored).all()
    at_edge = ("chr1", 5, letter("chr1", 5), other(letter("chr1", 5)))
    assert statuses(model, fasta, [at_edge], edge="skip") == ["edge"]


def test_alts_of_one_record_have_a_row_each(model, fasta):
    ref = letter("chr1", 100)
    alts = [other(ref), "*", ref + "T", ref + "TT", ref]
    table = table_of(model, fasta, [("chr1", 100, ref, ",".join(alts)), snvs(1)[0]])
    assert table["index"].tolist() == [0] * 5 + [1]
    assert table["alt"].tolist()[:5] == alts
    one_by_one = [table_of(model, fasta, [("chr1", 100, ref, x)])["one_diff"][0] for x in alts]
    assert np.allclose(table["one_diff"][:5], one_by_one, atol=1e-6, equal_nan=True)


def test_a_ref_longer_than_the_window_is_scored(model, fasta):
    long = ("chr1", 200, letter("chr1", 200, 100), letter("chr1", 200))
    assert statuses(model, fasta, [long]) == ["ok"]
    end = HEAD + '##INFO=<ID=END,Number=1,Type=Integer,Description="e">\n'
    path = write_vcf(fasta.parent / "del.vcf", [("chr1", 200, letter("chr1", 200), "<DEL>")], end)
    path.write_text(path.read_text().replace("DP=3", "END=299"))
    assert statuses(model, fasta, path) == ["symbolic"]
    assert statuses(model, fasta, path, max_indel=98) == ["too_long"]
    written, symbolic = (table_of(model, fasta, x, max_indel=99) for x in ([long], path))
    assert symbolic["one_diff"][0] == pytest.approx(written["one_diff"][0], abs=1e-7)


def test_duplicate_and_unsorted_records_keep_their_order(trained, model, fasta, tmp_path):
    records = [*snvs(10), *indels()]
    records = [*records, *records[::-1]]
    table = table_of(model, fasta, records)
    n = len(records) // 2
    assert table["pos"].tolist() == [x[1] for x in records]
    assert np.array_equal(table["one_diff"][:n], table["one_diff"][n:][::-1])
    run(trained, fasta, write_vcf(tmp_path / "in.vcf", records), tmp_path / "out.vcf.gz")
    assert not [x for x in os.listdir(tmp_path) if x.endswith((".tbi", ".csi"))]
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [x.pos for x in file] == [x[1] for x in records]


@pytest.mark.parametrize("names", [NAMES, NAMES + "\tFORMAT\tS1"])
def test_a_header_only_is_a_valid_empty_answer(trained, fasta, tmp_path, names):
    path = write_vcf(tmp_path / "in.vcf", [], names=names)
    outs = [tmp_path / f"out.{x}" for x in ("tsv", "vcf", "vcf.gz", "bcf", "parquet")]
    run(trained, fasta, path, *outs)
    assert pd.read_csv(outs[0], sep="\t").empty
    assert len(pd.read_parquet(outs[4])) == 0
    for out in outs[1:4]:
        with pysam.VariantFile(str(out)) as file:
            assert list(file) == []


def test_no_contig_lines_crlf_and_thousands_of_samples_pass_through(trained, fasta, tmp_path):
    samples = "\t".join(f"s{i}" for i in range(3000))
    names = f"{NAMES}\tFORMAT\t{samples}"
    path = write_vcf(tmp_path / "in.vcf", sorted(snvs(5)), contigs=False, names=names)
    genotypes = "\t".join(["0/1"] * 3000)
    text = path.read_text().replace("DP=3\n", f"DP=3\tGT\t{genotypes}\n").replace("\n", "\r\n")
    path.write_bytes(text.encode())
    run(trained, fasta, path, tmp_path / "out.vcf")
    lines = (tmp_path / "out.vcf").read_bytes().split(b"\r\n")
    assert b"\n" not in b"".join(lines)
    records = [x.split(b"\t") for x in lines if x and not x.startswith(b"#")]
    before = [x.split("\t") for x in text.split("\r\n") if x and not x.startswith("#")]
    assert [x[7].split(b";")[1] for x in records] == [b"SM_STATUS=ok"] * 5
    for x, y in zip(records, before, strict=True):
        assert [z.decode() for z in (*x[:7], *x[8:])] == [*y[:7], *y[8:]]


def test_a_vcf_without_format_and_with_crlf_keeps_its_line_ends(trained, fasta, tmp_path):
    path = write_vcf(tmp_path / "in.vcf", snvs(3))
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    run(trained, fasta, path, tmp_path / "out.vcf")
    raw = (tmp_path / "out.vcf").read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == len(raw.splitlines())


def test_a_second_pass_replaces_the_fields_of_the_first(trained, fasta, tmp_path):
    path = write_vcf(tmp_path / "in.vcf", snvs(5))
    run(trained, fasta, path, tmp_path / "one.vcf")
    run(trained, fasta, tmp_path / "one.vcf", tmp_path / "two.vcf")
    one, two = (
        [x for x in (tmp_path / f"{n}.vcf").read_text().splitlines() if x[:10] != "##seqmodel"]
        for n in ("one", "two")
    )
    assert one == two


def test_gzip_is_read_and_truncated_bgzip_is_an_error(trained, fasta, tmp_path, capsys):
    path = write_vcf(tmp_path / "in.vcf", snvs(30))
    plain = tmp_path / "plain.vcf.gz"
    plain.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))  # with a BOM
    run(trained, fasta, path, tmp_path / "a.tsv")
    run(trained, fasta, plain, tmp_path / "b.tsv")
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    packed = tmp_path / "packed.vcf.gz"
    pysam.tabix_compress(str(path), str(packed))
    packed.write_bytes(packed.read_bytes()[:-28])
    capsys.readouterr()
    run(trained, fasta, packed, tmp_path / "c.tsv", expect=2)
    assert "truncated bgzip" in capsys.readouterr().err
    assert not (tmp_path / "c.tsv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1\t5\t.\tA\n", "record 1: 4 columns"),
        ("chr1\tx\t.\tA\tC\t.\t.\t.\n", "record 1: position 'x' is not a whole number"),
        ("chr1\t-5\t.\tA\tC\t.\t.\t.\n", "record 1: position '-5' is not a whole number"),
        (f"chr1\t{'9' * 30}\t.\tA\tC\t.\t.\t.\n", "is not a whole number"),
    ],
)
def test_a_malformed_record_is_one_line(model, fasta, tmp_path, text, message):
    path = write_vcf(tmp_path / "in.vcf", [])
    path.write_text(path.read_text() + text)
    with pytest.raises(VariantError, match=message):
        table_of(model, fasta, path)


def test_what_is_no_vcf_is_one_line(model, fasta, tmp_path):
    (tmp_path / "x.vcf").write_text("chr1\t5\n")
    with pytest.raises(VariantError, match="no #CHROM line"):
        table_of(model, fasta, tmp_path / "x.vcf")
    (tmp_path / "x.csv").write_text("contig,position,ref\n")
    with pytest.raises(VariantError, match="no column 'alt'"):
        table_of(model, fasta, tmp_path / "x.csv")
    with pytest.raises(VariantError, match="use contig:pos:ref:alt"):
        table_of(model, fasta, ["chr1:5:A"])


def test_another_genome_build_stops_before_the_first_part(trained, fasta, tmp_path, capsys):
    records = [(c, p, other(r), r) for c, p, r, _ in snvs(200)]
    records = records[:60] + snvs(140)
    run(trained, fasta, write_vcf(tmp_path / "in.vcf", records), tmp_path / "o.tsv", expect=2)
    err = capsys.readouterr().err
    assert "60 of the first 200 records" in err
    assert "another genome build?" in err
    assert not [x for x in os.listdir(tmp_path / "o.tsv.parts") if x.endswith(".part")]
    few = [*records[:9], *snvs(140)]
    run(trained, fasta, write_vcf(tmp_path / "in.vcf", few), tmp_path / "p.tsv")
    assert "9 ref_mismatch" in capsys.readouterr().err


def test_names_of_contigs_are_matched_only_if_all_are(model, fasta, tmp_path):
    bare = [(c.removeprefix("chr"), *x) for c, *x in snvs(5)]
    mitochondrion = [("MT", 100, letter("chrM", 100), other(letter("chrM", 100)))]
    assert statuses(model, fasta, [*bare, *mitochondrion]) == ["ok"] * 6
    unknown = ("GL000220.1", 5, "A", "C")
    table = table_of(model, fasta, [*snvs(1), *bare, unknown])
    assert table["status"].tolist() == ["ok", *["no_contig"] * 6]
    with pytest.raises(VariantError, match="contig '1' is not in the sequences"):
        table_of(model, fasta, [*bare, unknown])
    aliases = tmp_path / "a.txt"
    aliases.write_text("chr1\t1\tNC_1\n")
    table = table_of(model, fasta, [*bare, unknown], contig_aliases=aliases)
    assert table["status"].tolist() == ["ok"] * 5 + ["no_contig"]
    assert table["contig"].tolist()[:5] == ["1"] * 5


def test_names_of_targets_become_ids_that_vcf_allows():
    names = ["a/b;c_diff", "a b=c_diff", "a_b_c_diff", 'é"_diff', "STATUS"]
    ids = info_ids(names)
    assert len(set(ids)) == len(ids)
    assert all(x.isascii() and x.replace("_", "").replace(".", "").isalnum() for x in ids)
    assert "SM_STATUS" not in ids


def test_a_vcf_has_32_fields_unless_targets_are_named(trained, fasta, tmp_path, monkeypatch):
    monkeypatch.setattr("seqmodel.infer.effects.MAX_FIELDS", 3)
    path = write_vcf(tmp_path / "in.vcf", snvs(3))
    run(trained, fasta, path, tmp_path / "a.vcf", expect=2)
    run(trained, fasta, path, tmp_path / "b.vcf", tmp_path / "b.tsv", vcf_targets="two")
    text = (tmp_path / "b.vcf").read_text()
    assert "SM_two_diff" in text
    assert "SM_one_diff" not in text
    assert "one_diff" in (tmp_path / "b.tsv").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fasta=g.fa"], "give the variants either as"),
        (["--variant=chr1:5:A:C"], "--fasta is not set"),
        (["--variant=chr1:5:A:C", "--fasta=g.fa", "--scores=llr"], "has no such score"),
    ],
)
def test_a_wrong_command_is_one_line(trained, fasta, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(fasta.parent)
    shared = [f"--checkpoints={trained.best('multilabel')}", f"--out={tmp_path / 'o.tsv'}"]
    assert main(["variants", *shared, *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_an_option_that_is_not_there_is_refused(model, fasta):
    with pytest.raises(HparamError, match="no option 'score'"):
        table_of(model, fasta, snvs(1), score=["diff"])
    with pytest.raises(HparamError, match="edge='x'; choose one of pad, skip"):
        table_of(model, fasta, snvs(1), edge="x")


def test_an_ensemble_of_one_model_twice_is_that_model(trained, model, fasta):
    twice = seqmodel.load([trained.best("multilabel")] * 2)
    variants = [*snvs(5), *indels()]
    here, there = (table_of(x, fasta, variants).filter(regex="diff$") for x in (model, twice))
    assert np.allclose(here, there, atol=1e-6)


def test_batch_size_and_chunks_change_no_number(model, fasta):
    variants = [*snvs(30), *indels()]
    wanted = table_of(model, fasta, variants).filter(like="diff")
    for options in ({"batch_size": 3}, {"chunk_rows": 4}):
        found = table_of(model, fasta, variants, **options)
        assert np.allclose(found.filter(like="diff"), wanted, atol=1e-6)
        assert found["index"].tolist() == list(range(len(variants)))


def test_a_background_of_a_file_without_snvs_is_of_any(model, fasta):
    table = table_of(model, fasta, indels(), background=20)
    assert table["one_diff_quantile"].between(0, 1).all()


def test_the_page_names_options_that_are_there():
    text = (ROOT / "docs/variants.md").read_text()
    known = VariantsHparams.default_hparams().declared
    of_submit = {"verb", "n_parts"}
    named = {x.replace("-", "_") for x in re.findall(r"`?--(\w+)", text)}
    assert named <= known.keys() | of_submit
    assert set(STATUSES) <= set(re.findall(r"`(\w+)`", text))


@pytest.mark.slow
def test_a_command_that_is_killed_makes_the_same_bytes(trained, fasta, tmp_path):
    path = write_vcf(tmp_path / "in.vcf", [*snvs(600), *indels()])
    shared = [f"--checkpoints={trained.best('multilabel')}", f"--fasta={fasta}"]
    shared += [f"--variants={path}", "--chunk_rows=20", "--batch_size=4", "--json"]
    rng = np.random.default_rng(0)

    def command(name):
        outs = [str(tmp_path / f"{name}.{x}") for x in ("tsv", "vcf.gz", "bcf")]
        words = [sys.executable, "-m", "seqmodel", "variants", *shared, "--out", *outs]
        return subprocess.Popen(words, stdout=subprocess.PIPE), outs

    first, whole = command("whole")
    assert json.loads(first.communicate()[0])["counts"]["ok"] == 606
    n_killed = 0
    for _ in range(30):
        process, outs = command("killed")
        before = len(os.listdir(f"{outs[0]}.parts")) if os.path.isdir(f"{outs[0]}.parts") else 0
        limit = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < limit:
            now = len(os.listdir(f"{outs[0]}.parts")) if os.path.isdir(f"{outs[0]}.parts") else 0
            if now > before + 2 and n_killed < 5:
                time.sleep(rng.uniform(0, 0.05))
                process.kill()
                n_killed += 1
                break
            time.sleep(0.005)
        process.communicate()
        if process.returncode == 0:
            break
    assert n_killed >= 3
    for a, b in zip(whole, outs, strict=True):
        with open(a, "rb") as x, open(b, "rb") as y:
            assert x.read() == y.read()


@pytest.mark.parametrize(
    ("task", "scores"),
    [
        ("regress", ["diff", "ref", "abs", "l2"]),
        ("multilabel", ["diff", "logit_diff"]),
        ("profile", ["log2fc", "jsd"]),
        ("masked", ["llr"]),
        ("causal", ["llr"]),
    ],
)
def test_the_spread_of_an_ensemble_is_that_of_its_models(trained, fasta, task, scores):
    paths = [trained.best(task), trained.runs[task].path / "checkpoints/last.ckpt"]
    variants = [*snvs(4), *indels()]
    options = {"scores": scores, "ref_mismatch": "swap"}
    one, two = (table_of(seqmodel.load(x), fasta, variants, **options) for x in paths)
    both = table_of(seqmodel.load(paths), fasta, variants, **options)
    spread = [x for x in both.columns if x.endswith("_sd")]
    assert spread
    for name in spread:
        values = np.stack([x[name.removesuffix("_sd")] for x in (one, two)])
        assert np.allclose(both[name], values.std(0, ddof=1), atol=1e-6, equal_nan=True)
        if task == "regress" and "abs" not in name:  # linear in the outputs
            found = both[name.removesuffix("_sd")]
            assert np.allclose(found, values.mean(0), atol=1e-6)
