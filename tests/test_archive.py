"""Checkpoints that each released version wrote still load, through all three options."""

import json
import sys
from pathlib import Path

import pytest

from seqmodel import VERSION
from seqmodel.hparam.digest import definition_digests, definitions
from seqmodel.hparam.resolve import resolve
from seqmodel.record import checkpoint
from seqmodel.run import main
from seqmodel.training.build import build
from seqmodel.training.metrics_csv import read_rows

ARCHIVE = Path(__file__).parent / "archive"
sys.path.insert(0, str(ARCHIVE))

from cases import CASES, outputs, write_data  # noqa: E402

FILES = sorted(ARCHIVE.glob("*/*.ckpt"))
ids = [f"{path.parent.name}/{path.stem}" for path in FILES]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture
def folder(data, monkeypatch):
    monkeypatch.chdir(data)
    monkeypatch.delenv("SEQMODEL_RUN_FOLDER", raising=False)
    return data


def test_the_archive_of_this_version_has_every_task():
    assert {path.stem for path in ARCHIVE.glob(f"{VERSION}/*.ckpt")} == set(CASES)


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_weights_of_every_version_give_what_they_gave(folder, path):
    run = resolve({"mode": "test", "load_checkpoint_path": str(path)})
    expected = json.loads((path.parent / "outputs.json").read_text())[path.stem]
    assert outputs(build(run).task) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*best.ckpt is missing")
@pytest.mark.parametrize("path", FILES, ids=ids)
def test_runs_of_every_version_go_on(folder, tmp_path, path):
    target = f"--default_root_dir={tmp_path / 'run'}"
    assert main([f"--resume_from_checkpoint={path}", "--max_epochs=2", target]) == 0
    stored = checkpoint.load(path)
    again = checkpoint.load(tmp_path / "run/checkpoints/last.ckpt")
    assert again["global_step"] == 2 * stored["global_step"] > 0
    rows = read_rows(tmp_path / "run/metrics.csv")
    assert any(value for name, value in rows[-1].items() if name.startswith("test_"))


@pytest.mark.parametrize("path", FILES, ids=ids)
def test_encoders_of_every_version_start_another_task(folder, path):
    task = {"task": "regress" if "multilabel" in path.stem else "multilabel"}
    table = CASES["regress" if task["task"] == "regress" else "multilabel"]
    run = resolve({**table, **task, "load_encoder_from_checkpoint": str(path)})
    ours = build(run).task.encoder.state_dict()
    theirs = checkpoint.load(path)["state_dict"]
    assert ours
    assert all((ours[name] == theirs[f"encoder.{name}"]).all() for name in ours)


def test_a_changed_definition_takes_a_step_of_version():
    """Names, types, bounds, choices and defaults as this version released them; others may come.

    While the version is not released yet: python tests/archive/cases.py writes them anew. After
    that a change needs a new VERSION and, where stored values are concerned, a Step in
    seqmodel/hparam/migrate.py.
    """
    known, now = json.loads((ARCHIVE / "definitions.json").read_text()), definition_digests()
    assert {name: now.get(name) for name in known[VERSION]} == known[VERSION]


def test_the_digest_sees_each_part_of_a_definition(monkeypatch):
    from seqmodel.hparam import digest

    before = definition_digests()
    for change in (
        lambda d: d.pop("lr"),
        lambda d: d["lr"].__setitem__(0, "a number"),
        lambda d: d["lr"].__setitem__(1, ["0.1"]),
        lambda d: d["lr"].__setitem__(3, False),
    ):
        changed = definitions()
        change(changed)
        with monkeypatch.context() as patch:
            patch.setattr(digest, "definitions", lambda changed=changed: changed)
            after = digest.definition_digests()
        assert {name for name in before if after.get(name) != before[name]} == {"lr"}
