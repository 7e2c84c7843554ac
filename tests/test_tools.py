"""tools/environment.sh: the Python it takes, when it makes .venv anew, what it says on failure."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Stands for a Python and for the one that `python -m venv` makes; notes what it is asked.
STUB = """#!/bin/sh
case "$*" in
    *version_info*) exit {old} ;;
    *ensurepip*) exit {no_venv} ;;
    *"print(sys.version"*) echo stub ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >>calls ;;
    "-m pip"*) echo "pip $*" >>calls; exit {pip} ;;
esac
"""


@pytest.fixture
def tree(tmp_path):
    """A checkout with just what the script reads, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/environment.sh", folder / "tools")
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "constraints.txt").write_text("torch==1\n")
    return folder


def make(tree, extras="demo", *, old=0, no_venv=0, pip=0):
    stub = tree / "stub"
    stub.write_text(STUB.format(old=old, no_venv=no_venv, pip=pip))
    stub.chmod(0o755)
    (tree / "calls").write_text("")
    return subprocess.run(
        ["sh", "tools/environment.sh", extras],
        cwd=tree,
        env={"PYTHON": "./stub", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(tree):
    return [line.split()[0] for line in (tree / "calls").read_text().splitlines()]


def test_the_environment_is_made_once_and_anew_when_its_inputs_change(tree):
    assert make(tree).returncode == 0
    assert calls(tree) == ["venv", "pip"]
    assert make(tree).returncode == 0
    assert calls(tree) == []
    (tree / "constraints.txt").write_text("torch==2\n")
    assert make(tree).returncode == 0
    assert calls(tree) == ["venv", "pip"]


def test_the_test_environment_is_added_to_and_serves_the_demo(tree):
    make(tree, "demo")
    assert make(tree, "test").returncode == 0
    assert calls(tree) == ["pip"]
    (tree / ".venv/made-for-demo").unlink()
    assert make(tree, "demo").returncode == 0
    assert calls(tree) == []


def test_an_installation_that_failed_is_tried_again(tree):
    assert make(tree, pip=1).returncode != 0
    assert make(tree).returncode == 0
    assert calls(tree) == ["venv", "pip"]


def test_a_python_that_is_too_old_is_told_in_one_line(tree):
    done = make(tree, old=1)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no Python >= 3.11 among: ./stub" in done.stderr


def test_missing_venv_is_told_with_the_package_to_install(tree):
    done = make(tree, no_venv=1)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "apt-get install python3-venv" in done.stderr
    assert not (tree / ".venv").exists()
