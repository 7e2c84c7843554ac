import sys
import time
from pathlib import Path

import pytest

from seqmodel.job import ShellJob

sys.path.insert(0, str(Path(__file__).parent))
FAKE = str(Path(__file__).parent / "fake_python")
BASE = {"task": "masked", "fasta": "a.fa", "seq_len": 8, "max_epochs": 2}
# nothing is copied: a run takes a tenth of a second
SETTINGS = {"python": FAKE, "stage_code": False, "stage_data": False, "heartbeat_s": 1}


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    folder = tmp_path / "a b'c"
    folder.mkdir()
    (folder / "a.fa").write_text(">c1\n" + "ACGT" * 50 + "\n")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def job(workdir):
    return ShellJob(**SETTINGS, n_at_once=4)


def runs(workdir):
    """How often each run was started: {canonical/version_n: times}."""
    found = {}
    for path in Path(workdir).glob("out/*/version_*"):
        ran = path / "ran"
        found[str(path.relative_to(Path(workdir, "out")))] = (
            ran.read_text().count("ran") if ran.exists() else 0
        )
    return found


def wait_for(question, seconds=60):
    """Waits until `question()` is true."""
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, f"not within {seconds} s: {question}"
        time.sleep(0.1)


sys.modules.setdefault("search_helpers", sys.modules[__name__])
