"""Scores of variants against predictions for windows made by hand, and the laws that they keep."""

import gzip
import io

import numpy as np
import pandas as pd
import pysam
import pytest
import torch
from pysam import bcftools
from variant_cases import GENOME, indels, letter, other, rc, run, snvs, write_fasta, write_vcf

import seqmodel
from seqmodel.dataset.seq.store import SequenceStore
from seqmodel.errors import VariantError
from seqmodel.infer.alleles import Alleles
from seqmodel.infer.background import random_snvs


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    return write_fasta(tmp_path_factory.mktemp("genome") / "g.fa")


@pytest.fixture(scope="module")
def models(trained):
    return {task: seqmodel.load(trained.best(task)) for task in trained.runs}


def window(contig, start, n=64):
    text = GENOME[contig]
    return "".join(text[i] for i in range(start, start + n))


def snv_windows(contig, pos, alt):
    """REF and ALT on both strands, the base at index 31 in reading direction."""
    p = pos - 1
    plus, minus = window(contig, p - 31), window(contig, p - 32)
    found = [(plus, plus[:31] + alt + plus[32:])]
    return [*found, tuple(map(rc, (minus, minus[:32] + alt + minus[33:])))]


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
def test_the_score_of_a_snv_is_the_difference_of_two_predictions(models, fasta, task):
    model, variants = models[task], snvs()
    scores = ["diff", "ref", "alt", "abs"] + ["logit_diff"] * (task != "regress")
    table = model.variants(variants, fasta, scores=scores).table()
    assert table["status"].eq("ok").all()
    assert table["alt"].tolist() == [x[3] for x in variants]
    for row, (contig, pos, _, alt) in zip(table.to_dict("records"), variants, strict=True):
        refs, alts = zip(*snv_windows(contig, pos, alt), strict=True)
        ref, alt = (model.predict(list(x)).astype(float) for x in (refs, alts))
        for i, name in enumerate(model.targets.names):
            assert row[f"{name}_diff"] == pytest.approx((alt - ref)[:, i].mean(), abs=1e-6)
            assert row[f"{name}_ref"] == pytest.approx(ref[:, i].mean(), abs=1e-6)
            assert row[f"{name}_alt"] == pytest.approx(alt[:, i].mean(), abs=1e-6)
            assert row[f"{name}_abs"] == pytest.approx(abs((alt - ref)[:, i].mean()), abs=1e-6)
            if task != "regress":
                odds = [np.log(x[:, i] / (1 - x[:, i])) for x in (ref, alt)]
                wanted = (odds[1] - odds[0]).mean()
                assert row[f"{name}_logit_diff"] == pytest.approx(wanted, abs=1e-5)


def test_an_indel_is_scored_by_the_windows_that_alleles_shows(models, fasta):
    model = models["regress"]
    for variant in indels():
        values = []
        for strand in "+-":
            for align in ("left", "right"):
                shown = model.alleles(*variant, fasta, strand=strand, align=align)
                ref, alt = model.predict([shown.ref, shown.alt])[:, 0].astype(float)
                values.append(alt - ref)
        for align, wanted in (("both", values), ("left", values[::2]), ("right", values[1::2])):
            got = model.variants([variant], fasta, indel_align=align).table()
            assert got["value_diff"][0] == pytest.approx(np.mean(wanted), abs=1e-6)


def test_profiles_are_compared_by_their_sums_and_shapes(models, fasta):
    model, variants = models["profile"], snvs(10)
    table = model.variants(variants, fasta).table()
    (name,) = model.targets.names
    for row, (contig, pos, _, alt) in zip(table.to_dict("records"), variants, strict=True):
        sums, shapes = [], []
        for pair in snv_windows(contig, pos, alt):
            p, q = model.predict(list(pair))[:, :, 0].astype(float)
            sums.append(np.log2(q.sum() / p.sum()))
            p, q = p / p.sum(), q / q.sum()
            m = (p + q) / 2
            shapes.append((p * np.log2(p / m)).sum() / 2 + (q * np.log2(q / m)).sum() / 2)
        assert row[f"{name}_log2fc"] == pytest.approx(np.mean(sums), abs=1e-5)
        assert row[f"{name}_jsd"] == pytest.approx(np.mean(shapes), abs=1e-6)


def test_masked_letters_are_compared_by_their_likelihood(models, fasta):
    model = models["masked"]
    variants = [*snvs(10), ("chr1", 77, letter("chr1", 77, 2), rc(letter("chr1", 77, 2))[::-1])]
    table = model.variants([*variants, indels()[0]], fasta).table()
    for row, (contig, pos, _, alt) in zip(table.to_dict("records"), variants, strict=False):
        n, p = len(alt), pos - 1
        plus, minus = window(contig, p - 31), rc(window(contig, p + n - 33))
        found = []
        for text, changed in ((plus, alt), (minus, rc(alt))):
            ids = model.alphabet.encode(text).copy()
            ids[31 : 31 + n] = model.alphabet.mask_id
            logp = np.log(model.predict([ids])[0, 31 : 31 + n].astype(float))
            at = np.arange(n)
            own = model.alphabet.encode(text[31 : 31 + n])
            found.append((logp[at, model.alphabet.encode(changed)] - logp[at, own]).sum())
        assert row["llr"] == pytest.approx(np.mean(found), abs=1e-5)
    assert table["status"].tolist() == ["ok"] * len(variants) + ["indel"]


def test_a_causal_model_compares_whole_windows(models, fasta):
    model = models["causal"]
    for variant in (snvs(1)[0], indels()[0]):
        found = []
        for strand in "+-":
            for align in ("left", "right"):
                shown = model.alleles(*variant, fasta, strand=strand, align=align)
                values = []
                for text in shown:
                    p = np.log(model.predict([text])[0].astype(float))
                    ids = model.alphabet.encode(text)
                    values.append(p[np.arange(63), ids[1:]].sum())
                found.append(values[1] - values[0])
        got = model.variants([variant], fasta).table()["llr"][0]
        assert got == pytest.approx(np.mean(found), abs=1e-4)


def test_embeddings_are_compared(models, fasta):
    for task in ("multilabel", "masked"):
        scores = ["cosine", "l2"]
        table = models[task].variants(snvs(5), fasta, scores=scores).table()
        assert (table[scores] > 0).all(axis=None)
        assert (
            models[task]
            .variants([("chr1", 50, "A", "A")], fasta, ref_mismatch="use_vcf", scores=scores)
            .table()[scores]
            .abs()
            .max(axis=None)
            < 1e-6
        )


def test_an_allele_that_leaves_the_haplotype_as_it_is_scores_zero(models, fasta):
    same = [("chr1", 200, letter("chr1", 200, n), letter("chr1", 200, n)) for n in (1, 5)]
    table = models["multilabel"].variants(same, fasta).table()
    assert table["status"].eq("ok").all()
    assert table.filter(like="_diff").abs().max(axis=None) < 1e-6


def test_swapping_ref_and_alt_turns_the_sign_exactly(models, fasta):
    model, variants = models["multilabel"], [*snvs(20), *indels()]
    turned = [(c, p, a, r) for c, p, r, a in variants]
    scores = ["diff", "logit_diff", "ref", "alt", "abs"]
    here = model.variants(variants, fasta, scores=scores).table()
    there = model.variants(turned, fasta, scores=scores, ref_mismatch="swap").table()
    # a deletion turned over has a REF that begins as the genome does
    same = [len(r) <= len(a) for _, _, r, a in variants]
    assert (there["status"] == "swapped")[: len(snvs(20))].all()
    for name in model.targets.names:
        for score in ("diff", "logit_diff"):
            a, b = (x[f"{name}_{score}"][same] for x in (here, there))
            swapped = there["status"][same] == "swapped"
            assert np.array_equal(a[swapped], -b[swapped])
        assert np.array_equal(here[f"{name}_ref"][:20], there[f"{name}_alt"][:20])


def test_ref_of_the_file_is_put_into_the_genome(models, fasta, tmp_path):
    contig, pos, ref, alt = snvs(1)[0]
    new = other(ref, 2) if other(ref, 2) != alt else other(ref, 1)
    text = GENOME[contig]
    edited = tmp_path / "e.fa"
    edited.write_text(f">{contig}\n{text[: pos - 1]}{new}{text[pos:]}\n")
    model = models["regress"]
    indel = (contig, pos, new, new + "ACG")
    for variant in ((contig, pos, new, alt), indel):
        wanted = model.variants([variant], edited).table()["value_diff"][0]
        got = model.variants([variant], fasta, ref_mismatch="use_vcf").table()
        assert got["status"][0] == "vcf_ref"
        assert got["value_diff"][0] == pytest.approx(wanted, abs=1e-7)
    assert model.variants([indel], fasta).table()["status"][0] == "ref_mismatch"
    with pytest.raises(VariantError, match=f"{contig}:{pos} has REF {new}, the genome {ref}"):
        model.variants([indel], fasta, ref_mismatch="error").table()


def test_the_reverse_complement_of_the_genome_has_equal_scores(models, fasta, tmp_path):
    turned = tmp_path / "rc.fa"
    turned.write_text("".join(f">{n}\n{rc(s)}\n" for n, s in GENOME.items()))
    variants = [*snvs(20), ("chr1", 300, letter("chr1", 300, 3), "AAA"), *indels()]
    lifted = []
    for c, p, r, a in variants:
        end = len(GENOME[c]) - (p - 1)  # one past the last letter of REF, from 0
        start = end - len(r)
        lifted.append((c, start + 1, rc(r), rc(a)))
    model = models["multilabel"]
    here = model.variants(variants, fasta).table().filter(like="diff")
    there = model.variants(lifted, turned).table().filter(like="diff")
    assert np.allclose(here, there, atol=1e-6)


def test_bcftools_norm_changes_no_number(models, fasta, tmp_path):
    pysam.faidx(str(fasta))
    path = write_vcf(
        tmp_path / "in.vcf",
        [
            (
                "chr1",
                60,
                letter("chr1", 60),
                ",".join(x for x in "ACGT" if x != letter("chr1", 60)),
            ),
            (
                "chr1",
                100,
                letter("chr1", 100, 3),
                letter("chr1", 100) + "," + letter("chr1", 100, 3) + "TT",
            ),
            ("chr2", 512, letter("chr2", 512, 3), letter("chr2", 512)),
        ],
    )
    split = tmp_path / "split.vcf"
    bcftools.norm("-m-", "-f", str(fasta), "-o", str(split), str(path), catch_stdout=False)
    model = models["multilabel"]
    here, there = (model.variants(x, fasta).table() for x in (path, split))
    assert len(here) == len(there) == 6
    assert np.allclose(here.filter(like="diff"), there.filter(like="diff"), atol=1e-6)


def test_every_output_has_the_same_scores_and_vcf_keeps_every_other_byte(
    trained, fasta, tmp_path, capsys
):
    alts = "*,<DEL>,A]chr1:3],R,.," + other(letter("chrM", 262))
    records = [*sorted([*snvs(30), *snvs(4, "chrM")]), ("chrM", 262, letter("chrM", 262), alts)]
    path = write_vcf(tmp_path / "in.vcf", records)
    outs = [tmp_path / f"out.{x}" for x in ("tsv", "vcf", "vcf.gz", "bcf", "parquet")]
    run(trained, fasta, path, *outs)
    err = capsys.readouterr().err
    assert "40 inputs: 35 ok, 1 star, 1 symbolic, 1 breakend, 1 bad_letter, 1 no_alt" in err
    table = pd.read_csv(outs[0], sep="\t", keep_default_na=False, na_values=[""])
    frame = pd.read_parquet(outs[4])
    assert table["index"].tolist() == frame["index"].tolist() == [*range(34), *[34] * 6]
    names = [x for x in table.columns if x.endswith("diff")]
    assert np.allclose(table[names], frame[names], equal_nan=True)
    plain = outs[1].read_bytes()
    assert gzip.decompress(outs[2].read_bytes()) == plain
    kept = [
        b"\t".join([*x[:7], x[7].split(b";SM_")[0], *x[8:]])
        for x in (line.split(b"\t") for line in plain.splitlines())
        if len(x) > 7 and not x[0].startswith(b"#")
    ]
    own = [x for x in path.read_bytes().splitlines() if not x.startswith(b"#")]
    assert kept == own
    for out in outs[1:4]:
        with pysam.VariantFile(str(out)) as file:
            found = list(file)
        got = [v for x in found for v in x.info["SM_one_diff"]]
        got = [np.nan if v is None else v for v in got]
        assert np.allclose(got, table["one_diff"], atol=1e-6, equal_nan=True)
        assert [v for x in found for v in x.info["SM_STATUS"]] == table["status"].tolist()
    with pysam.TabixFile(str(outs[2])) as file:
        assert len(list(file.fetch("chrM"))) == 5


@pytest.mark.parametrize("n_parts", [3])
def test_parts_and_pieces_make_the_same_bytes(trained, fasta, tmp_path, n_parts):
    path = write_vcf(tmp_path / "in.vcf", [*snvs(50), *indels()])
    whole = [tmp_path / f"whole.{x}" for x in ("tsv", "vcf.gz", "bcf")]
    parts = [tmp_path / f"parts.{x}" for x in ("tsv", "vcf.gz", "bcf")]
    run(trained, fasta, path, *whole, chunk_rows=7)
    for k in range(n_parts, 0, -1):
        run(trained, fasta, path, *parts, chunk_rows=7, part=f"{k}/{n_parts}")
    assert [x.read_bytes() for x in whole] == [x.read_bytes() for x in parts]


def test_bcf_and_tables_and_stdin_are_read(trained, fasta, tmp_path, monkeypatch):
    records = sorted([*snvs(20), *indels()])
    vcf = write_vcf(tmp_path / "in.vcf", records)
    bcf = tmp_path / "in.bcf"
    bcftools.view("-Ob", "-o", str(bcf), str(vcf), catch_stdout=False)
    frame = pd.DataFrame(records, columns=["contig", "pos", "ref", "alt"])
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_csv(tmp_path / "in.tsv.gz", index=False, sep="\t")
    frame.to_parquet(tmp_path / "in.parquet")
    run(trained, fasta, vcf, tmp_path / "out.tsv")
    wanted = (tmp_path / "out.tsv").read_bytes()
    for name in ("in.bcf", "in.csv", "in.tsv.gz", "in.parquet"):
        out = tmp_path / f"{name}.tsv"
        run(trained, fasta, tmp_path / name, out, tmp_path / f"{name}.vcf")
        assert out.read_bytes() == wanted, name
        with pysam.VariantFile(str(tmp_path / f"{name}.vcf")) as file:
            assert len(list(file)) == len(records)
    with (tmp_path / "in.bcf").open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        run(trained, fasta, "-", tmp_path / "stdin.tsv")
    assert (tmp_path / "stdin.tsv").read_bytes() == wanted


def fixed_indel(at, n_deleted, inserted=""):
    """An indel that can be written at one place only, as (position from 0, deleted, inserted)."""
    text = GENOME["chr1"]
    for p in range(at, at + 50):
        unit = text[p : p + n_deleted] or inserted
        if text[p - 1] != unit[-1] and text[p + n_deleted] != unit[0]:
            return p
    raise AssertionError("no such place")


@pytest.mark.parametrize("kind", ["substitution", "deletion", "insertion"])
def test_scores_are_those_of_tangermeme(models, fasta, kind):
    from tangermeme import variant_effect as effects

    model, text, n = models["regress"], GENOME["chr1"], 3
    net, table = model.module("NAL"), model.alphabet.one_hot_table()
    p = fixed_indel(400, n if kind == "deletion" else 0, "GAT")
    alt = other(text[p])

    def one_hot(start, end, *, flip):
        sequence = rc(text[start:end]) if flip else text[start:end]
        return torch.from_numpy(table[model.alphabet.encode(sequence)]).T[None]

    found = []
    for flip in (False, True):
        for left in (False, True):
            if kind == "substitution":
                start = p - 32 if flip else p - 31
                base = model.alphabet.encode(rc(alt) if flip else alt)[0]
                x = one_hot(start, start + 64, flip=flip)
                y = effects.substitution_effect(net, x, torch.tensor([[0, 31, int(base)]]))
            elif kind == "deletion":
                start = p + n - 33 if flip else p - 31  # of the REF window
                more = (n, 0) if left != flip else (0, n)
                x = one_hot(start - more[0], start + 64 + more[1], flip=flip)
                first = 31 + n * left
                rows = torch.tensor([[0, first + i] for i in range(n)])
                y = effects.deletion_effect(net, x, rows, left=left)
            else:
                start = p - 33 if flip else p - 31
                bases = model.alphabet.encode(rc("GAT") if flip else "GAT")[::-1]
                rows = torch.tensor([[0, 31, int(b)] for b in bases])
                x = one_hot(start, start + 64, flip=flip)
                y = effects.insertion_effect(net, x, rows, left=left)
            found.append(float(y[1] - y[0]))
    record = {
        "substitution": ("chr1", p + 1, text[p], alt),
        "deletion": ("chr1", p, text[p - 1 : p + n], text[p - 1]),
        "insertion": ("chr1", p, text[p - 1], text[p - 1] + "GAT"),
    }[kind]
    got = model.variants([record], fasta).table()["value_diff"][0]
    assert got == pytest.approx(np.mean(found), abs=1e-6)


def test_a_background_gives_quantiles_of_matched_snvs(models, fasta):
    model = models["regress"]
    text = GENOME["chr1"]
    places = [i for i in range(100, 800) if text[i - 1 : i + 2] in ("ACG", "TCA")]
    variants = [("chr1", i + 1, "C", "T" if text[i - 1] == "A" else "G") for i in places]
    table = model.variants(variants, fasta, background=12).table()
    assert list(table.columns)[-2:] == ["value_diff", "value_diff_quantile"]
    store = SequenceStore.open([fasta], model.alphabet, quiet=True)
    contig, pos = np.zeros(len(places), dtype=np.int64), np.array(places)
    bases = model.alphabet.encode("".join(x[3] for x in variants))
    one = np.ones(len(pos), dtype=np.int64)
    given = Alleles(contig, pos, one, one, np.arange(len(pos)), bases)
    drawn = random_snvs(store, 4, given, 12, 64)
    names, letters = [store.names[i] for i in drawn.contig], model.alphabet.decode(drawn.bases)
    found = list(zip(names, drawn.pos.tolist(), letters, strict=True))
    kinds = {(GENOME[c][p - 1 : p + 2], b) for c, p, b in found}
    assert kinds == {("ACG", "T"), ("TCA", "G")}
    records = [(c, p + 1, GENOME[c][p], b) for c, p, b in found]
    scores = model.variants(records, fasta).table()["value_diff"].to_numpy()
    assert len(scores) == 12
    for own, quantile in zip(table["value_diff"], table["value_diff_quantile"], strict=True):
        wanted = ((scores < own - 1e-9).mean() + (scores <= own + 1e-9).mean()) / 2
        assert quantile == pytest.approx(wanted, abs=0.05)
