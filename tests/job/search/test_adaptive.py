"""Searches by optuna through real shell jobs."""

import os
import random
import signal
import statistics
import time
import warnings

import optuna
import pytest
from fake_search_run import branin
from search_helpers import BASE, SETTINGS, runs

from seqmodel.errors import JobError
from seqmodel.hparam.resolve import Run
from seqmodel.job import ShellJob, search
from seqmodel.job.search.adaptive import AdaptiveSearch, adaptive
from seqmodel.job.search.space import choice, integer, uniform

pytestmark = pytest.mark.slow

SPACE = {"lr": uniform(0.001, 1), "weight_decay": uniform(0, 1)}
FAST = {"every_s": 0.05}


def test_it_runs_n_points_and_the_study_is_optunas_own(job, workdir):
    found = adaptive(job, BASE, SPACE, n=7, n_at_once=3, **FAST)
    trials = found.study.get_trials()
    assert [t.state.name for t in trials] == ["COMPLETE"] * 7
    assert sorted(runs(workdir).values()) == [1] * 7
    for trial in trials:
        point = trial.user_attrs["point"]
        assert trial.value == pytest.approx(branin(point["lr"], point["weight_decay"]))
    assert len(found.results()) == 7
    assert "best valid_loss" in repr(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = optuna.visualization.plot_parallel_coordinate(found.study)
    assert len(figure.data) >= 7


def test_the_same_call_again_adds_what_is_missing(job, workdir):
    adaptive(job, BASE, SPACE, n=3, **FAST)
    found = adaptive(job, BASE, SPACE, n=5, **FAST)
    points = [tuple(t.user_attrs["point"].values()) for t in found.study.get_trials()]
    assert len(set(points)) == 5
    assert sorted(runs(workdir).values()) == [1] * 5


def test_a_search_of_an_earlier_version_goes_on(job, workdir, monkeypatch):
    """Whose trials and folders are named with the path as it was typed."""
    with monkeypatch.context() as earlier:
        earlier.setattr(Run, "canonical", lambda run: run.old_names()[0])
        adaptive(job, BASE, SPACE, n=2, **FAST)
        half = AdaptiveSearch(job, BASE, SPACE)
        asked = half.open("tpe", "none").ask()  # by a driver that was killed before it submitted
        point = {"lr": 0.5, "weight_decay": 0.5}
        asked.set_user_attr("point", point)
        asked.set_user_attr("canonical", job.resolve({**BASE, **point}).canonical())
    found = adaptive(job, BASE, SPACE, n=4, **FAST)
    assert [t.state.name for t in found.study.get_trials()] == ["COMPLETE"] * 4
    assert sorted(runs(workdir).values()) == [1] * 4
    assert sum("fasta=a.fa," in name for name in runs(workdir)) == 2
    assert len(found.results()) == 4


def test_conditions_and_choices_of_anything_work(job, workdir):
    space = {
        "encoder": ["transformer", "dilated_conv"],
        "n_heads": choice([2, 4]).when(encoder="transformer"),
        "n_layers": integer(1, 4),
    }
    found = adaptive(job, BASE, space, n=6, sampler="random", **FAST)
    for trial in found.study.get_trials():
        point = trial.user_attrs["point"]
        assert ("n_heads" in point) == (point["encoder"] == "transformer")


def test_failed_runs_are_told_as_failed(job, workdir):
    found = adaptive(job, {**BASE, "seed": 13}, SPACE, n=3, **FAST)
    assert [t.state.name for t in found.study.get_trials()] == ["FAIL"] * 3


def test_poor_runs_are_ended_early(job, workdir):
    base = {**BASE, "max_epochs": 20, "log_every_n_steps": 100}
    pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1)
    found = AdaptiveSearch(job, {**base, "weight_decay": 0.15}, {"lr": uniform(0.001, 1)})
    study = found.open("random", pruner)
    for lr in (0.54, 0.55, 0.001, 0.002):  # two good ones, then two poor ones
        study.enqueue_trial({"lr": lr})
    found.run(4, n_at_once=1, every_s=0.1)
    states = [t.state.name for t in study.get_trials()]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    epochs = {r.hparams["lr"]: r.n_epochs for r in found.results()}
    assert epochs[0.54] == 20
    assert epochs[0.001] < 15
    assert sorted(s.reason for s in job.status()) == ["", "", *["pruned by the search"] * 2]


def test_wrong_names_are_one_line(job, workdir):
    with pytest.raises(JobError, match="sampler 'best': use one of tpe"):
        adaptive(job, BASE, SPACE, n=1, sampler="best")
    with pytest.raises(JobError, match="pruner 'best': use one of none"):
        adaptive(job, BASE, SPACE, n=1, pruner="best")


def test_a_killed_driver_is_followed_without_loss_or_repetition(workdir):
    rng = random.Random(0)
    for i in range(8):

        def drive(i=i):
            job = ShellJob(**SETTINGS, n_at_once=3, grace_s=3, job_out_dir=f"out/{i}")
            return adaptive(job, BASE, SPACE, n=8, n_at_once=3, seed=i, name=str(i), **FAST)

        child = os.fork()
        if child == 0:
            try:
                drive()
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.05, 1.5))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = drive()
        whole = [t for t in found.study.get_trials() if "dropped" not in t.user_attrs]
        assert [t.state.name for t in whole] == ["COMPLETE"] * 8
        ran = [p.read_text().count("ran") for p in workdir.glob(f"out/{i}/*/version_*/ran")]
        assert ran == [1] * 8


@pytest.mark.timeout(1800)
def test_tpe_beats_random_on_branin_on_the_median_of_five_seeds(workdir):
    """One trial in flight, so that the numbers are the same each time.

    With few trials (below 40 here), or many in flight, the two are about equal.
    """
    n, by_tpe, by_chance = 50, [], []
    for seed in range(5):
        job = ShellJob(**SETTINGS, n_at_once=4, job_out_dir=f"out/tpe{seed}")
        found = adaptive(job, BASE, SPACE, n=n, n_at_once=1, seed=seed, name=f"t{seed}", **FAST)
        assert len(found.study.get_trials()) == n
        by_tpe.append(found.study.best_value)
        job = ShellJob(**SETTINGS, n_at_once=4, job_out_dir=f"out/random{seed}")
        drawn = search.random(job, BASE, SPACE, n=n, seed=seed, name=f"r{seed}")
        drawn.wait(timeout_s=300, every_s=0.1)
        assert len(drawn.results()) == n
        by_chance.append(min(r.best("valid_loss") for r in drawn.results()))
    tpe, chance = statistics.median(by_tpe), statistics.median(by_chance)
    print(f"median of the best of {n}: TPE {tpe:.4g}, random {chance:.4g}")
    assert tpe < chance
