"""Which folder a run takes, and what its record says."""

import importlib.metadata
import json
import subprocess
import threading

import pytest

from seqmodel.errors import RunError
from seqmodel.hparam.resolve import resolve
from seqmodel.record import folder as run_folder
from seqmodel.record.code import current_code
from seqmodel.record.lock import FolderLock


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (run_folder.FOLDER_VARIABLE, "RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "a.fa").write_text(">a\nACGT\n")

    def make(*args, fasta="a.fa"):
        return resolve(["--task=masked", f"--fasta={fasta}", "--seq_len=4", *args])

    return make


def folder_of(run):
    with FolderLock() as lock:
        return run_folder.run_folder(run, lock)


def test_versions_are_given_out_once_to_many_at_a_time(tmp_path):
    taken = []

    def take():
        taken.extend(run_folder.next_version(tmp_path / "name") for _ in range(20))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {path.name for path in taken} == {f"version_{n}" for n in range(160)}
    assert len(taken) == 160


def test_a_run_without_a_folder_is_numbered_below_its_name_however_its_files_are_spelt(
    make_run, tmp_path
):
    name = "fasta=a.fa-bb7e9f7d,seq_len=4,task=masked"  # printf a.fa | sha256sum
    for n, fasta in enumerate(("a.fa", "./a.fa", str(tmp_path / "a.fa"))):
        assert str(folder_of(make_run(fasta=fasta))) == f"out/{name}/version_{n}"


def test_the_numbers_go_on_in_a_folder_that_an_earlier_version_named(make_run, tmp_path):
    name = "fasta=a.fa,seq_len=4,task=masked"
    (tmp_path / "out" / name / "version_0").mkdir(parents=True)
    assert str(folder_of(make_run())) == f"out/{name}/version_1"
    assert str(folder_of(make_run(fasta="./a.fa"))) == f"out/{name}/version_2"
    assert "fasta=a.fa-bb7e9f7d,lr=0.5" in str(folder_of(make_run("--lr=0.5")))


def test_a_folder_that_only_has_a_jobs_hyperparameters_is_taken(make_run, tmp_path):
    run = make_run("--default_root_dir=r")
    (tmp_path / "r").mkdir()
    (tmp_path / "r/hparams.json").write_text(json.dumps({"lr": 1}))
    assert folder_of(run).name == "r"
    run_folder.write_record(tmp_path / "r", run, {})
    with pytest.raises(RunError, match="r already holds a run"):
        folder_of(run)


def test_an_unreadable_record_is_not_replaced(make_run, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r/hparams.json").write_text('{"lr": 1')
    with pytest.raises(RunError, match="already holds a run"):
        folder_of(make_run("--default_root_dir=r"))


def test_a_file_in_the_way_is_told(make_run, tmp_path):
    (tmp_path / "r").write_text("")
    with pytest.raises(RunError, match="cannot create the run folder r: File exists"):
        folder_of(make_run("--default_root_dir=r"))
    (tmp_path / "out").write_text("")
    with pytest.raises(RunError, match="cannot create a run folder below out/.*: Not a directory"):
        folder_of(make_run())


@pytest.mark.parametrize(
    "ranks", [{"LOCAL_RANK": "1"}, {"RANK": "3"}, {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}]
)
def test_other_ranks_take_the_folder_of_the_first(make_run, tmp_path, monkeypatch, ranks):
    first = folder_of(make_run())
    monkeypatch.chdir(tmp_path)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    assert folder_of(make_run()) == first.resolve()
    monkeypatch.delenv(run_folder.FOLDER_VARIABLE)
    assert str(folder_of(make_run("--default_root_dir=r"))) == "r"
    with pytest.raises(RunError, match="set --default_root_dir"):
        folder_of(make_run())


def test_a_batch_step_of_slurm_is_the_first_rank(make_run, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert not run_folder.is_other_rank()


def test_of_a_package_that_is_there_twice_the_imported_version_is_recorded(tmp_path, monkeypatch):
    """As in a virtual environment on a cluster that extends the packages of a module."""
    for version in ("1.0", "2.0"):
        info = tmp_path / version / f"twice-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: twice\nVersion: {version}\n")
        monkeypatch.syspath_prepend(tmp_path / version)
    assert run_folder.packages()["twice"] == "2.0"


def test_the_packages_are_those_that_the_library_finds(tmp_path, monkeypatch):
    egg = tmp_path / "old-3.egg-info"
    egg.mkdir()
    (egg / "PKG-INFO").write_text("Name: old\nVersion: 3\n")
    other = tmp_path / "Other-1!2.0.dist-info"
    other.mkdir()
    text = "Version: 1!2.0+ü \nDescription: Name: a\n        Name: b\nName: Other\n\nName: c\n"
    (other / "METADATA").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    expected = {}
    for distribution in importlib.metadata.distributions():
        expected.setdefault(distribution.metadata["Name"], distribution.version)
    assert run_folder.packages() == expected
    assert (expected["old"], expected["Other"]) == ("3", "1!2.0+ü ")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """The package as one that lies in no checkout."""
    monkeypatch.setattr("seqmodel.record.code.ROOT", str(tmp_path / "site-packages"))


@pytest.mark.usefixtures("installed")
def test_the_record_has_the_digest_of_the_code_and_the_plugins_themselves(make_run, tmp_path):
    source = "x = 'ü'\r\n\n\f\nimport other\r"
    (tmp_path / "mine.py").write_bytes(source.encode())
    (tmp_path / "other.py").write_text("y = 2\n")
    run = make_run("--plugins=mine")
    assert run_folder.write_record(tmp_path, run, {}) == []
    code = json.loads((tmp_path / "hparams.json").read_text())["_run"]["code"]
    assert code["digest"] == current_code(["mine"]).digest != current_code().digest
    (tmp_path / "there").mkdir()
    command = ["git", "apply", tmp_path / "code.diff"]
    subprocess.run(command, cwd=tmp_path / "there", check=True)
    assert (tmp_path / "there/mine.py").read_bytes() == source.encode()
    assert (tmp_path / "there/other.py").read_text() == "y = 2\n"


@pytest.mark.usefixtures("installed")
def test_code_that_changed_before_a_run_is_resumed_is_told_and_kept(make_run, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    run = make_run("--plugins=mine")
    run_folder.write_record(tmp_path, run, {})
    first = (tmp_path / "code.diff").read_text()
    run.values.resume_from_checkpoint = "last.ckpt"
    assert run_folder.write_record(tmp_path, run, {}) == []
    (tmp_path / "mine.py").write_text("x = 2\n")
    [told] = run_folder.write_record(tmp_path, run, {})
    record = json.loads((tmp_path / "hparams.json").read_text())["_run"]
    begun, now = record["code"]["digest"], record["resumed"][1]["code"]["digest"]
    assert told == f"the code is not that of the run so far: {now}, was {begun}"
    assert record["resumed"][0]["code"]["digest"] == begun != now
    assert (tmp_path / "code.diff").read_text() == first
    assert "+x = 2" in (tmp_path / f"code.{now}.diff").read_text()


def test_a_moved_default_changes_the_digest(make_run):
    run = make_run()
    before = run_folder.defaults_digest(run)
    assert run_folder.defaults_digest(make_run("--lr=7")) == before
    own = run.parser.declared["lr"].default
    run.parser.set_defaults(lr=7)
    moved = run_folder.defaults_digest(run)
    run.parser.set_defaults(lr=own)  # the parser is shared by all runs of these choices
    assert moved != before == run_folder.defaults_digest(run)
