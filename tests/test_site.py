"""The site: it builds without a warning and without a network, and none of its links is dead."""

import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import seqmodel
from seqmodel import errors

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow
NO_NETWORK = """
import socket, sys
def refuse(*args, **kwargs):
    raise OSError("the site is built without a network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


class Links(HTMLParser):
    """What a page links to, what it loads, and the ids that it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[x] for x in ("id", "name") if found.get(x)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") not in ("search", "index", "next", "prev"):
            self.loads.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Every page of the built site, by its path, as Links."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", NO_NETWORK, "-q", "-W", "--keep-going"]
    command += ["-b", "html", "-c", "docs", "-d", str(out / "trees"), ".", str(out / "html")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not done.stderr
    html = out / "html"
    return {p.relative_to(html): Links(p.read_text()) for p in html.rglob("*.html")}, html


def test_no_link_is_dead(site):
    pages, html = site
    dead = []
    for path, page in pages.items():
        for link in page.links + page.loads:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                assert url.scheme in ("https", "http", "data", "mailto"), link
                continue
            there = path if not url.path else (path.parent / unquote(url.path))
            there = Path(os.path.normpath(there))
            anchor = unquote(url.fragment)
            has = there in pages and anchor in pages[there].ids
            if not (html / there).is_file() or (anchor and there.suffix == ".html" and not has):
                dead.append(f"{path}: {link}")
    assert not dead


def test_a_page_loads_nothing_from_elsewhere(site):
    pages, html = site
    loads = {
        x for page in pages.values() for x in page.loads if urlsplit(x).scheme not in ("data",)
    }
    assert not [x for x in loads if urlsplit(x).netloc]
    styles = "".join(path.read_text() for path in html.glob("_static/**/*.css"))
    assert not re.findall(r"url\(['\"]?https?:|@import", styles)


def test_every_page_and_notebook_is_there(site):
    pages, _ = site
    sources = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/decisions/*.md"), ROOT / "README.md"]
    sources += [*ROOT.glob("examples/*.ipynb"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    wanted = {path.relative_to(ROOT).with_suffix(".html") for path in sources}
    assert wanted <= pages.keys()


def test_the_reference_has_every_public_name_and_error(site):
    pages, _ = site
    api = pages[Path("docs/api.html")].ids
    assert {f"seqmodel.{name}" for name in seqmodel.__all__} <= api
    names = {f"seqmodel.errors.{n}" for n, _ in inspect.getmembers(errors, inspect.isclass)}
    mine = {n for n in names if getattr(errors, n.split(".")[-1]).__module__ == errors.__name__}
    assert len(mine) > 10
    assert mine <= pages[Path("docs/errors.html")].ids
