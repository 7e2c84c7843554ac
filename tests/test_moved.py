"""Old import paths give the modules at their new places, and warn."""

import sys
from importlib import import_module

import pytest

MOVED = {
    "seqmodel.checkpoint": "seqmodel.record.checkpoint",
    "seqmodel.trainer": "seqmodel.training.trainer",
    "seqmodel.run_folder": "seqmodel.record.folder",
    "seqmodel.hparam.run": "seqmodel.hparam.resolve",
    "seqmodel.job.search_space": "seqmodel.job.search.space",
    "seqmodel.dataset.alphabet": "seqmodel.dataset.seq.alphabet",
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_gives_the_module_at_its_new_place(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(FutureWarning, match=f"{old} has moved to {MOVED[old]};"):
        found = import_module(old)
    assert found is import_module(MOVED[old])


@pytest.mark.parametrize(
    ("package", "name", "module"),
    [
        ("seqmodel.dataset.interval", "Intervals", "seqmodel.dataset.interval.interval"),
        ("seqmodel.job.results", "results", "seqmodel.job.results.table"),
        ("seqmodel.job.search", "grid", "seqmodel.job.search.fixed"),
    ],
)
def test_a_module_that_became_a_room_gives_what_it_gave(package, name, module):
    assert getattr(import_module(package), name) is getattr(import_module(module), name)
