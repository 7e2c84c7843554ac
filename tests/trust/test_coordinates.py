"""Overlap of intervals of two splits, against bedtools."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from leak_cases import rows_of, texts_of
from programs import need

from seqmodel.cli.verbs import main as verb
from seqmodel.run import main
from seqmodel.trust.coordinates import overlap_of, overlaps, seen_by

ARCHIVE = Path(__file__).parents[1] / "archive"


def placed(rng, n, contigs, high=60):
    """Rows at random places."""
    starts = rng.integers(0, 1000, n)
    ends = starts + rng.integers(1, high, n)
    return rows_of(["A"] * n, contigs=rng.choice(contigs, n), starts=starts, ends=ends)


def bedtools(folder, *arguments, **rows):
    """Lines of fields that bedtools prints for rows written to BED files."""
    for name, x in rows.items():
        columns = zip(x.contigs, x.starts, x.ends, range(len(x)), strict=True)
        lines = sorted((c, a, b, i) for c, a, b, i in columns)
        (folder / f"{name}.bed").write_text(
            "".join(f"{c}\t{a}\t{b}\t{i}\n" for c, a, b, i in lines)
        )
    done = subprocess.run(
        [need("bedtools"), *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return [x.split("\t") for x in done.stdout.splitlines()]


@pytest.mark.parametrize("seed", range(3))
def test_overlap_and_distance_against_bedtools(seed, tmp_path):
    rng = np.random.default_rng(seed)
    train = placed(rng, 25, ["chr1", "chr10", "chr2", "chr4"])
    test = placed(rng, 80, ["chr1", "chr2", "chr3", "chr10"])
    bp, distance = overlap_of(train, test)
    covered = bedtools(
        tmp_path, "coverage", "-a", "test.bed", "-b", "train.bed", train=train, test=test
    )
    assert {int(x[3]): int(x[5]) for x in covered} == dict(enumerate(bp.tolist()))
    closest = bedtools(
        tmp_path, "closest", "-d", "-t", "first", "-a", "test.bed", "-b", "train.bed"
    )
    # bedtools says 1 where two intervals touch: the number of bases between them plus 1
    far = {int(x[3]): max(int(x[-1]) - 1, 0) if int(x[-1]) >= 0 else -1 for x in closest}
    assert far == dict(enumerate(distance.tolist()))
    found = overlaps(train, test)
    assert found is not None
    assert found["overlapping"] == (bp > 0).sum() > 0
    assert found["other_contig"] == (distance < 0).sum() > 0
    assert found["share"] == bp.sum() / (test.ends - test.starts).sum()
    near = [x for x in far.values() if x >= 0]
    assert found["distance"] == np.quantile(near, [0, 0.25, 0.5, 0.75, 1]).tolist()
    worst = found["worst"][0]
    row = worst["row"]
    assert worst["bp"] == bp.max()
    assert worst["name"] == f"{test.contigs[row]}:{test.starts[row]}-{test.ends[row]}"


def test_rows_without_coordinates():
    rows = placed(np.random.default_rng(0), 5, ["chr1"])
    assert overlaps(rows_of(["A"]), rows) is None
    assert overlaps(rows, rows_of(["A"])) is None


def test_no_training_row():
    rows = placed(np.random.default_rng(0), 5, ["chr1"])
    found = overlaps(rows.select(np.array([], dtype=int)), rows)
    assert found is not None
    assert (found["bp"], found["distance"], found["other_contig"]) == (0, None, 5)


@pytest.fixture
def pretrained(tmp_path, monkeypatch):
    """A masked model of contigs a and b from position 128 on; c is for validation."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    texts = texts_of(rng, 3, 1024)
    Path("g.fa").write_text("".join(f">{n}\n{x}\n" for n, x in zip("abc", texts, strict=True)))
    starts = range(128, 960, 64)
    Path("g.bed").write_text("".join(f"{c}\t{s}\t{s + 64}\n" for c in "abc" for s in starts))
    given = ("--task=masked", "--fasta=g.fa", "--intervals=g.bed", "--seq_len=64")
    small = ("--encoder=dilated_conv", "--n_layers=1", "--n_dims=8", "--n_threads=1")
    quiet = ("--progress=none", "--accelerator=cpu", "--max_epochs=1", "--default_root_dir=run")
    assert main([*given, *small, *quiet, "--valid_contigs=c"]) == 0
    return "run/checkpoints/last.ckpt"


def test_rows_where_another_model_was_trained(pretrained):
    rows = rows_of(
        ["A"] * 5,
        contigs=np.array(["a", "a", "b", "c", "d"]),
        starts=np.array([0, 100, 950, 128, 128]),
        ends=np.array([128, 130, 980, 300, 300]),
    )
    found = seen_by(pretrained, rows)
    assert found == {
        "checkpoint": pretrained,
        "known": True,
        "rows": 5,
        "on_seen_contigs": 3,
        "in_seen_range": 2,
        "bp": 2 + 10,
        "contigs": ["a", "b"],
        "listed": 2,
        "n_contigs": 2,
    }
    assert seen_by(pretrained, rows_of(["A"])) is None


def test_a_checkpoint_that_names_no_contig():
    archived = sorted(ARCHIVE.glob("*/*.ckpt"))
    assert archived
    rows = placed(np.random.default_rng(0), 5, ["chr1"])
    found = seen_by(str(archived[0]), rows)
    assert found is not None
    assert not found["known"]
    assert (found["on_seen_contigs"], found["bp"]) == (None, None)


def test_the_verb_says_where_the_base_was_trained(pretrained, capsys):
    Path("l.bed").write_text(
        "".join(f"{c}\t{s}\t{s + 64}\t{s % 3}\n" for c in "abc" for s in range(0, 900, 50))
    )
    data = ("--dataset=bed", "--fasta=g.fa", "--intervals=l.bed", "--test_contigs=b")
    base = f"--base_checkpoint={pretrained}"
    assert verb(["audit", *data, base, "--fail_on=base"]) == 3
    text = capsys.readouterr().out
    assert "was trained on the contigs of 18 test rows, around 16 of them" in text
    assert "base: 16 of 18 test intervals lie where run/checkpoints/last.ckpt was trained" in text
    data = (*data[:-1], "--test_contigs=c")
    assert verb(["audit", *data, base, "--fail_on=base"]) == 0
    assert "was trained on the contigs of 0 test rows, around 0 of them" in capsys.readouterr().out
