"""The recipe of CONTRIBUTING.md, followed by its text alone in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()


def section(title):
    """The text below a heading of CONTRIBUTING.md, up to the next one."""
    return re.split(r"^##.*\n", PAGE.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def steps(title):
    """(kind of the block, file that the sentence before it names, text of the block)."""
    pieces = section(title).split("```")
    for prose, block in zip(pieces[::2], pieces[1::2], strict=False):
        kind, _, text = block.partition("\n")
        said = re.findall(r"`([\w/]+\.(?:py|md))`", prose.strip().split("\n\n")[-1])
        yield kind, said[0] if said else None, text


def insert(path, line):
    """Puts a row at the end of the first table of a page, or an item at the start of its list."""
    lines = path.read_text().splitlines(keepends=True)
    start = line[:2]
    at = next(i for i, x in enumerate(lines) if x.startswith(start))
    while start == "| " and lines[at].startswith("|"):
        at += 1
    path.write_text("".join([*lines[:at], line, *lines[at:]]))


def shell(folder, commands):
    """What the commands print; the environment's programs come first, its seqmodel does not."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SEQMODEL_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": "-rA"}
    command = ["bash", "-euo", "pipefail", "-c", commands]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=500)


def follow(folder, title):
    """Does each step of a section; what its shell blocks printed."""
    printed = ""
    for kind, path, text in steps(title):
        if kind == "sh":
            done = shell(folder, text)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            printed += done.stdout
        elif kind == "python":
            (folder / path).write_text(text)
        else:
            insert(folder / path, text)
    return printed


def files_with_tests(printed):
    """The files with tests of the new encoder that passed."""
    assert not re.search(r"^(FAILED|ERROR|SKIPPED|XFAIL)", printed, re.MULTILINE)
    return set(re.findall(r"^PASSED (\S+?\.py)::\S*gated_conv", printed, re.MULTILINE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy") / "seqmodel"
    command = ["git", "ls-files", "-zco", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    for name in names.stdout.decode().split("\0")[:-1]:
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


def test_a_new_encoder_is_a_plugin_then_in_the_package_and_all_named_tests_are_green(folder):
    named = re.findall(
        r"^- `(tests/\S+)`:", section("What the tests ask of an encoder"), re.MULTILINE
    )
    printed = follow(folder, "As a plugin")
    assert "--gate_reach" in printed
    assert files_with_tests(printed) == set(named)
    assert_contract_is_checked(folder)
    printed = follow(folder, "Into the package")
    assert files_with_tests(printed) == set(named)
    for page in ("docs/hparams.md", "docs/models.md", "CHANGELOG.md"):
        assert "gated_conv" in (folder / page).read_text()


def assert_contract_is_checked(folder):
    """The run of the recipe, without the line that sets n_out, ends with one that says so."""
    model = folder / "my_model.py"
    whole = model.read_text()
    model.write_text(whole.replace("        self.n_out = hparams.n_dims\n", ""))
    run = next(text for kind, _, text in steps("As a plugin") if kind == "sh")
    done = shell(folder, re.search(r"(?m)^python .*gate_reach(?:.*\\\n)*.*$", run)[0])
    model.write_text(whole)
    assert done.returncode == 2
    assert "ModelError: GatedConvEncoder has no n_out: set self.n_out to the number" in done.stderr
