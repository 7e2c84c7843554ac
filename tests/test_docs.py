"""What the documents say exists, runs, and agrees with the package."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import seqmodel
from seqmodel.hparam.model import DecoderHparams, EncoderHparams
from seqmodel.hparam.registry import choices, known_hparams

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data/demo/SOURCE.md"])
# What `make demo` or a run of the user writes, and folders that only name a place.
MADE_LATER = ("out/", "docs/_build/", ".venv/", "~/", "/")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [x for x in links if "://" not in x and not (page.parent / x).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_paths_in_code_font_exist(page):
    """Such as `seqmodel/model/` and `tests/model_cases.py`, from the root."""
    folders = {p.name for p in ROOT.iterdir() if p.is_dir()}
    missing = []
    for text in re.findall(r"(?<!`)`([\w./-]+)`(?!`)", page.read_text()):
        is_path = text.split("/")[0] in folders and "/" in text
        if is_path and not text.startswith(MADE_LATER) and not list(ROOT.glob(text.rstrip("/"))):
            missing.append(text)
    assert not missing


@pytest.mark.parametrize("kind", [EncoderHparams, DecoderHparams])
def test_the_page_of_models_names_every_one(kind):
    names = set(choices(kind, known_hparams()))
    page = (ROOT / "docs/models.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    decoders = re.findall(r"`(\w+)` \(", page.partition("Decoders:")[2].partition("\n\n")[0])
    assert set(rows if kind is EncoderHparams else decoders) == names


def test_versions_agree():
    assert f"version: {seqmodel.VERSION}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {seqmodel.VERSION}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_names_the_versions_that_are_tested():
    pins = dict(x.split("==") for x in (ROOT / "constraints.txt").read_text().split() if "==" in x)
    short = {n: ".".join(pins[n].split(".")[:2]) for n in ("torch", "pytorch-lightning")}
    said = f"PyTorch {short['torch']} and Lightning {short['pytorch-lightning']};"
    assert said in (ROOT / "README.md").read_text()


def test_constraints_pin_every_direct_dependency_exactly():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    assert not any("+" in version for version in pins.values())
    installed = sorted(set(project["optional-dependencies"]) - {"mlflow", "wandb"})
    extras = [x for name in installed for x in project["optional-dependencies"][name]]
    wanted = {re.split(r"[<>=\[ ]", x)[0] for x in project["dependencies"] + extras}
    assert wanted <= set(pins)


@pytest.mark.slow
def test_the_demo_runs_quickly_through(tmp_path):
    done = subprocess.run(
        [sys.executable, "examples/demo.py", "--quick", f"--out={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    table = done.stdout.partition("AUROC")[2]
    for row in ("GC content", "4-mers", "from scratch", "fine-tuned", "order 5", "masked model"):
        assert re.search(rf"{row}.*\d\.\d\d\d\d", table)
    for row in ("third position", "a stop codon", "out of frame", "shifts the frame"):
        assert re.search(rf"{row} +\d+ +[+-]\d\.\d\d +\d\.\d\d\n", done.stdout)
    (run,) = tmp_path.iterdir()
    assert str(run / "explained.html") in done.stdout
    assert (run / "explained.html").read_text().count("<section>") == 3
    n_alleles = len((run / "scored.tsv").read_text().splitlines()) - 1
    assert n_alleles == 140  # 40 x 3 SNVs, 20 insertions and deletions
    assert f"{n_alleles} inputs: {n_alleles} ok" in done.stderr
