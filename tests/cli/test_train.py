"""`seqmodel train`, `run --table`, `seqmodel.train` and `seqmodel init`."""

import json
import re
import shlex
import tomllib

import pytest

import seqmodel
from seqmodel.cli.init import STARTS
from seqmodel.cli.verbs import main
from seqmodel.errors import SeqmodelError
from seqmodel.hparam.resolve import resolve

SMALL = ["--n_dims=4", "--n_layers=1", "--max_epochs=1", "--audit=none", "--progress=none"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{'ACGT'[i % 4] * (i + 8)},{'no' if i % 3 else 'yes'}" for i in range(64)]
    (tmp_path / "my data.csv").write_text("\n".join(["seq,class", *rows]) + "\n")
    return tmp_path


def record_of(folder):
    record = json.loads((folder / "hparams.json").read_text())
    run = record.pop("_run")
    return record, run["name"], run["command"][1:]


@pytest.mark.slow
def test_three_ways_are_one_run_in_one_folder(here, capsys):
    assert main(["train", "my data.csv", *SMALL]) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    line = re.search(r"the whole command:\n((?:.*\\\n)*.*)\n", printed)[1]
    program, *words = shlex.split(line.replace("\\\n", " "))
    assert program == "seqmodel"
    assert main(words) == 0
    given = {"n_dims": 4, "n_layers": 1, "max_epochs": 1, "audit": "none", "progress": "none"}
    run = seqmodel.train("my data.csv", **given)
    assert run.metrics["test_loss"] > 0
    folders = sorted((here / "out").glob("*/version_*"))
    assert [x.name for x in folders] == [f"version_{i}" for i in range(3)]
    assert run.path == folders[2]
    first = record_of(folders[0])
    assert all(record_of(x) == first for x in folders[1:])
    assert first[0]["class_names"] == ["no", "yes"]
    assert first[0]["table"] is None


def test_the_file_may_stand_anywhere(here, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "seqmodel.training.execute.execute", lambda run, _: seen.append(run.to_args())
    )
    for words in (
        ["my data.csv", "--seed=3", "--lr", "0.1"],
        ["--seed", "3", "--lr=0.1", "my data.csv"],
        ["--seed", "3", "--lr=0.1", "--", "my data.csv"],
        ["--seed", "3", "--lr=0.1", "--table=my data.csv"],
    ):
        assert main(["train", *words]) == 0, capsys.readouterr().err
    assert all(x == seen[0] for x in seen)
    assert "--seed=3" in seen[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "train needs a file or folder; give it as in: seqmodel train my.csv"),
        (["a.csv", "b.csv"], "train takes one file or folder, got 'a.csv' 'b.csv'"),
        (["missing.csv"], "missing.csv: cannot be read"),
        (["."], "the folder has no train.csv"),
        (["my data.csv", "--label_columns=x"], "no column 'x'; it has 'seq', 'class'"),
        (["my data.csv", "--lr=fast"], "--lr "),
        (["my data.csv", "--max_epoch=3"], "did you mean 'max_epochs'"),
    ],
)
def test_refused(here, words, message, capsys):
    assert main(["train", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_question_is_an_error_of_the_command_line(here, capsys):
    (here / "two.csv").write_text("sequence,label,y\nACGT,a,0\nACGA,b,1\n")
    assert main(["train", "two.csv", "--seed=1"]) == 2
    error = capsys.readouterr().err
    assert "  seqmodel train two.csv --seed=1 --label_columns=label" in error
    assert "  seqmodel train two.csv --seed=1 --label_columns=y" in error


def test_a_file_on_another_host_is_not_guessed_from(here):
    with pytest.raises(SeqmodelError, match="nothing can be guessed from a file on another host"):
        resolve(["--table=my data.csv", "--task=regress", "--dataset=table"], files_here=False)


def test_submit_and_data_describe_take_a_table(here, capsys):
    assert main(["submit", "--table=my data.csv", "--dry_run"]) == 0
    shown = capsys.readouterr()
    assert "--class_names no yes" in shown.err
    assert "--class_names=yes" in shown.out
    assert "--table" not in shown.out
    assert main(["data", "describe", "--table", "my data.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"]["names"] == ["no", "yes"]


@pytest.mark.parametrize("task", STARTS)
def test_a_config_of_init_is_taken_as_it_is_and_so_are_its_defaults(here, task, capsys):
    assert main(["init", task, "-o", "c.toml"]) == 0
    text = (here / "c.toml").read_text()
    values = tomllib.loads(text)
    for name in ("train.csv", "valid.csv", "test.csv", "genome.fa", "counts.bw"):
        (here / name).write_text("")
    run = resolve(["--config=c.toml"])
    assert run.values.task == task
    # every option behind # has the default of the run
    (here / "d.toml").write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    every = resolve(["--config=d.toml"])
    assert vars(every.values) == vars(run.values)
    assert len(tomllib.loads((here / "d.toml").read_text())) > 50 > len(values)
    assert main(["init", task, "-o=c.toml"]) == 2
    assert "c.toml exists already" in capsys.readouterr().err
    assert (here / "c.toml").read_text() == text


def test_a_config_of_init_for_a_file(here, capsys):
    assert main(["init", "--table=my data.csv", "--seed=3"]) == 0
    run = resolve(["--config=config.toml"])
    assert run.to_args() == resolve(["--table=my data.csv", "--seed=3"]).to_args()
    assert main(["init", "classify", "--dataset=bed", "--out=b.toml"]) == 0
    for name in ("genome.fa", "peaks.bed"):
        (here / name).write_text("")
    assert resolve(["--config=b.toml"]).values.intervals == ["peaks.bed"]
    assert main(["init", "clasify", "-o", "x.toml"]) == 2
    assert "did you mean 'classify'" in capsys.readouterr().err
    assert main(["init", "-o", "no/x.toml"]) == 2
    assert "no/x.toml: cannot be written" in capsys.readouterr().err
