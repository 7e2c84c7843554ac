"""The wheel has all of the package and nothing else, and works without the repository.

The environment it is installed into is a new virtual environment that has no package but the
wheel. So that a test does not download PyTorch, the folders in which this Python has its packages
are on its path, by a .pth file: what these folders import by .pth files of their own, such as an
editable seqmodel, is not. So the wheel's code and files are tested, not its list of dependencies.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqmodel import VERSION
from seqmodel.record.code import current_code
from seqmodel.report.page import SCRIPTS

ROOT = Path(__file__).resolve().parents[1]
RUN = [
    "--task=masked", "--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--fasta=a.fa",
    "--seq_len=64", "--batch_size=8", "--valid_contigs=b", "--test_contigs=c", "--max_epochs=1",
    "--accelerator=cpu", "--n_threads=1",
]  # fmt: skip

pytestmark = pytest.mark.slow


def tracked(below="."):
    """What git tracks or would track, from the root."""
    command = ["git", "ls-files", "-zco", "--exclude-standard", "--", below]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that was built of what the sdist holds."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    sdist, wheel = target / f"seqmodel-{VERSION}.tar.gz", next(target.glob("*.whl"))
    assert set(target.iterdir()) == {sdist, wheel}
    return SimpleNamespace(sdist=sdist, wheel=wheel)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Runs a program of the environment in a folder outside of the checkout."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", built.wheel], check=True)
    packages = next(folder.glob("env/lib/python*/site-packages"))
    running = [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")]
    (packages / "running.pth").write_text("".join(f"{p}\n" for p in running))
    work = folder / "elsewhere"
    work.mkdir()
    bases = "ACGGTCATTGCA" * 170
    (work / "a.fa").write_text("".join(f">{c}\n{bases[i:]}\n" for i, c in enumerate("abc")))

    def run(program, *args):
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "SEQMODEL"))}
        env = {**kept, "HOME": str(work), "OMP_NUM_THREADS": "1"}
        command = [folder / "env/bin" / program, *args]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return SimpleNamespace(run=run, work=work, packages=packages)


def test_the_wheel_holds_what_git_tracks_of_the_package_and_nothing_else(built):
    names = zipfile.ZipFile(built.wheel).namelist()
    info = f"seqmodel-{VERSION}.dist-info/"
    assert sorted(n for n in names if not n.startswith(info)) == sorted(tracked("seqmodel"))
    assert f"{info}licenses/LICENSE" in names


def test_the_sdist_holds_what_a_build_and_a_reader_need(built):
    with tarfile.open(built.sdist) as archive:
        names = {n.partition("/")[2] for n in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    assert {*wanted, "constraints.txt", *tracked("seqmodel")} <= names
    assert not any(name.startswith("tests") for name in names)


def test_the_command_and_the_module_are_there_from_any_folder(installed):
    assert installed.run("seqmodel", "--version").split() == ["seqmodel", VERSION]
    assert installed.run("python", "-m", "seqmodel", "--version").split() == ["seqmodel", VERSION]
    code = "import seqmodel, sys; print(seqmodel.__file__, *sys.path, sep='\\n')"
    where, *path = installed.run("python", "-c", code).splitlines()
    assert Path(where).parents[1] == installed.packages
    assert str(ROOT) not in path


def test_it_trains_and_records_its_version_and_the_digest_of_its_code(installed):
    installed.run("seqmodel", "run", *RUN, "--default_root_dir=trained")
    assert (installed.work / "trained/checkpoints/best.ckpt").is_file()
    record = json.loads((installed.work / "trained/hparams.json").read_text())["_run"]
    assert record["seqmodel"] == record["packages"]["seqmodel"] == VERSION
    assert record["code"]["commit"] is None
    assert Path(record["code"]["path"]) == installed.packages
    assert record["code"]["digest"] == current_code().digest  # that of the checkout

    installed.run("seqmodel", "report", "trained", "--out=page.html")
    page = (installed.work / "page.html").read_text()
    for name in ("page.css", *SCRIPTS):
        assert (ROOT / "seqmodel/report" / name).read_text().strip() in page


def test_a_job_that_it_submits_carries_its_code(installed):
    script = installed.run("seqmodel", "submit", "--dry_run", *RUN)
    lines = [line[1:].split() for line in script.splitlines() if line.startswith("#  ")]
    assert [words[-1] for words in lines if words] == sorted(tracked("seqmodel"))
    assert f"# code {current_code().digest}: " in script
    assert f"code_path={installed.packages}\n" in script
