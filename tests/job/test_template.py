import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from job_helpers import HOSTILE, RUN, wait_final

from seqmodel.errors import HparamError, JobError
from seqmodel.job import Job, ShellJob, SlurmJob
from seqmodel.job.script.template import NEEDED, check_template, read_template, render
from seqmodel.record.code import PACKAGE

FIELDS = ("args", "folder", "node_functions", "script", "token", "python")
GOOD = "".join(f"{name}={{{name}}}\n" for name in NEEDED)


def test_what_is_wrong_is_told_with_its_line():
    text = GOOD + "a=${HOME}\nb=$(f) { echo }\nx={pythn}\n{{ fine }}\n"
    with pytest.raises(JobError) as error:
        check_template(text, FIELDS, "mine.sh")
    told = str(error.value)
    assert told.startswith("mine.sh: line 6: no field {HOME}; write {{HOME}} for the shell's own; ")
    assert "line 7: '{' does not start a field; write '{{'" in told
    assert "line 7: '}' does not end a field; write '}}'" in told
    assert "line 8: no field {pythn}; did you mean 'python'?" in told
    assert "line 9" not in told


def test_a_missing_field_is_told():
    with pytest.raises(JobError, match=r"the field \{token\} is missing"):
        check_template(GOOD.replace("token={token}\n", ""), FIELDS)


@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])))
def test_any_value_reaches_the_shell_as_it_is(value):
    values = dict.fromkeys(NEEDED, "")
    script = render(GOOD + "printf %s {python}\n", {**values, "python": value})
    done = subprocess.run(["bash"], input=script.encode(), capture_output=True, check=True)
    assert done.stdout.decode() == value


@pytest.mark.parametrize("bad", ["a\nb", "a\0b", "a\rb"])
def test_a_newline_in_a_value_is_refused(bad):
    with pytest.raises(JobError, match="python: .* has a newline"):
        render(GOOD + "{python}", {**dict.fromkeys(NEEDED, ""), "python": bad})


@pytest.mark.parametrize(
    "name", ["template_shell.sh", "template_slurm.sh", "template_slurm_alliance.sh"]
)
def test_our_templates_are_right(workdir, name):
    job = SlurmJob(template=name, workdir=str(workdir)) if "slurm" in name else ShellJob()
    script = job.script(task="masked", fasta="a.fa", seq_len=8, monitor=HOSTILE)
    assert subprocess.run(["bash", "-n"], input=script.encode(), check=False).returncode == 0


def test_a_template_of_the_users_own_is_used(workdir):
    own = workdir / "own.sh"
    own.write_text(read_template("template_shell.sh") + "# mine\n")
    job = ShellJob(template=str(own))
    assert job.script(task="masked", fasta="a.fa", seq_len=8).endswith("# mine\n")
    own.write_text(own.read_text() + "${x}\n")
    with pytest.raises(JobError, match=r"own.sh: line \d+: no field \{x\}"):
        job.submit(task="masked", fasta="a.fa", seq_len=8)
    assert not (workdir / "out").exists()


OLD = """import sys; sys.version_info = (3, 6, 8); exec(sys.argv[2])"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (f'exec {sys.executable} "$@"', ""),
        (f'exec {sys.executable} -I -S "$@"', "has no torch, pytorch_lightning, torchmetrics, "),
        (f"exec {sys.executable} -c '{OLD}' \"$@\"", "is Python 3.6, and seqmodel needs 3.11"),
        ("exit 3", "cannot be started"),
    ],
    ids=["all there", "no torch", "old", "none"],
)
def test_a_python_that_cannot_run_seqmodel_is_one_line(tmp_path, program, said):
    python = tmp_path / "a python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    script = f". {PACKAGE}/job/script/node.sh; python='{python}'; check_python"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == bool(said)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == bool(said)
    assert all(x.startswith(f"seqmodel: {python} {said}") and "set venv" in x for x in lines)


def test_setup_and_env_reach_the_run_and_a_failing_line_is_named(shell_job):
    given = {"setup": ["export A='x y'", "B=$A$C", "export B"], "env": {"C": "it's $HOME", "D": ""}}
    text = shell_job.script(**RUN, **given)
    head = text.rsplit("\n. ", 1)[0]
    ask = f'. {PACKAGE}/job/script/node.sh; prepare && printf \'%s|%s|%s\' "$A" "$B" "$C"'
    done = subprocess.run(
        ["bash", "-c", head + "\n" + ask], capture_output=True, text=True, check=True
    )
    assert done.stdout == "x y|x yit's $HOME|it's $HOME"
    replicate = shell_job.submit(**RUN, setup=["true", "no_such_command 7"])
    found = wait_final(shell_job, [replicate])[0]
    assert (found.reason, found.detail) == (
        "environment", "seqmodel: setup failed: no_such_command 7"
    )  # fmt: skip
    shell_job.resume([replicate], setup=["true"])
    assert wait_final(shell_job, [replicate])[0].state == "complete"


def test_what_env_and_setup_cannot_hold_is_refused(shell_job, tmp_path):
    for bad in ({"env": {"A B": "x"}}, {"env": ["AB"]}, {"env": {"A": "x\ny"}}):
        with pytest.raises(HparamError, match="NAME=value"):
            shell_job.script(**RUN, **bad)
    (tmp_path / "old.sh").write_text(read_template("template_shell.sh").replace("{env}", ""))
    with pytest.raises(JobError, match="no field {env}, so --env has no effect"):
        shell_job.script(**RUN, template=str(tmp_path / "old.sh"), env={"A": "1"})


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("3:00:00", 180), ("1-00:00:00", 1440), ("1-12", 2160), ("1-2:30", 1590), ("0:00:01", 1),
     ("90", 90), (45, 45), ("3:00", None), ("0:00:00", None), ("1-", None), ("2:61:00", None)],
)  # fmt: skip
def test_a_time_limit_is_minutes_or_a_time_of_slurm(text, minutes):
    if minutes is None:
        with pytest.raises(HparamError, match="--slurm_time_min .*H:MM:SS"):
            SlurmJob(slurm_time_min=text)
    else:
        assert f"--time={minutes}\n" in SlurmJob(slurm_time_min=text, slurm_signal_s=0).script(
            task="masked", fasta="a.fa", seq_len=8
        )


def test_a_job_of_no_kind_names_the_classes():
    with pytest.raises(JobError, match="use ShellJob .* or SlurmJob"):
        Job()


def test_both_kinds_of_job_take_the_number_at_once():
    assert (ShellJob().n_at_once, SlurmJob().n_at_once) == (1, None)
    assert (ShellJob(n_at_once=3).n_at_once, SlurmJob(n_at_once=3).n_at_once) == (3, 3)
