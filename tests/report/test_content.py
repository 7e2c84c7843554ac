"""What the page shows, before it is a page."""

import json

import run_folders

from seqmodel.job.results import results
from seqmodel.report.content import content


def change(path, **more):
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def test_the_commit_of_a_run_on_a_node_is_that_of_its_job(tmp_path):
    folder = run_folders.write_run(tmp_path / "out")

    def commit():
        [run] = content(results(str(tmp_path / "out")), "out")["runs"]
        return run["about"].get("commit")

    assert commit() == "0123456789ab with changes"
    change(folder / "hparams.json", _run={"name": "x", "code": {"commit": None}})
    assert commit() is None
    change(folder / "job.json", code={"commit": "fedcba9876543210", "changed": False})
    assert commit() == "fedcba987654"


def test_the_audit_of_a_run_is_shown_as_text(tmp_path):
    root = tmp_path / "out"
    run_folders.write_run(root, name="a", audit=run_folders.audit_report(0.5))
    run_folders.write_run(root, name="b")
    with_audit, without = content(results(str(root)), "out")["runs"]
    assert "mcc              0.500 (0.400 to 0.600)" in with_audit["audit"]
    assert "duplicates: test in train: 4 of 80 rows" in with_audit["audit"]
    assert without["audit"] == ""
