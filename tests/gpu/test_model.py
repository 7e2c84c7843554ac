"""Predictions of a loaded model on the device are those of the CPU."""

from pathlib import Path

import numpy as np
import pytest

import seqmodel

FILES = sorted((Path(__file__).parents[1] / "archive").glob("*/*.ckpt"))
ids = [f"{path.parent.name}/{path.stem}" for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_predictions_are_those_of_the_cpu(path, device):
    texts = ["ACGT" * 16, "acgtn" * 5, "N" * 64, "TTGACA"]
    expected = seqmodel.load(path, device="cpu", seq_len=64).predict(texts)
    model = seqmodel.load(path, device=device, seq_len=64)
    assert model.device.type == device.type
    np.testing.assert_allclose(model.predict(texts), expected, 1e-4, 1e-5)
    np.testing.assert_allclose(model.to("cpu").predict(texts), expected, 1e-6)
