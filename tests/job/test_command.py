import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from job_helpers import FAKE_PYTHON, play, wait_for

from seqmodel.cli.verbs import main
from seqmodel.job.shell import ShellJob
from seqmodel.job.slurm import SlurmJob

ROOT = Path(__file__).parents[2]
RUN = ["--task=masked", "--fasta=a.fa", "--seq_len=8"]


def seqmodel(*words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "seqmodel.cli.verbs", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    if code == 2:
        assert len(done.stderr.splitlines()) == 1
        return done.stderr
    assert not done.stderr
    return done.stdout


def rows(folder="out"):
    return [json.loads(line) for line in seqmodel("status", folder, "--json").splitlines()]


def test_submit_status_logs_and_resume_of_a_run(workdir):
    submit = ["submit", f"--python={FAKE_PYTHON}", "--heartbeat_s=1", *RUN]
    shown = seqmodel(*submit, "--monitor=raise", "--n_new=2").splitlines()
    assert [line.split("  ")[:2] for line in shown] == [["shell", "submitted"]] * 2
    wait_for(lambda: all(row["state"] == "error" for row in rows()))
    folder = shown[0].split("  ")[2]
    assert seqmodel("logs", folder).splitlines()[-1] == "ValueError: bad value 7 in\ta line"
    assert seqmodel("logs", folder, "--follow").startswith("seqmodel: attempt 1\n")
    assert "error  exception  1" in seqmodel("status")
    assert "  resumed  " in seqmodel("resume", folder)
    wait_for(lambda: rows(folder)[0]["attempts"] == 2)
    wait_for(lambda: rows(folder)[0]["state"] == "error")
    assert rows(folder)[0]["folder"] == folder


def test_cancel_ends_what_runs_and_says_when_there_is_nothing(workdir):
    submit = ["submit", f"--python={FAKE_PYTHON}", "--heartbeat_s=1", *RUN, "--monitor=wait"]
    folder = seqmodel(*submit).split("  ")[2].strip()
    wait_for(lambda: rows()[0]["state"] == "running")
    assert seqmodel("cancel", folder) == f"cancelled  {folder}\n"
    row = wait_for(lambda: rows()[0]["state"] == "error" and rows()[0])
    assert row["reason"] == "cancelled"
    assert seqmodel("cancel", folder).startswith("nothing to cancel")


@pytest.mark.slow
def test_submit_says_what_the_finished_runs_of_its_kind_took(workdir, capsys):
    submit = ["submit", f"--python={FAKE_PYTHON}", "--heartbeat_s=1", *RUN, "--monitor=count_20"]
    assert main(submit) == 0
    assert capsys.readouterr().err == ""
    wait_for(lambda: rows()[0]["state"] == "complete")
    capsys.readouterr()
    assert main([*submit, "--n_new=2"]) == 0
    assert re.match(
        r"2 runs like them: .* hours.*; from 1 finished ones: ", capsys.readouterr().err
    )
    wait_for(lambda: all(row["state"] == "complete" for row in rows()))


def test_submit_tells_that_git_does_not_know_the_code(workdir, capsys, monkeypatch):
    state = {"path": "/there", "commit": None, "changed": None, "problem": "git: fatal: dubious"}
    monkeypatch.setattr("seqmodel.record.code.code_state", lambda root: state)
    monkeypatch.setattr("seqmodel.record.code._kept", {})
    submit = ["submit", f"--python={FAKE_PYTHON}", *RUN, "--create"]
    assert main(submit) == 0
    told = capsys.readouterr().err
    assert told == "the record has the digest of the code but no commit: git: fatal: dubious\n"


def test_create_then_submit_by_folder(workdir, capsys):
    create = ["submit", f"--python={FAKE_PYTHON}", "--heartbeat_s=1", *RUN, "--create"]
    folder = seqmodel(*create).split("  ")[2].strip()
    assert rows()[0]["reason"] == "not submitted"
    assert "1 only created: `seqmodel submit` submits them" in seqmodel("resume", folder)
    assert "has its hyperparameters; give folders" in seqmodel("submit", folder, "--lr=1", code=2)
    assert "submitted" in seqmodel("submit", folder, "--stage_data=False")
    wait_for(lambda: rows()[0]["state"] == "complete")
    assert "stage_data=0" in next(Path(folder).glob("*.sh")).read_text()
    assert "complete already" in seqmodel("submit", folder)
    again = [f"--python={FAKE_PYTHON}", *RUN]
    assert main(["submit", "--create", *again]) == 0
    assert "version_1 repeats a run with its seed" in capsys.readouterr().err
    assert main(["submit", "--create", "--n_new=2", *again]) == 0
    out, err = capsys.readouterr()
    assert [re.search(r"seed=(\d)", line)[1] for line in out.splitlines()] == ["1", "2"]
    assert "repeats" not in err
    assert main(["submit", "--create", "--n_new=2", "--same_seed", *again]) == 0
    out, err = capsys.readouterr()
    assert (out.count("version_"), out.count("seed=")) == (2, 0)
    assert "repeats" not in err
    topped = ["submit", f"--python={FAKE_PYTHON}", *RUN, "--n_replicates=1"]
    assert seqmodel(*topped) == "nothing to submit: 1 replicates exist already\n"


def test_submit_and_jobs_know_both_spellings_of_optimiser(workdir):
    text = seqmodel("submit", "--dry_run", *RUN, "--optimizer=sgd")
    assert "--optimiser=sgd" in text
    job = ShellJob(python=FAKE_PYTHON)
    assert "--optimiser=sgd" in job.script(task="masked", fasta="a.fa", seq_len=8, optimizer="sgd")
    both = seqmodel("submit", "--dry_run", *RUN, "--optimizer=sgd", "--optimiser=sgd", code=2)
    assert "'optimizer' and 'optimiser' are the same hyperparameter" in both


def test_a_dry_run_prints_a_script_that_can_be_read(workdir):
    text = seqmodel("submit", "--slurm_account=def-me", "--dry_run", *RUN)
    assert "#SBATCH --account=def-me\n" in text
    assert "{" not in text.replace("{x}", "").split("environment() {")[0]
    assert not (workdir / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["submit", *RUN, "--seq_length=9"], "HparamError: no hyperparameter 'seq_length'"),
        (["submit", *RUN, "--n_at_once=0"], "HparamError: --n_at_once (JobHparams)"),
        (["submit", *RUN, "--scheduler=shell", "--slurm_mem=4G"], "'slurm_mem' has no effect"),
        (["submit", *RUN, "--fasta=b.fa"], "JobError: --fasta: b.fa: no such file on local"),
        (["submit", *RUN, "--template=none.sh"], "JobError: template none.sh: no such file"),
        (["submit", "--host=-x", *RUN], "JobError: '-x' is not a host name"),
        (["status", "nowhere"], "MissingError: nowhere: no such folder on this host"),
        (["logs"], "JobError: logs needs a folder"),
        (["cancel", "."], "JobError: .: no replicates there"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(workdir, words, told):
    assert told in seqmodel(*words, code=2)
    assert not list(workdir.rglob("version_*"))


def test_every_verb_has_help():
    for verb in ("submit", "status", "logs", "cancel", "resume", "pull"):
        assert "--host" in seqmodel(verb, "--help")


def test_a_scheduler_that_does_not_answer_is_mentioned(workdir, tmp_path, monkeypatch, capsys):
    play(tmp_path / "bin/sbatch", "echo 7\n")
    play(tmp_path / "bin/squeue", "exit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert main(["submit", "--slurm_mem=1G", *RUN]) == 0
    capsys.readouterr()
    for words in ([], ["--json"]):
        assert main(["status", *words]) == 0
        told = "squeue did not answer: the states come from the files\n"
        assert capsys.readouterr().err == told
    assert SlurmJob().status().text().endswith(told.strip())
    play(tmp_path / "bin/squeue", "true\n")
    assert main(["status"]) == 0
    assert capsys.readouterr().err == ""
