"""Verbs in parts: as local jobs, as one array of a real Slurm, and through a real sshd."""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from job_helpers import events, play, wait_final, wait_for

from seqmodel.cli.verbs import main
from seqmodel.errors import HparamError, SeqmodelError
from seqmodel.hparam.job import ShellHparams, SlurmHparams, SubmitHparams, WhereHparams
from seqmodel.hparam.verb import PARTED
from seqmodel.job import ShellJob, SlurmJob
from seqmodel.job.results import results

TESTS = Path(__file__).parents[1]
ARCHIVE = TESTS / "archive/0.2.0"
PREDICT = {
    "verb": "predict",
    "checkpoints": ["classify.ckpt"],
    "fasta": ["data/s.fa"],
    "out": ["made/p.tsv"],
    "n_threads": 1,
}
VARIANTS = {
    "verb": "variants",
    "checkpoints": ["classify.ckpt"],
    "fasta": ["data/s.fa"],
    "variants": "v.csv",
    "out": ["v.tsv"],
    "chunk_rows": 5,
    "n_threads": 1,
}


def words(hparams):
    """Them on a command line."""
    found = []
    for name, value in hparams.items():
        found += [f"--{name}={x}" for x in (value if isinstance(value, list) else [value])]
    return found


def run(hparams, **more):
    """The verb in one go, without a job."""
    values = {**hparams, **more}
    assert main([values.pop("verb"), *words(values)]) == 0


@pytest.fixture
def place(tmp_path):
    """A working directory with a bad name: a checkpoint, sequences and variants of them."""
    folder = tmp_path / "it's {here}"
    (folder / "data").mkdir(parents=True)
    shutil.copy(ARCHIVE / "classify.ckpt", folder)
    rng = random.Random(0)
    texts = {f"s{i}": "".join(rng.choices("ACGT", k=64)) for i in range(2000)}
    (folder / "data/s.fa").write_text("".join(f">{n}\n{x}\n" for n, x in texts.items()))
    lines = [f"{n},{i % 64 + 1},{x[i % 64]},{'CGTA'['ACGT'.index(x[i % 64])]}"
             for i, (n, x) in enumerate(texts.items()) if i < 40]  # fmt: skip
    (folder / "v.csv").write_text("\n".join(["contig,pos,ref,alt", *lines, ""]))
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def complete(job, made):
    found = wait_final(job, made, 300)
    assert [s.state for s in found] == ["complete"] * len(made), [
        (s.reason, s.detail) for s in found
    ]
    return found


@pytest.mark.slow
def test_local_jobs_make_the_bytes_of_one_go(here):
    run(PREDICT, out="one.tsv", chunk_rows=50)
    job = ShellJob(n_at_once=2, heartbeat_s=1)
    made = job.submit(**PREDICT, chunk_rows=50, n_parts=2)
    assert len(made) == 2
    complete(job, made)
    assert Path("made/p.tsv").read_bytes() == Path("one.tsv").read_bytes()
    logs = [job.logs(replicate) for replicate in made]
    assert sum("2,000 inputs: 2,000 ok" in x for x in logs) == 1  # the one that joined
    assert sum("is done; the process that ends last" in x for x in logs) == 1
    assert results("out") == []  # these are no runs
    again = job.submit(**PREDICT, chunk_rows=50)  # finds its work done
    assert [r.version for r in again] == [2]
    complete(job, again)


def has_begun(k, n):
    """Waits until part k of n has written something."""
    folder = Path("made/p.tsv.parts")
    wait_for(lambda: any(int(x.stem) % n == k - 1 for x in folder.glob("0*.part")), 120, 0.02)


@pytest.mark.slow
def test_elements_of_an_array_are_killed_and_requeued_and_the_last_one_joins(slurm, here):
    run(PREDICT, out="one.tsv", chunk_rows=1)
    job = SlurmJob(python=sys.executable, slurm_mem="2G", heartbeat_s=1)
    made = job.submit(**PREDICT, chunk_rows=1, n_parts=4)
    assert job.n_calls["sbatch"] == 1
    assert len({r.job.split("_")[0] for r in made}) == 1
    has_begun(3, 4)
    slurm.call("scontrol", "requeue", made[2].job)  # killed, as when its node fails
    has_begun(2, 4)
    slurm.call("scancel", "--batch", "--signal=USR1", made[1].job)  # as before a time limit
    found = complete(job, made)
    assert [s.attempts for s in found] == [1, 2, 2, 1]
    assert "requeue" in events(made[1])
    assert Path("made/p.tsv").read_bytes() == Path("one.tsv").read_bytes()
    assert not list(Path("made").glob("*/0*.part"))
    for k, replicate in enumerate(made, 1):
        [script] = Path(replicate.path).glob("*.sh")
        assert f"--part={k}/4" in script.read_text()
        assert events(replicate).count("run") == found[k - 1].attempts


@pytest.mark.slow
def test_parts_of_attribute_are_cancelled_and_resumed(here, capsys):
    text = Path("data/s.fa").read_text()
    Path("data/few.fa").write_text("".join(text.splitlines(keepends=True)[:24]))
    hparams = {**PREDICT, "verb": "attribute", "fasta": "data/few.fa", "chunk_rows": 5}
    hparams |= {"target": "all", "plot": 1}
    run(hparams, out="one/a")
    assert main(["submit", *words({**hparams, "out": "made/a"}), "--n_parts=2"]) == 0
    folders = [line.split("  ")[2] for line in capsys.readouterr().out.splitlines()]
    wait_for(lambda: b" run\n" in Path(folders[0], "events").read_bytes())
    assert main(["cancel", "out"]) == 0
    assert capsys.readouterr().out.count("cancelled") == 2
    job = ShellJob()
    made = job.find("out")
    assert [s.reason for s in job.status(made)] == ["cancelled"] * 2
    assert main(["resume", "out"]) == 0
    complete(job, made)
    assert sorted(Path("made/a.ohe.npz.parts").iterdir())[0].name == "apply.json"
    names = [x.name for x in Path("one").iterdir() if x.is_file()]
    assert {"a.ohe.npz", "a.bed", "a.attribute.json", "a.html"} <= set(names)
    for name in names:
        assert Path("made", name).read_bytes() == Path("one", name).read_bytes(), name
    assert main(["logs", folders[0]]) == 0
    assert "seqmodel: attempt 2\n" in capsys.readouterr().out


@pytest.mark.slow
def test_the_module_of_a_wrapped_network_travels_and_is_not_imported_here(here):
    def python(*words, code=0):
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr

    shutil.copy(TESTS / "wrapped_net.py", "my_net.py")
    made = "seqmodel.wrap(my_net.made(my_net.Net), seq_len=my_net.L, targets=['open', 'bound'])"
    save = f"{made}.save('wrapped.ckpt', plugin='my_net:Net')"
    python("-c", f"import seqmodel, sys; sys.path.append('.'); import my_net; {save}")
    hparams = {**PREDICT, "checkpoints": "wrapped.ckpt", "too_long": "center"}
    submit = ["-m", "seqmodel", "submit", *words(hparams), "--n_parts=2"]
    assert "give --plugins=my_net (or --trust_plugins)" in python(*submit, code=2)
    python(*submit, "--trust_plugins")
    Path("my_net.py").write_text("raise SystemExit('changed after submit')\n")
    job = ShellJob()
    complete(job, job.find("out"))
    assert Path("made/p.tsv").read_text().count("\n") == 2001


@pytest.mark.slow
def test_variants_over_ssh_and_slurm(slurm_ssh, place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    run(VARIANTS, out="one.tsv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    job = SlurmJob(
        slurm_ssh, python=sys.executable, workdir=str(place), slurm_mem="2G", heartbeat_s=1
    )
    made = job.submit(**VARIANTS, n_parts=2)
    complete(job, made)
    assert (place / "v.tsv").read_bytes() == (place / "one.tsv").read_bytes()
    assert (place / "v.tsv").read_text().count("\n") == 41
    # what others have written is not written over, and nothing is queued
    (place / "one.tsv.parts/apply.json").unlink()
    with pytest.raises(SeqmodelError, match=r"--out: one.tsv: exists already; .*--overwrite"):
        job.submit(**{**VARIANTS, "out": "one.tsv"})
    assert len(list((place / "out").glob("*/version_*"))) == 2


@pytest.mark.parametrize("scheduler", ["shell", "slurm"])
def test_dry_run_shows_the_script_and_makes_nothing(here, capsys, scheduler):
    submit = ["submit", f"--scheduler={scheduler}", *words(PREDICT), "--n_parts=32", "--dry_run"]
    assert main(submit) == 0
    shown = capsys.readouterr().out
    args = next(line for line in shown.splitlines() if line.startswith("args="))
    assert args.startswith("args=(predict --checkpoints=classify.ckpt ")
    assert " --part=1/32 " in args
    assert "data_files=(classify.ckpt data/s.fa)\n" in shown
    assert ("#SBATCH" in shown) == (scheduler == "slurm")
    assert not Path("out").exists()


REFUSED = {
    "--n_parts=0": "--n_parts .*: must be a whole number of at least 1",
    "--verb=motifs": "--verb .*: must be one of predict, variants, attribute, embed",
    "--part=1/2": "'part' is set by the job itself",
    "--out=p.vcf": "unknown suffix",
    "--lr=1": "no hyperparameter 'lr'",
    "--too_lon=center": "did you mean 'too_long'",
    "stray": "stray word 'stray'",
    "--n_new=2": "--n_new has no effect with --verb",
    "--n_replicates=2": "--n_replicates has no effect with --verb",
    "--checkpoint_check": "--checkpoint_check tests a training",
    "--checkpoints=data/s.fa": "data/s.fa: cannot read a seqmodel checkpoint",
    "--fasta=none.fa": "--fasta: none.fa: no such file",
    "--tiles --intervals=w.bed": "--intervals and --tiles are both set",
    "--out=there.tsv": "there.tsv: exists already",
    "--fasta=~/s.fa": "a job needs an absolute path",
}


@pytest.mark.parametrize("more", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_made(here, capsys, more):
    Path("there.tsv").touch()
    hparams = {n: v for n, v in PREDICT.items() if n != "out" or "out" not in more}
    assert main(["submit", *words(hparams), "--n_parts=4", *more.split()]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(REFUSED[more], line)
    assert not list(Path().glob("out/*/*"))


def test_parts_without_a_verb_and_replicates_of_one_are_refused(here):
    with pytest.raises(HparamError, match="--n_parts has no effect without --verb"):
        SubmitHparams.checks(SubmitHparams(n_parts=3).hparams)
    with pytest.raises(HparamError, match="'variants' is not set|--variants"):
        ShellJob().submit(**{**PREDICT, "verb": "variants"})
    with pytest.raises(SeqmodelError, match="n_parts"):
        ShellJob().replicates(3, **PREDICT)
    with pytest.raises(SeqmodelError, match="create_all"):
        ShellJob().create(**PREDICT)


def test_no_name_means_one_thing_for_a_job_and_another_for_a_verb():
    classes = (WhereHparams, SubmitHparams, ShellHparams, SlurmHparams)
    of_jobs = {name for cls in classes for name in cls.default_hparams().declared}
    for cls in PARTED.values():
        assert not of_jobs & set(cls.default_hparams().declared)


def test_the_name_of_a_folder_follows_from_what_is_written(here):
    job = ShellJob()

    def name(**more):
        return job.resolve({**PREDICT, **more}).canonical()

    assert name().startswith("predict-p.tsv-")
    assert name() == name(n_threads=2) == name(n_parts=5) == name(out=[str(here / "made/p.tsv")])
    others = [name(out=["p.tsv"]), name(too_long="center"), name(verb="embed", out=["p.npz"])]
    assert len({name(), *others}) == 4
    assert name(out=["x" * 400 + ".tsv"]).startswith("predict-" + "x" * 120 + "-")


def test_more_parts_than_an_array_may_have_are_several_arrays(here, tmp_path, monkeypatch):
    """On a played Slurm, whose limit is 3."""
    bin_ = tmp_path / "bin"
    play(bin_ / "sbatch", f'echo "$@" >> {tmp_path}/calls; wc -l < {tmp_path}/calls')
    play(bin_ / "scontrol", 'echo "MaxArraySize            = 3"')
    play(bin_ / "squeue", "exit 0")
    monkeypatch.setenv("PATH", f"{bin_}:/usr/bin:/bin")
    made = SlurmJob().submit(**PREDICT, n_parts=8)
    calls = (tmp_path / "calls").read_text().splitlines()
    arrays = [word for call in calls for word in call.split() if word.startswith("--array=")]
    assert arrays == ["--array=0-2", "--array=0-2", "--array=0-1"]
    assert [r.job for r in made] == [
        f"{n}_{i}" for n, i in zip("11122233", "01201201", strict=True)
    ]
    scripts = [next(Path(r.path).glob("*.sh")).read_text() for r in made]
    assert [f"--part={k}/8 " in x for k, x in enumerate(scripts, 1)] == [True] * 8
