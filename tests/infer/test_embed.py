"""Embeddings are the encoder's output, pooled by hand; padding never enters."""

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from model_cases import CASES, DNA, encoder_of
from wrapped_net import L, Net, made

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import HparamError
from seqmodel.infer.embedding import encoded_at, layer_of, pooled

TEXTS = ["".join(np.random.default_rng(i).choice(list("ACGT"), 64)) for i in range(7)]
SHORT = [x[: 64 - 9 * i] for i, x in enumerate(TEXTS)]


def by_hand(model, text, layer=None):
    """The encoder's output for one sequence alone, without padding, [L', C]."""
    encoder = model.members[0].task.encoder
    ids = torch.from_numpy(DNA.encode(text))[None]
    with torch.no_grad():
        if layer is None:
            return encoder(ids)[0].numpy()
        x = encoder.embed(torch.eye(4)[ids.long()])
        for block in encoder.blocks[:layer]:
            x = block(x)
        return x[0].numpy()


POOLED = {"mean": lambda x: x.mean(0), "max": lambda x: x.max(0), "first": lambda x: x[0]}


@pytest.fixture(scope="module")
def model(trained):
    return seqmodel.load(trained.best("masked"))


@pytest.mark.parametrize("pool", POOLED)
@pytest.mark.parametrize("layer", [None, 0, 1])
def test_an_embedding_is_the_encoders_output_pooled_by_hand(model, pool, layer):
    wanted = [POOLED[pool](by_hand(model, x, layer)) for x in SHORT]
    found = model.embed(SHORT, pool, layer=layer, batch_size=3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_all_positions_without_those_of_padding(model):
    found = model.embed(SHORT, "none")
    assert [x.shape[0] for x in found] == [len(x) for x in SHORT]
    for x, text in zip(found, SHORT, strict=True):
        np.testing.assert_allclose(x, by_hand(model, text), atol=2e-5)
    assert model.embed([], "none") == []
    assert model.embed([]).shape == (0, found[0].shape[1])


@pytest.mark.parametrize("case", [x for x in CASES if x.endswith("-rc") or "-" not in x])
def test_the_last_layer_of_every_encoder_is_its_last_block(case):
    """By number and by name; both strands of one that has them."""
    encoder = encoder_of(case).eval()
    inner = getattr(encoder, "encoder", encoder)
    x = torch.from_numpy(np.stack([DNA.encode(x) for x in TEXTS]))
    task = torch.nn.Module()
    task.encoder, task.forward = encoder, encoder.forward
    n_blocks = len(getattr(inner, "blocks", ()))
    if not n_blocks:
        pytest.fail(f"{case} has no blocks")
    pad = torch.arange(64) >= torch.tensor([len(x) for x in SHORT])[:, None]
    with torch.no_grad():
        found, padded = encoded_at(encoder, task, x, pad, layer_of(task, n_blocks))
        named, _ = encoded_at(encoder, task, x, pad, layer_of(task, f"blocks.{n_blocks - 1}"))
        whole = encoder(x, pad)
    assert torch.equal(found, named)
    assert found.shape[:2] == whole.shape[:2]
    assert torch.equal(padded, encoder.out_pad(pad))
    seen = []
    handle = list(inner.blocks)[-1].register_forward_hook(lambda m, i, o: seen.append(o))
    with torch.no_grad():
        encoder(x, pad)
    handle.remove()
    assert torch.equal(found[..., : inner.n_out], seen[0][: len(x)])


def test_padding_before_a_sequence_is_left_out_as_well():
    encoded = torch.arange(24.0).view(2, 4, 3)
    pad = torch.tensor([[True, True, False, False], [False, False, True, True]])
    for pool, by in POOLED.items():
        wanted = [by(encoded[0, 2:].numpy()), by(encoded[1, :2].numpy())]
        np.testing.assert_array_equal(pooled(encoded, pad, pool).numpy(), wanted)


def test_layers_of_a_wrapped_network():
    net = made(Net)
    model = seqmodel.wrap(net, seq_len=L, targets=["a", "b"])
    texts = [x[:L] for x in TEXTS]
    x = torch.stack([torch.eye(4)[DNA.encode(t).astype(int)] for t in texts]).mT
    trunk = net.trunk(x).detach().numpy()
    np.testing.assert_allclose(model.embed(texts, layer="trunk"), trunk.mean(2), atol=1e-6)
    np.testing.assert_allclose(
        np.stack(model.embed(texts, "none", layer="trunk.0")),
        net.trunk[0](x).detach().mT.numpy(),
        atol=1e-6,
    )
    np.testing.assert_array_equal(model.embed(texts, layer="head"), model.predict(texts))
    with pytest.raises(HparamError, match="no such layer; choose one of trunk, trunk.0"):
        model.embed(texts, layer="tail")


def test_what_cannot_be_embedded_is_one_line(model, trained):
    with pytest.raises(HparamError, match="choose one of mean, max, first, none"):
        model.embed(TEXTS, "median")
    with pytest.raises(HparamError, match="no such layer"):
        model.embed(TEXTS, layer=17)
    both = seqmodel.load([trained.best("masked"), trained.best("masked")])
    with pytest.raises(HparamError, match="cannot be averaged; give one"):
        both.embed(TEXTS)


@pytest.fixture
def words(tmp_path, trained):
    (tmp_path / "a.csv").write_text(
        "\n".join(
            [
                "name,sequence",
                *(f"s{i},{x}" for i, x in enumerate(SHORT)),
                "long," + "A" * 65,
                "empty,",
            ]
        )
    )
    start = ["embed", f"--checkpoints={trained.best('masked')}", f"--table={tmp_path / 'a.csv'}"]
    return [*start, "--keep_columns=name", "--accelerator=cpu", "--too_long=center"]


def test_files_of_embeddings(tmp_path, words, model):
    outs = [tmp_path / f"a{x}" for x in (".npz", ".h5", ".parquet", ".h5ad")]
    assert main([*words, "--chunk_rows=4", *(f"--out={x}" for x in outs)]) == 0
    wanted = model.embed([*SHORT, "A" * 64])
    npz = np.load(outs[0])
    np.testing.assert_allclose(npz["embeddings"][:8], wanted, atol=1e-5)
    assert np.isnan(npz["embeddings"][8]).all()
    assert npz["status"].tolist() == ["ok", *["padded"] * 6, "cut", "too_short"]
    with h5py.File(outs[1]) as store:
        np.testing.assert_array_equal(store["embeddings"][:], npz["embeddings"])
        assert store["name"].asstr()[0] == "s0"
    table = pd.read_parquet(outs[2])
    np.testing.assert_array_equal(np.stack(table["embedding"]), npz["embeddings"])
    data = anndata.read_h5ad(outs[3])
    np.testing.assert_array_equal(data.X, npz["embeddings"])
    assert list(data.obs["name"])[:2] == ["s0", "s1"]
    assert list(data.obs["status"]) == npz["status"].tolist()
    assert data.obs_names[3] == "3"


def test_ragged_files_have_values_and_offsets(tmp_path, words, model):
    npz, h5 = tmp_path / "a.npz", tmp_path / "a.h5"
    assert main([*words, "--pool=none", "--chunk_rows=2", f"--out={npz}", f"--out={h5}"]) == 0
    arrays = np.load(npz)
    offsets = arrays["offsets"]
    assert np.diff(offsets).tolist() == [*map(len, SHORT), 64, 0]
    assert offsets[0] == 0
    for i, text in enumerate(SHORT):
        found = arrays["values"][offsets[i] : offsets[i + 1]]
        np.testing.assert_allclose(found, by_hand(model, text), atol=2e-5)
    with h5py.File(h5) as store:
        np.testing.assert_array_equal(store["offsets"][:], offsets)
        np.testing.assert_array_equal(store["values"][:], arrays["values"])


def test_parts_are_joined_to_the_same_bytes(tmp_path, words):
    whole, parts = tmp_path / "a.h5", tmp_path / "b.h5"
    words = [*words, "--pool=none", "--chunk_rows=2"]
    assert main([*words, f"--out={whole}"]) == 0
    for k in (2, 3, 1):
        assert main([*words, f"--out={parts}", f"--part={k}/3"]) == 0
    assert parts.read_bytes() == whole.read_bytes()


def test_no_inputs_are_a_valid_empty_file(tmp_path, trained):
    (tmp_path / "a.csv").write_text("sequence\n")
    start = ["embed", f"--checkpoints={trained.best('masked')}", f"--table={tmp_path / 'a.csv'}"]
    outs = [tmp_path / f"a{x}" for x in (".npz", ".parquet", ".h5ad")]
    assert main([*start, *(f"--out={x}" for x in outs)]) == 0
    assert np.load(outs[0])["embeddings"].shape[0] == 0
    assert len(pd.read_parquet(outs[1])) == 0
    assert anndata.read_h5ad(outs[2]).shape[0] == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out=a.tsv"], "are written as .npz, .h5, .h5ad, .parquet"),
        (["--out=a.parquet", "--pool=none"], "are written as .npz, .h5"),
        (["--out=a.npz", "--checkpoints=b.ckpt"], "b.ckpt"),
    ],
)
def test_files_that_cannot_hold_embeddings(words, more, message, capsys):
    assert main([*words, *more]) == 2
    assert message in capsys.readouterr().err


def test_predictions_as_anndata(tmp_path, trained):
    model = seqmodel.load(trained.best("classify"))
    (tmp_path / "a.csv").write_text("\n".join(["sequence", *SHORT]))
    words = ["predict", f"--checkpoints={trained.best('classify')}", f"--out={tmp_path / 'a.h5ad'}"]
    assert main([*words, f"--table={tmp_path / 'a.csv'}", "--accelerator=cpu"]) == 0
    data = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_allclose(data.X, model.predict(SHORT), atol=1e-6)
    assert tuple(data.var_names) == model.targets.names
