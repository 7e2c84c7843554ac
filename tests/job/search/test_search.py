"""Searches through real shell jobs: what is submitted, what is not submitted twice."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from search_helpers import BASE, runs, wait_for

from seqmodel.errors import BusyError, HparamError, JobError, MissingError
from seqmodel.job import search
from seqmodel.job.search.fixed import statuses
from seqmodel.job.search.space import log_uniform

pytestmark = pytest.mark.slow

SPACE = {"lr": [1e-3, 1e-2], "weight_decay": [0.1, 0.2, 0.3]}


def test_a_grid_runs_each_point_once_and_shows_its_results(job, workdir):
    found = search.grid(job, BASE, SPACE)
    assert found.counts == {"new": 6, "again": 0}
    assert {s.state for s in found.wait(timeout_s=60)} == {"complete"}
    assert sorted(runs(workdir).values()) == [1] * 6
    table = found.results()
    assert table.varying == ["lr", "weight_decay"]
    points = {(r.hparams["lr"], r.hparams["weight_decay"]) for r in table}
    assert points == {(lr, wd) for lr in SPACE["lr"] for wd in SPACE["weight_decay"]}
    assert "6 points, 6 runs" in found._repr_html_()


def test_the_same_call_again_submits_what_is_missing_only(job, workdir):
    search.grid(job, BASE, {**SPACE, "lr": [1e-3]}).wait(timeout_s=60)
    again = search.grid(job, BASE, SPACE)
    assert again.counts == {"complete": 3, "new": 3, "again": 0}
    again.wait(timeout_s=60)
    assert sorted(runs(workdir).values()) == [1] * 6
    assert all(name.endswith("version_0") for name in runs(workdir))


def cancelled(job, names):
    found = [s for s in job.status() if s.folder.split("/")[-2] in names]
    return {s.state for s in found} == {"error"}


def test_points_that_left_are_listed_and_cancelled_only_if_asked(job, workdir):
    slow = {**BASE, "log_every_n_steps": 20000}
    search.grid(job, slow, SPACE)
    smaller = search.grid(job, slow, {**SPACE, "lr": [1e-3]})
    left = set(smaller.left)
    assert len(left) == 3
    assert all("lr=0.01" in name for name in smaller.left)
    assert smaller.counts["new"] == 0
    states = {s.folder.split("/")[-2]: s for s in job.status()}
    assert all(not states[name].is_final for name in smaller.left)
    assert smaller.cancel_left() == 3
    wait_for(lambda: cancelled(job, left))
    assert smaller.cancel_left() == 0
    assert search.grid(job, slow, {**SPACE, "lr": [1e-3]}).left == smaller.left
    smaller.cancel()


def test_errors_are_offered_again_unless_told_otherwise(job, workdir):
    found = search.from_list(job, BASE, [{"seed": 13}, {"seed": 12}])
    assert [s.state for s in found.wait(timeout_s=60)] == ["error", "complete"]
    assert search.from_list(job, BASE, [{"seed": 13}], retry="none").counts["again"] == 0
    again = search.from_list(job, BASE, [{"seed": 13}, {"seed": 12}])
    assert again.counts == {"complete": 1, "error": 1, "new": 0, "again": 1}
    assert [s.state for s in again.wait(timeout_s=60)] == ["complete", "complete"]
    assert sorted(runs(workdir).values()) == [1, 2]


def test_one_setting_written_in_two_ways_is_one_run(job, workdir):
    points = [{"lr": 1e-3}, {"lr": "0.001"}, {}, {"weight_decay": 0.5}]
    found = search.from_list(job, BASE, points)
    assert (len(found.runs), found.n_duplicates) == (2, 2)
    found.wait(timeout_s=60)
    assert search.from_list(job, BASE, points, repeat=True).counts["new"] == 2
    assert len(runs(workdir)) == 4


def test_replicates_differ_in_their_seed(job, workdir):
    found = search.grid(job, {**BASE, "seed": 5}, {"lr": [1e-3, 1e-2]}, n_replicates=3)
    found.wait(timeout_s=60)
    assert {r.hparams["seed"] for r in found.results()} == {5, 6, 7}
    assert [g["best_n"] for g in found.results().grouped()] == [3, 3]
    with pytest.raises(HparamError, match="remove seed from the search"):
        search.grid(job, BASE, {"seed": [1]}, n_replicates=2)


def test_every_point_is_checked_before_the_first_is_submitted(job, workdir):
    with pytest.raises(HparamError, match=r"point 3 of 3 \(lr=-1\): --lr"):
        search.grid(job, BASE, {"lr": [1e-3, 1e-2, -1]})
    with pytest.raises(HparamError, match="did you mean 'n_layers'"):
        search.grid(job, BASE, {"n_layer": [1]})
    with pytest.raises(HparamError, match="set it for the job"):
        search.grid(job, {**BASE, "job_out_dir": "x"}, {"lr": [1e-3]})
    assert not Path("out").exists()
    assert not Path("searches").exists()


def test_a_dry_run_submits_nothing(job, workdir):
    found = search.random(job, BASE, {"lr": log_uniform(1e-4, 1)}, n=5, dry_run=True)
    assert found.counts == {"new": 5, "again": 0}
    assert runs(workdir) == {}


def test_the_record_says_what_was_searched(job, workdir):
    search.random(job, BASE, {"lr": log_uniform(1e-4, 1)}, n=3, seed=4, name="my search").wait(
        timeout_s=60
    )
    record = json.loads(Path("searches/my search/search.json").read_text())
    assert record["space"] == {
        "space": {"lr": {"range": ["log_uniform", 1e-4, 1.0], "when": {}}},
        "n": 3,
        "seed": 4,
    }
    assert len(record["points"]) == 3
    Path("searches/my search/search.json").write_text("{")
    with pytest.raises(JobError, match="not a record of a search"):
        search.grid(job, BASE, SPACE, name="my search")


def test_two_drivers_do_not_work_on_one_search(job, workdir):
    found = search.grid(job, BASE, {"lr": [1e-3]})
    with (
        found.record.locked(),
        pytest.raises(JobError, match="another process is running the search"),
    ):
        search.grid(job, BASE, {"lr": [1e-3, 1e-2]})
    found.wait(timeout_s=60)


def test_a_program_that_a_killed_driver_was_starting_does_not_keep_the_search(job, workdir):
    """Between fork and exec a child holds what its parent had locked."""
    record = search.grid(job, BASE, {"lr": [1e-3]}).record
    driver = os.fork()
    if driver == 0:
        with record.locked():
            if os.fork() == 0:
                time.sleep(0.5)
                os._exit(0)
            Path("starting").touch()
            time.sleep(60)
    wait_for(Path("starting").exists)
    os.kill(driver, signal.SIGKILL)
    os.waitpid(driver, 0)
    with record.locked():
        pass


def test_one_that_somebody_else_submits_does_not_keep_the_others(job, workdir, monkeypatch):
    points = [{"seed": 13, "lr": lr} for lr in (2e-3, 4e-3, 1e-2)]
    found = search.from_list(job, BASE, points)
    assert [s.state for s in found.wait(timeout_s=60)] == ["error"] * 3
    resume, taken = job.resume, []

    def busy(again):
        if any("lr=0.01" in r.path for r in again):
            raise BusyError("said in other words")
        taken.extend(r.path for r in again)
        return resume(again)

    monkeypatch.setattr(job, "resume", busy)
    again = search.from_list(job, BASE, points)
    assert again.counts == {"error": 3, "new": 0, "again": 3, "being submitted": 1}
    assert len(taken) == 2
    again.wait(timeout_s=60)
    monkeypatch.setattr(job, "resume", lambda again: (_ for _ in ()).throw(JobError("refused")))
    with pytest.raises(JobError, match="refused"):
        search.from_list(job, BASE, points)


def test_a_folder_that_is_not_there_yet_has_no_runs(job, monkeypatch):
    def missing(root):
        raise MissingError("said in other words")

    os.makedirs("out")
    monkeypatch.setattr(job, "status", missing)
    assert list(statuses(job)) == []
