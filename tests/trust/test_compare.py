"""Two runs on one test set: `seqmodel results --compare`, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import run_folders
from scipy import stats
from sklearn import metrics as sk

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import RunError
from seqmodel.job.results.looks import n_looks, warning_of
from seqmodel.job.results.table import results
from seqmodel.trust.compare import compare

sys.path.insert(0, str(Path(__file__).parents[1] / "archive"))

RNG = np.random.default_rng(0)
N = 400
TRUTH = RNG.integers(0, 2, N)
GOOD = 1 / (1 + np.exp(-RNG.normal(2.5 * TRUTH - 1.2, 1)))
POOR = 1 / (1 + np.exp(-RNG.normal(0.8 * TRUTH - 0.4, 1)))


def write_predictions(path, p, truth=TRUTH, names=("no", "yes"), contigs=None):
    p = np.stack([1 - p, p], 1)
    order = [("no", "yes").index(x) for x in names]
    where = ["row"] if contigs is None else ["row", "contig", "start", "end", "strand"]
    lines = ["\t".join([*where, "truth", *names])]
    for i, y in enumerate(truth):
        place = [] if contigs is None else [contigs[i], str(10 * i), str(10 * i + 8), "+"]
        values = [str(i), *place, ("no", "yes")[y], *(f"{p[i, j]:.9g}" for j in order)]
        lines.append("\t".join(values))
    Path(path).write_text("\n".join(lines) + "\n")


def write_tested(folder, p, sha256="0" * 64, **options):
    """A run folder whose record says on what it was tested."""
    Path(folder).mkdir(parents=True)
    run = {"tested": {"n": N, "files": ["t.csv"]}, "data": {"t.csv": {"sha256": sha256}}}
    Path(folder, "hparams.json").write_text(json.dumps({"task": "classify", "_run": run}))
    write_predictions(Path(folder, "test_predictions.tsv"), p, **options)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tested("good", GOOD)
    write_tested("poor", POOR)
    return tmp_path


def test_the_better_of_two_is_named_with_the_difference_and_its_interval(here):
    found = {x.metric: x for x in seqmodel.compare("poor", "good", draws=300).scores}
    auroc = found["auroc"]
    assert auroc.a.value == pytest.approx(sk.roc_auc_score(TRUTH, POOR), abs=1e-6)
    assert auroc.b.value == pytest.approx(sk.roc_auc_score(TRUTH, GOOD), abs=1e-6)
    assert auroc.difference.value == pytest.approx(auroc.a.value - auroc.b.value)
    assert auroc.difference.high < 0
    assert {x.better for name, x in found.items() if name != "ece"} == {"B"}
    assert auroc.sentence() == found["log_loss"].sentence() == "B is better"
    assert found["log_loss"].difference.low > 0


def test_of_two_alike_neither_is_better(here):
    for name in ("one", "two"):
        write_tested(name, np.clip(GOOD + RNG.normal(0, 0.05, N), 0.001, 0.999))
    auroc = next(x for x in compare("one", "two").scores if x.metric == "auroc")
    assert auroc.sentence() == "neither is shown to be better"
    same = compare("good", "good", draws=50)
    assert all(x.difference.value == 0 and x.better is None for x in same.scores)


def test_false_alarms_are_rare():
    # two models that are equally good: one in 20 is said to be better
    from seqmodel.trust.uncertainty import paired

    alarms = 0
    for seed in range(300):
        rng = np.random.default_rng([9, seed])
        y = rng.integers(0, 2, 200)
        shared = rng.normal(size=200)
        a, b = (y + 0.7 * shared + 0.7 * rng.normal(size=200) for _ in range(2))
        low, high = paired("auroc", y, a, b, draws=300, seed=seed)[1:]
        alarms += low > 0 or high < 0
    assert alarms <= stats.binom.ppf(0.9995, 300, 0.07)


def test_targets_in_another_order_are_put_in_that_of_the_first(here):
    write_tested("other", POOR, names=("yes", "no"))
    wanted = compare("good", "poor", draws=50)
    assert compare("good", "other", draws=50).scores == wanted.scores


def test_contigs_and_blocks_are_the_groups(here):
    contigs = [f"c{i % 25}" for i in range(N)]
    write_tested("many", GOOD, contigs=contigs)
    write_tested("one", GOOD, contigs=["c1"] * N)
    assert compare("many", "many", draws=10).groups == "25 contigs"
    assert compare("one", "one", draws=10).groups == ("1 blocks of 10 kb (no interval from one)")
    assert compare("good", "poor", draws=10).groups == "400 rows"


def test_the_verb_shows_a_table_or_writes_it(here, capsys):
    assert main(["results", "--compare", "good", "poor"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["A: good", "B: poor"]
    assert out[2] == "400 test rows; 95 % intervals from 1,000 draws of 400 rows"
    line = next(x for x in out if x.startswith("auroc"))
    assert line.endswith("A is better")
    assert main(["results", "--compare=good", "--compare=poor", "--format=json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"metric", "a", "b_low", "difference_high", "better", "says"} <= set(rows[0])
    assert main(["results", "--compare", "good", "poor", "--out=c.csv"]) == 0
    assert Path("c.csv").read_text().startswith("metric,a,a_low,a_high,b,")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: write_tested("x", GOOD, sha256="1" * 64), "were tested on different data: t.csv"),
        (lambda: write_tested("x", GOOD, truth=1 - TRUTH), "to different rows, or their truth"),
        (lambda: write_tested("x", GOOD, truth=TRUTH[:99]), "have 400 and 99 rows"),
        (lambda: Path("x").mkdir(), r"x: has no test predictions; .* --mode=test --load_checkpoi"),
        (lambda: None, "x: has no test predictions"),
    ],
)
def test_other_test_sets_are_refused_in_one_line(here, make, message, capsys):
    make()
    with pytest.raises(RunError, match=message):
        compare("good", "x")
    assert main(["results", "--compare", "good", "x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare", "good"], "--compare takes two run folders, got 'good'"),
        (["out", "--compare", "good", "poor"], "takes two run folders, got 'good' 'poor' 'out'"),
        (["--compare", "good", "poor", "--grouped"], "--grouped has no effect with --compare"),
    ],
)
def test_what_has_no_effect_is_refused(here, words, message, capsys):
    assert main(["results", *words]) == 2
    assert message in capsys.readouterr().err


def test_metrics_are_those_that_the_runs_report(tmp_path, monkeypatch):
    from cases import CASES, SMALL, write_data

    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    same = {"profile": {"pearson": "count_pearson"}, "regress": {}, "classify": {}}
    same["multilabel"] = {"log_loss": "loss"}
    for task, names in same.items():
        run = seqmodel.train(**{**SMALL, **CASES[task], "default_root_dir": task})
        for row in compare(task, task, draws=10).rows():
            wanted = run.metrics.get(f"test_{names.get(row['metric'], row['metric'])}")
            if wanted is not None and np.isfinite(wanted):
                assert row["a"] == pytest.approx(wanted, rel=1e-3, abs=1e-4), (task, row["metric"])


# ---- results: intervals over seeds, and how often a test set was looked at


def test_grouped_shows_the_t_interval_over_seeds(tmp_path):
    for seed in range(4):
        run_folders.write_run(tmp_path, name=f"s{seed}", seed=seed, level=0.5 + 0.01 * seed**2)
    run_folders.write_run(tmp_path, name="single", lr=0.1)
    groups = {row["replicates"]: row for row in results(str(tmp_path)).grouped()}
    values = [row["best"] for row in results(str(tmp_path)).rows() if row["lr"] != 0.1]
    wanted = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (groups[4]["best_low"], groups[4]["best_high"]) == pytest.approx(wanted)
    assert (groups[1]["best_low"], groups[1]["best_high"]) == (None, None)


def test_a_test_set_that_several_runs_scored_is_counted_and_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        folder = run_folders.write_run("out", name=f"r{i}", lr=0.1 * i)
        record = json.loads(Path(folder, "hparams.json").read_text())
        record["_run"]["tested"] = {"n": 9, "files": ["t.csv"]}
        record["_run"]["data"] = {"t.csv": {"sha256": str(i // 2)}}
        Path(folder, "hparams.json").write_text(json.dumps(record))
    found = results("out")
    assert n_looks(found) == 2
    assert warning_of(found, "best") is None
    assert main(["results", "out", "--sort=test_loss"]) == 0
    assert "which 2 of these runs have scored" in capsys.readouterr().err
    assert main(["results", "out", "--sort=best"]) == 0
    assert capsys.readouterr().err == ""


def test_a_record_that_says_nothing_of_a_test_counts_for_nothing(tmp_path):
    run_folders.write_run(tmp_path, name="a")
    assert n_looks(results(str(tmp_path))) == 0


# ---- test equal to valid


def write_table(path, seed):
    rng = np.random.default_rng(seed)
    rows = [f"{''.join(rng.choice(list('ACGT'), 12))},{i % 2}" for i in range(16)]
    Path(path).write_text("\n".join(["sequence,label", *rows]) + "\n")


def test_a_test_split_that_is_the_valid_split_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("train", "valid", "other")):
        write_table(f"{name}.csv", seed)
    Path("test.csv").write_bytes(Path("valid.csv").read_bytes())
    shared = {"task": "classify", "dataset": "table", "encoder": "cnn", "n_layers": 1}
    shared |= {"n_dims": 4, "max_epochs": 1, "accelerator": "cpu", "progress": "none"}
    shared |= {f"{s}_files": [f"{s}.csv"] for s in ("train", "valid", "test")}
    with pytest.raises(RunError, match=r"--test_files=test.csv has the content of --valid_files"):
        seqmodel.train(**shared, default_root_dir="a")
    assert not Path("a").exists()
    seqmodel.train(**{**shared, "test_files": ["other.csv"]}, default_root_dir="b")
