"""Contributions of letters: laws of the methods, and what other tools make of them."""

import json
import os
import shutil
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyBigWig
import pytest
import torch
from ism_cases import ENCODERS, SMALL, network_of, padded
from model_cases import DNA, tokens_of
from task_cases import TWO_CLASSES

import seqmodel
from seqmodel.cli import main
from seqmodel.errors import HparamError, SequenceError
from seqmodel.hparam.model import CnnHparams, ConvLstmHparams, TransformerHparams
from seqmodel.hparam.task import ClassifyHparams
from seqmodel.infer.attribute import METHODS, Attributor
from seqmodel.infer.model import Logits

MOTIF = "TGACTCAT"


class LinearEncoder(torch.nn.Module):
    """One number a letter and position, that the decoder adds up."""

    stride, reach, symmetric, n_out = 1, None, False, 1

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, x, pad=None):
        x = x if x.is_floating_point() else torch.eye(7)[:, :4][x.long()]
        return (x * self.weights[: x.shape[1]]).sum(2, keepdim=True)

    def out_pad(self, pad):
        return pad


def linear_network(length=12):
    """f(x) = the sum of one weight for each letter and position."""
    network = network_of(TransformerHparams(n_layers=1, n_heads=2, **SMALL))
    task = network.tasks[0]
    weights = torch.randn(length, 4, generator=torch.Generator().manual_seed(3))
    task.encoder = LinearEncoder(weights)
    head = torch.nn.Linear(1, 2, bias=False)
    torch.nn.init.constant_(head.weight, float(length))
    task.decoder = SimpleDecoder(head)
    return network, weights.numpy()


class SimpleDecoder(torch.nn.Module):
    per_position = False

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, encoded, pad=None):
        return self.head(encoded.mean(1))


def attributor(network, method, target="coding", length=64, **more):
    names = TWO_CLASSES.names
    how = {"target": target, "method": method, "batch_size": 16, "length": length, **more}
    return Attributor(network, DNA, names, **how)


def by(network, method, ids, pad=None, **more):
    found = attributor(network, method, length=ids.shape[1], **more)
    return found(ids.numpy(), None if pad is None else pad.numpy())


def test_of_a_linear_model_every_method_gives_its_weights():
    network, weights = linear_network()
    ids = tokens_of(3, 12)
    centred = weights - weights.mean(1, keepdims=True)
    for method in METHODS:
        more = {"baseline": "uniform"} if method == "deeplift" else {}
        found = by(network, method, ids, **more)
        expected = weights if method == "input_x_gradient" else centred
        for row in found.hypothetical:
            np.testing.assert_allclose(row.T, expected, atol=1e-5, err_msg=method)
    there = np.take_along_axis(centred[None], ids.long().numpy()[:, :, None], 2)[:, :, 0]
    np.testing.assert_allclose(by(network, "ism", ids).contributions, there, atol=1e-5)
    effects = by(network, "ism", ids).effects
    np.testing.assert_allclose(effects[0].T, weights - weights[range(12), ids[0].long()][:, None],
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize(
    "baseline", ["uniform", "zeros", pytest.param("shuffled", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("encoder", ["transformer", "dilated_conv", "cnn", "cnn-rc"])
def test_integrated_gradients_sum_up_to_the_difference_from_the_baseline(encoder, baseline):
    transformer = TransformerHparams(n_layers=1, n_heads=2, **SMALL)
    network = network_of(ENCODERS.get(encoder, transformer))
    ids, pad = padded(32)
    found = by(network, "integrated_gradients", ids, pad, baseline=baseline)
    if baseline != "shuffled":
        base = torch.zeros(3, 32, 4)
        base[~pad] = 0.25 if baseline == "uniform" else 0.0
        with torch.no_grad():
            difference = (network(ids, pad) - network(base, pad))[:, 1].numpy()
        scale = 0.02 * np.abs(difference).max() + 1e-3  # ReLU has kinks, the integral few points
        np.testing.assert_allclose(found.contributions.sum(1), difference, atol=scale)
    assert found.deltas.shape == (3, 1)
    assert found.deltas.max() < 0.05


@pytest.mark.parametrize("encoder", ["dilated_conv", "dilated_conv-rc", "cnn", "cnn-rc", "average"])
def test_deeplift_sums_up_to_the_difference_from_the_baseline(encoder):
    hparams = ClassifyHparams(average_strands=encoder == "average")
    network = network_of(ENCODERS.get(encoder, ENCODERS["cnn"]), None, hparams)
    ids, pad = padded(32)
    found = by(network, "deeplift", ids, pad, baseline="zeros")
    with torch.no_grad():
        base = torch.zeros(3, 32, 4)
        difference = (network(ids, pad) - network(base, pad))[:, 1].numpy()
    spread = np.abs(difference).max()
    np.testing.assert_allclose(found.contributions.sum(1), difference, atol=1e-2 * spread)
    assert found.deltas.max() <= 1e-2 * spread
    assert not np.isnan(found.all_hypothetical).any()


def test_deeplift_is_that_of_tangermeme():
    from tangermeme.deep_lift_shap import deep_lift_shap

    network = network_of(ENCODERS["dilated_conv"])
    ids = tokens_of(2, 40)
    found = by(network, "deeplift", ids)
    x = torch.eye(4)[ids.long()].mT.contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = deep_lift_shap(
            Logits(network, "NAL", 1), x, hypothetical=True, random_state=0, device="cpu"
        )
    np.testing.assert_allclose(found.hypothetical, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("encoder", ["dilated_conv", "cnn", "transformer-window"])
def test_mutagenesis_is_that_of_tangermeme(encoder):
    from tangermeme.saturation_mutagenesis import saturation_mutagenesis

    network = network_of(ENCODERS[encoder])
    ids = tokens_of(2, 64)
    x = torch.eye(4)[ids.long()].mT.contiguous()
    expected = saturation_mutagenesis(
        Logits(network, "NAL", 1), x, target=0, hypothetical=True, fast=False, device="cpu"
    )
    found = by(network, "ism", ids)
    np.testing.assert_allclose(found.hypothetical, expected.numpy(), atol=2e-5)


def test_a_delta_that_is_large_is_warned_of():
    network = network_of(ConvLstmHparams(n_layers=1, pool_size=2, **SMALL))
    with torch.no_grad():
        for x in network.parameters():
            x.mul_(4)
    found = attributor(network, "deeplift", length=40, baseline="zeros")
    found(tokens_of(2, 40).numpy(), None)
    with pytest.warns(
        UserWarning, match="deeplift: contributions differ from the difference of scores"
    ):
        found.warn()


def test_rows_with_unknown_letters_are_left_out_and_padding_has_no_contribution():
    network = network_of(ENCODERS["cnn"])
    ids, pad = padded(64)
    ids[0, 5] = DNA.unknown_id
    for method in METHODS:
        found = by(network, method, ids, pad)
        assert (found.rows, found.left_out) == ([1, 2], [0])
        assert found.one_hot.shape == found.hypothetical.shape == (2, 4, 64)
        assert not found.hypothetical[0, :, 61:].any()
        assert not found.one_hot[0, :, 61:].any()
        assert found.hypothetical[0, :, :61].any()
        np.testing.assert_allclose(found.scores[:, 0], network(ids, pad)[1:, 1].detach(), atol=1e-5)


def test_all_targets_are_those_of_each():
    network = network_of(ENCODERS["cnn"])
    ids = tokens_of(2, 40)
    for method in ("ism", "gradient", "integrated_gradients"):
        both = by(network, method, ids, target="all")
        for name in TWO_CLASSES.names:
            one = by(network, method, ids, target=name)
            np.testing.assert_allclose(both.target(name).hypothetical, one.hypothetical, atol=1e-6)
        with pytest.raises(HparamError, match="there are 2 targets; select one, such as .target"):
            _ = both.hypothetical


def test_what_cannot_be_explained_is_refused(trained):
    model = seqmodel.load(trained.best("masked"))
    with pytest.raises(HparamError, match="single positions and has no targets"):
        model.attribute(["ACGT"])
    model = seqmodel.load(trained.best("multilabel"))
    with pytest.raises(HparamError, match=r"2 targets \(one, two\); set target to one of them"):
        model.attribute(["ACGT"])
    for how, says in (
        ({"target": "three"}, "no target 'three'; the targets are one, two"),
        ({"method": "magic"}, "magic"),
        ({"baseline": "zeros"}, "baseline"),
    ):
        with pytest.raises(HparamError, match=says):
            model.attribute(["ACGT"], **{"target": "one", **how})
    with pytest.raises(HparamError, match="either sequences or files"):
        model.attribute()
    with pytest.raises(SequenceError, match="row 1: length 70"):
        model.attribute(["ACGT", "A" * 70], target="one")


@pytest.mark.parametrize("task", ["classify", "regress", "multilabel", "profile"])
def test_a_loaded_model_explains_its_predictions(trained, task):
    model = seqmodel.load(trained.best(task))
    texts = [*trained.sequences[:2], "ACGTN", trained.sequences[2][:40]]
    target = model.targets.names[-1]
    found = model.attribute(texts, target=target)
    assert (found.rows, found.left_out) == ([0, 1, 3], [2])
    kept = [texts[i] for i in found.rows]
    logits = model.predict(kept, logits=True)[..., -1]
    scores = np.log(np.nansum(np.exp(logits), 1)) if task == "profile" else logits
    np.testing.assert_allclose(found.scores[:, 0], scores, rtol=1e-4, atol=1e-5)
    changed = kept[0][:7] + ("A" if kept[0][7] != "A" else "C") + kept[0][8:]
    other = model.attribute([changed], target=target).scores[0, 0]
    letter = "ACGT".index(changed[7])
    np.testing.assert_allclose(found.effects[0, letter, 7], other - scores[0], atol=1e-5)


def planted(n=60, length=64, seed=0):
    """Random sequences, half of them with a motif; where it is."""
    rng = np.random.default_rng(seed)
    rows, at = [], []
    for i in range(n):
        x = "".join(rng.choice(list("ACGT"), length))
        start = int(rng.integers(5, length - 15))
        rows.append(x[:start] + MOTIF + x[start + len(MOTIF) :] if i % 2 else x)
        at.append(start)
    return rows, at


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    """The best checkpoint of a run that has learned the motif; it is small."""
    folder = tmp_path_factory.mktemp("finder")
    for split, n, seed in (("train", 1500, 1), ("valid", 200, 2), ("test", 100, 3)):
        rows, _ = planted(n, seed=seed)
        lines = [f"{x},{'with' if i % 2 else 'without'}" for i, x in enumerate(rows)]
        (folder / f"{split}.csv").write_text("\n".join(["sequence,label", *lines]) + "\n")
    run = seqmodel.train(
        task="classify",
        dataset="table",
        **{f"{x}_files": [str(folder / f"{x}.csv")] for x in ("train", "valid", "test")},
        class_names=["without", "with"],
        encoder="cnn",
        n_layers=1,
        n_dims=16,
        first_kernel_size=9,
        pool_size=4,
        pool="mean",
        dropout=0.0,
        lr=0.01,
        batch_size=50,
        max_epochs=12,
        accelerator="cpu",
        progress="none",
        default_root_dir=str(folder / "run"),
    )
    assert run.metrics["test_auroc"] > 0.9
    return folder / "run/checkpoints/best.ckpt"


@pytest.mark.parametrize("method", METHODS)
def test_the_positions_of_a_planted_motif_rank_first(finder, method):
    """Its letters are among the 5 % of all letters with the largest contributions."""
    rows, at = planted(40, seed=4)
    found = seqmodel.load(finder).attribute(rows[1::2], method=method, target="with")
    values = found.contributions
    inside = np.zeros(values.shape, dtype=bool)
    for row, start in enumerate(at[1::2]):
        inside[row, start : start + len(MOTIF)] = True
    # eight of 64 letters are of the motif: the best five of 64 must be
    best = np.argsort(-values, axis=1)[:, : round(0.05 * values.shape[1])]
    assert np.take_along_axis(inside, best, 1).mean() > 0.9


def write_genome(folder, n=60, seed=5):
    """A FASTA file and windows of 64 letters on both strands, two of which reach over its ends."""
    rows, at = planted(n, seed=seed)
    (folder / "g.fa").write_text(
        f">c1\n{''.join(rows[: n // 2])}\n>c2\n{''.join(rows[n // 2 :])}\n"
    )
    lines = []
    for i in range(n):
        contig, start = ("c1", i) if i < n // 2 else ("c2", i - n // 2)
        lines.append(f"{contig}\t{start * 64}\t{start * 64 + 64}\tw{i}\t0\t{'+-'[i // 7 % 2]}\n")
    lines.append("c1\t1880\t1944\tend\t0\t+\n")
    (folder / "g.bed").write_text("".join(lines))
    return rows, at


def run(finder, *more):
    return main(["attribute", f"--checkpoints={finder}", "--fasta=g.fa", "--intervals=g.bed",
                 "--target=with", "--out=x", *more])  # fmt: skip


def test_the_verb_writes_what_the_call_gives(finder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows, _ = write_genome(tmp_path)
    assert run(finder, "--effects", "--bigwig", "--plot=2", "--chunk_rows=7") == 0
    assert "61 inputs: 60 ok, 1 padded" in capsys.readouterr().err
    one_hot, values = np.load("x.ohe.npz")["arr_0"], np.load("x.hypothetical.npz")["arr_0"]
    assert one_hot.shape == values.shape == (61, 4, 64)
    assert one_hot.dtype == values.dtype == np.float32
    model = seqmodel.load(finder)
    found = model.attribute(fasta=["g.fa"], intervals="g.bed", target="with")
    np.testing.assert_allclose(found.hypothetical, values, atol=1e-5)
    np.testing.assert_array_equal(found.one_hot, one_hot)
    same = model.attribute(rows[:7], target="with")
    np.testing.assert_allclose(same.hypothetical, values[:7], atol=1e-5)
    bed = [x.split("\t") for x in Path("x.bed").read_text().splitlines()]
    assert bed[8][:6] == ["c1", "512", "576", "w8", "0", "-"]
    assert bed[60][:4] == ["c1", "1880", "1920", "end"]
    np.testing.assert_allclose([float(x[6]) for x in bed], found.scores[:, 0], rtol=1e-4)
    says = json.loads(Path("x.attribute.json").read_text())
    assert (says["n_sequences"], says["n_left_out"], says["left_out"]) == (61, 0, [])
    assert says["local"] is True
    assert ET.parse("x.0.svg").getroot().tag.endswith("svg")
    assert "<script" not in Path("x.html").read_text()


def test_tracks_and_effects_are_on_the_plus_strand(finder, tmp_path, monkeypatch):
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    write_genome(tmp_path)
    assert run(finder, "--effects", "--bigwig") == 0
    found = seqmodel.load(finder).attribute(fasta=["g.fa"], intervals="g.bed", target="with")
    genome = dict(x.split("\n", 1) for x in Path("g.fa").read_text().split(">")[1:])
    text = {k: v.replace("\n", "") for k, v in genome.items()}
    with pyBigWig.open("x.bw") as track:
        np.testing.assert_allclose(track.values("c1", 512, 576), found.contributions[8][::-1],
                                   atol=1e-5)  # fmt: skip
        overlap = (found.contributions[29][24:] + found.contributions[60][:40]) / 2
        np.testing.assert_allclose(track.values("c1", 1880, 1920), overlap, atol=1e-5)
    table = pd.read_csv("x.effects.tsv.gz", sep="\t")
    assert len(table) == 3 * (60 * 64 + 40)
    for row in table.sample(200, random_state=0).itertuples():
        assert text[row.contig][row.pos - 1] == row.ref
        letter = row.alt if row.index in range(7) else None
        if letter is not None:
            effect = found.effects[row.index, "ACGT".index(letter), row.position]
            assert row.effect == pytest.approx(effect, abs=1e-5)
    turned = table[table["index"] == 8].iloc[0]
    complement = dict(zip("ACGT", "TGCA", strict=True))
    assert (turned.pos, turned.position) == (576, 0)
    expected = found.effects[8, "ACGT".index(complement[turned.alt]), 0]
    assert turned.effect == pytest.approx(expected, abs=1e-5)


def test_parts_of_several_processes_and_a_repeated_command_give_the_same_bytes(
    finder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_genome(tmp_path)
    names = ("x.ohe.npz", "x.hypothetical.npz", "x.bed", "x.attribute.json")
    assert run(finder, "--chunk_rows=9") == 0
    once = [Path(x).read_bytes() for x in names]
    assert run(finder, "--chunk_rows=9", "--plot=1") == 0  # drawn without a second computation
    assert (tmp_path / "x.html").exists()
    for name in os.listdir():
        if name.startswith("x."):
            (shutil.rmtree if name.endswith(".parts") else os.unlink)(name)
    for k in (2, 1, 3):
        assert run(finder, "--chunk_rows=9", f"--part={k}/3") == 0
    assert [Path(x).read_bytes() for x in names] == once


@pytest.mark.filterwarnings("always:.*overlap the training data of the model")
def test_inputs_of_the_training_are_warned_of(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "g.fa").write_text(f">a\n{''.join(rng.choice(list('ACGT'), 1024))}\n")
    (tmp_path / "g.bed").write_text("a\t0\t64\na\t64\t128\n")
    model = trained.best("classify")
    how = [f"--checkpoints={model}", "--fasta=g.fa", "--intervals=g.bed", "--method=gradient"]
    assert main(["attribute", *how, "--target=all", "--out=x"]) == 0
    assert "100 % of these inputs (2 of 2) overlap" in capsys.readouterr().err


def test_letters_that_are_not_known_are_listed(finder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.fa").write_text(f">a\n{'ACGT' * 16}\n>b/<i>\n{'ACGN' * 16}\n>c\n\n>d&\nACGT\n")
    how = ["attribute", f"--checkpoints={finder}", "--fasta=r.fa", "--out=y", "--target=all"]
    assert main([*how, "--method=gradient", "--plot=5"]) == 0
    says = json.loads(Path("y.attribute.json").read_text())
    assert says["left_out"] == [
        {"index": 1, "status": "unknown"},
        {"index": 2, "status": "too_short"},
    ]
    assert np.load("y.with.hypothetical.npz")["arr_0"].shape == (2, 4, 64)
    assert np.load("y.without.hypothetical.npz")["arr_0"].shape == (2, 4, 64)
    assert "d&amp;" in Path("y.html").read_text()


def test_no_input_gives_valid_empty_files(finder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(">c1\nACGT\n")
    (tmp_path / "g.bed").write_text("")
    assert run(finder, "--plot=1") == 0
    assert np.load("x.ohe.npz")["arr_0"].shape == (0, 4, 64)
    assert Path("x.bed").read_text() == ""


@pytest.mark.slow
def test_modisco_finds_the_planted_motif(finder, tmp_path, monkeypatch):
    """Its command reads the files, and its first pattern is the motif."""
    import h5py

    monkeypatch.chdir(tmp_path)
    write_genome(tmp_path, 600)
    assert run(finder, "--method=input_x_gradient") == 0
    words = ["motifs", "-s", "x.ohe.npz", "-a", "x.hypothetical.npz", "-n", "2000", "-w", "64"]
    words += ["-o", "found.h5", "-z", "8", "-t", "8", "-f", "3"]
    code = "from modiscolite.cli import cli; cli()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with h5py.File("found.h5") as file:
        shares = file["pos_patterns/pattern_0/sequence"][:]
    best = "".join("ACGT"[i] for i in shares.argmax(1))
    turned = "".join(dict(zip("ACGT", "TGCA", strict=True))[x] for x in reversed(best))
    assert MOTIF[1:-1] in best or MOTIF[1:-1] in turned


def known_motifs(path):
    """A MEME file with the planted motif, and others."""
    from memelite.io import write_meme

    eye = np.eye(4)[["ACGT".index(x) for x in MOTIF]] * 0.97 + 0.0075
    known = {"AP1 fos": eye.T}
    for i in range(40):
        known[f"random_{i}"] = np.random.default_rng(i).dirichlet([0.3] * 4, 9).T
    write_meme(path, known)


def test_the_filters_of_the_first_layer_are_written_as_motifs(finder, tmp_path, monkeypatch):
    from memelite.io import read_meme

    monkeypatch.chdir(tmp_path)
    write_genome(tmp_path)
    known_motifs("known.meme")
    how = ["motifs", f"--checkpoints={finder}", "--fasta=g.fa", "--intervals=g.bed"]
    how += ["--out=filters.meme", "--database=known.meme", "--max_p=0.05"]
    assert main(how) == 0
    found = read_meme("filters.meme")
    assert 0 < len(found) <= 16
    for shares in found.values():
        assert shares.shape == (4, 9)
        np.testing.assert_allclose(shares.sum(0), 1, atol=1e-4)
    lines = Path("filters.matches.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["filter", "motif", "p", "offset", "strand"]
    assert main(how) == 2  # a file that is there is not replaced


def test_a_filter_that_reads_a_motif_is_found_in_a_database(tmp_path):
    from seqmodel.infer.motifs import Scanner, matches

    network = network_of(CnnHparams(n_layers=1, first_kernel_size=9, pool_size=2, **SMALL))
    task = network.tasks[0]
    conv, norm = task.encoder.blocks[0].conv, task.encoder.blocks[0].norm
    with torch.no_grad():
        conv.weight[3] = -1.0
        for i, x in enumerate(MOTIF):
            conv.weight[3, "ACGT".index(x), i] = 1.0
        conv.weight[3, :, 8] = 0.0
        conv.weight[5] = -conv.weight[3]
        norm.weight[3], norm.weight[5] = 1.0, -1.0  # turns the values of filter 5 around again
    model = SimpleNamespace(
        members=[SimpleNamespace(task=task)], alphabet=DNA, device=torch.device("cpu")
    )
    scanner = Scanner(model)
    rows, _ = planted(100)
    ids = np.stack([DNA.encode(x) for x in rows])
    for scan in (scanner.find_largest, scanner.count):
        scan(ids[:30], None)
        scan(ids[30:], None)
    motifs = scanner.motifs()
    for name in ("filter_3", "filter_5"):
        best = "".join("ACGT"[i] for i in motifs[name][:, :8].argmax(0))
        assert best == MOTIF
    known_motifs(tmp_path / "known.meme")
    lines = [x.split("\t") for x in matches(motifs, str(tmp_path / "known.meme"), 1e-4).split("\n")]
    assert ["filter_3", "AP1 fos"] in [x[:2] for x in lines]
