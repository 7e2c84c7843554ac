"""Which files travel with a job: sources and what git tracks, no secrets, nothing large."""

import json
import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from programs import forget_plugins, need

from seqmodel.cli.verbs import main as seqmodel
from seqmodel.errors import JobError
from seqmodel.hparam.plugin_files import digest_of
from seqmodel.job.agent import KEPT, write_files
from seqmodel.job.contents import code_files as code_files_of
from seqmodel.record import code, code_files

AWS_KEY = "AKIA" + "ABCDEFGHIJKLMNOP"
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE " + "KEY-----\nabc\n"
PLUGIN = """
from seqmodel.hparam.model import EncoderHparams
from helper import x
TEXT = "data:image/png;base64,{}"

class MyHparams(EncoderHparams):
    name = "mine"
    target = "models.net:Net"
"""
FILES = {
    "mine.py": PLUGIN,
    "helper.py": "x = 1\n",
    "models/__init__.py": "",
    "models/net.py": "class Net: pass\n",
    "models/tokenizer.py": "class Tokenizer: pass\n",
    "models/tokenizer.json": "{}",
    "models/special_tokens_map.json": "{}",
    "models/vocabulary.txt": "ACGT\n",
    "models/untracked.txt": "notes\n",
    "models/untracked.py": "y = 2\n",
    "models/.env": "TOKEN=abc\n",
    "models/prod.env": "TOKEN=abc\n",
    "models/credentials.json": "{}",
    "models/client_secret.json": "{}",
    "models/hf_token": "abc",
    "models/.netrc": "machine x",
    "models/server.pem": "x",
    "models/id_rsa": "x",
    "models/.aws/config": "x",
    "models/deploy.txt": PRIVATE_KEY,
    "models/settings.json": json.dumps({"id": AWS_KEY}),
    "models/cloud.py": f"ID = '{AWS_KEY}'\n",
    "models/large.bin": "x" * 3_000_000,
    "data/__init__.py": "",
    "data/genome.py": "z = 3\n",
    "unused/__init__.py": "",
}
PACKED = {
    "mine.py",
    "helper.py",
    "models/__init__.py",
    "models/net.py",
    "models/tokenizer.py",
    "models/tokenizer.json",
    "models/special_tokens_map.json",
    "models/vocabulary.txt",
    "models/untracked.py",
}
UNTRACKED = ("models/untracked.txt", "models/untracked.py")


def git(folder, *words):
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A checkout of the user's with a plugin, its packages, and files that are not to travel."""
    need("git")
    folder = tmp_path / "work"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-f", *(name for name in FILES if name not in UNTRACKED))
    git(folder, "commit", "-qm", "x")
    monkeypatch.chdir(folder)
    forget_plugins(monkeypatch)
    yield folder
    forget_plugins(monkeypatch)


def own(found):
    return {name for name in found if not name.startswith("seqmodel/")}


def test_sources_and_tracked_files_of_imported_packages_travel_and_nothing_else(workdir):
    found = code.current_code(["mine"])
    assert own(found.files) == PACKED
    assert {name: found.files[name].decode() for name in PACKED} == {n: FILES[n] for n in PACKED}
    left = {name: reason for name, reason in found.left_out.items() if name in own(found.left_out)}
    assert left.pop("models/untracked.txt") == "neither Python nor tracked by git"
    assert left.pop("models/large.bin") == "larger than 1 MB"
    by_content = {"models/deploy.txt", "models/settings.json", "models/cloud.py"}
    assert {left.pop(name) for name in by_content} == {"looks like a secret, by its content"}
    assert set(left.values()) == {"looks like a secret, by its name"}
    others = {name for name in FILES if name.startswith("models/")} - PACKED - by_content
    assert set(left) == others - {"models/untracked.txt", "models/large.bin"}


def test_without_git_only_sources_of_the_user_travel(workdir):
    subprocess.run(["rm", "-rf", ".git"], check=True)
    assert own(code.current_code(["mine"]).files) == {n for n in PACKED if n.endswith(".py")}


def test_links_do_not_bring_in_what_lies_elsewhere(workdir, tmp_path):
    (tmp_path / "id_ed25519").write_text("x")
    (tmp_path / "shared.py").write_text("s = 1\n")
    Path("models/linked.txt").symlink_to(tmp_path / "shared.py")
    Path("models/key.py").symlink_to(tmp_path / "id_ed25519")
    Path("models/shared.py").symlink_to(tmp_path / "shared.py")
    git(workdir, "add", "models/linked.txt", "models/key.py", "models/shared.py")
    found = code.current_code(["mine"])
    assert own(found.files) == PACKED | {"models/shared.py"}
    assert found.left_out["models/linked.txt"] == "a link"


def test_more_code_than_can_travel_is_refused_with_the_largest_file(workdir):
    Path("models/huge.py").write_text("#" * 22_000_000)
    Path("models/large.py").write_text("#" * 1_500_000)
    with pytest.raises(
        JobError, match=r"2\d\.\d MB, more than 20 MB; .*models/huge\.py \(22\.0 MB"
    ):
        code.current_code(["mine"])
    record, _ = code.code_record(["mine"], "")  # a run by hand copies nothing
    assert len(record["digest"]) == 16


def test_an_unpacked_archive_is_the_same_code(workdir, tmp_path, monkeypatch):
    """As on a node: no git, other files of the working directory beside it."""
    made = code.current_code(["mine"])
    there = tmp_path / "node"
    there.mkdir()
    with tarfile.open(fileobj=BytesIO(made.archive())) as tar:
        members = {member.name: member.mode for member in tar.getmembers()}
        tar.extractall(there, filter="data")
    assert set(members) - {"models", "seqmodel"} >= PACKED
    for name, mode in members.items():
        assert mode == (0o700 if (there / name).is_dir() or name.endswith(".sh") else 0o600)
    (there / "models/untracked.txt").symlink_to(workdir / "models/untracked.txt")
    (there / "seqmodel/new.py").write_text("")
    (there / ".git").symlink_to(workdir / ".git")
    monkeypatch.chdir(there)
    monkeypatch.setattr("seqmodel.record.code.ROOT", str(there))
    monkeypatch.setattr("seqmodel.record.code.PACKAGE", str(there / "seqmodel"))
    record, _ = code.code_record(["mine"], "")
    assert record["commit"] is None
    files = ((n, len(d), [d]) for n, d in sorted(made.files.items()))
    assert record["digest"] == made.digest == digest_of(files)


def test_every_file_of_the_package_that_git_tracks_is_packed_where_there_is_no_git():
    if not os.path.exists(f"{code.ROOT}/.git"):
        names = code.current_code().files
    else:
        names = git(code.ROOT, "ls-files", "-z", "seqmodel").split("\0")[:-1]
    assert [name for name in names if not name.endswith(code_files.OWN_KINDS)] == []


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A checkout of a package `seqmodel`, as the one that runs."""
    need("git")
    root = tmp_path / "checkout"
    (root / "seqmodel").mkdir(parents=True)
    for name in ("seqmodel/__init__.py", "seqmodel/a.py", "README.md", ".env", "key.txt"):
        (root / name).write_text("first\n")
    (root / "old.txt").write_text(f"{AWS_KEY}\n")
    git(root, "init", "-q")
    git(root, "add", "-f", ".")
    git(root, "commit", "-qm", "x")
    monkeypatch.setattr("seqmodel.record.code.ROOT", str(root))
    monkeypatch.setattr("seqmodel.record.code.PACKAGE", str(root / "seqmodel"))
    monkeypatch.chdir(tmp_path)
    return root


def test_the_diff_has_no_secrets_and_says_so(package):
    (package / "seqmodel/a.py").write_text("second\n")
    (package / ".env").write_text("TOKEN=hidden\n")
    (package / "key.txt").write_text(PRIVATE_KEY)
    (package / "old.txt").write_text("without\n")  # the key stands in the lines that went
    (package / "seqmodel/new.py").write_text("third\n")
    (package / "seqmodel/.env").write_text("TOKEN=hidden\n")
    (package / "seqmodel/notes.txt").write_text("notes\n")
    (package / "seqmodel/cloud.py").write_text(f"ID = '{AWS_KEY}'\n")
    state = code.code_state(str(package))
    assert state["changed"]
    assert "+second" in state["diff"]
    assert "+third" in state["diff"]
    for text in ("hidden", "PRIVATE", AWS_KEY, "notes"):
        assert text not in state["diff"]
    assert set(state["not_in_diff"]) == {".env", "key.txt", "old.txt", "seqmodel/cloud.py"}
    git(package, "checkout", "-q", ".")
    (package / "seqmodel/new.py").unlink()
    subprocess.run(["git", "apply"], input=state["diff"].encode(), cwd=package, check=True)
    assert (package / "seqmodel/a.py").read_text() == "second\n"
    assert (package / "seqmodel/new.py").read_text() == "third\n"


@pytest.mark.parametrize("changed", [True, False])
def test_a_job_records_the_code_of_its_archive_although_a_git_checkout_lies_beside_it(
    package, tmp_path, monkeypatch, changed
):
    if changed:
        (package / "seqmodel/a.py").write_text("second\n")
    made = code.current_code()
    folder = tmp_path / "out/run/version_0"
    write_files(str(tmp_path / "out"), code_files_of(made))
    folder.mkdir(parents=True)
    record = {**made.record, "diff": bool(made.record["diff"]), "digest": made.digest}
    (folder / "job.json").write_text(json.dumps({"code": record}))
    there = tmp_path / "node"
    with tarfile.open(fileobj=BytesIO(made.archive())) as tar:
        tar.extractall(there, filter="data")
    (there / ".git").symlink_to(package / ".git")
    monkeypatch.setattr("seqmodel.record.code.ROOT", str(there))
    monkeypatch.setattr("seqmodel.record.code.PACKAGE", str(there / "seqmodel"))
    found, diff = code.code_record([], str(folder))
    assert found["commit"] == git(package, "rev-parse", "HEAD").strip()
    assert found["changed"] is changed
    assert found["digest"] == made.digest
    assert ("+second" in diff) is changed
    (folder / "job.json").write_text("{")  # damaged: no commit, and no false diff
    assert code.code_record([], str(folder))[0]["commit"] is None


def test_untracked_files_of_the_package_travel_if_they_are_sources(package):
    (package / "seqmodel/new.py").write_text("third\n")
    (package / "seqmodel/notes.txt").write_text("notes\n")
    (package / "seqmodel/.env").write_text("TOKEN=hidden\n")
    found = code.current_code()
    assert set(found.files) == {"seqmodel/__init__.py", "seqmodel/a.py", "seqmodel/new.py"}
    assert set(found.left_out) == {"seqmodel/notes.txt", "seqmodel/.env"}


def modes(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")
    }


def test_what_is_kept_beside_replicates_is_for_its_owner_alone(tmp_path):
    root = tmp_path / "out"
    (root / KEPT / "code").mkdir(parents=True, mode=0o755)
    files = {
        f"{KEPT}/code/a.tar.gz": b"x",
        f"{KEPT}/code/node.sh": b"x",
        "run/version_0/job.json": b"x",
    }
    write_files(str(root), files)
    assert (root / KEPT).stat().st_mode & 0o777 == 0o700
    found = modes(root)
    assert found[f"{KEPT}/code"] == 0o700
    assert found[f"{KEPT}/code/a.tar.gz"] == 0o600
    assert found[f"{KEPT}/code/node.sh"] == 0o700
    assert found["run/version_0/job.json"] & 0o600 == 0o600


def test_a_dry_run_lists_what_would_travel(workdir, capsys):
    Path("a.fa").write_text(">a\nACGTACGT\n")
    Path("mine.py").write_text(PLUGIN.replace("from helper import x", "import helper"))
    Path("models/a\nb.py").write_text("")
    words = ["--task=masked", "--fasta=a.fa", "--seq_len=4", "--plugins=mine"]
    assert seqmodel(["submit", "--dry_run", *words]) == 0
    script = capsys.readouterr().out
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    comments = [line.split() for line in script.splitlines() if line.startswith("# ")]
    assert ["#", "6", "helper.py"] in comments
    assert ["#", "0", "models/a\\nb.py"] in comments
    assert "#   models/.env  (looks like a secret, by its name)" in script
    assert "#   models/large.bin  (larger than 1 MB)" in script
    assert "# left out: " in script


def test_a_submission_says_what_was_left_out_of_the_code(workdir, capsys):
    Path("a.fa").write_text(">a\nACGTACGT\n")
    words = ["--task=masked", "--fasta=a.fa", "--seq_len=4", "--plugins=mine"]
    assert seqmodel(["submit", "--create", *words]) == 0
    err = capsys.readouterr().err
    assert "not copied with the code: models/cloud.py (looks like a secret, by its content)" in err
    assert "untracked" not in err
    [archive] = Path("out/.seqmodel/code").glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        assert own(tar.getnames()) >= PACKED
        assert "models/.env" not in tar.getnames()
    assert all(mode & 0o077 == 0 for mode in modes(Path("out/.seqmodel")).values())
