"""Folders that versions before 0.2.0 named, with paths as typed, are found and continued."""

import json
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, RUN, wait_final

from seqmodel.errors import JobError
from seqmodel.hparam.resolve import Run
from seqmodel.job import ShellJob, search

OLD = "fasta=.%2Fa.fa,seq_len=8,task=masked"
NEW = "fasta=a.fa-bb7e9f7d,seq_len=8,task=masked"  # printf a.fa | sha256sum
TYPED = {**RUN, "fasta": "./a.fa"}


@pytest.fixture
def earlier(monkeypatch):
    """Names and identities are made as 0.1.1 made them, until `undo`."""

    def values(run):
        tracked = run.parser.declared
        return {n: v for n, v in sorted(run.changed().items()) if tracked[n].tracked}

    def names(run):
        return (run.old_names() or [new(run)])[0]

    new = Run.canonical
    with monkeypatch.context() as patch:
        patch.setattr(Run, "canonical", names)
        patch.setattr(Run, "tracked_values", values)
        yield patch


def test_an_old_folder_is_topped_up_under_any_spelling(shell_job, workdir, earlier):
    first = shell_job.submit(**RUN)
    wait_final(shell_job, [first])
    name = "fasta=a.fa,seq_len=8,task=masked"
    assert first.folder == f"{name}/version_0"
    earlier.undo()
    spelt = [{**RUN, "fasta": fasta} for fasta in ("a.fa", "./a.fa", str(workdir / "a.fa"))]
    for run in spelt:
        assert shell_job.replicates(1, **run) == []
    more = shell_job.replicates(2, same_seed=True, **spelt[1])
    assert [r.folder for r in more] == [f"{name}/version_1"]
    assert shell_job.create(**spelt[2]).folder == f"{name}/version_2"
    assert sorted(p.name for p in Path("out").iterdir()) == [".seqmodel", name]


def test_runs_without_an_old_folder_have_the_name_of_their_file(shell_job, workdir):
    for n, fasta in enumerate(("./a.fa", "a.fa", str(workdir / "a.fa"))):
        assert shell_job.create(**{**RUN, "fasta": fasta}).folder == f"{NEW}/version_{n}"


def test_an_old_run_is_resumed_and_its_results_are_read(shell_job, workdir, earlier):
    failed = shell_job.submit(**TYPED, monitor="raise")
    wait_final(shell_job, [failed])
    earlier.undo()
    found = shell_job.status()
    assert [(s.state, s.folder) for s in found] == [("error", failed.path)]
    again = shell_job.resume()
    assert again == [failed]
    assert wait_final(shell_job, again)[0].attempts == 2
    assert [r.folder for r in shell_job.results()] == [failed.path]
    other = shell_job.create(**TYPED, monitor="raise")  # the record has the path as it was typed
    assert other.folder == failed.folder.replace("version_0", "version_1")


def test_an_old_folder_of_other_values_is_refused(shell_job, workdir, earlier):
    made = shell_job.create(**TYPED)
    earlier.undo()
    record = Path(made.path, "job.json")
    changed = json.loads(record.read_text())
    changed["changed"]["seq_len"] = 9
    record.write_text(json.dumps(changed))
    with pytest.raises(JobError, match="has replicates with other hyperparameters"):
        shell_job.create(**TYPED)


def test_a_search_of_an_earlier_version_goes_on(shell_job, workdir, earlier):
    space = {"lr": [0.1, 0.2]}
    search.grid(shell_job, TYPED, space).wait(timeout_s=60)
    earlier.undo()
    again = search.grid(shell_job, TYPED, {"lr": [0.1, 0.2, 0.3]})
    assert (again.counts["complete"], again.counts["new"], again.left) == (2, 1, [])
    again.wait(timeout_s=60)
    assert len(again.results()) == 3
    assert search.grid(shell_job, TYPED, {"lr": [0.1]}).left != []


def test_on_another_machine_too(ssh, tmp_path, earlier):
    (tmp_path / "a.fa").write_text(">c\nACGT\n")
    job = ShellJob(ssh, python=FAKE_PYTHON, workdir=str(tmp_path), heartbeat_s=1)
    name = "fasta=a.fa,seq_len=8,task=masked"
    assert job.create(**RUN).folder == f"{name}/version_0"
    earlier.undo()
    assert job.create(**TYPED).folder == f"{name}/version_1"
    assert job.create(**{**RUN, "fasta": str(tmp_path / "a.fa")}).folder == f"{name}/version_2"
    assert job.create(**TYPED, lr=0.5).folder.startswith("fasta=a.fa-bb7e9f7d,lr=0.5")
