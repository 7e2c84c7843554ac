"""What run accepts, submit accepts with the same meaning; what run refuses, submit refuses."""

import contextlib
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from programs import forget_plugins

from seqmodel.cli.jobs import submit
from seqmodel.errors import HparamError
from seqmodel.hparam.resolve import resolve
from seqmodel.job.shell import ShellJob
from seqmodel.job.slurm import SlurmJob

PLUGIN = '''
from seqmodel.hparam import integer, str2bool
from seqmodel.hparam.model import EncoderHparams


class OwnHparams(EncoderHparams):
    """Of every type."""

    name = "own"
    target = "nowhere:Nothing"

    @staticmethod
    def add_hparams(parser):
        parser.add_argument("--p_shift", type=float, default=0.0, help="any number")
        parser.add_argument("--p_label", default="x", help="free text")
        parser.add_argument("--p_path", help="free text or not set")
        parser.add_argument("--p_flag", type=str2bool, default=False, help="yes or no")
        parser.add_argument("--p_maybe", type=str2bool, help="yes, no or not set")
        parser.add_argument("--p_norm", choices=["layer", "rms"], default="layer", help="choice")
        group = parser.add_argument_group("Lists")
        group.add_argument("--p_files", nargs="*", default=["f"], help="list of text")
        group.add_argument("--p_sizes", type=integer(), nargs="*", default=[1], help="numbers")
'''
CHOICES = ["--task=masked", "--fasta=a.fa", "--seq_len=4", "--plugins=own_plugin", "--encoder=own"]
text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=5)
text = text.filter(lambda word: word != "-h")  # asks for help
texts = text | st.sampled_from(["-x", "-5", "--x", "--lr=1", "a=b", "True", "-", "--", "=", " "])
VALUES = {
    "p_shift": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "p_label": texts,
    "p_path": texts,
    "p_flag": st.sampled_from(["True", "no", "1"]),
    "p_maybe": st.sampled_from(["True", "no", ""]),
    "p_norm": st.sampled_from(["layer", "rms"]),
    "p_files": texts.filter(bool),
    "p_sizes": st.integers().map(str),
    "seed": st.integers(0, 99).map(str),
    "train_contigs": st.sampled_from(["a", "b", "-c"]),
}
LISTS = ("p_files", "p_sizes", "train_contigs")
SETTINGS = [
    ["--n_new", "2"],
    ["--create=False"],
    ["--heartbeat_s", "5"],
    ["--modules", "gcc", "py"],
]


@st.composite
def spelt(draw, name):
    """Words that give a value, or several, to a name."""
    if name in ("p_flag", "p_maybe") and draw(st.booleans()):
        return [f"--{name}"]
    if name in LISTS:
        values = draw(st.lists(VALUES[name], max_size=3))
        if draw(st.booleans()):
            return [f"--{name}={value}" for value in values or [""]]
        if not any(value.startswith("--") for value in values):
            return [f"--{name}", *values]
        return [f"--{name}={value}" for value in values]
    value = draw(VALUES[name])
    if value.startswith("--") or draw(st.booleans()):
        return [f"--{name}={value}"]
    return [f"--{name}", value]


lines = st.lists(st.sampled_from(sorted(VALUES)).flatmap(spelt), max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where, before = tmp_path_factory.mktemp("laws"), os.getcwd()
    (where / "own_plugin.py").write_text(PLUGIN)
    (where / "a.fa").write_text(">a\nACGT\n>b\nACGT\n>-c\nACGT\n")
    with pytest.MonkeyPatch.context() as patch:
        forget_plugins(patch)
        os.chdir(where)
        yield where
        os.chdir(before)
        forget_plugins(patch)


@pytest.fixture(scope="module")
def submitted(folder):
    """What the runs are that submit was asked for."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for cls in (ShellJob, SlurmJob):
            patch.setattr(cls, "script", lambda job, **hp: found.append(job.resolve(hp)) or "")
        yield found


def values_of_submit(words, submitted):
    submitted.clear()
    with contextlib.redirect_stdout(None):
        assert submit([*words, "--dry_run"]) == 0
    [run] = submitted
    return vars(run.values)


configs = st.fixed_dictionaries(
    {},
    optional={n: st.lists(v, max_size=3) if n in LISTS else v for n, v in VALUES.items()},
)
settings_of_the_job = st.lists(st.sampled_from(SETTINGS), unique_by=str)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines, configs, settings_of_the_job, st.randoms(use_true_random=False))
@example([["--p_files", "a", "b"]], {}, [["--modules", "gcc", "py"]], random.Random(0))
@example([["--seed", "1"], ["--seed=2"]], {}, [], random.Random(0))
@example([["--p_files="], ["--p_files", "b"]], {"p_files": ["c"]}, [], random.Random(0))
@example([["--p_shift", "-1e-3"], ["--p_label", "-x=y"], ["--p_sizes"]], {}, [], random.Random(0))
def test_what_run_accepts_submit_accepts_with_the_same_meaning(
    folder, submitted, line, config, settings, shuffler
):
    Path("c.json").write_text(json.dumps(config))
    groups = [*line, *([word] for word in CHOICES), ["--config=c.json"]]
    shuffler.shuffle(groups)
    words = [word for group in groups for word in group]
    for setting in settings:
        groups.insert(shuffler.randrange(len(groups) + 1), setting)
    mixed = [word for group in groups for word in group]
    try:
        wanted = vars(resolve(words).values)
    except HparamError:
        with pytest.raises(HparamError):
            values_of_submit(mixed, submitted)
    else:
        assert values_of_submit(mixed, submitted) == wanted
