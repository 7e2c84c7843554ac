"""All verbs on a network that seqmodel did not train, against the bare network called by hand."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.special import softmax
from tangermeme.deep_lift_shap import deep_lift_shap
from tangermeme.ersatz import dinucleotide_shuffle
from variant_cases import GENOME, letter, other, rc, write_fasta, write_vcf
from wrapped_net import Ids, L, Net, Profile, ProfileOfRows, Rows, made

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import HparamError, ModelError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
NAMES = ["open", "bound"]
WINDOWS = [("chr1", 100, "+"), ("chr2", 203, "-"), ("chr1", 500, "-"), ("chrM", 7, "+")]
SNVS = [("chr1", p, letter("chr1", p), other(letter("chr1", p))) for p in (90, 203, 400)]
INDELS = [("chr1", 300, letter("chr1", 300, 4), letter("chr1", 300)),
          ("chr1", 350, letter("chr1", 350), letter("chr1", 350) + "GATTA")]  # fmt: skip
CASES = {
    "NAL-regress": (Net, {"letters": "TGCA"}),
    "NLA-classify": (Rows, {"layout": "NLA", "letters": "GATC", "task": "classify"}),
    "ids-regress": (Ids, {"layout": "NL", "letters": "..NTGAC."}),
    "NAL-profile": (Profile, {"task": "profile", "bin_len": 4, "letters": "CGTA"}),
    "NLA-profile": (ProfileOfRows, {"layout": "NLA", "task": "profile", "bin_len": 4}),
}
READS_IDS = "ids-regress"
KNOWN_LIMIT = "ignore:.*contributions differ from the difference"  # of methods, behind a maximum


def case_of(name):
    """The bare network, the options, how it reads texts, and the wrapped model."""
    cls, options = CASES[name]
    net, letters = made(cls), options.get("letters", "ACGT")
    layout = options.get("layout", "NAL")

    def read(texts):
        ids = torch.tensor([[letters.index(c) for c in text] for text in texts])
        if layout == "NL":
            return ids
        rows = torch.nn.functional.one_hot(ids, 4).float()
        return rows.mT if layout == "NAL" else rows

    def logits(texts):
        with torch.no_grad():
            return net(read(texts)).double().numpy()

    task = options.get("task", "regress")
    shown = {"regress": lambda x: x, "profile": np.exp, "classify": lambda x: softmax(x, -1)}[task]
    return SimpleNamespace(
        name=name, net=net, cls=cls, letters=letters, layout=layout, read=read, logits=logits,
        task=task, predict=lambda texts: shown(logits(texts)),
        score=lambda texts: np.log(np.exp(logits(texts)).sum(1)) if task == "profile"
        else logits(texts),
        model=seqmodel.wrap(net, seq_len=L, targets=NAMES, **options),
    )  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return case_of(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A genome, intervals, a table and variants."""
    found = tmp_path_factory.mktemp("inputs")
    write_fasta(found / "g.fa")
    bed = [f"{c}\t{s}\t{s + L}\tw{i}\t0\t{x}\n" for i, (c, s, x) in enumerate(WINDOWS)]
    (found / "g.bed").write_text("".join(bed))
    (found / "t.csv").write_text("\n".join(["sequence", *texts()]) + "\n")
    write_vcf(found / "v.vcf", [*SNVS, *INDELS])
    return found


def texts():
    cut = [(GENOME[c][s : s + L], strand) for c, s, strand in WINDOWS]
    return [rc(x) if strand == "-" else x for x, strand in cut]


def by_hand(compare, variant):
    """Mean over strands, and flanks of indels, of what `compare` makes of the two windows."""
    contig, pos, ref, alt = variant
    skip = 0 if len(ref) == len(alt) else 1  # the base that REF and ALT begin with
    at, gone, new = pos - 1 + skip, ref[skip:], alt[skip:]
    found = []
    for text, i, old, put in (
        (GENOME[contig], at, gone, new),
        (rc(GENOME[contig]), len(GENOME[contig]) - at - len(gone), rc(gone), rc(new)),
    ):
        start = i - (L - 1) // 2
        window = text[start : start + L]
        assert text[i : i + len(old)] == old
        changed, shift = text[:i] + put + text[i + len(old) :], len(put) - len(old)
        alts = [changed[start : start + L], changed[start + shift : start + shift + L]]
        found.append(np.mean([compare(window, x) for x in alts], 0))
    return np.mean(found, 0)


def effect(case, ref, alt):
    """The default score of each target of a pair of windows."""
    a, b = case.predict([ref, alt])
    return np.log2(b.sum(0) / a.sum(0)) if case.task == "profile" else b - a


def effects(case, variants):
    return np.array([by_hand(lambda r, a: effect(case, r, a), x) for x in variants])


def mutants(text):
    return [text[:i] + x + text[i + 1 :] for i in range(L) for x in "ACGT"]


def ism(case, text):
    """Scores with each letter at each position less their mean there, [A, L, T]."""
    found = case.score(mutants(text)).reshape(L, 4, 2)
    return (found - found.mean(1, keepdims=True)).swapaxes(0, 1)


def scores_of_one_hot(case, x):
    """Scores of the bare network for one-hot rows [N, 4, L] in the order ACGT."""
    x = x[:, ["ACGT".index(c) for c in case.letters]]
    y = case.net(x if case.layout == "NAL" else x.mT)
    return y.exp().sum(1).log() if case.task == "profile" else y


def gradients(case, x):
    """Gradients of the second score, [N, 4, L]."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(scores_of_one_hot(case, x)[:, 1].sum(), x)[0]


def one_hot(lines):
    return torch.tensor([[[float(c == x) for c in text] for x in "ACGT"] for text in lines])


# from Python


def test_predict_reads_sequences_intervals_and_tables(case, folder):
    wanted = case.predict(texts())
    np.testing.assert_allclose(case.model.predict(texts()), wanted, rtol=1e-5, atol=1e-6)
    files = {"fasta": folder / "g.fa", "intervals": folder / "g.bed"}
    if case.task == "profile":  # bins have no columns
        with pytest.raises(HparamError, match="one value for each position or bin"):
            case.model.predict(**files)
        return
    for found in (case.model.predict(**files), case.model.predict(table=folder / "t.csv")):
        np.testing.assert_allclose(found[NAMES].to_numpy(), wanted, rtol=1e-5, atol=1e-6)
        assert list(found.status) == ["ok"] * 4


def test_embed_gives_the_outputs_or_a_layer(case):
    found = case.model.embed(texts())
    outputs = case.logits(texts())
    wanted = outputs.mean(1) if outputs.ndim == 3 else outputs
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    name = (
        "conv" if case.task == "profile" else {"Ids": "net.trunk"}.get(case.cls.__name__, "trunk")
    )
    kept = []
    layer = dict(case.net.named_modules())[name]
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    case.logits(texts())
    handle.remove()
    wanted = kept[0].detach().amax(-1).numpy()  # [N, C, L']
    np.testing.assert_allclose(case.model.embed(texts(), "max", layer=name), wanted, rtol=1e-5)


def test_alleles_and_variants_are_those_of_windows_by_hand(case, folder):
    fasta = folder / "g.fa"
    contig, pos, ref, alt = SNVS[0]
    start = pos - 1 - (L - 1) // 2
    windows = case.model.alleles(contig, pos, ref, alt, fasta=fasta)
    assert windows.ref == GENOME[contig][start : start + L]
    assert windows.alt == windows.ref[: (L - 1) // 2] + alt + windows.ref[(L - 1) // 2 + 1 :]
    found = case.model.variants([*SNVS, *INDELS], fasta=fasta).table()
    score = "log2fc" if case.task == "profile" else "diff"
    values = found[[f"{x}_{score}" for x in NAMES]].to_numpy()
    np.testing.assert_allclose(values, effects(case, [*SNVS, *INDELS]), rtol=1e-3, atol=1e-5)
    more = case.model.variants(SNVS, fasta=fasta, scores=["abs", "l2", "cosine"]).table()
    assert np.isfinite(more[[f"{x}_abs" for x in NAMES] + ["l2", "cosine"]].to_numpy()).all()


def test_mutagenesis_is_by_forward_passes_of_the_network(case):
    found = case.model.attribute(texts()[:2], method="ism", target="all")
    wanted = np.stack([ism(case, x) for x in texts()[:2]])
    for i, name in enumerate(NAMES):
        of = found.target(name)
        np.testing.assert_allclose(of.hypothetical, wanted[..., i], rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings(KNOWN_LIMIT)
@pytest.mark.parametrize("method", ["gradient", "input_x_gradient", "integrated_gradients"])
def test_gradients_are_those_of_the_network(case, method):
    if case.name == READS_IDS:
        with pytest.raises(ModelError, match="Ids reads ids, which have no gradient; use .* ism"):
            case.model.attribute(texts(), method=method, target="bound")
        return
    found = case.model.attribute(texts(), method=method, target="bound")
    x = one_hot(texts())
    if method == "integrated_gradients":
        base = torch.full_like(x, 0.25)
        nodes, weights = np.polynomial.legendre.leggauss(64)
        nodes = zip((nodes + 1) / 2, weights / 2, strict=True)
        wanted = sum(w * gradients(case, base + t * (x - base)) for t, w in nodes)
        wanted = wanted - (base * wanted).sum(1, keepdim=True)
    else:
        wanted = gradients(case, x)
        wanted = wanted - wanted.mean(1, keepdim=True) if method == "gradient" else wanted
    np.testing.assert_allclose(found.hypothetical, wanted.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings(KNOWN_LIMIT, "ignore:Convergence deltas are")
def test_deeplift_is_that_of_tangermeme_on_the_network(case):
    if case.name == READS_IDS:
        with pytest.raises(ModelError, match="Ids reads ids, which have no gradient; use .* ism"):
            case.model.attribute(texts(), method="deeplift", target="bound")
        return
    found = case.model.attribute(texts(), method="deeplift", target="bound")
    assert found.deltas.shape == (4, 1)
    x = one_hot(texts())

    class Bare(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = case.net

        def forward(self, x):
            return scores_of_one_hot(case, x)

    shuffles = [  # one of each seed
        torch.cat([dinucleotide_shuffle(row[None], n=1, random_state=i)[:, 0] for i in range(20)])
        for row in x
    ]
    wanted = deep_lift_shap(
        Bare().eval(), x, target=1, references=torch.stack(shuffles), device="cpu",
        hypothetical=True, warning_threshold=torch.inf,
    )  # fmt: skip
    np.testing.assert_allclose(found.hypothetical, wanted.numpy(), rtol=1e-3, atol=1e-5)


def test_module_is_the_network_in_the_order_of_the_alphabet(case):
    x = one_hot(texts())
    for layout, y in (("NAL", x), ("NLA", x.mT), ("NL", x.argmax(1))):
        found = case.model.module(layout)(y).detach().numpy()
        np.testing.assert_allclose(found, case.logits(texts()), rtol=1e-5, atol=1e-6)
    one = case.model.module(target="bound")(x).detach().numpy()
    np.testing.assert_allclose(one[..., 0], case.logits(texts())[..., 1], rtol=1e-5, atol=1e-6)


# from the command line, after save


def verb(folder, *words, expect=0):
    """What `seqmodel ...` prints on stdout, or the last line of its errors."""
    out, errors = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(errors):
        code = main([str(x) for x in words])
    assert code == expect, errors.getvalue()
    assert "Traceback" not in errors.getvalue()
    return errors.getvalue().splitlines()[-1] if expect else out.getvalue()


@pytest.fixture(scope="module", params=["NAL-regress", "NLA-profile"])
def saved(request, folder):
    found = case_of(request.param)
    found.path = f"{request.param}.ckpt"
    found.model.save(folder / found.path, plugin=f"wrapped_net:{found.cls.__name__}")
    found.words = [f"--checkpoints={found.path}", "--plugins=wrapped_net", "--accelerator=cpu"]
    return found


def test_predict_embed_and_merge_from_the_command_line(saved, folder):
    words = [*saved.words, "--table=t.csv", "--chunk_rows=1"]
    out = f"{saved.name}.npz"
    verb(folder, "predict", *words, f"--out={out}")
    found = np.load(folder / out)["predictions"]
    np.testing.assert_allclose(found, saved.predict(texts()), rtol=1e-5, atol=1e-6)
    for k in (1, 2):
        verb(folder, "predict", *words, f"--out=two-{out}", f"--part={k}/2")
    verb(folder, "merge", f"two-{out}.parts")
    np.testing.assert_array_equal(np.load(folder / f"two-{out}")["predictions"], found)
    verb(folder, "embed", *words, f"--out=embed-{out}")
    outputs = saved.logits(texts())
    wanted = outputs.mean(1) if outputs.ndim == 3 else outputs
    found = np.load(folder / f"embed-{out}")["embeddings"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_variants_from_the_command_line(saved, folder):
    words = [*saved.words, "--fasta=g.fa", "--variants=v.vcf"]
    out = f"{saved.name}.tsv"
    verb(folder, "variants", *words, f"--out={out}")
    score = "log2fc" if saved.task == "profile" else "diff"
    with (folder / out).open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = [[float(row[f"{x}_{score}"]) for x in NAMES] for row in rows]
    np.testing.assert_allclose(found, effects(saved, [*SNVS, *INDELS]), rtol=1e-3, atol=1e-5)


def test_attribute_from_the_command_line(saved, folder):
    words = [*saved.words, "--table=t.csv", "--target=bound", "--plot=1", "--effects"]
    verb(folder, "attribute", *words, f"--out=a-{saved.name}")
    wanted = np.stack([ism(saved, x)[..., 1] for x in texts()])
    found = np.load(folder / f"a-{saved.name}.hypothetical.npz")["arr_0"]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)
    with gzip.open(folder / f"a-{saved.name}.effects.tsv.gz", "rt") as file:
        assert sum(1 for _ in file) == 1 + 4 * L * 3
    assert (folder / f"a-{saved.name}.html").is_file()


def test_describe_and_export_from_the_command_line(saved, folder):
    found = json.loads(verb(folder, "describe", saved.path, "--json"))
    assert (found["seq_len"], found["targets"]["names"]) == (L, NAMES)
    assert (found["contigs"], list(found["plugins"])) == (None, ["wrapped_net"])
    assert found["hparams"]["wrapped_module"] == f"wrapped_net:{saved.cls.__name__}"
    to = [f"--to={saved.name}.{x}" for x in ("onnx", "pt2", "folder")]
    # in a process of its own: here all shapes are checked, which torch cannot trace
    run = [sys.executable, "-m", "seqmodel", "export", *saved.words, *to]
    subprocess.run(run, cwd=folder, env={**os.environ, "PYTHONPATH": str(HERE)}, check=True)
    x = one_hot(texts())
    wanted = saved.predict(texts())
    session = onnxruntime.InferenceSession(folder / f"{saved.name}.onnx")
    found = session.run(None, {"sequence": x.numpy()})[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    program = torch.export.load(folder / f"{saved.name}.pt2").module()
    np.testing.assert_allclose(program(x).detach().numpy(), wanted, rtol=1e-4, atol=1e-6)
    weights = f"--checkpoints={saved.name}.folder/model.safetensors"
    words = [weights, "--plugins=wrapped_net", "--table=t.csv", "--accelerator=cpu"]
    verb(folder, "predict", *words, f"--out=folder-{saved.name}.npz")
    found = np.load(folder / f"folder-{saved.name}.npz")["predictions"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_what_a_wrapped_network_cannot_do_is_one_line(folder):
    case = case_of(READS_IDS)
    case.model.save(folder / "ids.ckpt", plugin="wrapped_net:Ids")
    words = ["--checkpoints=ids.ckpt", "--plugins=wrapped_net", "--accelerator=cpu"]
    words += ["--table=t.csv"]
    for method in ("gradient", "integrated_gradients", "deeplift"):
        more = [f"--method={method}", "--target=bound", f"--out=ids-{method}"]
        line = verb(folder, "attribute", *words, *more, expect=2)
        assert "Ids reads ids, which have no gradient" in line
    line = verb(folder, "motifs", *words, "--out=a.meme", expect=2)
    assert "a Conv1d of one-hot input with 8 channels and without dilation; Ids has none" in line


def test_a_filter_that_reads_a_motif_is_a_motif_in_the_order_of_the_alphabet(folder):
    net, motif = made(Net), "GATTC"
    net.trunk[0].weight.data[2] = one_hot([motif])[0][["ACGT".index(x) for x in "TGCA"]]
    model = seqmodel.wrap(net, seq_len=L, targets=NAMES, letters="TGCA")
    model.save(folder / "motif.ckpt", plugin="wrapped_net:Net")
    words = ["--checkpoints=motif.ckpt", "--plugins=wrapped_net", "--accelerator=cpu"]
    (folder / "m.csv").write_text(f"sequence\n{'C' * 20}{motif}{'C' * 15}\n")
    verb(folder, "motifs", *words, "--table=m.csv", "--out=m.meme")
    lines = (folder / "m.meme").read_text().split("MOTIF filter_2\n")[1].splitlines()[1:6]
    shares = np.array([[float(x) for x in line.split()] for line in lines])
    assert "".join("ACGT"[i] for i in shares.argmax(1)) == motif
