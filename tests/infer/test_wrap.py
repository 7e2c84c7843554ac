"""A network that seqmodel did not train: wrapped, it gives what it gives under torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from wrapped_net import Ids, L, LettersOut, Net, Net5, Profile, Rows, made

import seqmodel
from seqmodel.errors import HparamError, ModelError

HERE = Path(__file__).parents[1]
TARGETS = ["open", "bound"]
TEXTS = ["".join(np.random.default_rng(i).choice(list("ACGT"), L)) for i in range(5)]
WITH_N = [f"{x[:7]}N{x[8:30]}nn{x[32:]}" for x in TEXTS]
PLUGIN = ["wrapped_net"]


def one_hot(text, letters, n=(0, 0, 0, 0)):
    """Rows of a text, [L, A], in the order of `letters`; `n` for each N."""
    row = {x: [float(x == y) for y in letters] for x in letters} | {"N": list(n)}
    return [row[x] for x in text.upper()]


def rows(texts, letters, *args):
    return torch.tensor([one_hot(x, letters, *args) for x in texts])


@pytest.mark.parametrize("letters", ["ACGT", "TGCA", "AGCT"])
@pytest.mark.parametrize("layout", ["NAL", "NLA", "NL"])
@pytest.mark.parametrize("texts", [TEXTS, WITH_N], ids=["known", "with N"])
def test_wrapped_is_the_network_itself(layout, letters, texts):
    net = made({"NAL": Net, "NLA": Rows, "NL": Ids}[layout])
    own = letters
    if layout == "NL":
        own = f"..N{letters}."  # letters are 3..6, N is 2
        x = torch.tensor([[own.index(c) for c in text.upper()] for text in texts])
    else:
        x = rows(texts, letters, [0.25] * 4)
        x = x.mT if layout == "NAL" else x
    model = seqmodel.wrap(net, layout=layout, letters=own, seq_len=L, targets=TARGETS)
    np.testing.assert_array_equal(model.predict(texts), net(x).detach().numpy())
    np.testing.assert_allclose(model.predict(texts, batch_size=2), model.predict(texts), atol=1e-6)


def test_unknown_letters_as_zeros_and_as_a_channel():
    zeros = seqmodel.wrap(made(Net), seq_len=L, targets=TARGETS, unknown="zeros")
    found = made(Net)(rows(WITH_N, "ACGT").mT).detach().numpy()
    np.testing.assert_array_equal(zeros.predict(WITH_N), found)
    channel = seqmodel.wrap(made(Net5), seq_len=L, targets=TARGETS, letters="ACNGT")
    x = rows(WITH_N, "ACNGT", [0, 0, 1, 0, 0]).mT
    np.testing.assert_array_equal(channel.predict(WITH_N), made(Net5)(x).detach().numpy())
    # one-hot floats, as attributions give them, are read the same way
    floats = rows(WITH_N, "ACGT").numpy()
    np.testing.assert_array_equal(channel.predict(floats), channel.predict(WITH_N))


def test_one_hot_floats_are_read_by_a_network_of_ids():
    model = seqmodel.wrap(made(Ids), layout="NL", letters="NACGT...", seq_len=L, targets=TARGETS)
    floats = rows(WITH_N, "ACGT", [0.25] * 4).numpy()
    np.testing.assert_array_equal(model.predict(floats), model.predict(WITH_N))
    with pytest.raises(ModelError, match="ids, which have no gradient"):
        model.module()(torch.tensor(floats).mT.requires_grad_())


def test_a_profile_that_covers_the_middle_of_its_input():
    net = made(Profile)
    model = seqmodel.wrap(net, seq_len=L, targets=TARGETS, task="profile", bin_len=4)
    logits = net(rows(TEXTS, "ACGT").mT).detach()
    np.testing.assert_array_equal(model.predict(TEXTS, logits=True), logits.numpy())
    np.testing.assert_array_equal(model.predict(TEXTS), logits.exp().numpy())
    # of 30 letters the last 10 are padding: bins start at 4, 8, ..., so 6 are of letters alone
    short = model.predict([x[:30] for x in TEXTS])
    assert np.isnan(short).all((0, 2)).tolist() == [False] * 6 + [True] * 2
    with pytest.raises(ModelError, match="8 bins of 8 bp, more than the 40"):
        seqmodel.wrap(net, seq_len=L, targets=TARGETS, task="profile", bin_len=8)


def test_letters_that_a_network_gives_are_put_in_the_order_of_the_alphabet():
    net = made(LettersOut)
    model = seqmodel.wrap(net, seq_len=L, task="masked", letters="TCAG")
    wanted = net(rows(TEXTS, "TCAG").mT).detach()[..., [2, 1, 3, 0]].softmax(-1).numpy()
    np.testing.assert_allclose(model.predict(TEXTS), wanted, atol=1e-7)


def test_both_strands_are_averaged():
    net = made(Net)
    model = seqmodel.wrap(net, seq_len=L, targets=TARGETS, average_strands=True)
    x = rows(TEXTS, "ACGT").mT
    both = (net(x) + net(x.flip(1, 2))).detach().numpy() / 2
    np.testing.assert_allclose(model.predict(TEXTS), both, atol=1e-6)


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    for cls, options in (
        (Net, {"targets": TARGETS, "letters": "GATC", "task": "multilabel"}),
        (Net, {"targets": TARGETS, "task": "classify"}),
        (Ids, {"targets": TARGETS, "layout": "NL", "letters": "NACGT..."}),
        (Profile, {"targets": TARGETS, "task": "profile", "bin_len": 4}),
        (LettersOut, {"task": "causal", "letters": "TCAG"}),
    ):
        model = seqmodel.wrap(made(cls), seq_len=L, **options)
        path = tmp_path / f"{cls.__name__}-{model.task}.ckpt"
        model.save(path, plugin=f"wrapped_net:{cls.__name__}")
        again = seqmodel.load(path, plugins=PLUGIN)
        np.testing.assert_array_equal(again.predict(WITH_N), model.predict(WITH_N))
        assert (again.task, again.targets, again.seq_len) == (model.task, model.targets, L)
        assert again.alphabet == model.alphabet
        assert again.members[0].bin_len == options.get("bin_len", 1)


@pytest.mark.slow
def test_nothing_of_a_saved_network_is_imported_until_its_plugin_is_trusted(tmp_path):
    code = """
        import seqmodel, sys
        from wrapped_net import Net, made
        model = seqmodel.wrap(made(Net), seq_len=40, targets=["open", "bound"])
        model.save("a.ckpt", plugin="wrapped_net:Net")
    """
    (tmp_path / "wrapped_net.py").write_bytes((HERE / "wrapped_net.py").read_bytes())
    run = [sys.executable, "-c"]
    code = "\n".join(x.strip() for x in code.splitlines())
    subprocess.run([*run, code], cwd=tmp_path, check=True)
    with (tmp_path / "wrapped_net.py").open("a") as file:
        file.write('\nopen("was_run", "w").close()\n')
    code = "import seqmodel; seqmodel.load('a.ckpt')"
    done = subprocess.run([*run, code], cwd=tmp_path, capture_output=True, text=True)
    assert "give --plugins=wrapped_net" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "was_run").exists()
    code = "import seqmodel; seqmodel.load('a.ckpt', trust_plugins=True)"
    subprocess.run([*run, code], cwd=tmp_path, check=True)
    assert (tmp_path / "was_run").exists()


@pytest.mark.slow
def test_a_saved_network_predicts_from_the_command_line(tmp_path):
    (tmp_path / "wrapped_net.py").write_bytes((HERE / "wrapped_net.py").read_bytes())
    (tmp_path / "a.csv").write_text("\n".join(["sequence", *WITH_N]))
    model = seqmodel.wrap(made(Net), seq_len=L, targets=TARGETS, letters="GATC")
    model.save(tmp_path / "a.ckpt", plugin="wrapped_net:Net")
    words = ["predict", "--checkpoints=a.ckpt", "--table=a.csv", "--out=a.npz", "--accelerator=cpu"]
    run = [sys.executable, "-m", "seqmodel", *words]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "give --plugins=wrapped_net" in done.stderr.splitlines()[-1]
    subprocess.run([*run, "--plugins=wrapped_net"], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["predictions"], model.predict(WITH_N))


def test_save_refuses_a_plugin_that_makes_another_network(tmp_path):
    model = seqmodel.wrap(made(Net), seq_len=L, targets=TARGETS)
    for plugin, message in (
        ("wrapped_net:Profile", "makes another network"),
        ("wrapped_net:Rows", "cannot read|other outputs"),
        ("wrapped_net:nobody", "the module has no such network"),
        ("wrapped_net:torch", "the module has no such network"),
        ("wrapped_net:made", "missing 1 required"),
        ("wrapped_net", "write my_module:Net"),
        ("wrapped_nett:Net", "cannot import"),
    ):
        with pytest.raises((HparamError, ModelError), match=message):
            model.save(tmp_path / "a.ckpt", plugin=plugin)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Net, {"targets": ["one"]}, r"T = 1 is expected"),
        (Net, {}, "name each output"),
        (Net, {"targets": TARGETS, "task": "sing"}, "choose one of classify"),
        (Net, {"targets": ["a", "a"]}, "names must be unique"),
        (Net, {"targets": TARGETS, "layout": "NLA"}, r"cannot read \[2, 40, 4\] \(layout NLA\)"),
        (Net, {"targets": TARGETS, "letters": "ACG"}, "'T' zero or several times"),
        (Net, {"targets": TARGETS, "letters": "ACGTX"}, "has 'X'"),
        (Net, {"targets": TARGETS, "layout": "LNA"}, "wrapped_layout"),
        (Ids, {"targets": TARGETS, "layout": "NL"}, "needs the position of unknown bases"),
        (Profile, {"targets": TARGETS}, "returns 8 positions"),
        (Net, {"targets": TARGETS, "unknown": "x"}, "choose one of uniform, zeros"),
        (Net, {"targets": TARGETS, "seq_len": 0}, "must be 1 or more"),
    ],
)
def test_a_network_that_does_not_fit_is_one_line(cls, options, message):
    with pytest.raises((HparamError, ModelError), match=message):
        seqmodel.wrap(made(cls), **{"seq_len": L, **options})


def test_its_gradients_are_those_of_the_network():
    net = made(Net)
    model = seqmodel.wrap(net, letters="TGCA", seq_len=L, targets=TARGETS)
    x = rows(TEXTS, "ACGT").mT.requires_grad_()
    model.module(target="bound")(x).sum().backward()
    y = rows(TEXTS, "TGCA").mT.requires_grad_()
    net(y)[:, 1].sum().backward()
    torch.testing.assert_close(x.grad, y.grad[:, [3, 2, 1, 0]])
