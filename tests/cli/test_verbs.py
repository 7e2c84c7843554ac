"""What each verb reads: settings in either spelling, and the words without a name."""

import json
import re

import pytest
import run_folders
from programs import forget_plugins

from seqmodel.cli.verbs import VERBS, main
from seqmodel.job.job import Job
from seqmodel.job.os_interface import LocalInterface
from seqmodel.job.shell import ShellJob

RUN = ["--fasta=a.fa", "--seq_len=8"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.fa").write_text(">a\nACGTACGTACGT\n")
    return tmp_path


@pytest.fixture
def host(monkeypatch):
    """The hosts that were asked for, each of them this machine."""
    asked = []
    monkeypatch.setattr(
        "seqmodel.cli.given.SshInterface", lambda host, **_: asked.append(host) or LocalInterface()
    )
    return asked


@pytest.fixture
def made(monkeypatch):
    """The runs that were submitted."""
    found = []

    def submit_all(job, runs):
        found.extend(vars(job.resolve(hparams).values) for hparams in runs)
        return []

    monkeypatch.setattr(ShellJob, "submit_all", submit_all)
    return found


def test_submit_takes_lists_and_choices_as_words_of_their_own(here, made):
    (here / "t.csv").write_text("sequence,label\nACGT,coding\n")
    words = ["--task", "classify", "--dataset", "table", "--train_files", "t.csv"]
    assert main(["submit", "--class_names", "intergenic", "coding", *words, "--n_new", "1"]) == 0
    assert made[0]["class_names"] == ["intergenic", "coding"]
    assert (made[0]["task"], made[0]["train_files"]) == ("classify", ["t.csv"])
    assert main(["submit", "--task", "masked", "--random_offset", "False", *RUN]) == 0
    assert made[1]["task"] == "masked"


@pytest.mark.parametrize("verb", ["status", "results"])
@pytest.mark.parametrize(
    "words", [["--host", "cedar", "out"], ["out", "--host=cedar"], ["--host=cedar", "--", "out"]]
)
def test_a_host_and_a_folder_in_any_order(here, host, verb, words, capsys):
    run_folders.write_run(here / "out")
    assert main([verb, *words]) == 0
    assert set(host) == {"cedar"}
    assert "default" in capsys.readouterr().out


def test_a_number_of_lines_and_a_folder(here, capsys, monkeypatch):
    run_folders.write_run(here / "out")
    seen = []
    monkeypatch.setattr(Job, "logs", lambda job, r, **kw: seen.append(kw["n_lines"]) or "")
    for words in (["out", "--n_lines", "5"], ["--n_lines", "5", "out"], ["--n_lines=5", "out"]):
        assert main(["logs", *words, "--scheduler=shell"]) == 0, capsys.readouterr().err
    assert seen == [5, 5, 5]


@pytest.mark.parametrize("words", [["--grouped=True"], ["--grouped"], ["--grouped", "True"]])
def test_a_switch_of_results_in_every_spelling(here, words, capsys):
    run_folders.write_run(here / "out")
    for line in ([*words, "out"], ["out", *words], words):
        assert main(["results", *line]) == 0, capsys.readouterr().err
        assert "best_mean" in capsys.readouterr().out
    assert main(["results", "--grouped=no"]) == 0
    assert "best_mean" not in capsys.readouterr().out


def test_a_switch_does_not_take_a_folder(here, capsys):
    run_folders.write_run(here / "out")
    assert main(["status", "--json", "out"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"].endswith("out/default/version_0")


def test_conditions_end_at_the_next_name(here, capsys):
    run_folders.write_run(here / "out")
    words = ["--where", "state=complete", "seed=1", "--format", "csv"]
    assert main(["results", "out", *words]) == main(["results", *words]) == 0
    assert main(["results", *words[:-2], "out"]) == 2  # `out` is no condition
    assert "'out'" in capsys.readouterr().err


def test_a_page_is_written_where_o_says(here, capsys, monkeypatch):
    run_folders.write_run(here / "out")
    monkeypatch.setattr("seqmodel.report.page._plotly", lambda: "")
    for words in (["-o", "a.html"], ["-o=b.html"], ["--out", "c.html"]):
        assert main(["report", "out", *words]) == 0, capsys.readouterr().err
    assert sorted(path.stem for path in here.glob("*.html")) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "--jsn"], "no hyperparameter 'jsn'; did you mean 'json'"),
        (["status", "--host"], "--host: a value is missing"),
        (["status", "-x"], "no hyperparameter '-x'"),
        (["results", "a", "b"], "results takes one folder, got 'a' 'b'"),
        (["search"], "search takes one file, got none"),
        (["results", "--format=xml"], r"--format \(ResultsHparams\): must be one of table"),
        (["advise", "--runs=-1"], "--runs .*at least 0, got '-1'"),
        (["watch", "--every=0"], r"--every .*in \(0, "),
        (
            ["submit", "out", "--task=masked", *RUN],
            "stray word 'out': a replicate",
        ),
        (["submit", "out", "--dry_run"], "--dry_run has no effect"),
        (["submit", "--modules", "gcc", "out/x/version_0"], "submit: .*after --modules could be"),
        (
            ["resume", "out", "--modules", "gcc", "b"],
            "resume: .*after --modules could",
        ),
        (["resume", "--slurm_mm=4G", "out"], "no hyperparameter 'slurm_mm'.*'slurm_mem'"),
        (["resume", "--modules=gcc"], "resume needs a folder"),
        (["data", "describe", "out", "--dataset=fasta", "--seq_len=4"], "stray word 'out'"),
        (["data", "describe", "--json=maybe"], "must be True or False"),
    ],
)
def test_what_is_unclear_is_refused_in_one_line(here, words, told, capsys):
    assert main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(told, line), line


def test_data_describe_reads_switches_anywhere(here, capsys):
    for words in (["--json", "--fasta", "a.fa"], ["--fasta=a.fa", "--json=True"]):
        assert main(["data", "describe", *words, "--dataset", "fasta", "--seq_len", "4"]) == 0, (
            capsys.readouterr()
        )
        assert "contigs" in capsys.readouterr().out
    assert (
        main(["data", "describe", "--json=no", "--fasta=a.fa", "--dataset=fasta", "--seq_len=4"])
        == 0
    )
    assert not capsys.readouterr().out.startswith("{")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_says_what_it_does(verb, capsys):
    assert main([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"seqmodel {verb}" in out or verb in ("run",)


def test_a_name_of_submit_is_taken(here, monkeypatch, capsys):
    """A hyperparameter of a plugin that submit would take for its own is refused."""
    forget_plugins(monkeypatch)
    (here / "taken.py").write_text(
        "from seqmodel.hparam.model import EncoderHparams\n\n"
        "class OwnHparams(EncoderHparams):\n    name = 'own'\n    @staticmethod\n"
        "    def add_hparams(parser):\n        parser.add_argument('--host', help='own')\n"
    )
    assert main(["run", "--plugins=taken", "--task=masked", *RUN]) == 2
    assert "'host' is defined by both seqmodel.hparam.job.HostHparams" in capsys.readouterr().err
    forget_plugins(monkeypatch)
