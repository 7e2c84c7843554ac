"""The figures of benchmarks/whole_run.py are those of the process, and both sides do the same."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks/whole_run.py"
TORCH = """
hooks = []
def register_optimizer_step_post_hook(hook):
    hooks.append(hook)
def step():
    for hook in hooks:
        hook(None, (), {})
"""
PROGRAM = """
import subprocess, sys, time
kept = bytearray(b"x" * 150_000_000)
time.sleep(0.5)
import torch.optim.optimizer as optimizer
optimizer.step()
busy = "import time\\nwhile time.process_time() < 0.6: pass"
subprocess.run([sys.executable, "-c", busy], check=True)
optimizer.step()
"""
DRIVER = """
import json, sys
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parent))
import whole_run
print(json.dumps(whole_run.measure([sys.executable, "-c", sys.argv[2]], Path(sys.argv[3]), 1)))
"""


@pytest.fixture
def whole_run(monkeypatch):
    spec = importlib.util.spec_from_file_location("whole_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "whole_run", module)
    spec.loader.exec_module(module)
    return module


def test_the_figures_are_those_of_the_process_and_its_children(whole_run, tmp_path, monkeypatch):
    package = tmp_path / "fake/torch/optim"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "optimizer.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    before = time.monotonic()
    # the peak memory of a new process is at least that of the process that starts it
    driver = [sys.executable, "-c", DRIVER, whole_run.__file__, PROGRAM, str(tmp_path)]
    found = whole_run.Measured(*json.loads(subprocess.check_output(driver)))
    assert found.wall <= time.monotonic() - before
    assert 0.6 <= found.steps <= found.wall - 0.5  # from the first step, not the second
    assert found.cpu >= 0.6
    assert 150 <= found.memory < 400


@pytest.mark.parametrize("step", ["", "import torch.optim.optimizer"])
def test_a_command_that_fails_or_never_steps_is_an_error(whole_run, tmp_path, monkeypatch, step):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = f"{step}\nraise SystemExit(3)" if step else "pass"
    with pytest.raises((SystemExit, FileNotFoundError), match="ended with exit code|first_step"):
        whole_run.measure([sys.executable, "-c", program], tmp_path, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["table", "tracks"])
def test_ours_and_the_plain_script_do_the_same(tmp_path, case):
    words = ["--rows=64", "--epochs=1", "--rounds=1", "--threads=1", "--peers", "plain"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), case, *words, f"--folder={tmp_path / 'kept'}"],
        env=os.environ | {"SEQMODEL_SHARED_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(x) for x in done.stdout.splitlines()]
    kinds = ("wall", "steps", "cpu", "memory")
    assert [x["case"] for x in lines] == [f"{case}_{kind}" for kind in kinds]
    for line in lines:
        assert line["weights"][0] == line["weights"][1]
        assert line["n_steps"] == 2
        assert line["ratio"] == pytest.approx(line["peer_value"] / line["ours"], rel=0.02)
    assert lines[1]["ours"] < lines[0]["ours"]
