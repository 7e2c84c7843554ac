import os
import shutil
import subprocess
import sys

import pytest
from programs import need

from seqmodel.record.code import PACKAGE, code_state

ASK = """
import subprocess
from seqmodel.record.code import current_code
print(current_code().record["commit"])
subprocess.run(["git", "commit", "--allow-empty", "-qam", "more"], check=True)
print(current_code().record["commit"])
"""


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    need("git")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    folder = tmp_path / "main"
    shutil.copytree(PACKAGE, folder / "seqmodel", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "as it is")
    return folder


@pytest.mark.parametrize("kind", ["checkout", "worktree"])
def test_the_commit_of_the_code_is_that_of_the_moment(checkout, tmp_path, kind):
    if kind == "worktree":
        git(checkout, "worktree", "add", "-q", str(tmp_path / "beside"))
        checkout = tmp_path / "beside"
    first = git(checkout, "rev-parse", "HEAD")
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=checkout, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [first, git(checkout, "rev-parse", "HEAD")]
    assert done.stdout.split()[1] != first


def test_the_record_tells_commit_and_what_was_changed_since(tmp_path):
    def git(*args):
        subprocess.run(["git", "-C", tmp_path, *args], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "seqmodel").mkdir()
    (tmp_path / "seqmodel/a.py").write_text("x = 1\n")
    git("add", ".")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
    clean = code_state(str(tmp_path))
    assert len(clean["commit"]) == 40
    assert clean["changed"] is False
    (tmp_path / "seqmodel/a.py").write_text("x = 2\n")
    (tmp_path / "seqmodel/b c.py").write_text("new = 3\n")
    changed = code_state(str(tmp_path))
    assert changed["commit"] == clean["commit"]
    assert "+x = 2" in changed["diff"]
    git("checkout", "-q", ".")
    (tmp_path / "seqmodel/b c.py").unlink()
    (tmp_path / "diff").write_text(changed["diff"])
    git("apply", "diff")
    assert (tmp_path / "seqmodel/a.py").read_text() == "x = 2\n"
    assert (tmp_path / "seqmodel/b c.py").read_text() == "new = 3\n"


def test_an_installed_package_has_no_commit(tmp_path):
    assert code_state(str(tmp_path)) == {"path": str(tmp_path), "commit": None}


def test_what_git_does_not_tell_is_not_taken_for_no_changes(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    state = {"path": str(tmp_path), "commit": None, "changed": None}
    assert code_state(str(tmp_path)) == {
        **state, "problem": "git: fatal: detected dubious ownership"
    }  # fmt: skip
    program.unlink()
    found = code_state(str(tmp_path))
    assert "No such file or directory: 'git'" in found.pop("problem")
    assert found == state
