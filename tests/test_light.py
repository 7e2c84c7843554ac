"""The light half imports nothing but the standard library, and other layers stay below it."""

import subprocess
import sys
from pathlib import Path

import pytest

from seqmodel import light

ROOT = Path(__file__).resolve().parents[1]
# refuses whatever is neither of the standard library nor ours
CODE = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in sys.stdlib_module_names and top != "seqmodel":
            raise ImportError(f"a light module imports {name}")

sys.meta_path.insert(0, Refuse())
importlib.import_module(sys.argv[1])
"""


def run(module):
    return subprocess.run(
        [sys.executable, "-c", CODE, module], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("module", light.modules())
def test_a_light_module_imports_the_standard_library_only(module):
    done = run(module)
    assert done.returncode == 0, done.stderr


def test_the_finder_refuses_a_heavy_module():
    done = run("seqmodel.rng")
    assert done.returncode != 0
    assert "a light module imports numpy" in done.stderr


def test_all_of_hparam_is_light():
    names = {path.stem for path in (ROOT / "seqmodel/hparam").glob("*.py")}
    assert {f"seqmodel.hparam.{n}" for n in names - {"__init__"}} <= set(light.modules())
