import json
from pathlib import Path

import numpy as np
import pytest

from seqmodel.cli.verbs import main


@pytest.fixture
def fasta(tmp_path):
    letters = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(0).integers(0, 4, 5000)]
    path = tmp_path / "a.fa"
    path.write_bytes(b">a\n" + letters.tobytes())
    return ["--dataset=fasta", f"--fasta={path}", "--seq_len=50"], path


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.npz"
    x = np.eye(4, dtype=np.uint8)[rng.integers(0, 4, (40, 30))]
    np.savez(path, x=x, y=rng.integers(0, 2, 40))
    return ["--dataset=arrays", f"--train_files={path}"], path


@pytest.mark.parametrize("kind", ["fasta", "arrays"])
def test_describe_checks_what_is_kept(request, capsys, tmp_path, kind):
    args, _ = request.getfixturevalue(kind)
    assert main(["data", "describe", *args, "--check"]) == 0
    text = capsys.readouterr().out.splitlines()
    (kept,) = [x for x in tmp_path.iterdir() if x.suffix in (".seqstore", ".npy")]
    assert text[-1] == f"checked: {kept}, 1 blocks of 1 MiB"
    assert main(["data", "describe", *args, "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checked"] == {str(kept): 1}
    assert main(["data", "describe", *args]) == 0
    assert "checked" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["fasta", "arrays"])
def test_describe_refuses_a_flipped_bit_when_it_checks(
    request, capsys, tmp_path, kind, monkeypatch
):
    monkeypatch.setattr("seqmodel.dataset.seq.source._RESOLUTION_NS", -(10**12))
    args, _ = request.getfixturevalue(kind)
    assert main(["data", "describe", *args]) == 0
    (kept,) = [x for x in tmp_path.iterdir() if x.suffix in (".seqstore", ".npy")]
    raw = bytearray(Path(kept).read_bytes())
    raw[4500 if kind == "fasta" else 500] ^= 1
    Path(kept).write_bytes(raw)
    capsys.readouterr()
    assert main(["data", "describe", *args, "--check"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert f"{kept}: 1 of 1 blocks of 1 MiB are damaged" in printed.err
