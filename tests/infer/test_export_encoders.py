"""Every encoder, plain and reverse-complement equivariant, exported in every way."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from model_cases import ENCODERS, PLUGINS
from wrapped_net import L, Net, made

import seqmodel
from seqmodel.errors import HparamError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1]
ROWS = {x: [float(x == y) for y in "ACGT"] for x in "ACGT"} | {"N": [0.25] * 4}
CASES = [f"{name}{x}" for name in ENCODERS for x in ("", "-rc")] + ["transformer-causal"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("encoders")
    run = [sys.executable, str(HERE / "export_cases.py"), str(out), *CASES]
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr  # of torch, about its own code
    return out


@pytest.mark.parametrize("case", CASES)
def test_five_stored_answers_are_given_again(folder, case):
    with (folder / f"{case}.folder/example.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    texts = [row["sequence"] for row in rows]
    stored = np.array([[float(row["a"]), float(row["b"])] for row in rows])
    assert len(rows) == 5
    assert np.ptp(stored[:, 0]) > 0
    model = seqmodel.load(folder / f"{case}.ckpt", plugins=PLUGINS)
    x = torch.tensor([[ROWS[x] for x in text] for text in texts])
    with torch.no_grad():
        bare = model.members[0].task.eval()(x).softmax(-1).numpy()
    np.testing.assert_allclose(stored, bare, rtol=1e-4, atol=1e-6)
    again = seqmodel.load(folder / f"{case}.folder", plugins=PLUGINS)
    np.testing.assert_allclose(again.predict(texts), stored, rtol=1e-6, atol=1e-8)
    x = x.mT.contiguous()
    session = onnxruntime.InferenceSession(folder / f"{case}.onnx")
    found = session.run(None, {"sequence": x.numpy()})[0]
    np.testing.assert_allclose(found, stored, rtol=1e-4, atol=1e-6)
    program = torch.export.load(folder / f"{case}.pt2").module()
    np.testing.assert_allclose(program(x).detach().numpy(), stored, rtol=1e-4, atol=1e-6)


class Branches(Net):
    """A network whose operations depend on the numbers that it reads."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_what_torch_cannot_trace_is_one_line(tmp_path, suffix):
    model = seqmodel.wrap(made(Branches), seq_len=L, targets=["a", "b"])
    with pytest.raises(HparamError, match="cannot export this model: .*; export a folder") as e:
        seqmodel.export(model, tmp_path / f"a.{suffix}")
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())
