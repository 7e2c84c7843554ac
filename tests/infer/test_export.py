"""Exported models give the outputs of the model: by safetensors, onnxruntime and torch.export."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from wrapped_net import L, Net, made

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import CheckpointError, HparamError, RunError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
TASKS = ("classify", "regress", "multilabel", "masked", "profile")
TEXTS = ["".join(np.random.default_rng(i).choice(list("ACGTN"), 64)) for i in range(3)]


def exported(*words):
    """Runs `seqmodel export` in a process of its own: here all shapes are checked, which torch
    cannot trace."""
    run = [sys.executable, "-m", "seqmodel", "export", "--accelerator=cpu", *map(str, words)]
    return subprocess.run(run, capture_output=True, text=True)


def one_hot(model, texts):
    table = model.alphabet.one_hot_table()
    return np.stack([table[model.alphabet.encode(x)] for x in texts])


@pytest.fixture(scope="module")
def folders(trained, tmp_path_factory):
    """A folder for each task."""
    out = tmp_path_factory.mktemp("exported")
    for task in TASKS:
        seqmodel.export(seqmodel.load(trained.best(task)), out / task)
    return out


@pytest.mark.parametrize("task", TASKS)
def test_the_examples_of_a_folder_are_reproduced_by_the_model_that_is_loaded_from_it(
    folders, trained, task
):
    model = seqmodel.load(folders / task)
    with (folders / task / "example.tsv").open() as file:
        names, *rows = csv.reader(file, delimiter="\t")
    assert names == ["sequence", *(model.targets.names or "ACGT")]
    assert len(rows) == 5
    predicted = model.predict([row[0] for row in rows])
    values = np.array([[json.loads(x) for x in row[1:]] for row in rows])
    if values.ndim == 3:
        values = values.swapaxes(1, 2)
    np.testing.assert_allclose(predicted, values, rtol=1e-6, atol=1e-9)
    before = seqmodel.load(trained.best(task))
    np.testing.assert_array_equal(model.predict(TEXTS), before.predict(TEXTS))
    assert model.trained_on == before.trained_on


def test_the_weights_are_those_that_the_package_safetensors_reads(folders, trained):
    model, fresh = (seqmodel.load(trained.best("classify")) for _ in range(2))
    task = fresh.members[0].task
    for x in task.parameters():
        x.data.zero_()
    assert not np.allclose(fresh.predict(TEXTS), model.predict(TEXTS))
    task.load_state_dict(load_file(folders / "classify/model.safetensors"))
    np.testing.assert_array_equal(fresh.predict(TEXTS), model.predict(TEXTS))


def test_the_card_has_the_task_the_data_the_split_the_scores_and_how_to_load(folders, trained):
    text = (folders / "classify/README.md").read_text()
    scores = trained.runs["classify"].metrics
    model = seqmodel.load(trained.best("classify"))
    words = [
        "`classify`",
        *model.targets.names,
        'seqmodel.load("classify")',
        "64 positions of ACGT",
    ]
    words += [f"{scores['test_auroc']:.4f}", *(x["sha256"] for x in model.trained_on.data.values())]
    words += [f"{name} {n:,}" for name, n in model.trained_on.splits.items()]
    for word in words:
        assert word in text
    config = json.loads((folders / "classify/config.json").read_text())
    assert config["scores"]["test_auroc"] == scores["test_auroc"]


def test_scores_are_of_the_best_checkpoint_alone(trained, tmp_path):
    copy = tmp_path / "a.ckpt"
    copy.write_bytes(trained.best("classify").read_bytes())
    seqmodel.export(seqmodel.load(copy), tmp_path / "a")
    assert "Not known: the run" in (tmp_path / "a/README.md").read_text()


def test_verbs_take_exported_weights(folders, tmp_path, capsys):
    weights = folders / "classify/model.safetensors"
    (tmp_path / "a.csv").write_text("\n".join(["sequence", *TEXTS]))
    words = [f"--checkpoints={weights}", f"--table={tmp_path / 'a.csv'}", "--accelerator=cpu"]
    assert main(["predict", *words, f"--out={tmp_path / 'a.npz'}"]) == 0
    wanted = seqmodel.load(folders / "classify").predict(TEXTS)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["predictions"], wanted)
    capsys.readouterr()
    assert main(["describe", str(weights)]) == 0
    assert "classify" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["classify", "masked", "profile"])
def test_onnx_and_pt2_give_the_predictions(trained, tmp_path, task):
    onnx, pt2 = tmp_path / "a.onnx", tmp_path / "a.pt2"
    done = exported(f"--checkpoints={trained.best(task)}", f"--to={onnx}", f"--to={pt2}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("five examples give the same outputs") == 2
    assert sorted(x.name for x in tmp_path.iterdir()) == ["a.onnx", "a.pt2"]
    model = seqmodel.load(trained.best(task))
    x, wanted = one_hot(model, TEXTS).swapaxes(1, 2), model.predict(TEXTS)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    found = session.run(["prediction"], {"sequence": np.ascontiguousarray(x)})[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    program = torch.export.load(pt2).module()
    found = program(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_logits_of_ids_of_an_ensemble_and_of_a_wrapped_network(trained, tmp_path):
    best = trained.best("classify")
    two = [f"--checkpoints={best}", f"--checkpoints={best.with_name('last.ckpt')}"]
    to = tmp_path / "a.pt2"
    done = exported(*two, "--logits", "--layout=NL", f"--to={to}", "--json")
    assert json.loads(done.stdout) == {"written": [str(to)]}
    model = seqmodel.load([best, best.with_name("last.ckpt")])
    ids = torch.from_numpy(np.stack([model.alphabet.encode(x) for x in TEXTS]).astype(np.int64))
    found = torch.export.load(to).module()(ids).detach().numpy()
    np.testing.assert_allclose(found, model.predict(TEXTS, logits=True), rtol=1e-4, atol=1e-6)

    net = seqmodel.wrap(made(Net), letters="TGCA", seq_len=L, targets=["a", "b"])
    net.save(tmp_path / "net.ckpt", plugin="wrapped_net:Net")
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r}); import seqmodel\n"
        f"model = seqmodel.load({str(tmp_path / 'net.ckpt')!r}, plugins=['wrapped_net'])\n"
        f"for to in ('net', 'net.onnx'): seqmodel.export(model, {str(tmp_path)!r} + '/' + to)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    texts = [x[:L] for x in TEXTS]
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    x = np.ascontiguousarray(one_hot(net, texts).swapaxes(1, 2))
    found = session.run(None, {"sequence": x})[0]
    np.testing.assert_allclose(found, net.predict(texts), rtol=1e-4, atol=1e-6)
    again = seqmodel.load(tmp_path / "net", plugins=["wrapped_net"])
    np.testing.assert_array_equal(again.predict(texts), net.predict(texts))


def test_what_cannot_be_exported_is_one_line(trained, folders, tmp_path, capsys):
    model = seqmodel.load([trained.best("classify"), trained.best("classify")])
    with pytest.raises(HparamError, match="holds one model, not 2"):
        seqmodel.export(model, tmp_path / "a")
    with pytest.raises(RunError, match="exists already"):
        seqmodel.export(model, folders / "classify")
    net = seqmodel.wrap(made(Net), seq_len=L, targets=["a", "b"])
    with pytest.raises(HparamError, match="has no file yet; save it"):
        seqmodel.export(net, tmp_path / "a")
    assert main(["export", f"--checkpoints={trained.best('classify')}"]) == 2
    assert "--to is not set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_damaged_folder_is_one_line(folders, tmp_path):
    for name in ("config.json", "model.safetensors"):
        data = (folders / "classify" / name).read_bytes()
        (tmp_path / name).write_bytes(data)
    (tmp_path / "model.safetensors").write_bytes(data[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        seqmodel.load(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        seqmodel.load(tmp_path)
