import re
from pathlib import Path

import pytest
from search_helpers import FAKE, runs

from seqmodel.cli.verbs import main
from seqmodel.hparam.resolve import resolve
from seqmodel.job import ShellJob, status
from seqmodel.job.search.file import read_file, space_of
from seqmodel.job.search.space import Space

TEXT = f"""
kind = "random"
n = 4
[job]
kind = "shell"
python = "{FAKE}"
stage_code = false
stage_data = false
n_at_once = 2
[base]
task = "masked"
fasta = "a.fa"
seq_len = 8
max_epochs = 2
[space]
lr = {{ log_uniform = [1e-4, 1.0] }}
encoder = ["transformer", "dilated_conv"]
n_heads = {{ choice = [2, 4], when = {{ encoder = "transformer" }} }}
"""


def test_a_file_is_a_search_that_goes_on(workdir, capsys):
    Path("my.toml").write_text(TEXT)
    assert main(["search", "my.toml", "--dry_run"]) == 0
    assert "my: random of 4 points, 4 runs\n4 new" in capsys.readouterr().out
    assert not Path("out").exists()
    assert main(["search", "my.toml"]) == 0
    job = ShellJob()
    for _ in range(600):
        if len(runs(workdir)) == 4 and all(s.is_final for s in job.status()):
            break
    assert {s.state for s in status("out")} == {"complete"}
    capsys.readouterr()
    assert main(["search", "my.toml"]) == 0
    assert "4 complete" in capsys.readouterr().out
    assert Path("searches/my/search.json").exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("n = 4", "nn = 4", "unknown entry 'nn' in a random search; did you mean 'n'"),
        ('"random"', '"some"', "kind 'some': use one of grid, random, list, adaptive"),
        ("log_uniform = [1e-4, 1.0]", "log_uniform = 3", r"log_uniform = [lowest, highest], got 3"),
        ("n = 4", "n = ", "cannot be read as TOML"),
        ('"shell"', '"sun"', "[job] unknown kind 'sun': use one of shell, slurm"),
    ],
)
def test_a_mistake_is_one_line(workdir, capsys, before, after, message):
    Path("my.toml").write_text(TEXT.replace(before, after, 1))
    assert main(["search", "my.toml"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_the_file_in_the_documentation_is_a_search(tmp_path):
    page = Path(__file__).resolve().parents[3] / "docs/search.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "depth.toml").write_text(text)
    given = read_file(str(tmp_path / "depth.toml"))
    points = list(Space(space_of(given), given["base"]).random(given["n"], 0))
    assert {"n_heads" in p for p in points} == {True, False}
    for point in points:
        resolve({**given["base"], **point}, files_here=False)


BASE = '[base]\ntask = "masked"\nfasta = "a.fa"\nseq_len = 8\n'
SPACE = "[space]\nlr = [1e-3]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job = 5\n" + BASE + SPACE, "job must be a table, [job], got 5"),
        ("base = []\n" + SPACE, "base must be a table, [job], got []"),
        ("space = [1]\n" + BASE, "space must be a table, [job], got [1]"),
        ('kind = "random"\nn = "a"\n' + BASE, "n must be a whole number of at least 1, got 'a'"),
        ('kind = "random"\nn = 1.5\n' + BASE, "n must be a whole number of at least 1, got 1.5"),
        ('kind = "random"\nn = -1\n' + BASE, "n must be a whole number of at least 1, got -1"),
        ('kind = "random"\nseed = "x"\n' + BASE, "seed must be a whole number, got 'x'"),
        (
            "n_replicates = true\n" + BASE + SPACE,
            "n_replicates must be a whole number of at least 1",
        ),
        ("name = 5\n" + BASE + SPACE, "name must be text, got 5"),
        ("folder = []\n" + BASE + SPACE, "folder must be text, got []"),
        ('kind = "list"\npoints = 5\n' + BASE, "points must be a list of tables"),
        ('kind = "list"\npoints = ["a"]\n' + BASE, "points must be a list of tables"),
        ('[job]\nkind = ["shell"]\n' + BASE + SPACE, "[job] kind must be text, got ['shell']"),
        ("[job]\nhost = 5\n" + BASE + SPACE, "[job] host must be text, got 5"),
        (BASE + "[space]\nlr = { choice = 5 }\n", "[space] lr: write choice = [values], got 5"),
        (BASE + "[space]\nlr = { choice = [1], when = 5 }\n", "when = {other = value}, got 5"),
        ('kind = "adaptive"\nsampler = 5\n' + BASE + SPACE, "sampler must be text, got 5"),
        ('kind = "adaptive"\nn_at_once = "x"\n' + BASE + SPACE, "n_at_once must be a whole number"),
        ('kind = "adaptive"\nmetric = 5\n' + BASE + SPACE, "metric must be text, got 5"),
    ],
)
def test_an_entry_of_another_type_is_one_line(workdir, capsys, text, message):
    Path("s.toml").write_text(text)
    assert main(["search", "s.toml"]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"schema": "x"}', '{"schema": 1, "points": 5}', '{"schema": 1, "left": [[]]}',
     "[" * 100_000, "\0"],
)  # fmt: skip
def test_a_damaged_record_of_a_search_is_one_line(workdir, capsys, content):
    Path("s.toml").write_text(BASE + SPACE)
    Path("searches/s").mkdir(parents=True)
    Path("searches/s/search.json").write_text(content)
    assert main(["search", "s.toml"]) == 2
    told = capsys.readouterr().err
    assert "searches/s/search.json: not a record of a search" in told
    assert told.count("\n") == 1
    assert not Path("out").exists()


def test_the_host_of_the_command_line_replaces_that_of_the_file(tmp_path, capsys):
    path = tmp_path / "s.toml"
    path.write_text('[job]\nhost = "cedar"\n' + BASE + SPACE)
    assert main(["search", str(path), "--host=-x", "--ssh_config=c", "--open_master"]) == 2
    assert "'-x' is not a host name" in capsys.readouterr().err
