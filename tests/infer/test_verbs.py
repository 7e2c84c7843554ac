"""What all verbs share that apply a model: their stamp, `merge` and `describe`."""

import json
import subprocess
import sys

import pytest

from seqmodel.cli.verbs import VERBS, main
from seqmodel.errors import HparamError
from seqmodel.hparam.infer import ApplyHparams
from seqmodel.infer.command import stamp_of
from seqmodel.infer.formats import Rows
from seqmodel.infer.parts import Parts, apply

OWN = [name for name, verb in VERBS.items() if verb.target.startswith("cli.infer:")]
NO_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names and name[:8] != "seqmodel":
            raise ImportError(f"{name} is imported")
sys.meta_path.insert(0, Refuse())
from seqmodel.cli.verbs import main
sys.exit(main(sys.argv[1:]))
"""


def without_packages(*words):
    return subprocess.run(
        [sys.executable, "-c", NO_TORCH, *map(str, words)], capture_output=True, text=True
    )


@pytest.mark.parametrize("verb", OWN)
def test_help_needs_the_standard_library_only(verb):
    done = without_packages(verb, "--help=all")
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout


def test_describe_needs_no_torch_and_says_what_a_checkpoint_has(trained):
    path = trained.best("multilabel")
    done = without_packages("describe", path)
    assert done.returncode == 0, done.stderr
    found = json.loads(without_packages("describe", path, "--json").stdout)
    assert found["hparams"]["task"] == "multilabel"
    for word in ("multilabel", "dna (ACGT)", *found["targets"]["names"], "--lr="):
        assert word in done.stdout


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_describe_takes_one_checkpoint(words, capsys):
    assert main(["describe", *words]) == 2
    assert "describe takes one checkpoint" in capsys.readouterr().err


def test_a_file_that_is_no_checkpoint_is_one_line(tmp_path, capsys):
    (tmp_path / "a.ckpt").write_text("no")
    assert main(["describe", str(tmp_path / "a.ckpt")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_merge_joins_parts_and_counts_by_status(tmp_path, capsys):
    out = str(tmp_path / "out.tsv")
    for k in (1, 2):
        parts = Parts([out], {"x": 1}, part=(k, 3))
        assert apply(parts, [[0], [1], [2]], lambda x: Rows({"index": x}, {}, {"ok": 1})) is None
    assert main(["merge", f"{out}.parts"]) == 2
    assert "1 of 3 parts are missing" in capsys.readouterr().err
    parts = Parts([out], {"x": 1}, part=(3, 3))
    parts.put(2, Rows({"index": [2]}, {}, {"cut": 1}))
    assert main(["merge", f"{out}.parts"]) == 0
    assert capsys.readouterr().err == "3 inputs: 2 ok, 1 cut\n"
    assert main(["merge", f"{out}.parts", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {"joined": True, "counts": {"n": 3, "ok": 2, "cut": 1}}


def test_the_stamp_is_of_contents_and_of_what_changes_the_output(tmp_path):
    (tmp_path / "a.ckpt").write_text("1")
    (tmp_path / "b.ckpt").write_text("1")

    def stamp(**options):
        return stamp_of("x", ApplyHparams(**options), {})

    first = stamp(checkpoints=[tmp_path / "a.ckpt"], out=["o"], part="1/2")
    assert stamp(checkpoints=[tmp_path / "b.ckpt"], accelerator="cpu", n_threads=1) == first
    assert stamp(checkpoints=[tmp_path / "a.ckpt"], batch_size=3) != first
    (tmp_path / "b.ckpt").write_text("2")
    assert stamp(checkpoints=[tmp_path / "b.ckpt"]) != first


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "1/", "-1/3", ""])
def test_a_part_that_does_not_exist_is_refused(part):
    values = ApplyHparams(checkpoints=["a"], out=["o"], part=part).hparams
    with pytest.raises(HparamError, match=r"--part|give k/n"):
        ApplyHparams.checks(values)
