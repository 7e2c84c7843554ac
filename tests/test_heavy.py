"""Heavy imports pause the garbage collector once, and leave it as it was."""

import gc
import sys

import pytest

from seqmodel.heavy import heavy_imports


@pytest.fixture
def no_torch(monkeypatch):
    """Torch is not imported yet."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "torch")
    before = gc.get_freeze_count()
    yield
    gc.enable()
    if not before:
        gc.unfreeze()


def test_the_collector_is_paused_and_runs_again(no_torch):
    with heavy_imports():
        assert not gc.isenabled()
        with heavy_imports(freeze=True):  # the outer one decides
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), heavy_imports():
        raise ImportError
    assert gc.isenabled()


def test_only_a_process_of_ours_freezes_its_objects(no_torch):
    before = gc.get_freeze_count()
    with heavy_imports():
        pass
    assert gc.get_freeze_count() == before
    with heavy_imports(freeze=True):
        kept = [[]]
    assert gc.get_freeze_count() > before + 1000
    assert all(x is not kept for x in gc.get_objects())


def test_a_collector_that_the_user_has_stopped_stays_so(no_torch):
    gc.disable()
    with heavy_imports(freeze=True):
        pass
    assert not gc.isenabled()


def test_nothing_changes_once_torch_is_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", sys)
    with heavy_imports(freeze=True):
        assert gc.isenabled()
