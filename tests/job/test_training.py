"""Whole trainings of the real run.py as jobs: slow, since each imports torch."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from job_helpers import events, play, wait_final, wait_for

from seqmodel.job import ShellJob, SlurmJob

ROOT = Path(__file__).parents[2]
TINY = {
    "task": "classify",
    "dataset": "bed",
    "fasta": "data/demo/umaydis.fa.gz",
    "intervals": "data/demo/windows.bed",
    "class_names": ["intergenic", "coding"],
    "valid_contigs": "chr06",
    "test_contigs": "chr07",
    "encoder": "dilated_conv",
    "n_layers": 1,
    "n_dims": 8,
    "batch_size": 16,
    "max_epochs": 2,
    "limit_train_batches": 6,
    "limit_val_batches": 2,
    "limit_test_batches": 2,
    "log_every_n_steps": 1,
    "n_threads": 1,
    "accelerator": "cpu",
}
pytestmark = pytest.mark.slow
NO_TORCH = r"seqmodel: /.*/env/bin/python has no torch, .*: set venv, requirements, python or"


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A working directory with the demo's data, in a path with a space and a quote."""
    folder = tmp_path / "it's here"
    shutil.copytree(
        ROOT / "data/demo", folder / "data/demo", ignore=shutil.ignore_patterns("*.seqstore*")
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return folder


def job_over_ssh(ssh, demo, **settings):
    return SlurmJob(
        ssh, python=sys.executable, workdir=str(demo), slurm_mem="3G", slurm_time_min=60,
        heartbeat_s=1, **settings,
    )  # fmt: skip


def rows(replicate):
    with open(Path(replicate.path) / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def last_step(replicate):
    try:
        return int(rows(replicate)[-1]["step"])
    except (OSError, IndexError, ValueError):
        return 0


def weights(replicate):
    import torch

    path = Path(replicate.path, "checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_training_through_ssh_and_slurm(slurm_ssh, demo, tmp_path):
    job = job_over_ssh(slurm_ssh, demo)
    replicate = job.create(**TINY)
    # the code that runs is that of the moment at which the job was made
    plain = job.submit(replicate)
    assert job.status([plain])[0].state in ("created", "running")
    wait_for(lambda: job.status([plain])[0].state == "running")
    second = job.submit(**TINY, fast_dev_run_first=True, checkpoint_check=True)
    assert second.folder == plain.folder.replace("version_0", "version_1")
    found = wait_final(job, [plain, second], 400)
    assert [s.state for s in found] == ["complete", "complete"], [s.detail for s in found]
    assert {"test_auroc", "valid_loss"} <= set(found[0].metrics)
    assert Path(plain.path, "checkpoints/best.ckpt").exists()
    phases = Path(second.path, "events").read_text()
    assert "step phase=preflight" in phases
    assert phases.count("step phase=checkpoint_check") == 2
    record = json.loads(Path(plain.path, "hparams.json").read_text())
    assert "/scratch/node" in record["_run"]["code"]["path"]
    made = json.loads(Path(plain.path, "job.json").read_text())["code"]
    assert record["_run"]["code"]["digest"] == made["digest"]
    # the store was built on the node, not beside the shared data
    assert not list((demo / "data/demo").glob("*.seqstore*"))
    # the second was forked from the process of its trials
    assert rows(plain) == rows(second)
    ours, theirs = weights(plain), weights(second)
    assert all(ours[name].equal(theirs[name]) for name in ours | theirs)
    target = job.pull(plain, to=str(tmp_path / "here"))
    assert Path(target, "metrics.csv").read_text() == Path(plain.path, "metrics.csv").read_text()


def test_the_recorded_code_runs_although_the_working_copy_changed_since(
    slurm_ssh, demo, tmp_path, monkeypatch
):
    copy = tmp_path / "a checkout"
    shutil.copytree(ROOT / "seqmodel", copy / "seqmodel")
    monkeypatch.setattr("seqmodel.record.code.ROOT", str(copy))
    monkeypatch.setattr("seqmodel.record.code.PACKAGE", str(copy / "seqmodel"))
    git = ["git", "-C", str(copy), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "as it is"]):
        subprocess.run([*git, *words], check=True)
    (copy / "seqmodel/cli/runs.py").write_text("# changed, not committed\n")
    job = job_over_ssh(slurm_ssh, demo)
    replicate = job.submit(**TINY)
    (copy / "seqmodel/run.py").write_text("raise SystemExit('the code was changed after submit')\n")
    (copy / "seqmodel/training/trainer.py").unlink()
    found = wait_final(job, [replicate], 300)[0]
    assert found.state == "complete", (found.reason, found.detail)
    code = json.loads(Path(replicate.path, "job.json").read_text())["code"]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert code["commit"] == commit.stdout.strip()
    diff = Path(replicate.root, ".seqmodel/code", f"{code['digest']}.diff").read_text()
    assert "changed, not committed" in diff
    recorded = json.loads(Path(replicate.path, "hparams.json").read_text())["_run"]["code"]
    assert (recorded["commit"], recorded["changed"]) == (code["commit"], True)
    assert Path(replicate.path, "code.diff").read_text() == diff


def test_two_nodes_train_with_ddp(slurm, demo, monkeypatch):
    monkeypatch.chdir(demo)
    job = SlurmJob(python=sys.executable, slurm_mem="3G", heartbeat_s=1)
    replicate = job.submit(**TINY, num_nodes=2, strategy="ddp")
    found = wait_final(job, [replicate], 400)[0]
    assert found.state == "complete", (found.reason, found.detail)
    staged = [
        line
        for line in Path(replicate.path, "events").read_text().splitlines()
        if "what=code" in line
    ]
    assert len({line.rpartition("where=")[2] for line in staged}) == 2  # once on each node


def test_a_training_over_several_attempts_ends_with_the_same_weights(slurm, demo, monkeypatch):
    import torch

    monkeypatch.chdir(demo)
    job = SlurmJob(python=sys.executable, slurm_mem="3G", heartbeat_s=1, requeue=True)
    long = {**TINY, "limit_train_batches": 60, "max_epochs": 100, "max_steps": 600}
    straight = job.submit(**long)
    broken = job.submit(**long)
    for attempt, step in ((1, 100), (2, 300)):
        wait_for(lambda: last_step(broken) >= step, 300)  # noqa: B023
        # what --signal=B:USR1@... does before the time limit
        slurm.call("scancel", "--batch", "--signal=USR1", broken.job)
        wait_for(lambda: events(broken).count("start") > attempt, 400)  # noqa: B023
    found = wait_final(job, [straight, broken], 400)
    assert [s.state for s in found] == ["complete"] * 2, [(s.reason, s.detail) for s in found]
    assert found[1].attempts == 3
    assert events(broken).count("requeue") == 2
    steps = re.findall(r"requeue n=\d at=(\d+)", Path(broken.path, "events").read_text())
    assert 100 <= int(steps[0]) < 300 <= int(steps[1])  # by which a job without progress is stopped
    first, second = weights(straight), weights(broken)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_element_of_an_array_ends_with_the_weights_of_an_uninterrupted_run(
    slurm, demo, monkeypatch
):
    import torch

    monkeypatch.chdir(demo)
    job = SlurmJob(python=sys.executable, slurm_mem="2G", heartbeat_s=1, requeue=True)
    long = {**TINY, "limit_train_batches": 60, "max_epochs": 100}
    runs = [{**long, "max_steps": n} for n in (60, 400, 600)]
    broken, straight = job.submit_all(runs), job.submit_all(runs[1:])
    # the last one, whose raw id is that of the array, and the one before it
    waiting = [(broken[2], 100), (broken[1], 150)]

    def signal_those_that_came_so_far():
        for replicate, step in list(waiting):
            if last_step(replicate) >= step:
                slurm.call("scancel", "--batch", "--signal=USR1", replicate.job)
                waiting.remove((replicate, step))
        return not waiting

    wait_for(signal_those_that_came_so_far, 400)
    for replicate in broken[1:]:
        wait_for(lambda: events(replicate).count("start") == 2, 400)  # noqa: B023
    found = wait_final(job, [*broken, *straight], 400)
    assert [s.state for s in found] == ["complete"] * 5, [(s.reason, s.detail) for s in found]
    assert [s.attempts for s in found] == [1, 2, 2, 1, 1]
    assert [events(replicate).count("requeue") for replicate in broken] == [0, 1, 1]
    for one, other in zip(broken[1:], straight, strict=True):
        first, second = weights(one), weights(other)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_in_the_shell(demo, monkeypatch):
    monkeypatch.chdir(demo)
    job = ShellJob(python=sys.executable)
    replicate = job.submit(**TINY)
    found = wait_final(job, [replicate], 300)[0]
    assert found.state == "complete", (found.reason, found.detail)
    assert {"test_auroc", "valid_loss"} <= set(found.metrics)


def lock_and_wheels(tmp_path):
    """A wheel of nothing stands for the user's lock file; the run itself is not reached."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    name = "nothing_at_all-1.0"
    with zipfile.ZipFile(wheels / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nothing_at_all.py", "X = 1\n")
        wheel.writestr(
            f"{name}.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: nothing-at-all\nVersion: 1.0\n",
        )
        wheel.writestr(
            f"{name}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    (tmp_path / "lock.txt").write_text("nothing-at-all==1.0\n")
    return tmp_path / "lock.txt", wheels


def test_an_environment_is_made_on_the_node_from_wheels_without_the_network(
    demo, monkeypatch, tmp_path
):
    lock, wheels = lock_and_wheels(tmp_path)
    monkeypatch.chdir(demo)
    (demo / "plug.py").write_text("from seqmodel.hparam import Hparams\n")
    job = ShellJob(python=sys.executable, requirements=str(lock), wheels=str(wheels))
    replicate = job.submit(**TINY)
    found = wait_final(job, [replicate], 120)[0]
    # the environment has no torch: made from the lock file, and from nothing else
    assert (found.state, found.reason) == ("error", "environment")
    assert re.match(NO_TORCH, found.detail), found.detail
    lock.write_text("no-such-package==1.0\n")
    missing = job.submit(**TINY)
    found = wait_final(job, [missing], 120)[0]
    assert (found.state, found.reason) == ("error", "environment")


def test_the_template_of_the_alliance_makes_the_environment_from_modules_and_kept_wheels(
    slurm, demo, monkeypatch, tmp_path
):
    """`module` and `virtualenv` are played; pip finds the cluster's wheels by its own setting."""
    lock, wheels = lock_and_wheels(tmp_path)
    played = tmp_path / "bin"
    play(
        played / "virtualenv",
        f'echo "virtualenv $1" >> "{tmp_path}/called"\n'
        f'[ "$1" = --no-download ] && exec {sys.executable} -m venv "$2"\n',
    )
    monkeypatch.setenv("PATH", f"{played}:{os.environ['PATH']}")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("BASH_FUNC_module%%", f'() {{ echo "module $*" >> "{tmp_path}/called"; }}')
    monkeypatch.chdir(demo)
    job = SlurmJob(
        python=sys.executable, template="template_slurm_alliance.sh", requirements=str(lock),
        modules=["StdEnv/2023", "python/3.11"], slurm_mem="3G", slurm_account="def-somebody",
    )  # fmt: skip
    replicate = job.submit(**TINY)
    found = wait_final(job, [replicate], 200)[0]
    assert (found.state, found.reason) == ("error", "environment")
    assert re.match(NO_TORCH, found.detail), found.detail
    called = Path(tmp_path, "called").read_text().splitlines()
    assert called == ["module load StdEnv/2023 python/3.11", "virtualenv --no-download"]
