import io

import run_folders

from seqmodel.cli.verbs import main
from seqmodel.job.results import results
from seqmodel.report.watch import sparkline, watch


def test_a_sparkline_has_the_shape_of_its_curve():
    assert sparkline([]) == ""
    assert sparkline([1.0]) == "▁"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    falling = sparkline([1 / (i + 1) for i in range(1000)], width=10)
    assert len(falling) == 10
    assert falling == "".join(sorted(falling, reverse=True))
    assert sparkline([float("nan"), 2.0, 1.0]) == "█▁"


def test_running_runs_come_first_with_their_curves(tmp_path):
    run_folders.write_every_state(tmp_path)
    out = io.StringIO()
    watch(lambda: results(str(tmp_path)), once=True, file=out, n_rows=5)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("12 runs: ")
    assert " running" in lines[2]
    assert "█" in lines[2]
    assert "7 more" in out.getvalue()


def test_the_verb_shows_hostile_texts_as_they_are(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    run_folders.write_run(tmp_path, encoder="[red]x[/red]", lr=1.0)
    run_folders.write_run(tmp_path, encoder="cnn", lr=2.0)
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert "[red]x[/red]" in capsys.readouterr().out


def test_a_run_that_diverged_is_not_complete(tmp_path):
    folder = run_folders.write_run(tmp_path)
    run_folders.write_run(tmp_path, lr=0.1)
    (folder / "metrics.csv").write_text("epoch,step,train_loss\n0,0,1\n1,1,nan\n")
    out = io.StringIO()
    watch(lambda: results(str(tmp_path)), once=True, file=out)
    assert out.getvalue().count("diverged train_loss is nan") == 1
    assert "2 runs: 1 diverged, 1 complete" in out.getvalue()


def test_an_empty_folder_is_no_error(tmp_path, capsys):
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert "no runs yet" in capsys.readouterr().out
