"""`make release` tags what is complete, and refuses the rest with what is missing."""

import subprocess
from pathlib import Path

import pytest

from seqmodel import VERSION

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "seqmodel/__init__.py": 'VERSION = "1.2.3"\n',
    "CHANGELOG.md": "# Changelog\n\n## 1.2.3\n",
    "CITATION.cff": "version: 1.2.3\n",
    "tests/archive/1.2.3/outputs.json": "{}\n",
    "tests/archive/definitions.json": '{"1.2.3": "x"}\n',
}


@pytest.fixture
def checkout(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tools").mkdir()
    script = (ROOT / "tools/release.sh").read_text()
    (tmp_path / "tools/release.sh").write_text(script)
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    return tmp_path


def git(folder, *args):
    who = ("-c", "user.name=x", "-c", "user.email=x@x")
    done = subprocess.run(
        ["git", *who, *args], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "x")


def release(folder, *args):
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **{f"GIT_{x}_{y}": "x" for x in ("AUTHOR", "COMMITTER") for y in ("NAME", "EMAIL")},
    }
    return subprocess.run(
        ["sh", "tools/release.sh", *args], cwd=folder, env=env, capture_output=True, text=True
    )


def test_a_complete_version_is_tagged_once(checkout):
    assert release(checkout).returncode == 0
    assert git(checkout, "tag").split() == ["v1.2.3"]
    again = release(checkout)
    assert again.returncode == 2
    assert "v1.2.3 is tagged already" in again.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("CHANGELOG.md", "## 1.2.2\n", "CHANGELOG.md has no section '## 1.2.3'"),
        ("CHANGELOG.md", "## Unreleased\n\n- new\n\n## 1.2.3\n", "unreleased changes; move them"),
        ("CITATION.cff", "version: 1.2.2\n", "CITATION.cff does not say"),
        ("tests/archive/1.2.3/outputs.json", None, "tests/archive/1.2.3/ is missing"),
        ("tests/archive/definitions.json", "{}", "no digest for 1.2.3"),
        ("seqmodel/__init__.py", "VERSION = 1\n", "has no line VERSION"),
    ],
)
def test_what_is_missing_is_told(checkout, name, text, message):
    if text is None:
        (checkout / name).unlink()
    else:
        (checkout / name).write_text(text)
    commit(checkout)
    done = release(checkout)
    assert done.returncode == 2
    assert message in done.stderr
    assert git(checkout, "tag") == ""


def test_an_unclean_or_other_branch_is_refused(checkout):
    (checkout / "new").write_text("")
    assert "uncommitted changes: ?? new" in release(checkout).stderr
    (checkout / "new").unlink()
    git(checkout, "checkout", "-qb", "other")
    assert "this is the branch other" in release(checkout).stderr


def test_an_earlier_commit_of_main_is_tagged_with_its_own_version(checkout):
    first = git(checkout, "rev-parse", "HEAD").strip()
    for name, text in FILES.items():
        (checkout / name).write_text(text.replace("1.2.3", "1.3.0"))
    commit(checkout)
    assert "v1.2.3 can be tagged" in release(checkout, "--check", first).stdout
    assert git(checkout, "tag") == ""
    assert release(checkout, first[:9]).returncode == 0
    assert git(checkout, "rev-parse", "v1.2.3^{commit}").strip() == first
    assert "tests/archive/1.3.0/ is missing" in release(checkout).stderr  # as it is now


def test_a_commit_that_is_not_of_main_is_refused(checkout):
    git(checkout, "checkout", "-qb", "other")
    (checkout / "new").write_text("")
    commit(checkout)
    assert "other is not part of main" in release(checkout, "other").stderr
    assert "there is no commit elsewhere" in release(checkout, "elsewhere").stderr
    assert git(checkout, "tag") == ""


def test_an_empty_section_of_unreleased_changes_is_none(checkout):
    (checkout / "CHANGELOG.md").write_text("## Unreleased\n\n## 1.2.3\n\n- x\n")
    commit(checkout)
    assert release(checkout).returncode == 0


def test_this_version_is_described_everywhere():
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {VERSION}" in (ROOT / "CITATION.cff").read_text()
