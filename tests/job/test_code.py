import os
import shutil
import subprocess
import sys

import pytest
from programs import need

from seqmodel.job.code import PACKAGE

ASK = """
import subprocess
from seqmodel.job.code import current_code
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
