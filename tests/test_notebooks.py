"""The notebooks of examples/ run from the first cell to the last."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from cluster.slurm import Slurm
from cluster.sshd import HOST, Sshd
from nbclient import NotebookClient
from programs import need

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def run(name, monkeypatch, out, **variables):
    """Runs a notebook of examples/; the text and HTML of all its outputs."""
    variables |= {"OMP_NUM_THREADS": "1", "SEQMODEL_EXAMPLES_OUT": out}
    for variable, value in variables.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    book = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in book.cells), "clear its outputs"
    NotebookClient(book, timeout=1200, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    said = [output["text"] for output in outputs if output.get("name") == "stderr"]
    assert not [text for text in said if "TqdmWarning" not in text]  # it wants ipywidgets
    return "\n".join(
        str(output.get("text", "") or output["data"].get("text/html", output["data"]))
        for output in outputs
    )


def test_train_and_look(monkeypatch, tmp_path):
    shown = run("1_train_and_look", monkeypatch, tmp_path)
    assert "test_auroc" in shown
    assert "<table>" in shown
    assert list(tmp_path.glob("one/*/version_0/checkpoints/best.ckpt"))


def test_a_grid_of_six_runs_and_its_report(monkeypatch, tmp_path):
    shown = run("2_search", monkeypatch, tmp_path)
    assert "6 points, 6 runs" in shown
    assert len(list(tmp_path.glob("grid/*/version_0"))) == 6
    assert "begin{tabular}" in shown
    assert "classify" in (tmp_path / "report.html").read_text()


def test_the_same_on_a_cluster(monkeypatch, tmp_path):
    for program in ("slurmctld", "slurmd", "munged", "sbatch", "faketime", "sshd", "ssh"):
        need(program)
    with Slurm(fast=0) as slurm, Sshd(env={"SLURM_CONF": str(slurm.conf)}) as sshd:
        sshd.open_master()
        there = tmp_path / "there"
        there.mkdir()
        (there / "data").symlink_to(ROOT / "data")
        shown = run(
            "3_cluster",
            monkeypatch,
            tmp_path,
            SEQMODEL_EXAMPLE_HOST=HOST,
            SEQMODEL_EXAMPLE_SSH_CONFIG=sshd.config,
            SEQMODEL_EXAMPLE_WORKDIR=there,
            SEQMODEL_EXAMPLE_PYTHON=sys.executable,
        )
    assert "ask for: --slurm_time_min=5" in shown
    assert (tmp_path / "cluster.html").exists()
    assert len(list(tmp_path.glob("pulled/*/version_0/metrics.csv"))) == 4


def test_a_model_applied(monkeypatch, tmp_path):
    shown = run("4_apply", monkeypatch, tmp_path / "examples")
    assert list(tmp_path.glob("examples/apply/version_0/checkpoints/best.ckpt"))
    for column in ("n_unknown", "predicted coding", "coding_logit_diff"):
        assert f"<th>{column}</th>" in shown
    assert re.search(r"^REF [ACGT]{30} [ACGT]{30}\nALT [ACGT]{30} TA[ACGT]{28}$", shown, re.M)
    assert shown.count("image/svg+xml") == 2
    assert re.search(r"component 1 \(\d+%\)", shown)
