"""Each block of code in the documents runs, in the order of its page."""

import os
import re
import shutil
from pathlib import Path

import docs_world
import pytest

import seqmodel

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/decisions/*.md")),
]
# These pages have tests of their own: a recipe, and jobs on a real Slurm behind a real sshd.
ELSEWHERE = {
    "CONTRIBUTING.md": "tests/test_recipe.py",
    "docs/howto-cluster.md": "tests/job/test_docs_commands.py",
    "docs/jobs.md": "tests/job/test_docs_commands.py",
    "docs/search.md": "tests/job/test_docs_commands.py",
    "docs/python.md": "tests/infer/test_python_page.py",
}
RUN = ("sh", "python", "toml")
SHOWN = ("text", "json", "md")
NOT_RUN = re.compile(r"\*Not run by the tests: .{10,}\.\*$")
AT_MOST = 7  # blocks that no test runs


def page_id(path):
    return str(path.relative_to(ROOT))


def code(path):
    """The blocks of a page that are to be run."""
    return [
        (kind, text)
        for kind, text, said in docs_world.blocks(path)
        if kind in RUN and not NOT_RUN.search(said)
    ]


WITH_CODE = [p for p in PAGES if page_id(p) not in ELSEWHERE and code(p)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    docs_world.make(folder)
    return folder


def test_each_block_says_what_it_is():
    """A block has a language; commands are not hidden in indented text, which nothing would run."""
    for path in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for kind, text, _ in docs_world.blocks(path):
            assert kind in (*RUN, *SHOWN) or kind.startswith("{"), f"{path}: {kind!r}\n{text}"
        hidden = re.findall(
            r"^(?:\n|.*[^\n|]\n)?\n {4}((?:python|seqmodel|pip|make|ssh) .*)",
            path.read_text(),
            re.M,
        )
        assert not hidden, f"{path}: use a block ```sh"


def test_few_blocks_are_not_run():
    said = [x for path in PAGES for kind, _, x in docs_world.blocks(path) if kind in RUN]
    assert len([x for x in said if NOT_RUN.search(x)]) <= AT_MOST


def test_pages_with_tests_of_their_own_are_read_by_them():
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", WITH_CODE, ids=page_id)
def test_the_code_of_a_page_runs(page, world, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(os.fspath(here))
    monkeypatch.setattr(seqmodel, "train", docs_world.train_shortly, raising=False)
    names: dict = {"__name__": "page"}
    for kind, text in code(page):
        docs_world.run_block(kind, text, names)
