"""A missing package is named with the command that installs it; README has the tested versions."""

import re
import tomllib
from pathlib import Path

import pytest

from seqmodel.errors import HparamError, RunError
from seqmodel.extras import missing, optional

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SOURCES = [*sorted((ROOT / "seqmodel").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_a_package_that_is_there_is_imported():
    assert optional("json.decoder", "it", "report", RunError).JSONDecoder


def test_a_missing_package_is_named_with_both_ways_to_get_it():
    with pytest.raises(HparamError) as caught:
        optional("no_such_package.part", "--align", "audit", HparamError)
    assert str(caught.value) == (
        "--align needs the package no_such_package: pip install no_such_package, or the whole "
        "extra 'audit': pip install '.[audit]' in the checkout of seqmodel"
    )
    assert "pip install mlflow-skinny," in missing("--logger=mlflow", "mlflow", "mlflow")


def test_no_text_says_that_seqmodel_is_on_pypi():
    on_pypi = re.compile(r"pip install (?:-U |--upgrade )?'?seqmodel\b(?! @)")
    assert not [p for p in SOURCES if on_pypi.search(p.read_text(encoding="utf-8"))]


def test_the_code_names_extras_that_exist():
    call = re.compile(r"\b(?:optional|missing)\([^()]*(?:\([^()]*\)[^()]*)*?, \"(\w[\w,]*)\"[,)]")
    found = {e for path in SOURCES for m in call.findall(path.read_text()) for e in m.split(",")}
    assert {"lora", "audit", "parquet", "report", "export"} <= found
    assert found <= set(EXTRAS)
