import os

import run_folders
from search_helpers import BASE

from seqmodel.cli.verbs import main
from seqmodel.job import search
from seqmodel.job.results import results
from seqmodel.job.results.advise import advise, submit_line


def test_it_is_told_from_the_complete_runs(tmp_path, capsys):
    for i in range(3):
        run_folders.write_run(tmp_path, seed=i, level=0.5 + i)  # peaks of 1.5, 2.5 and 3.5 GB
    run_folders.write_run(tmp_path, seed=9, state="timeout", level=9)
    advice = advise(results(str(tmp_path)))
    # 300 s, half as much again in steps of 5 minutes; 3.5 GB and a quarter; 150 s of CPU in 100 s
    assert advice.settings() == {"slurm_time_min": 10, "slurm_mem": "5G", "slurm_cpus": 2}
    assert advice.cost_text(12, 4).startswith("12 runs like them: 1 hours (1.5 CPU hours), 0.25")
    assert main(["advise", str(tmp_path), "--runs=12", "--at_once=4"]) == 0
    out = capsys.readouterr().out
    assert "ask for: --slurm_time_min=10 --slurm_mem=5G --slurm_cpus=2" in out
    assert "12 runs like them" in out


def test_without_a_history_it_says_so(tmp_path, capsys):
    assert main(["advise", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no finished run to learn from\n"


def test_a_search_says_what_it_will_cost(job, workdir):
    run_folders.write_run(workdir / "out", task="masked", level=0.5)
    found = search.grid(job, BASE, {"lr": [1e-3, 1e-2]}, dry_run=True)
    assert found.advice == ""
    found = search.grid(job, BASE, {"lr": [1e-3, 1e-2]})
    assert "2 runs like them: 0.167 hours" in found.text()
    assert "slurm_mem='2G'" in found.text()
    found.wait(timeout_s=60)


def test_the_newest_runs_of_a_long_history_count(job, workdir, monkeypatch):
    monkeypatch.setattr("seqmodel.job.results.advise.MAX_READ", 1)
    for seed, hours in ((0, 2), (1, 1), (2, 3)):  # the newest is in the middle of the folders
        folder = run_folders.write_run(workdir / "out", task="masked", seed=seed, level=0.5 + seed)
        modified = run_folders.T0 - 3600 * hours
        os.utime(folder / "metrics.csv", (modified, modified))
    assert advise(results(str(workdir / "out"))).memory == "4G"  # 2.5 GB and a quarter
    assert "slurm_mem='4G'" in submit_line(job, [BASE])
