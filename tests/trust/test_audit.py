"""The audit: what was planted is found, in every kind of data, and hard cases give a report."""

import json
from pathlib import Path

import indexed_cases
import numpy as np
import pandas as pd
import pytest

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.dataset.build import build_data
from seqmodel.errors import LabelError
from seqmodel.hparam.resolve import resolve_data
from seqmodel.trust.rows import rows_of

PAIRS = str.maketrans("ACGT", "TGCA")


def texts(n, length=60, letters="ACGT", seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(letters), length)) for _ in range(n)]


def frame(sequences, labels=None, **more):
    labels = np.arange(len(sequences)) % 2 if labels is None else labels
    return pd.DataFrame({"sequence": sequences, "label": labels, **more})


def names(report):
    return [x["name"] for x in report["findings"]]


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Two files in which the test has a copy, a copy with another label, and a reverse one."""
    monkeypatch.chdir(tmp_path)
    train = frame(texts(60))
    test = frame(texts(40, seed=1))
    test.loc[0, ["sequence", "label"]] = train.loc[3, ["sequence", "label"]]
    test.loc[1, ["sequence", "label"]] = train.loc[4, "sequence"], 1 - train.loc[4, "label"]
    test.loc[2, "sequence"] = train.loc[5, "sequence"].translate(PAIRS)[::-1]
    train.to_csv("train.csv", index=False)
    test.to_csv("test.csv", index=False)
    return train, test


TABLES = ["--dataset=table", "--train_files=train.csv", "--test_files=test.csv"]


def test_planted_rows_are_found_and_fail_where_that_is_asked(tables, capsys):
    assert main(["audit", *TABLES, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = report["duplicates"]["test in train"]
    assert (found["same"], found["other_label"], found["reverse_complement"]) == (2, 1, 1)
    assert report["schema"] == "seqmodel.audit"
    assert report["version"] == 1
    assert {"duplicates", "conflicts"} <= set(names(report))
    assert main(["audit", *TABLES, "--fail_on=overlap"]) == 0
    assert main(["audit", *TABLES, "--fail_on=overlap,duplicates"]) == 3
    assert main(["audit", *TABLES, "--fail_on=all", "--out=audit.json"]) == 3
    assert json.loads(Path("audit.json").read_text())["duplicates"] == report["duplicates"]
    assert "3 of 40 rows are duplicates" in capsys.readouterr().out


def test_tables_in_python_are_audited_as_files_are(tables):
    train, test = tables
    report = seqmodel.audit(train=train, test=test)
    files = seqmodel.audit(train="train.csv", test="test.csv")
    assert {**report, "seconds": 0} == {**files, "seconds": 0}
    assert "baselines, test mcc" in str(report)
    assert "duplicates" in report.findings


def test_classes_with_names_have_one_order_in_all_tables():
    train = frame(texts(40), ["cat", "dog"] * 20)
    test = frame(texts(20, seed=1), ["dog", "ape"] * 10)
    report = seqmodel.audit(train=train, test=test)
    assert report["splits"]["test"]["classes"] == {"ape": 10, "cat": 0, "dog": 10}


def test_outputs_are_scored_beside_baselines():
    train, test = frame(texts(80)), frame(texts(60, seed=1))
    right = np.eye(2)[test["label"]]
    model = seqmodel.audit(train=train, test=test, outputs=right)["model"]
    assert model["metrics"]["mcc"]["value"] == pytest.approx(1)
    assert model["better_than"]["low"] > 0
    wrong = seqmodel.audit(train=train, test=test, outputs=1 - right)
    assert "baseline" in wrong.findings
    with pytest.raises(LabelError, match=r"outputs have shape \[3, 2\]"):
        seqmodel.audit(train=train, test=test, outputs=right[:3])


def test_scores_without_similar_rows_are_those_of_the_other_rows():
    train = frame(texts(50))
    test = frame(texts(40, seed=1))
    test.loc[:9, "sequence"] = train["sequence"][:10].to_numpy()
    for i in range(5):  # no duplicates, but nearly so
        test.loc[i, "sequence"] = test.loc[i, "sequence"][1:] + "A"
    outputs = np.eye(2)[test["label"]]
    outputs[10:20] = 1 - outputs[10:20]
    model = seqmodel.audit(train=train, test=test, outputs=outputs)["model"]
    clean = model["without"]["similar (>= 0.2)"]
    y, p = test["label"].to_numpy()[10:], outputs[10:].argmax(1)
    assert (clean["n"], model["without"]["duplicates"]["n"]) == (30, 35)
    assert clean["value"] == pytest.approx(np.corrcoef(y, p)[0, 1])
    bands = {x["band"]: x for x in model["by_containment"]}
    assert (bands[">= 0.8"]["n"], bands[">= 0.8"]["value"]) == (10, pytest.approx(1))


HARD = {
    "test equal to train": (frame(texts(30)), frame(texts(30))),
    "one class": (frame(texts(30), [1] * 30), frame(texts(10, seed=1), [1] * 10)),
    "one class in test": (frame(texts(30)), frame(texts(10, seed=1), [1] * 10)),
    "constant target": (frame(texts(30), [2.5] * 30), frame(texts(10, seed=1), [2.5] * 10)),
    "ten rows": (frame(texts(6)), frame(texts(4, seed=1))),
    "one row": (frame(texts(1)), frame(texts(1, seed=1))),
    "shorter than k": (frame(texts(40, 5)), frame(texts(20, 5, seed=1))),
    "one letter": (frame(texts(40, 1)), frame(texts(20, 1, seed=1))),
    "all unknown": (frame(["N" * 40] * 20), frame(["N" * 40] * 10)),
    "labels missing": (
        frame(texts(40), [0.5, np.nan, 1.5, 2.5] * 10),
        frame(texts(20, seed=1), [np.nan, 0.5] * 10),
    ),
    "all labels missing": (frame(texts(40), [np.nan] * 40), frame(texts(20), [np.nan] * 20)),
    "duplicated names": (
        frame(texts(20), name=["a", "b"] * 10),
        frame(texts(10, seed=1), name=["a", "c"] * 5),
    ),
    "no labels": (
        pd.DataFrame({"sequence": texts(20)}),
        pd.DataFrame({"sequence": texts(20, seed=1)}),
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_cases_have_a_report(name):
    train, test = HARD[name]
    report = seqmodel.audit(train=train, test=test)
    json.dumps(report, allow_nan=False)
    assert str(report)
    if name in ("one class", "one class in test", "constant target"):
        assert "one_class" in names(report)
    if name == "test equal to train":
        assert {"same_split", "duplicates"} <= set(names(report))
    if name in ("shorter than k", "one letter", "all unknown"):
        assert "duplicates" in names(report)
    if name == "duplicated names":
        assert report["within"]["train"]["same_name"] == 18
        assert report["duplicates"]["test in train"]["same_name"] == 5
    if name == "no labels":
        assert report["markov"]["order 0"] == pytest.approx(np.log(4), abs=0.1)


@pytest.mark.parametrize(
    ("alphabet", "letters"), [("rna", "ACGU"), ("protein", "ACDEFGHIKLMNPQRSTVWY")]
)
def test_rna_and_protein_are_audited(alphabet, letters):
    train = frame(texts(60, letters=letters), np.linspace(0, 1, 60))
    test = frame(texts(30, letters=letters, seed=1), np.linspace(0, 1, 30))
    test.loc[0, "sequence"] = train.loc[0, "sequence"]
    report = seqmodel.audit(train=train, test=test, alphabet=alphabet)
    found = report["duplicates"]["test in train"]
    assert found["same"] == 1
    assert (found["reverse_complement"] is None) == (alphabet == "protein")
    assert report["baselines"]["metric"] == "pearson"
    assert report["similarity"]["test in train"]["k"] == (6 if alphabet == "protein" else 16)


@pytest.fixture
def genome(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text(
        "".join(f">{c}\n{x}\n" for c, x in zip("abc", texts(3, 2000), strict=True))
    )
    for name, contig in (("train", "a"), ("test", "b")):
        lines = [f"{contig}\t{i}\t{i + 40}\t{i // 40 % 2}\n" for i in range(0, 1600, 40)]
        (tmp_path / f"{name}.bed").write_text("".join(lines))
    (tmp_path / "over.bed").write_text("a\t30\t70\t0\nb\t0\t40\t1\nb\t40\t80\t0\n")
    return ["--fasta=g.fa", "--seq_len=40"]


def audited(capsys, *argv):
    assert main(["audit", *argv, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    main(["audit", *argv])
    return report, capsys.readouterr().out


def test_intervals_that_overlap_are_found(genome, capsys):
    files = ["--dataset=bed", "--train_files=train.bed"]
    report, _ = audited(capsys, *genome, *files, "--test_files=test.bed")
    assert report["coordinates"]["test in train"]["overlapping"] == 0
    assert "position" in report["baselines"]["unseen"]
    assert report["baselines"]["groups"] == "blocks of 10 kb"
    report, text = audited(capsys, *genome, *files, "--test_files=over.bed")
    there = report["coordinates"]["test in train"]
    assert (there["overlapping"], there["bp"]) == (1, 40)
    assert "overlap: test in train: 1 intervals overlap (40 bp)" in text


@pytest.mark.parametrize("task", ["masked", "causal"])
def test_runs_without_labels_have_markov_chains(genome, capsys, task):
    files = ["--dataset=fasta", f"--task={task}", "--train_contigs", "a", "--test_contigs", "b"]
    report, text = audited(capsys, *genome, *files)
    assert report["markov"]["order 0"] == pytest.approx(np.log(4), abs=0.02)
    assert ("3 positions on either side" in report["markov"]) == (task == "masked")
    assert "baselines" not in report
    assert "Markov chain, order 0" in text


@pytest.fixture
def every_kind(tmp_path, monkeypatch):
    """Files of all kinds of data, see indexed_cases.py."""
    monkeypatch.chdir(tmp_path)
    indexed_cases.write(tmp_path)


TILES = ["--fasta=g.fa", "--seq_len=50", "--train_contigs", "a", "--test_contigs", "b"]
PAD = ["--incomplete=pad"]
KINDS = {
    "peaks": (
        "auroc",
        ["--dataset=peaks", *TILES, *PAD, "--bin_len=10", "--peaks", "p.bed", "q.bed"],
    ),
    "tracks": (
        "pearson",
        ["--dataset=tracks", *TILES, "--bin_len=10", "--tracks", "plus.bw", "minus.bw"],
    ),
    "arrays": ("auroc", ["--dataset=arrays", "--train_files=train.npz", "--test_files=valid.npz"]),
    "records": (
        "mcc",
        ["--dataset=records", "--fasta", "train.fa", "valid.fa", "--train_files=train_names.csv",
         "--test_files=valid_names.csv"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_is_audited(every_kind, capsys, kind):
    metric, argv = KINDS[kind]
    report, text = audited(capsys, *argv)
    assert report["baselines"]["metric"] == metric
    assert report["duplicates"]["test in train"]["rows"] == report["splits"]["test"]["rows"]
    assert ("coordinates" in report and bool(report["coordinates"])) == (
        kind in ("peaks", "tracks")
    )
    assert "1-mers" in text
    if kind == "records":
        assert report["within"]["train"]["same_name"] == 0


def test_the_truth_of_a_track_is_its_log_total_over_the_window(every_kind):
    pyBigWig = pytest.importorskip("pyBigWig")
    data = build_data(resolve_data({"dataset": "tracks", "fasta": ["g.fa"], "seq_len": 50,
                                    "bin_len": 10, "tracks": ["plus.bw"]}))  # fmt: skip
    rows = rows_of(data, "train")
    with pyBigWig.open("plus.bw") as f:
        places = zip(rows.contigs, rows.starts.tolist(), rows.ends.tolist(), strict=True)
        expected = [np.log1p(np.sum(f.values(str(c), a, b))) for c, a, b in places]
    np.testing.assert_allclose(rows.truth[:, 0], expected, rtol=1e-5)


def test_similar_rows_of_a_table_are_drawn_together(tables):
    train, test = tables
    assert seqmodel.audit(train=train, test=test)["baselines"]["groups"] == "rows"
    test.loc[10:20, "sequence"] = test.loc[10, "sequence"]
    assert seqmodel.audit(train=train, test=test)["baselines"]["groups"] == "components"


def test_variants_of_one_protein_are_drawn_one_by_one():
    letters = "ACDEFGHIKLMNPQRSTVWY"
    (base,) = texts(1, 100, letters)
    train, test = (
        frame([f"{base[:50]}{a}{base[51:]}" for a in half], np.arange(10.0)) for half in
        (letters[:10], letters[10:])
    )  # fmt: skip
    report = seqmodel.audit(train=train, test=test, alphabet="protein", label_kind="real")
    assert report["baselines"]["groups"] == "rows"
    assert report["baselines"]["scores"]["row order"]["low"] is not None
    assert report["similarity"]["test in train"]["share_at"]["0.8"] == 1


def write_tsv(path, rows):
    Path(path).write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))


def test_predictions_of_a_file_are_matched_to_their_rows(tables, capsys):
    _, test = tables
    rows = [("row", "truth", "1", "0")]
    rows += [(i, y, 0.9 * y, 1 - 0.9 * y) for i, y in reversed(list(enumerate(test["label"])))]
    write_tsv("p.tsv", rows[:31])
    report, text = audited(capsys, *TABLES, "--predictions=p.tsv")
    assert report["model"]["rows"] == 30
    assert report["model"]["metrics"]["accuracy"]["value"] == 1
    assert "model, 30 test rows" in text
    report, text = audited(capsys, "--predictions=p.tsv")
    assert report["model"]["metrics"]["accuracy"]["value"] == 1
    assert "accuracy         1.000" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("row", "truth", "0", "1"), (2, 1, 0.5, 0.5)], "the truth of row 2 differs from"),
        ([("row", "truth", "0", "1"), (99, 1, 0.5, 0.5)], "has row 99, but test has 40 rows"),
        ([("row", "truth", "a", "b"), (0, "a", 0.5, 0.5)], "predicts a, b, but the data have 0, 1"),
        ([("row", "truth", "0", "1"), (0, "2", 0.5, 0.5)], "p.tsv line 2: truth '2' is not one of"),
        ([("row", "truth", "0", "1"), (0, "1", 0.5)], "p.tsv line 2: 3 columns, but 4 names"),
        ([("a", "b"), (1, 2)], "no predictions; the file needs the columns truth"),
    ],
)  # fmt: skip
def test_predictions_of_other_rows_are_refused(tables, capsys, rows, message):
    write_tsv("p.tsv", rows)
    assert main(["audit", *TABLES, "--predictions=p.tsv"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "audit needs --run, --predictions, or the options of the data"),
        (["--run=."], "--run=.: not a run folder, because it has no hparams.json"),
        ([*TABLES, "--fail_on=leaks"], "--fail_on=leaks: no such finding"),
        ([*TABLES, "word"], "word"),
    ],
)
def test_what_cannot_be_audited_is_refused(tables, capsys, argv, message):
    assert main(["audit", *argv]) == 2
    assert message in capsys.readouterr().err


def test_the_audit_of_a_profile_run_scores_its_log_totals(every_kind, capsys):
    run = seqmodel.train(
        dataset="tracks", task="profile", fasta=["g.fa"], seq_len=50, bin_len=10,
        tracks=["plus.bw", "minus.bw"], train_contigs=["a"], test_contigs=["b"],
        encoder="dilated_conv", n_layers=1, n_dims=8, max_epochs=1, accelerator="cpu",
        progress="none", default_root_dir="p",
    )  # fmt: skip
    capsys.readouterr()
    assert main(["audit", "--run=p", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["model"]["metrics"]
    expected = run.metrics["test_count_pearson"]
    assert metrics["pearson"]["value"] == pytest.approx(expected, abs=1e-4)
