"""The verb predict: files in, files out. Answers by bedtools, pyBigWig and the task itself."""

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyBigWig
import pytest
import torch

import seqmodel
from seqmodel.cli.verbs import main
from seqmodel.errors import HparamError, SequenceError
from seqmodel.infer.command import shown
from seqmodel.infer.rows import Predictor
from seqmodel.record.checkpoint import SafeCheckpointIO

IDS = {x: i for i, x in enumerate("ACGT")} | {"N": 6}
LETTERS = np.array(list("ACGTN"))
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    """A FASTA file of three contigs, with some N; and the texts."""
    rng = np.random.default_rng(3)
    p = [0.24] * 4 + [0.04]
    texts = {name: "".join(rng.choice(LETTERS, n, p=p)) for name, n in (("a", 900), ("b", 700))}
    texts["short"] = "".join(rng.choice(LETTERS, 30, p=p))
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text("".join(f">{name} x\n{text}\n" for name, text in texts.items()))
    return path, texts


def by_hand(model, texts):
    """Predictions of texts of up to 64 bases, one at a time, by the task itself."""
    task = model.members[0].task.eval()
    found = []
    for text in texts:
        ids = torch.tensor([[IDS[x] for x in text] + [5] * (64 - len(text))], dtype=torch.uint8)
        pad = torch.arange(64)[None] >= len(text)
        with torch.no_grad():
            found.append(task.predictions(task(ids, pad if pad.any() else None))[0].numpy())
    return np.stack(found)


def predict(checkpoint, out, *words, code=0):
    outs = out if isinstance(out, list) else [out]
    named = [f"--out={x}" for x in outs]
    argv = [f"--checkpoints={checkpoint}", "--accelerator=cpu", *named, *words]
    assert main(["predict", *map(str, argv)]) == code


def read(path):
    return pd.read_csv(path, sep="\t" if ".tsv" in str(path) else ",", dtype={"name": str})


def write_bed(path, rows):
    path.write_text("".join("\t".join(map(str, x)) + "\n" for x in rows))
    return path


def random_intervals(texts, n, length=64, names="ab"):
    rng = np.random.default_rng(n)
    for i in range(n):
        contig = str(rng.choice(list(names)))
        start = int(rng.integers(0, len(texts[contig]) - length))
        yield contig, start, start + length, f"n{i}", 0, str(rng.choice(["+", "-", "."]))


# what it says


def test_windows_are_those_of_bedtools_on_both_strands(trained, genome, tmp_path):
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 50)))
    done = subprocess.run(
        ["bedtools", "getfasta", "-s", "-tab", "-fi", path, "-bed", bed],
        capture_output=True,
        text=True,
        check=True,
    )
    windows = [line.split("\t")[1] for line in done.stdout.splitlines()]
    predict(trained.best("multilabel"), tmp_path / "x.tsv", f"--fasta={path}", f"--intervals={bed}")
    found = read(tmp_path / "x.tsv")
    expected = by_hand(seqmodel.load(trained.best("multilabel"), device="cpu"), windows)
    np.testing.assert_allclose(found[["one", "two"]], expected, 1e-5, 1e-6)
    assert found["n_unknown"].tolist() == [x.count("N") for x in windows]
    wanted = pd.read_csv(bed, sep="\t", names=["contig", "start", "end", "name", "x", "strand"])
    for name in ("contig", "start", "end", "name", "strand"):
        assert found[name].tolist() == wanted[name].tolist()
    assert found["index"].tolist() == list(range(50))
    assert set(found["status"]) == {"ok"}


def test_every_format_and_python_say_the_same(trained, genome, tmp_path):
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 20)))
    outs = [tmp_path / f"x.{s}" for s in ("tsv", "csv.gz", "parquet", "npz", "h5")]
    checkpoint = trained.best("classify")
    predict(checkpoint, outs, f"--fasta={path}", f"--intervals={bed}", "--logits")
    tables = [read(outs[0]), read(outs[1]), pd.read_parquet(outs[2])]
    model = seqmodel.load(checkpoint, device="cpu")
    tables.append(model.predict(fasta=[path], intervals=bed, logits=True))
    for table in tables:
        assert list(table.columns) == [
            *("index", "contig", "start", "end", "name", "strand"),
            *("0", "0_logit", "1", "1_logit", "n_unknown", "status"),
        ]
        for name in ("contig", "start", "name", "status"):
            assert table[name].tolist() == tables[0][name].tolist()
        np.testing.assert_allclose(table[["0", "1"]], tables[0][["0", "1"]], 1e-6)
    with np.load(outs[3]) as archive, h5py.File(outs[4]) as store:
        np.testing.assert_allclose(archive["predictions"], tables[0][["0", "1"]], 1e-6)
        np.testing.assert_allclose(store["logits"][:], tables[0][["0_logit", "1_logit"]], 1e-6)
        assert archive["targets"].tolist() == ["0", "1"]
        assert [x.decode() for x in store["targets"][:]] == ["0", "1"]
        assert archive["contig"].tolist() == tables[0]["contig"].tolist()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet"])
def test_rows_of_a_table_with_its_own_columns(trained, tmp_path, suffix):
    model = seqmodel.load(trained.best("multilabel"), device="cpu")
    frame = pd.DataFrame({"id": range(16), "sequence": trained.sequences, "one": ["é,\t"] * 16})
    path = tmp_path / f"in.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame["one"] = frame["one"].str.replace("\t", "")
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    predict(model.members[0].path, tmp_path / "o.csv", f"--table={path}", "--keep_columns=all")
    found = read(tmp_path / "o.csv")
    assert list(found.columns) == ["index", "id", "input_one", "one", "two", "n_unknown", "status"]
    np.testing.assert_allclose(found[["one", "two"]], model.predict(trained.sequences), 1e-5)
    assert found["id"].tolist() == list(range(16))
    assert found["input_one"].tolist() == frame["one"].tolist()


def test_records_tiles_and_narrow_peaks(trained, genome, tmp_path):
    path, texts = genome
    model = seqmodel.load(trained.best("regress"), device="cpu")
    found = model.predict(fasta=[path], tiles=True, stride=50, contigs=["b"])
    starts = list(range(0, 700 - 63, 50))
    assert found["start"].tolist() == starts
    assert found["contig"].tolist() == ["b"] * len(starts)
    expected = by_hand(model, [texts["b"][x : x + 64] for x in starts])
    np.testing.assert_allclose(found[["value"]], expected, 1e-4, 1e-5)
    padded = model.predict(fasta=[path], tiles=True, incomplete="pad")
    assert padded["status"].tolist().count("padded") == 3
    assert padded["end"].max() == 900
    peaks = tmp_path / "x.narrowPeak"
    write_bed(peaks, [("a", 100, 400, "p", 0, s, 1, -1, -1, 120) for s in "+-"])
    found = model.predict(fasta=[path], intervals=peaks)
    # the summit is at index 32 of the window, on either strand
    plus = texts["a"][220 - 32 : 220 + 32]
    minus = texts["a"][220 - 31 : 220 + 33][::-1].translate(COMPLEMENT)
    np.testing.assert_allclose(found[["value"]], by_hand(model, [plus, minus]), 1e-4, 1e-5)
    assert found["status"].tolist() == ["cut", "cut"]


def test_gff_and_other_names_of_contigs(trained, genome, tmp_path):
    path, texts = genome
    gff = tmp_path / "x.gff3"
    gff.write_text("##gff-version 3\nchrA\tt\tgene\t101\t164\t.\t-\t.\tID=g%3B1;biotype=x\n")
    names = tmp_path / "alias.txt"
    names.write_text("a\tchrA\n")
    model = seqmodel.load(trained.best("regress"), device="cpu")
    found = model.predict(
        fasta=[path], intervals=gff, contig_aliases=names, keep_columns=["type", "biotype"]
    )
    window = texts["a"][100:164][::-1].translate(COMPLEMENT)
    np.testing.assert_allclose(found[["value"]], by_hand(model, [window]), 1e-4, 1e-5)
    row = found.iloc[0]
    assert [row[x] for x in ("contig", "start", "end", "name", "strand", "type", "biotype")] == [
        *("chrA", 100, 164, "g;1", "-", "gene", "x"),
    ]
    with pytest.raises(seqmodel.errors.IntervalError, match=r"x.gff3 line 2: contig 'chrA' is not"):
        model.predict(fasta=[path], intervals=gff)


@pytest.mark.parametrize("too_long", ["center", "tile_mean", "tile_max"])
def test_sequences_that_are_too_long(trained, genome, too_long):
    path, texts = genome
    model = seqmodel.load(trained.best("multilabel"), device="cpu")
    found = model.predict(fasta=[path], too_long=too_long)
    assert found["name"].tolist() == ["a", "b", "short"]
    for name, row in zip("ab", found[["one", "two"]].to_numpy(), strict=False):
        text = texts[name]
        starts = [*range(0, len(text) - 64, 64), len(text) - 64]
        tiles = by_hand(model, [text[x : x + 64] for x in starts])
        center = by_hand(model, [text[(len(text) - 64) // 2 :][:64]])[0]
        expected = {"center": center, "tile_mean": tiles.mean(0), "tile_max": tiles.max(0)}
        np.testing.assert_allclose(row, expected[too_long], 1e-5)
    assert found["status"].tolist() == (["cut"] * 2 if too_long == "center" else ["ok"] * 2) + [
        "padded"
    ]
    with pytest.raises(SequenceError, match=r"g.fa line 1 \(a\): row 0 has length 900"):
        model.predict(fasta=[path])


def test_rows_that_have_no_window_keep_their_place(trained, tmp_path):
    model = seqmodel.load(trained.best("regress"), device="cpu")
    fasta = tmp_path / "x.fa"
    whole = "ACGT" * 16
    fasta.write_text(f">empty\n>one\nA\n>n\n{'N' * 64}\n>bad\nACGE\n>ok\n{whole}\n>last\n")
    found = model.predict(fasta=[fasta])
    assert found["name"].tolist() == ["empty", "one", "n", "bad", "ok", "last"]
    assert found["status"].tolist() == [
        "too_short",
        "padded",
        "ok",
        "bad_letter",
        "ok",
        "too_short",
    ]
    assert found["value"].isna().tolist() == [True, False, False, True, False, True]
    assert found["n_unknown"].tolist() == [0, 0, 64, 0, 0, 0]
    np.testing.assert_allclose(
        found["value"][[1, 2, 4]], by_hand(model, ["A", "N" * 64, whole])[:, 0], 1e-4, 1e-5
    )


def test_intervals_beyond_their_contig(trained, genome, tmp_path):
    path, texts = genome
    rows = [
        ("a", -20, 44),
        ("a", 880, 944),
        ("a", 900, 964),
        ("z", 0, 64),
        ("b", 5, 6),
        ("a", 0, 200),
    ]
    bed = write_bed(tmp_path / "x.bed", rows)
    model = seqmodel.load(trained.best("regress"), device="cpu")
    found = model.predict(fasta=[path], intervals=bed)
    statuses = ["padded", "padded", "outside", "outside", "padded", "cut"]
    assert found["status"].tolist() == statuses
    assert found["value"].isna().tolist() == [x == "outside" for x in statuses]
    assert "name" not in found.columns
    assert found["strand"].tolist() == ["."] * 6
    assert found["start"].tolist() == [x[1] for x in rows]
    np.testing.assert_allclose(
        found["value"][5], by_hand(model, [texts["a"][68:132]])[0, 0], 1e-4, 1e-5
    )


# the same, however it is made


def bytes_of(outs):
    return [Path(x).read_bytes() for x in outs]


SUFFIXES = ("tsv", "csv.gz", "parquet", "npz", "h5")


def test_in_any_number_of_parts_the_files_are_the_same(trained, genome, tmp_path):
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 100)))
    words = [f"--fasta={path}", f"--intervals={bed}", "--chunk_rows=7", "--batch_size=3"]
    for folder in ("one", "many", "other"):
        (tmp_path / folder).mkdir()
    outs = {x: [tmp_path / x / f"o.{s}" for s in SUFFIXES] for x in ("one", "many", "other")}
    predict(trained.best("classify"), outs["one"], *words)
    for k in (3, 1, 4, 2, 5):
        predict(trained.best("classify"), outs["many"], *words, f"--part={k}/5")
    assert bytes_of(outs["many"]) == bytes_of(outs["one"])
    predict(trained.best("classify"), outs["other"], *words[:2], "--chunk_rows=50")
    first, other = read(outs["one"][0]), read(outs["other"][0])
    np.testing.assert_allclose(first[["0", "1"]], other[["0", "1"]], 1e-6)
    assert first.drop(columns=["0", "1"]).equals(other.drop(columns=["0", "1"]))


PROGRAM = """
import sys, time
from seqmodel.infer.rows import Predictor
before = Predictor.__call__
def slow(self, chunk):
    time.sleep(0.02)
    return before(self, chunk)
Predictor.__call__ = slow
from seqmodel.cli.verbs import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_killed_and_begun_again_the_file_is_the_same(trained, genome, tmp_path):
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 400)))
    words = [f"--fasta={path}", f"--intervals={bed}", "--chunk_rows=5", "--n_threads=1"]
    whole, killed = ([tmp_path / x / f"o.{s}" for s in SUFFIXES] for x in ("whole", "killed"))
    for folder in ("whole", "killed"):
        (tmp_path / folder).mkdir()
    predict(trained.best("classify"), whole, *words)
    named = [f"--checkpoints={trained.best('classify')}", *(f"--out={x}" for x in killed), *words]
    argv = [sys.executable, "-c", PROGRAM, "predict", "--accelerator=cpu", *named]
    parts = tmp_path / "killed" / "o.tsv.parts"
    rng, n_killed = np.random.default_rng(0), 0
    while n_killed < 5:
        n_before = len(list(parts.glob("*.part"))) if parts.is_dir() else 0
        child = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        wanted = n_before + int(rng.integers(1, 6))
        while child.poll() is None and (
            not parts.is_dir() or len(list(parts.glob("*.part"))) < wanted
        ):
            time.sleep(0.005)
        assert child.poll() is None
        time.sleep(float(rng.uniform(0, 0.02)))
        child.send_signal(signal.SIGKILL)
        child.wait()
        n_killed += 1
    assert subprocess.run(argv, check=False, capture_output=True).returncode == 0
    assert bytes_of(killed) == bytes_of(whole)


@pytest.mark.slow
def test_two_processes_write_one_file(trained, genome, tmp_path):
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 60)))
    words = [f"--fasta={path}", f"--intervals={bed}", "--chunk_rows=5", "--n_threads=1"]
    predict(trained.best("classify"), tmp_path / "whole.tsv", *words)
    named = [f"--checkpoints={trained.best('classify')}", f"--out={tmp_path / 'two.tsv'}", *words]
    argv = [sys.executable, "-m", "seqmodel", "predict", "--accelerator=cpu", *named]
    children = [subprocess.Popen(argv, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [x.wait() for x in children] == [0, 0]
    assert (tmp_path / "two.tsv").read_bytes() == (tmp_path / "whole.tsv").read_bytes()


def test_an_ensemble_of_a_model_and_itself_is_the_model(trained, genome, tmp_path):
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 30)))
    best = trained.best("classify")
    one = seqmodel.load(best, device="cpu").predict(fasta=[path], intervals=bed)
    for kind in ("logit", "probability"):
        two = seqmodel.load([best, best], device="cpu", ensemble_of=kind)
        found = two.predict(fasta=[path], intervals=bed)
        assert (found[["0_sd", "1_sd"]] == 0).all(axis=None)
        assert found.drop(columns=["0_sd", "1_sd"]).equals(one)


def test_the_mean_of_an_ensemble_is_of_logits_or_of_probabilities(trained, tmp_path):
    paths = [trained.best("classify"), tmp_path / "other.ckpt"]
    saved = torch.load(paths[0], weights_only=True)
    changed = {k: x + 0.3 if x.ndim > 1 else x for k, x in saved["state_dict"].items()}
    SafeCheckpointIO().save_checkpoint({**saved, "state_dict": changed}, paths[1])
    texts = trained.sequences
    singles = [seqmodel.load(x, device="cpu") for x in paths]
    p = np.stack([x.predict(texts) for x in singles]).astype(float)
    logits = np.stack([x.predict(texts, logits=True) for x in singles]).astype(float)
    assert abs(p[0] - p[1]).max() > 1e-4
    table = tmp_path / "x.csv"
    table.write_text("\n".join(["sequence", *texts]) + "\n")
    for kind in ("logit", "probability"):
        model = seqmodel.load(paths, device="cpu", ensemble_of=kind)
        e = np.exp(logits.mean(0))
        expected = p.mean(0) if kind == "probability" else e / e.sum(1, keepdims=True)
        np.testing.assert_allclose(model.predict(texts), expected, 1e-5)
        found = model.predict(table=table)
        np.testing.assert_allclose(found[["0", "1"]], expected, 1e-5)
        np.testing.assert_allclose(found[["0_sd", "1_sd"]], p.std(0, ddof=1), 1e-3, 1e-7)


def test_memory_that_does_not_suffice_halves_the_batch_and_says_so_once(trained, genome):
    path, _ = genome
    model = seqmodel.load(trained.best("regress"), device="cpu")
    expected = model.predict(fasta=[path], tiles=True, stride=10)
    before, sizes = model.network.each, []

    def each(x, pad=None):
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return before(x, pad)

    model.network.each = each
    with pytest.warns(UserWarning, match="does not fit into memory") as caught:
        found = model.predict(fasta=[path], tiles=True, stride=10, batch_size=8)
    assert len([x for x in caught if "memory" in str(x.message)]) == 1
    assert sizes[:4] == [8, 4, 2, 2]
    assert set(sizes[2:]) <= {1, 2}
    np.testing.assert_allclose(found["value"], expected["value"], 1e-4, 1e-5)


# tracks


@pytest.mark.parametrize("held", [0, 10**6])
def test_a_bigwig_has_the_means_of_overlapping_tiles(trained, genome, tmp_path, monkeypatch, held):
    monkeypatch.setattr("seqmodel.infer.formats.HELD", held)
    path, texts = genome
    outs = [tmp_path / "o.bw", tmp_path / "o.bedgraph.gz"]
    words = [f"--fasta={path}", "--tiles", "--stride=20", "--chunk_rows=9"]
    predict(trained.best("regress"), outs, *words)
    model = seqmodel.load(trained.best("regress"), device="cpu")
    table = model.predict(fasta=[path], tiles=True, stride=20)
    with pyBigWig.open(str(outs[0])) as bw:
        assert bw.chroms() == {"a": 900, "b": 700}  # none where no window has a value
        for name, text in list(texts.items())[:2]:
            sums, counts = np.zeros(len(text)), np.zeros(len(text))
            for row in table[table["contig"] == name].itertuples():
                sums[row.start : row.end] += row.value
                counts[row.start : row.end] += 1
            with np.errstate(invalid="ignore"):
                means = sums / counts
            found = bw.values(name, 0, len(text))
            np.testing.assert_allclose(found, means, 1e-5)
    with gzip.open(outs[1], "rt") as file, pyBigWig.open(str(outs[0])) as bw:
        for line in file:
            name, start, end, value = line.split("\t")
            found = bw.values(name, int(start), int(end))
            np.testing.assert_allclose(found, float(value), 1e-6)


def test_a_profile_is_written_bin_by_bin_on_both_strands(trained, genome, tmp_path):
    path, texts = genome
    rows = [("a", 100, 164, "x", 0, "+"), ("a", 132, 196, "y", 0, "-"), ("b", -8, 56, "z", 0, "+")]
    bed = write_bed(tmp_path / "x.bed", rows)
    out = tmp_path / "o.bw"
    predict(trained.best("profile"), out, f"--fasta={path}", f"--intervals={bed}", "--scale=log1p")
    model = seqmodel.load(trained.best("profile"), device="cpu")
    minus = texts["a"][132:196][::-1].translate(COMPLEMENT)
    plus, minus = by_hand(model, [texts["a"][100:164], minus])[:, :, 0]
    sums, counts = np.zeros(900), np.zeros(900)
    for first, values in ((100, plus), (132, minus[::-1])):
        sums[first : first + 64] += np.repeat(np.log1p(values), 8)
        counts[first : first + 64] += 1
    with pyBigWig.open(str(out)) as bw, np.errstate(invalid="ignore"):
        np.testing.assert_allclose(bw.values("a", 0, 900), sums / counts, 1e-5)
        assert np.isfinite(bw.values("b", 0, 56)).all()
    assert model.predict(trained.sequences).shape == (16, 8, 1)
    with pytest.raises(HparamError, match=r"one value for each position or bin.*choose .npz"):
        model.predict(fasta=[path], intervals=bed)


# hard cases


@pytest.mark.parametrize("kind", ["table", "intervals", "fasta"])
def test_no_row_gives_a_valid_empty_file(trained, genome, tmp_path, kind, capsys):
    path, _ = genome
    texts = {"table": "sequence,x\n", "intervals": "# nothing\n", "fasta": ""}
    given = tmp_path / {"table": "x.csv", "intervals": "x.bed", "fasta": "x.fa"}[kind]
    given.write_text(texts[kind])
    outs = [tmp_path / f"o.{s}" for s in SUFFIXES]
    words = [f"--{kind}={given}", *([f"--fasta={path}"] if kind == "intervals" else [])]
    predict(trained.best("classify"), outs, *words)
    assert "0 inputs" in capsys.readouterr().err
    for table in (read(outs[0]), read(outs[1]), pd.read_parquet(outs[2])):
        assert len(table) == 0
        assert {"index", "0", "1", "n_unknown", "status"} <= set(table.columns)
    with np.load(outs[3]) as archive, h5py.File(outs[4]) as store:
        assert archive["predictions"].shape == store["predictions"].shape == (0, 2)


def test_names_of_targets_and_contigs_that_are_no_names_of_files(trained, tmp_path):
    """Targets as `a/b;c`, and a contig `../../x`."""
    fasta = tmp_path / "g.fa"
    fasta.write_text(f">../../x\n{'ACGT' * 30}\n")
    saved = torch.load(trained.best("multilabel"), weights_only=True)
    run = {**trained.runs["multilabel"].hparams}
    assert run["label_columns"] == ["one", "two"]
    names = ["a/b;c", "../d\te"]
    own = {**saved["seqmodel"], "targets": {"kind": "multilabel", "names": names}}
    path = tmp_path / "x.ckpt"
    SafeCheckpointIO().save_checkpoint({**saved, "seqmodel": own}, path)
    folder = tmp_path / "out"
    folder.mkdir()
    outs = [folder / f"o.{x}" for x in ("tsv", "bw", "h5", "npz", "parquet")]
    predict(path, outs, f"--fasta={fasta}", "--tiles")
    found = pd.read_csv(outs[0], sep="\t")
    assert list(found.columns)[-4:-2] == names
    assert found["contig"].tolist() == ["../../x"]
    written = {x.name for x in folder.iterdir() if x.is_file()}
    tracks = {"o.a%2Fb%3Bc.bw", "o...%2Fd%09e.bw"}
    assert written == {"o.tsv", "o.h5", "o.npz", "o.parquet"} | tracks
    with np.load(outs[3]) as archive:
        assert archive["targets"].tolist() == names
    with pyBigWig.open(str(folder / "o.a%2Fb%3Bc.bw")) as bw:
        assert bw.chroms() == {"../../x": 120}


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_parts_stay(trained, genome, tmp_path):
    """A limit on the size of files stands for the disk: the system call fails in the same way."""
    path, texts = genome
    bed = write_bed(tmp_path / "x.bed", list(random_intervals(texts, 400)))
    words = [f"--fasta={path}", f"--intervals={bed}", "--chunk_rows=20"]
    named = [f"--checkpoints={trained.best('classify')}", f"--out={tmp_path / 'o.tsv'}"]
    argv = [sys.executable, "-m", "seqmodel", "predict", "--accelerator=cpu", *named, *words]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000)),
        ),
    )
    assert done.returncode == 2
    assert "RunError: cannot write" in done.stderr
    assert not (tmp_path / "o.tsv").exists()
    predict(trained.best("classify"), tmp_path / "o.tsv", *words)
    assert len(read(tmp_path / "o.tsv")) == 400


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no input is set"),
        (["--table=x.csv", "--fasta=x.fa"], "give one input"),
        (["--fasta=x.fa", "--intervals=x.bed", "--tiles"], "give one of them"),
        (["--fasta=x.fa", "--stride=3"], "--stride has no effect without --tiles"),
        (["--fasta=x.fa", "--keep_columns=a"], "--keep_columns has no effect without --table"),
        (["--fasta=missing.fa"], "missing.fa: no such file"),
        (["--table=x.csv", "--sequence_column=nope"], "no column 'nope'"),
        (["--fasta=x.fa", "--intervals=x.bed", "--anchor=summit"], "only .narrowPeak files"),
        (["--fasta=x.fa", "--part=4/3"], "--part=4/3"),
        (["--fasta=x.fa", "--intervals=bad.bed"], "bad.bed line 2: end 'x' is not a whole number"),
        (["--fasta=x.fa", "--intervals=uneven.bed"], "uneven.bed line 2: 3 columns"),
        (["--fasta=x.fa", "--out=o.docx"], "unknown suffix"),
        (["--fasta=x.fa", "--out=o.vcf"], "unknown suffix; choose one of .tsv, "),
        (["--fasta=x.fa", "--out=o.tsv"], "would be written twice"),
    ],
)
def test_what_cannot_be_done_is_one_line(trained, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("x.fa").write_text(f">a\n{'ACGT' * 16}\n")
    Path("x.csv").write_text("sequence\nACGT\n")
    write_bed(Path("x.bed"), [("a", 0, 64)])
    Path("bad.bed").write_text("a\t0\t64\na\t0\tx\n")
    Path("uneven.bed").write_text("a\t0\t64\tn\na\t0\t64\n")
    predict(trained.best("classify"), "o.tsv", *words, code=2)
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert message in error[0]


@pytest.mark.parametrize("width", [3, 6, 12])
def test_bed_of_any_width_with_its_columns(trained, genome, tmp_path, width):
    path, _ = genome
    row = ["a", 10, 74, "n", 5, "-", 10, 74, "0,0,0", 1, "64,", "0,"][:width]
    bed = tmp_path / "x.bed"
    bed.write_text("track name=x\n" + "\t".join(map(str, row)) + "\r\n")
    model = seqmodel.load(trained.best("regress"), device="cpu")
    found = model.predict(fasta=[path], intervals=bed, keep_columns=["all"])
    kept = [x for x in found.columns if x not in ("index", "value", "n_unknown", "status")]
    assert kept[:3] == ["contig", "start", "end"]
    assert found["strand"].tolist() == ["-" if width >= 6 else "."]
    own = {3: [], 6: ["score"], 12: ["score", *map(str, range(7, 13))]}
    assert kept[5 if width > 3 else 4 :] == own[width]


def test_inputs_on_training_contigs_are_told(trained, genome, tmp_path):
    path, _ = genome
    fasta = tmp_path / "g.fa"
    fasta.write_text("".join(f">{name}\n{'ACGT' * 256}\n" for name in "abc"))
    model = seqmodel.load(trained.best("classify"), device="cpu")
    with pytest.warns(UserWarning, match=r"33 % of these inputs \(16 of 48\) overlap"):
        model.predict(fasta=[fasta], tiles=True)
    with pytest.warns(UserWarning, match=r"33 % of these inputs \(1 of 3\)"):
        model.predict(fasta=[fasta], too_long="center")
    model.predict(fasta=[path], tiles=True)  # contigs of another genome: other lengths


@pytest.mark.filterwarnings("always")
def test_outputs_that_are_no_number_are_counted(trained, genome, tmp_path, capsys, monkeypatch):
    path, _ = genome
    before = Predictor._part

    def batch(self, ids, pad, n):
        found = before(self, ids, pad, n)()
        found.predictions[0], found.is_nan[0] = np.nan, True
        return lambda: found

    monkeypatch.setattr(Predictor, "_part", batch)
    out = tmp_path / "o.tsv"
    words = [f"--fasta={path}", "--tiles", "--batch_size=16", "--json"]
    predict(trained.best("regress"), out, *words)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["counts"] == {"n": 24, "ok": 24, "nan": 2}
    assert shown.err == "warning: 2 inputs have a NaN output\n"


def test_a_batch_is_finished_while_the_next_one_is_computed(trained, genome, tmp_path, monkeypatch):
    path, _ = genome
    before, seen, numbers = Predictor._part, [], count()

    def batch(self, ids, pad, n):
        number = next(numbers)
        seen.append(f"start {number}")
        finish = before(self, ids, pad, n)
        return lambda: (seen.append(f"finish {number}"), finish())[1]

    words = [f"--fasta={path}", "--tiles", "--chunk_rows=16"]  # 24 tiles: parts of 4 and 2 batches
    predict(trained.best("regress"), tmp_path / "whole.tsv", *words, "--batch_size=16")
    monkeypatch.setattr(Predictor, "_part", batch)
    predict(trained.best("regress"), tmp_path / "o.tsv", *words, "--batch_size=4")
    assert [x for x in seen if x[-1] in "0123"] == (
        ["start 0", "start 1", "finish 0", "start 2", "finish 1", "start 3", "finish 2", "finish 3"]
    )
    whole, parts = ((tmp_path / x).read_text().split() for x in ("whole.tsv", "o.tsv"))
    assert len(whole) == len(parts)
    for one, other in zip(whole, parts, strict=True):
        assert one == other or float(one) == pytest.approx(float(other), abs=1e-6)


def test_a_done_command_loads_no_model(trained, genome, tmp_path, monkeypatch, capsys):
    path, _ = genome
    words = [f"--fasta={path}", "--tiles"]
    predict(trained.best("regress"), tmp_path / "o.tsv", *words)
    first = capsys.readouterr().err
    monkeypatch.setattr("seqmodel.infer.predict.model_of", None)
    predict(trained.best("regress"), tmp_path / "o.tsv", *words)
    assert capsys.readouterr().err == first
    predict(trained.best("regress"), tmp_path / "o.tsv", *words, "--stride=3", code=2)
    assert "started with options stride None, now 3" in capsys.readouterr().err
    assert os.listdir(tmp_path / "o.tsv.parts")


ARCHIVE = Path(__file__).parents[1] / "archive"


@pytest.mark.parametrize("task", ["classify", "multilabel", "regress"])
@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_checkpoints_of_older_versions_predict(genome, tmp_path, version, task):
    path, _ = genome
    checkpoint = ARCHIVE / version / f"{task}.ckpt"
    given = ["--seq_len=64"] if task != "classify" else []
    words = [f"--fasta={path}", "--tiles", *given]
    if given and version == "0.1.0":
        predict(checkpoint, tmp_path / "o.tsv", f"--fasta={path}", "--tiles", code=2)
    predict(checkpoint, tmp_path / "o.tsv", *words, *(["--overwrite"] if given else []))
    found = read(tmp_path / "o.tsv")
    model = seqmodel.load(checkpoint, seq_len=64, device="cpu")
    names = list(model.targets.names)
    expected = model.predict(fasta=[path], tiles=True)
    np.testing.assert_allclose(found[names], expected[names], 1e-6)


def test_half_precision_is_near_and_is_another_command(trained, genome, tmp_path, capsys):
    path, _ = genome
    words = [f"--fasta={path}", "--tiles"]
    predict(trained.best("classify"), tmp_path / "full.tsv", *words)
    predict(trained.best("classify"), tmp_path / "half.tsv", *words, "--precision=bf16-mixed")
    full, half = (read(tmp_path / f"{x}.tsv")[["0", "1"]] for x in ("full", "half"))
    np.testing.assert_allclose(half, full, 2e-2)
    assert not half.equals(full)
    predict(trained.best("classify"), tmp_path / "half.tsv", *words, code=2)
    assert "started with options precision 'bf16-mixed', now '32'" in capsys.readouterr().err


def test_progress_is_shown_on_a_terminal_only(monkeypatch, capsys):
    chunks = [range(7), range(3)]
    assert list(shown(chunks, 10)) == chunks
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(shown(chunks, 10)) == chunks
    assert "10.0/10.0" in capsys.readouterr().err
