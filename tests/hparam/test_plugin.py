"""Importing plugins: packages, classes without a role, and torch."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from programs import forget_plugins

from seqmodel.hparam.registry import known_hparams

ROOT = Path(__file__).resolve().parents[2]
CLASS = '''
from seqmodel.hparam import Hparams, integer
from seqmodel.hparam.model import EncoderHparams

class {cls}({base}):
    """Own."""
    name = {name!r}

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--{hparam}", type=integer(), default=1, help="of the plugin")
'''


def source(cls="OwnHparams", base="EncoderHparams", name="own", hparam="own_width"):
    return CLASS.format(cls=cls, base=base, name=name, hparam=hparam)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forget_plugins(monkeypatch)
    yield tmp_path
    forget_plugins(monkeypatch)


def names(*plugins):
    return {cls.__name__ for cls in known_hparams(plugins)} - {
        cls.__name__ for cls in known_hparams()
    }


def test_a_class_that_is_imported_into_a_package_is_found(folder):
    package = folder / "own_package/deep"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "hparams.py").write_text(source())
    (folder / "own_package/__init__.py").write_text(
        "from .deep.hparams import OwnHparams\nfrom own_package_2 import OtherHparams\n"
    )
    (folder / "own_package_2.py").write_text(source(cls="OtherHparams", hparam="other"))
    assert names("own_package") == {"OwnHparams"}  # what another package defines is its own
    assert names("own_package", "own_package.deep.hparams") == {"OwnHparams"}


def test_a_class_without_a_role_is_told(folder):
    (folder / "lost.py").write_text(source(base="Hparams"))
    with pytest.warns(UserWarning, match=r"lost\.OwnHparams has no role.*EncoderHparams") as told:
        known_hparams(["lost"])
    assert len(told) == 1


def test_a_base_of_a_class_with_a_role_is_not_told(folder):
    shared = source(cls="SharedHparams", base="Hparams", name=None, hparam="shared")
    own = source(base="EncoderHparams, SharedHparams")
    (folder / "mixed.py").write_text(shared + own)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names("mixed") == {"SharedHparams", "OwnHparams"}


def test_a_role_s_class_of_the_package_is_not_replaced_by_a_name(folder):
    (folder / "same.py").write_text(source(cls="TrainerHparams"))
    from seqmodel.hparam.registry import always

    assert {cls.__module__ for cls in always(known_hparams(["same"]))} == {
        "seqmodel.hparam.trainer"
    }


def python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip


READ = "from seqmodel.hparam.registry import known_hparams; known_hparams(['heavy'])"


@pytest.mark.parametrize("line", ["import torch", "import torch.nn as nn", "from torch import nn"])
def test_a_plugin_that_imports_torch_is_refused_where_torch_is_installed(folder, line):
    # also where it would catch the error, and by a module of its own
    (folder / "heavy_model.py").write_text(f"try:\n    {line}\nexcept ImportError:\n    pass\n")
    (folder / "heavy.py").write_text("import heavy_model\n" + source())
    done = python(READ, folder)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "HparamError: --plugins: 'heavy' imports torch" in last
    assert "target" in last


@pytest.mark.slow
def test_torch_that_is_there_is_left_alone(folder):
    (folder / "heavy.py").write_text("import torch.nn.utils.rnn\n" + source())
    done = python(f"import torch; {READ}; import torch.utils.benchmark", folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_torch_can_be_imported_after_a_plugin_was_refused(folder):
    (folder / "heavy.py").write_text("import torch\n" + source())
    code = f"""
from seqmodel.errors import HparamError
try:
    {READ}
except HparamError:
    import torch
    print(torch.zeros(2).tolist())
"""
    assert python(code, folder).stdout == "[0.0, 0.0]\n"


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_a_class_without_a_role_is_told_in_one_line(folder, verb):
    (folder / "lost.py").write_text(source(base="Hparams"))
    (folder / "a.fa").write_text(">a\nACGT\n")
    words = ["--plugins", "lost", "--encoder", "own", "--task", "masked", "--fasta", "a.fa"]
    done = subprocess.run(
        [sys.executable, "-m", "seqmodel.cli.verbs", verb, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    told, refused = done.stderr.splitlines()
    assert told.startswith("warning: lost.OwnHparams has no role")
    assert refused.startswith("HparamError: --encoder: no encoder 'own'")
