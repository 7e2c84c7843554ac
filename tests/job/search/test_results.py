"""The table of results, against numbers worked out here from the files that were written."""

import csv
import io
import json
import math
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import hypothesis.strategies as st
import pyarrow.parquet
import pytest
import run_folders
from hypothesis import given
from markdown_it import MarkdownIt

from seqmodel.cli.verbs import main
from seqmodel.errors import JobError
from seqmodel.job.results.naming import names_of
from seqmodel.job.results.result import mode
from seqmodel.job.results.table import mean_sd, results
from seqmodel.job.results.text import as_text, write
from seqmodel.job.status_table import status


@pytest.fixture
def root(tmp_path):
    for lr in (1e-4, 1e-3):
        for seed in range(3):
            level = 0.5 + 100 * lr + 0.01 * seed
            run_folders.write_run(tmp_path, lr=lr, seed=seed, level=level)
    run_folders.write_run(tmp_path, lr=1e-4, seed=3, state="error")
    return tmp_path


def test_one_row_a_replicate_with_what_varies(root):
    table = results(str(root))
    assert len(table) == 7
    assert table.varying == ["lr", "seed"]
    row = table.where("lr=1e-4", "seed=0").rows()[0]
    assert (row["state"], row["epochs"], row["elapsed_s"]) == ("complete", 5, 300.0)
    assert row["best"] == pytest.approx(0.51 + math.exp(-0.3 * 4))
    assert row["staging_s"] == 7
    assert row["peak_memory_gb"] == pytest.approx(1.51)
    assert row["test_loss"] == pytest.approx(0.61)


def test_a_run_is_named_by_what_varies_among_those_shown(root):
    assert results(str(root)).names[:2] == ["lr=0.0001, seed=0", "lr=0.0001, seed=1"]
    assert results(str(root)).where("seed=1").names == ["lr=0.0001", "lr=0.001"]


def test_tables_of_runs_begin_with_what_varies(root, capsys):
    for verb in ("status", "results"):
        assert main([verb, str(root)]) == 0
        lines = capsys.readouterr().out.splitlines()
        name = "lr=0.0001, seed=0" if verb == "status" else r"0.0001 +0 "
        assert re.match(name, lines[1])
    long = [{"fasta": [f"{'x' * 170}{i}.fa"]} for i in range(2)]
    for i, hparams in enumerate(long):
        run_folders.write_run(root / "long", name=f"cut~{i}", **hparams)
    assert status(str(root / "long")).names() == [f"fasta={x['fasta'][0]}" for x in long]
    Path(status(str(root / "long"))[0].folder, "hparams.json").write_text("{")
    assert status(str(root / "long")).names()[1] == "version_0"  # only one has a record
    rows = status(str(root)).rows()
    assert [Path(row[-1]).name for row in rows] == ["version_0"] * len(rows)


@pytest.mark.parametrize(
    ("runs", "names"),
    [
        ([{"dim": 8}], ["version_0"]),
        ([{"dim": 8}, {"dim": 8}], ["version_0", "version_1"]),
        ([{"dim": 8}, {"dim": 8}, {"dim": 16}], ["dim=8, version_0", "dim=8, version_1", "dim=16"]),
        ([{}, {"dim": 8}], ["run 0/version_0", "version_1"]),
        ([{"fasta": ["a" * 200, "b"]}, {"fasta": None}], [f"fasta={'a' * 200} b", "fasta=none"]),
        ([{"lr": 0.123456}, {"lr": 0.1}], ["lr=0.123456", "lr=0.1"]),
        ([{"n_workers": 1}, {"n_workers": 2}], ["version_0", "version_1"]),
        ([{"seed": 1, "dim": 8}, {"seed": 2, "dim": 9}], ["dim=8, seed=1", "dim=9, seed=2"]),
    ],
)
def test_a_name_is_whole_and_its_own(runs, names):
    folders = [f"out/run {i}/version_{i}" for i in range(len(runs))]
    assert names_of(runs, folders) == names


def test_runs_that_wait_are_shown_although_none_has_a_score(tmp_path):
    for lr in (0.1, 0.2):
        run_folders.write_run(tmp_path, state="queued", lr=lr)
    head, *rows = repr(results(str(tmp_path))).splitlines()
    assert head.split()[:2] == ["lr", "state"]
    assert [row.split()[:2] for row in rows[:2]] == [["0.1", "created"], ["0.2", "created"]]


def test_replicates_are_runs_that_differ_in_their_seed(root):
    groups = {g["lr"]: g for g in results(str(root)).grouped()}
    assert {lr: (g["replicates"], g["complete"]) for lr, g in groups.items()} == {
        1e-4: (4, 3),
        1e-3: (3, 3),
    }
    scores = [0.6 + 0.01 * seed + math.exp(-0.3 * 4) for seed in range(3)]
    assert groups[1e-3]["best_mean"] == pytest.approx(statistics.mean(scores))
    assert groups[1e-3]["best_sd"] == pytest.approx(statistics.stdev(scores))
    assert groups[1e-3]["best_n"] == 3
    run_folders.write_run(root, lr=1e-3, seed=2, level=0.62, version=1)  # a repeat says nothing new
    again = {g["lr"]: g for g in results(str(root)).grouped()}[1e-3]
    assert again["replicates"] == 4
    assert [again[f"best_{x}"] for x in ("mean", "sd", "n")] == pytest.approx(
        [groups[1e-3][f"best_{x}"] for x in ("mean", "sd", "n")]
    )


def test_mean_and_sd_say_when_there_are_too_few():
    assert mean_sd([]) == (None, None)
    assert mean_sd([2.0]) == (2.0, None)


def test_sorted_by_a_score_the_best_come_first_and_the_unknown_last(root):
    table = results(str(root))
    best = [row["best"] for row in table.sort_by("best").rows()]
    assert best == sorted(best)
    tested = [row["test_auroc"] for row in table.sort_by("test_auroc").rows()]
    assert tested[-1] is None
    assert tested[:-1] == sorted(tested[:-1], reverse=True)


def test_a_hyperparameter_that_is_the_same_in_all_can_be_asked_for(root):
    table = results(str(root))
    assert len(table.where("encoder=cnn", "n_layers>=2", "fasta=g.fa")) == 7
    assert len(table.where("encoder=hyena")) == 0
    assert [r.version for r in table.where("lr=1e-3").where("lr=1e-3").sort_by("lr")] == [0, 0, 0]
    with pytest.raises(JobError, match="did you mean 'encoder'") as error:
        table.where("encodr=cnn")
    assert "n_layers" not in str(error.value)


def test_a_condition_on_an_unknown_column_is_one_line(root):
    with pytest.raises(JobError, match="no column 'bset'.*did you mean 'best'"):
        results(str(root)).where("bset<1")
    with pytest.raises(JobError, match="write name=value"):
        results(str(root)).where("best")


def test_every_way_of_writing_gives_the_same_numbers(root, tmp_path):
    table = results(str(root))
    rows = table.rows()
    read = list(csv.DictReader(io.StringIO(table.text("csv"))))
    assert [float(r["lr"]) for r in read] == [r["lr"] for r in rows]
    assert [r["best"] for r in json.loads(table.text("json"))] == [r["best"] for r in rows]
    frame = table.to_pandas()
    assert list(frame["best"]) == [r["best"] for r in rows]
    table.write(str(tmp_path / "t.parquet"))
    import pandas as pd

    assert list(pd.read_parquet(tmp_path / "t.parquet")["folder"]) == [r["folder"] for r in rows]
    with pytest.raises(JobError, match="csv, tsv, md, tex, json, parquet"):
        table.write(str(tmp_path / "t.doc"))


def test_latex_and_markdown_escape_what_they_would_read(tmp_path):
    run_folders.write_run(tmp_path, encoder="a_b&c|d<e>%#{}$~^\\", name="x", lr=1.0)
    run_folders.write_run(tmp_path, encoder="cnn", name="y", lr=2.0)
    table = results(str(tmp_path))
    escaped = r"a\_b\&c|d<e>\%\#\{\}\$\textasciitilde \textasciicircum \textbackslash "
    assert escaped in table.text("tex")
    assert r"a_b&amp;c\|d&lt;e>%#{}$\~^\\" in table.text("md")
    assert "&lt;e&gt;" in table._repr_html_()


_words = st.text(st.sampled_from("ab1 |_*`[]~<&\\\\%#{}$^-\\n"), max_size=12)
_row = st.tuples(_words, _words).map(lambda row: dict(zip(("a_b|c", "%d"), row, strict=True)))
_rows = st.lists(_row, min_size=1, max_size=4)


def _as_shown(text):
    return " ".join(text.split())


@given(rows=_rows)
def test_markdown_is_read_back_as_it_was(rows):
    page = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(as_text(rows, "md"))
    cells = [
        ["".join(c.itertext()) for c in line] for line in ElementTree.fromstring(page).iter("tr")
    ]
    assert cells == [list(rows[0]), *([_as_shown(v) for v in row.values()] for row in rows)]


# what LaTeX prints for what stands in its text
_PRINTED = {
    **{rf"\{c}": c for c in "&%$#_{}"},
    r"\textbackslash": "\\",
    r"\textasciitilde": "~",
    r"\textasciicircum": "^",
    r"\space": " ",
}
_TOKEN = re.compile(r"(\\[a-z]+) ?|(\\.)|([^\\&%$#_{}~^])")


def _printed(text):
    found, at = "", 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        assert token, text[at:]  # LaTeX would read it as a command
        name = token[1] or token[2]
        found += _PRINTED[name] if name else token[3]
        at = token.end()
    return found.strip()


@given(rows=_rows)
def test_latex_prints_what_it_was(rows):
    body = as_text(rows, "tex").split("\\toprule\n")[1].split("\\bottomrule")[0]
    lines = body.replace("\\midrule\n", "").splitlines()
    cells = [
        [_printed(cell.strip(" ")) for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))]
        for line in lines
    ]
    expected = [list(rows[0]), *([_as_shown(v) for v in row.values()] for row in rows)]
    assert cells == expected


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_no_cell_is_a_formula_of_a_spreadsheet(kind):
    evil = ["=1+1", "+1+1", "-cmd|x", "@SUM(1)", "\t=1", "\r=1"]
    kept = ["a=1", "-1e-3", "+2", "-inf", "", "x-1", "'=1"]
    rows = [{"=name": text, "n": -0.5} for text in evil + kept]
    dialect = {"csv": "excel", "tsv": "excel-tab"}[kind]
    text = io.StringIO(as_text(rows, kind), newline="")
    read = list(csv.DictReader(text, dialect=dialect))
    assert [row["'=name"] for row in read] == [f"'{x}" for x in evil] + kept
    assert {row["n"] for row in read} == {"-0.5"}


def test_a_file_keeps_the_types_of_its_columns(tmp_path):
    rows = [
        {"n": 3, "lr": 1e-5, "big": 2**70, "yes": True, "mixed": 1, "none": None},
        {"n": None, "lr": math.nan, "big": 1, "yes": None, "mixed": "a", "none": None},
        {"n": 2**53 + 1, "lr": 0.1 + 0.2, "big": 2, "yes": False, "mixed": None, "none": None},
    ]
    for name in ("x.parquet", "x.json", "x.tsv"):
        write(rows, str(tmp_path / name))
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert table["n"].to_pylist() == [3, None, 2**53 + 1]
    assert table["lr"].to_pylist() == [1e-5, None, 0.1 + 0.2]
    assert table["big"].to_pylist() == [str(2**70), "1", "2"]
    assert table["yes"].to_pylist() == [True, None, False]
    assert table["mixed"].to_pylist() == ["1", "a", None]

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    read = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert read == [{**rows[0]}, {**rows[1], "lr": None}, rows[2]]
    lines = (tmp_path / "x.tsv").read_text().splitlines()
    read = list(csv.DictReader(lines, dialect="excel-tab"))
    assert [row["lr"] for row in read] == ["1e-05", "nan", repr(0.1 + 0.2)]


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from seqmodel.errors import JobError
from seqmodel.job.results.table import results
table = results(sys.argv[2])
for kind in ("csv", "tsv", "json", "md", "tex", "parquet"):
    try:
        table.write(f"{sys.argv[2]}/x.{kind}")
    except JobError as e:
        print(kind, e)
assert "valid_loss" in repr(table)
assert "<td>valid_loss</td>" in table._repr_html_()
"""
NEEDED = {
    "pandas": {"md", "tex", "parquet"},
    "tabulate": {"md"},
    "jinja2": {"tex"},
    "pyarrow": {"parquet"},
}


@pytest.mark.parametrize("gone", NEEDED)
def test_without_an_extra_the_rest_works_and_one_line_names_it(tmp_path, gone):
    run_folders.write_run(tmp_path)
    command = [sys.executable, "-c", WITHOUT, gone, tmp_path]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {line.split()[0] for line in lines} == NEEDED[gone]
    assert all(f"needs the package {gone}: pip install {gone}, or" in line for line in lines)
    written = {x.suffix[1:] for x in tmp_path.glob("x.*")}
    assert written == {"csv", "tsv", "json", "md", "tex", "parquet"} - NEEDED[gone]


def test_folders_without_a_job_and_damaged_files_are_read(tmp_path):
    run_folders.write_run(tmp_path / "deep" / "er", job=False, name="by_hand")
    broken = run_folders.write_run(tmp_path, name="broken")
    damaged = run_folders.write_run(tmp_path, name="damaged")
    (damaged / "hparams.json").write_text("{")
    (broken / "metrics.csv").write_text("epoch,step,valid_loss\n0,1,0.5\n0,x,1\n0,2")
    by_name = {r.folder.split("/")[-2]: r for r in results(str(tmp_path))}
    assert by_name["by_hand"].status.state == "complete"
    assert by_name["damaged"].status.state == "damaged"
    assert by_name["damaged"].rows == []
    assert by_name["broken"].rows == [{"epoch": 0.0, "step": 1.0, "valid_loss": 0.5}]
    assert by_name["damaged"].hparams == {}


@pytest.mark.parametrize("verb", ["results", "report"])
def test_a_table_or_page_that_cannot_be_written_leaves_nothing(verb, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqmodel.report.page._plotly", lambda: "")
    run_folders.write_run(tmp_path / "out")
    (tmp_path / "a.csv").mkdir()
    before = sorted(os.listdir())
    for path in ("a.csv", "nowhere/x.csv", "out/default/version_0/events/x.csv"):
        assert main([verb, "out", f"--out={path}"]) == 2
        assert f"cannot write {path}: " in capsys.readouterr().err
    assert sorted(os.listdir()) == before


def test_the_mode_of_a_value_is_that_of_the_tasks():
    from seqmodel.task.task import Task, monitor_mode

    names = ("valid_loss", "valid_auroc", "valid_bits", "valid_mse", "valid_perplexity", "test_mcc")
    assert [mode(n) for n in names] == [monitor_mode(n) for n in names]
    from seqmodel.job.results.result import DEFAULT_MONITOR

    found = {cls.default_monitor for cls in [Task, *Task.__subclasses__()]}
    assert found == {DEFAULT_MONITOR}


def test_the_verb_prints_filters_sorts_and_writes(root, capsys, tmp_path):
    assert (
        main(["results", str(root), "--where", "state=complete", "--sort=best", "--format=csv"])
        == 0
    )
    out = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(out) == 6
    assert main(["results", str(root), "--grouped", f"--out={tmp_path / 'g.md'}"]) == 0
    assert " best_mean | " in (tmp_path / "g.md").read_text()
    assert main(["results", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_what_differs_only_because_tasks_differ_is_no_column(tmp_path):
    for lr in (1e-4, 1e-3):
        run_folders.write_run(tmp_path, task="masked", dataset="fasta", lr=lr, mask_prop=0.1)
        run_folders.write_run(tmp_path, task="classify", dataset="bed", lr=lr, balanced=True)
    assert results(str(tmp_path)).varying == ["task", "lr"]


def test_a_job_has_its_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_folders.write_run(tmp_path / "out", lr=1.0)
    from seqmodel.job import ShellJob

    assert [r.hparams["lr"] for r in ShellJob().results()] == [1.0]
